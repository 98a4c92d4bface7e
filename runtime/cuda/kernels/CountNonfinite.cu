//===- CountNonfinite.cu -------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// y[e] = scalars[e], the fourth increased by the number of elements of x that are NaN or infinite.
//
// Blocks count in integers, which a last block adds up.
//===----------------------------------------------------------------------===//
#include "runtime/cuda/kernels/Optimizer.cuh"

namespace evo::cuda {

namespace {

constexpr int kMostBlocks = 1024;

__device__ unsigned long long blockCount(unsigned long long count) {
  __shared__ unsigned long long counts[8];
  for (int step = 16; step > 0; step /= 2)
    count += __shfl_xor_sync(0xffffffffu, count, step);
  if (threadIdx.x % 32 == 0)
    counts[threadIdx.x / 32] = count;
  __syncthreads();
  count = 0;
  for (unsigned long long one : counts)
    count += one;
  return count;
}

__global__ void __launch_bounds__(256)
    countKernel(AxisSpace<1> axes, const float *x, unsigned long long *counts) {
  int64_t all = axes.count();
  unsigned long long count = 0;
  for (int64_t i = blockIdx.x * int64_t{256} + threadIdx.x; i < all; i += gridDim.x * int64_t{256})
    count += !isfinite(x[axes.offsetOf(0, i)]);
  count = blockCount(count);
  if (threadIdx.x == 0)
    counts[blockIdx.x] = count;
}

__global__ void __launch_bounds__(256) totalKernel(const unsigned long long *counts, int blocks,
                                                   Scalars scalars, float *y, int64_t stride) {
  unsigned long long count = 0;
  for (int i = threadIdx.x; i < blocks; i += 256)
    count += counts[i];
  count = blockCount(count);
  if (threadIdx.x == 0) {
    float total = scalars.at(3) + static_cast<float>(count);
    for (int i = 0; i < 3; ++i)
      y[i * stride] = scalars.at(i);
    y[3 * stride] = total;
  }
}

} // namespace

template <class S> Status launchCountNonfinite(const Launch &launch) {
  const Operand &x = launch.operands[0], &y = launch.operands[2];
  AxisSpace<1> axes;
  for (int d = 0; d < x.rank; ++d) {
    axes.stride[0][d] = x.strides[d];
    axes.push(x.shape[d]);
  }
  axes.sortLike(0);
  axes.merge();
  int blocks = static_cast<int>(std::min<int64_t>(ceilDiv(axes.count(), 1024), kMostBlocks));
  auto *counts = elements<unsigned long long>(launch.context->scratch);
  cudaStream_t stream = launch.context->stream;
  if (blocks > 0)
    countKernel<<<static_cast<unsigned>(blocks), 256, 0, stream>>>(axes, elements<float>(x.data),
                                                                   counts);
  totalKernel<<<1, 256, 0, stream>>>(counts, blocks, Scalars(launch.operands[1]),
                                     elements<float>(y.data), y.strides[0]);
  return {};
}

EVO_CUDA_INSTANTIATE(CountNonfinite)

} // namespace evo::cuda
