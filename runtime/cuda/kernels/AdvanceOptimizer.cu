//===- AdvanceOptimizer.cu -----------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// The scalars of the next step.
//===----------------------------------------------------------------------===//
#include "runtime/cuda/kernels/Optimizer.cuh"

namespace evo::cuda {

namespace {

__global__ void advanceKernel(Scalars scalars, float *out, int64_t stride, float interval) {
  constexpr float kMostScale = 1 << 24, kLeastScale = 1;
  float scale = scalars.at(0), since = scalars.at(1), steps = scalars.at(2);
  bool overflow = scalars.skips();
  if (!overflow)
    steps += 1, since += 1;
  if (interval > 0 && overflow) {
    if (scale > kLeastScale)
      scale = fmaxf(scale / 2, kLeastScale);
    since = 0;
  } else if (interval > 0 && since >= interval) {
    if (scale < kMostScale)
      scale = fminf(scale * 2, kMostScale);
    since = 0;
  }
  out[0] = scale, out[stride] = since, out[2 * stride] = steps, out[3 * stride] = 0;
}

} // namespace

template <class S> Status launchAdvanceOptimizer(const Launch &launch) {
  const Operand &y = launch.operands[1];
  advanceKernel<<<1, 1, 0, launch.context->stream>>>(
      Scalars(launch.operands[0]), elements<float>(y.data), y.strides[0],
      static_cast<float>(launch.attributes->growthInterval));
  return {};
}

EVO_CUDA_INSTANTIATE(AdvanceOptimizer)

} // namespace evo::cuda
