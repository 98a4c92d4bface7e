//===- Reduction.h - what the exact search has to look at -------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// From buffers and a height to a smaller problem with the same answer, and back. Each step is
// without loss:
//   - sizes are counted in their greatest common divisor: a packing pushed down lies on its
//   multiples;
//   - time becomes the row of the largest sets alive together: two buffers meet in one of them or
//     never, so a moment whose buffers are all alive in another moment says nothing new;
//   - buffers alive throughout are stacked at the bottom, as one: whatever lies below one of them
//   may
//     change places with it. Other buffers of one lifetime are not merged, since something may have
//     to lie between them;
//   - buffers that find room however the others lie are left out, and placed in the end.
//===----------------------------------------------------------------------===//
#pragma once

#include "compiler/memory/FitSearch.h"
#include "compiler/memory/Packer.h"

namespace evo::memory {

class Reduction {
public:
  /// Buffers with sizes that are not 0, and a height that holds the largest load.
  Reduction(std::span<const Lifetime> buffers, Bytes height);

  const FitProblem &problem() const { return fit; }
  /// The height that the problem has to fit into.
  int64_t capacity() const { return units; }
  /// Offsets of all buffers, from those of the problem's items.
  std::vector<Bytes> expand(std::span<const int64_t> offsets) const;

private:
  void stackThroughout();
  void leaveOutEasy();
  void compressTime();
  Bytes lowestGap(size_t buffer, std::span<const Bytes> offsets,
                  const std::vector<bool> &isPlaced) const;

  std::vector<Lifetime> buffers;
  Bytes unit = 1;
  Bytes ground = 0;  ///< the top of what is alive throughout
  int64_t units = 0; ///< of the height above the ground
  std::vector<size_t> throughout, kept;
  std::vector<size_t> easy; ///< in the order in which they were left out
  FitProblem fit;
};

/// The greatest common divisor of the sizes; 1 where there is none.
Bytes commonUnit(std::span<const Lifetime> buffers);

} // namespace evo::memory
