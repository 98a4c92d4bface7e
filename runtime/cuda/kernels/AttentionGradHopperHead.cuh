//===- AttentionGradHopperHead.cuh - dquery, dkey and dvalue ----*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// A block has a batch and head, and goes through its keys, 64 for each of its groups of four warps,
// and for those through the queries 64 at a time. A group has its keys as rows of p^T and dl^T,
// which are made 32 queries at a time and leave the products as the left factors of dvalue and
// dkey, whose sums stay in registers. dl^T also goes to shared memory, from where one group after
// the other makes dquery of 64 queries and all keys while the others go on to the next 64. Where
// keys are left, dquery waits in scratch for them, where each thread finds what it wrote.
//
// Blocks go from one head to the next without a pause: queries, keys and values are copied some
// turns ahead, and barriers in shared memory say what is there and what was used, so that groups
// may be a turn apart.
//
// Of a score: 320 FLOP, at 4096 a cycle of a multiprocessor 0.08 cycles, with dquery's left factor
// from shared memory 0.09; a power of two, at 16 a cycle 0.06; seven instructions with a pair bias
// and five without, of 128 lanes, 0.04 to 0.06. The kernel takes 0.24 to 0.34 on an H100: no pipe
// is busy half of the time, since the registers hold only four warps a scheduler, each of which
// waits for its products, then its powers, and for the warp of its group that has tiles copied.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/cuda/kernels/AttentionGradHopperCall.cuh"
#include "runtime/cuda/kernels/Wgmma.cuh"

namespace evo::cuda {

/// What a block does at a time: 64 queries, and keys from k0 on, of task b heads + h.
struct HopperTurn {
  int task, b, h, k0, q0;
  int pass; ///< how many times there were other keys before
};

/// A block's shape and its shared memory.
template <class S, int kWidth, int kGroups> struct HopperHeadBlock {
  static constexpr int kThreads = 128 * kGroups, kKeys = 64 * kGroups, kQueries = kQueryRows;
  static constexpr int kBlocks = kGroups == 2 ? 2 : 1; ///< of a multiprocessor
  /// Places of queries and of slopes: what shared memory holds.
  static constexpr int kStages = kGroups == 4 ? 4 : 3, kSlopes = 3;

  /// Chunks of 16 bytes lie permuted within rows.
  struct Memory {
    S slopes[kSlopes][kKeys][kQueries];
    S heads[2][2][kKeys][kWidth]; ///< keys and values
    S query[kStages][kQueries][kWidth], dout[kStages][kQueries][kWidth];
    float start[kStages][kQueries], delta[kStages][kQueries];
    float terms[2][kKeys];
    PhaseBarrier full[kStages], empty[kStages]; ///< of queries
    PhaseBarrier keysFull[2];
    PhaseBarrier slopesFull[kSlopes], slopesEmpty[kSlopes];
    HopperTurn turns[8]; ///< by their numbers
  };
  static constexpr int kBytes = sizeof(Memory);
  static_assert(kBytes <= 227 * 1024);
};

template <class S, int kWidth, int kGroups, bool kBias> class HopperHeadGrad {
  using Shape = HopperHeadBlock<S, kWidth, kGroups>;
  using Memory = typename Shape::Memory;
  static constexpr int kSteps = kWidth / 16;
  static constexpr int kAhead = Shape::kStages - 2; ///< turns that queries are copied ahead
  static constexpr int kCopies = 3;                 ///< query, dout and numbers

  const HopperGradCall &hopper;
  const MmaGradCall &grad;
  const AttentionCall &call;
  Memory &memory;
  int thread = threadIdx.x, lane = threadIdx.x % 32;
  int warp = threadIdx.x / 32 % 4, group = threadIdx.x / 128;
  uint32_t number = 0; ///< of the turn
  uint32_t key[kSteps][4], value[kSteps][4];
  bool masked;
  uint4 bias[2];
  const uint4 *biasFrom; ///< of the next that is loaded
  float dkey[kWidth / 8][4], dvalue[kWidth / 8][4];
  /// Of the products; defined once, since a definition while others are under way would end them.
  float p[4][4] = {}, dp[4][4] = {};

public:
  __device__ HopperHeadGrad(const HopperGradCall &hopper, Memory &memory)
      : hopper(hopper), grad(hopper.grad), call(hopper.grad.call), memory(memory) {}

  __device__ void run() {
    if (thread == 0)
      beginCopies();
    __syncthreads();
    if constexpr (kBias)
      seekBias(memory.turns[0]), loadBias(0);
    for (int tile = 0;; ++number) {
      const HopperTurn &turn = memory.turns[number % 8];
      memory.full[stage()].wait(number / Shape::kStages);
      if (!exists(turn))
        break;
      copyAhead();
      if (turn.q0 == 0)
        begin(turn);
      multiply(turn);
      bool last = turn.q0 + Shape::kQueries >= call.queries;
      if (last)
        storeKeys(turn);
      if (number > 0)
        addQueries(tile);
      tile = turn.q0 / Shape::kQueries;
    }
    if (number > 0)
      addQueries((static_cast<int>(call.queries) - 1) / Shape::kQueries);
  }

private:
  __device__ int stage() const { return number % Shape::kStages; }
  __device__ bool exists(const HopperTurn &turn) const {
    return turn.task < static_cast<int>(call.batches * call.heads);
  }
  __device__ HopperTurn turnOf(int task, int pass) const {
    int heads = static_cast<int>(call.heads), b = task / heads;
    return {task, b, task - b * heads, 0, 0, pass};
  }
  __device__ HopperTurn after(HopperTurn turn) const {
    turn.q0 += Shape::kQueries;
    if (turn.q0 < call.queries)
      return turn;
    turn.q0 = 0, turn.k0 += Shape::kKeys, ++turn.pass;
    return turn.k0 < call.keys ? turn : turnOf(turn.task + static_cast<int>(gridDim.x), turn.pass);
  }

  /// The warp's first key.
  __device__ int firstKey() const { return group * 64 + warp * 16; }

  /// Of thread 0: makes the barriers, finds the first turns and has what they need copied.
  __device__ void beginCopies() {
    for (int i = 0; i < Shape::kStages; ++i)
      memory.full[i].init(kCopies), memory.empty[i].init(4 * kGroups);
    for (int i = 0; i < Shape::kSlopes; ++i)
      memory.slopesFull[i].init(4 * kGroups), memory.slopesEmpty[i].init(4);
    memory.keysFull[0].init(1), memory.keysFull[1].init(1);
    publishBarriers();
    memory.turns[0] = turnOf(blockIdx.x, 0);
    for (int i = 1; i < 2 * kAhead; ++i)
      memory.turns[i] = after(memory.turns[i - 1]);
    copyKeys(memory.turns[0]);
    for (int i = 0; i < kAhead; ++i)
      for (int copy = 0; copy < kCopies; ++copy)
        copyQueries(i, copy);
  }
  /// Has one of what a turn needs of its queries copied.
  __device__ void copyQueries(uint32_t ofTurn, int copy) {
    const HopperTurn &turn = memory.turns[ofTurn % 8];
    int to = ofTurn % Shape::kStages;
    PhaseBarrier &full = memory.full[to];
    if (!exists(turn)) {
      full.arrive();
      return;
    }
    constexpr int kBytes = Shape::kQueries * kWidth * static_cast<int>(sizeof(S));
    full.arriveExpecting(copy < 2 ? kBytes : 2 * Shape::kQueries * 4);
    if (copy == 0) {
      copyBox(memory.query[to], hopper.query, full, 0, turn.h, turn.q0, turn.b);
    } else if (copy == 1) {
      copyBox(memory.dout[to], hopper.dout, full, 0, turn.h, turn.q0, turn.b);
    } else {
      int64_t from = turn.task * grad.paddedQueries + turn.q0;
      copyBytes(memory.start[to], grad.start + from, Shape::kQueries * 4, full);
      copyBytes(memory.delta[to], grad.delta + from, Shape::kQueries * 4, full);
    }
  }
  __device__ void copyKeys(const HopperTurn &turn) {
    int to = turn.pass % 2;
    PhaseBarrier &full = memory.keysFull[to];
    int terms = static_cast<int>(smaller(Shape::kKeys, grad.paddedKeys - turn.k0)) * 4;
    full.arriveExpecting(2 * Shape::kKeys * kWidth * static_cast<int>(sizeof(S)) + terms);
    for (int row = 0; row < Shape::kKeys; row += kKeyRows) {
      copyBox(memory.heads[to][0][row], hopper.key, full, 0, turn.h, turn.k0 + row, turn.b);
      copyBox(memory.heads[to][1][row], hopper.value, full, 0, turn.h, turn.k0 + row, turn.b);
    }
    copyBytes(memory.terms[to], grad.terms + turn.b * grad.paddedKeys + turn.k0, terms, full);
  }
  /// Has copied what is used some turns later, into the place of the last turn but one. Threads of
  /// some warps share the work, which keeps the others of their groups waiting.
  __device__ void copyAhead() {
    int copy = warp == 0 && group < 2 ? group : warp == 1 && group + 1 == kGroups ? 2 : kCopies;
    if (copy < kCopies && lane == 0) {
      if (number > 1)
        memory.empty[(number - 2) % Shape::kStages].wait((number - 2) / Shape::kStages);
      if (copy == 2)
        memory.turns[(number + 2 * kAhead) % 8] =
            after(memory.turns[(number + 2 * kAhead - 1) % 8]);
      copyQueries(number + kAhead, copy);
      const HopperTurn &next = memory.turns[(number + 1) % 8];
      if (copy == 0 && next.q0 == 0 && exists(next)) {
        // Once dquery of the keys before was made.
        for (uint32_t back = 2; back <= 3 && back <= number; ++back)
          memory.slopesEmpty[(number - back) % Shape::kSlopes].wait((number - back) /
                                                                    Shape::kSlopes);
        copyKeys(next);
      }
    }
    __syncwarp();
  }

  /// Finds the pair bias of the warp's keys, any for those beyond the last, and a turn's queries.
  __device__ void seekBias(const HopperTurn &turn) {
    int tiles = static_cast<int>(grad.paddedQueries) / 16;
    int rows = static_cast<int>(grad.paddedKeys) / 16;
    int row = (turn.k0 + firstKey()) / 16;
    biasFrom =
        grad.bias + ((turn.h * rows + min(row, rows - 1)) * tiles + turn.q0 / 16) * 32 + lane;
  }
  /// To that of the next turn.
  __device__ void advanceBias(const HopperTurn &turn) {
    if (turn.q0 + Shape::kQueries < call.queries)
      biasFrom += Shape::kQueries / 16 * 32;
    else if (const HopperTurn &next = memory.turns[(number + 1) % 8]; exists(next))
      seekBias(next);
  }
  /// Begins to load that of 16 keys and 32 queries, long before it is used: volatile.
  __device__ void loadBias(int half) {
    const uint4 *from = biasFrom + 64 * half;
#pragma unroll
    for (int i = 0; i < 2; ++i)
      asm volatile("ld.global.nc.v4.u32 {%0,%1,%2,%3}, [%4];"
                   : "=r"(bias[i].x), "=r"(bias[i].y), "=r"(bias[i].z), "=r"(bias[i].w)
                   : "l"(from + 32 * i));
  }

  /// Keys, values and terms of new keys.
  __device__ void begin(const HopperTurn &turn) {
    memory.keysFull[turn.pass % 2].wait(turn.pass / 2);
    masked = __any_sync(0xffffffffu, termOf(turn, lane % 16) != 0);
    if (masked)
      clearKeys(turn);
#pragma unroll
    for (int c = 0; c < kWidth / 8; ++c)
#pragma unroll
      for (int e = 0; e < 4; ++e)
        dkey[c][e] = dvalue[c][e] = 0;
    int row = firstKey() + lane % 16;
#pragma unroll
    for (int c = 0; c < kSteps; ++c) {
      int col = permutedChunk<kWidth>(row, 2 * c + lane / 16) * 8;
      loadMatrices(key[c], &memory.heads[turn.pass % 2][0][row][col]);
      loadMatrices(value[c], &memory.heads[turn.pass % 2][1][row][col]);
    }
  }
  /// Makes zeros of the warp's keys and values without weight: they have no slope, whatever they
  /// are.
  __device__ void clearKeys(const HopperTurn &turn) {
    if (lane < 16 && termOf(turn, lane) == -INFINITY)
#pragma unroll
      for (int col = 0; col < kWidth; col += 8)
#pragma unroll
        for (int i = 0; i < 2; ++i)
          *reinterpret_cast<uint4 *>(&memory.heads[turn.pass % 2][i][firstKey() + lane][col]) =
              uint4{};
    __syncwarp();
  }

  /// dkey and dvalue of the turn's queries.
  __device__ void multiply(const HopperTurn &turn) {
    uint64_t query = factorAt<kWidth>(memory.query[stage()]);
    uint64_t dout = factorAt<kWidth>(memory.dout[stage()]);
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      startScores(further(query, 32 * half * kWidth), further(dout, 32 * half * kWidth));
      waitForProducts();
      holdSums(p), holdSums(dp);
      // The slopes that lay here have made their queries.
      if (half == 0 && number >= Shape::kSlopes)
        memory.slopesEmpty[number % Shape::kSlopes].wait(number / Shape::kSlopes - 1);
      uint32_t weights[2][4], slopes[2][4];
      if (masked)
        addTerms(turn);
      makeSlopes(half, weights, slopes);
      if constexpr (kBias) {
        if (half == 1)
          advanceBias(turn);
        loadBias(half ^ 1);
      }
      keepSlopes(slopes, half);
      holdSums(dkey), holdSums(dvalue);
      beginProducts();
#pragma unroll
      for (int k = 0; k < 2; ++k) {
        int row = 32 * half + 16 * k;
        startTurnedProduct<S>(dvalue, weights[k], further(dout, row * kWidth), true);
        startTurnedProduct<S>(dkey, slopes[k], further(query, row * kWidth), true);
      }
      endProducts();
    }
    publishToCopies();
    waitForProducts();
    holdSums(dkey), holdSums(dvalue);
    __syncwarp();
    if (lane == 0)
      memory.slopesFull[number % Shape::kSlopes].arrive(), memory.empty[stage()].arrive();
  }

  /// Begins the products of 64 keys and 32 queries, and of values and dout.
  __device__ void startScores(uint64_t query, uint64_t dout) {
    beginProducts();
#pragma unroll
    for (int c = 0; c < kSteps; ++c) {
      startProduct<S>(p, key[c], further(query, 16 * c), c > 0);
      startProduct<S>(dp, value[c], further(dout, 16 * c), c > 0);
    }
    endProducts();
  }

  /// What is added to the logits of one of the warp's keys; -infinity beyond the last.
  __device__ float termOf(const HopperTurn &turn, int one) const {
    int k = firstKey() + one;
    return turn.k0 + k < grad.paddedKeys ? memory.terms[turn.pass % 2][k] : -INFINITY;
  }
  /// Few keys have terms, which are read where they are used.
  __device__ void addTerms(const HopperTurn &turn) {
    float factor = 1 / (call.scale * kLog2E);
#pragma unroll
    for (int row = 0; row < 2; ++row) {
      float term = termOf(turn, lane / 4 + 8 * row) * factor;
#pragma unroll
      for (int j = 0; j < 4; ++j)
        p[j][2 * row] += term, p[j][2 * row + 1] += term;
    }
  }

  /// p and dl of products, as left factors.
  __device__ void makeSlopes(int half, uint32_t (&weights)[2][4], uint32_t (&slopes)[2][4]) const {
    float scale = call.scale * kLog2E;
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
        float x = exp2Fast(fmaf(p[j][2 * row], scale, add.x));
        float y = exp2Fast(fmaf(p[j][2 * row + 1], scale, add.y));
        weights[j / 2][j % 2 * 2 + row] = packed<S>(x, y);
        slopes[j / 2][j % 2 * 2 + row] =
            packed<S>(x * (dp[j][2 * row] + delta.x), y * (dp[j][2 * row + 1] + delta.y));
      }
    }
  }

  /// Puts slopes of the warp's keys where the products of dquery find them.
  __device__ void keepSlopes(const uint32_t (&slopes)[2][4], int half) const {
    int row = firstKey() + lane % 16;
#pragma unroll
    for (int k = 0; k < 2; ++k) {
      int chunk = 4 * half + 2 * k + lane / 16;
      storeMatrices(&memory.slopes[number % Shape::kSlopes][row][permutedChunk<64>(row, chunk) * 8],
                    slopes[k]);
    }
  }

  /// Where a thread has sums of dquery between keys, in fours.
  __device__ float4 *sumsOf(const HopperTurn &turn) const {
    int64_t tile = blockIdx.x * (grad.paddedQueries / Shape::kQueries) + turn.q0 / Shape::kQueries;
    return reinterpret_cast<float4 *>(grad.sums) + tile * (kWidth / 8) * 128 + thread % 128;
  }

  /// dquery of the last turn, whose queries tell which group makes it, once all have its slopes.
  __device__ void addQueries(int tile) {
    if (tile % kGroups != group)
      return;
    uint32_t ofTurn = number - 1;
    const HopperTurn &turn = memory.turns[ofTurn % 8];
    memory.slopesFull[ofTurn % Shape::kSlopes].wait(ofTurn / Shape::kSlopes);
    // Two sums, as products wait for the one before on the same; where there is room, in the place
    // of scores.
    float own[kWidth == 16 ? 4 : 1][4];
    float(&sum)[kWidth / 8][4] = *reinterpret_cast<float(*)[kWidth / 8][4]>(kWidth == 16 ? own : p);
    float(&odd)[kWidth / 8][4] =
        *reinterpret_cast<float(*)[kWidth / 8][4]>(kWidth == 16 ? own + 2 : dp);
#pragma unroll
    for (int c = 0; c < kWidth / 8; ++c)
#pragma unroll
      for (int e = 0; e < 4; ++e)
        sum[c][e] = odd[c][e] = 0;
    uint64_t slopes = turnedFactorAt(memory.slopes[ofTurn % Shape::kSlopes]);
    uint64_t keys = factorAt<kWidth>(memory.heads[turn.pass % 2][0]);
    holdSums(sum), holdSums(odd);
    beginProducts();
#pragma unroll
    for (int row = 0; row < Shape::kKeys; row += 32) {
      startSharedProduct<S, true>(sum, further(slopes, row * Shape::kQueries),
                                  further(keys, row * kWidth), true);
      startSharedProduct<S, true>(odd, further(slopes, (row + 16) * Shape::kQueries),
                                  further(keys, (row + 16) * kWidth), true);
    }
    endProducts();
    waitForProducts();
    holdSums(sum), holdSums(odd);
    if (lane == 0)
      memory.slopesEmpty[ofTurn % Shape::kSlopes].arrive();
#pragma unroll
    for (int c = 0; c < kWidth / 8; ++c)
#pragma unroll
      for (int e = 0; e < 4; ++e)
        sum[c][e] += odd[c][e];
    float4 *sums = sumsOf(turn);
    if (turn.k0 > 0)
#pragma unroll
      for (int c = 0; c < kWidth / 8; ++c) {
        float4 four = sums[128 * c];
        sum[c][0] += four.x, sum[c][1] += four.y, sum[c][2] += four.z, sum[c][3] += four.w;
      }
    if (turn.k0 + Shape::kKeys >= call.keys) {
      storeSums(call.dquery, turn, turn.q0 + warp * 16, call.queries, call.scale, sum);
      return;
    }
#pragma unroll
    for (int c = 0; c < kWidth / 8; ++c)
      sums[128 * c] = make_float4(sum[c][0], sum[c][1], sum[c][2], sum[c][3]);
  }

  __device__ void storeKeys(const HopperTurn &turn) const {
    int first = turn.k0 + firstKey();
    storeSums(call.dkey, turn, first, call.keys, call.scale, dkey);
    storeSums(call.dvalue, turn, first, call.keys, 1, dvalue);
  }

  __device__ void storeSums(const HeadMatrix &m, const HopperTurn &turn, int first, int64_t rows,
                            float factor, const float (&sum)[kWidth / 8][4]) const {
    int row = first + lane / 4;
    S *out = const_cast<S *>(at<S>(m, turn.b, turn.h)) + row * m.row + 2 * (lane % 4);
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      if (row + half * 8 >= rows)
        return;
#pragma unroll
      for (int c = 0; c < kWidth / 8; ++c) {
        uint32_t pair = packed<S>(factor * sum[c][2 * half], factor * sum[c][2 * half + 1]);
        if (8 * c < call.width)
          *reinterpret_cast<uint32_t *>(out + 8 * c) = pair;
      }
      out += 8 * m.row;
    }
  }
};

template <class S, int kWidth, int kGroups, bool kBias>
__global__ void __launch_bounds__(HopperHeadBlock<S, kWidth, kGroups>::kThreads,
                                  HopperHeadBlock<S, kWidth, kGroups>::kBlocks)
    hopperHeadGradKernel(const __grid_constant__ HopperGradCall hopper) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  using Memory = typename HopperHeadBlock<S, kWidth, kGroups>::Memory;
  extern __shared__ __align__(1024) unsigned char space[];
  auto &memory = *reinterpret_cast<Memory *>(space);
  HopperHeadGrad<S, kWidth, kGroups, kBias>(hopper, memory).run();
#endif
}

} // namespace evo::cuda
