//===- DynamicShared.cuh - what a kernel's blocks may have ------*- C++ -*-===//
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

/// Whether a block begins with the registers that `groups` of four warps will take when four warps
/// more have released theirs: it is the compiler that says. Else they would wait for ever.
template <class Kernel> bool hasRegisters(Kernel *kernel, int groups, int few, int many) {
  cudaFuncAttributes attributes{};
  return statusOf(cudaFuncGetAttributes(&attributes, kernel), "cudaFuncGetAttributes").ok() &&
         attributes.numRegs * (groups + 1) >= few + groups * many;
}

} // namespace evo::cuda
