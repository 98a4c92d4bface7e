//===- SoftmaxGrad.cu ----------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// dx[*,k] = y[*,k] * (dy[*,k] - sum_k y[*,k] dy[*,k]); dx may be dy.
//
// A warp a row, or a block where rows are long.
//===----------------------------------------------------------------------===//
#include "runtime/cuda/kernels/Storage.cuh"

namespace evo::cuda {

namespace {

struct SoftmaxGradCall {
  AxisSpace<3> rows; ///< y, dy, dx
  int64_t rowCount, length, stride[3];
  const std::byte *y, *dy;
  std::byte *dx;
};

template <class S, int kThreads>
__global__ void __launch_bounds__(256) softmaxGradKernel(SoftmaxGradCall call) {
  __shared__ float space[32];
  constexpr int kRows = 256 / kThreads;
  int thread = threadIdx.x % kThreads;
  for (int64_t first = blockIdx.x * int64_t{kRows}; first < call.rowCount;
       first += gridDim.x * int64_t{kRows}) {
    int64_t row = first + threadIdx.x / kThreads;
    if (row >= call.rowCount) // whole warps; a block's rows are all inside where it has one
      continue;
    int64_t at[3];
    call.rows.locate(row, at);
    float sum = 0;
    for (int64_t k = thread; k < call.length; k += kThreads)
      sum = fmaf(load<S>(call.y, at[0] + k * call.stride[0]),
                 load<S>(call.dy, at[1] + k * call.stride[1]), sum);
    sum = kThreads == 32 ? warpSum(sum) : blockSum(sum, space);
    for (int64_t k = thread; k < call.length; k += kThreads)
      store<S>(call.dx, at[2] + k * call.stride[2],
               load<S>(call.y, at[0] + k * call.stride[0]) *
                   (load<S>(call.dy, at[1] + k * call.stride[1]) - sum));
  }
}

} // namespace

template <class S> Status launchSoftmaxGrad(const Launch &launch) {
  const Operand *o = launch.operands;
  const Operand &dx = o[2];
  if (isEmpty(dx))
    return {};
  int leading = dx.rank - 1;
  SoftmaxGradCall call{};
  for (int d = 0; d < leading; ++d) {
    for (int i = 0; i < 3; ++i)
      call.rows.stride[i][d] = o[i].strides[d];
    call.rows.push(dx.shape[d]);
  }
  call.rows.merge();
  call.rowCount = call.rows.count(), call.length = dx.shape[leading];
  for (int i = 0; i < 3; ++i)
    call.stride[i] = o[i].strides[leading];
  call.y = o[0].data, call.dy = o[1].data, call.dx = dx.data;
  cudaStream_t stream = launch.context->stream;
  if (call.length <= 1024)
    softmaxGradKernel<S, 32><<<gridOf(ceilDiv(call.rowCount, 8)), 256, 0, stream>>>(call);
  else
    softmaxGradKernel<S, 256><<<gridOf(call.rowCount), 256, 0, stream>>>(call);
  return {};
}

EVO_CUDA_INSTANTIATE(SoftmaxGrad)

} // namespace evo::cuda
