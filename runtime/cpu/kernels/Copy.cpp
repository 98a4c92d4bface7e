//===- Copy.cpp -----------------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// y[*] = x[*].
//
// y's axes are ordered as they lie in memory, so that it is written in order; where x runs along
// another axis than y does, these two axes are copied as a transposition in bands.
//===----------------------------------------------------------------------===//
#include "runtime/cpu/kernels/Rows.h"

namespace evo::cpu::EVO_CPU_ISA {

namespace {

void swapAxes(Operand &operand, int a, int b) {
  int64_t extent = operand.shape[a], stride = operand.strides[a];
  operand.shape[a] = operand.shape[b], operand.strides[a] = operand.strides[b];
  operand.shape[b] = extent, operand.strides[b] = stride;
}

/// Drops axes of extent 1 and brings y's axes to descending strides; x goes along.
void sortAxes(Operand &x, Operand &y) {
  int kept = 0;
  for (int d = 0; d < y.rank; ++d)
    if (y.shape[d] != 1) {
      swapAxes(x, kept, d);
      swapAxes(y, kept, d);
      ++kept;
    }
  x.rank = y.rank = kept;
  for (int i = 1; i < kept; ++i)
    for (int j = i; j > 0 && y.strides[j] > y.strides[j - 1]; --j) {
      swapAxes(x, j, j - 1);
      swapAxes(y, j, j - 1);
    }
}

} // namespace

template <class T> void launchCopy(const Launch &launch) {
  Operand x = launch.operands[0], y = launch.operands[1];
  for (int d = 0; d < y.rank; ++d)
    if (y.shape[d] == 0)
      return;
  sortAxes(x, y);
  int inner = y.rank - 1;
  int64_t cols = y.rank ? y.shape[inner] : 1;
  int64_t xStride = y.rank ? x.strides[inner] : 1, yStride = y.rank ? y.strides[inner] : 1;
  RowSpace space(y, inner < 0 ? 0 : inner);
  int xs = space.add(x), ys = space.add(y);
  space.merge(xStride == 1 ? -1 : xs);
  forEachTile(launch, space, cols, 64, 4096, [&](const Tile &tile, const Workspace &) {
    copyMatrix(space.matrix<T>(y, ys, tile.outer, yStride).block(tile.row, tile.col),
               space.matrix<T>(x, xs, tile.outer, xStride).asConst().block(tile.row, tile.col),
               tile.rows, tile.cols);
  });
}

template void launchCopy<float>(const Launch &);
template void launchCopy<double>(const Launch &);

} // namespace evo::cpu::EVO_CPU_ISA
