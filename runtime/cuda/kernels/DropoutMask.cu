//===- DropoutMask.cu ----------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// y = 1 / (1 - rate) where the element is kept, else 0. With i the element's row-major index and w
// word i mod 4 of Philox4x32-10 with key (seed, step) and counter (i / 4, block, module, 0), it is
// kept iff w >= floor(rate * 2^32).
//===----------------------------------------------------------------------===//
#include "runtime/cuda/kernels/Storage.cuh"
#include "runtime/plan/Philox.h"

namespace evo::cuda {

namespace {

__global__ void __launch_bounds__(256)
    maskKernel(AxisSpace<1> axes, int64_t count, const uint32_t *key, uint32_t block,
               uint32_t module, uint32_t threshold, float kept, float *y) {
  int64_t groups = ceilDiv(count, 4), step = gridDim.x * int64_t{256};
  for (int64_t group = blockIdx.x * int64_t{256} + threadIdx.x; group < groups; group += step) {
    plan::PhiloxWords words =
        plan::philox4x32({{static_cast<uint32_t>(group), block, module, 0}}, key[0], key[1]);
    for (int lane = 0; lane < 4; ++lane)
      if (int64_t i = group * 4 + lane; i < count)
        y[axes.offsetOf(0, i)] = words.word[lane] < threshold ? 0.0f : kept;
  }
}

__global__ void keyKernel(uint32_t *key, uint32_t seed, uint32_t step) {
  key[0] = seed, key[1] = step;
}

} // namespace

Status Context::setDropout(uint32_t seed, uint32_t step) {
  if (seed == dropoutSeed && step == dropoutStep)
    return {};
  keyKernel<<<1, 1, 0, stream>>>(dropoutKey, seed, step);
  EVO_TRY(statusOf(cudaGetLastError(), "the launch of a new key of dropout"));
  dropoutSeed = seed, dropoutStep = step;
  return {};
}

template <class S> Status launchDropoutMask(const Launch &launch) {
  const Operand &y = launch.operands[0];
  double rate = launch.attributes->rate;
  AxisSpace<1> axes;
  for (int d = 0; d < y.rank; ++d) {
    axes.stride[0][d] = y.strides[d];
    axes.push(y.shape[d]);
  }
  axes.merge();
  int64_t count = axes.count();
  if (count == 0)
    return {};
  EVO_TRY(launch.context->setDropout(launch.dropout.seed, launch.dropout.step));
  unsigned grid =
      gridOf(std::min<int64_t>(ceilDiv(count, 1024), int64_t{64} * launch.context->processors));
  maskKernel<<<grid, 256, 0, launch.context->stream>>>(
      axes, count, launch.context->dropoutKey, launch.dropout.block,
      static_cast<uint32_t>(launch.attributes->module), static_cast<uint32_t>(rate * 0x1p32),
      static_cast<float>(1 / (1 - rate)), elements<float>(y.data));
  return {};
}

EVO_CUDA_INSTANTIATE(DropoutMask)

} // namespace evo::cuda
