//===- Procedure.h - the passes' work on one procedure ----------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// A candidate is priced by running the very same steps on a procedure of its own: what is weighed is what
// will run.
//===----------------------------------------------------------------------===//
#pragma once

#include "compiler/cost/DeviceProfile.h"
#include "compiler/memory/Packer.h"
#include "dialects/Evo/EvoDialect.h"
#include "dialects/Kern/KernDialect.h"
#include "runtime/plan/Plan.h"

#include "mlir/IR/BuiltinOps.h"

#include <vector>

namespace evo {

/// A new procedure at the builder's place with the module's forward under `choice`.
kern::ProcedureOp emitProcedure(mlir::OpBuilder &builder, ir::ModuleOpInterface op,
                                ir::ChoiceAttr choice, llvm::StringRef name,
                                plan::Precision precision);

/// Sets `cost_ns` on every kernel; returns their sum, or an error on overflow.
Result<int64_t> annotateCost(kern::ProcedureOp procedure, const cost::DeviceProfile &profile,
                             plan::Precision precision);
mlir::LogicalResult assignBuffers(kern::ProcedureOp procedure);
void freeBuffers(kern::ProcedureOp procedure);
mlir::LogicalResult verifyBuffers(kern::ProcedureOp procedure);

/// The allocs of a procedure with their lifetimes in positions of a walk over its ops.
struct FrameProblem {
  std::vector<kern::AllocOp> allocs;
  std::vector<memory::Lifetime> lifetimes;
};
/// Errors: a buffer beyond 2^63 bytes.
Result<FrameProblem> extractFrame(kern::ProcedureOp procedure);
/// Packs the frame, sets the offsets and `frame_bytes`.
mlir::LogicalResult placeFrame(kern::ProcedureOp procedure);

/// The text that plans and reports use for a choice: "fused, s by 4".
std::string choiceText(ir::ChoiceAttr choice);

/// Precision of the model that a module or stack holds.
plan::Precision getPrecision(mlir::DictionaryAttr model);

/// All weights of the procedures, in order of first use, placed in a block's static part.
struct WeightTable {
  std::vector<plan::Weight> weights;
  int64_t blockBytes = 0;
};
Result<WeightTable> collectWeights(llvm::ArrayRef<kern::ProcedureOp> procedures);

/// What one module costs under one choice.
struct Candidate {
  int64_t costNs = 0;
  int64_t frameBytes = 0;
};
/// Lowers the module alone and packs its real buffers. `scratch` is a module for the throw-away procedure.
Result<Candidate> priceCandidate(ir::ModuleOpInterface op, ir::ChoiceAttr choice,
                                 const cost::DeviceProfile &profile, plan::Precision precision);

/// Arena bytes of the boundary tensors, each aligned.
Result<int64_t> tensorBytes(llvm::ArrayRef<mlir::Type> types);

/// A Status as a diagnostic at `op`.
mlir::LogicalResult emitStatus(mlir::Operation *op, const Status &status);

} // namespace evo
