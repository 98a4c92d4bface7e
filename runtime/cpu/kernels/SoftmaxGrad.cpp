//===- SoftmaxGrad.cpp ----------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// dx[*,k] = y[*,k] * (dy[*,k] - sum_k y[*,k] dy[*,k]); dx may be dy.
//===----------------------------------------------------------------------===//
#include "runtime/cpu/kernels/Rows.h"

namespace evo::cpu::EVO_CPU_ISA {

namespace {

template <class S>
[[gnu::always_inline]] inline void gradLine(const S *y, int64_t ys, const S *dy, int64_t dys, S *dx,
                                            int64_t dxs, int64_t n) {
  Compute<S> sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < n; ++i)
    sum += widen(y[i * ys]) * widen(dy[i * dys]);
#pragma omp simd
  for (int64_t i = 0; i < n; ++i)
    dx[i * dxs] = rounded<S>(widen(y[i * ys]) * (widen(dy[i * dys]) - sum));
}

} // namespace

template <class S> void launchSoftmaxGrad(const Launch &launch) {
  const Operand &y = launch.operands[0], &dy = launch.operands[1], &dx = launch.operands[2];
  int leading = y.rank - 1;
  int64_t n = y.shape[leading];
  int64_t yStride = y.strides[leading], dyStride = dy.strides[leading];
  int64_t dxStride = dx.strides[leading];
  if (n == 0)
    return;
  RowSpace space(y, leading);
  int ys = space.add(y), dys = space.add(dy), dxs = space.add(dx);
  space.merge();
  bool dense = yStride == 1 && dyStride == 1 && dxStride == 1;
  forEachTile(launch, space, 1, larger<int64_t>(1, smaller<int64_t>(64, 16384 / n)), 1,
              [&](const Tile &tile, const Workspace &) {
                Matrix<S> weights = space.matrix<S>(y, ys, tile.outer, yStride);
                Matrix<S> in = space.matrix<S>(dy, dys, tile.outer, dyStride);
                Matrix<S> out = space.matrix<S>(dx, dxs, tile.outer, dxStride);
                for (int64_t i = tile.row; i < tile.row + tile.rows; ++i) {
                  if (dense)
                    gradLine<S>(weights.at(i, 0), 1, in.at(i, 0), 1, out.at(i, 0), 1, n);
                  else
                    gradLine<S>(weights.at(i, 0), yStride, in.at(i, 0), dyStride, out.at(i, 0),
                                dxStride, n);
                }
              });
}

EVO_CPU_INSTANTIATE(SoftmaxGrad)

} // namespace evo::cpu::EVO_CPU_ISA
