//===- GatedLinearGrad.cu ------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// The element-wise part of `gated_linear` backwards, u = x weight^T + bias and
// g = x gate_weight^T + gate_bias: du = row_scale * sigmoid(g) * dy; dg = row_scale * u *
// sigmoid'(g) * dy. du may be u and dg may be g.
//===----------------------------------------------------------------------===//
#include "runtime/cuda/kernels/Elementwise.cuh"

namespace evo::cuda {

namespace {

struct GatedLinearGradOp {
  bool hasScale;
  /// x: dy, u, g, row_scale; y: du, dg.
  __device__ void operator()(const float *x, float *y) const {
    float slope = hasScale ? x[0] * x[3] : x[0];
    y[0] = slope * sigmoid(x[2]);
    y[1] = slope * x[1] * sigmoidSlope(x[2]);
  }
};

} // namespace

template <class S> Status launchGatedLinearGrad(const Launch &launch) {
  Elements<4, 2> elements(launch.operands[4]);
  for (int i = 0; i < 6; ++i)
    elements.set(i, launch.operands[i]);
  return elementwise<S>(launch, elements, GatedLinearGradOp{bool(launch.operands[3])});
}

EVO_CUDA_INSTANTIATE(GatedLinearGrad)

} // namespace evo::cuda
