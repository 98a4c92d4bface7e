//===- AttentionTile.cuh -------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// Attention of a tile of 64 queries and 64 keys of one batch and head, by 256 threads in fp32, for
// any strides and head widths. A thread has queries 4 (thread / 16) .. + 3 and keys thread % 16 +
// 0, 16, 32, 48. Where there is one query a batch (global attention), the heads of a group take its
// place.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/cuda/kernels/HeadMatrix.h"
#include "runtime/cuda/kernels/Storage.cuh"

namespace evo::cuda {

constexpr int kTile = 64, kWidth = 16, kAttentionThreads = 256;

struct AttentionCall {
  int64_t batches, heads, groups, queries, keys, width;
  float scale, inf;
  HeadMatrix query, key, value, bias, mask, o, lse, dout;
  HeadMatrix accumulator, dquery, dkey, dvalue, dbias; ///< of the gradient

  /// Operands 0 to 6 of `attention`, which are those of `attention_grad`.
  explicit AttentionCall(const Launch &launch) {
    const Operand *o = launch.operands;
    const Operand &q = o[0], &k = o[1];
    batches = q.shape[0], heads = launch.attributes->heads, queries = q.shape[1];
    keys = k.shape[1], width = q.shape[2] / heads, groups = k.shape[2] / width;
    scale = static_cast<float>(launch.attributes->scale);
    // Kernels count in powers of two, where more would be infinite.
    inf = std::min(static_cast<float>(launch.attributes->inf), 0x1p127f);
    folded = queries == 1 && heads > groups;
    query = channels(q), key = keysOf(k), value = keysOf(o[2]), bias = pairBias(o[3]);
    mask = {o[4].data, o[4].strides[0], 0, 0, o[4].strides[1]};
    this->o = channels(o[5]), lse = statistics(o[6]);
    if (folded)
      queries = heads / groups, heads = groups;
  }
  /// [b, q, (h, c)]
  HeadMatrix channels(const Operand &o) const {
    return fold({o.data, o.strides[0], width * o.strides[2], o.strides[1], o.strides[2]});
  }
  /// [b, k, (g, c)]
  HeadMatrix keysOf(const Operand &o) const {
    return {o.data, o.strides[0], width * o.strides[2], o.strides[1], o.strides[2]};
  }
  /// [h, q, k]
  HeadMatrix pairBias(const Operand &o) const {
    return fold({o.data, 0, o.strides[0], o.strides[1], o.strides[2]});
  }
  /// [b, h, q]
  HeadMatrix statistics(const Operand &o) const {
    return fold({o.data, o.strides[0], o.strides[1], o.strides[2], 0});
  }

private:
  bool folded = false;
  HeadMatrix fold(HeadMatrix m) const {
    if (folded)
      m.row = groups * m.head;
    return m;
  }
};

/// Where the matrix of a batch and head begins.
template <class S> __device__ inline const S *at(const HeadMatrix &m, int64_t b, int64_t h) {
  return reinterpret_cast<const S *>(m.data) + m.offsetOf(b, h);
}

/// tile[r][c] = m[first + r, col + c], 0 beyond the ends.
template <class S, int kRows, int kCols, int kPitch>
__device__ inline void gatherTile(float (&tile)[kRows][kPitch], const S *m, int64_t rowStride,
                                  int64_t colStride, int64_t first, int64_t rows, int64_t col,
                                  int64_t cols) {
  for (int e = threadIdx.x; e < kRows * kCols; e += kAttentionThreads) {
    int r = e / kCols, c = e % kCols;
    bool inside = first + r < rows && col + c < cols;
    tile[r][c] = inside ? widen(m[(first + r) * rowStride + (col + c) * colStride]) : 0.0f;
  }
}

using ColumnTile = float[kTile][kWidth + 1];
using SquareTile = float[kTile][kTile + 1];

/// sum[i][j] = sum_c left[row i, c] right[row j, c] of two tiles of rows.
template <class S>
__device__ inline void multiplyRows(float (&sum)[4][4], ColumnTile &a, ColumnTile &b, const S *left,
                                    const HeadMatrix &l, int64_t firstLeft, int64_t rowsLeft,
                                    const S *right, const HeadMatrix &r, int64_t firstRight,
                                    int64_t rowsRight, int64_t width) {
  int tx = threadIdx.x % 16, ty = threadIdx.x / 16;
  for (int i = 0; i < 4; ++i)
    for (int j = 0; j < 4; ++j)
      sum[i][j] = 0;
  for (int64_t c0 = 0; c0 < width; c0 += kWidth) {
    __syncthreads();
    gatherTile<S, kTile, kWidth>(a, left, l.row, l.col, firstLeft, rowsLeft, c0, width);
    gatherTile<S, kTile, kWidth>(b, right, r.row, r.col, firstRight, rowsRight, c0, width);
    __syncthreads();
    for (int c = 0; c < kWidth; ++c) {
      float x[4], y[4];
      for (int i = 0; i < 4; ++i)
        x[i] = a[ty * 4 + i][c], y[i] = b[tx + 16 * i][c];
      for (int i = 0; i < 4; ++i)
        for (int j = 0; j < 4; ++j)
          sum[i][j] = fmaf(x[i], y[j], sum[i][j]);
    }
  }
}

/// sum[i][j] += sum_k weights[4 ty + i][k] m[first + k, col + tx + 16 j]; with `down` the weights
/// are read as their transpose.
template <class S, bool kDown>
__device__ inline void addWeighted(float (&sum)[4][4], const SquareTile &weights, ColumnTile &space,
                                   const S *m, const HeadMatrix &strides, int64_t first,
                                   int64_t rows, int64_t col, int64_t cols) {
  auto &tile = reinterpret_cast<float(&)[kWidth][kTile + 1]>(space);
  static_assert(sizeof(tile) <= sizeof(ColumnTile));
  int tx = threadIdx.x % 16, ty = threadIdx.x / 16;
  for (int k0 = 0; k0 < kTile && first + k0 < rows; k0 += kWidth) {
    __syncthreads();
    gatherTile<S, kWidth, kTile>(tile, m, strides.row, strides.col, first + k0, rows, col, cols);
    __syncthreads();
    for (int k = 0; k < kWidth; ++k) {
      float x[4], y[4];
      for (int i = 0; i < 4; ++i) {
        x[i] = kDown ? weights[k0 + k][ty * 4 + i] : weights[ty * 4 + i][k0 + k];
        y[i] = tile[k][tx + 16 * i];
      }
      for (int i = 0; i < 4; ++i)
        for (int j = 0; j < 4; ++j)
          sum[i][j] = fmaf(x[i], y[j], sum[i][j]);
    }
  }
}

/// The largest mask of a batch, found by a block of kThreads; 0 without one. `space` has a float a
/// warp.
template <class S, int kThreads = kAttentionThreads>
__device__ inline float largestMask(const AttentionCall &call, int64_t b, float *space) {
  if (!call.mask.data)
    return 0;
  const S *mask = at<S>(call.mask, b, 0);
  float most = -INFINITY;
  for (int64_t k = threadIdx.x; k < call.keys; k += kThreads)
    most = fmaxf(most, widen(mask[k * call.mask.col]));
  most = warpMax(most);
  __syncthreads();
  if (threadIdx.x % 32 == 0)
    space[threadIdx.x / 32] = most;
  __syncthreads();
  for (int i = 0; i < kThreads / 32; ++i)
    most = fmaxf(most, space[i]);
  return most;
}

/// Scales products and adds bias and mask; -infinity beyond the ends.
template <class S>
__device__ inline void makeLogits(float (&score)[4][4], const AttentionCall &call, int64_t b,
                                  int64_t h, int64_t q0, int64_t k0, float largest) {
  int tx = threadIdx.x % 16, ty = threadIdx.x / 16;
  const S *bias = at<S>(call.bias, 0, h), *mask = at<S>(call.mask, b, 0);
  for (int j = 0; j < 4; ++j) {
    int64_t k = k0 + tx + 16 * j;
    bool inside = k < call.keys;
    float term = 0;
    if (inside && call.mask.data)
      term = call.inf * (widen(mask[k * call.mask.col]) - largest);
    for (int i = 0; i < 4; ++i) {
      int64_t q = q0 + ty * 4 + i;
      float value = call.scale * score[i][j];
      if (inside && call.bias.data && q < call.queries)
        value += widen(bias[q * call.bias.row + k * call.bias.col]);
      score[i][j] = inside ? value + term : -INFINITY;
    }
  }
}

} // namespace evo::cuda
