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

/// Devices that this machine has; 0 where there is no driver.
int cudaDevices();
/// `device` is its number, from 0. Without the library this project's own kernel makes every
/// product, which is slow and may be watched by tools that the library's kernels are too much for.
Result<std::unique_ptr<Backend>> createCudaBackend(int device, bool library = true);

} // namespace evo
