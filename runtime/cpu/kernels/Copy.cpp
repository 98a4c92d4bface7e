//===- Copy.cpp -----------------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// y[*] = x[*].
//
// y's axes are ordered as they lie in memory, so that it is written in order; where x runs along
// another axis than y does, these two axes are copied as a transposition in bands.
//===----------------------------------------------------------------------===//
#include "runtime/cpu/kernels/Axes.h"

namespace evo::cpu::EVO_CPU_ISA {

template <class T> void launchCopy(const Launch &launch) {
  Operand operands[] = {launch.operands[0], launch.operands[1]};
  const Operand &x = operands[0], &y = operands[1];
  if (isEmpty(y))
    return;
  sortAxes(operands, 1);
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

EVO_CPU_INSTANTIATE(Copy)

} // namespace evo::cpu::EVO_CPU_ISA
