//===- AttentionGradHopperQueries.cuh - dquery, and copies ------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// The group of four warps that makes dquery of the slopes that the others leave in shared memory,
// and one thread of which has everything copied that the block reads, some turns ahead. Where keys
// are left, dquery waits in scratch for them, where each thread finds what it wrote.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/cuda/kernels/AttentionGradHopperTurns.cuh"

namespace evo::cuda {

template <class S, int kWidth, int kGroups>
class HopperQueries : public HopperTurns<S, kWidth, kGroups> {
  using Base = HopperTurns<S, kWidth, kGroups>;
  using Shape = typename Base::Shape;
  using Memory = typename Base::Memory;
  using Base::call, Base::exists, Base::grad, Base::hopper, Base::isLast, Base::lane, Base::memory,
      Base::number, Base::stage, Base::warp;
  static constexpr int kAhead = Shape::kAhead;

  float sum[kWidth / 8][4] = {}; ///< of the products; see HopperKeys

public:
  __device__ HopperQueries(const HopperGradCall &hopper, Memory &memory) : Base(hopper, memory) {}

  __device__ void run() {
    bool copies = threadIdx.x % 128 == 0;
    HopperTurn turn = this->turnOf(blockIdx.x, 0), ahead = turn;
    if (copies) {
      copyKeys(turn);
      for (int i = 0; i < kAhead; ++i, ahead = after(ahead))
        copyQueries(i, ahead);
    }
    for (; exists(turn); turn = after(turn), ++number) {
      if (copies) {
        if (number > 0) // the place of the last turn
          memory.empty[(number - 1) % Shape::kStages].wait((number - 1) / Shape::kStages);
        copyQueries(number + kAhead, ahead);
        ahead = after(ahead);
        if (turn.q0 == 0) {
          if (number > 0) // all four warps have made dquery of the keys before
            memory.slopesEmpty[(number - 1) % Shape::kSlopes].wait((number - 1) / Shape::kSlopes);
          copyKeys(this->nextKeys(turn));
        }
      }
      __syncwarp();
      multiply(turn);
      add(turn);
    }
  }

private:
  __device__ HopperTurn after(HopperTurn turn) const {
    if (isLast(turn))
      return this->nextKeys(turn);
    turn.q0 += Shape::kQueries;
    return turn;
  }

  /// Has what a turn needs of its queries copied, into the place of one that has been used.
  __device__ void copyQueries(uint32_t ofTurn, const HopperTurn &turn) {
    if (!exists(turn))
      return;
    int to = ofTurn % Shape::kStages;
    PhaseBarrier &full = memory.full[to];
    constexpr int kBytes = Shape::kQueries * (2 * kWidth * static_cast<int>(sizeof(S)) + 2 * 4);
    full.arriveExpecting(kBytes);
    copyBox(memory.query[to], hopper.query, full, 0, turn.h, turn.q0, turn.b);
    copyBox(memory.dout[to], hopper.dout, full, 0, turn.h, turn.q0, turn.b);
    int64_t from = turn.task * grad.paddedQueries + turn.q0;
    copyBytes(memory.start[to], grad.start + from, Shape::kQueries * 4, full);
    copyBytes(memory.delta[to], grad.delta + from, Shape::kQueries * 4, full);
  }
  __device__ void copyKeys(const HopperTurn &turn) {
    if (!exists(turn))
      return;
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
  /// Slopes times the keys.
  __device__ void multiply(const HopperTurn &turn) {
    if (turn.q0 == 0)
      memory.keysFull[turn.pass % 2].wait(turn.pass / 2);
    int place = number % Shape::kSlopes;
    memory.slopesFull[place].wait(number / Shape::kSlopes);
    __syncwarp();
    uint64_t slopes = turnedFactorAt(memory.slopes[place]);
    uint64_t keys = factorAt<kWidth>(memory.heads[turn.pass % 2][0]);
    holdSums(sum);
    beginProducts();
#pragma unroll
    for (int row = 0; row < Shape::kKeys; row += 16)
      startSharedProduct<S, true>(sum, further(slopes, row * Shape::kQueries),
                                  further(keys, row * kWidth), row > 0);
    endProducts();
    waitForProducts();
    holdSums(sum);
    if (lane == 0)
      memory.slopesEmpty[place].arrive();
  }

  /// Where a thread has sums of dquery between keys, in fours.
  __device__ float4 *sumsOf(const HopperTurn &turn) const {
    int64_t tile = blockIdx.x * (grad.paddedQueries / Shape::kQueries) + turn.q0 / Shape::kQueries;
    return reinterpret_cast<float4 *>(grad.sums) + tile * (kWidth / 8) * 128 + threadIdx.x % 128;
  }
  /// Adds the sums of the keys before.
  __device__ void add(const HopperTurn &turn) {
    float4 *sums = sumsOf(turn);
    if (turn.k0 > 0)
#pragma unroll
      for (int c = 0; c < kWidth / 8; ++c) {
        float4 four = sums[128 * c];
        sum[c][0] += four.x, sum[c][1] += four.y, sum[c][2] += four.z, sum[c][3] += four.w;
      }
    if (turn.k0 + Shape::kKeys >= call.keys) {
      this->storeSums(call.dquery, turn, turn.q0 + warp * 16, call.queries, call.scale, sum);
      return;
    }
#pragma unroll
    for (int c = 0; c < kWidth / 8; ++c)
      sums[128 * c] = make_float4(sum[c][0], sum[c][1], sum[c][2], sum[c][3]);
  }
};

} // namespace evo::cuda
