//===- Tma.cuh - Hopper's copies of boxes -----------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// One thread asks for a box of a strided tensor; it arrives in shared memory by itself, zeros where
// it lies beyond the tensor, and a barrier there counts its bytes. Boxes go back the same way.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/cuda/kernels/BoxRange.h"
#include "runtime/cuda/kernels/Storage.cuh"

#include <cuda.h>

namespace evo::cuda {

/// A barrier in shared memory: a phase ends when as many have arrived as it was made for and the
/// bytes they expect are there. Phases are numbered from 0.
struct PhaseBarrier {
  uint64_t state;

  __device__ uint32_t address() const {
    return static_cast<uint32_t>(__cvta_generic_to_shared(&state));
  }
  __device__ void init(int arrivals) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(address()), "r"(arrivals)
                 : "memory");
  }
  __device__ void arrive() {
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(address()) : "memory");
  }
  /// One arrival for all that the lanes of a warp have read and written by themselves.
  /// compute-sanitizer 2025.3 does not see that lanes which run together were ordered before: of
  /// what it follows (copies of bytes, read by all lanes) each lane gives back its own, by
  /// arrive(), which takes as long.
  __device__ void arriveAsWarp(int lane) {
    __syncwarp();
    if (lane == 0)
      arrive();
  }
  __device__ void arriveExpecting(int bytes) {
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(address()),
                 "r"(bytes)
                 : "memory");
  }
  __device__ void wait(int phase) const {
    uint32_t done = 0;
    while (!done)
      asm volatile("{ .reg .pred p; mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\n"
                   "selp.u32 %0, 1, 0, p; }"
                   : "=r"(done)
                   : "r"(address()), "r"(phase & 1)
                   : "memory");
  }
};

/// A place in a ring of stages, and how often the ring was gone through before, which is the phase
/// of the stage's barriers.
struct RingPlace {
  int stage = 0, round = 0;
  __device__ void advance(int stages) {
    if (++stage == stages)
      stage = 0, ++round;
  }
  __device__ void skip(int steps, int stages) {
    for (stage += steps; stage >= stages; stage -= stages)
      ++round;
  }
};

/// After barriers were made, before other threads and copies use them.
__device__ inline void publishBarriers() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}

__device__ inline void copyBox(void *to, const CUtensorMap &map, PhaseBarrier &barrier, int x,
                               int y, int z) {
  asm volatile(
      "cp.async.bulk.tensor.3d.shared::cluster.global.tile.mbarrier::complete_tx::bytes "
      "[%0], [%1, {%2, %3, %4}], [%5];" ::"r"(static_cast<uint32_t>(__cvta_generic_to_shared(to))),
      "l"(&map), "r"(x), "r"(y), "r"(z), "r"(barrier.address())
      : "memory");
}
__device__ inline void copyBox(void *to, const CUtensorMap &map, PhaseBarrier &barrier, int x,
                               int y, int z, int w) {
  asm volatile("cp.async.bulk.tensor.4d.shared::cluster.global.tile.mbarrier::complete_tx::bytes "
               "[%0], [%1, {%2, %3, %4, %5}], [%6];" ::"r"(
                   static_cast<uint32_t>(__cvta_generic_to_shared(to))),
               "l"(&map), "r"(x), "r"(y), "r"(z), "r"(w), "r"(barrier.address())
               : "memory");
}

/// Copies what lies together, units of 16 bytes.
__device__ inline void copyBytes(void *to, const void *from, int bytes, PhaseBarrier &barrier) {
  asm volatile(
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::
          "r"(static_cast<uint32_t>(__cvta_generic_to_shared(to))),
      "l"(__cvta_generic_to_global(from)), "r"(bytes), "r"(barrier.address())
      : "memory");
}

/// Shared memory that threads wrote becomes visible to copies, and to products that read it there,
/// which a thread asks for after a barrier.
__device__ inline void publishToCopies() {
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}
/// Begins to copy a box from shared memory; what lies beyond the tensor is left out.
__device__ inline void storeBox(const CUtensorMap &map, const void *from, int x, int y, int z,
                                int w) {
  asm volatile("cp.async.bulk.tensor.4d.global.shared::cta.tile.bulk_group "
               "[%0, {%1, %2, %3, %4}], [%5];" ::"l"(&map),
               "r"(x), "r"(y), "r"(z), "r"(w),
               "r"(static_cast<uint32_t>(__cvta_generic_to_shared(from)))
               : "memory");
}
__device__ inline void storeBox(const CUtensorMap &map, const void *from, int x, int y, int z) {
  asm volatile(
      "cp.async.bulk.tensor.3d.global.shared::cta.bulk_group [%0, {%2, %3, %4}], [%1];" ::"l"(&map),
      "r"(static_cast<uint32_t>(__cvta_generic_to_shared(from))), "r"(x), "r"(y), "r"(z)
      : "memory");
}
__device__ inline void commitStores() { asm volatile("cp.async.bulk.commit_group;" ::: "memory"); }
/// Until the thread's stores but the last kPending groups have read what they copy.
template <int kPending> __device__ inline void waitForStoredReads() {
  asm volatile("cp.async.bulk.wait_group.read %0;" ::"n"(kPending) : "memory");
}

/// A tensor of half type S whose innermost axis lies together; strides, in elements, are those of
/// the others.
template <class S, int kRank> struct TensorOfBoxes {
  const void *data;
  int64_t extent[kRank], stride[kRank - 1];
  int box[kRank];

  /// Describes it to copies that permute chunks of 16 bytes within rows as `swizzle` says; false
  /// where copies do not take it.
  bool describe(const Context &context, CUtensorMap &map, CUtensorMapSwizzle swizzle) const {
    if (!context.encodeTensorMap ||
        !reachesBoxes(reinterpret_cast<uint64_t>(data), int64_t{sizeof(S)}, extent, stride))
      return false;
    cuuint64_t extents[kRank], strides[kRank];
    cuuint32_t boxes[kRank], steps[kRank];
    for (int d = 0; d < kRank; ++d) {
      extents[d] = static_cast<cuuint64_t>(extent[d]), boxes[d] = static_cast<cuuint32_t>(box[d]);
      steps[d] = 1;
      // An axis of one element is never stepped along.
      if (d > 0)
        strides[d - 1] = extent[d] == 1 ? 16 : static_cast<cuuint64_t>(stride[d - 1]) * sizeof(S);
    }
    CUtensorMapDataType type = std::is_same_v<S, __nv_bfloat16> ? CU_TENSOR_MAP_DATA_TYPE_BFLOAT16
                                                                : CU_TENSOR_MAP_DATA_TYPE_FLOAT16;
    return context.encodeTensorMap(&map, type, kRank, const_cast<void *>(data), extents, strides,
                                   boxes, steps, CU_TENSOR_MAP_INTERLEAVE_NONE, swizzle,
                                   CU_TENSOR_MAP_L2_PROMOTION_L2_128B,
                                   CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE) == CUDA_SUCCESS;
  }
};

} // namespace evo::cuda
