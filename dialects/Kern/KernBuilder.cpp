//===- KernBuilder.cpp ------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "dialects/Kern/KernBuilder.h"

#include "llvm/Support/MathExtras.h"

#include <cmath>

using namespace mlir;

namespace evo::kern {

static ArrayRef<int64_t> shapeOf(Value value) {
  return cast<RankedTensorType>(value.getType()).getShape();
}

int64_t KernBuilder::size(Value value, int64_t axis) { return shapeOf(value)[axis]; }

RankedTensorType KernBuilder::tensor(ArrayRef<int64_t> shape, Type element) const {
  return RankedTensorType::get(shape, element);
}

RankedTensorType KernBuilder::withChannels(Value value, int64_t channels) const {
  SmallVector<int64_t> shape(shapeOf(value));
  shape.back() = channels;
  return tensor(shape, storageType);
}

DenseI64ArrayAttr KernBuilder::layoutAttr(ArrayRef<int64_t> layout) const {
  return layout.empty() ? DenseI64ArrayAttr() : builder.getDenseI64ArrayAttr(layout);
}

//===----------------------------------------------------------------------===//
// Parameters and views
//===----------------------------------------------------------------------===//

static Value makeWeight(OpBuilder &builder, Location location, const std::string &name,
                        ArrayRef<Part> parts, ArrayRef<int64_t> trailing, Type element) {
  SmallVector<Attribute> names;
  SmallVector<int64_t> rows, shape{0};
  for (const Part &part : parts) {
    names.push_back(builder.getStringAttr(part.parameter));
    rows.push_back(part.rows);
    shape[0] += part.rows;
  }
  shape.append(trailing.begin(), trailing.end());
  return builder.create<WeightOp>(location, RankedTensorType::get(shape, element),
                                  builder.getStringAttr(name), builder.getArrayAttr(names),
                                  builder.getDenseI64ArrayAttr(rows));
}

Value KernBuilder::weight(const std::string &name, ArrayRef<Part> parts, int64_t columns) {
  return makeWeight(builder, location, name, parts, columns, storageType);
}

Value KernBuilder::vector(const std::string &name, ArrayRef<Part> parts) {
  return makeWeight(builder, location, name, parts, {}, storageType);
}

Value KernBuilder::transpose(Value input, ArrayRef<int64_t> order) {
  SmallVector<int64_t> shape;
  for (int64_t axis : order)
    shape.push_back(shapeOf(input)[axis]);
  Type element = cast<RankedTensorType>(input.getType()).getElementType();
  return builder.create<TransposeOp>(location, tensor(shape, element), input,
                                     builder.getDenseI64ArrayAttr(order));
}

Value KernBuilder::slice(Value input, int64_t axis, int64_t start, int64_t size) {
  SmallVector<int64_t> shape(shapeOf(input));
  shape[axis] = size;
  Type element = cast<RankedTensorType>(input.getType()).getElementType();
  return builder.create<SliceOp>(location, tensor(shape, element), input,
                                 builder.getI64IntegerAttr(axis), builder.getI64IntegerAttr(start),
                                 builder.getI64IntegerAttr(size));
}

//===----------------------------------------------------------------------===//
// Kernels
//===----------------------------------------------------------------------===//

Value KernBuilder::layerNorm(Value x, const std::string &prefix, double eps, double factor) {
  int64_t channels = shapeOf(x).back();
  Value scale = vector(prefix + ".weight", channels);
  Value shift = vector(prefix + ".bias", channels);
  return builder
      .create<LayerNormOp>(location, withChannels(x, channels), Type(), Type(), x, scale, shift,
                           builder.getF64FloatAttr(eps), factorAttr(factor), DenseI64ArrayAttr())
      .getY();
}

Value KernBuilder::linear(Value x, Value weight, const LinearOptions &options) {
  return builder.create<LinearOp>(location, withChannels(x, shapeOf(weight)[0]), x, weight,
                                  options.bias, options.rowScale, options.gate, options.dropout,
                                  options.residual,
                                  builder.getStringAttr(plan::activationName(options.activation)),
                                  factorAttr(options.factor), layoutAttr(options.layout));
}

Value KernBuilder::gatedLinear(Value x, Value weight, Value bias, Value gateWeight, Value gateBias,
                               Value rowScale, ArrayRef<int64_t> layout) {
  return builder.create<GatedLinearOp>(location, withChannels(x, shapeOf(weight)[0]), x, weight,
                                       bias, gateWeight, gateBias, rowScale, layoutAttr(layout));
}

Value KernBuilder::attention(Value query, Value key, Value value, const AttentionOptions &options) {
  Type lse;
  if (statistics)
    lse = tensor({shapeOf(query)[0], options.heads, shapeOf(query)[1]}, statisticType);
  return builder
      .create<AttentionOp>(location, query.getType(), lse, query, key, value, options.pairBias,
                           options.mask, builder.getI64IntegerAttr(options.heads),
                           builder.getF64FloatAttr(options.scale),
                           builder.getF64FloatAttr(options.inf), DenseI64ArrayAttr())
      .getO();
}

Value KernBuilder::plainAttention(Value query, Value key, Value value,
                                  const AttentionOptions &options) {
  auto heads = builder.getI64IntegerAttr(options.heads);
  RankedTensorType logitsType =
      tensor({shapeOf(query)[0], options.heads, shapeOf(query)[1], shapeOf(key)[1]}, storageType);
  Value logits =
      builder.create<AttentionLogitsOp>(location, logitsType, query, key, options.pairBias,
                                        options.mask, heads, builder.getF64FloatAttr(options.scale),
                                        builder.getF64FloatAttr(options.inf), DenseI64ArrayAttr());
  Value weights = builder.create<SoftmaxOp>(location, logitsType, logits, DenseI64ArrayAttr());
  return builder.create<AttentionValuesOp>(location, query.getType(), weights, value, heads,
                                           DenseI64ArrayAttr());
}

Value KernBuilder::gate(Value o, Value gate, Value gateBias) {
  return builder.create<GateOp>(location, gate.getType(), o, gate, gateBias, DenseI64ArrayAttr());
}

Value KernBuilder::maskedMean(Value x, Value mask, double eps) {
  RankedTensorType type = tensor({shapeOf(x)[0], 1, shapeOf(x)[2]}, storageType);
  return builder.create<MaskedMeanOp>(location, type, x, mask, builder.getF64FloatAttr(eps),
                                      DenseI64ArrayAttr());
}

double KernBuilder::productFactor(int64_t terms) const {
  return storageType.isF16() ? std::ldexp(1, -static_cast<int>(llvm::Log2_64_Ceil(terms))) : 1;
}

FloatAttr KernBuilder::factorAttr(double factor) const {
  return factor == 1 ? FloatAttr() : builder.getF64FloatAttr(factor);
}

Value KernBuilder::outerProduct(Value a, Value b, double factor) {
  RankedTensorType type =
      tensor({shapeOf(a)[1], shapeOf(b)[1], shapeOf(a)[2] * shapeOf(b)[2]}, storageType);
  return builder.create<OuterProductOp>(location, type, a, b, factorAttr(factor),
                                        DenseI64ArrayAttr());
}

Value KernBuilder::outerProductMean(Value a, Value b, Value weight, Value bias, Value rowScale,
                                    Value residual) {
  return builder.create<OuterProductMeanOp>(location, residual.getType(), a, b, weight, bias,
                                            rowScale, residual, DenseI64ArrayAttr());
}

Value KernBuilder::outerProductNorm(Value maskI, Value maskJ, double eps) {
  RankedTensorType type = tensor({shapeOf(maskI)[1], shapeOf(maskJ)[1]}, statisticType);
  return builder.create<OuterProductNormOp>(location, type, maskI, maskJ,
                                            builder.getF64FloatAttr(eps), DenseI64ArrayAttr());
}

Value KernBuilder::batchMatmul(Value a, Value b, double factor) {
  RankedTensorType type = tensor({shapeOf(a)[0], shapeOf(a)[1], shapeOf(b)[1]}, storageType);
  return builder.create<BatchMatmulOp>(location, type, a, b, factorAttr(factor),
                                       DenseI64ArrayAttr());
}

Value KernBuilder::dropoutMask(ArrayRef<int64_t> shape, double rate, int64_t module) {
  return builder.create<DropoutMaskOp>(location, tensor(shape, statisticType),
                                       builder.getF64FloatAttr(rate),
                                       builder.getI64IntegerAttr(module), DenseI64ArrayAttr());
}

//===----------------------------------------------------------------------===//
// Loops
//===----------------------------------------------------------------------===//

SmallVector<Value> KernBuilder::sliceLoop(StringRef axis, int64_t size, ArrayRef<Sliced> sliced,
                                          ArrayRef<Value> whole, ArrayRef<int64_t> resultAxes,
                                          const Body &body) {
  SmallVector<Value> operands;
  SmallVector<int64_t> axes;
  for (const Sliced &operand : sliced) {
    operands.push_back(operand.value);
    axes.push_back(operand.axis);
  }
  int64_t extent = shapeOf(operands.front())[axes.front()];
  if (size <= 0 || size >= extent)
    return body(operands, whole);

  Block *block = new Block;
  for (auto [operand, dim] : llvm::zip_equal(operands, axes)) {
    auto type = cast<RankedTensorType>(operand.getType());
    SmallVector<int64_t> shape(type.getShape());
    shape[dim] = ShapedType::kDynamic;
    block->addArgument(tensor(shape, type.getElementType()), location);
  }
  for (Value operand : whole)
    block->addArgument(operand.getType(), location);

  OpBuilder::InsertionGuard guard(builder);
  OpBuilder::InsertPoint outside = builder.saveInsertionPoint();
  builder.setInsertionPointToEnd(block);
  SmallVector<Value> arguments(block->args_begin(), block->args_end());
  SmallVector<Value> yielded = body(ArrayRef(arguments).take_front(sliced.size()),
                                    ArrayRef(arguments).drop_front(sliced.size()));
  builder.create<YieldOp>(location, yielded);
  builder.restoreInsertionPoint(outside);

  SmallVector<Type> types;
  for (auto [value, dim] : llvm::zip_equal(yielded, resultAxes)) {
    auto type = cast<RankedTensorType>(value.getType());
    SmallVector<int64_t> shape(type.getShape());
    shape[dim] = extent;
    types.push_back(tensor(shape, type.getElementType()));
  }
  auto loop = builder.create<SliceLoopOp>(
      location, types, operands, whole, builder.getStringAttr(axis),
      builder.getI64IntegerAttr(extent), builder.getI64IntegerAttr(size),
      builder.getDenseI64ArrayAttr(axes), builder.getDenseI64ArrayAttr(resultAxes));
  loop.getBody().push_back(block);
  // The insertion point lies behind the loop when the guard has restored it: ops go on from here.
  return SmallVector<Value>(loop.getResults());
}

} // namespace evo::kern
