//===- AttentionGradHopperKeys.cuh - dkey and dvalue ------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// A group of four warps with two blocks of 64 keys, whose sums dkey and dvalue it has in registers,
// goes through the queries 32 at a time: p^T and dl^T of a block have keys as rows and leave the
// products as the left factors of dvalue and dkey; dl^T also goes to shared memory for dquery.
// While powers of one block are taken, the products of the other are under way. The pair bias is
// copied to shared memory some steps ahead, each thread's own.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/cuda/kernels/AttentionGradHopperTurns.cuh"

namespace evo::cuda {

template <class S, int kWidth, int kGroups, bool kBias>
class HopperKeys : public HopperTurns<S, kWidth, kGroups> {
  using Base = HopperTurns<S, kWidth, kGroups>;
  using Shape = typename Base::Shape;
  using Memory = typename Base::Memory;
  using Base::call, Base::exists, Base::grad, Base::isLast, Base::lane, Base::memory, Base::number,
      Base::stage, Base::warp;
  static constexpr int kSteps = kWidth / 16;
  static constexpr bool kHoldsValues = Shape::kHoldsValues;

  int group = threadIdx.x / 128;
  uint32_t slopesAt; ///< in the first place of slopes: the lane's row of the first block
  float scale;
  const uint4 *biasFrom; ///< of the present turn, first block
  int biasOfBlock;       ///< from there to the second
  bool masked[2];
  uint32_t key[2][kSteps][4], value[2][kHoldsValues ? kSteps : 1][4];
  uint64_t values; ///< in shared memory, of the first block
  float dkey[2][kWidth / 8][4], dvalue[2][kWidth / 8][4];
  /// Of the products; defined once, since a definition while others are under way would end them.
  float p[2][4][4] = {}, dp[2][4][4] = {};

public:
  __device__ HopperKeys(const HopperGradCall &hopper, Memory &memory)
      : Base(hopper, memory), scale(call.scale * kLog2E) {
    slopesAt =
        sharedAddress(memory.slopes[0][firstKey(0) + lane % 16]) + (lane / 16 ^ lane % 8) * 16;
    asm volatile("" : "+r"(slopesAt)); // computed once
  }

  __device__ void run() {
    HopperTurn turn = this->turnOf(blockIdx.x, 0);
    if constexpr (kBias) {
      seekBias(turn);
      for (int step = 0; step < Shape::kBiases; ++step)
        copyBias(step, step);
    }
    for (; exists(turn); turn = this->nextKeys(turn)) {
      memory.full[stage()].wait(number / Shape::kStages);
      begin(turn);
      for (; !isLast(turn); turn.q0 += Shape::kQueries, ++number)
        multiply<false>(turn);
      multiply<true>(turn);
      end(turn);
      ++number;
    }
  }

private:
  /// The warp's first key of a block.
  __device__ int firstKey(int block) const { return group * 128 + block * 64 + warp * 16; }

  /// Finds the pair bias of the warp's keys, any for those beyond the last, and a turn's queries.
  __device__ void seekBias(const HopperTurn &turn) {
    int tiles = static_cast<int>(grad.paddedQueries) / 16;
    int rows = static_cast<int>(grad.paddedKeys) / 16;
    int row = min((turn.k0 + firstKey(0)) / 16, rows - 1);
    int other = min((turn.k0 + firstKey(1)) / 16, rows - 1);
    biasFrom = grad.bias + ((turn.h * rows + row) * tiles + turn.q0 / 16) * 32 + lane;
    biasOfBlock = (other - row) * tiles * 32;
  }
  /// To that of the next turn.
  template <bool kLast> __device__ void advanceBias(const HopperTurn &turn) {
    if constexpr (!kLast)
      biasFrom += Shape::kQueries / 16 * 32;
    else if (HopperTurn next = this->nextKeys(turn); exists(next))
      seekBias(next);
  }
  /// Begins to copy that of a step of a turn: of halves of the queries, two blocks.
  __device__ void copyBias(int step, int place) {
    const uint4 *from = biasFrom + step / 2 * 64 + (step % 2 ? biasOfBlock : 0);
#pragma unroll
    for (int i = 0; i < 2; ++i)
      copyAsync(&memory.bias[place][i][threadIdx.x], from + 32 * i, true);
    commitCopies();
  }
  /// Reads that of the present step, and begins to copy that of the third from it.
  template <bool kLast>
  __device__ void loadBias(const HopperTurn &turn, int step, uint4 (&bias)[2]) {
    static_assert(Shape::kBiases == 3);
    waitForCopies<Shape::kBiases - 1>();
    int place = (number + step) % 3; // of the steps' number modulo 3, for there are four
#pragma unroll
    for (int i = 0; i < 2; ++i)
      loadFour(bias[i], &memory.bias[place][i][threadIdx.x]);
    if (step == 1)
      advanceBias<kLast>(turn);
    copyBias((step + 3) % 4, place);
  }

  /// Keys, values and terms of new keys, and their first products.
  __device__ void begin(const HopperTurn &turn) {
    memory.keysFull[turn.pass % 2].wait(turn.pass / 2);
#pragma unroll
    for (int block = 0; block < 2; ++block) {
      masked[block] = __any_sync(0xffffffffu, termOf(turn, block, lane % 16) != 0);
      if (masked[block])
        clearKeys(turn, block);
      loadKeys(turn, block);
#pragma unroll
      for (int c = 0; c < kWidth / 8; ++c)
#pragma unroll
        for (int e = 0; e < 4; ++e)
          dkey[block][c][e] = dvalue[block][c][e] = 0;
      holdSums(dkey[block]), holdSums(dvalue[block]); // before products are under way
    }
    if constexpr (!kHoldsValues) {
      // Warps make zeros of values that the products of others may read.
      publishToCopies();
      asm volatile("bar.sync %0, 128;" ::"r"(1 + group) : "memory");
      values = factorAt<kWidth>(memory.heads[turn.pass % 2][1][group * 128]);
    }
#pragma unroll
    for (int block = 0; block < 2; ++block) {
      beginProducts();
      startScores(block, 0, stage());
      endProducts();
    }
    waitForProducts();
    holdSums(p[0]), holdSums(dp[0]);
  }
  __device__ void loadKeys(const HopperTurn &turn, int block) {
    int row = firstKey(block) + lane % 16;
#pragma unroll
    for (int c = 0; c < kSteps; ++c) {
      int col = permutedChunk<kWidth>(row, 2 * c + lane / 16) * 8;
      loadMatrices(key[block][c], &memory.heads[turn.pass % 2][0][row][col]);
      if constexpr (kHoldsValues)
        loadMatrices(value[block][c], &memory.heads[turn.pass % 2][1][row][col]);
    }
  }
  /// Makes zeros of the warp's keys and values without weight: they have no slope, whatever they
  /// are.
  __device__ void clearKeys(const HopperTurn &turn, int block) {
    if (lane < 16 && termOf(turn, block, lane) == -INFINITY)
#pragma unroll
      for (int col = 0; col < kWidth; col += 8)
#pragma unroll
        for (int i = 0; i < 2; ++i)
          *reinterpret_cast<uint4 *>(&memory.heads[turn.pass % 2][i][firstKey(block) + lane][col]) =
              uint4{};
    __syncwarp();
  }

  /// dkey and dvalue of the turn's queries, whose first products were begun.
  template <bool kLast> __device__ void multiply(const HopperTurn &turn) {
    int next = (number + 1) % Shape::kStages;
#pragma unroll
    for (int half = 0; half < 2; ++half)
#pragma unroll
      for (int block = 0; block < 2; ++block) {
        if (half == 0 && block == 0 && number >= Shape::kSlopes)
          // The slopes that lay here have made their queries.
          memory.slopesEmpty[number % Shape::kSlopes].wait(number / Shape::kSlopes - 1);
        uint32_t weights[2][4], slopes[2][4];
        if (masked[block])
          addTerms(turn, block);
        uint4 bias[2];
        if constexpr (kBias)
          loadBias<kLast>(turn, 2 * half + block, bias);
        makeSlopes(block, half, bias, weights, slopes);
        keepSlopes(slopes, block, half);
        if (half == 1 && block == 0 && !kLast)
          memory.full[next].wait((number + 1) / Shape::kStages);
        __syncwarp();
        beginProducts();
        startSums(block, half, weights, slopes);
        if (half == 0)
          startScores(block, 1, stage());
        else if (!kLast)
          startScores(block, 0, next);
        endProducts();
        if (half == 0 || block == 0) {
          waitForProducts<1>();
          holdSums(p[block ^ 1]), holdSums(dp[block ^ 1]);
        } else {
          publishToCopies();
          memory.slopesFull[number % Shape::kSlopes].arriveAsWarp(lane);
        }
      }
    // Products are not left under way around a loop: the compiler would have each waited for.
    waitForProducts();
    holdSums(p[0]), holdSums(dp[0]);
    free(number);
  }
  /// Gives the place of a turn's queries back, each lane for what it has read (PhaseBarrier).
  __device__ void free(uint32_t ofTurn) { memory.empty[ofTurn % Shape::kStages].arrive(); }

  /// Begins the products of a block and 32 queries, and of its values and dout.
  __device__ void startScores(int block, int half, int place) {
    uint64_t query = factorAt<kWidth>(memory.query[place][32 * half]);
    uint64_t dout = factorAt<kWidth>(memory.dout[place][32 * half]);
#pragma unroll
    for (int c = 0; c < kSteps; ++c) {
      int from = block * 64 * kWidth + 16 * c;
      uint64_t ofQuery = further(query, 16 * c), ofDout = further(dout, 16 * c);
      startProduct<S>(p[block], key[block][c], ofQuery, c > 0);
      if constexpr (kHoldsValues)
        startProduct<S>(dp[block], value[block][c], ofDout, c > 0);
      else
        startSharedProduct<S, false>(dp[block], further(values, from), ofDout, c > 0);
    }
  }
  /// Begins to add to dvalue and dkey.
  __device__ void startSums(int block, int half, const uint32_t (&weights)[2][4],
                            const uint32_t (&slopes)[2][4]) {
    uint64_t query = factorAt<kWidth>(memory.query[stage()][32 * half]);
    uint64_t dout = factorAt<kWidth>(memory.dout[stage()][32 * half]);
#pragma unroll
    for (int k = 0; k < 2; ++k) {
      startTurnedProduct<S>(dvalue[block], weights[k], further(dout, 16 * k * kWidth), true);
      startTurnedProduct<S>(dkey[block], slopes[k], further(query, 16 * k * kWidth), true);
    }
  }

  /// What is added to the logits of one of the warp's keys; -infinity beyond the last.
  __device__ float termOf(const HopperTurn &turn, int block, int one) const {
    int k = firstKey(block) + one;
    return turn.k0 + k < grad.paddedKeys ? memory.terms[turn.pass % 2][k] : -INFINITY;
  }
  /// Few keys have terms, which are read where they are used.
  __device__ void addTerms(const HopperTurn &turn, int block) {
    float factor = 1 / scale;
#pragma unroll
    for (int row = 0; row < 2; ++row) {
      float term = termOf(turn, block, lane / 4 + 8 * row) * factor;
#pragma unroll
      for (int j = 0; j < 4; ++j)
        p[block][j][2 * row] += term, p[block][j][2 * row + 1] += term;
    }
  }

  /// p and dl of products, as left factors.
  __device__ void makeSlopes(int block, int half, const uint4 (&bias)[2], uint32_t (&weights)[2][4],
                             uint32_t (&slopes)[2][4]) const {
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      int col = 32 * half + 8 * j + 2 * (lane % 4);
      float2 start = *reinterpret_cast<const float2 *>(&memory.start[stage()][col]);
      float2 delta = *reinterpret_cast<const float2 *>(&memory.delta[stage()][col]);
#pragma unroll
      for (int row = 0; row < 2; ++row) {
        float2 add = start;
        if constexpr (kBias) {
          const uint4 &four = bias[j / 2];
          float2 pair = widenPair<S>(j % 2 == 0 ? (row == 0 ? four.x : four.y)
                                     : row == 0 ? four.z
                                                : four.w);
          add.x = fmaf(pair.x, kLog2E, add.x), add.y = fmaf(pair.y, kLog2E, add.y);
        }
        const float *two = &p[block][j][2 * row], *slope = &dp[block][j][2 * row];
        float x = exp2Fast(fmaf(two[0], scale, add.x));
        float y = exp2Fast(fmaf(two[1], scale, add.y));
        weights[j / 2][j % 2 * 2 + row] = packed<S>(x, y);
        slopes[j / 2][j % 2 * 2 + row] =
            packed<S>(x * (slope[0] + delta.x), y * (slope[1] + delta.y));
      }
    }
  }

  /// Puts slopes of the warp's keys where the products of dquery find them.
  __device__ void keepSlopes(const uint32_t (&slopes)[2][4], int block, int half) const {
    constexpr uint32_t kRow = Shape::kQueries * sizeof(S), kPlace = Shape::kKeys * kRow;
    uint32_t place = slopesAt + number % Shape::kSlopes * kPlace + block * 64 * kRow;
#pragma unroll
    for (int k = 0; k < 2; ++k) // a chunk has 16 bytes
      storeMatrices(place ^ (4 * half + 2 * k) * 16, slopes[k]);
  }

  /// After the last turn of the keys.
  __device__ void end(const HopperTurn &turn) {
#pragma unroll
    for (int block = 0; block < 2; ++block) {
      holdSums(dkey[block]), holdSums(dvalue[block]);
      int first = turn.k0 + firstKey(block);
      this->storeSums(call.dkey, turn, first, call.keys, call.scale, dkey[block]);
      this->storeSums(call.dvalue, turn, first, call.keys, 1, dvalue[block]);
    }
  }
};

} // namespace evo::cuda
