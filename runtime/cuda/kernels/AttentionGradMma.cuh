//===- AttentionGradMma.cuh - attention's gradient on tensor cores -*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// What the kernels of `attention_grad` share for the half types' heads that AttentionMma.cuh takes.
// There are two, each of which computes the weights p and their slopes dl again from the lse:
//   headGradKernel (AttentionGradHead.cuh) makes dquery, dkey and dvalue of a batch and head;
//   biasGradKernel (AttentionGradBias.cuh) makes the pair bias' gradient, a tile through batches.
// Those of AttentionGradHopper.cu take their place where they are for the device and the call.
// Before them, prepareKernel reduces what a row or key needs to a number each, padded so that tiles
// need no test for the ends: a row begins its sums of query key^T with -lse / scale and those of
// dout value^T with -D, so that one multiplication and addition makes an exponent of a product.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/cuda/kernels/AttentionMma.cuh"

namespace evo::cuda {

/// Rows of a tile that goes through the queries, and the largest tile of keys.
inline constexpr int kGradQueries = 64, kGradKeys = 128;
/// A key this far below the others, in powers of two, has no weight: only logits could undo it that
/// are too large for fp32 to tell their powers apart.
inline constexpr float kNoWeight = -0x1p24f;

/// A call of some batches and heads, and what was prepared for it.
struct MmaGradCall {
  AttentionCall call;
  int64_t paddedQueries = 0, paddedKeys = 0; ///< whole tiles
  float startFactor = 0;                     ///< 1 / scale, or what the kernels of Hopper want
  float *start = nullptr;                    ///< [b, h, q]: -lse startFactor; no weight beyond
  float *delta = nullptr;                    ///< [b, h, q]: -D, 0 beyond the last
  float *terms = nullptr;       ///< [b, k]: of the mask, in powers of two; -infinity: no weight
  uint32_t *weighted = nullptr; ///< [b, k / 32]: a bit a key, whether it may have weight
  uint4 *bias = nullptr;        ///< the pair bias as headGradKernel reads it: see packBias
  float *sums = nullptr;        ///< of the kernels, each after the other
  int64_t keyBlocks = 0, biasBlocks = 0; ///< of prepareKernel, of biasGradKernel
};

/// x, not to be computed again where it is used: special registers are slow to read.
__device__ inline int kept(int x) {
  asm volatile("" : "+r"(x));
  return x;
}

/// Which rows and channels of each tile a thread copies.
template <class S, int kWidth, int kThreads = kMmaThreads> struct TileCopy {
  static constexpr int kLanes = kWidth <= 16 ? 2 : kWidth <= 32 ? 4 : 8;
  static constexpr int kRowsAtOnce = kThreads / kLanes;
  int row, col;

  __device__ explicit TileCopy(int thread) : row(thread / kLanes), col(thread % kLanes * 8) {}

  /// Begins to copy the rows of `m` for which inside(row) is true; zeros for the others.
  template <int kRows, class Inside>
  __device__ void copy(HeadTile<S, kWidth, kRows> &tile, const S *m, int64_t stride, int width,
                       const Inside &inside) const {
    m += row * stride + col;
    if (kWidth < 8 * kLanes && col >= kWidth)
      return;
#pragma unroll
    for (int i = 0; i < kRows; i += kRowsAtOnce) {
      copyAsync(&tile.rows[row + i][col], m, col < width && inside(row + i));
      m += kRowsAtOnce * stride;
    }
  }
  /// The same of the first `rows` rows.
  template <int kRows>
  __device__ void copy(HeadTile<S, kWidth, kRows> &tile, const S *m, int64_t stride, int width,
                       int64_t rows) const {
    int count = static_cast<int>(smaller(rows, kRows));
    copy(tile, m, stride, width, [&](int i) { return i < count; });
  }
};

/// 16 bytes of shared memory, in order with the copies to it.
__device__ inline void loadFour(uint4 &x, const uint4 *from) {
  auto address = static_cast<uint32_t>(__cvta_generic_to_shared(from));
  asm volatile("ld.shared.v4.u32 {%0,%1,%2,%3}, [%4];"
               : "=r"(x.x), "=r"(x.y), "=r"(x.z), "=r"(x.w)
               : "r"(address)
               : "memory");
}

/// Two 8 x 8 matrices, whose rows the addresses of the first 16 lanes name.
__device__ inline void loadTwoMatrices(uint32_t (&x)[2], const void *row) {
  auto address = static_cast<uint32_t>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0,%1}, [%2];"
               : "=r"(x[0]), "=r"(x[1])
               : "r"(address));
}

/// Products of tiles that begin with `start`.
template <class S>
__device__ inline void multiplyTiles(float (&sum)[4], const uint32_t (&a)[4], uint32_t b0,
                                     uint32_t b1, const float (&start)[4]) {
#pragma unroll
  for (int i = 0; i < 4; ++i)
    sum[i] = start[i];
  multiplyTiles<S>(sum, a, b0, b1);
}

/// The right factors of 8 rows of a tile, 16 channels a step.
template <class S, int kWidth, int kRows>
__device__ inline void loadRows(uint32_t (&x)[kWidth / 16][2],
                                const HeadTile<S, kWidth, kRows> &tile, int row) {
  int lane = threadIdx.x % 32;
#pragma unroll
  for (int c = 0; c + 1 < kWidth / 16; c += 2) {
    uint32_t four[4];
    loadMatrices(four, &tile.rows[row + lane % 8][c * 16 + lane / 8 * 8]);
    x[c][0] = four[0], x[c][1] = four[1], x[c + 1][0] = four[2], x[c + 1][1] = four[3];
  }
  if constexpr (kWidth / 16 % 2 == 1)
    loadTwoMatrices(x[kWidth / 16 - 1], &tile.rows[row + lane % 8][kWidth - 16 + lane / 8 % 2 * 8]);
}

/// sum = start + rows times 8 rows of a tile.
template <class S, int kSteps>
__device__ inline void multiplyRows(float (&sum)[4], const uint32_t (&left)[kSteps][4],
                                    const uint32_t (&right)[kSteps][2], const float (&start)[4]) {
  multiplyTiles<S>(sum, left[0], right[0][0], right[0][1], start);
#pragma unroll
  for (int c = 1; c < kSteps; ++c)
    multiplyTiles<S>(sum, left[c], right[c][0], right[c][1]);
}

/// sum_c of 8 channels.
template <class S> __device__ inline float innerProduct(const uint4 &left, const uint4 &right) {
  const uint32_t a[4] = {left.x, left.y, left.z, left.w};
  const uint32_t b[4] = {right.x, right.y, right.z, right.w};
  float sum = 0;
  for (int i = 0; i < 4; ++i) {
    float2 u = unpacked<S>(a[i]), v = unpacked<S>(b[i]);
    sum = fmaf(u.y, v.y, fmaf(u.x, v.x, sum));
  }
  return sum;
}

/// How prepareRows cuts the rows of a batch, fewer than 2^29: a thread has 8 channels of each of
/// its rows.
struct RowCut {
  static constexpr int kRows = 4, kItems = 256 * kRows;
  int shift;      ///< 2^shift threads have a row
  int64_t blocks; ///< of a batch

  __host__ __device__ explicit RowCut(const MmaGradCall &grad)
      : shift(grad.call.width <= 8    ? 0
              : grad.call.width <= 16 ? 1
              : grad.call.width <= 32 ? 2
                                      : 3),
        blocks(ceilDiv((grad.paddedQueries * grad.call.heads) << shift, kItems)) {}
};

/// Neighbours have eight rows of a head, whose numbers lie together, then those of the next head.
template <class S> __device__ inline void prepareRows(const MmaGradCall &grad, int64_t grid) {
  constexpr int kRows = RowCut::kRows;
  const AttentionCall &call = grad.call;
  auto width = static_cast<int>(call.width);
  auto heads = static_cast<uint32_t>(call.heads);
  RowCut cut(grad);
  int lanes = 1 << cut.shift, c = threadIdx.x % lanes * 8;
  for (int64_t task = blockIdx.x; task < call.batches * cut.blocks; task += grid) {
    int64_t b = quotient(task, cut.blocks);
    uint32_t first = static_cast<uint32_t>(task - b * cut.blocks) * RowCut::kItems + threadIdx.x;
    uint4 left[kRows], right[kRows]; // all are loaded before the first is used
    int q[kRows], h[kRows];
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
      uint32_t item = (first + 256 * i) >> cut.shift, eight = item / 8 / heads;
      q[i] = static_cast<int>(eight * 8 + item % 8);
      h[i] = static_cast<int>(item / 8 - eight * heads);
      bool inside = q[i] < call.queries && c < width;
      int64_t row = inside ? q[i] : 0, col = inside ? c : 0;
      left[i] = *reinterpret_cast<const uint4 *>(at<S>(call.o, b, h[i]) + row * call.o.row + col);
      right[i] =
          *reinterpret_cast<const uint4 *>(at<S>(call.dout, b, h[i]) + row * call.dout.row + col);
    }
    float sum[kRows];
#pragma unroll
    for (int i = 0; i < kRows; ++i)
      sum[i] = q[i] < call.queries && c < width ? innerProduct<S>(left[i], right[i]) : 0;
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
      for (int step = 1; step < lanes; step *= 2)
        sum[i] += __shfl_xor_sync(0xffffffffu, sum[i], step);
      if (q[i] >= grad.paddedQueries || c != 0)
        continue;
      float lse = INFINITY;
      if (q[i] < call.queries)
        lse = at<float>(call.lse, b, h[i])[q[i] * call.lse.row];
      int64_t to = (b * heads + h[i]) * grad.paddedQueries + q[i];
      grad.start[to] = -lse * grad.startFactor, grad.delta[to] = -sum[i];
    }
  }
}

/// A block has a batch.
template <class S> __device__ inline void prepareKeys(const MmaGradCall &grad, int64_t first) {
  __shared__ float space[8];
  const AttentionCall &call = grad.call;
  for (int64_t b = first; b < call.batches; b += grad.keyBlocks) {
    const S *mask = at<S>(call.mask, b, 0);
    float largest = largestMask<S, 256>(call, b, space);
    for (int64_t k0 = 0; k0 < grad.paddedKeys; k0 += 256) {
      int64_t k = k0 + threadIdx.x;
      float term = k < call.keys ? 0.0f : -INFINITY;
      if (call.mask.data && k < call.keys)
        term = call.inf * (widen(mask[k * call.mask.col]) - largest) * kLog2E;
      bool weighted = term >= kNoWeight;
      uint32_t bits = __ballot_sync(0xffffffffu, weighted);
      if (k >= grad.paddedKeys)
        continue;
      grad.terms[b * grad.paddedKeys + k] = weighted ? term : -INFINITY;
      if (threadIdx.x % 32 == 0)
        grad.weighted[(b * grad.paddedKeys + k) / 32] = bits;
    }
  }
}

/// The pair bias by head and 16 keys and 16 queries, of which a lane has queries 2t, 2t + 1 and key
/// g, then key g + 8, then queries 2t + 8, 2t + 9 with both: what multiplyTiles gives it of
/// products with keys as rows.
template <class S>
__device__ inline void packBias(const MmaGradCall &grad, int64_t thread, int64_t threads) {
  const AttentionCall &call = grad.call;
  int64_t qTiles = grad.paddedQueries / 16, kTiles = grad.paddedKeys / 16;
  int64_t all = call.bias.data ? call.heads * kTiles * qTiles * 32 : 0;
  for (int64_t i = thread; i < all; i += threads) {
    int64_t tile = i / 32, rest = quotient(tile, qTiles), h = quotient(rest, kTiles);
    int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
    int64_t q0 = (tile - rest * qTiles) * 16 + 2 * t, k0 = (rest - h * kTiles) * 16 + g;
    const S *bias = at<S>(call.bias, 0, h);
    auto valueAt = [&](int64_t q, int64_t k) {
      return q < call.queries && k < call.keys ? widen(bias[q * call.bias.row + k * call.bias.col])
                                               : 0.0f;
    };
    auto pairAt = [&](int64_t q, int64_t k) { return packed<S>(valueAt(q, k), valueAt(q + 1, k)); };
    grad.bias[i] =
        make_uint4(pairAt(q0, k0), pairAt(q0, k0 + 8), pairAt(q0 + 8, k0), pairAt(q0 + 8, k0 + 8));
  }
}

template <class S>
__global__ void __launch_bounds__(256) prepareKernel(const __grid_constant__ MmaGradCall grad) {
  int64_t block = blockIdx.x, ofRows = gridDim.x - grad.keyBlocks;
  if (block >= ofRows) {
    packBias<S>(grad, (block - ofRows) * 256 + threadIdx.x, grad.keyBlocks * 256);
    prepareKeys<S>(grad, block - ofRows);
    return;
  }
  prepareRows<S>(grad, ofRows);
}

} // namespace evo::cuda
