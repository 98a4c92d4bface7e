//===- AttentionGradHopperCall.cuh - what blocks copy -----------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/cuda/kernels/AttentionGradMma.cuh"
#include "runtime/cuda/kernels/Tma.cuh"

namespace evo::cuda {

/// Rows that are copied at once.
inline constexpr int kQueryRows = 64, kKeyRows = 128;

/// A call, and the tensors that tiles are copied from.
struct HopperGradCall {
  MmaGradCall grad;
  CUtensorMap query, dout, key, value;
};

} // namespace evo::cuda
