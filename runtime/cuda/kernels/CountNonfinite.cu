//===- CountNonfinite.cu -------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// y[e] = scalars[e], the fourth increased by the number of elements of x that are NaN or infinite.
//
// Blocks count in integers, which the last to come adds up.
//===----------------------------------------------------------------------===//
#include "runtime/cuda/kernels/Optimizer.cuh"
#include "runtime/cuda/kernels/Slots.cuh"

namespace evo::cuda {

namespace {

constexpr int kCountBlocks = 1024;

__device__ unsigned long long blockCount(unsigned long long count) {
  __shared__ unsigned long long counts[8];
  for (int step = 16; step > 0; step /= 2)
    count += __shfl_xor_sync(0xffffffffu, count, step);
  __syncthreads(); // of the last use
  if (threadIdx.x % 32 == 0)
    counts[threadIdx.x / 32] = count;
  __syncthreads();
  count = 0;
  for (unsigned long long one : counts)
    count += one;
  return count;
}

struct CountCall {
  AxisSpace<1> axes;
  int64_t count;
  bool onEnd; ///< elements lie on end, aligned to four
  const float *x;
  unsigned long long *counts; ///< a block's
  uint32_t *arrivals;
  float *y;
  int64_t yStride;
};

__device__ int nonfinite(float4 x) {
  return !isfinite(x.x) + !isfinite(x.y) + !isfinite(x.z) + !isfinite(x.w);
}

__global__ void __launch_bounds__(256)
    countKernel(const __grid_constant__ CountCall call, Scalars scalars) {
  float before[4];
  for (int i = 0; i < 4; ++i)
    before[i] = scalars.at(i);
  unsigned long long count = 0;
  int64_t step = gridDim.x * int64_t{256}, fours = call.onEnd ? call.count / 4 : 0;
  int64_t first = blockIdx.x * int64_t{256} + threadIdx.x;
#pragma unroll 4
  for (int64_t i = first; i < fours; i += step)
    count += nonfinite(reinterpret_cast<const float4 *>(call.x)[i]);
  for (int64_t i = 4 * fours + first; i < call.count; i += step)
    count += !isfinite(call.x[call.axes.offsetOf(0, i)]);
  count = blockCount(count);
  if (gridDim.x > 1) {
    if (threadIdx.x == 0)
      call.counts[blockIdx.x] = count;
    if (!isLast(call.arrivals, gridDim.x))
      return;
    count = 0;
    for (unsigned i = threadIdx.x; i < gridDim.x; i += 256)
      count += __ldcg(call.counts + i);
    count = blockCount(count);
  }
  if (threadIdx.x == 0) {
    for (int i = 0; i < 3; ++i)
      call.y[i * call.yStride] = before[i];
    call.y[3 * call.yStride] = before[3] + static_cast<float>(count);
  }
}

} // namespace

template <class S> Status launchCountNonfinite(const Launch &launch) {
  const Operand &x = launch.operands[0], &y = launch.operands[2];
  CountCall call{};
  for (int d = 0; d < x.rank; ++d) {
    call.axes.stride[0][d] = x.strides[d];
    call.axes.push(x.shape[d]);
  }
  call.axes.sortLike(0);
  call.axes.merge();
  call.count = call.axes.count(), call.x = elements<float>(x.data);
  call.onEnd = (call.axes.rank == 0 || (call.axes.rank == 1 && call.axes.stride[0][0] == 1)) &&
               reinterpret_cast<uint64_t>(x.data) % 16 == 0;
  call.counts = elements<unsigned long long>(launch.context->scratch);
  call.arrivals = launch.context->arrivals;
  call.y = elements<float>(y.data), call.yStride = y.strides[0];
  int64_t blocks = larger(1, smaller(ceilDiv(call.count, 2048), kCountBlocks));
  countKernel<<<gridOf(blocks), 256, 0, launch.context->stream>>>(call,
                                                                  Scalars(launch.operands[1]));
  return statusOf(cudaGetLastError(), "the launch of a count");
}

EVO_CUDA_INSTANTIATE(CountNonfinite)

} // namespace evo::cuda
