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

LogicalResult RunAttr::verify(function_ref<InFlightDiagnostic()> emitError, int64_t first,
                              int64_t count, Axis axis, int64_t size) {
  if (first < 0 || count < 1)
    return emitError() << "expected a first module of at least 0 and at least 1 module, got first "
                       << first << " and count " << count;
  if (axis == Axis::None ? size != 0 : size < 1)
    return emitError() << "expected a size of at least 1 on an axis, 0 on none, got " << size
                       << " on " << stringifyAxis(axis);
  return success();
}

LogicalResult RecomputeAttr::verify(function_ref<InFlightDiagnostic()> emitError, int64_t first,
                                    int64_t count, ArrayAttr choices) {
  int64_t end = 0;
  if (first < 0 || count < 1 || __builtin_add_overflow(first, count, &end))
    return emitError() << "expected a first block of at least 0 and at least 1 block, got first "
                       << first << " and count " << count;
  if (!choices)
    return emitError() << "expected a choice a module, got none";
  for (Attribute each : choices.getValue()) {
    auto choice = llvm::dyn_cast<ChoiceAttr>(each);
    if (!choice || choice.getKeep() != Keep::Nothing)
      return emitError() << "expected choices that keep nothing, got " << each;
  }
  return success();
}

/// One direction's variant and axis; `phase` is "" or "backward ".
static LogicalResult verifyPhase(ModuleOpInterface op, StringRef phase, KernelVariant variant,
                                 Axis axis) {
  SmallVector<KernelVariant> variants = op.getLegalVariants();
  if (!llvm::is_contained(variants, variant))
    return op->emitOpError("expected a ") << phase << "kernel variant that it has (C6), got '"
                                          << stringifyKernelVariant(variant) << "'";
  if (axis == Axis::None)
    return success();
  SmallVector<StringRef> names;
  for (const SliceAxis &legal : op.getLegalAxes()) {
    if (legal.axis == axis)
      return success();
    names.push_back(stringifyAxis(legal.axis));
  }
  return op->emitOpError("expected ") << phase << "slices along " << llvm::join(names, " or ")
                                      << " (C6), got '" << stringifyAxis(axis) << "'";
}

LogicalResult verifyChoice(ModuleOpInterface op, ChoiceAttr choice) {
  if (failed(verifyPhase(op, "", choice.getVariant(), choice.getAxis())))
    return failure();
  if (choice.getKeep() == Keep::Nothing)
    return success();
  if (keepsResults(choice.getKeep()) &&
      (choice.getAxis() != Axis::None || choice.getBackwardAxis() != Axis::None ||
       choice.getVariant() != choice.getBackwardVariant()))
    return op->emitOpError(
               "expected one kernel variant and no slices where results are kept (C6), got "
               "'")
           << choice << "'";
  return verifyPhase(op, "backward ", choice.getBackwardVariant(), choice.getBackwardAxis());
}

LogicalResult verifyModule(ModuleOpInterface op, const APFloat &normEps) {
  auto result = cast<RankedTensorType>(op->getResult(0).getType());
  for (auto [name, operand] : llvm::zip_equal(op.getTensorNames(), op->getOperands())) {
    auto type = cast<RankedTensorType>(operand.getType());
    if (!type.hasStaticShape() || llvm::is_contained(type.getShape(), 0))
      return op->emitOpError("expected known extents of at least 1 (C2), got ")
             << name << " of " << type;
    if (name == op.getUpdatedTensor() && type != result)
      return op->emitOpError("expected the result to have the type of ")
             << name << " (C3), " << type << ", got " << result;
    if (type.getElementType() != result.getElementType())
      return op->emitOpError("expected one element type (C4), ")
             << result.getElementType() << ", got " << name << " of " << type.getElementType();
  }
  if (!normEps.isFinite() || normEps.convertToDouble() <= 0)
    return op->emitOpError("expected norm_eps > 0 (C5), got ") << normEps.convertToDouble();
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
  auto yielded = getBody().front().back().getOperandTypes();
  auto arguments = getBody().getArgumentTypes();
  if (yielded.size() > arguments.size() ||
      !std::equal(yielded.begin(), yielded.end(), arguments.begin()))
    return emitOpError("expected to yield streams of the types of its first tensors");
  return success();
}

/// (C2): in order, within the block, apart or nested in the one before.
static LogicalResult verifyRuns(SegmentOp segment) {
  if (!segment.getRuns())
    return success();
  SmallVector<ModuleOpInterface> modules(segment.getBody().front().getOps<ModuleOpInterface>());
  int64_t end = 0, groupEnd = 0;
  for (RunAttr run : segment.getRuns()->getAsRange<RunAttr>()) {
    int64_t first = run.getFirst(), last = 0;
    if (__builtin_add_overflow(first, run.getCount(), &last) ||
        last > static_cast<int64_t>(modules.size()))
      return segment.emitOpError("expected runs of its ")
             << modules.size() << " modules (C2), got " << run;
    bool nested = run.getAxis() != Axis::None && last <= groupEnd;
    if (first < end || (first < groupEnd && !nested))
      return segment.emitOpError(
                 "expected runs in order, apart or a loop within a group (C2), got ")
             << run;
    ArrayRef<ModuleOpInterface> members =
        ArrayRef(modules).slice(first, static_cast<size_t>(run.getCount()));
    if (run.getAxis() == Axis::None)
      groupEnd = last;
    else if (failed(verifyRun(segment, members, run.getAxis())))
      return failure();
    end = run.getAxis() == Axis::None ? first : last;
  }
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
                       "types (C1)");
  return verifyRuns(*this);
}

} // namespace evo::ir
