//===- EvoDialect.cpp - registration, choices, structure --------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "dialects/Evo/EvoDialect.h"

#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/TypeSwitch.h"

#include "dialects/Evo/EvoDialect.cpp.inc"
#include "dialects/Evo/EvoEnums.cpp.inc"
#include "dialects/Evo/EvoInterfaces.cpp.inc"

#define GET_ATTRDEF_CLASSES
#include "dialects/Evo/EvoAttrs.cpp.inc"

#define GET_OP_CLASSES
#include "dialects/Evo/EvoOps.cpp.inc"

using namespace mlir;

namespace evo::ir {

void EvoDialect::initialize() {
  addAttributes<
#define GET_ATTRDEF_LIST
#include "dialects/Evo/EvoAttrs.cpp.inc"
      >();
  addOperations<
#define GET_OP_LIST
#include "dialects/Evo/EvoOps.cpp.inc"
      >();
}

LogicalResult ChoiceAttr::verify(function_ref<InFlightDiagnostic()> emitError, KernelVariant,
                                 Axis axis, int64_t size, Keep, KernelVariant, Axis backwardAxis,
                                 int64_t backwardSize, MsaLayout, PairLayout) {
  auto check = [&](StringRef what, Axis which, int64_t elements) -> LogicalResult {
    if (which == Axis::None ? elements == 0 : elements >= 1)
      return success();
    return emitError() << "expected a " << what << "size of at least 1 on an axis, 0 on none, got "
                       << elements << " on " << stringifyAxis(which);
  };
  return failure(failed(check("", axis, size)) ||
                 failed(check("backward ", backwardAxis, backwardSize)));
}

LogicalResult verifyChoice(ModuleOpInterface op, ChoiceAttr choice) {
  SmallVector<KernelVariant> variants = op.getLegalVariants();
  if (!llvm::is_contained(variants, choice.getVariant()))
    return op->emitOpError("has no kernel variant '")
           << stringifyKernelVariant(choice.getVariant()) << "'";
  if (choice.getAxis() == Axis::None)
    return success();
  SmallVector<StringRef> names;
  for (const SliceAxis &legal : op.getLegalAxes()) {
    if (legal.axis == choice.getAxis())
      return success();
    names.push_back(stringifyAxis(legal.axis));
  }
  return op->emitOpError("slices are not independent along '")
         << stringifyAxis(choice.getAxis()) << "'; legal: " << llvm::join(names, ", ");
}

LogicalResult verifyModule(ModuleOpInterface op) {
  if (op->getOperandTypes().empty() || op->getNumResults() != 1)
    return op->emitOpError("expected operands and one result");
  SmallVector<StringRef> names = op.getTensorNames();
  for (auto [name, operand] : llvm::zip_equal(names, op->getOperands()))
    if (name == op.getUpdatedTensor() && operand.getType() != op->getResult(0).getType())
      return op->emitOpError("expected the result to have the type of ")
             << name << ", " << operand.getType() << ", got " << op->getResult(0).getType();
  if (ChoiceAttr choice = op.getModuleChoice())
    return verifyChoice(op, choice);
  return success();
}

LogicalResult StackOp::verify() {
  if (getBody().front().getNumArguments() != getTensors().size())
    return emitOpError("expected a block argument a tensor (")
           << getTensors().size() << "), got " << getBody().front().getNumArguments();
  if (!isa<YieldOp>(getBody().front().back()))
    return emitOpError("expected to end in evo.yield");
  return success();
}

LogicalResult SegmentOp::verify() {
  if (static_cast<int64_t>(getFirst()) < 0 || static_cast<int64_t>(getCount()) < 1)
    return emitOpError("expected first of at least 0 and count of at least 1");
  Block &block = getBody().front();
  auto yield = dyn_cast<YieldOp>(block.back());
  if (!yield)
    return emitOpError("expected to end in evo.yield");
  TypeRange streams = getStreams().getTypes();
  if (TypeRange(block.getArgumentTypes()) != streams || getResultTypes() != streams ||
      yield.getOperandTypes() != streams)
    return emitOpError("expected operands, block arguments, results and yielded values of the same "
                       "types");
  return success();
}

} // namespace evo::ir
