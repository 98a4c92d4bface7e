//===- CudaBackend.h - kernels on an NVIDIA GPU -----------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// Launches are asynchronous on one stream. Precisions: fp32, tf32, bf16, fp16; the half types are
// computed in fp32. No sum is made with atomics, and every product keeps the algorithm that was
// found for its shape, so the same call gives the same bits. This header needs no CUDA.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/core/Backend.h"

namespace evo {

namespace cuda {
class MemoryStart;
}

/// The CUDA devices of this machine. Making one looks at their memory, from which on backends count
/// what they take: a program makes it before anything else of it calls CUDA, and keeps it.
class CudaDevices {
public:
  CudaDevices();

  /// 0 where there is no driver.
  int count() const;
  /// `device` is its number, from 0. Without the library this project's own kernel makes every
  /// product, which is slow and may be watched by tools that the library's kernels are too much
  /// for.
  Result<std::unique_ptr<Backend>> createBackend(int device, bool library = true) const;

private:
  std::shared_ptr<const cuda::MemoryStart> start; ///< which backends share
};

} // namespace evo
