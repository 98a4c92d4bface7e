//===- Regions.h - versions of the elements of a buffer ---------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/plan/Kernel.h"

#include <array>
#include <cstdint>
#include <span>
#include <vector>

namespace evo::plan {

/// Index intervals [begin, end), one an axis; none is empty.
struct Box {
  int rank = 0;
  std::array<int64_t, kMaxRank> begin{};
  std::array<int64_t, kMaxRank> end{};

  bool intersects(const Box &other) const;
};

/// What an element has before anything is written to it.
inline constexpr int32_t kUndefined = -1;

/// Counts down while the verifier works, so that no plan keeps it for long.
struct WorkBudget {
  int64_t left = 0;
  bool spend(size_t work) { return (left -= static_cast<int64_t>(work)) >= 0; }
};

/// A partition of a buffer's index space into boxes of one version each.
class Regions {
public:
  Regions() = default;
  Regions(std::span<const int64_t> shape, int32_t version);

  /// The newest version other than `version` that an element of `box` has; `version` where all have
  /// it.
  int32_t otherVersion(const Box &box, int32_t version) const;
  /// The newest version of the elements of `box`.
  int32_t newest(const Box &box) const;
  void write(const Box &box, int32_t version);

  size_t size() const { return pieces.size(); }
  const Box &whole() const { return all; }

private:
  struct Piece {
    Box box;
    int32_t version;
  };
  void join(Piece added);

  Box all;
  std::vector<Piece> pieces;
};

} // namespace evo::plan
