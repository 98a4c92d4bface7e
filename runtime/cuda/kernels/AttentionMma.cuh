//===- AttentionMma.cuh - attention on tensor cores -------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// The half types' attention for heads of 8 to 64 channels that lie together, and what that of fp32
// in AttentionFloat.cuh has of it: tiles of rows, and terms of the mask. A block of four warps
// has 64 queries, 16 a warp, and goes through the keys 64 at a time: the next keys and values are
// copied to shared memory while the present ones are multiplied. Weights are rounded to the storage
// type for the product with the values, as `attention_logits` and `softmax` would store them.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/cuda/kernels/AttentionTile.cuh"
#include "runtime/cuda/kernels/Mma.cuh"

namespace evo::cuda {

inline constexpr int kMmaThreads = 128, kMmaKeys = 64;
inline constexpr float kLog2E = 1.4426950408889634f;

/// kRows rows of a head, padded so that eight rows fall into different banks.
template <class S, int kWidth, int kRows> struct HeadTile {
  static constexpr int kChunk = 16 / sizeof(S), kPitch = kWidth + kChunk;
  S rows[kRows][kPitch];

  /// Begins to copy rows [first, first + kRows) of a matrix; zeros beyond its ends.
  __device__ void copy(const S *m, int64_t rowStride, int64_t first, int64_t count, int width) {
    constexpr int kChunks = kWidth / kChunk;
    for (int e = threadIdx.x; e < kRows * kChunks; e += kMmaThreads) {
      int row = e / kChunks, col = e % kChunks * kChunk;
      bool inside = first + row < count && col < width;
      copyAsync(&rows[row][col], inside ? m + (first + row) * rowStride + col : m, inside);
    }
  }
};

/// The left factor's 16 rows of one warp, in registers.
template <class S, int kWidth> struct RowFragments {
  uint32_t part[kWidth / 16][4];

  __device__ void load(const S *m, int64_t rowStride, int64_t first, int64_t count, int width) {
    int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
    for (int c = 0; c < kWidth / 16; ++c)
      for (int i = 0; i < 4; ++i) {
        int64_t row = first + g + i % 2 * 8;
        int col = c * 16 + 2 * t + i / 2 * 8;
        part[c][i] = row < count && col < width
                         ? *reinterpret_cast<const uint32_t *>(m + row * rowStride + col)
                         : 0;
      }
  }
};

/// sum[j] of keys 8 j .. 8 j + 7 = rows times the tile's rows.
template <class S, int kWidth, int kRows>
__device__ inline void multiplyByRows(float (&sum)[kRows / 8][4],
                                      const RowFragments<S, kWidth> &left,
                                      const HeadTile<S, kWidth, kRows> &tile) {
  int lane = threadIdx.x % 32, row = lane % 8 + lane / 16 * 8, col = lane / 8 % 2 * 8;
  for (int j = 0; j < kRows / 8; ++j)
    for (int i = 0; i < 4; ++i)
      sum[j][i] = 0;
  for (int j = 0; j < kRows / 16; ++j)
    for (int c = 0; c < kWidth / 16; ++c) {
      uint32_t b[4];
      loadMatrices(b, &tile.rows[j * 16 + row][c * 16 + col]);
      multiplyTiles<S>(sum[2 * j], left.part[c], b[0], b[1]);
      multiplyTiles<S>(sum[2 * j + 1], left.part[c], b[2], b[3]);
    }
}

/// sum[j] of columns 8 j .. 8 j + 7 += weights times the tile; weights are sums of keys.
template <class S, int kWidth, int kRows>
__device__ inline void addWeightedRows(float (&sum)[kWidth / 8][4],
                                       const float (&weights)[kRows / 8][4],
                                       const HeadTile<S, kWidth, kRows> &tile) {
  int lane = threadIdx.x % 32, row = lane % 16, col = lane / 16 * 8;
  for (int k = 0; k < kRows / 16; ++k) {
    const float(&low)[4] = weights[2 * k], (&high)[4] = weights[2 * k + 1];
    const uint32_t a[4] = {packed<S>(low[0], low[1]), packed<S>(low[2], low[3]),
                           packed<S>(high[0], high[1]), packed<S>(high[2], high[3])};
    for (int c = 0; c < kWidth / 16; ++c) {
      uint32_t b[4];
      loadTransposed(b, &tile.rows[k * 16 + row][c * 16 + col]);
      multiplyTiles<S>(sum[2 * c], a, b[0], b[1]);
      multiplyTiles<S>(sum[2 * c + 1], a, b[2], b[3]);
    }
  }
}

/// Has `fetch` begin the copies of the tile of keys from `next` on, where there are such, and waits
/// for those of the present tile.
template <class Fetch>
__device__ inline void fetchAhead(const Fetch &fetch, int now, int64_t next, int64_t keys) {
  if (next < keys) {
    fetch(now ^ 1, next);
    waitForCopies<1>();
  } else {
    waitForCopies<0>();
  }
  __syncthreads();
}

/// What is added to the logits of keys [first, first + kMmaKeys), in powers of two; -infinity
/// beyond the last key.
template <class S>
__device__ inline void fillTerms(float *terms, const AttentionCall &call, int64_t b, int64_t first,
                                 float largest) {
  int64_t k = first + threadIdx.x;
  if (threadIdx.x >= kMmaKeys)
    return;
  float term = 0;
  if (call.mask.data && k < call.keys)
    term = call.inf * (widen(at<S>(call.mask, b, 0)[k * call.mask.col]) - largest) * kLog2E;
  terms[threadIdx.x] = k < call.keys ? term : -INFINITY;
}

/// The pair bias of a warp's rows and the keys of a tile, as it is stored: loaded before it is
/// used.
template <class S> struct BiasFragments {
  uint32_t pair[kMmaKeys / 8][2];

  __device__ void load(const AttentionCall &call, int64_t h, int64_t q, int64_t k0, bool aligned) {
    if (!call.bias.data)
      return;
    const S *bias = at<S>(call.bias, 0, h);
    int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
    for (int half = 0; half < 2; ++half) {
      int64_t row = smaller(q + g + half * 8, call.queries - 1);
      const S *line = bias + row * call.bias.row;
      for (int j = 0; j < kMmaKeys / 8; ++j) {
        int64_t k = k0 + 8 * j + 2 * t;
        if (aligned && k + 1 < call.keys) {
          pair[j][half] = *reinterpret_cast<const uint32_t *>(line + k);
          continue;
        }
        S low = line[smaller(k, call.keys - 1) * call.bias.col];
        S high = line[smaller(k + 1, call.keys - 1) * call.bias.col];
        pair[j][half] = packed<S>(widen(low), widen(high));
      }
    }
  }
};

/// Logits in powers of two from products.
template <class S>
__device__ inline void makeScores(float (&score)[kMmaKeys / 8][4], const AttentionCall &call,
                                  const BiasFragments<S> &bias, const float *terms) {
  int t = threadIdx.x % 4;
  float scale = call.scale * kLog2E;
  for (int j = 0; j < kMmaKeys / 8; ++j) {
    float2 term = *reinterpret_cast<const float2 *>(terms + 8 * j + 2 * t);
    for (int half = 0; half < 2; ++half) {
      float2 add = term;
      if (call.bias.data) {
        float2 pair = unpacked<S>(bias.pair[j][half]);
        add.x = fmaf(pair.x, kLog2E, add.x), add.y = fmaf(pair.y, kLog2E, add.y);
      }
      score[j][2 * half] = fmaf(score[j][2 * half], scale, add.x);
      score[j][2 * half + 1] = fmaf(score[j][2 * half + 1], scale, add.y);
    }
  }
}

/// Whether heads lie as the copies of 16 bytes need it.
template <class S> bool hasAlignedHeads(const AttentionCall &call) {
  constexpr int kChunk = 16 / sizeof(S);
  if (call.width % kChunk != 0 || call.width > 64 || call.queries == 0 || call.keys == 0)
    return false;
  for (const HeadMatrix *m : {&call.query, &call.key, &call.value, &call.o}) {
    if (m->col != 1 || reinterpret_cast<uint64_t>(m->data) % 16 != 0)
      return false;
    for (int64_t stride : {m->batch, m->head, m->row})
      if (stride % kChunk != 0)
        return false;
  }
  return true;
}

template <class S> bool takesTensorCores(const AttentionCall &call) {
  return kIsHalf<S> && hasAlignedHeads<S>(call);
}

/// Whether two neighbours of the pair bias can be read at once.
inline bool hasAlignedBias(const AttentionCall &call) {
  return call.bias.col == 1 && call.bias.row % 2 == 0 && call.bias.head % 2 == 0 &&
         reinterpret_cast<uint64_t>(call.bias.data) % 4 == 0;
}

} // namespace evo::cuda
