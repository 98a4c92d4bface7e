//===- Unit.h - what is lowered together ------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// A unit is one module, or a run of modules that share a slice loop: one forward and, in training,
// one backward procedure. Emits both at the value level; knows nothing of blocks, of who keeps
// what for whom, or of memory.
//===----------------------------------------------------------------------===//
#pragma once

#include "dialects/Evo/EvoDialect.h"
#include "dialects/Kern/KernDialect.h"
#include "runtime/plan/Plan.h"

#include <set>
#include <string>
#include <vector>

namespace evo {

struct Unit {
  llvm::SmallVector<ir::ModuleOpInterface> modules;
  llvm::SmallVector<ir::ChoiceAttr> choices; ///< one a module
  ir::Axis axis = ir::Axis::None, backwardAxis = ir::Axis::None;
  int64_t size = 0, backwardSize = 0;
  ir::Keep keep = ir::Keep::Nothing;
  int group = -1; ///< of the segment's recompute groups; -1: none

  /// The unit of one module under a choice.
  static Unit of(ir::ModuleOpInterface module, ir::ChoiceAttr choice);

  std::string name() const; ///< the modules' parameter prefixes
  std::string choiceText() const;
  /// The boundary tensors that it reads, each once, and their types.
  llvm::SmallVector<llvm::StringRef> tensors() const;
  mlir::Type typeOf(llvm::StringRef tensor) const;
  /// The streams that it updates, each once.
  llvm::SmallVector<llvm::StringRef> updated() const;
  /// The same unit: modules with the same attributes and types, under the same choices.
  bool isSameAs(const Unit &other) const;
};

/// The units of a segment's block, in order. Needs choices.
std::vector<Unit> collectUnits(ir::SegmentOp segment);

/// How a unit's forward is emitted, beside what its choice says.
struct ForwardOptions {
  std::set<std::string> kept;    ///< slots that this procedure writes
  std::set<std::string> dropped; ///< streams whose new version nobody reads
};

/// A new procedure at the builder's place with the unit's forward.
kern::ProcedureOp emitForward(mlir::OpBuilder &builder, const Unit &unit, llvm::StringRef name,
                              plan::Precision precision, const ForwardOptions &options = {});

/// A new procedure with the unit's backward: reads what the forward keeps, computes again what it
/// does not, and sweeps back. Reads and updates the streams' gradients, `dm` and `dz`.
mlir::FailureOr<kern::ProcedureOp> emitBackward(mlir::OpBuilder &builder, const Unit &unit,
                                                llvm::StringRef name, plan::Precision precision);

/// A new procedure that copies streams to kept tensors of their names.
kern::ProcedureOp emitCheckpoint(mlir::OpBuilder &builder, mlir::Location location,
                                 llvm::ArrayRef<std::pair<std::string, mlir::Type>> streams,
                                 llvm::StringRef name);

/// The slots that a backward procedure reads.
std::set<std::string> keptSlots(kern::ProcedureOp backward);

/// "dm" for "m".
std::string gradientName(llvm::StringRef stream);
/// Whether a boundary tensor is a residual stream (and no mask).
bool isStream(llvm::StringRef tensor);

/// The text that plans and reports use for a choice: "fused, s by 4".
std::string choiceText(ir::ChoiceAttr choice);

} // namespace evo
