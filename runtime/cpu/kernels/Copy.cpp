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

namespace {

template <class X, class Y> void copyElements(const Launch &launch) {
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
    copyMatrix(space.matrix<Y>(y, ys, tile.outer, yStride).block(tile.row, tile.col),
               space.matrix<X>(x, xs, tile.outer, xStride).asConst().block(tile.row, tile.col),
               tile.rows, tile.cols);
  });
}

} // namespace

template <class S> void launchCopy(const Launch &launch) {
  bool from = isStatistic<S>(launch.operands[0]), to = isStatistic<S>(launch.operands[1]);
  if (from && to)
    copyElements<Compute<S>, Compute<S>>(launch);
  else if (from)
    copyElements<Compute<S>, S>(launch);
  else if (to)
    copyElements<S, Compute<S>>(launch);
  else
    copyElements<S, S>(launch);
}

EVO_CPU_INSTANTIATE(Copy)

} // namespace evo::cpu::EVO_CPU_ISA
