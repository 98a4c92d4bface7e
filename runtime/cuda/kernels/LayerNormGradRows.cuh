//===- LayerNormGradRows.cuh - rows in registers ----------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// The kernels of `layer_norm_grad` for rows whose channels lie together or, of half types, for a
// channel-first x: lanes of a warp share rows, which they hold in registers. They wait for memory:
// a warp reads its next rows while it works on those it has, and the lanes of a row meet twice only
// (means of x and e; then what goes with x - mean).
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/cuda/kernels/Neighbours.cuh"
#include "runtime/cuda/kernels/Slots.cuh"
#include "runtime/cuda/kernels/TurnedTile.cuh"

namespace evo::cuda {

struct NormGradCall {
  AxisSpace<4> rows; ///< x, dy, residual, dx
  int64_t next[4];   ///< strides of the last axis of the rows
  int64_t rowCount, channels, stride[4], weightStride;
  const std::byte *x, *weight, *dy, *residual;
  std::byte *dx;
  float *slots;                 ///< [blocks][2 * channels]
  SlotCall sums[2];             ///< of dweight and dbias
  uint32_t *arrivals;           ///< null: another launch adds up the slots
  float eps, factor;            ///< eps is that of x as it lies
  float inverse, inverseFactor; ///< 1 / channels, 1 / factor
};

/// A lane's part of a warp's rows: kOwn channels of each, `own` of them below the number of
/// channels and the others 0.
template <int kLanes, int kRows, int kOwn> struct RowGrads {
  float x[kRows][kOwn], dy[kRows][kOwn]; ///< later xhat and dx

  __device__ void differentiate(const NormGradCall &call, int own, const float (&weight)[kOwn],
                                float (&weightSum)[kOwn], float (&biasSum)[kOwn]) {
    float mean[kRows], meanE[kRows], squares[kRows], product[kRows];
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      float sum = 0, e = 0;
      for (int i = 0; i < kOwn; ++i)
        sum += x[r][i], e = fmaf(dy[r][i], weight[i], e);
      mean[r] = laneSum<kLanes>(sum) * call.inverse;
      meanE[r] = laneSum<kLanes>(e) * call.inverse;
    }
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      float square = 0, along = 0;
      for (int i = 0; i < kOwn; ++i) {
        x[r][i] = i < own ? x[r][i] - mean[r] : 0.0f;
        square = fmaf(x[r][i], x[r][i], square);
        along = fmaf(dy[r][i] * weight[i], x[r][i], along);
      }
      squares[r] = laneSum<kLanes>(square), product[r] = laneSum<kLanes>(along);
    }
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      float rstd = rsqrtf(fmaf(squares[r], call.inverse, call.eps));
      float scaled = rstd * call.inverseFactor, meanProduct = product[r] * rstd * call.inverse;
      for (int i = 0; i < kOwn; ++i) {
        x[r][i] *= rstd;
        weightSum[i] = fmaf(dy[r][i], x[r][i], weightSum[i]);
        biasSum[i] += dy[r][i];
        dy[r][i] = scaled * (fmaf(dy[r][i], weight[i], -meanE[r]) - x[r][i] * meanProduct);
      }
    }
  }
};

/// Leaves a block's sums of dweight and dbias in its slot; kLanes lanes share the channels, in
/// groups of kTogether. The last block adds the slots.
template <int kThreads, int kLanes, int kOwn, int kTogether>
__device__ void leaveSums(const NormGradCall &call, const float (&weightSum)[kOwn],
                          const float (&biasSum)[kOwn]) {
  constexpr int kWarps = kThreads / 32, kCols = kOwn * kLanes;
  // Beside a tile there is room for less.
  constexpr int kAtOnce = 2 * kWarps * kCols <= (kThreads == kTurnedThreads ? 2048 : 8192) ? 2 : 1;
  __shared__ union {
    float sums[kWarps][kAtOnce][kCols];
    float4 space[kThreads];
  } shared;
  int lane = threadIdx.x % 32, warp = threadIdx.x / 32, each = static_cast<int>(call.channels);
  for (int first = 0; first < 2; first += kAtOnce) {
    __syncthreads();
#pragma unroll
    for (int part = 0; part < kAtOnce; ++part)
#pragma unroll
      for (int i = 0; i < kOwn; i += 2) {
        float2 sum = first + part ? make_float2(biasSum[i], biasSum[i + 1])
                                  : make_float2(weightSum[i], weightSum[i + 1]);
        for (int step = 16; step >= kLanes; step /= 2) {
          sum.x += __shfl_xor_sync(0xffffffffu, sum.x, step);
          sum.y += __shfl_xor_sync(0xffffffffu, sum.y, step);
        }
        int col = (i / kTogether * kLanes + lane) * kTogether + i % kTogether;
        if (lane < kLanes)
          *reinterpret_cast<float2 *>(&shared.sums[warp][part][col]) = sum;
      }
    __syncthreads();
    for (int c = static_cast<int>(threadIdx.x); c < kAtOnce * each; c += kThreads) {
      int part = c >= each;
      float sum = 0;
#pragma unroll
      for (int i = 0; i < kWarps; ++i)
        sum += shared.sums[i][part][c - part * each];
      call.slots[(blockIdx.x * int64_t{2} + first) * each + c] = sum;
    }
  }
  if (!call.arrivals || !isLast(call.arrivals, gridDim.x))
    return;
  // Both at once, where there are threads for them.
  auto *space = reinterpret_cast<float *>(shared.space);
  int both = 2 * each <= kThreads ? 2 : 1;
  for (int part = 0; part < 2; part += both) {
    addSlots<4, kThreads, 17>(call.sums + part, gridDim.x, 0, both * each, each, space);
    __syncthreads();
  }
}

inline constexpr int kNormThreads = 512;

/// What a warp reads of rows, of which it has kRows in each of its parts of kLanes lanes.
template <class S, int kLanes, int kGroups, int kWide, int kRows> struct FetchedRows {
  using Part = Neighbours<S, kWide>;
  Part x[kRows][kGroups], dy[kRows][kGroups], residual[kRows][kGroups];
  int64_t dx;

  __device__ void fetch(const NormGradCall &call, int64_t row, int own) {
    constexpr int kApart = 32 / kLanes;
    int lane = threadIdx.x % kLanes, side = threadIdx.x % 32 / kLanes;
    int64_t at[4];
    call.rows.locate(row, at);
    for (int o = 0; o < 4; ++o)
      at[o] += side * call.next[o] + lane * kWide;
    dx = at[3];
#pragma unroll
    for (int r = 0; r < kRows; ++r)
#pragma unroll
      for (int g = 0; g < kGroups; ++g) {
        int64_t apart = r * kApart, c = g * kLanes * kWide;
        if (g * kWide >= own)
          continue;
        x[r][g].load(call.x, at[0] + apart * call.next[0] + c);
        dy[r][g].load(call.dy, at[1] + apart * call.next[1] + c);
        if (call.residual)
          residual[r][g].load(call.residual, at[2] + apart * call.next[2] + c);
      }
  }
};

/// kLanes lanes share kRows rows of at most kGroups * kLanes * kWide channels, a multiple of kWide.
/// The last axis of the rows is a multiple of the rows that a warp has at a time.
template <class S, int kLanes, int kGroups, int kWide, int kRows>
__global__ void __launch_bounds__(kNormThreads, 1)
    warpKernel(const __grid_constant__ NormGradCall call) {
  using Rows = FetchedRows<S, kLanes, kGroups, kWide, kRows>;
  constexpr int kOwn = kWide * kGroups, kApart = 32 / kLanes, kTogether = kRows * kApart;
  constexpr bool kAhead = kRows * kGroups * Rows::Part::kWords <= 8; // there are registers for it
  int lane = threadIdx.x % kLanes, channels = static_cast<int>(call.channels);
  int own = (channels + kWide * (kLanes - 1 - lane)) / (kWide * kLanes) * kWide;
  float weight[kOwn] = {}, weightSum[kOwn] = {}, biasSum[kOwn] = {};
#pragma unroll
  for (int g = 0; g < kGroups; ++g)
    if (Neighbours<S, kWide> part; g * kWide < own) {
      part.load(call.weight, (g * kLanes + lane) * kWide);
      part.widenTo(weight + g * kWide);
    }
  int64_t step = gridDim.x * int64_t{kNormThreads / 32 * kTogether};
  int64_t row = (blockIdx.x * int64_t{kNormThreads / 32} + threadIdx.x / 32) * kTogether;
  Rows ahead;
  if (kAhead && row < call.rowCount)
    ahead.fetch(call, row, own);
  for (; row < call.rowCount; row += step) {
    Rows rows = ahead;
    if (!kAhead)
      rows.fetch(call, row, own);
    else if (row + step < call.rowCount)
      ahead.fetch(call, row + step, own);
    RowGrads<kLanes, kRows, kOwn> grads;
#pragma unroll
    for (int r = 0; r < kRows; ++r)
#pragma unroll
      for (int g = 0; g < kGroups; ++g) {
        rows.x[r][g].widenTo(grads.x[r] + g * kWide);
        rows.dy[r][g].widenTo(grads.dy[r] + g * kWide);
      }
    grads.differentiate(call, own, weight, weightSum, biasSum);
#pragma unroll
    for (int r = 0; r < kRows; ++r)
#pragma unroll
      for (int g = 0; g < kGroups; ++g) {
        float dx[kWide];
        rows.residual[r][g].widenTo(dx);
        for (int i = 0; i < kWide; ++i)
          dx[i] += grads.dy[r][g * kWide + i];
        Neighbours<S, kWide> out;
        out.round(dx);
        if (g * kWide < own)
          out.store(call.dx, rows.dx + r * kApart * call.next[3] + g * kLanes * kWide);
      }
  }
  leaveSums<kNormThreads, kLanes, kOwn, kWide>(call, weightSum, biasSum);
}

/// x lies channel-first, the others by rows.
template <class S, int kPairs>
__global__ void __launch_bounds__(kTurnedThreads, kPairs > 2 ? 2 : 3)
    turnedKernel(const __grid_constant__ NormGradCall call,
                 const __grid_constant__ TurnedRows<4> rows) {
  constexpr int kRows = kPairs > 1 ? 2 : 4, kOwn = 2 * kPairs;
  constexpr int kOwnRows = kTurnedRows / (kTurnedThreads / 32);
  __shared__ TurnedTile<S, kPairs> tile;
  int lane = threadIdx.x % 32, warp = threadIdx.x / 32, channels = static_cast<int>(call.channels);
  int own = (channels - lane * 2 + 63) / 64 * 2;
  float weight[kOwn] = {}, weightSum[kOwn] = {}, biasSum[kOwn] = {};
  for (int i = 0; i < own && i < kOwn; ++i)
    weight[i] = load<S>(call.weight, (2 * lane + i / 2 * 64 + i % 2) * call.weightStride);
  for (int64_t task = blockIdx.x; task < rows.tasks; task += gridDim.x) {
    int64_t at[4];
    int count = rows.locate(task, at);
    auto pairOf = [&](const std::byte *data, int o, int row, int i) -> uint32_t {
      if (2 * i >= own || row >= count)
        return 0;
      return reinterpret_cast<const uint32_t *>(reinterpret_cast<const S *>(data) + at[o] +
                                                row * rows.stride[o])[lane + 32 * i];
    };
    // They are under way while the tile is filled.
    uint32_t slopes[kOwnRows][kPairs];
#pragma unroll
    for (int r = 0; r < kOwnRows; ++r)
#pragma unroll
      for (int i = 0; i < kPairs; ++i)
        slopes[r][i] = pairOf(call.dy, 1, warp * kOwnRows + r, i);
    __syncthreads(); // of the last tile's rows
    tile.fill(reinterpret_cast<const S *>(call.x) + at[0], call.stride[0], count, channels);
    __syncthreads();
#pragma unroll
    for (int own0 = 0; own0 < kOwnRows; own0 += kRows) {
      int first = warp * kOwnRows + own0;
      RowGrads<32, kRows, kOwn> grads;
      uint32_t residual[kRows][kPairs] = {};
#pragma unroll
      for (int r = 0; r < kRows; ++r)
#pragma unroll
        for (int i = 0; i < kPairs; ++i) {
          float2 dy = unpacked<S>(slopes[own0 + r][i]);
          float2 x = unpacked<S>(tile.pair[first + r][lane + 32 * i]);
          if (call.residual)
            residual[r][i] = pairOf(call.residual, 2, first + r, i);
          grads.dy[r][2 * i] = dy.x, grads.dy[r][2 * i + 1] = dy.y;
          grads.x[r][2 * i] = 2 * i < own ? x.x : 0.0f;
          grads.x[r][2 * i + 1] = 2 * i < own ? x.y : 0.0f;
        }
      grads.differentiate(call, own, weight, weightSum, biasSum);
#pragma unroll
      for (int r = 0; r < kRows; ++r) {
        if (first + r >= count)
          continue;
        auto *dx = reinterpret_cast<uint32_t *>(reinterpret_cast<S *>(call.dx) + at[3] +
                                                (first + r) * rows.stride[3]);
        for (int i = 0; i < kPairs; ++i)
          if (2 * i < own) {
            float2 add = unpacked<S>(residual[r][i]);
            dx[lane + 32 * i] =
                packed<S>(add.x + grads.dy[r][2 * i], add.y + grads.dy[r][2 * i + 1]);
          }
      }
    }
  }
  leaveSums<kTurnedThreads, 32, kOwn, 2>(call, weightSum, biasSum);
}

} // namespace evo::cuda
