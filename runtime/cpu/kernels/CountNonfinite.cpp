//===- CountNonfinite.cpp -------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// The tiles' counts are integers: their sum does not depend on who comes first.
//===----------------------------------------------------------------------===//
#include "runtime/cpu/kernels/Optimizer.h"

namespace evo::cpu::EVO_CPU_ISA {

template <class S> void launchCountNonfinite(const Launch &launch) {
  using T = Compute<S>;
  Operand operands[] = {launch.operands[0]};
  const Operand &x = operands[0];
  int64_t total = 0;
  if (!isEmpty(x)) {
    sortAxes(operands, 0);
    int leading = x.rank > 0 ? x.rank - 1 : 0;
    RowSpace space(x, leading);
    int number = space.add(x);
    space.merge();
    int64_t cols = x.rank ? x.shape[leading] : 1, stride = x.rank ? x.strides[leading] : 0;
    forEachTile(launch, space, cols, 64, 4096, [&](const Tile &tile, const Workspace &) {
      Matrix<T> matrix = space.matrix<T>(x, number, tile.outer, stride).block(tile.row, tile.col);
      int64_t count = 0;
      for (int64_t row = 0; row < tile.rows; ++row) {
        const T *line = matrix.at(row, 0);
#pragma omp simd reduction(+ : count)
        for (int64_t i = 0; i < tile.cols; ++i) {
          T value = line[i * stride];
          count += value - value == T(0) ? 0 : 1;
        }
      }
      __atomic_fetch_add(&total, count, __ATOMIC_RELAXED);
    });
  }
  Scalars<T> scalars(launch.operands[1]);
  scalars.nonfinite += T(total);
  scalars.store(launch.operands[2]);
}

EVO_CPU_INSTANTIATE(CountNonfinite)

} // namespace evo::cpu::EVO_CPU_ISA
