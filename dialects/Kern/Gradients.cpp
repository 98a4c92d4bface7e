//===- Gradients.cpp --------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "dialects/Kern/Gradients.h"

using namespace mlir;

namespace evo::kern {

RankedTensorType GradientBuilder::statisticLike(Value value) const {
  return RankedTensorType::get(cast<RankedTensorType>(value.getType()).getShape(), statisticType);
}

Value GradientBuilder::toStorage(Value value) {
  auto type = cast<RankedTensorType>(value.getType());
  if (type.getElementType() == storageType)
    return value;
  return builder.create<CopyOp>(location, RankedTensorType::get(type.getShape(), storageType),
                                value, DenseI64ArrayAttr());
}

/// A value is active where it is marked, a weight, or made from an active one.
bool GradientBuilder::isActive(Value value) {
  if (!value)
    return false;
  auto known = active.find(value);
  if (known != active.end())
    return known->second;
  Operation *op = value.getDefiningOp();
  bool result = false;
  if (op && isa<WeightOp>(op))
    result = true;
  else if (op)
    for (Value operand : op->getOperands())
      result |= isActive(operand);
  active[value] = result;
  return result;
}

void GradientBuilder::add(Value value, Value contribution) {
  if (!isActive(value))
    return;
  Value &gradient = gradients[value];
  if (!gradient) {
    gradient = contribution;
    return;
  }
  gradient = builder.create<AddOp>(location, gradient.getType(), gradient, contribution,
                                   DenseI64ArrayAttr());
}

//===----------------------------------------------------------------------===//
// Views
//===----------------------------------------------------------------------===//

/// Puts the gradients of the slices that tile `base` together. Slices of the same rows add up.
void GradientBuilder::gatherSlices(Value base) {
  SmallVector<SliceOp> slices;
  for (Operation *user : base.getUsers())
    if (auto slice = dyn_cast<SliceOp>(user); slice && get(slice.getResult()))
      slices.push_back(slice);
  if (slices.empty())
    return;
  llvm::sort(slices, [](SliceOp a, SliceOp b) {
    if (a.getStart() != b.getStart())
      return a.getStart() < b.getStart();
    return a != b && a->getBlock() == b->getBlock() && a->isBeforeInBlock(b);
  });
  SmallVector<Value> parts;
  SliceOp last;
  for (SliceOp slice : slices) {
    Value gradient = get(slice.getResult());
    if (last && last.getStart() == slice.getStart())
      parts.back() = builder.create<AddOp>(location, gradient.getType(), parts.back(), gradient,
                                           DenseI64ArrayAttr());
    else
      parts.push_back(gradient);
    last = slice;
  }
  auto type = cast<RankedTensorType>(base.getType());
  Type element = cast<RankedTensorType>(parts.front().getType()).getElementType();
  add(base, builder.create<ConcatOp>(location, RankedTensorType::get(type.getShape(), element),
                                     parts, builder.getI64IntegerAttr(last.getAxis())));
}

static Value inverseTranspose(KernBuilder &kernels, Value gradient, ArrayRef<int64_t> order) {
  SmallVector<int64_t> inverse(order.size());
  for (auto [axis, source] : llvm::enumerate(order))
    inverse[source] = axis;
  return kernels.transpose(gradient, inverse);
}

LogicalResult GradientBuilder::sweep(Block &block) {
  SmallVector<Operation *> ops;
  for (Operation &op : block)
    ops.push_back(&op);
  for (Operation *op : llvm::reverse(ops)) {
    if (isa<WeightOp>(op))
      continue;
    for (Value result : op->getResults())
      gatherSlices(result);
    if (auto transpose = dyn_cast<TransposeOp>(op)) {
      if (Value gradient = get(transpose.getResult()))
        add(transpose.getInput(), inverseTranspose(kernels, gradient, transpose.getOrder()));
    } else if (auto kernel = dyn_cast<KernelOpInterface>(op)) {
      if (get(kernel.getKernelOutputs().front()) && failed(kernel.emitBackward(*this)))
        return failure();
    } else if (auto loop = dyn_cast<SliceLoopOp>(op)) {
      if (failed(reverseLoop(loop)))
        return failure();
    }
  }
  for (Value argument : block.getArguments())
    gatherSlices(argument);
  if (!inLoop)
    for (auto weight : llvm::to_vector(block.getOps<WeightOp>()))
      gatherSlices(weight.getResult());
  return success();
}

llvm::MapVector<Value, Value> GradientBuilder::weightGradients() {
  // In program order of the weights, whatever order the map has.
  llvm::MapVector<Value, Value> result;
  SmallVector<std::pair<Value, Value>> found;
  for (auto [value, gradient] : gradients)
    if (value.getDefiningOp<WeightOp>())
      found.emplace_back(value, gradient);
  llvm::sort(found, [](const auto &a, const auto &b) {
    return a.first.getDefiningOp()->isBeforeInBlock(b.first.getDefiningOp());
  });
  for (auto [value, gradient] : found)
    result[value] = gradient;
  return result;
}

//===----------------------------------------------------------------------===//
// Shared pieces
//===----------------------------------------------------------------------===//

void GradientBuilder::addLinear(Value du, Value x, Value weight, Value bias, double factor) {
  if (isActive(x)) {
    LinearOptions options;
    options.residual = get(x);
    set(x, kernels.linear(du, kernels.transpose(weight, {1, 0}), options));
  }
  if (isActive(weight))
    add(weight, builder.create<WeightGradOp>(location, statisticLike(weight), du, x, Value(),
                                             kernels.factorAttr(factor), DenseI64ArrayAttr()));
  if (isActive(bias))
    add(bias, builder.create<BiasGradOp>(location, statisticLike(bias), du, Value(),
                                         DenseI64ArrayAttr()));
}

Value GradientBuilder::linearGrad(Value dy, Value h, Value rowScale, Value gate, Value dropout,
                                  plan::Activation activation, Value *dgate) {
  auto op = builder.create<LinearGradOp>(
      location, dy.getType(), dgate ? dy.getType() : Type(), dy, h, rowScale, gate, dropout,
      builder.getStringAttr(plan::activationName(activation)), DenseI64ArrayAttr());
  if (dgate)
    *dgate = op.getDgate();
  return op.getDu();
}

} // namespace evo::kern
