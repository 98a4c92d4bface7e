//===- AttentionGradHopperHead.cuh - dquery, dkey and dvalue ----*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// A block has a batch and head, and goes through its keys, 128 for each group of four warps, and
// for those through the queries 64 at a time: groups of AttentionGradHopperKeys.cuh make dkey and
// dvalue, one of AttentionGradHopperQueries.cuh makes dquery and has all copied.
//
// Blocks go from one head to the next without a pause: queries, keys and values are copied some
// turns ahead, and barriers in shared memory say what is there and what was used, so that groups
// may be a turn apart.
//
// Of a score: 320 FLOP, at 4096 a cycle of a multiprocessor 0.08 cycles, with dquery's left factor
// from shared memory 0.09; a power of two, at 16 a cycle 0.06; thirteen instructions of 128 lanes
// with a pair bias, 0.1. The kernel takes 0.19 to 0.27 on an H200: products of registers and other
// instructions of their lanes get in each other's way, and two warps a scheduler, which is what the
// registers hold beside dquery's, do not hide what powers and shared memory take.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/cuda/kernels/AttentionGradHopperKeys.cuh"
#include "runtime/cuda/kernels/AttentionGradHopperQueries.cuh"

namespace evo::cuda {

template <class S, int kWidth, int kGroups, bool kBias>
__global__ void __launch_bounds__(HopperHeadBlock<S, kWidth, kGroups>::kThreads,
                                  HopperHeadBlock<S, kWidth, kGroups>::kBlocks)
    hopperHeadGradKernel(const __grid_constant__ HopperGradCall hopper) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  using Shape = HopperHeadBlock<S, kWidth, kGroups>;
  extern __shared__ __align__(1024) unsigned char space[];
  auto &memory = *reinterpret_cast<typename Shape::Memory *>(space);
  if (threadIdx.x == 0) {
    for (int i = 0; i < Shape::kStages; ++i)
      memory.full[i].init(1), memory.empty[i].init(128 * kGroups);
    for (int i = 0; i < Shape::kSlopes; ++i)
      memory.slopesFull[i].init(4 * kGroups), memory.slopesEmpty[i].init(4);
    memory.keysFull[0].init(1), memory.keysFull[1].init(1);
    publishBarriers();
  }
  __syncthreads();
  if (threadIdx.x >= 128 * kGroups) {
    releaseRegisters<Shape::kFewRegisters>();
    HopperQueries<S, kWidth, kGroups>(hopper, memory).run();
  } else {
    takeRegisters<Shape::kRegisters>();
    HopperKeys<S, kWidth, kGroups, kBias>(hopper, memory).run();
  }
#endif
}

} // namespace evo::cuda
