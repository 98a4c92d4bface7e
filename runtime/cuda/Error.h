//===- Error.h - CUDA's error codes as statuses -----------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/plan/Status.h"

#include <cuda_runtime_api.h>

#include <string>

namespace evo::cuda {

/// Names the expression, the code and its meaning. The runtime forgets the error, which it would
/// tell again of the next launch.
inline Status statusOf(cudaError_t error, const char *expression) {
  if (error == cudaSuccess)
    return {};
  (void)cudaGetLastError();
  return Status::error(error == cudaErrorMemoryAllocation ? ErrorCode::OutOfMemory
                                                          : ErrorCode::Internal,
                       std::string("expected ") + expression + " to succeed, got " +
                           cudaGetErrorName(error) + " (" + cudaGetErrorString(error) + ")");
}

} // namespace evo::cuda

#define EVO_CUDA_TRY(expression) EVO_TRY(::evo::cuda::statusOf((expression), #expression))
