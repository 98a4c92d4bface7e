//===- AttentionHopperGroup.cuh - queries of four warps --------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// What four warps of AttentionHopper.cu have in registers: 64 queries, their scores and weights of
// a tile of keys, and their sums.
//
// Maxima: weights are powers of two of logits less a row's reference. The first keys' maximum is
// the reference; it changes where the sum of a lane's weights shows that a later logit is larger by
// ten or more, and those keys are then weighed again. So most keys need no search for a maximum.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/cuda/kernels/AttentionHopperTiles.cuh"
#include "runtime/cuda/kernels/Wgmma.cuh"

namespace evo::cuda {

/// Two neighbours of half type; `unpacked` takes an instruction more for bf16.
template <class S> __device__ inline float2 widenPair(uint32_t bits) {
  if constexpr (std::is_same_v<S, __nv_bfloat16>)
    return {__uint_as_float(bits << 16), __uint_as_float(bits & 0xffff0000)};
  else
    return unpacked<S>(bits);
}

/// 64 queries of a head and batch, of four warps.
template <class S, int kWidth, int kQueryGroups, int kBatches, bool kBias> class QueryGroup {
  using Shape = HopperBlock<S, kWidth, kQueryGroups, kBatches, kBias>;
  using Stage = typename Shape::Stage;
  static constexpr float kMostSum = 1024;

  const AttentionCall &call;
  int part, own, lane, g, t; ///< of the block's queries and batches
  RowFragments<S, kWidth> query;
  float score[kTileKeys / 8][4], o[kWidth / 8][4];
  uint32_t weights[kTileKeys / 16][4];
  float most[2], sum[2], largest = 0;
  bool masked = false;

public:
  using Task = typename Shape::Task;

  __device__ explicit QueryGroup(const AttentionCall &call)
      : call(call), part(threadIdx.x / kGroupThreads % kQueryGroups),
        own(threadIdx.x / kGroupThreads / kQueryGroups), lane(threadIdx.x % 32), g(lane / 4),
        t(lane % 4) {}

  __device__ void loadQueries(const Task &task) {
    query.load(at<S>(call.query, batch(task), task.h), call.query.row, firstQuery(task),
               call.queries, static_cast<int>(call.width));
  }

  __device__ void begin(const Task &task) {
    largest = task.largest[own], masked = task.masked[own];
    most[0] = most[1] = -INFINITY, sum[0] = sum[1] = 0;
  }

  /// Begins the products of queries and keys.
  __device__ void startScores(const Stage &stage) {
    beginProducts();
    for (int c = 0; c < kWidth / 16; ++c)
      startProduct<S>(score, query.part[c], factorAt<kWidth>(&stage.heads[own][0][0][16 * c]),
                      c > 0);
    endProducts();
  }

  /// Until all products are done.
  __device__ void wait() {
    waitForProducts();
    holdSums(score);
    holdSums(o);
  }

  /// Makes weights of scores, of the keys `first` and on.
  __device__ void makeWeights(const Stage &stage, const Task &task, int first) {
    if (masked || first + kTileKeys > call.keys)
      addTerms(task, first);
    if (first == 0 || !weigh(stage))
      weighAfterSearch(stage);
  }

  /// Begins the products of weights and values.
  __device__ void startValues(const Stage &stage, bool add) {
    holdSums(o);
    beginProducts();
    for (int k = 0; k < kTileKeys / 16; ++k)
      startTurnedProduct<S>(o, weights[k], factorAt<kWidth>(stage.heads[own][1][16 * k]),
                            add || k > 0);
    endProducts();
  }

  __device__ void store(const Task &task) const {
    int64_t b = task.b + own;
    if (b >= call.batches)
      return;
    int row = firstQuery(task) + g;
    S *out = const_cast<S *>(at<S>(call.o, b, task.h)) + row * call.o.row + 2 * t;
    float *lse = const_cast<float *>(at<float>(call.lse, b, task.h)) + row * call.lse.row;
    for (int half = 0; half < 2; ++half) {
      float all = rowSum(sum[half]), factor = __fdividef(1.0f, all);
      if (row + 8 * half >= call.queries)
        continue;
      for (int c = 0; c < kWidth / 8; ++c)
        if (8 * c < call.width)
          *reinterpret_cast<uint32_t *>(out + 8 * c) =
              packed<S>(o[c][2 * half] * factor, o[c][2 * half + 1] * factor);
      if (call.lse.data && t == 0)
        *lse = (most[half] + log2f(all)) / kLog2E;
      out += 8 * call.o.row, lse += 8 * call.lse.row;
    }
  }

private:
  __device__ int64_t batch(const Task &task) const {
    return smaller(task.b + own, call.batches - 1);
  }
  /// The warp's.
  __device__ int firstQuery(const Task &task) const {
    return task.q + part * 64 + static_cast<int>(threadIdx.x) % kGroupThreads / 32 * 16;
  }
  __device__ float maskAt(const Task &task, int key) const {
    return widen(at<S>(call.mask, batch(task), 0)[key * call.mask.col]);
  }

  /// Adds the keys' terms to the scores, -infinity beyond the last; a lane reads those of two keys.
  __device__ void addTerms(const Task &task, int first) {
    float term[2] = {};
    for (int i = 0; i < 2; ++i) {
      int key = first + 32 * i + lane;
      if (key >= call.keys)
        term[i] = -INFINITY;
      else if (masked)
        term[i] = call.inf / call.scale * (maskAt(task, key) - largest);
    }
    if (!__any_sync(0xffffffffu, term[0] != 0 || term[1] != 0))
      return;
    for (int j = 0; j < kTileKeys / 8; ++j)
      for (int i = 0; i < 2; ++i) {
        float one = __shfl_sync(0xffffffffu, term[j / 4], j % 4 * 8 + 2 * t + i);
        score[j][i] += one, score[j][i + 2] += one;
      }
  }

  /// The biases of 16 keys, as sums lie: of rows g and g + 8, and of the next eight keys.
  __device__ void loadBias(uint32_t (&bias)[4], const Stage &stage, int keys) const {
    int row = part * 64 + static_cast<int>(threadIdx.x) % kGroupThreads / 32 * 16 + lane % 16;
    int chunk = keys * 2 + lane / 16;
    loadMatrices(bias, &stage.bias[row][(chunk ^ (lane & 7)) * 8]);
  }

  /// Weights by the rows' references; whether their sums are small enough.
  __device__ bool weigh(const Stage &stage) {
    float scale = call.scale * kLog2E, parts[2] = {};
    for (int k = 0; k < kTileKeys / 16; ++k) {
      uint32_t bias[4];
      if constexpr (kBias)
        loadBias(bias, stage, k);
      for (int i = 0; i < 4; ++i) {
        int half = i % 2;
        const float *two = &score[2 * k + i / 2][2 * half];
        float2 add = {-most[half], -most[half]};
        if constexpr (kBias) {
          float2 pair = widenPair<S>(bias[i]);
          add.x = fmaf(pair.x, kLog2E, add.x), add.y = fmaf(pair.y, kLog2E, add.y);
        }
        float x = exp2Fast(fmaf(two[0], scale, add.x)), y = exp2Fast(fmaf(two[1], scale, add.y));
        parts[half] += x + y;
        weights[k][i] = packed<S>(x, y);
      }
    }
    // False of nan, too.
    bool small = parts[0] <= kMostSum && parts[1] <= kMostSum;
    if (!__all_sync(0xffffffffu, small))
      return false;
    sum[0] += parts[0], sum[1] += parts[1];
    return true;
  }

  /// Logits in powers of two.
  __device__ void makeLogits(const Stage &stage) {
    float scale = call.scale * kLog2E;
    for (int k = 0; k < kTileKeys / 16; ++k) {
      uint32_t bias[4] = {};
      if constexpr (kBias)
        loadBias(bias, stage, k);
      for (int i = 0; i < 4; ++i) {
        float2 pair = widenPair<S>(bias[i]);
        float *two = &score[2 * k + i / 2][i % 2 * 2];
        two[0] = fmaf(two[0], scale, pair.x * kLog2E);
        two[1] = fmaf(two[1], scale, pair.y * kLog2E);
      }
    }
  }

  /// Weights by references that are then the rows' maxima.
  __device__ void weighAfterSearch(const Stage &stage) {
    makeLogits(stage);
    for (int half = 0; half < 2; ++half) {
      float high = most[half];
      for (int j = 0; j < kTileKeys / 8; ++j)
        high = fmaxf(high, fmaxf(score[j][2 * half], score[j][2 * half + 1]));
      high = rowMax(high);
      float decay = exp2Fast(most[half] - high), all = 0;
      for (int j = 0; j < kTileKeys / 8; ++j) {
        float x = exp2Fast(score[j][2 * half] - high), y = exp2Fast(score[j][2 * half + 1] - high);
        all += x + y;
        weights[j / 2][j % 2 * 2 + half] = packed<S>(x, y);
      }
      // Huge values of masked keys may have overflowed before a key without mask came.
      for (int c = 0; c < kWidth / 8; ++c)
        for (int i = 2 * half; i < 2 * half + 2; ++i)
          o[c][i] = decay == 0 ? 0.0f : o[c][i] * decay;
      sum[half] = sum[half] * decay + all;
      most[half] = high;
    }
  }
};

} // namespace evo::cuda
