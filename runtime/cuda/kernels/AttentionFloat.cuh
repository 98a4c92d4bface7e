//===- AttentionFloat.cuh - attention in fp32 -------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// Attention of fp32 and tf32 for heads of 4 to 32 channels that copies of 16 bytes take, without
// tensor cores: products are of fp32. A block of four warps has 128 queries, 32 a warp, and goes
// through the keys with running maxima and sums; the next keys and values are copied to shared
// memory while the present ones are multiplied. A thread has eight queries and an eighth of the
// keys and of the columns, so that a key or value that it reads from shared memory serves eight
// queries. Weights pass through shared memory within their warp, kWeightKeys at a time.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/cuda/kernels/AttentionMma.cuh"
#include "runtime/cuda/kernels/DynamicShared.cuh"

namespace evo::cuda {

inline constexpr int kFloatQueries = 128, kWeightKeys = 32;
inline constexpr int kFloatBlocks = 3; ///< of a multiprocessor: shared memory has room for so many

template <int kWidth> struct FloatSpace {
  HeadTile<float, kWidth, kFloatQueries> query;
  HeadTile<float, kWidth, kMmaKeys> keys[2], values[2];
  float weights[kFloatQueries][kWeightKeys + 8]; ///< four rows fall into different banks
  float terms[2][kMmaKeys], most[kMmaThreads / 32];
};

/// What a thread has: queries firstQuery() + 4 i, keys eighth() + 8 j, and of every eight runs of
/// kRun columns the run eighth().
template <int kWidth> struct FloatRows {
  using Space = FloatSpace<kWidth>;
  static constexpr int kRows = 8, kScores = kMmaKeys / 8, kCols = kWidth / 8;
  static constexpr int kRun = kCols < 4 ? kCols : 4;

  float score[kRows][kScores], o[kRows][kCols], maximum[kRows], sum[kRows];

  __device__ static int eighth() { return static_cast<int>(threadIdx.x) % 8; }
  __device__ static int firstQuery() {
    return static_cast<int>(threadIdx.x) / 32 * 32 + static_cast<int>(threadIdx.x) % 32 / 8;
  }
  __device__ static int column(int i) { return i / kRun * 8 * kRun + eighth() * kRun + i % kRun; }

  __device__ void clear() {
    for (int i = 0; i < kRows; ++i) {
      maximum[i] = -INFINITY, sum[i] = 0;
      for (float &one : o[i])
        one = 0;
    }
  }

  /// score = query key^T.
  __device__ void multiplyKeys(const Space &space, int now) {
    for (auto &row : score)
      for (float &one : row)
        one = 0;
#pragma unroll 2
    for (int c = 0; c < kWidth; c += 4) {
      float4 x[kRows];
      for (int i = 0; i < kRows; ++i)
        x[i] = *reinterpret_cast<const float4 *>(&space.query.rows[firstQuery() + 4 * i][c]);
      for (int j = 0; j < kScores; ++j) {
        float4 y = *reinterpret_cast<const float4 *>(&space.keys[now].rows[eighth() + 8 * j][c]);
        for (int i = 0; i < kRows; ++i) {
          score[i][j] = fmaf(x[i].x, y.x, score[i][j]);
          score[i][j] = fmaf(x[i].y, y.y, score[i][j]);
          score[i][j] = fmaf(x[i].z, y.z, score[i][j]);
          score[i][j] = fmaf(x[i].w, y.w, score[i][j]);
        }
      }
    }
  }

  /// Logits in powers of two from products; keys beyond the last have terms of -infinity.
  __device__ void addTerms(const AttentionCall &call, int64_t h, int64_t q0, int64_t k0,
                           const float *terms) {
    float scale = call.scale * kLog2E;
    for (int j = 0; j < kScores; ++j) {
      float term = terms[eighth() + 8 * j];
      for (int i = 0; i < kRows; ++i)
        score[i][j] = fmaf(score[i][j], scale, term);
    }
    if (!call.bias.data)
      return;
    if (call.bias.col == 1 && k0 + kMmaKeys <= call.keys)
      addBias<true>(call, h, q0, k0);
    else
      addBias<false>(call, h, q0, k0);
  }

  /// exp of the scores and the update of what was summed so far; `sum` is of this lane's keys.
  __device__ void softmaxStep() {
    for (int i = 0; i < kRows; ++i) {
      float most = maximum[i];
      for (float one : score[i])
        most = fmaxf(most, one);
      for (int step = 4; step > 0; step /= 2)
        most = fmaxf(most, __shfl_xor_sync(0xffffffffu, most, step));
      float decay = exp2Fast(maximum[i] - most), part = 0;
      for (float &one : score[i]) {
        one = exp2Fast(one - most);
        part += one;
      }
      // Huge values of masked keys may have overflowed before a key without mask came.
      for (float &one : o[i])
        one = decay == 0 ? 0.0f : one * decay;
      sum[i] = sum[i] * decay + part;
      maximum[i] = most;
    }
  }

  /// o += weights value.
  __device__ void addValues(Space &space, int now) {
#pragma unroll
    for (int part = 0; part < kMmaKeys / kWeightKeys; ++part) {
      __syncwarp(); // a warp's lanes have read what they are about to replace
      for (int i = 0; i < kRows; ++i)
        for (int j = 0; j < kWeightKeys / 8; ++j)
          space.weights[firstQuery() + 4 * i][eighth() + 8 * j] =
              score[i][part * (kWeightKeys / 8) + j];
      __syncwarp();
#pragma unroll 2
      for (int k = 0; k < kWeightKeys; k += 4) {
        float x[kRows][4];
        for (int i = 0; i < kRows; ++i) {
          const float *row = &space.weights[firstQuery() + 4 * i][k];
          *reinterpret_cast<float4 *>(x[i]) = *reinterpret_cast<const float4 *>(row);
        }
        for (int n = 0; n < 4; ++n) {
          float y[kCols];
          loadColumns(y, space.values[now].rows[part * kWeightKeys + k + n]);
          for (int i = 0; i < kRows; ++i)
            for (int c = 0; c < kCols; ++c)
              o[i][c] = fmaf(x[i][n], y[c], o[i][c]);
        }
      }
    }
  }

  __device__ void store(const AttentionCall &call, int64_t b, int64_t h, int64_t q0) const {
    float *out = const_cast<float *>(at<float>(call.o, b, h));
    float *lse = const_cast<float *>(at<float>(call.lse, b, h));
    for (int i = 0; i < kRows; ++i) {
      float all = sum[i];
      for (int step = 4; step > 0; step /= 2)
        all += __shfl_xor_sync(0xffffffffu, all, step);
      int64_t q = q0 + firstQuery() + 4 * i;
      if (q >= call.queries)
        continue;
      for (int c = 0; c < kCols; ++c)
        if (column(c) < call.width)
          out[call.o.rowOffset(q) + column(c)] = o[i][c] / all;
      if (call.lse.data && eighth() == 0)
        lse[call.lse.rowOffset(q)] = maximum[i] / kLog2E + logf(all);
    }
  }

private:
  /// Of keys that lie together and are all there where kWhole.
  template <bool kWhole>
  __device__ void addBias(const AttentionCall &call, int64_t h, int64_t q0, int64_t k0) {
    int64_t first = k0 + eighth(), col = kWhole ? 1 : call.bias.col;
    const float *bias = at<float>(call.bias, 0, h) + first * col;
    for (int i = 0; i < kRows; ++i) {
      int64_t q = smaller(q0 + firstQuery() + 4 * i, call.queries - 1);
      const float *line = bias + call.bias.rowOffset(q);
      for (int j = 0; j < kScores; ++j)
        if (kWhole || first + 8 * j < call.keys)
          score[i][j] = fmaf(line[8 * j * col], kLog2E, score[i][j]);
    }
  }

  __device__ static void loadColumns(float (&y)[kCols], const float *row) {
    for (int c = 0; c < kCols; c += kRun) {
      const float *from = row + column(c);
      if constexpr (kRun == 4)
        *reinterpret_cast<float4 *>(y + c) = *reinterpret_cast<const float4 *>(from);
      else if constexpr (kRun == 2)
        *reinterpret_cast<float2 *>(y + c) = *reinterpret_cast<const float2 *>(from);
      else
        y[c] = *from;
    }
  }
};

template <int kWidth>
__global__ void __launch_bounds__(kMmaThreads, kFloatBlocks)
    floatKernel(const __grid_constant__ AttentionCall call) {
  extern __shared__ __align__(16) std::byte memory[];
  auto &space = *reinterpret_cast<FloatSpace<kWidth> *>(memory);
  int64_t tiles = ceilDiv(call.queries, kFloatQueries), all = call.batches * call.heads * tiles;
  auto width = static_cast<int>(call.width);
  for (int64_t task = blockIdx.x; task < all; task += gridDim.x) {
    int64_t rest = task / tiles, q0 = (task - rest * tiles) * kFloatQueries;
    int64_t b = rest / call.heads, h = rest - b * call.heads, g = h % call.groups;
    const float *key = at<float>(call.key, b, g), *value = at<float>(call.value, b, g);
    auto fetch = [&](int to, int64_t k0) {
      space.keys[to].copy(key, call.key.row, k0, call.keys, width);
      space.values[to].copy(value, call.value.row, k0, call.keys, width);
      commitCopies();
    };
    __syncthreads(); // of the last task's tiles
    space.query.copy(at<float>(call.query, b, h), call.query.row, q0, call.queries, width);
    fetch(0, 0);
    float largest = largestMask<float, kMmaThreads>(call, b, space.most);
    bool hasQueries = q0 + threadIdx.x / 32 * 32 < call.queries;
    FloatRows<kWidth> rows;
    rows.clear();
    int now = 0;
    for (int64_t k0 = 0; k0 < call.keys; k0 += kMmaKeys, now ^= 1) {
      fillTerms<float>(space.terms[now], call, b, k0, largest);
      fetchAhead(fetch, now, k0 + kMmaKeys, call.keys);
      if (hasQueries) {
        rows.multiplyKeys(space, now);
        rows.addTerms(call, h, q0, k0, space.terms[now]);
        rows.softmaxStep();
        rows.addValues(space, now);
      }
      __syncthreads();
    }
    if (hasQueries)
      rows.store(call, b, h, q0);
  }
}

template <int kWidth> bool launchFloat(const Launch &launch, const AttentionCall &call) {
  constexpr int kBytes = sizeof(FloatSpace<kWidth>);
  auto *kernel = floatKernel<kWidth>;
  if (!admitsShared(kernel, kBytes))
    return false;
  unsigned grid = gridOf(call.batches * call.heads * ceilDiv(call.queries, kFloatQueries));
  kernel<<<grid, kMmaThreads, kBytes, launch.context->stream>>>(call);
  return true;
}

/// Whether it was launched.
inline bool launchFloat(const Launch &launch, const AttentionCall &call) {
  if (call.width > 32 || !hasAlignedHeads<float>(call))
    return false;
  if (call.width <= 8)
    return launchFloat<8>(launch, call);
  if (call.width <= 16)
    return launchFloat<16>(launch, call);
  return launchFloat<32>(launch, call);
}

} // namespace evo::cuda
