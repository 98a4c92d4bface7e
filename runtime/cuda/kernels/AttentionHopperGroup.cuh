//===- AttentionHopperGroup.cuh - queries of four warps --------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// What four warps of AttentionHopper.cu have in registers: 64 queries, their scores and weights of
// a tile of keys, and their sums.
//
// Maxima: weights are powers of two of logits less a row's reference. That is 0 where the sums of
// the first keys' weights show that they fit the storage type, else the first keys' maximum; it
// changes where the sum of a tile's weights shows that a later logit is much larger, and those keys
// are then weighed again. So most keys need no search for a maximum.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/cuda/kernels/AttentionHopperTiles.cuh"
#include "runtime/cuda/kernels/Wgmma.cuh"

namespace evo::cuda {

/// 64 queries of a head and batch, of four warps.
template <class S, int kWidth, int kQueryGroups, int kBatches, bool kBias> class QueryGroup {
  using Shape = HopperBlock<S, kWidth, kQueryGroups, kBatches, kBias>;
  using Stage = typename Shape::Stage;
  using Memory = typename Shape::Memory;
  static constexpr bool kIsWide = std::is_same_v<S, __nv_bfloat16>; ///< in its exponents
  /// Of a row's weights of a tile, and of those of the first one: weights are exact enough and far
  /// from the ends of the type.
  static constexpr float kMostSum = kIsWide ? 0x1p40f : 4096,
                         kLeastSum = kIsWide ? 0x1p-40f : 0.25f;

  const HopperCall &hopper;
  const AttentionCall &call;
  int own, lane, t, row;  ///< batch of the block's; the lane's first row
  uint32_t heads, biases; ///< of the first stage: see factorOf; the lane's address
  float scale;            ///< of products as logits in powers of two
  RowFragments<S, kWidth> query;
  float score[kTileKeys / 8][4], o[kWidth / 8][4];
  uint32_t weights[kTileKeys / 16][4], bias[kBias ? kTileKeys / 16 : 1][4];
  float start[2]; ///< less the references of the two rows
  float sum[2], largest = 0;
  S mask[2];
  bool masked = false;

public:
  using Task = typename Shape::Task;

  __device__ QueryGroup(const HopperCall &hopper, Memory &memory)
      : hopper(hopper), call(hopper.call),
        own(__shfl_sync(0xffffffffu, threadIdx.x / kGroupThreads / kQueryGroups, 0)),
        lane(threadIdx.x % 32), t(lane % 4), scale(call.scale * kLog2E) {
    int first =
        threadIdx.x / kGroupThreads % kQueryGroups * 64 + threadIdx.x % kGroupThreads / 32 * 16;
    row = first + lane / 4;
    heads = factorOf(memory.stages[0].heads[own][0]);
    // Sums of 16 keys lie so in four matrices: rows g and g + 8, and the next eight keys.
    biases =
        sharedAddress(memory.stages[0].bias[first + lane % 16]) + (lane / 16 ^ (lane & 7)) * 16;
    asm volatile("" : "+r"(row), "+r"(biases)); // computed once
  }

  __device__ void loadQueries(const Task &task) {
    const S *from = task.part[own].query + row * static_cast<int>(call.query.row) + 2 * t;
    int count = static_cast<int>(call.queries) - task.q - row, width = static_cast<int>(call.width);
    for (int half = 0; half < 2; ++half, from += 8 * call.query.row)
      for (int c = 0; c < kWidth / 8; ++c)
        query.part[c / 2][c % 2 * 2 + half] =
            8 * half < count && 8 * c < width ? *reinterpret_cast<const uint32_t *>(from + 8 * c)
                                              : 0;
  }

  __device__ void begin(const Task &task) {
    largest = task.part[own].largest, masked = task.part[own].masked;
    sum[0] = sum[1] = 0;
    start[0] = start[1] = 0;
  }

  /// Begins the products of queries and keys.
  __device__ void startScores(int stage) {
    uint32_t keys = heads + stage * kStageUnits;
    beginProducts();
    for (int c = 0; c < kWidth / 16; ++c)
      startProduct<S>(score, query.part[c], factorFrom(keys + 2 * c), c > 0);
    endProducts();
  }

  /// Reads the pair bias of a tile, and the masks of its keys from `first` on, while its scores are
  /// under way. A lane reads the masks of two keys.
  __device__ void loadAddends(const Task &task, int stage, int first) {
    if constexpr (kBias)
      for (int k = 0; k < kTileKeys / 16; ++k)
        loadMatrices(bias[k], biasOf(stage) ^ 32 * k);
    for (int i = 0; i < 2 && masked; ++i)
      if (int key = first + 32 * i + lane; key < call.keys)
        mask[i] = task.part[own].mask[key * call.mask.col];
  }

  /// Until all products are done.
  __device__ void wait() {
    waitForProducts();
    holdSums(score);
    holdSums(o);
  }
  /// The same where scores are in use already.
  __device__ void waitForValues() {
    waitForProducts();
    holdSums(o);
    for (int k = 0; k < kTileKeys / 16; ++k)
      for (int i = 0; i < 4; ++i)
        asm volatile("" : "+r"(weights[k][i])::"memory");
  }
  /// Until all are done but those that were begun last, of weights and values.
  __device__ void waitForScores() {
    waitForProducts<1>();
    holdSums(score);
  }

  /// Makes weights of scores in their place, of the keys `first` and on, by the rows' references.
  __device__ void weigh(int first) {
    if (hasTerms(first))
      addTerms(first);
    for (int k = 0; k < kTileKeys / 16; ++k)
      for (int i = 0; i < 4; ++i) {
        float *two = &score[2 * k + i / 2][i % 2 * 2];
        float2 add = {start[i % 2], start[i % 2]};
        if constexpr (kBias) {
          float2 pair = widenPair<S>(bias[k][i]);
          add.x = fmaf(pair.x, kLog2E, add.x), add.y = fmaf(pair.y, kLog2E, add.y);
        }
        two[0] = exp2Fast(fmaf(two[0], scale, add.x));
        two[1] = exp2Fast(fmaf(two[1], scale, add.y));
      }
  }
  /// Rounds weights, when no products read the last ones, and adds their rows' sums; whether these
  /// are such as they should be, else they are not added.
  __device__ bool roundWeights(bool isFirst) {
    float rows[2];
    roundAndSum(rows);
    // False of nan, too.
    bool fits = rows[0] <= kMostSum && rows[1] <= kMostSum;
    if (isFirst)
      fits = fits && rows[0] >= kLeastSum && rows[1] >= kLeastSum;
    fits = __all_sync(0xffffffffu, fits);
    if (fits)
      sum[0] += rows[0], sum[1] += rows[1];
    return fits;
  }
  /// Where they are not, when no products are under way: by references that are the rows' maxima.
  /// Scores are multiplied again, by this warp alone, which may have the queries of a later task.
  __device__ void weighAgain(const Stage &stage, int index, const Task &task, const Task *later,
                             int first) {
    if (later)
      loadQueries(task);
    multiplyAgain(stage);
    if (later)
      loadQueries(*later);
    if (hasTerms(first))
      addTerms(first);
    loadAddends(task, index, first);
    makeLogits();
    weighAfterSearch(first == 0);
  }

  /// Begins the products of weights and values.
  __device__ void startValues(int stage, bool add) {
    uint32_t values = heads + stage * kStageUnits + kTileKeys * kWidth / 8;
    holdSums(o);
    beginProducts();
    for (int k = 0; k < kTileKeys / 16; ++k)
      startTurnedProduct<S>(o, weights[k], factorFrom(values + k * 2 * kWidth), add || k > 0);
    endProducts();
  }

  __device__ void store(const Task &task) const {
    const typename Shape::Part &part = task.part[own];
    if (!part.out)
      return;
    S *out = part.out + row * static_cast<int>(call.o.row) + 2 * t;
    int count = static_cast<int>(call.queries) - task.q - row, width = static_cast<int>(call.width);
    for (int half = 0; half < 2; ++half, out += 8 * call.o.row) {
      float factor = reciprocal(sum[half]);
      if (8 * half >= count)
        continue;
      for (int c = 0; c < kWidth / 8; ++c)
        if (8 * c < width)
          *reinterpret_cast<uint32_t *>(out + 8 * c) =
              packed<S>(o[c][2 * half] * factor, o[c][2 * half + 1] * factor);
      if (part.lse && t == 0)
        part.lse[(row + 8 * half) * static_cast<int>(call.lse.row)] =
            (log2Fast(sum[half]) - start[half]) * (1 / kLog2E);
    }
  }

private:
  /// Of sums, which are far from the ends of fp32.
  __device__ static float reciprocal(float x) {
    float y;
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
  }
  __device__ static float log2Fast(float x) {
    float y;
    asm("lg2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
  }

  static constexpr int kStageUnits = sizeof(Stage) / 16;

  /// The lower half of a factor's descriptor, which counts units of 16 bytes; and all of it.
  __device__ static uint32_t factorOf(const void *start) {
    return static_cast<uint32_t>(factorAt<kWidth>(start));
  }
  __device__ static uint64_t factorFrom(uint32_t low) {
    return factorAt<kWidth>(nullptr) >> 32 << 32 | low;
  }

  /// A lane's address in the pair bias of a tile.
  __device__ uint32_t biasOf(int stage) const {
    return biases + stage * static_cast<int>(sizeof(Stage));
  }

  /// Scores of a warp's rows, without the other warps.
  __device__ void multiplyAgain(const Stage &stage) {
    int line = lane % 8 + lane / 16 * 8, permuted = kWidth == 32 ? line / 2 % 4 : line / 4 % 2;
    for (int j = 0; j < kTileKeys / 16; ++j) {
      for (int i = 0; i < 4; ++i)
        score[2 * j][i] = score[2 * j + 1][i] = 0;
      for (int c = 0; c < kWidth / 16; ++c) {
        uint32_t keys[4];
        int chunk = (2 * c + lane / 8 % 2) ^ permuted;
        loadMatrices(keys, &stage.heads[own][0][16 * j + line][8 * chunk]);
        multiplyTiles<S>(score[2 * j], query.part[c], keys[0], keys[1]);
        multiplyTiles<S>(score[2 * j + 1], query.part[c], keys[2], keys[3]);
      }
    }
  }

  /// Rounds weights; sums of a row are taken by tensor cores, which multiply them by ones.
  __device__ void roundAndSum(float (&rows)[2]) {
    constexpr uint32_t kOnes = kIsWide ? 0x3f803f80 : 0x3c003c00;
    float part[2][4] = {};
    for (int k = 0; k < kTileKeys / 16; ++k) {
      for (int i = 0; i < 4; ++i)
        weights[k][i] =
            packed<S>(score[2 * k + i / 2][i % 2 * 2], score[2 * k + i / 2][i % 2 * 2 + 1]);
      multiplyTiles<S>(part[k % 2], weights[k], kOnes, kOnes);
    }
    rows[0] = part[0][0] + part[1][0], rows[1] = part[0][2] + part[1][2];
  }

  /// Whether keys from `first` on have terms beside the bias.
  __device__ bool hasTerms(int first) const {
    return masked || first + kTileKeys > static_cast<int>(call.keys);
  }
  /// Adds the keys' terms to the scores, -infinity beyond the last; a lane has those of two keys.
  __device__ void addTerms(int first) {
    float term[2] = {};
    for (int i = 0; i < 2; ++i) {
      int key = first + 32 * i + lane;
      if (key >= call.keys)
        term[i] = -INFINITY;
      else if (masked)
        term[i] = hopper.maskFactor * (widen(mask[i]) - largest);
    }
    if (!__any_sync(0xffffffffu, term[0] != 0 || term[1] != 0))
      return;
    for (int j = 0; j < kTileKeys / 8; ++j)
      for (int i = 0; i < 2; ++i) {
        float one = __shfl_sync(0xffffffffu, term[j / 4], j % 4 * 8 + 2 * t + i);
        score[j][i] += one, score[j][i + 2] += one;
      }
  }

  /// Logits in powers of two.
  __device__ void makeLogits() {
    for (int k = 0; k < kTileKeys / 16; ++k)
      for (int i = 0; i < 4; ++i) {
        float2 pair = {};
        if constexpr (kBias)
          pair = widenPair<S>(bias[k][i]);
        float *two = &score[2 * k + i / 2][i % 2 * 2];
        two[0] = fmaf(two[0], scale, pair.x * kLog2E);
        two[1] = fmaf(two[1], scale, pair.y * kLog2E);
      }
  }

  /// Weights by references that are then the rows' maxima.
  __device__ void weighAfterSearch(bool isFirst) {
    for (int half = 0; half < 2; ++half) {
      float most = isFirst ? -INFINITY : -start[half], high = most;
      for (int j = 0; j < kTileKeys / 8; ++j)
        high = fmaxf(high, fmaxf(score[j][2 * half], score[j][2 * half + 1]));
      high = rowMax(high);
      float decay = exp2Fast(most - high);
      for (int j = 0; j < kTileKeys / 8; ++j) {
        float *two = &score[j][2 * half];
        two[0] = exp2Fast(two[0] - high), two[1] = exp2Fast(two[1] - high);
      }
      // Huge values of masked keys may have overflowed before a key without mask came.
      for (int c = 0; c < kWidth / 8; ++c)
        for (int i = 2 * half; i < 2 * half + 2; ++i)
          o[c][i] = decay == 0 ? 0.0f : o[c][i] * decay;
      sum[half] *= decay, start[half] = -high;
    }
    float rows[2];
    roundAndSum(rows);
    sum[0] += rows[0], sum[1] += rows[1];
  }
};

} // namespace evo::cuda
