//===- Cluster.cuh - Hopper's blocks that share memory ----------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// Blocks of a cluster run at a time and reach each other's shared memory, as long as none has
// ended.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/cuda/kernels/Tma.cuh"

namespace evo::cuda {

/// Until all threads of the cluster are here. What they wrote before to shared memory is not yet
/// there for others, but for barriers that were published.
__device__ inline void meetCluster() {
  __syncwarp();
  asm volatile("barrier.cluster.arrive.relaxed.aligned;\n"
               "barrier.cluster.wait.acquire.aligned;" ::
                   : "memory");
}

/// Where block `rank` of the cluster has what this one has at `own`.
__device__ inline uint32_t addressInBlock(const void *own, int rank) {
  uint32_t address;
  asm volatile("mapa.shared::cluster.u32 %0, %1, %2;"
               : "=r"(address)
               : "r"(static_cast<uint32_t>(__cvta_generic_to_shared(own))), "r"(rank));
  return address;
}

/// Arrives at the barrier that block `rank` has where this one has `own`.
__device__ inline void arriveAt(const PhaseBarrier &own, int rank) {
  asm volatile("mbarrier.arrive.shared::cluster.b64 _, [%0];" ::"r"(addressInBlock(&own, rank))
               : "memory");
}

/// Begins to read what a copy's tensor is like.
__device__ inline void fetchMap(const CUtensorMap &map) {
  asm volatile("prefetch.tensormap [%0];" ::"l"(&map) : "memory");
}

/// A copy of a box to where `to` is in all blocks of a mask, whose barriers all count its bytes.
__device__ inline void copyBoxToBlocks(void *to, const CUtensorMap &map, PhaseBarrier &barrier,
                                       int x, int y, int z, int blocks) {
  asm volatile("cp.async.bulk.tensor.3d.shared::cluster.global.tile.mbarrier::complete_tx::bytes"
               ".multicast::cluster [%0], [%1, {%2, %3, %4}], [%5], %6;" ::"r"(
                   static_cast<uint32_t>(__cvta_generic_to_shared(to))),
               "l"(&map), "r"(x), "r"(y), "r"(z), "r"(barrier.address()),
               "h"(static_cast<uint16_t>(blocks))
               : "memory");
}

/// How many clusters of so many blocks the device runs at a time; 0: none, or it has no clusters.
template <class Kernel>
int clustersAtATime(Kernel *kernel, int blocks, int threads, int sharedBytes) {
  cudaLaunchAttribute attribute{};
  attribute.id = cudaLaunchAttributeClusterDimension;
  attribute.val.clusterDim = {static_cast<unsigned>(blocks), 1, 1};
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(static_cast<unsigned>(blocks));
  config.blockDim = dim3(static_cast<unsigned>(threads));
  config.dynamicSmemBytes = static_cast<size_t>(sharedBytes);
  config.attrs = &attribute, config.numAttrs = 1;
  int clusters = 0;
  if (cudaOccupancyMaxActiveClusters(&clusters, kernel, &config) == cudaSuccess)
    return clusters;
  cudaGetLastError(); // forgets the refusal
  return 0;
}

/// Enqueues a kernel whose clusters are the blocks along x.
template <class... Parameters>
cudaError_t launchClusters(void (*kernel)(Parameters...), dim3 grid, int threads, int sharedBytes,
                           cudaStream_t stream, const Parameters &...parameters) {
  cudaLaunchAttribute attribute{};
  attribute.id = cudaLaunchAttributeClusterDimension;
  attribute.val.clusterDim = {grid.x, 1, 1};
  cudaLaunchConfig_t config{};
  config.gridDim = grid, config.blockDim = dim3(static_cast<unsigned>(threads));
  config.dynamicSmemBytes = static_cast<size_t>(sharedBytes), config.stream = stream;
  config.attrs = &attribute, config.numAttrs = 1;
  return cudaLaunchKernelEx(&config, kernel, parameters...);
}

} // namespace evo::cuda
