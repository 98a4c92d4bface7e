//===- LinearGrad.cu -----------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// The element-wise part of `linear` backwards, h = act(x weight^T + bias):
// du = dropout * row_scale * sigmoid(gate) * [h > 0 where act is relu] * dy; du may be dy.
// dgate = dropout * row_scale * h * sigmoid'(gate) * dy.
//===----------------------------------------------------------------------===//
#include "runtime/cuda/kernels/Elementwise.cuh"

#include <initializer_list>

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

/// What most calls have: the slope alone, a scale of rows, or a gate.
struct ReluGradOp {
  /// x: dy, h; y: du.
  __device__ void operator()(const float *x, float *y) const { y[0] = x[1] > 0 ? x[0] : 0.0f; }
};
struct ScaleGradOp {
  static constexpr uint32_t kOnes = 2;
  /// x: dy, row_scale; y: du.
  __device__ void operator()(const float *x, float *y) const { y[0] = x[0] * x[1]; }
};
struct GatedGradOp {
  /// x: dy, h, gate; y: du, dgate.
  __device__ void operator()(const float *x, float *y) const {
    Opening opening = openingOf(x[2]);
    y[0] = x[0] * opening.value, y[1] = x[0] * x[1] * opening.slope;
  }
};

} // namespace

template <class S> Status launchLinearGrad(const Launch &launch) {
  const Operand *o = launch.operands;
  bool relu = launch.attributes->activation == plan::Activation::Relu;
  auto run = [&](auto elements, std::initializer_list<int> operands, const auto &op) {
    int index = 0;
    for (int i : operands)
      elements.set(index++, o[i]);
    return elementwise<S>(launch, elements, op);
  };
  if (!o[4] && !o[2] && !o[3] && relu)
    return run(Elements<2, 1>(o[5]), {0, 1, 5}, ReluGradOp{});
  if (!o[4] && o[2] && !o[3] && !relu)
    return run(Elements<2, 1>(o[5]), {0, 2, 5}, ScaleGradOp{});
  if (!o[4] && !o[2] && o[3] && !relu)
    return run(Elements<3, 2>(o[5]), {0, 1, 3, 5, 6}, GatedGradOp{});
  Elements<5, 2> elements(o[5]);
  for (int i : {0, 1, 2, 3, 5, 6})
    elements.set(i, o[i]);
  elements.setBroadcast(4, o[4]);
  LinearGradOp op{relu, bool(o[2]), bool(o[3]), bool(o[4])};
  return elementwise<S>(launch, elements, op);
}

EVO_CUDA_INSTANTIATE(LinearGrad)

} // namespace evo::cuda
