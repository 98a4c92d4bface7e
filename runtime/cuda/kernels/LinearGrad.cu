//===- LinearGrad.cu -----------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// The element-wise part of `linear` backwards, h = act(x weight^T + bias):
// du = dropout * row_scale * sigmoid(gate) * [h > 0 where act is relu] * dy; du may be dy.
// dgate = dropout * row_scale * h * sigmoid'(gate) * dy.
//===----------------------------------------------------------------------===//
#include "runtime/cuda/kernels/Elementwise.cuh"

namespace evo::cuda {

namespace {

struct LinearGradOp {
  bool relu, hasScale, hasGate, hasDropout;
  /// x: dy, h, row_scale, gate, dropout; y: du, dgate.
  __device__ void operator()(const float *x, float *y) const {
    float slope = x[0];
    if (hasScale)
      slope *= x[2];
    if (hasDropout)
      slope *= x[4];
    y[1] = 0;
    if (hasGate) {
      Opening opening = openingOf(x[3]);
      y[1] = slope * x[1] * opening.slope;
      slope *= opening.value;
    }
    y[0] = relu && !(x[1] > 0) ? 0.0f : slope;
  }
};

} // namespace

template <class S> Status launchLinearGrad(const Launch &launch) {
  const Operand *o = launch.operands;
  Elements<5, 2> elements(o[5]);
  for (int i : {0, 1, 2, 3, 5, 6})
    elements.set(i, o[i]);
  elements.setBroadcast(4, o[4]);
  LinearGradOp op{launch.attributes->activation == plan::Activation::Relu, bool(o[2]), bool(o[3]),
                  bool(o[4])};
  return elementwise<S>(launch, elements, op);
}

EVO_CUDA_INSTANTIATE(LinearGrad)

} // namespace evo::cuda
