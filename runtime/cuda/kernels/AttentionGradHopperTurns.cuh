//===- AttentionGradHopperTurns.cuh - what blocks go through ----*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// The turns of AttentionGradHopperHead.cuh's blocks, their shared memory, and what their groups of
// four warps share.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/cuda/kernels/AttentionGradHopperCall.cuh"
#include "runtime/cuda/kernels/Wgmma.cuh"

namespace evo::cuda {

/// What a block does at a time: 64 queries, and keys from k0 on, of task b heads + h. Each group
/// finds the turns by itself, so that it is known to be the same for all threads of a warp.
struct HopperTurn {
  int task, b, h, k0, q0;
  int pass; ///< how many times there were other keys before
};

/// A block's shape and its shared memory: kGroups of four warps have 128 keys each, and one more
/// makes dquery.
template <class S, int kWidth, int kGroups> struct HopperHeadBlock {
  static constexpr int kThreads = 128 * (kGroups + 1), kKeys = 128 * kGroups;
  static constexpr int kQueries = kQueryRows;
  static constexpr int kBlocks = 3 - kGroups; ///< of a multiprocessor
  /// Registers of a thread of the last group, and of the others.
  static constexpr int kFewRegisters = kGroups == 2 ? 56 : 48;
  static constexpr int kRegisters = kGroups == 2 ? 224 : 208;
  /// Whether registers hold a group's values beside its keys, or products read shared memory.
  static constexpr bool kHoldsValues = kGroups == 2 || kWidth == 16;
  /// Places of queries and of slopes: what shared memory holds.
  static constexpr int kStages = kGroups == 2 ? 4 : 3, kSlopes = kGroups == 2 ? 3 : 2;
  static constexpr int kAhead = kStages - 1; ///< turns that queries are copied ahead
  static constexpr int kBiases = 3;          ///< steps that the pair bias is copied ahead

  /// Chunks of 16 bytes lie permuted within rows.
  struct Memory {
    S slopes[kSlopes][kKeys][kQueries];
    S heads[2][2][kKeys][kWidth]; ///< keys and values
    S query[kStages][kQueries][kWidth], dout[kStages][kQueries][kWidth];
    uint4 bias[kBiases][2][128 * kGroups]; ///< of a block's 32 queries; a thread has its own
    float start[kStages][kQueries], delta[kStages][kQueries];
    float terms[2][kKeys];
    PhaseBarrier full[kStages], empty[kStages]; ///< of queries
    PhaseBarrier keysFull[2];
    PhaseBarrier slopesFull[kSlopes], slopesEmpty[kSlopes];
  };
  static constexpr int kBytes = sizeof(Memory);
  static_assert(kBytes * kBlocks <= (227 - kBlocks + 1) * 1024);
};

/// What groups know of a call and of its turns.
template <class S, int kWidth, int kGroups> class HopperTurns {
public:
  using Shape = HopperHeadBlock<S, kWidth, kGroups>;
  using Memory = typename Shape::Memory;

protected:
  const HopperGradCall &hopper;
  const MmaGradCall &grad;
  const AttentionCall &call;
  Memory &memory;
  int lane = threadIdx.x % 32, warp = threadIdx.x / 32 % 4;
  uint32_t number = 0; ///< of the turn

  __device__ HopperTurns(const HopperGradCall &hopper, Memory &memory)
      : hopper(hopper), grad(hopper.grad), call(hopper.grad.call), memory(memory) {}

  __device__ int stage() const { return number % Shape::kStages; }
  __device__ bool exists(const HopperTurn &turn) const {
    return turn.task < static_cast<int>(call.batches * call.heads);
  }
  __device__ HopperTurn turnOf(int task, int pass) const {
    int heads = static_cast<int>(call.heads), b = task / heads;
    return {task, b, task - b * heads, 0, 0, pass};
  }
  /// The first turn with the keys that follow a turn's.
  __device__ HopperTurn nextKeys(HopperTurn turn) const {
    turn.q0 = 0, turn.k0 += Shape::kKeys, ++turn.pass;
    return turn.k0 < call.keys ? turn : turnOf(turn.task + static_cast<int>(gridDim.x), turn.pass);
  }
  /// Whether other keys follow a turn.
  __device__ bool isLast(const HopperTurn &turn) const {
    return turn.q0 + Shape::kQueries >= call.queries;
  }

  /// Stores 16 rows, 16 bytes a thread where there are more than 8 channels: narrower stores of
  /// rows that lie apart take as long each.
  __device__ void storeSums(const HeadMatrix &m, const HopperTurn &turn, int first, int64_t rows,
                            float factor, const float (&sum)[kWidth / 8][4]) const {
    constexpr int kChunks = kWidth / 8;
    int row = first + lane / 4, t = lane % 4;
    S *out = const_cast<S *>(at<S>(m, turn.b, turn.h)) + row * m.row;
#pragma unroll
    for (int half = 0; half < 2; ++half, row += 8, out += 8 * m.row) {
      uint32_t x[kChunks];
#pragma unroll
      for (int c = 0; c < kChunks; ++c)
        x[c] = packed<S>(factor * sum[c][2 * half], factor * sum[c][2 * half + 1]);
      if (kChunks == 2 && call.width == 8) {
        if (row < rows)
          *reinterpret_cast<uint32_t *>(out + 2 * t) = x[0];
        continue;
      }
      uint4 four = gather(x);
      if (row < rows && t < kChunks && 8 * t < call.width)
        *reinterpret_cast<uint4 *>(out + 8 * t) = four;
    }
  }

private:
  /// Of four lanes, which have two channels of each chunk: lane t gets chunk t.
  __device__ uint4 gather(const uint32_t (&x)[4]) const {
    bool odd = lane % 2, high = lane / 2 % 2;
    // Of chunks 0 and 1, and 2 and 3, the one that is as odd as the lane, of both lanes of a pair.
    uint32_t a = __shfl_xor_sync(0xffffffffu, odd ? x[0] : x[1], 1);
    uint32_t b = __shfl_xor_sync(0xffffffffu, odd ? x[2] : x[3], 1);
    uint2 low = odd ? make_uint2(a, x[1]) : make_uint2(x[0], a);
    uint2 top = odd ? make_uint2(b, x[3]) : make_uint2(x[2], b);
    uint32_t c = __shfl_xor_sync(0xffffffffu, high ? low.x : top.x, 2);
    uint32_t d = __shfl_xor_sync(0xffffffffu, high ? low.y : top.y, 2);
    return high ? make_uint4(c, d, top.x, top.y) : make_uint4(low.x, low.y, c, d);
  }
  __device__ uint4 gather(const uint32_t (&x)[2]) const {
    bool odd = lane % 2;
    uint32_t a = __shfl_xor_sync(0xffffffffu, odd ? x[0] : x[1], 1);
    uint2 pair = odd ? make_uint2(a, x[1]) : make_uint2(x[0], a);
    uint32_t c = __shfl_xor_sync(0xffffffffu, pair.x, 2);
    uint32_t d = __shfl_xor_sync(0xffffffffu, pair.y, 2);
    return make_uint4(pair.x, pair.y, c, d); // of the first two lanes
  }
};

} // namespace evo::cuda
