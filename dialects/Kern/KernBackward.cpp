//===- KernBackward.cpp - each kernel's backward ----------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "dialects/Kern/Gradients.h"

using namespace mlir;

namespace evo::kern {

LogicalResult LayerNormOp::emitBackward(GradientBuilder &gradients) {
  auto op = gradients.opBuilder().create<LayerNormGradOp>(
      gradients.getLoc(), getX().getType(), gradients.statisticLike(getWeight()),
      gradients.statisticLike(getBias()), getX(), getWeight(), gradients.get(getY()),
      gradients.get(getX()), Value(), Value(), getEpsAttr(), getFactorAttr(), DenseI64ArrayAttr());
  // dx holds what x had already.
  gradients.set(getX(), op.getDx());
  gradients.add(getWeight(), op.getDweight());
  gradients.add(getBias(), op.getDbias());
  return success();
}

LogicalResult LinearOp::emitBackward(GradientBuilder &gradients) {
  Value dy = gradients.toStorage(gradients.get(getY()));
  if (getResidual())
    gradients.add(getResidual(), dy);
  plan::Activation activation = getKernelAttributes().activation;
  bool relu = activation == plan::Activation::Relu;
  Value du = dy, dgate;
  if (relu || getRowScale() || getGate() || getDropout()) {
    Value h;
    if (relu && !getRowScale() && !getGate() && !getDropout() && !getResidual()) {
      h = getY();
    } else if (relu || getGate()) {
      LinearOptions again;
      again.bias = getBias();
      again.activation = activation;
      again.factor = getKernelAttributes().factor;
      h = gradients.kernelBuilder().linear(getX(), getWeight(), again);
    }
    du = gradients.linearGrad(dy, h, getRowScale(), getGate(), getDropout(), activation,
                              getGate() ? &dgate : nullptr);
  }
  if (dgate)
    gradients.add(getGate(), dgate);
  gradients.addLinear(du, getX(), getWeight(), getBias(), getKernelAttributes().factor);
  return success();
}

LogicalResult GatedLinearOp::emitBackward(GradientBuilder &gradients) {
  OpBuilder &builder = gradients.opBuilder();
  LinearOptions own, gate;
  own.bias = getBias();
  gate.bias = getGateBias();
  Value u = gradients.kernelBuilder().linear(getX(), getWeight(), own);
  Value g = gradients.kernelBuilder().linear(getX(), getGateWeight(), gate);
  auto op = builder.create<GatedLinearGradOp>(gradients.getLoc(), u.getType(), g.getType(),
                                              gradients.get(getY()), u, g, getRowScale(),
                                              DenseI64ArrayAttr());
  gradients.addLinear(op.getDu(), getX(), getWeight(), getBias());
  gradients.addLinear(op.getDg(), getX(), getGateWeight(), getGateBias());
  return success();
}

LogicalResult AttentionOp::emitBackward(GradientBuilder &gradients) {
  OpBuilder &builder = gradients.opBuilder();
  AttentionOp forward = *this;
  if (!getLse()) {
    // Inference has no use for the log-sum-exp; the same op with it takes this one's place.
    OpBuilder before(getOperation());
    auto query = cast<RankedTensorType>(getQuery().getType());
    Type lse = RankedTensorType::get(
        {query.getDimSize(0), static_cast<int64_t>(getHeads()), query.getDimSize(1)},
        cast<RankedTensorType>(gradients.statisticLike(getQuery())).getElementType());
    forward = before.create<AttentionOp>(getLoc(), getO().getType(), lse, getQuery(), getKey(),
                                         getValue(), getPairBias(), getMask(), getHeadsAttr(),
                                         getScaleAttr(), getInfAttr(), getLayoutAttr());
    getO().replaceUsesWithIf(forward.getO(), [](OpOperand &) { return true; });
  }
  bool bias = gradients.isActive(getPairBias());
  auto op = builder.create<AttentionGradOp>(
      gradients.getLoc(), getQuery().getType(), getKey().getType(), getValue().getType(),
      bias ? Type(gradients.statisticLike(getPairBias())) : Type(), getQuery(), getKey(),
      getValue(), getPairBias(), getMask(), forward.getO(), forward.getLse(), gradients.get(getO()),
      Value(), getHeadsAttr(), getScaleAttr(), getInfAttr(), DenseI64ArrayAttr());
  gradients.add(getQuery(), op.getDquery());
  gradients.add(getKey(), op.getDkey());
  gradients.add(getValue(), op.getDvalue());
  if (bias)
    gradients.add(getPairBias(), op.getDpairBias());
  return success();
}

LogicalResult AttentionLogitsOp::emitBackward(GradientBuilder &gradients) {
  bool bias = gradients.isActive(getPairBias());
  auto op = gradients.opBuilder().create<AttentionLogitsGradOp>(
      gradients.getLoc(), getQuery().getType(), getKey().getType(),
      bias ? Type(gradients.statisticLike(getPairBias())) : Type(), getQuery(), getKey(),
      gradients.get(getLogits()), Value(), getHeadsAttr(), getScaleAttr(), DenseI64ArrayAttr());
  gradients.add(getQuery(), op.getDquery());
  gradients.add(getKey(), op.getDkey());
  if (bias)
    gradients.add(getPairBias(), op.getDpairBias());
  return success();
}

LogicalResult SoftmaxOp::emitBackward(GradientBuilder &gradients) {
  Value dy = gradients.get(getY());
  gradients.add(getX(), gradients.opBuilder().create<SoftmaxGradOp>(
                            gradients.getLoc(), dy.getType(), getY(), dy, DenseI64ArrayAttr()));
  return success();
}

LogicalResult AttentionValuesOp::emitBackward(GradientBuilder &gradients) {
  auto op = gradients.opBuilder().create<AttentionValuesGradOp>(
      gradients.getLoc(), getWeights().getType(), getValue().getType(), getWeights(), getValue(),
      gradients.get(getO()), getHeadsAttr(), DenseI64ArrayAttr());
  gradients.add(getWeights(), op.getDweights());
  gradients.add(getValue(), op.getDvalue());
  return success();
}

LogicalResult GateOp::emitBackward(GradientBuilder &gradients) {
  OpBuilder &builder = gradients.opBuilder();
  auto op = builder.create<GateGradOp>(gradients.getLoc(), getO().getType(), getGate().getType(),
                                       getO(), getGate(), getGateBias(), gradients.get(getY()),
                                       DenseI64ArrayAttr());
  gradients.add(getO(), op.getDout());
  gradients.add(getGate(), op.getDgate());
  gradients.add(getGateBias(), builder.create<BiasGradOp>(
                                   gradients.getLoc(), gradients.statisticLike(getGateBias()),
                                   op.getDgate(), Value(), DenseI64ArrayAttr()));
  return success();
}

LogicalResult MaskedMeanOp::emitBackward(GradientBuilder &gradients) {
  Value residual = gradients.get(getX());
  if (!residual)
    return emitOpError("expected another reader of x behind the mean, whose gradient its own is "
                       "added to");
  gradients.set(getX(), gradients.opBuilder().create<MaskedMeanGradOp>(
                            gradients.getLoc(), getX().getType(), gradients.get(getY()), getMask(),
                            residual, getEpsAttr(), DenseI64ArrayAttr()));
  return success();
}

static void addOuterProduct(GradientBuilder &gradients, Value a, Value b, Value dout) {
  auto op = gradients.opBuilder().create<OuterProductGradOp>(
      gradients.getLoc(), a.getType(), gradients.statisticLike(b), a, b, dout, Value(), FloatAttr(),
      DenseI64ArrayAttr());
  gradients.add(a, op.getDa());
  gradients.add(b, gradients.isSummed(b) ? op.getDb() : gradients.toStorage(op.getDb()));
}

LogicalResult OuterProductOp::emitBackward(GradientBuilder &gradients) {
  // The gradient is that by the product without its factor; see addLinear.
  addOuterProduct(gradients, getA(), getB(), gradients.get(getO()));
  return success();
}

LogicalResult OuterProductMeanOp::emitBackward(GradientBuilder &gradients) {
  Value dy = gradients.get(getY());
  if (getResidual())
    gradients.add(getResidual(), dy);
  // Stored here, though not by the forward: within the range of its type.
  KernBuilder &kernels = gradients.kernelBuilder();
  double factor = kernels.productFactor(cast<RankedTensorType>(getA().getType()).getDimSize(0));
  Value o = kernels.outerProduct(getA(), getB(), factor);
  Value du = gradients.linearGrad(dy, {}, getRowScale(), {}, {}, plan::Activation::None, nullptr);
  // The product is a value of this sweep alone: its gradient goes straight to a and b.
  gradients.setActive(o);
  gradients.addLinear(du, o, getWeight(), getBias(), 1 / factor);
  addOuterProduct(gradients, getA(), getB(), gradients.get(o));
  return success();
}

LogicalResult ZeroOp::emitBackward(GradientBuilder &) {
  return emitOpError("is of no operand and has no backward");
}

LogicalResult OuterProductNormOp::emitBackward(GradientBuilder &) {
  return emitOpError("is of masks alone and has no backward");
}

LogicalResult DropoutMaskOp::emitBackward(GradientBuilder &) {
  return emitOpError("depends on no value and has no backward");
}

/// Contributes a b^T to the gradient of `operand`; where slices share it, in the type that they are
/// summed in.
static void addProduct(GradientBuilder &gradients, Value operand, Value a, Value b) {
  if (!gradients.isActive(operand))
    return;
  if (!gradients.isSummed(operand))
    return gradients.add(operand, gradients.kernelBuilder().batchMatmul(a, b));
  gradients.add(operand, gradients.opBuilder().create<BatchMatmulGradOp>(
                             gradients.getLoc(), gradients.statisticLike(operand), a, b, Value(),
                             FloatAttr(), DenseI64ArrayAttr()));
}

LogicalResult BatchMatmulOp::emitBackward(GradientBuilder &gradients) {
  KernBuilder &kernels = gradients.kernelBuilder();
  // The gradient is that by the product without its factor; see addLinear.
  Value dy = gradients.get(getY());
  addProduct(gradients, getA(), dy, kernels.transpose(getB(), {0, 2, 1}));
  Value dyT = kernels.transpose(dy, {0, 2, 1});
  addProduct(gradients, getB(), dyT, kernels.transpose(getA(), {0, 2, 1}));
  return success();
}

LogicalResult CopyOp::emitBackward(GradientBuilder &gradients) {
  gradients.add(getX(), gradients.get(getY()));
  return success();
}

#define EVO_NO_SECOND_DERIVATIVE(Op)                                                               \
  LogicalResult Op::emitBackward(GradientBuilder &) {                                              \
    return emitOpError("is a gradient itself and has no backward");                                \
  }
EVO_NO_SECOND_DERIVATIVE(LayerNormGradOp)
EVO_NO_SECOND_DERIVATIVE(LinearGradOp)
EVO_NO_SECOND_DERIVATIVE(WeightGradOp)
EVO_NO_SECOND_DERIVATIVE(BiasGradOp)
EVO_NO_SECOND_DERIVATIVE(GatedLinearGradOp)
EVO_NO_SECOND_DERIVATIVE(AttentionGradOp)
EVO_NO_SECOND_DERIVATIVE(SoftmaxGradOp)
EVO_NO_SECOND_DERIVATIVE(AttentionValuesGradOp)
EVO_NO_SECOND_DERIVATIVE(AttentionLogitsGradOp)
EVO_NO_SECOND_DERIVATIVE(GateGradOp)
EVO_NO_SECOND_DERIVATIVE(MaskedMeanGradOp)
EVO_NO_SECOND_DERIVATIVE(OuterProductGradOp)
EVO_NO_SECOND_DERIVATIVE(AddOp)
EVO_NO_SECOND_DERIVATIVE(BatchMatmulGradOp)
#undef EVO_NO_SECOND_DERIVATIVE

#define EVO_NO_DERIVATIVE(Op)                                                                      \
  LogicalResult Op::emitBackward(GradientBuilder &) {                                              \
    return emitOpError("is of the optimizer and has no backward");                                 \
  }
EVO_NO_DERIVATIVE(CountNonfiniteOp)
EVO_NO_DERIVATIVE(SgdStepOp)
EVO_NO_DERIVATIVE(AdamwStepOp)
EVO_NO_DERIVATIVE(AdvanceOptimizerOp)
#undef EVO_NO_DERIVATIVE

} // namespace evo::kern
