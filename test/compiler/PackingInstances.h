//===- PackingInstances.h - buffers whose best packing is known -*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#pragma once

#include "compiler/memory/Packer.h"

#include <algorithm>
#include <random>
#include <utility>
#include <vector>

namespace evo::memory {

/// A rectangle of `height` bytes and `times` time steps cut into `count` buffers or a few more, so
/// that they fill it without a gap. A cut goes through the whole of a piece, or four cuts wind
/// around a fifth piece, which no cut through the whole can make. The order says nothing about the
/// places.
inline std::vector<Lifetime> perfectPacking(std::mt19937_64 &random, size_t count, Bytes height,
                                            TimeStep times) {
  struct Piece {
    TimeStep lower, upper;
    Bytes bottom, top;
  };
  auto between = [&](int64_t least, int64_t most) {
    return least + static_cast<int64_t>(random() % static_cast<uint64_t>(most - least + 1));
  };
  std::vector<Piece> pieces = {{0, times, 0, height}};
  for (int tries = 0; pieces.size() < count && tries < 100000; ++tries) {
    const size_t at = random() % pieces.size();
    const Piece p = pieces[at];
    const TimeStep width = p.upper - p.lower;
    const Bytes rise = p.top - p.bottom;
    // Large pieces are cut first, more or less.
    if (static_cast<double>(width) * static_cast<double>(rise) <
        0.5 * static_cast<double>(times) * static_cast<double>(height) /
            static_cast<double>(pieces.size()))
      continue;
    const uint64_t kind = random() % 5;
    if (kind == 0 && width >= 3 && rise >= 3) {
      const TimeStep x1 = between(p.lower + 1, p.upper - 2), x2 = between(x1 + 1, p.upper - 1);
      const Bytes y1 = between(p.bottom + 1, p.top - 2), y2 = between(y1 + 1, p.top - 1);
      pieces[at] = {p.lower, x2, p.bottom, y1};
      pieces.push_back({x2, p.upper, p.bottom, y2});
      pieces.push_back({x1, p.upper, y2, p.top});
      pieces.push_back({p.lower, x1, y1, p.top});
      pieces.push_back({x1, x2, y1, y2});
    } else if (kind <= 2 && width >= 2) {
      const TimeStep x = between(p.lower + 1, p.upper - 1);
      pieces[at].upper = x;
      pieces.push_back({x, p.upper, p.bottom, p.top});
    } else if (kind >= 3 && rise >= 2) {
      const Bytes y = between(p.bottom + 1, p.top - 1);
      pieces[at].top = y;
      pieces.push_back({p.lower, p.upper, y, p.top});
    }
  }
  for (size_t i = pieces.size(); i > 1; --i)
    std::swap(pieces[i - 1], pieces[random() % i]);
  std::vector<Lifetime> buffers;
  for (const Piece &piece : pieces)
    buffers.push_back({piece.lower, piece.upper, piece.top - piece.bottom});
  return buffers;
}

} // namespace evo::memory
