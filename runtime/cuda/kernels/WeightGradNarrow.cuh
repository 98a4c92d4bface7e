//===- WeightGradNarrow.cuh - weights' gradients of few rows ----*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// `weight_grad` of half types where du has at most 4 columns, as those of a pair bias, which the
// library reads one by one. A thread has eight columns of x and every so-manyth row of its block's
// stretch; blocks leave their fp32 sums in slots of the scratch (WeightGradSlots.cuh).
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/cuda/kernels/WeightGradSlots.cuh"

namespace evo::cuda {

/// Slots of whole rows of a dense matrix.
struct DenseFours {
  int cols; ///< a multiple of four

  __device__ void locate(int four, int (&row)[4], int (&col)[4]) const {
    int first = four / (cols / 4);
    for (int i = 0; i < 4; ++i)
      row[i] = first, col[i] = (four - first * (cols / 4)) * 4 + i;
  }
};

/// Slots that are dense matrices of the weight's shape.
inline Status sumDenseSlots(const Launch &launch, const float *slots, int64_t count) {
  const Operand &dweight = launch.operands[3];
  MatrixSlots call(launch, slots, count, dweight.shape[0] * dweight.shape[1] / 4);
  return sumMatrixSlots(launch, call, DenseFours{static_cast<int>(dweight.shape[1])});
}

struct NarrowGradCall {
  enum { Du, X, kOperands };
  AxisSpace<kOperands> rows;
  int64_t rowCount, stretches, stretch; ///< rows of a block
  int n, k;
  const std::byte *data[kOperands];
  int64_t duStride;
  float *slots; ///< [stretches][n][k]
};

inline constexpr int kNarrowGradThreads = 256, kNarrowGradCols = 512;
inline constexpr int kNarrowGradRows = 4; ///< of the weight, and of x at a time

/// Adds the products of several rows, `step` apart, of which those from `end` on are none.
template <class S>
__device__ inline void addRows(float (&sum)[kNarrowGradRows][8], const NarrowGradCall &call,
                               int64_t row, int64_t step, int64_t end, int col) {
  using C = NarrowGradCall;
  constexpr int kRows = kNarrowGradRows, kCols = kNarrowGradRows;
  uint4 x[kRows];
  float du[kRows][kCols];
#pragma unroll
  for (int r = 0; r < kRows; ++r) {
    x[r] = make_uint4(0, 0, 0, 0);
    int64_t at[C::kOperands] = {};
    bool inside = row + r * step < end;
    if (inside) {
      call.rows.locate(row + r * step, at);
      x[r] = *reinterpret_cast<const uint4 *>(call.data[C::X] + (at[C::X] + col) * sizeof(S));
    }
#pragma unroll
    for (int n = 0; n < kCols; ++n)
      du[r][n] =
          inside && n < call.n ? load<S>(call.data[C::Du], at[C::Du] + n * call.duStride) : 0.0f;
  }
#pragma unroll
  for (int r = 0; r < kRows; ++r) {
    const S *eight = reinterpret_cast<const S *>(&x[r]);
#pragma unroll
    for (int i = 0; i < 8; ++i)
#pragma unroll
      for (int n = 0; n < kCols; ++n)
        sum[n][i] = fmaf(du[r][n], widen(eight[i]), sum[n][i]);
  }
}

template <class S>
__global__ void __launch_bounds__(kNarrowGradThreads, 2)
    narrowGradKernel(const __grid_constant__ NarrowGradCall call) {
  __shared__ __align__(16) float space[kNarrowGradThreads * 8];
  int groups = call.k / 8, lines = kNarrowGradThreads / groups, line = threadIdx.x / groups;
  int col = threadIdx.x % groups * 8;
  int64_t first = blockIdx.x * call.stretch, end = smaller(first + call.stretch, call.rowCount);
  float sum[kNarrowGradRows][8] = {};
  for (int64_t row = first + line; line < lines && row < end; row += kNarrowGradRows * lines)
    addRows<S>(sum, call, row, lines, end, col);
#pragma unroll
  for (int n = 0; n < kNarrowGradRows; ++n) {
    if (n >= call.n)
      break;
    __syncthreads(); // of the last column's sums
    for (int i = 0; i < 8; ++i)
      space[threadIdx.x * 8 + i] = sum[n][i];
    __syncthreads();
    for (int k = threadIdx.x; k < call.k; k += kNarrowGradThreads) {
      float total = 0;
      for (int l = 0; l < lines; ++l)
        total += space[l * call.k + k];
      call.slots[(int64_t{blockIdx.x} * call.n + n) * call.k + k] = total;
    }
  }
}

/// du, x, accumulator, dweight. False: the gradient is none that the kernel computes.
template <class S> bool describeNarrowGrad(NarrowGradCall &call, const Launch &launch) {
  using C = NarrowGradCall;
  const Operand *o = launch.operands, &du = o[0], &x = o[1], &dweight = o[3];
  int leading = du.rank - 1;
  for (int d = 0; d < leading; ++d) {
    call.rows.stride[C::Du][d] = du.strides[d], call.rows.stride[C::X][d] = x.strides[d];
    call.rows.push(du.shape[d]);
  }
  call.rows.merge();
  call.rowCount = call.rows.count();
  bool fits = call.rowCount >= 1024 && dweight.shape[0] > 0 &&
              dweight.shape[0] <= kNarrowGradRows && dweight.shape[1] >= 8 &&
              dweight.shape[1] <= kNarrowGradCols && dweight.shape[1] % 8 == 0 &&
              x.strides[leading] == 1 && reinterpret_cast<uint64_t>(x.data) % 16 == 0;
  for (int d = 0; d < call.rows.rank; ++d)
    fits &= call.rows.stride[C::X][d] % 8 == 0;
  if (!fits)
    return false;
  call.n = static_cast<int>(dweight.shape[0]), call.k = static_cast<int>(dweight.shape[1]);
  call.data[C::Du] = du.data, call.data[C::X] = x.data, call.duStride = du.strides[leading];
  int64_t wanted = smaller(int64_t{2} * launch.context->processors, ceilDiv(call.rowCount, 64));
  call.stretch = ceilDiv(call.rowCount, wanted);
  call.stretches = ceilDiv(call.rowCount, call.stretch);
  call.slots = elements<float>(launch.context->scratch);
  return call.stretches * call.n * call.k <= kScratchBytes / 4;
}

template <class S> Status launchNarrowGrad(const Launch &launch, const NarrowGradCall &call) {
  auto grid = gridOf(call.stretches);
  narrowGradKernel<S><<<grid, kNarrowGradThreads, 0, launch.context->stream>>>(call);
  EVO_TRY(statusOf(cudaGetLastError(), "the launch of a weight's gradient of few rows"));
  return sumDenseSlots(launch, call.slots, call.stretches);
}

} // namespace evo::cuda
