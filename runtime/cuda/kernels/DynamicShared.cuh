//===- DynamicShared.cuh - more shared memory than 48 KiB -------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/cuda/Error.h"

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

/// Asks for it where the device is known to have it.
template <class Kernel> Status allowShared(Kernel *kernel, size_t bytes, const char *what) {
  return statusOf(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                       static_cast<int>(bytes)),
                  what);
}

} // namespace evo::cuda
