//===- KernKernels.cpp - the kernel ops -------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// What kernels share: work by the formulas of runtime/plan, axes and bytes, syntax, verification.
//===----------------------------------------------------------------------===//
#include "dialects/Kern/KernDialect.h"

#include "runtime/plan/KernelWork.h"

#include "llvm/ADT/STLExtras.h"

using namespace mlir;
using evo::plan::AxisExtents;

namespace evo::kern {

//===----------------------------------------------------------------------===//
// Work
//===----------------------------------------------------------------------===//

// The formulas stand in runtime/plan/KernelWork.cpp, where calibrations read them too.
#define EVO_KERNEL(Name, mnemonic, attributes, ...)                                                \
  bool Name##Op::isMatmul() { return plan::isMatmul(plan::Kernel::Name); }                         \
  double Name##Op::getFlops(const AxisExtents &axes) {                                             \
    return plan::kernelFlops(plan::Kernel::Name, axes);                                            \
  }                                                                                                \
  double Name##Op::getExps(const AxisExtents &axes) {                                              \
    uint32_t present = presentOperands(cast<KernelOpInterface>(getOperation()));                   \
    return plan::kernelWork(plan::Kernel::Name, axes, present).exps;                               \
  }                                                                                                \
  int64_t Name##Op::getWorkspaceBytes(const AxisExtents &) { return 0; }
#define ATTRIBUTES(...)
#include "runtime/plan/Kernels.def"

//===----------------------------------------------------------------------===//
// Axes and bytes
//===----------------------------------------------------------------------===//

SliceLoopOp getEnclosingLoop(Operation *op) { return op->getParentOfType<SliceLoopOp>(); }

std::vector<int64_t> resolveShape(Value value, int64_t sliceLength) {
  std::vector<int64_t> shape;
  for (int64_t size : cast<RankedTensorType>(value.getType()).getShape())
    shape.push_back(ShapedType::isDynamic(size) ? sliceLength : size);
  return shape;
}

static SmallVector<Value> getAllOperands(KernelOpInterface op) {
  SmallVector<Value> values = op.getKernelInputs();
  llvm::append_range(values, op.getKernelOutputs());
  return values;
}

Result<AxisExtents> getKernelAxes(KernelOpInterface op, int64_t sliceLength) {
  std::vector<std::optional<std::vector<int64_t>>> shapes;
  for (Value value : getAllOperands(op))
    shapes.push_back(value ? std::optional(resolveShape(value, sliceLength)) : std::nullopt);
  return plan::bindKernelAxes(op.getKernel(), op.getKernelAttributes(), shapes);
}

uint32_t presentOperands(KernelOpInterface op) {
  uint32_t present = 0;
  for (auto [index, value] : llvm::enumerate(getAllOperands(op)))
    present |= value ? 1u << index : 0;
  return present;
}

static double valueBytes(Value value, int64_t sliceLength) {
  double bytes = cast<RankedTensorType>(value.getType()).getElementTypeBitWidth() / 8.0;
  for (int64_t size : resolveShape(value, sliceLength))
    bytes *= static_cast<double>(size);
  return bytes;
}

KernelBytes kernelBytes(KernelOpInterface op, int64_t sliceLength) {
  KernelBytes bytes;
  SmallVector<Value> seen;
  for (Value value : op.getKernelInputs()) {
    if (!value || llvm::is_contained(seen, value))
      continue;
    seen.push_back(value);
    bytes.read += valueBytes(value, sliceLength);
  }
  for (Value value : op.getKernelOutputs())
    if (value)
      bytes.written += valueBytes(value, sliceLength);
  return bytes;
}

Value getViewBase(Value value) {
  while (Operation *op = value.getDefiningOp()) {
    if (!isa<TransposeOp, SliceOp>(op))
      break;
    value = op->getOperand(0);
  }
  return value;
}

bool Transposed::isIdentity() const {
  return llvm::equal(order, llvm::seq<int64_t>(0, order.size()));
}

Transposed peelTransposes(Value value) {
  int64_t rank = cast<RankedTensorType>(value.getType()).getRank();
  Transposed result{value, llvm::to_vector(llvm::seq<int64_t>(0, rank))};
  while (auto transpose = result.base.getDefiningOp<TransposeOp>()) {
    for (int64_t &axis : result.order)
      axis = transpose.getOrder()[axis];
    result.base = transpose.getInput();
  }
  return result;
}

Value tiedOperand(KernelOpInterface op, unsigned outputIndex) {
  const plan::KernelInfo &info = plan::kernelInfo(op.getKernel());
  SmallVector<Value> inputs = op.getKernelInputs();
  const plan::OperandInfo &output = info.operands[inputs.size() + outputIndex];
  int index = info.operandIndex(output.mayAlias);
  return index < 0 ? Value() : inputs[index];
}

//===----------------------------------------------------------------------===//
// Attributes
//===----------------------------------------------------------------------===//

plan::KernelAttributes readKernelAttributes(DictionaryAttr dictionary, plan::Kernel kernel) {
  plan::KernelAttributes values;
  for (plan::KernelAttribute attribute : plan::kernelInfo(kernel).attributes) {
    const plan::AttributeInfo &entry = plan::attributeInfo(attribute);
    StringRef name = entry.name;
    if (entry.optional && !dictionary.get(name))
      continue;
    if (entry.real)
      values.*entry.real = dictionary.getAs<FloatAttr>(name).getValueAsDouble();
    else if (entry.integer)
      values.*entry.integer = dictionary.getAs<IntegerAttr>(name).getInt();
    else
      values.activation = plan::parseActivation(dictionary.getAs<StringAttr>(name).getValue())
                              .value_or(plan::Activation::None);
  }
  return values;
}

plan::KernelAttributes readKernelAttributes(Operation *op, plan::Kernel kernel) {
  // The ops name their attributes as the row does; KernelOpsTest holds the two together.
  return readKernelAttributes(op->getAttrDictionary(), kernel);
}

DictionaryAttr writeKernelAttributes(MLIRContext *context, plan::Kernel kernel,
                                     const plan::KernelAttributes &values) {
  Builder builder(context);
  NamedAttrList list;
  for (plan::KernelAttribute attribute : plan::kernelInfo(kernel).attributes) {
    const plan::AttributeInfo &entry = plan::attributeInfo(attribute);
    if (entry.optional && values.*entry.real == plan::KernelAttributes().*entry.real)
      continue;
    if (entry.real)
      list.set(StringRef(entry.name), builder.getF64FloatAttr(values.*entry.real));
    else if (entry.integer)
      list.set(StringRef(entry.name), builder.getI64IntegerAttr(values.*entry.integer));
    else
      list.set(StringRef(entry.name),
               builder.getStringAttr(plan::activationName(values.activation)));
  }
  return list.getDictionary(context);
}

//===----------------------------------------------------------------------===//
// Syntax
//===----------------------------------------------------------------------===//

ParseResult parseKernel(OpAsmParser &parser, OperationState &state, plan::Kernel kernel) {
  const plan::KernelInfo &info = plan::kernelInfo(kernel);
  SmallVector<OpAsmParser::UnresolvedOperand> values;
  SmallVector<int32_t> present(info.operands.size(), 0);
  int last = -1;
  auto parseOperand = [&]() -> ParseResult {
    StringRef name;
    SMLoc location = parser.getCurrentLocation();
    if (parser.parseKeyword(&name) || parser.parseEqual() ||
        parser.parseOperand(values.emplace_back()))
      return failure();
    int index = info.operandIndex({name.data(), name.size()});
    if (index <= last || info.operands[index].isOutput())
      return parser.emitError(location) << "expected an input of '" << StringRef(info.mnemonic)
                                        << "' in its order, got '" << name << "'";
    last = index;
    present[index] = 1;
    return success();
  };
  FunctionType type;
  SMLoc location = parser.getCurrentLocation();
  if (parser.parseCommaSeparatedList(AsmParser::Delimiter::Paren, parseOperand) ||
      parser.parseOptionalAttrDict(state.attributes) || parser.parseColonType(type) ||
      parser.resolveOperands(values, type.getInputs(), location, state.operands))
    return failure();
  // Operands are positions from here on: one that is left out would shift those behind it.
  for (auto [operand, given] : llvm::zip_equal(info.operands, present))
    if (operand.role == plan::OperandRole::In && !given)
      return parser.emitError(location) << "expected operand '" << StringRef(operand.name)
                                        << "' of '" << StringRef(info.mnemonic) << "', got none";
  state.addTypes(type.getResults());
  // ODS wants segment sizes only where more than one operand, or result, is optional.
  Builder &builder = parser.getBuilder();
  auto count = [&](plan::OperandRole role) {
    return llvm::count_if(info.operands, [&](auto &operand) { return operand.role == role; });
  };
  size_t inputs = llvm::count_if(info.operands, [](auto &operand) { return !operand.isOutput(); });
  if (count(plan::OperandRole::OptIn) > 1)
    state.addAttribute("operandSegmentSizes",
                       builder.getDenseI32ArrayAttr(ArrayRef(present).take_front(inputs)));
  if (count(plan::OperandRole::OptOut) > 1) {
    // Optional results come with the input that they may alias; the others are given in order: all
    // of the first ones that the type lists.
    SmallVector<int32_t> results(info.operands.size() - inputs, 0);
    for (size_t i = 0; i < std::min<size_t>(results.size(), type.getNumResults()); ++i)
      results[i] = 1;
    for (size_t i = 0; i < results.size(); ++i)
      if (int tied = info.operandIndex(info.operands[inputs + i].mayAlias); tied >= 0)
        results[i] = present[tied];
    state.addAttribute("resultSegmentSizes", builder.getDenseI32ArrayAttr(results));
  }
  return success();
}

void printKernel(OpAsmPrinter &printer, KernelOpInterface op) {
  const plan::KernelInfo &info = plan::kernelInfo(op.getKernel());
  SmallVector<Value> inputs = op.getKernelInputs();
  printer << '(';
  bool first = true;
  for (auto [index, value] : llvm::enumerate(inputs)) {
    if (!value)
      continue;
    printer << (first ? "" : ", ") << StringRef(info.operands[index].name) << " = " << value;
    first = false;
  }
  printer << ')';
  printer.printOptionalAttrDict(op->getAttrs(), {"operandSegmentSizes", "resultSegmentSizes"});
  printer << " : "
          << FunctionType::get(op->getContext(), op->getOperandTypes(), op->getResultTypes());
}

static StringRef rangeText(plan::AttributeRange range) {
  switch (range) {
  case plan::AttributeRange::Any:
    return " to be finite";
  case plan::AttributeRange::Positive:
    return " > 0";
  case plan::AttributeRange::NonNegative:
    return " of at least 0";
  case plan::AttributeRange::Fraction:
    return " in [0, 1)";
  case plan::AttributeRange::Word:
    return " in [0, 2^32)";
  }
  return "";
}

LogicalResult verifyKernelAttributes(Operation *op, DictionaryAttr dictionary,
                                     plan::Kernel kernel) {
  for (plan::KernelAttribute attribute : plan::kernelInfo(kernel).attributes) {
    const plan::AttributeInfo &entry = plan::attributeInfo(attribute);
    StringRef name = entry.name;
    Attribute value = dictionary.get(name);
    if (entry.optional && !value)
      continue;
    auto expected = [&](StringRef what) -> LogicalResult {
      InFlightDiagnostic error = op->emitOpError("expected ") << name << what << ", got ";
      return value ? error << value : error << "none";
    };
    if (entry.real) {
      auto real = dyn_cast_or_null<FloatAttr>(value);
      if (!real || !plan::isInRange(entry.range, real.getValueAsDouble()))
        return expected(rangeText(entry.range));
    } else if (entry.integer) {
      auto integer = dyn_cast_or_null<IntegerAttr>(value);
      bool positive = entry.range == plan::AttributeRange::Positive;
      if (!integer || !integer.getType().isInteger(64) ||
          !plan::isInRange(entry.range, integer.getInt()))
        return expected(positive ? " of at least 1" : rangeText(entry.range));
    } else {
      auto text = dyn_cast_or_null<StringAttr>(value);
      if (!text || !plan::parseActivation(text.getValue()))
        return expected(" none or relu");
    }
  }
  return success();
}

static LogicalResult verifyLayout(KernelOpInterface op) {
  std::optional<ArrayRef<int64_t>> layout = op.getStoreOrder();
  if (!layout)
    return success();
  SmallVector<int64_t> sorted(*layout);
  llvm::sort(sorted);
  int64_t rank = cast<RankedTensorType>(op.getKernelOutputs().front().getType()).getRank();
  if (sorted != llvm::to_vector(llvm::seq<int64_t>(0, rank)))
    return op->emitOpError("expected layout to be a permutation of ") << rank << " axes";
  return success();
}

/// Element types by the row: the first storage operand says what the storage type is.
static LogicalResult verifyElementTypes(KernelOpInterface op, ArrayRef<Value> values) {
  const plan::KernelInfo &info = plan::kernelInfo(op.getKernel());
  auto element = [](Value value) {
    return cast<RankedTensorType>(value.getType()).getElementType();
  };
  Type storage;
  for (auto [operand, value] : llvm::zip_equal(info.operands, values))
    if (value && !storage && operand.type == plan::OperandType::Storage)
      storage = element(value);
  // Where no operand says, a statistic may have any type that statistics have.
  if (!storage) {
    for (auto [operand, value] : llvm::zip_equal(info.operands, values))
      if (value && operand.type == plan::OperandType::Statistic && !element(value).isF32() &&
          !element(value).isF64())
        return op->emitOpError("operand '")
               << StringRef(operand.name) << "' expected f32 or f64, got " << element(value);
    return success();
  }
  Type statistic = storage.isF64() ? storage : Float32Type::get(op->getContext());
  for (auto [operand, value] : llvm::zip_equal(info.operands, values)) {
    bool either = operand.type == plan::OperandType::Either;
    Type expected = operand.type == plan::OperandType::Storage ? storage : statistic;
    if (!value || element(value) == expected || (either && element(value) == storage))
      continue;
    return op->emitOpError("operand '")
           << StringRef(operand.name) << "' expected " << expected << ", got " << element(value);
  }
  return success();
}

LogicalResult verifyKernel(KernelOpInterface op) {
  if (failed(verifyKernelAttributes(op, op->getAttrDictionary(), op.getKernel())))
    return failure();
  const plan::KernelInfo &info = plan::kernelInfo(op.getKernel());
  SmallVector<Value> values = getAllOperands(op);
  for (auto [operand, value] : llvm::zip_equal(info.operands, values)) {
    if (!value)
      continue;
    auto type = cast<RankedTensorType>(value.getType());
    if (!toDType(type.getElementType()))
      return op->emitOpError("operand '")
             << StringRef(operand.name) << "' expected f64, f32, f16 or bf16, got "
             << type.getElementType();
    if (type.getRank() < 1)
      return op->emitOpError("operand '")
             << StringRef(operand.name) << "' expected an axis, got " << type;
    if (llvm::count_if(type.getShape(), ShapedType::isDynamic) > 1)
      return op->emitOpError("operand '")
             << StringRef(operand.name) << "' expected at most one sliced axis, got " << type;
    if (!type.hasStaticShape() && !getEnclosingLoop(op))
      return op->emitOpError("operand '")
             << StringRef(operand.name) << "' has a sliced axis outside of a loop: " << type;
  }
  SliceLoopOp loop = getEnclosingLoop(op);
  Result<AxisExtents> axes = getKernelAxes(op, loop ? loop.getSize() : 1);
  if (!axes)
    return op->emitOpError() << axes.status().message();
  return failure(failed(verifyElementTypes(op, values)) || failed(verifyLayout(op)));
}

} // namespace evo::kern
