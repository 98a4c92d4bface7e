//===- EvoDialect.h - the evo dialect ---------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// One op a module, the choices on them, and the module interface; see EvoDialect.td and EvoOps.td.
//===----------------------------------------------------------------------===//
#pragma once

#include "dialects/Kern/KernBuilder.h"

#include "mlir/IR/BuiltinOps.h"
#include "llvm/ADT/StringMap.h"

#include <string>

#include "dialects/Evo/EvoDialect.h.inc"
#include "dialects/Evo/EvoEnums.h.inc"

#define GET_ATTRDEF_CLASSES
#include "dialects/Evo/EvoAttrs.h.inc"

namespace evo::ir {

/// The largest single tensor of a module, as the seed writes it.
struct DominantTerm {
  std::string formula; ///< "h s r^2"
  double elements;     ///< a double: it explains, it never decides
};

/// An axis along which a module's slices are independent.
struct SliceAxis {
  Axis axis;
  int64_t extent;
  /// What every slice reads whole and is therefore computed before the loop: "pair bias"; empty:
  /// nothing.
  std::string whole = {};
  /// The stream that it is computed from: "z"; empty: none.
  llvm::StringRef wholeFrom = {};
};

/// Whether results are kept, and not only inputs.
inline bool keepsResults(Keep keep) {
  return keep == Keep::All || keep == Keep::Products || keep == Keep::Mixing;
}

/// What the slices of a module share: read whole where `axis` is -1, else the slice along `axis`.
struct SideInput {
  mlir::Value value;
  int64_t axis = -1;
};

} // namespace evo::ir

#include "dialects/Evo/EvoInterfaces.h.inc"

namespace evo::ir {

/// Checks what all modules have in common, (C2) to (C6) of EvoOps.td.
mlir::LogicalResult verifyModule(ModuleOpInterface op, const llvm::APFloat &normEps);

/// Checks that the choice is one of the module's legal ones; the error says which are.
mlir::LogicalResult verifyChoice(ModuleOpInterface op, ChoiceAttr choice);

/// Emits modules, one after the other: on whole tensors where `axis` is None, else in one loop over
/// slices of `size` elements of an axis that all of them have; what their slices share is computed
/// before. `tensors` holds the newest value of each boundary tensor by name and gets the new
/// streams. Several modules share a loop only where verifyRun says so.
void emitModules(kern::KernBuilder &builder, llvm::ArrayRef<ModuleOpInterface> modules,
                 llvm::ArrayRef<KernelVariant> variants, Axis axis, int64_t size,
                 llvm::StringMap<mlir::Value> &tensors);

/// Checks that modules may share a loop over `axis`: it is legal for each, and what the slices of
/// one share does not depend on a stream that another before it updates.
mlir::LogicalResult verifyRun(mlir::Operation *reporter, llvm::ArrayRef<ModuleOpInterface> modules,
                              Axis axis);

} // namespace evo::ir

#define GET_OP_CLASSES
#include "dialects/Evo/EvoOps.h.inc"
