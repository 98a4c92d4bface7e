//===- OuterTile.h - a tile of an outer product -----------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// Tiles over (i, j, c, d): sum_s a[s,i,c] b[s,j,d] is one matrix product with rows (i,c) and
// columns (j,d), whose result is laid out anew as rows (i,j) and columns (c,d).
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/cpu/kernels/Rows.h"

namespace evo::cpu::EVO_CPU_ISA {

/// A half-open box [first, first + count).
struct Range {
  int64_t first, count;
};

/// Extents of a tile, by shape alone; whatever the channels, a tile fits the scratch.
struct OuterTiling {
  int64_t i, j, c, d;
  OuterTiling(int64_t allI, int64_t allJ, int64_t allC, int64_t allD, int64_t elementBytes) {
    constexpr int64_t kRows = 256, kTileBytes = int64_t{512} << 10, kSide = 16;
    int64_t cols = kTileBytes / elementBytes / kRows;
    c = smaller(allC, kRows);
    d = smaller(allD, cols);
    i = smaller(allI, larger<int64_t>(1, smaller(kSide, kRows / c)));
    j = smaller(allJ, larger<int64_t>(1, smaller(kSide, cols / d)));
  }
};

/// Rows of s that are packed at a time.
inline constexpr int64_t kOuterDepth = 64;

template <class T> struct OuterScratch {
  T *a, *b, *product, *tile;
  OuterScratch(ScratchSpace &scratch, const OuterTiling &tiling)
      : a(scratch.take<T>(kOuterDepth * tiling.i * tiling.c)),
        b(scratch.take<T>(kOuterDepth * tiling.j * tiling.d)),
        product(scratch.take<T>(tiling.i * tiling.c * tiling.j * tiling.d)),
        tile(scratch.take<T>(tiling.i * tiling.c * tiling.j * tiling.d)) {}
};

/// packed[s, (i,c)] = source[s,i,c] for a box of it.
template <class S, class T>
void packOuter(T *packed, const Operand &source, Range s, Range i, Range c) {
  const S *data = elements<S>(source);
  const int64_t *stride = source.strides;
  for (int64_t row = 0; row < s.count; ++row)
    copyMatrix(Matrix<T>{packed + row * i.count * c.count, c.count, 1},
               Matrix<const S>{data + (s.first + row) * stride[0] + i.first * stride[1] +
                                   c.first * stride[2],
                               stride[1], stride[2]},
               i.count, c.count);
}

/// scratch.tile[(i,j), (c,d)] = factor sum_s a[s,i,c] b[s,j,d]
template <class S, class T>
void outerTile(T factor, const Operand &a, const Operand &b, Range i, Range j, Range c, Range d,
               const OuterScratch<T> &scratch, const Workspace &workspace) {
  int64_t rows = i.count * c.count, cols = j.count * d.count, depth = a.shape[0];
  for (int64_t s = 0; s < larger<int64_t>(depth, 1); s += kOuterDepth) {
    Range block{s, smaller(kOuterDepth, depth - s)};
    packOuter<S>(scratch.a, a, block, i, c);
    packOuter<S>(scratch.b, b, block, j, d);
    gemm(rows, cols, block.count, factor, Matrix<const T>{scratch.a, 1, rows},
         Matrix<const T>{scratch.b, cols, 1}, s ? T(1) : T(0), Matrix<T>{scratch.product, cols, 1},
         workspace);
  }
  for (int64_t ii = 0; ii < i.count; ++ii)
    for (int64_t jj = 0; jj < j.count; ++jj)
      copyMatrix(Matrix<T>{scratch.tile + (ii * j.count + jj) * c.count * d.count, d.count, 1},
                 Matrix<const T>{scratch.product + ii * c.count * cols + jj * d.count, cols, 1},
                 c.count, d.count);
}

} // namespace evo::cpu::EVO_CPU_ISA
