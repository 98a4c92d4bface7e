//===- Procedure.h - the passes' work on one procedure ----------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// A candidate is priced by running the very same steps on a procedure of its own: what is weighed
// is what will run.
//===----------------------------------------------------------------------===//
#pragma once

#include "compiler/cost/DeviceProfile.h"
#include "compiler/memory/Packer.h"
#include "dialects/Evo/EvoDialect.h"
#include "dialects/Kern/KernDialect.h"
#include "passes/Passes.h"
#include "passes/Unit.h"
#include "runtime/plan/Plan.h"

#include "mlir/IR/BuiltinOps.h"

#include <vector>

namespace evo {

/// Procedures and programs in place of the stacks of a module.
mlir::LogicalResult lowerToKern(mlir::ModuleOp module);

/// On a slice loop: what zeroing each of its sums takes, and what all its slices take to add to
/// each where no kernel of the body does so by itself (0 where one does).
inline constexpr llvm::StringLiteral kZeroCostAttr = "zero_cost_ns";
inline constexpr llvm::StringLiteral kAddCostAttr = "add_cost_ns";

/// The kernel of the loop's body that adds to the sum of result `index` by itself; null where the
/// lowering has to launch an `add` behind it.
kern::KernelOpInterface findAccumulator(kern::SliceLoopOp loop, unsigned index);

/// Sets `cost_ns` on every kernel, `zero_cost_ns` and `add_cost_ns` on loops that sum; returns what
/// all take together, or an error on overflow.
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
/// Lays what a forward procedure keeps one after the other; returns the bytes, each aligned. What a
/// backward procedure reads lies where its calls say: at 0 here.
Result<int64_t> placeSaved(kern::ProcedureOp procedure);
/// Places tensors, kept tensors and frames in the arena, and what calls share. Needs placed
/// procedures.
mlir::LogicalResult placeCalls(mlir::ModuleOp module);

/// Precision and mode of the model that a module or stack holds.
plan::Precision getPrecision(mlir::DictionaryAttr model);
plan::Mode getMode(mlir::DictionaryAttr model);

/// All weights of the procedures, in order of first use, placed in a block's static part.
struct WeightTable {
  std::vector<plan::Weight> weights;
  int64_t blockBytes = 0;
  /// Bytes of one block's gradients, in the statistic type; each weight's lie in the weights'
  /// order.
  int64_t gradientBytes = 0;
  std::vector<int64_t> gradientOffsets;
  int64_t stateBytes = 0; ///< of one block, likewise
};
/// `states` are kept of each weight.
Result<WeightTable> collectWeights(llvm::ArrayRef<kern::ProcedureOp> procedures,
                                   plan::DType gradientType,
                                   llvm::ArrayRef<plan::StateKind> states = {});

/// The optimizer of a model; nothing where it has none.
std::optional<plan::OptimizerInfo> optimizerInfo(mlir::DictionaryAttr model);
/// What its optimizer keeps of each weight, in the order of a plan; nothing where it has none.
llvm::SmallVector<plan::StateKind> stateKinds(mlir::DictionaryAttr model);
/// The type of the boundary tensor with its scalars.
mlir::RankedTensorType scalarsType(mlir::MLIRContext *context, plan::Precision precision);
/// Adds the optimizer's boundary tensor, procedures and program behind the others of the module,
/// where the model has an optimizer.
Status lowerOptimizer(mlir::OpBuilder &builder, mlir::DictionaryAttr model,
                      llvm::ArrayRef<kern::ProcedureOp> procedures);

/// What one module costs under one choice.
struct Candidate {
  int64_t costNs = 0;     ///< forward, and in training backward
  int64_t frameBytes = 0; ///< the larger of both
  int64_t savedBytes = 0; ///< kept from forward to backward
};
/// Prices, assigns, frees and packs one procedure as it was emitted.
Result<Candidate> priceProcedure(kern::ProcedureOp procedure, const cost::DeviceProfile &profile,
                                 plan::Precision precision);
/// Lowers the module alone and packs its real buffers.
Result<Candidate> priceCandidate(ir::ModuleOpInterface op, ir::ChoiceAttr choice,
                                 const cost::DeviceProfile &profile, plan::Precision precision,
                                 plan::Mode mode);

/// Lowers and places a copy of a module with choices and a target; returns its plan.
Result<plan::Plan> planOf(mlir::ModuleOp chosen, const Target &target);

/// Arena bytes of the boundary tensors, each aligned.
Result<int64_t> tensorBytes(llvm::ArrayRef<mlir::Type> types);

/// A Status as a diagnostic at `op`.
mlir::LogicalResult emitStatus(mlir::Operation *op, const Status &status);

} // namespace evo
