//===- AttentionHopperTiles.cuh - keys on their way -----------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// What a block of AttentionHopper.cu has in shared memory, and the warp that fills it: tiles of
// keys, values and pair bias in a ring, each with a barrier that says that it is full and one that
// says that it was used, and the tasks that the tiles belong to.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/cuda/kernels/AttentionMma.cuh"
#include "runtime/cuda/kernels/Tma.cuh"

namespace evo::cuda {

inline constexpr int kTileKeys = 64, kGroupThreads = 128, kTaskSlots = 16;

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
  static constexpr int kFewRegisters = 24, kRegisters = kGroups == 4 ? 112 : 104;
  static constexpr int kStages = kBias ? 6 : 8;

  /// A place in the ring, and how often the ring was gone through before.
  struct Place {
    int stage = 0, round = 0;
    __device__ void advance() {
      if (++stage == kStages)
        stage = 0, ++round;
    }
  };
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
    int h, q, b; ///< head, first query, first batch
    Part part[kBatches];
  };
  struct Memory {
    Stage stages[kStages];
    Task tasks[kTaskSlots];
    PhaseBarrier full[kStages], empty[kStages];
  };
  static_assert(sizeof(Stage) % 1024 == 0);
  static constexpr int kTileBytes = sizeof(Stage) - (kBias ? 0 : 8 * kTileKeys * sizeof(S));
  static constexpr int kBytes = sizeof(Memory);
};

/// Has tiles copied; of a warp.
template <class S, int kWidth, int kQueryGroups, int kBatches, bool kBias> class TileFetcher {
  using Shape = HopperBlock<S, kWidth, kQueryGroups, kBatches, kBias>;
  using Task = typename Shape::Task;

  const HopperCall &hopper;
  typename Shape::Memory &memory;
  int index, number = 0; ///< of the task
  typename Shape::Place place;

public:
  __device__ TileFetcher(const HopperCall &hopper, typename Shape::Memory &memory)
      : hopper(hopper), memory(memory), index(static_cast<int>(blockIdx.x)) {
    prepare();
  }

  /// Has all tiles of the block's tasks copied as their stages become free.
  __device__ void run() {
    while (index < hopper.tasks) {
      const Task task = memory.tasks[number % kTaskSlots];
      index += static_cast<int>(gridDim.x), ++number;
      for (int first = 0; first < hopper.call.keys; first += kTileKeys) {
        // The warps that wait for the last tile find the next task.
        if (first + kTileKeys >= hopper.call.keys)
          prepare();
        if (place.round > 0)
          memory.empty[place.stage].wait(place.round - 1);
        if (threadIdx.x % 32 == 0)
          copy(memory.stages[place.stage], memory.full[place.stage], task, first);
        __syncwarp();
        place.advance();
      }
    }
  }

private:
  /// Writes down the present task. Tasks that run together share keys and values, and the bias of
  /// few heads and queries.
  __device__ void prepare() {
    const AttentionCall &call = hopper.call;
    int tiles = static_cast<int>(ceilDiv(call.queries, Shape::kQueries));
    int heads = static_cast<int>(call.heads), rest = index / hopper.together;
    int above = rest / tiles, block = above / heads;
    Task task{above - block * heads,
              (rest - above * tiles) * Shape::kQueries,
              (block * hopper.together + index - rest * hopper.together) * kBatches,
              {}};
    for (int i = 0; i < kBatches && index < hopper.tasks; ++i)
      fill(task.part[i], task, task.b + i);
    if (threadIdx.x % 32 == 0)
      memory.tasks[number % kTaskSlots] = task;
    __syncwarp();
  }
  __device__ void fill(typename Shape::Part &part, const Task &task, int batch) const {
    const AttentionCall &call = hopper.call;
    int64_t b = smaller(batch, call.batches - 1);
    part.query = at<S>(call.query, b, task.h) + task.q * call.query.row;
    part.mask = at<S>(call.mask, b, 0);
    if (batch < call.batches)
      part.out = const_cast<S *>(at<S>(call.o, b, task.h)) + task.q * call.o.row;
    if (call.lse.data)
      part.lse = const_cast<float *>(at<float>(call.lse, b, task.h)) + task.q * call.lse.row;
    if (call.mask.data)
      findMask(part);
  }
  __device__ void findMask(typename Shape::Part &part) const {
    constexpr int kAtOnce = 8;
    const AttentionCall &call = hopper.call;
    float high = -INFINITY, low = INFINITY;
    int last = static_cast<int>(call.keys) - 1, lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll 1
    for (int first = 0; first <= last; first += 32 * kAtOnce) {
      float one[kAtOnce];
      for (int i = 0; i < kAtOnce; ++i)
        one[i] = widen(part.mask[min(first + 32 * i + lane, last) * call.mask.col]);
      for (int i = 0; i < kAtOnce; ++i)
        high = fmaxf(high, one[i]), low = fminf(low, one[i]);
    }
    part.largest = warpMax(high), part.masked = -warpMax(-low) != part.largest;
  }
  __device__ void copy(typename Shape::Stage &stage, PhaseBarrier &full, const Task &task,
                       int first) {
    full.arriveExpecting(Shape::kTileBytes);
    int group = task.h % static_cast<int>(hopper.call.groups);
    for (int i = 0; i < kBatches; ++i) {
      copyBox(stage.heads[i][0], hopper.key, full, 0, group, first, task.b + i);
      copyBox(stage.heads[i][1], hopper.value, full, 0, group, first, task.b + i);
    }
    if constexpr (kBias)
      copyBox(stage.bias, hopper.bias, full, first, task.q, task.h);
  }
};

} // namespace evo::cuda
