//===- OuterProduct.cpp ---------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// o[i,j,(c,d)] = factor sum_s a[s,i,c] b[s,j,d]; x is c times d.
//===----------------------------------------------------------------------===//
#include "runtime/cpu/kernels/OuterTile.h"

namespace evo::cpu::EVO_CPU_ISA {

namespace {

/// Stores a tile to its place in o.
template <class S>
void storeOuter(const Compute<S> *tile, const Operand &o, int64_t allD, Range i, Range j, Range c,
                Range d) {
  for (int64_t row = 0; row < i.count * j.count; ++row) {
    S *out = elements<S>(o) + (i.first + row / j.count) * o.strides[0] +
             (j.first + row % j.count) * o.strides[1] + (c.first * allD + d.first) * o.strides[2];
    copyMatrix(Matrix<S>{out, allD * o.strides[2], o.strides[2]},
               Matrix<const Compute<S>>{tile + row * c.count * d.count, d.count, 1}, c.count,
               d.count);
  }
}

} // namespace

template <class S> void launchOuterProduct(const Launch &launch) {
  using T = Compute<S>;
  const Operand &a = launch.operands[0], &b = launch.operands[1], &o = launch.operands[2];
  int64_t allI = a.shape[1], allJ = b.shape[1], allC = a.shape[2], allD = b.shape[2];
  if (o.shape[2] == 0)
    return;
  OuterTiling tiling(allI, allJ, allC, allD, sizeof(T));
  int64_t jTiles = ceilDiv(allJ, larger<int64_t>(tiling.j, 1));
  int64_t cTiles = ceilDiv(allC, tiling.c), dTiles = ceilDiv(allD, tiling.d);
  int64_t iTiles = ceilDiv(allI, larger<int64_t>(tiling.i, 1));
  forEachTask(launch, iTiles * jTiles * cTiles * dTiles,
              [&](int64_t task, const Workspace &workspace) {
                auto range = [](int64_t index, int64_t size, int64_t all) {
                  return Range{index * size, smaller(size, all - index * size)};
                };
                Range d = range(task % dTiles, tiling.d, allD);
                Range c = range(task / dTiles % cTiles, tiling.c, allC);
                Range j = range(task / dTiles / cTiles % jTiles, tiling.j, allJ);
                Range i = range(task / dTiles / cTiles / jTiles, tiling.i, allI);
                ScratchSpace space(workspace);
                OuterScratch<T> scratch(space, tiling);
                outerTile<S>(T(launch.attributes->factor), a, b, i, j, c, d, scratch, workspace);
                storeOuter<S>(scratch.tile, o, allD, i, j, c, d);
              });
}

EVO_CPU_INSTANTIATE(OuterProduct)

} // namespace evo::cpu::EVO_CPU_ISA
