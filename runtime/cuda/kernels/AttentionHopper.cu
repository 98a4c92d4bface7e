//===- AttentionHopper.cu - attention on Hopper -----------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// The half types' `attention` for heads of 8 to 32 channels and 64 queries or more. Four warps have
// 64 queries of one head and batch; a block has kQueryGroups times as many queries and kBatches
// batches, which share the pair bias. A block goes through its tasks' keys 64 at a time; a warp
// more has tiles copied to a ring in shared memory, from one task to the next without a pause, and
// three more look through masks and write the tasks down before. The products of this tile's values
// are under way while the next tile's weights are computed, and a task's queries are on their way
// while the last tile of the one before is weighed.
//
// 64 keys of 64 queries are 256 cycles of a multiprocessor's special functions, which compute the
// exponentials, but take some 400. The rest is time in which none of a scheduler's four warps can
// go on: all wait for products, for each other before those, or at the ends of tasks.
//===----------------------------------------------------------------------===//
#include "runtime/cuda/kernels/AttentionHopper.h"

#include "runtime/cuda/kernels/AttentionBoxes.cuh"
#include "runtime/cuda/kernels/AttentionHopperGroup.cuh"
#include "runtime/cuda/kernels/DynamicShared.cuh"

#include <cmath>
#include <cstdlib>

namespace evo::cuda {

namespace {

/// What the groups do.
template <class S, int kWidth, int kQueryGroups, int kBatches, bool kBias>
__device__ void
attendTasks(const HopperCall &hopper,
            typename HopperBlock<S, kWidth, kQueryGroups, kBatches, kBias>::Memory &memory) {
  using Shape = HopperBlock<S, kWidth, kQueryGroups, kBatches, kBias>;
  using Task = typename Shape::Task;
  QueryGroup<S, kWidth, kQueryGroups, kBatches, kBias> group(hopper, memory);
  int keys = static_cast<int>(hopper.call.keys), last = (keys - 1) / kTileKeys * kTileKeys;
  int step = static_cast<int>(gridDim.x);
  RingPlace place, next;
  auto free = [&](int stage) { memory.empty[stage].arriveAsWarp(threadIdx.x % 32); };
  const Task *before = nullptr;
  unsigned number = 0;
  for (int task = static_cast<int>(blockIdx.x); task < hopper.tasks; task += step, ++number) {
    const Task &now = memory.tasks[number % kTaskSlots];
    const Task *later =
        task + step < hopper.tasks ? &memory.tasks[(number + 1) % kTaskSlots] : nullptr;
    memory.full[next.stage].wait(next.round);
    if (!before)
      group.loadQueries(now);
    group.startScores(next.stage);
    if (before)
      group.startValues(place.stage, last > 0);
    group.wait();
    if (before) {
      free(place.stage);
      group.store(*before);
      memory.done[(number - 1) % kTaskSlots].arrive();
    }
    place = next, next.advance(Shape::kStages);
    group.begin(now);
    if (last == 0 && later)
      group.loadQueries(*later);
    group.loadAddends(now, place.stage, 0);
    group.weigh(0);
    if (!group.roundWeights(true))
      group.weighAgain(memory.stages[place.stage], place.stage, now, last == 0 ? later : nullptr,
                       0);
    for (int first = 0; first < last; first += kTileKeys) {
      memory.full[next.stage].wait(next.round);
      group.startScores(next.stage);
      group.startValues(place.stage, first > 0);
      group.loadAddends(now, next.stage, first + kTileKeys);
      group.waitForScores(); // the values are under way
      bool isLast = first + kTileKeys == last;
      if (isLast && later)
        group.loadQueries(*later);
      group.weigh(first + kTileKeys);
      group.waitForValues();
      if (!group.roundWeights(false))
        group.weighAgain(memory.stages[next.stage], next.stage, now, isLast ? later : nullptr,
                         first + kTileKeys);
      free(place.stage);
      place = next, next.advance(Shape::kStages);
    }
    before = &now;
  }
  group.startValues(place.stage, last > 0);
  group.wait();
  group.store(*before);
}

template <class S, int kWidth, int kQueryGroups, int kBatches, bool kBias>
__global__ void __launch_bounds__(kGroupThreads *(kQueryGroups *kBatches + 1),
                                  4 / (kQueryGroups * kBatches))
    hopperKernel(const __grid_constant__ HopperCall hopper) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  using Shape = HopperBlock<S, kWidth, kQueryGroups, kBatches, kBias>;
  extern __shared__ __align__(1024) unsigned char space[];
  auto &memory = *reinterpret_cast<typename Shape::Memory *>(space);
  if (threadIdx.x == 0) {
    for (int i = 0; i < Shape::kStages; ++i)
      memory.full[i].init(1), memory.empty[i].init(4 * Shape::kGroups);
    for (int i = 0; i < kTaskSlots; ++i) // of each lane that has read it
      memory.written[i].init(1), memory.done[i].init(kGroupThreads * Shape::kGroups + 32);
    publishBarriers();
  }
  __syncthreads();
  if (threadIdx.x >= kGroupThreads * Shape::kGroups) {
    releaseRegisters<Shape::kFewRegisters>();
    int warp = static_cast<int>(threadIdx.x) % kGroupThreads / 32;
    if (warp == 0)
      TileFetcher<S, kWidth, kQueryGroups, kBatches, kBias>(hopper, memory).run();
    else
      TaskWriter<S, kWidth, kQueryGroups, kBatches, kBias>(hopper, memory).run(warp - 1);
  } else {
    takeRegisters<Shape::kRegisters>();
    attendTasks<S, kWidth, kQueryGroups, kBatches, kBias>(hopper, memory);
  }
#endif
}

/// Launches the kernel where copies take the operands.
template <class S, int kWidth, int kQueryGroups, int kBatches, bool kBias>
Status launchTiles(const Launch &launch, const AttentionCall &call, bool &launched) {
  using Shape = HopperBlock<S, kWidth, kQueryGroups, kBatches, kBias>;
  auto kernel = hopperKernel<S, kWidth, kQueryGroups, kBatches, kBias>;
  HopperCall hopper{call, {}, {}, {}, 0, 0, call.inf / call.scale};
  TensorOfBoxes<S, 3> bias{call.bias.data,
                           {call.keys, call.queries, call.heads},
                           {call.bias.row, call.bias.head},
                           {kTileKeys, Shape::kQueries, 1}};
  auto takes = [&](CUtensorMap &map, const HeadMatrix &m) {
    return describeHeads<S>(*launch.context, map, call, m, call.groups, call.keys, kTileKeys);
  };
  if (!hasRegisters(kernel, Shape::kGroups, Shape::kFewRegisters, Shape::kRegisters) ||
      !takes(hopper.key, call.key) || !takes(hopper.value, call.value) ||
      (kBias && !bias.describe(*launch.context, hopper.bias, CU_TENSOR_MAP_SWIZZLE_128B)))
    return {};
  EVO_TRY(allowShared(kernel, Shape::kBytes, "the shared memory of attention"));
  int64_t groups = ceilDiv(call.batches, kBatches);
  int64_t together = ceilDiv(groups, ceilDiv(groups, 8));
  int64_t tasks =
      ceilDiv(groups, together) * together * call.heads * ceilDiv(call.queries, Shape::kQueries);
  int64_t blocks = int64_t{launch.context->processors} * Shape::kBlocks;
  hopper.together = static_cast<int>(together), hopper.tasks = static_cast<int>(tasks);
  kernel<<<gridOf(std::min(tasks, blocks)), Shape::kThreads, Shape::kBytes,
           launch.context->stream>>>(hopper);
  launched = true;
  return statusOf(cudaGetLastError(), "the launch of attention");
}

template <class S, int kWidth>
Status launchWidth(const Launch &launch, const AttentionCall &call, bool &launched) {
  if (call.bias.data)
    return launchTiles<S, kWidth, 2, 2, true>(launch, call, launched);
  return launchTiles<S, kWidth, 2, 1, false>(launch, call, launched);
}

/// Whether this device and the call are such as the kernels are for.
bool fits(const Launch &launch, const AttentionCall &call) {
  constexpr int64_t kMost = int64_t{1} << 29;
  if (call.width > 32 || call.queries < 64 || call.scale <= 0 ||
      !std::isfinite(call.inf / call.scale) || call.keys > kMost || call.queries > kMost ||
      call.batches > kMost || call.batches * call.heads * call.queries / 64 > kMost)
    return false;
  for (const HeadMatrix *m : {&call.query, &call.o, &call.lse}) // times rows of a block: 32 bits
    if (std::abs(m->row) > (1 << 23))
      return false;
  const HeadMatrix &bias = call.bias;
  if (bias.data && (bias.col != 1 || bias.row % 8 != 0 || bias.head % 8 != 0 ||
                    reinterpret_cast<uint64_t>(bias.data) % 16 != 0))
    return false;
  return launch.context->isHopper;
}

} // namespace

template <class S>
Status launchHopper(const Launch &launch, const AttentionCall &call, bool &launched) {
  launched = false;
  if (!fits(launch, call))
    return {};
  return heldWidth(call) == 16 ? launchWidth<S, 16>(launch, call, launched)
                               : launchWidth<S, 32>(launch, call, launched);
}

template Status launchHopper<__nv_bfloat16>(const Launch &, const AttentionCall &, bool &);
template Status launchHopper<__half>(const Launch &, const AttentionCall &, bool &);

} // namespace evo::cuda
