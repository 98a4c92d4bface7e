//===- LinearMma.cuh - linear layers with all that follows ------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// The half types' products with weights whose output is more than a product: bias, activation,
// gate, scale, dropout and residual are applied to the fp32 sums before they are rounded, so
// nothing goes to memory twice. A block of eight warps computes 128 rows of 128 columns, or of 64
// columns of a gated pair; sums go through shared memory to be finished along whichever axis y
// lies.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/cuda/kernels/Mma.cuh"

namespace evo::cuda {

/// Operands by row: x, row_scale, gate, dropout, residual, y.
struct LinearMmaCall {
  enum { X, RowScale, Gate, Dropout, Residual, Y, kOperands };
  AxisSpace<kOperands> rows;
  int64_t rowCount, n, k;
  std::byte *data[kOperands];
  int64_t colStride[kOperands];
  bool statistic[kOperands];
  const std::byte *weight[2], *bias[2]; ///< the second of each: of the gate that is computed
  int64_t weightStride[2], biasStride[2];
  float factor;
  bool relu;
  bool fours; ///< four columns of every operand can be read at once
  bool down;  ///< y lies along its rows
};

inline constexpr int kLinearThreads = 256, kLinearRows = 128, kLinearDepth = 32;
inline constexpr int kSumPitch = 68; ///< of 64 columns of sums in shared memory

template <class S> struct LinearStage {
  S left[kLinearRows][kLinearDepth + 8], right[128][kLinearDepth + 8];
};

template <class S> union LinearSpace {
  LinearStage<S> stages[2];
  float sums[kLinearRows][kSumPitch];
  __device__ LinearSpace() {}
};

/// Begins to copy the depths from k0 on of the block's rows and columns. A thread has the same rows
/// each time, so it finds them once.
template <class S> struct LinearFetch {
  const S *left[2], *right[2]; ///< null: beyond the ends
  int row, col;                ///< of the first of two; the second is 64 rows below

  __device__ LinearFetch(const LinearMmaCall &call, const int64_t *rowAt, int64_t m0, int64_t n0,
                         bool gated) {
    row = threadIdx.x / 4, col = threadIdx.x % 4 * 8;
    for (int i = 0; i < 2; ++i) {
      int r = row + 64 * i;
      left[i] = m0 + r < call.rowCount
                    ? reinterpret_cast<const S *>(call.data[LinearMmaCall::X]) + rowAt[r]
                    : nullptr;
      int part = gated ? i : 0;
      int64_t n = n0 + (gated ? row : r);
      right[i] = n < call.n
                     ? reinterpret_cast<const S *>(call.weight[part]) + n * call.weightStride[part]
                     : nullptr;
    }
  }
  __device__ void copy(LinearStage<S> &stage, const LinearMmaCall &call, int64_t k0) const {
    bool inside = k0 + col < call.k;
    for (int i = 0; i < 2; ++i) {
      const S *any = reinterpret_cast<const S *>(call.weight[0]);
      bool hasLeft = inside && left[i], hasRight = inside && right[i];
      copyAsync(&stage.left[row + 64 * i][col], hasLeft ? left[i] + k0 + col : any, hasLeft);
      copyAsync(&stage.right[row + 64 * i][col], hasRight ? right[i] + k0 + col : any, hasRight);
    }
    commitCopies();
  }
};

/// The products of a warp's 32 rows and the right rows that pair p of its column tiles begins with.
template <class S, bool kGated>
__device__ inline void multiplyStage(float (&sum)[2][8][4], const LinearStage<S> &stage) {
  int lane = threadIdx.x % 32, warp = threadIdx.x / 32, m = warp / 2 * 32, half = warp % 2;
  for (int k = 0; k < kLinearDepth; k += 16) {
    uint32_t a[2][4];
    for (int i = 0; i < 2; ++i)
      loadMatrices(a[i], &stage.left[m + 16 * i + lane % 16][k + lane / 16 * 8]);
    for (int p = 0; p < 4; ++p) {
      int first = kGated ? p / 2 * 64 + half * 32 + p % 2 * 16 : half * 64 + p * 16;
      uint32_t b[4];
      loadMatrices(b, &stage.right[first + lane % 8 + lane / 16 * 8][k + lane / 8 % 2 * 8]);
      for (int i = 0; i < 2; ++i) {
        multiplyTiles<S>(sum[i][2 * p], a[i], b[0], b[1]);
        multiplyTiles<S>(sum[i][2 * p + 1], a[i], b[2], b[3]);
      }
    }
  }
}

/// What is read beside a sum; absent operands have values that change nothing.
struct LinearTerms {
  float gate = 0, dropout = 1, residual = 0;
};

template <class S, bool kAddsBias>
__device__ inline float finished(const LinearMmaCall &call, float sum, int64_t col, float scale,
                                 const LinearTerms &terms) {
  if (kAddsBias && call.bias[0])
    sum += load<S>(call.bias[0], col * call.biasStride[0]);
  if (call.relu)
    sum = fmaxf(sum, 0.0f);
  if (call.data[LinearMmaCall::Gate])
    sum *= sigmoid(terms.gate);
  return fmaf(sum * scale, terms.dropout, terms.residual);
}

/// Finishes up to 64 columns from n0 on of the block's rows.
template <class S, bool kAddsBias>
__device__ inline void
storeColumns(const LinearMmaCall &call, float (&sums)[kLinearRows][kSumPitch],
             const int64_t (&at)[LinearMmaCall::kOperands][kLinearRows], int rows, int64_t n0) {
  using C = LinearMmaCall;
  auto scaleOf = [&](int row) {
    return call.data[C::RowScale]
               ? load<S>(call.data[C::RowScale], at[C::RowScale][row], call.statistic[C::RowScale])
               : 1.0f;
  };
  if (call.fours) {
    for (int e = threadIdx.x; e < kLinearRows * 16; e += kLinearThreads) {
      int row = e / 16, c = e % 16 * 4;
      int64_t col = n0 + c;
      if (row >= rows || col >= call.n)
        continue;
      float scale = scaleOf(row), gate[4] = {}, dropout[4] = {1, 1, 1, 1}, residual[4] = {}, y[4];
      if (call.data[C::Gate])
        load4<S>(call.data[C::Gate], at[C::Gate][row] + col, false, gate);
      if (call.data[C::Dropout])
        load4<S>(call.data[C::Dropout], at[C::Dropout][row] + col, true, dropout);
      if (call.data[C::Residual])
        load4<S>(call.data[C::Residual], at[C::Residual][row] + col, false, residual);
      for (int i = 0; i < 4; ++i)
        y[i] = finished<S, kAddsBias>(call, sums[row][c + i], col + i, scale,
                                      {gate[i], dropout[i], residual[i]});
      store4<S>(call.data[C::Y], at[C::Y][row] + col, false, y);
    }
    return;
  }
  for (int e = threadIdx.x; e < kLinearRows * 64; e += kLinearThreads) {
    int row = call.down ? e % kLinearRows : e / 64, c = call.down ? e / kLinearRows : e % 64;
    int64_t col = n0 + c;
    if (row >= rows || col >= call.n)
      continue;
    auto value = [&](int o, float absent) {
      return call.data[o]
                 ? load<S>(call.data[o], at[o][row] + col * call.colStride[o], call.statistic[o])
                 : absent;
    };
    LinearTerms terms{value(C::Gate, 0), value(C::Dropout, 1), value(C::Residual, 0)};
    store<S>(call.data[C::Y], at[C::Y][row] + col * call.colStride[C::Y],
             finished<S, kAddsBias>(call, sums[row][c], col, scaleOf(row), terms));
  }
}

/// Of a gated pair, the product behind the gate, biases added.
template <class S>
__device__ inline void openGate(const LinearMmaCall &call, float (&sum)[2][8][4], int64_t n0) {
  int t = threadIdx.x % 4, half = threadIdx.x / 32 % 2;
  for (int j = 0; j < 4; ++j)
    for (int i = 0; i < 2; ++i) {
      int64_t col = smaller(n0 + half * 32 + 8 * j + 2 * t + i, call.n - 1);
      float bias = load<S>(call.bias[0], col * call.biasStride[0]);
      float gateBias = load<S>(call.bias[1], col * call.biasStride[1]);
      for (int m = 0; m < 2; ++m)
        for (int e = i; e < 4; e += 2)
          sum[m][j][e] = (sum[m][j][e] + bias) * sigmoid(sum[m][j + 4][e] + gateBias);
    }
}

template <class S, bool kGated>
__global__ void __launch_bounds__(kLinearThreads, 2)
    linearMmaKernel(const __grid_constant__ LinearMmaCall call) {
  __shared__ __align__(16) LinearSpace<S> space;
  __shared__ int64_t at[LinearMmaCall::kOperands][kLinearRows];
  constexpr int kCols = kGated ? 64 : 128;
  int64_t nTiles = ceilDiv(call.n, kCols), m0 = blockIdx.x / nTiles * kLinearRows;
  int64_t n0 = (blockIdx.x - blockIdx.x / nTiles * nTiles) * kCols;
  int rows = static_cast<int>(smaller(kLinearRows, call.rowCount - m0));
  if (threadIdx.x < rows) {
    int64_t offsets[LinearMmaCall::kOperands];
    call.rows.locate(m0 + threadIdx.x, offsets);
    for (int o = 0; o < LinearMmaCall::kOperands; ++o)
      at[o][threadIdx.x] = offsets[o];
  }
  __syncthreads();
  LinearFetch<S> fetch(call, at[LinearMmaCall::X], m0, n0, kGated);
  float sum[2][8][4] = {};
  fetch.copy(space.stages[0], call, 0);
  int now = 0;
  for (int64_t k0 = 0; k0 < call.k; k0 += kLinearDepth, now ^= 1) {
    waitForCopies<0>();
    __syncthreads(); // all have the stage, and are done with the other
    if (k0 + kLinearDepth < call.k)
      fetch.copy(space.stages[now ^ 1], call, k0 + kLinearDepth);
    multiplyStage<S, kGated>(sum, space.stages[now]);
  }
  if constexpr (kGated)
    openGate<S>(call, sum, n0);
  int lane = threadIdx.x % 32, warp = threadIdx.x / 32, half = warp % 2;
  for (int part = 0; part < kCols / 64; ++part) {
    __syncthreads();
    for (int m = 0; m < 2; ++m)
      for (int j = 0; j < (kGated ? 4 : 8); ++j)
        for (int e = 0; e < 4; e += 2) {
          int row = warp / 2 * 32 + m * 16 + lane / 4 + e * 4;
          int col = (kGated ? half * 32 : 0) + 8 * j + lane % 4 * 2;
          if (kGated || half == part)
            *reinterpret_cast<float2 *>(&space.sums[row][col]) =
                make_float2(call.factor * sum[m][j][e], call.factor * sum[m][j][e + 1]);
        }
    __syncthreads();
    if (n0 + part * 64 < call.n)
      storeColumns<S, !kGated>(call, space.sums, at, rows, n0 + part * 64);
  }
}

/// Fills what follows from the operands. False: they do not lie as the kernel reads them.
template <class S> bool describeLinear(LinearMmaCall &call, const Operand *const (&byRow)[6]) {
  using C = LinearMmaCall;
  const Operand &x = *byRow[C::X], &y = *byRow[C::Y];
  int leading = x.rank - 1;
  auto isAligned = [](const void *data, uint64_t bytes) {
    return reinterpret_cast<uint64_t>(data) % bytes == 0;
  };
  for (int d = 0; d < leading; ++d) {
    for (int o = 0; o < C::kOperands; ++o) {
      bool has = *byRow[o] && byRow[o]->shape[d] == x.shape[d];
      call.rows.stride[o][d] = has ? byRow[o]->strides[d] : 0;
    }
    call.rows.push(x.shape[d]);
  }
  call.rows.merge();
  call.rowCount = call.rows.count();
  call.n = y.shape[leading], call.k = x.shape[leading];
  call.fours = call.n % 4 == 0;
  for (int o = 0; o < C::kOperands; ++o) {
    const Operand &operand = *byRow[o];
    call.data[o] = operand.data, call.statistic[o] = isStatistic<S>(operand.type);
    call.colStride[o] = operand && o != C::RowScale ? operand.strides[leading] : 0;
    if (o == C::X || o == C::RowScale || !operand)
      continue;
    call.fours &= call.colStride[o] == 1 && isAligned(operand.data, call.statistic[o] ? 16 : 8);
    for (int d = 0; d < call.rows.rank; ++d)
      call.fours &= call.rows.stride[o][d] % 4 == 0;
  }
  int last = call.rows.rank - 1;
  call.down = last >= 0 && call.rows.stride[C::Y][last] == 1 && call.colStride[C::Y] != 1;
  bool fits = call.k > 0 && call.k % 8 == 0 && call.colStride[C::X] == 1 && isAligned(x.data, 16);
  for (int d = 0; d < call.rows.rank; ++d)
    fits &= call.rows.stride[C::X][d] % 8 == 0;
  for (int i = 0; i < 2; ++i)
    fits &= !call.weight[i] || (isAligned(call.weight[i], 16) && call.weightStride[i] % 8 == 0);
  int64_t tiles = ceilDiv(call.rowCount, kLinearRows) * ceilDiv(call.n, 64);
  return fits && tiles <= kMostBlocks;
}

template <class S, bool kGated>
Status launchLinearMma(const Launch &launch, const LinearMmaCall &call) {
  int64_t tiles = ceilDiv(call.rowCount, kLinearRows) * ceilDiv(call.n, kGated ? 64 : 128);
  if (tiles > 0)
    linearMmaKernel<S, kGated><<<gridOf(tiles), kLinearThreads, 0, launch.context->stream>>>(call);
  return statusOf(cudaGetLastError(), "the launch of a linear layer on tensor cores");
}

} // namespace evo::cuda
