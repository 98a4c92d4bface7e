//===- ProductSplit.h - products in pieces that the library takes -*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// The library's kernels count elements of a matrix in 32 bits. A product of larger matrices is cut
// into products of pieces: along m, n and the batches into parts of y, along k into sums that
// follow each other, each of which adds to what those before have stored. Plain C++ without CUDA's
// headers, so that it is tested where there is no device.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/cuda/Axes.h"

namespace evo::cuda {

inline constexpr int64_t kMostElements = INT32_MAX, kMostBatches = 32768;

/// Some neighbours of an axis.
struct Stretch {
  int64_t first = 0, count = 0;
};

/// Cuts an axis into stretches of at most `most` (at least 1), of much the same length; of
/// multiples of eight where they can be, so that all begin as aligned as the first.
class Stretches {
public:
  constexpr Stretches(int64_t extent, int64_t most) : extent(extent), step(larger(1, extent)) {
    if (extent <= most)
      return;
    step = ceilDiv(extent, ceilDiv(extent, most));
    if (most >= 8)
      step = smaller(ceilDiv(step, 8) * 8, most / 8 * 8);
  }
  constexpr int64_t count() const { return larger(1, ceilDiv(extent, step)); }
  constexpr Stretch at(int64_t index) const {
    return {index * step, smaller(step, extent - index * step)};
  }

private:
  int64_t extent, step;
};

/// One axis of a product, with the strides of all operands.
struct ProductAxis {
  static constexpr int kOperands = 4; ///< a, b, y, addend
  int64_t extent = 1;
  int64_t stride[kOperands] = {};
};

/// A piece of a product of one axis each, and where its part of each operand begins, in elements.
struct ProductPiece {
  Stretch m, n, k, batch;
  int64_t offset[ProductAxis::kOperands] = {};
  bool adds = false; ///< to what the pieces before have stored
};

/// All pieces; those of the same y follow each other along k.
class ProductPieces {
public:
  constexpr ProductPieces(const ProductAxis &m, const ProductAxis &n, const ProductAxis &k,
                          const ProductAxis &batch, int64_t mostElements = kMostElements,
                          int64_t mostBatches = kMostBatches)
      : axis{m, n, batch, k}, cut{Stretches(m.extent, mostOf(m, mostElements)),
                                  Stretches(n.extent, mostOf(n, mostElements)),
                                  Stretches(batch.extent, mostBatches),
                                  Stretches(k.extent, mostOf(k, mostElements))} {}

  constexpr int64_t count() const {
    return cut[0].count() * cut[1].count() * cut[2].count() * sums();
  }
  /// Pieces that add to the same y.
  constexpr int64_t sums() const { return cut[3].count(); }
  constexpr ProductPiece at(int64_t index) const {
    Stretch stretch[4];
    ProductPiece piece;
    for (int a = 3; a >= 0; --a) {
      int64_t rest = index / cut[a].count();
      stretch[a] = cut[a].at(index - rest * cut[a].count());
      index = rest;
      for (int o = 0; o < ProductAxis::kOperands; ++o)
        piece.offset[o] += stretch[a].first * axis[a].stride[o];
    }
    piece.m = stretch[0], piece.n = stretch[1], piece.batch = stretch[2], piece.k = stretch[3];
    piece.adds = piece.k.first > 0;
    return piece;
  }

private:
  /// How many indices the operands' matrices may have along an axis.
  static constexpr int64_t mostOf(const ProductAxis &axis, int64_t mostElements) {
    int64_t widest = 1;
    for (int64_t stride : axis.stride)
      widest = larger(widest, stride);
    return larger(1, mostElements / widest);
  }

  // Of m, n, the batches, k.
  ProductAxis axis[4];
  Stretches cut[4];
};

} // namespace evo::cuda
