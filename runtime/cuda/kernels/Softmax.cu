//===- Softmax.cu --------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// y[*,k] = exp(x[*,k] - max_k x) / sum_k exp(x[*,k] - max_k x); y may be x.
//
// A warp a row, or a block where rows are long.
//===----------------------------------------------------------------------===//
#include "runtime/cuda/kernels/Storage.cuh"

namespace evo::cuda {

namespace {

struct SoftmaxCall {
  AxisSpace<2> rows; ///< x, y
  int64_t rowCount, length, xStride, yStride;
  const std::byte *x;
  std::byte *y;
};

__device__ float blockMax(float x, float *space) {
  x = warpMax(x);
  __syncthreads(); // of the space's last use
  if (threadIdx.x % 32 == 0)
    space[threadIdx.x / 32] = x;
  __syncthreads();
  for (int i = 0; i < 8; ++i)
    x = fmaxf(x, space[i]);
  return x;
}

template <class S, int kThreads>
__global__ void __launch_bounds__(256) softmaxKernel(SoftmaxCall call) {
  __shared__ float space[32];
  constexpr int kRows = 256 / kThreads;
  int thread = threadIdx.x % kThreads;
  for (int64_t first = blockIdx.x * int64_t{kRows}; first < call.rowCount;
       first += gridDim.x * int64_t{kRows}) {
    int64_t row = first + threadIdx.x / kThreads;
    if (row >= call.rowCount) // whole warps; a block's rows are all inside where it has one
      continue;
    int64_t at[2];
    call.rows.locate(row, at);
    float most = -INFINITY, sum = 0;
    for (int64_t k = thread; k < call.length; k += kThreads)
      most = fmaxf(most, load<S>(call.x, at[0] + k * call.xStride));
    most = kThreads == 32 ? warpMax(most) : blockMax(most, space);
    for (int64_t k = thread; k < call.length; k += kThreads)
      sum += expf(load<S>(call.x, at[0] + k * call.xStride) - most);
    float factor = 1 / (kThreads == 32 ? warpSum(sum) : blockSum(sum, space));
    for (int64_t k = thread; k < call.length; k += kThreads)
      store<S>(call.y, at[1] + k * call.yStride,
               expf(load<S>(call.x, at[0] + k * call.xStride) - most) * factor);
  }
}

} // namespace

template <class S> Status launchSoftmax(const Launch &launch) {
  const Operand &x = launch.operands[0], &y = launch.operands[1];
  if (isEmpty(y))
    return {};
  int leading = y.rank - 1;
  SoftmaxCall call{};
  for (int d = 0; d < leading; ++d) {
    call.rows.stride[0][d] = x.strides[d], call.rows.stride[1][d] = y.strides[d];
    call.rows.push(y.shape[d]);
  }
  call.rows.merge();
  call.rowCount = call.rows.count(), call.length = y.shape[leading];
  call.xStride = x.strides[leading], call.yStride = y.strides[leading];
  call.x = x.data, call.y = y.data;
  cudaStream_t stream = launch.context->stream;
  if (call.length <= 1024)
    softmaxKernel<S, 32><<<gridOf(ceilDiv(call.rowCount, 8)), 256, 0, stream>>>(call);
  else
    softmaxKernel<S, 256><<<gridOf(call.rowCount), 256, 0, stream>>>(call);
  return {};
}

EVO_CUDA_INSTANTIATE(Softmax)

} // namespace evo::cuda
