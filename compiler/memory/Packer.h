//===- Packer.h - offsets for buffers with lifetimes ------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// Dynamic storage allocation: give each buffer an offset so that buffers alive at the same time do
// not overlap, with a small height. Values in, values out; deterministic; no clock.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/plan/Status.h"

#include <cstdint>
#include <span>
#include <vector>

namespace evo::memory {

using TimeStep = int64_t;
using Bytes = int64_t;

/// Alive during the half-open interval [lower, upper), lower < upper; size >= 0.
struct Lifetime {
  TimeStep lower = 0;
  TimeStep upper = 0;
  Bytes size = 0;
};

struct Packing {
  std::vector<Bytes> offsets; ///< one a buffer, multiples of the alignment
  Bytes height = 0;           ///< max over buffers of offset + aligned size
  Bytes lowerBound = 0; ///< max over time of the sum of live aligned sizes: no packing is lower
};

/// The largest sum of live sizes, each rounded up to `alignment`; overflow is an error.
Result<Bytes> maxLoad(std::span<const Lifetime> buffers, Bytes alignment);

/// Split in time where nothing is live; each part by a portfolio of greedy orders (size, area,
/// duration, start; first fit and best gap), the lowest kept, ties to the first. Errors: a negative
/// size, an empty lifetime, an alignment below 1, overflow.
Result<Packing> pack(std::span<const Lifetime> buffers, Bytes alignment);

/// Independent check of a packing: alignment, no overlap of buffers alive together, height and
/// bound as stated.
Status validatePacking(std::span<const Lifetime> buffers, Bytes alignment, const Packing &packing);

} // namespace evo::memory
