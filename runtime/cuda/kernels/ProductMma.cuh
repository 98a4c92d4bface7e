//===- ProductMma.cuh - tiles of products on tensor cores -------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// sums[m,n] = sum_k a[m,k] b[n,k] of half types, whose axes may each be two: (i, c) of an operand
// [s, i, c] is one axis of a product where it lies. A block of four warps has 64 or 128 rows and
// 128 columns, a warp a quarter of them; four stages of 32 depths are on their way to shared
// memory. Sums end in shared memory, from where kernels finish and store them in rows.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/cuda/kernels/DynamicShared.cuh"
#include "runtime/cuda/kernels/Mma.cuh"
#include "runtime/cuda/kernels/MmaAxis.h"

namespace evo::cuda {

inline constexpr int kTileThreads = 128, kTileCols = 128, kTileDepth = 32, kTileStages = 4;
inline constexpr int kTilePitch = kTileCols + 8; ///< of sums: eight rows fall into different banks

/// A factor of a product: rows across, and the depths that are summed over. One of the two is
/// contiguous in units of 16 bytes.
struct MmaMatrix {
  const std::byte *data = nullptr;
  MmaAxis across, deep;
  int64_t step = 0; ///< from some depths to those of the next stage

  /// False: copies of 16 bytes cannot read it, or a stage is not as far from the next as another.
  bool describe(bool isAcross) {
    const MmaAxis &along = isAcross ? across : deep, &other = isAcross ? deep : across;
    bool isOne = deep.inner == deep.extent;
    step = isOne ? kTileDepth * deep.innerStride : kTileDepth / deep.inner * deep.outerStride;
    return along.isContiguous() && other.takesUnits() && deep.isCounted() && across.isCounted() &&
           (isOne || kTileDepth % deep.inner == 0) && reinterpret_cast<uint64_t>(data) % 16 == 0;
  }
};

/// Copies kRows rows of a factor, 32 depths at a time. Rows lie along the depths, or where
/// kIsAcross, depths lie along the rows; units of 16 bytes are placed so that eight that are loaded
/// together fall into different banks.
template <class S, bool kIsAcross, int kRows> struct TileFetch {
  static constexpr int kUnits = kIsAcross ? kRows / 8 : 4; ///< in a line
  static constexpr int kLines = kTileThreads / kUnits, kSteps = kRows * 4 / kTileThreads;
  const S *at[kSteps];                ///< the next units of a thread
  int deep[kIsAcross ? kSteps : 1];   ///< their depths
  bool isRow[kIsAcross ? 1 : kSteps]; ///< else they are beyond the last
  uint4 *to;

  __device__ TileFetch(const MmaMatrix &m, int64_t first, int k0, uint4 *space) {
    int line = threadIdx.x / kUnits, unit = threadIdx.x % kUnits;
    to = space + place(line, unit);
    // What all units of a thread have in common is computed once.
    int64_t x = first + unit * 8, fixed = m.deep.offsetOf(k0 + unit * 8);
    if (kIsAcross) {
      isRow[0] = x < m.across.extent;
      fixed = isRow[0] ? m.across.offsetOf(x) : 0;
    }
    deep[0] = k0 + unit * 8;
#pragma unroll
    for (int i = 0; i < kSteps; ++i) {
      int along = line + i * kLines;
      int64_t other = 0;
      if constexpr (kIsAcross) {
        deep[i] = k0 + along;
        other = m.deep.offsetOf(deep[i]);
      } else {
        isRow[i] = first + along < m.across.extent;
        other = isRow[i] ? m.across.offsetOf(first + along) : 0;
      }
      at[i] = reinterpret_cast<const S *>(m.data) + fixed + other;
    }
  }
  /// Where a unit of a line lies in a stage.
  __device__ static int place(int line, int unit) {
    return line * kUnits + (unit ^ (kIsAcross ? line & 7 : line >> 1 & 3));
  }
  /// Begins to copy the next depths, of which those from `end` on are 0, to a stage.
  __device__ void copy(int stage, const MmaMatrix &m, int end) {
#pragma unroll
    for (int i = 0; i < kSteps; ++i) {
      bool inside = deep[kIsAcross ? i : 0] < end;
      copyAsync(to + stage + i * kLines * kUnits, at[i], inside && isRow[kIsAcross ? 0 : i]);
      at[i] += m.step;
    }
#pragma unroll
    for (int &k : deep)
      k += kTileDepth;
  }
  /// Fragments of rows x .. x + 15 and depths k .. k + 15: as the left factor of a product, or of
  /// two right ones.
  template <bool kIsLeft>
  __device__ static void load(uint32_t (&f)[4], const uint4 *stage, int x, int k) {
    int lane = threadIdx.x % 32, low = lane % 8, second = lane / 8 % 2, third = lane / 16;
    int row = kIsLeft ? second : third, depth = kIsLeft ? third : second;
    if constexpr (kIsAcross)
      loadTransposed(f, stage + place(k + depth * 8 + low, x / 8 + row));
    else
      loadMatrices(f, stage + place(x + row * 8 + low, k / 8 + depth));
  }
};

/// Products of kRowTiles * 32 rows and 128 columns.
template <class S, bool kIsAcrossA, bool kIsAcrossB, int kRowTiles> struct TileProduct {
  static constexpr int kRows = 32 * kRowTiles, kStageUnits = (kRows + kTileCols) * 4;
  static constexpr int kSumBytes = 4 * kRows * kTilePitch;
  static constexpr int kBytes = std::max(kTileStages * kStageUnits * 16, kSumBytes);
  using FetchA = TileFetch<S, kIsAcrossA, kRows>;
  using FetchB = TileFetch<S, kIsAcrossB, kTileCols>;

  /// Adds 16 depths, k of a stage.
  __device__ static void addDepths(float (&sum)[kRowTiles][8][4], const uint4 *stage, int k) {
    int warp = threadIdx.x / 32, m = warp / 2 * (kRows / 2), n = warp % 2 * 64;
    uint32_t a[kRowTiles][4], b[4][4];
#pragma unroll
    for (int i = 0; i < kRowTiles; ++i)
      FetchA::template load<true>(a[i], stage, m + 16 * i, k);
#pragma unroll
    for (int p = 0; p < 4; ++p)
      FetchB::template load<false>(b[p], stage + kRows * 4, n + 16 * p, k);
#pragma unroll
    for (int i = 0; i < kRowTiles; ++i)
#pragma unroll
      for (int p = 0; p < 4; ++p) {
        multiplyTiles<S>(sum[i][2 * p], a[i], b[p][0], b[p][1]);
        multiplyTiles<S>(sum[i][2 * p + 1], a[i], b[p][2], b[p][3]);
      }
  }

  /// A warp's sums over depths [first, end) of the rows from m0 and columns from n0 on. Then the
  /// space is free.
  __device__ static void multiply(float (&sum)[kRowTiles][8][4], uint4 *space, const MmaMatrix &a,
                                  const MmaMatrix &b, int64_t m0, int64_t n0, int first, int end) {
    FetchA fetchA(a, m0, first, space);
    FetchB fetchB(b, n0, first, space + kRows * 4);
    int next = first;
    auto fetch = [&](int stage) {
      if (next < end) {
        fetchA.copy(stage * kStageUnits, a, end);
        fetchB.copy(stage * kStageUnits, b, end);
      }
      next += kTileDepth;
      commitCopies();
    };
    for (int i = 0; i + 1 < kTileStages; ++i)
      fetch(i);
    int stage = 0;
    for (int k = first; k < end; k += kTileDepth) {
      waitForCopies<kTileStages - 2>();
      __syncthreads(); // all have the stage, and are done with the one before
      addDepths(sum, space + stage * kStageUnits, 0);
      fetch((stage + kTileStages - 1) % kTileStages);
      addDepths(sum, space + stage * kStageUnits, 16);
      stage = (stage + 1) % kTileStages;
    }
    waitForCopies<0>();
    __syncthreads();
  }

  /// keep(row, column, two sums) for all sums of a lane.
  template <class Keep>
  __device__ static void forEachPair(const float (&sum)[kRowTiles][8][4], const Keep &keep) {
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    int row = warp / 2 * (kRows / 2) + lane / 4, col = warp % 2 * 64 + lane % 4 * 2;
#pragma unroll
    for (int i = 0; i < kRowTiles; ++i)
#pragma unroll
      for (int j = 0; j < 8; ++j)
#pragma unroll
        for (int e = 0; e < 2; ++e)
          keep(row + 16 * i + 8 * e, col + 8 * j, sum[i][j][2 * e], sum[i][j][2 * e + 1]);
  }
  /// Brings a block's sums to shared memory, rows of kTilePitch; or times a factor and rounded.
  __device__ static const float *collect(const float (&sum)[kRowTiles][8][4], uint4 *space) {
    auto *sums = reinterpret_cast<float *>(space);
    forEachPair(sum, [&](int row, int col, float low, float high) {
      *reinterpret_cast<float2 *>(sums + row * kTilePitch + col) = make_float2(low, high);
    });
    __syncthreads();
    return sums;
  }
  __device__ static const S *collectRounded(const float (&sum)[kRowTiles][8][4], float factor,
                                            uint4 *space) {
    auto *values = reinterpret_cast<S *>(space);
    forEachPair(sum, [&](int row, int col, float low, float high) {
      *reinterpret_cast<uint32_t *>(values + row * kTilePitch + col) =
          packed<S>(factor * low, factor * high);
    });
    __syncthreads();
    return values;
  }
};

/// Eight neighbours, aligned to 16 bytes.
__device__ inline void load8(float (&x)[8], const float *from) {
  float4 low = reinterpret_cast<const float4 *>(from)[0];
  float4 high = reinterpret_cast<const float4 *>(from)[1];
  x[0] = low.x, x[1] = low.y, x[2] = low.z, x[3] = low.w;
  x[4] = high.x, x[5] = high.y, x[6] = high.z, x[7] = high.w;
}
__device__ inline void store8(float *to, const float (&x)[8]) {
  reinterpret_cast<float4 *>(to)[0] = make_float4(x[0], x[1], x[2], x[3]);
  reinterpret_cast<float4 *>(to)[1] = make_float4(x[4], x[5], x[6], x[7]);
}
template <class S> __device__ inline void widen8(float (&x)[8], uint4 bits) {
  const uint32_t words[] = {bits.x, bits.y, bits.z, bits.w};
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    float2 two = unpacked<S>(words[i]);
    x[2 * i] = two.x, x[2 * i + 1] = two.y;
  }
}
template <class S>
__device__ inline void load8(float (&x)[8], const std::byte *data, int64_t at, bool statistic) {
  if (statistic)
    load8(x, reinterpret_cast<const float *>(data) + at);
  else
    widen8<S>(x, *reinterpret_cast<const uint4 *>(data + at * 2));
}
template <class S>
__device__ inline void store8(std::byte *data, int64_t at, bool statistic, const float (&x)[8]) {
  if (statistic)
    return store8(reinterpret_cast<float *>(data) + at, x);
  *reinterpret_cast<uint4 *>(data + at * 2) = make_uint4(
      packed<S>(x[0], x[1]), packed<S>(x[2], x[3]), packed<S>(x[4], x[5]), packed<S>(x[6], x[7]));
}

} // namespace evo::cuda
