//===- LayerNormGradRows.cuh - rows in registers ----------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// The kernels of `layer_norm_grad` for rows whose channels lie together or, of half types, for a
// channel-first x: lanes of a warp share rows, which they hold in registers.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/cuda/kernels/Mma.cuh"
#include "runtime/cuda/kernels/TurnedTile.cuh"

namespace evo::cuda {

struct NormGradCall {
  AxisSpace<4> rows; ///< x, dy, residual, dx
  int64_t next[4];   ///< strides of the last axis of the rows
  int64_t rowCount, channels, stride[4], weightStride;
  const std::byte *x, *weight, *dy, *residual;
  std::byte *dx;
  float *slots;                 ///< [blocks][2 * channels]
  float eps, factor;            ///< eps is that of x as it lies
  float inverse, inverseFactor; ///< 1 / channels, 1 / factor
};

/// A lane's part of a warp's rows: kOwn channels of each, `own` of them below the number of
/// channels and the others 0.
template <int kLanes, int kRows, int kOwn> struct RowGrads {
  float x[kRows][kOwn], dy[kRows][kOwn]; ///< later xhat and dx

  __device__ void differentiate(const NormGradCall &call, int own, const float (&weight)[kOwn],
                                float (&weightSum)[kOwn], float (&biasSum)[kOwn]) {
    for (int r = 0; r < kRows; ++r) {
      float sum = 0, squares = 0, e = 0, product = 0;
      for (int i = 0; i < kOwn; ++i)
        sum += x[r][i];
      float mean = laneSum<kLanes>(sum) * call.inverse;
      for (int i = 0; i < kOwn; ++i) {
        x[r][i] = i < own ? x[r][i] - mean : 0.0f;
        squares = fmaf(x[r][i], x[r][i], squares);
      }
      float rstd = rsqrtf(fmaf(laneSum<kLanes>(squares), call.inverse, call.eps));
      for (int i = 0; i < kOwn; ++i) {
        x[r][i] *= rstd;
        weightSum[i] = fmaf(dy[r][i], x[r][i], weightSum[i]);
        biasSum[i] += dy[r][i];
        dy[r][i] *= weight[i];
        e += dy[r][i], product = fmaf(dy[r][i], x[r][i], product);
      }
      e = laneSum<kLanes>(e) * call.inverse, product = laneSum<kLanes>(product) * call.inverse;
      rstd *= call.inverseFactor;
      for (int i = 0; i < kOwn; ++i)
        dy[r][i] = rstd * (dy[r][i] - e - x[r][i] * product);
    }
  }
};

/// Leaves a block's sums of dweight and dbias in its slot; kLanes lanes share the channels, in
/// groups of kTogether.
template <int kLanes, int kOwn, int kTogether>
__device__ void leaveSums(const NormGradCall &call, const float (&weightSum)[kOwn],
                          const float (&biasSum)[kOwn]) {
  __shared__ float sums[8][kOwn * kLanes];
  int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  for (int part : {0, 1}) {
    __syncthreads();
    for (int i = 0; i < kOwn; ++i) {
      float sum = part ? biasSum[i] : weightSum[i];
      for (int step = 16; step >= kLanes; step /= 2)
        sum += __shfl_xor_sync(0xffffffffu, sum, step);
      if (lane < kLanes)
        sums[warp][(i / kTogether * kLanes + lane) * kTogether + i % kTogether] = sum;
    }
    __syncthreads();
    for (int c = threadIdx.x; c < call.channels; c += 256) {
      float sum = 0;
      for (int i = 0; i < 8; ++i)
        sum += sums[i][c];
      call.slots[(blockIdx.x * int64_t{2} + part) * call.channels + c] = sum;
    }
  }
}

/// Four neighbours as they are stored, for what is not needed at once.
template <class S> struct alignas(4 * sizeof(S)) Four { S value[4]; };

/// kLanes lanes share kRows rows of at most kGroups * kLanes * 4 channels, a multiple of 4. The
/// last axis of the rows is a multiple of the rows that a warp has at a time.
template <class S, int kLanes, int kGroups, int kRows>
__global__ void __launch_bounds__(256, kGroups > 1 ? 2 : 3)
    warpKernel(const __grid_constant__ NormGradCall call) {
  constexpr int kOwn = 4 * kGroups, kApart = 32 / kLanes, kTogether = kRows * kApart;
  int lane = threadIdx.x % kLanes, side = threadIdx.x % 32 / kLanes, warp = threadIdx.x / 32;
  int own = static_cast<int>((call.channels + 4 * (kLanes - 1 - lane)) / (4 * kLanes)) * 4;
  float weight[kOwn] = {}, weightSum[kOwn] = {}, biasSum[kOwn] = {};
  auto four = [](float *x) -> float(&)[4] { return *reinterpret_cast<float(*)[4]>(x); };
  for (int i = 0; i < kOwn; i += 4)
    if (i < own)
      load4<S>(call.weight, i * kLanes + lane * 4, false, four(weight + i));
  int64_t step = gridDim.x * int64_t{8 * kTogether};
  for (int64_t row = (blockIdx.x * int64_t{8} + warp) * kTogether; row < call.rowCount;
       row += step) {
    int64_t at[4];
    call.rows.locate(row, at);
    for (int o = 0; o < 4 && kApart > 1; ++o)
      at[o] += side * call.next[o];
    RowGrads<kLanes, kRows, kOwn> grads = {};
    Four<S> residual[kRows][kGroups] = {};
    for (int r = 0; r < kRows; ++r)
      for (int i = 0; i < kOwn; i += 4) {
        int64_t c = i * kLanes + lane * 4, apart = r * kApart;
        if (i >= own)
          continue;
        load4<S>(call.x, at[0] + apart * call.next[0] + c, false, four(grads.x[r] + i));
        load4<S>(call.dy, at[1] + apart * call.next[1] + c, false, four(grads.dy[r] + i));
        if (call.residual)
          residual[r][i / 4] = *reinterpret_cast<const Four<S> *>(
              call.residual + (at[2] + apart * call.next[2] + c) * sizeof(S));
      }
    grads.differentiate(call, own, weight, weightSum, biasSum);
    for (int r = 0; r < kRows; ++r)
      for (int i = 0; i < kOwn; i += 4) {
        float dx[4];
        for (int j = i; j < i + 4; ++j)
          dx[j - i] = widen(residual[r][i / 4].value[j - i]) + grads.dy[r][j];
        if (i < own)
          store4<S>(call.dx, at[3] + r * kApart * call.next[3] + i * kLanes + lane * 4, false, dx);
      }
  }
  leaveSums<kLanes, kOwn, 4>(call, weightSum, biasSum);
}

/// x lies channel-first, the others by rows.
template <class S, int kPairs>
__global__ void __launch_bounds__(kTurnedThreads, kPairs > 2 ? 2 : 3)
    turnedKernel(const __grid_constant__ NormGradCall call,
                 const __grid_constant__ TurnedRows<4> rows) {
  constexpr int kRows = kPairs > 1 ? 2 : 4, kOwn = 2 * kPairs;
  __shared__ TurnedTile<S, kPairs> tile;
  int lane = threadIdx.x % 32, warp = threadIdx.x / 32, channels = static_cast<int>(call.channels);
  int own = (channels - lane * 2 + 63) / 64 * 2;
  float weight[kOwn] = {}, weightSum[kOwn] = {}, biasSum[kOwn] = {};
  for (int i = 0; i < own && i < kOwn; ++i)
    weight[i] = load<S>(call.weight, (2 * lane + i / 2 * 64 + i % 2) * call.weightStride);
  for (int64_t task = blockIdx.x; task < rows.tasks; task += gridDim.x) {
    int64_t at[4];
    int count = rows.locate(task, at);
    __syncthreads(); // of the last tile's rows
    tile.fill(reinterpret_cast<const S *>(call.x) + at[0], call.stride[0], count, channels);
    __syncthreads();
    for (int first = warp * 8; first < warp * 8 + 8 && first < count; first += kRows) {
      RowGrads<32, kRows, kOwn> grads;
      uint32_t residual[kRows][kPairs] = {};
      auto pairOf = [&](const std::byte *data, int o, int r, int i) -> uint32_t {
        if (2 * i >= own || first + r >= count)
          return 0;
        int64_t row = at[o] + (first + r) * rows.stride[o];
        return reinterpret_cast<const uint32_t *>(reinterpret_cast<const S *>(data) +
                                                  row)[lane + 32 * i];
      };
      for (int r = 0; r < kRows; ++r)
        for (int i = 0; i < kPairs; ++i) {
          float2 dy = unpacked<S>(pairOf(call.dy, 1, r, i));
          float2 x = unpacked<S>(tile.pair[first + r][lane + 32 * i]);
          if (call.residual)
            residual[r][i] = pairOf(call.residual, 2, r, i);
          grads.dy[r][2 * i] = dy.x, grads.dy[r][2 * i + 1] = dy.y;
          grads.x[r][2 * i] = 2 * i < own ? x.x : 0.0f;
          grads.x[r][2 * i + 1] = 2 * i < own ? x.y : 0.0f;
        }
      grads.differentiate(call, own, weight, weightSum, biasSum);
      for (int r = 0; r < kRows && first + r < count; ++r) {
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
  leaveSums<32, kOwn, 2>(call, weightSum, biasSum);
}

} // namespace evo::cuda
