//===- EvoDialect.h - the evo dialect ---------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// One op a module, the choices on them, and the module interface; see EvoDialect.td and EvoOps.td.
//===----------------------------------------------------------------------===//
#pragma once

#include "dialects/Kern/KernBuilder.h"

#include "mlir/IR/BuiltinOps.h"

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
};

} // namespace evo::ir

#include "dialects/Evo/EvoInterfaces.h.inc"

namespace evo::ir {

/// Checks what all modules have in common, (C2) to (C6) of EvoOps.td.
mlir::LogicalResult verifyModule(ModuleOpInterface op, const llvm::APFloat &normEps);

/// Checks that the choice is one of the module's legal ones; the error says which are.
mlir::LogicalResult verifyChoice(ModuleOpInterface op, ChoiceAttr choice);

} // namespace evo::ir

#define GET_OP_CLASSES
#include "dialects/Evo/EvoOps.h.inc"
