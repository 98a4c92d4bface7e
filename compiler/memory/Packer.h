//===- Packer.h - offsets for buffers with lifetimes ------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// Dynamic storage allocation: give each buffer an offset so that buffers alive at the same time do
// not overlap, with a small height. Values in, values out; deterministic; no clock.
//===----------------------------------------------------------------------===//
#pragma once

#include "compiler/memory/FitSearch.h"
#include "runtime/plan/Status.h"

#include <cstdint>
#include <optional>
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

/// How far to look. There is no clock: the effort is the number of states that the exact search may
/// look at, so that the same input has the same packing everywhere.
struct SearchOptions {
  std::optional<Bytes> capacity; ///< the first packing that is no higher will do
  int64_t nodeLimit = 1'000'000;
  Pruning pruning;
};

struct SearchedPacking {
  Packing packing;
  Bytes leastHeight =
      0;             ///< no packing is lower: the load, or more where the search refuted heights
  int64_t nodes = 0; ///< states that the exact search looked at
  bool proven() const { return packing.height == leastHeight; }
};

/// Split in time where nothing is live; each part by greedy orders, and where those miss the bound
/// by the exact search: at the capacity, else at the bound, then by bisection. Whatever the limit
/// cuts short, the best packing found is returned, with what is proven about it. Parts with more
/// than 1500 buffers that matter are left to the greedy orders. Errors: a negative size, an empty
/// lifetime, an alignment below 1, overflow.
Result<SearchedPacking> searchPacking(std::span<const Lifetime> buffers, Bytes alignment,
                                      const SearchOptions &options = {});

/// A packing for a frame: `searchPacking` with a small limit, which takes some milliseconds at most
/// for frames of up to 40 buffers.
Result<Packing> pack(std::span<const Lifetime> buffers, Bytes alignment);

/// Independent check of a packing: alignment, no overlap of buffers alive together, height and
/// bound as stated.
Status validatePacking(std::span<const Lifetime> buffers, Bytes alignment, const Packing &packing);

} // namespace evo::memory
