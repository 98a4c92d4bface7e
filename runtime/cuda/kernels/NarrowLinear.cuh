//===- NarrowLinear.cuh - linear layers of few channels ---------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// y[*,n] = residual[*,n] + act(factor sum_k x[*,k] weight[n,k] + bias[n]) of half types where k is
// at most 8, as backwards from the heads of a pair bias: the time is that of reading the residual
// and writing y. A thread keeps the weights of eight columns, rounds once, and goes through rows; x
// and the weight lie in any way.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/cuda/kernels/Mma.cuh"

namespace evo::cuda {

struct NarrowLinearCall {
  enum { X, Residual, Y, kOperands };
  AxisSpace<kOperands> rows;
  int64_t rowCount, n, colTiles;
  int k;
  std::byte *data[kOperands];
  const std::byte *weight, *bias;
  int64_t xStride, weightStride[2], biasStride;
  float factor;
  bool relu;
};

inline constexpr int kNarrowThreads = 256, kNarrowDepth = 8, kNarrowCols = 8 * kNarrowThreads;

/// What a thread's eight columns are made of.
template <class S, int K> struct NarrowWeights {
  float bias[8], weight[K][8];

  __device__ NarrowWeights(const NarrowLinearCall &call, int64_t col) {
    for (int i = 0; i < 8; ++i) {
      bias[i] = call.bias ? load<S>(call.bias, (col + i) * call.biasStride) : 0.0f;
#pragma unroll
      for (int k = 0; k < K; ++k)
        weight[k][i] = k < call.k
                           ? call.factor * load<S>(call.weight, (col + i) * call.weightStride[0] +
                                                                    k * call.weightStride[1])
                           : 0.0f;
    }
  }
  __device__ uint4 finish(const float (&x)[K], const uint4 &residual, bool relu) const {
    const uint32_t pairs[] = {residual.x, residual.y, residual.z, residual.w};
    uint32_t y[4];
#pragma unroll
    for (int i = 0; i < 8; i += 2) {
      float2 sum = make_float2(bias[i], bias[i + 1]), beside = unpacked<S>(pairs[i / 2]);
#pragma unroll
      for (int k = 0; k < K; ++k)
        sum.x = fmaf(x[k], weight[k][i], sum.x), sum.y = fmaf(x[k], weight[k][i + 1], sum.y);
      if (relu)
        sum = make_float2(fmaxf(sum.x, 0.0f), fmaxf(sum.y, 0.0f));
      y[i / 2] = packed<S>(sum.x + beside.x, sum.y + beside.y);
    }
    return make_uint4(y[0], y[1], y[2], y[3]);
  }
};

/// A block has a stripe of the rows, of up to kNarrowCols columns; several rows of a thread are on
/// their way together.
template <class S, int K>
__global__ void __launch_bounds__(kNarrowThreads, 2)
    narrowLinearKernel(const __grid_constant__ NarrowLinearCall call) {
  using C = NarrowLinearCall;
  constexpr int kRows = 8 / K;
  int64_t stripe = blockIdx.x / call.colTiles,
          col0 = (blockIdx.x - stripe * call.colTiles) * kNarrowCols;
  int groups = static_cast<int>(smaller(call.n - col0, kNarrowCols) / 8);
  int lines = kNarrowThreads / groups, line = threadIdx.x / groups;
  int64_t col = col0 + threadIdx.x % groups * 8, step = gridDim.x / call.colTiles * lines;
  if (line >= lines)
    return;
  NarrowWeights<S, K> weights(call, col);
  for (int64_t row = stripe * lines + line; row < call.rowCount; row += kRows * step) {
    uint4 residual[kRows] = {};
    float x[kRows][K];
    std::byte *y[kRows] = {};
#pragma unroll
    for (int r = 0; r < kRows; ++r)
      if (row + r * step < call.rowCount) {
        int64_t at[C::kOperands];
        call.rows.locate(row + r * step, at);
        y[r] = call.data[C::Y] + (at[C::Y] + col) * sizeof(S);
        if (call.data[C::Residual])
          residual[r] = *reinterpret_cast<const uint4 *>(call.data[C::Residual] +
                                                         (at[C::Residual] + col) * sizeof(S));
#pragma unroll
        for (int k = 0; k < K; ++k)
          x[r][k] = k < call.k ? load<S>(call.data[C::X], at[C::X] + k * call.xStride) : 0.0f;
      }
#pragma unroll
    for (int r = 0; r < kRows; ++r)
      if (y[r])
        *reinterpret_cast<uint4 *>(y[r]) = weights.finish(x[r], residual[r], call.relu);
  }
}

/// False: the layer is none that the kernel computes. What the library stores as it should is
/// better left to it.
template <class S> bool describeNarrow(NarrowLinearCall &call, const Launch &launch) {
  using C = NarrowLinearCall;
  const Operand *o = launch.operands, &x = o[0], &weight = o[1], &y = o[7];
  if (o[3] || o[4] || o[5])
    return false;
  int leading = x.rank - 1;
  const Operand *const byRow[] = {&x, &o[6], &y};
  for (int d = 0; d < leading; ++d) {
    for (int i = 0; i < C::kOperands; ++i)
      call.rows.stride[i][d] = *byRow[i] ? byRow[i]->strides[d] : 0;
    call.rows.push(x.shape[d]);
  }
  call.rows.merge();
  call.rowCount = call.rows.count(), call.n = y.shape[leading];
  bool fits = x.shape[leading] <= kNarrowDepth && call.n % 8 == 0;
  for (int i : {C::X, C::Residual, C::Y}) {
    call.data[i] = byRow[i]->data;
    if (i == C::X || !*byRow[i])
      continue;
    fits &= byRow[i]->strides[leading] == 1 && reinterpret_cast<uint64_t>(call.data[i]) % 16 == 0;
    for (int d = 0; d < call.rows.rank; ++d)
      fits &= call.rows.stride[i][d] % 8 == 0;
  }
  call.colTiles = ceilDiv(call.n, kNarrowCols);
  call.k = fits ? static_cast<int>(x.shape[leading]) : 0;
  call.weight = weight.data, call.bias = o[2].data;
  call.xStride = x.strides[leading], call.biasStride = o[2].strides[0];
  call.weightStride[0] = weight.strides[0], call.weightStride[1] = weight.strides[1];
  call.factor = static_cast<float>(launch.attributes->factor);
  call.relu = launch.attributes->activation == plan::Activation::Relu;
  return fits;
}

template <class S> Status launchNarrow(const Launch &launch, const NarrowLinearCall &call) {
  if (call.n == 0 || call.rowCount == 0)
    return {};
  int64_t stripes = ceilDiv(call.rowCount, kNarrowThreads / (smaller(call.n, kNarrowCols) / 8));
  stripes = larger(1, smaller(stripes, 4 * launch.context->processors / call.colTiles));
  unsigned grid = gridOf(stripes * call.colTiles);
  if (call.k <= 4)
    narrowLinearKernel<S, 4><<<grid, kNarrowThreads, 0, launch.context->stream>>>(call);
  else
    narrowLinearKernel<S, 8><<<grid, kNarrowThreads, 0, launch.context->stream>>>(call);
  return statusOf(cudaGetLastError(), "the launch of a linear layer of few channels");
}

} // namespace evo::cuda
