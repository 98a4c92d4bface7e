//===- KernKernels.cpp - the kernel ops -------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// What differs between kernels (work and exponentials) and what they share (syntax, verification).
//===----------------------------------------------------------------------===//
#include "dialects/Kern/KernDialect.h"

#include "llvm/ADT/STLExtras.h"

using namespace mlir;
using evo::plan::AxisExtents;

namespace evo::kern {

//===----------------------------------------------------------------------===//
// Work
//===----------------------------------------------------------------------===//

// Extents are read by the letters of Kernels.def. Vector work counts its additions and
// multiplications.
#define EVO_KERNEL_WORK(Op, MATMUL, FLOPS, EXPS)                                                   \
  bool Op::isMatmul() { return MATMUL; }                                                           \
  double Op::getFlops(const AxisExtents &axes) { return FLOPS; }                                   \
  double Op::getExps(const AxisExtents &axes) { return EXPS; }                                     \
  int64_t Op::getWorkspaceBytes(const AxisExtents &) { return 0; }

EVO_KERNEL_WORK(LayerNormOp, false, 8 * axes.product("*c"), 0)
EVO_KERNEL_WORK(LinearOp, true, 2 * axes.product("*nk"), getGate() ? axes.product("*n") : 0)
EVO_KERNEL_WORK(GatedLinearOp, true, 4 * axes.product("*nk"), axes.product("*n"))
EVO_KERNEL_WORK(AttentionOp, true, 4 * axes.product("bqkx"), axes.product("bhqk"))
EVO_KERNEL_WORK(AttentionLogitsOp, true, 2 * axes.product("bqkx"), 0)
EVO_KERNEL_WORK(SoftmaxOp, false, 4 * axes.product("*k"), axes.product("*k"))
EVO_KERNEL_WORK(AttentionValuesOp, true, 2 * axes.product("bqkx"), 0)
EVO_KERNEL_WORK(GateOp, false, 3 * axes.product("bqx"), axes.product("bqx"))
EVO_KERNEL_WORK(MaskedMeanOp, false, 2 * axes.product("bqx"), 0)
EVO_KERNEL_WORK(OuterProductOp, true, 2 * axes.product("sijx"), 0)
EVO_KERNEL_WORK(OuterProductMeanOp, true, 2 * axes.product("sijx") + 2 * axes.product("ijnx"), 0)
EVO_KERNEL_WORK(OuterProductNormOp, true, 2 * axes.product("sij"), 0)
EVO_KERNEL_WORK(BatchMatmulOp, true, 2 * axes.product("bmnk"), 0)
EVO_KERNEL_WORK(CopyOp, false, 0, 0)
// Ten rounds of two multiplications, four exclusive ors and two additions make four elements.
EVO_KERNEL_WORK(DropoutMaskOp, false, 20 * axes.product("*"), 0)
EVO_KERNEL_WORK(LayerNormGradOp, false, 16 * axes.product("*c"), 0)
EVO_KERNEL_WORK(LinearGradOp, false, 4 * axes.product("*n"), getGate() ? axes.product("*n") : 0)
EVO_KERNEL_WORK(WeightGradOp, true, 2 * axes.product("*nk"), 0)
EVO_KERNEL_WORK(BatchMatmulGradOp, true, 2 * axes.product("bmnk"), 0)
EVO_KERNEL_WORK(BiasGradOp, false, axes.product("*n"), 0)
EVO_KERNEL_WORK(GatedLinearGradOp, false, 6 * axes.product("*n"), axes.product("*n"))
EVO_KERNEL_WORK(AttentionGradOp, true, 10 * axes.product("bqkx"), axes.product("bhqk"))
EVO_KERNEL_WORK(SoftmaxGradOp, false, 4 * axes.product("*k"), 0)
EVO_KERNEL_WORK(AttentionValuesGradOp, true, 4 * axes.product("bqkx"), 0)
EVO_KERNEL_WORK(AttentionLogitsGradOp, true, 4 * axes.product("bqkx"), 0)
EVO_KERNEL_WORK(GateGradOp, false, 6 * axes.product("bqx"), axes.product("bqx"))
EVO_KERNEL_WORK(MaskedMeanGradOp, false, 2 * axes.product("bqx"), 0)
EVO_KERNEL_WORK(OuterProductGradOp, true, 4 * axes.product("sijx"), 0)
EVO_KERNEL_WORK(AddOp, false, axes.product("*"), 0)
EVO_KERNEL_WORK(ZeroOp, false, 0, 0)
EVO_KERNEL_WORK(CountNonfiniteOp, false, axes.product("*"), 0)
EVO_KERNEL_WORK(SgdStepOp, false, 5 * axes.product("*"), 0)
EVO_KERNEL_WORK(AdamwStepOp, false, 16 * axes.product("*"), 0)
EVO_KERNEL_WORK(AdvanceOptimizerOp, false, axes.product("e"), 0)
#undef EVO_KERNEL_WORK

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
