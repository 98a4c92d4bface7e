//===- DynamicShared.cuh - more shared memory than 48 KiB -------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#pragma once

#include <cuda_runtime_api.h>

namespace evo::cuda {

/// Whether blocks of the kernel may have that much shared memory, in which devices differ.
template <class Kernel> bool admitsShared(Kernel *kernel, int bytes) {
  if (cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes) ==
      cudaSuccess)
    return true;
  cudaGetLastError(); // forgets the refusal
  return false;
}

} // namespace evo::cuda
