//===- TensorStream.h - tensors in pieces -----------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// Tensors move between files, generators and devices in pieces of a few MiB, so that no second copy
// of a large one need be held.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/core/HostTensor.h"

namespace evo {

/// Elements of one piece.
inline constexpr int64_t kPieceElements = int64_t{1} << 20;

/// Gives the tensor's bytes to `sink`, in order.
Status streamTensor(const TensorToWrite &tensor,
                    const std::function<Status(std::span<const std::byte>)> &sink);

/// Runs `body(first, count)` on parts of [0, count), on up to `threads` threads. The first error in
/// order of the parts is returned.
Status parallelRanges(int threads, int64_t count,
                      const std::function<Status(int64_t first, int64_t count)> &body);

} // namespace evo
