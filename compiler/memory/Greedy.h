//===- Greedy.h - buffers placed one by one ---------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#pragma once

#include "compiler/memory/Packer.h"

#include <optional>

namespace evo::memory {

/// A portfolio of orders (size, area, duration, start, load, end; first fit and best gap) on
/// buffers with aligned sizes: the lowest packing, ties to the first, none where no packing stays
/// below 2^63 bytes. It stops at the first that is as low as the bound.
std::optional<Packing> packGreedily(std::span<const Lifetime> aligned, Bytes bound);

} // namespace evo::memory
