//===- Transition.cpp - MSA and pair transition -----------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "dialects/Evo/ModuleSupport.h"

using namespace mlir;
using evo::kern::KernBuilder;
using evo::kern::LinearOptions;

namespace evo::ir {

LogicalResult TransitionOp::verifyOwn() {
  if (shapeOf(getX()).size() != 3)
    return emitOpError("expected x of [a, b, c] (C1), got ") << getX().getType();
  if (getMask() && shapeOf(getMask()) != shapeOf(getX()).take_front(2))
    return emitOpError("expected a mask of x's leading axes (C1), got ") << getMask().getType();
  return verifyPositive(*this, "factor", static_cast<int64_t>(getFactor()));
}

SmallVector<StringRef> TransitionOp::getTensorNames() {
  SmallVector<StringRef> names{stringifyStream(getStream())};
  if (getMask())
    names.push_back(getStream() == Stream::Msa ? "msa_mask" : "pair_mask");
  return names;
}

StringRef TransitionOp::getUpdatedTensor() { return stringifyStream(getStream()); }

DominantTerm TransitionOp::getDominantTerm() {
  ArrayRef<int64_t> x = shapeOf(getX());
  int64_t factor = getFactor();
  std::string channels = getStream() == Stream::Msa ? " s r c_m" : " r^2 c_z";
  return {std::to_string(factor) + channels, count({factor, x[0], x[1], x[2]})};
}

SmallVector<KernelVariant> TransitionOp::getLegalVariants() { return {KernelVariant::Fused}; }

SmallVector<SliceAxis> TransitionOp::getLegalAxes() {
  ArrayRef<int64_t> x = shapeOf(getX());
  if (getStream() == Stream::Msa)
    return {{Axis::S, x[0]}, {Axis::R, x[1]}};
  return {{Axis::Ri, x[0]}, {Axis::Rj, x[1]}};
}

SmallVector<int64_t> TransitionOp::getSliceDims(Axis axis) {
  return SmallVector<int64_t>(getTensorNames().size(), axis == Axis::R || axis == Axis::Rj ? 1 : 0);
}

SmallVector<SideInput> TransitionOp::emitSides(KernBuilder &, ValueRange, Axis, int64_t) {
  return {};
}

Value TransitionOp::emitWhole(KernBuilder &builder, ValueRange values, KernelVariant variant) {
  return emitSlice(builder, SmallVector<Value>(values), {}, Axis::None, variant);
}

Value TransitionOp::emitSlice(KernBuilder &builder, ArrayRef<Value> values, ArrayRef<Value>, Axis,
                              KernelVariant) {
  std::string prefix = getPrefix().str();
  int64_t channels = shapeOf(values[0]).back(), hidden = channels * getFactor();
  Value x = builder.layerNorm(values[0], prefix + ".layer_norm", getNormEps().convertToDouble());
  LinearOptions up;
  up.bias = builder.vector(prefix + ".linear_1.bias", hidden);
  up.activation = plan::Activation::Relu;
  Value h = builder.linear(x, builder.weight(prefix + ".linear_1.weight", hidden, channels), up);
  LinearOptions down;
  down.bias = builder.vector(prefix + ".linear_2.bias", channels);
  down.rowScale = values.size() > 1 ? values[1] : Value();
  down.residual = values[0];
  return builder.linear(h, builder.weight(prefix + ".linear_2.weight", channels, hidden), down);
}

} // namespace evo::ir
