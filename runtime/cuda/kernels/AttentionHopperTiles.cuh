//===- AttentionHopperTiles.cuh - keys on their way -----------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// What a block of AttentionHopper.cu has in shared memory, and the warps that fill it: tiles of
// keys, values and pair bias in a ring, each with a barrier that says that it is full and one that
// says that it was used, and the tasks that the tiles belong to, with barriers that say that they
// are written and done. All other warps wait for the one that has tiles copied, so it does nothing
// else.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/cuda/kernels/AttentionMma.cuh"
#include "runtime/cuda/kernels/Tma.cuh"

namespace evo::cuda {

inline constexpr int kTileKeys = 64, kGroupThreads = 128, kTaskWriters = 3,
                     kTaskSlots = 16; ///< more than are on their way at once
// A writer has waited for the task before the last in a slot when it waits for the last.
static_assert(kTaskSlots >= kTaskWriters);

/// The tensors that tiles are copied from, and the order of tasks.
struct HopperCall {
  AttentionCall call;
  CUtensorMap key, value, bias;
  int together, tasks;
  float maskFactor; ///< of masks, in scores
};

/// A block's shape and its shared memory.
template <class S, int kWidth, int kQueryGroups, int kBatches, bool kBias> struct HopperBlock {
  static constexpr int kGroups = kQueryGroups * kBatches, kQueries = 64 * kQueryGroups;
  static constexpr int kThreads = kGroupThreads * (kGroups + 1);
  static constexpr int kBlocks = 4 / kGroups; ///< of a multiprocessor
  /// Of a thread that copies, and of one of the groups. Together they are no more than what the
  /// block begins with, 96 or 80 a thread: else the groups would wait for registers for ever.
  static constexpr int kFewRegisters = 32, kRegisters = kGroups == 4 ? 112 : 104;
  static constexpr int kStages = kBias ? 6 : 8;

  /// Chunks of 16 bytes lie permuted within rows, by the rows' numbers.
  struct Stage {
    S heads[kBatches][2][kTileKeys][kWidth]; ///< keys and values
    S bias[kBias ? kQueries : 8][kTileKeys];
  };
  /// A batch of a task.
  struct Part {
    const S *query, *mask; ///< of the first query; of the batch
    S *out;                ///< null: there is no such batch, and another one stands in
    float *lse;
    float largest; ///< of the masks
    bool masked;   ///< whether there are smaller ones
  };
  struct Task {
    int h, group, q, b; ///< head, that of its keys, first query, first batch
    Part part[kBatches];
  };
  struct Memory {
    Stage stages[kStages];
    Task tasks[kTaskSlots];
    PhaseBarrier full[kStages], empty[kStages], written[kTaskSlots], done[kTaskSlots];
  };
  static_assert(sizeof(Stage) % 1024 == 0);
  static constexpr int kTileBytes = sizeof(Stage) - (kBias ? 0 : 8 * kTileKeys * sizeof(S));
  static constexpr int kBytes = sizeof(Memory);
};

/// Writes down the block's tasks, some ahead of the copies; of kTaskWriters warps that take turns.
template <class S, int kWidth, int kQueryGroups, int kBatches, bool kBias> class TaskWriter {
  using Shape = HopperBlock<S, kWidth, kQueryGroups, kBatches, kBias>;
  using Task = typename Shape::Task;

  const HopperCall &hopper;
  typename Shape::Memory &memory;
  int lane;

public:
  __device__ TaskWriter(const HopperCall &hopper, typename Shape::Memory &memory)
      : hopper(hopper), memory(memory), lane(threadIdx.x % 32) {}

  /// The tasks of a writer.
  __device__ void run(int writer) {
    int step = static_cast<int>(gridDim.x), index = static_cast<int>(blockIdx.x) + writer * step;
    for (int number = writer; index < hopper.tasks;
         index += kTaskWriters * step, number += kTaskWriters) {
      int slot = number % kTaskSlots;
      if (number >= kTaskSlots)
        memory.done[slot].wait(number / kTaskSlots - 1);
      write(memory.tasks[slot], index);
      memory.written[slot].arriveAsWarp(lane); // all lanes have seen the place's phase
    }
  }

private:
  /// Tasks that run together share keys and values, and the bias of few heads and queries.
  __device__ void write(Task &task, int index) const {
    const AttentionCall &call = hopper.call;
    int tiles = static_cast<int>(ceilDiv(call.queries, Shape::kQueries));
    int heads = static_cast<int>(call.heads), rest = index / hopper.together;
    int above = rest / tiles, block = above / heads;
    int h = above - block * heads, q = (rest - above * tiles) * Shape::kQueries;
    int b = (block * hopper.together + index - rest * hopper.together) * kBatches;
    for (int i = 0; i < kBatches; ++i) {
      typename Shape::Part part = partOf(h, q, b + i);
      if (lane == 0)
        task.part[i] = part;
    }
    if (lane == 0)
      task.h = h, task.group = h % static_cast<int>(call.groups), task.q = q, task.b = b;
  }
  __device__ typename Shape::Part partOf(int h, int q, int batch) const {
    const AttentionCall &call = hopper.call;
    typename Shape::Part part{};
    int64_t b = smaller(batch, call.batches - 1);
    part.query = at<S>(call.query, b, h) + q * call.query.row;
    part.mask = at<S>(call.mask, b, 0);
    if (batch < call.batches)
      part.out = const_cast<S *>(at<S>(call.o, b, h)) + q * call.o.row;
    if (call.lse.data)
      part.lse = const_cast<float *>(at<float>(call.lse, b, h)) + q * call.lse.row;
    if (call.mask.data)
      findMask(part);
    return part;
  }
  /// The largest and the smallest mask are what matters.
  __device__ void findMask(typename Shape::Part &part) const {
    const HeadMatrix &mask = hopper.call.mask;
    int keys = static_cast<int>(hopper.call.keys);
    float high = -INFINITY, low = INFINITY;
    auto note = [&](float one) { high = fmaxf(high, one), low = fminf(low, one); };
    // Eight at once where they lie together.
    bool aligned = mask.col == 1 && reinterpret_cast<uint64_t>(part.mask) % 16 == 0;
    int whole = aligned ? keys / 8 * 8 : 0;
#pragma unroll 1
    for (int first = 8 * lane; first < whole; first += 8 * 32) {
      uint4 bits = *reinterpret_cast<const uint4 *>(part.mask + first);
      for (uint32_t pair : {bits.x, bits.y, bits.z, bits.w}) {
        float2 two = widenPair<S>(pair);
        note(two.x), note(two.y);
      }
    }
#pragma unroll 1
    for (int k = whole + lane; k < keys; k += 32)
      note(widen(part.mask[k * mask.col]));
    part.largest = warpMax(high), part.masked = -warpMax(-low) != part.largest;
  }
};

/// Has tiles copied; of a warp.
template <class S, int kWidth, int kQueryGroups, int kBatches, bool kBias> class TileFetcher {
  using Shape = HopperBlock<S, kWidth, kQueryGroups, kBatches, kBias>;

  const HopperCall &hopper;
  typename Shape::Memory &memory;
  RingPlace place;

public:
  __device__ TileFetcher(const HopperCall &hopper, typename Shape::Memory &memory)
      : hopper(hopper), memory(memory) {}

  /// Has all tiles of the block's tasks copied as their stages become free.
  __device__ void run() {
    int index = static_cast<int>(blockIdx.x), step = static_cast<int>(gridDim.x);
    int keys = static_cast<int>(hopper.call.keys);
    for (int number = 0; index < hopper.tasks; index += step, ++number) {
      int slot = number % kTaskSlots;
      memory.written[slot].wait(number / kTaskSlots);
      const typename Shape::Task &task = memory.tasks[slot];
      int h = everywhere(task.h), group = everywhere(task.group);
      int q = everywhere(task.q), b = everywhere(task.b);
      memory.done[slot].arrive();
#pragma unroll 1
      for (int first = 0; first < keys; first += kTileKeys, place.advance(Shape::kStages)) {
        // The warps that wait for the last tile find the next task.
        if (first + kTileKeys >= keys && index + step < hopper.tasks)
          memory.written[(number + 1) % kTaskSlots].wait((number + 1) / kTaskSlots);
        if (place.round > 0)
          memory.empty[place.stage].wait(place.round - 1);
        if (isElected())
          copy(memory.stages[place.stage], memory.full[place.stage], first, h, group, q, b);
        __syncwarp();
      }
    }
  }

private:
  /// Of the first lane, so that it is known to be the same in all.
  __device__ static int everywhere(int x) { return __shfl_sync(0xffffffffu, x, 0); }
  /// Of one lane of the warp, always the same.
  __device__ static bool isElected() {
    uint32_t elected;
    asm volatile("{ .reg .pred p; elect.sync _|p, 0xffffffff; selp.u32 %0, 1, 0, p; }"
                 : "=r"(elected));
    return elected;
  }
  __device__ void copy(typename Shape::Stage &stage, PhaseBarrier &full, int first, int h,
                       int group, int q, int b) {
    full.arriveExpecting(Shape::kTileBytes);
    for (int i = 0; i < kBatches; ++i) {
      copyBox(stage.heads[i][0], hopper.key, full, 0, group, first, b + i);
      copyBox(stage.heads[i][1], hopper.value, full, 0, group, first, b + i);
    }
    if constexpr (kBias)
      copyBox(stage.bias, hopper.bias, full, first, q, h);
  }
};

} // namespace evo::cuda
