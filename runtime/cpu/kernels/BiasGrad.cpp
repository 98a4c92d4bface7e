//===- BiasGrad.cpp -------------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// dbias[n] = accumulator[n] + sum_* du[*,n]; dbias may be the accumulator.
//
// Sums are taken in double, in chunks of rows.
//===----------------------------------------------------------------------===//
#include "runtime/cpu/kernels/Partials.h"

namespace evo::cpu::EVO_CPU_ISA {

namespace {

/// sums[j] += sum_i matrix[i,j]
template <class S>
void addColumns(double *__restrict sums, Matrix<const S> matrix, int64_t rows, int64_t cols) {
  if (matrix.rowStride == 1 && matrix.colStride != 1) {
    for (int64_t j = 0; j < cols; ++j) {
      const S *line = matrix.at(0, j);
      double sum = 0;
#pragma omp simd reduction(+ : sum)
      for (int64_t i = 0; i < rows; ++i)
        sum += double(widen(line[i]));
      sums[j] += sum;
    }
    return;
  }
  for (int64_t i = 0; i < rows; ++i) {
    const S *line = matrix.at(i, 0);
    if (matrix.colStride == 1) {
#pragma omp simd
      for (int64_t j = 0; j < cols; ++j)
        sums[j] += double(widen(line[j]));
    } else {
      for (int64_t j = 0; j < cols; ++j)
        sums[j] += double(widen(line[j * matrix.colStride]));
    }
  }
}

} // namespace

template <class S> void launchBiasGrad(const Launch &launch) {
  using T = Compute<S>;
  const Operand &du = launch.operands[0], &accumulator = launch.operands[1];
  const Operand &dbias = launch.operands[2];
  int leading = du.rank - 1;
  RowSpace space(du, leading);
  int number = space.add(du);
  space.merge(du.strides[leading] == 1 ? -1 : number);
  constexpr int64_t kRows = 256, kChunks = 64;
  int64_t panel = Partials<double>::kMostSums; // of columns
  for (int64_t col = 0; col < dbias.shape[0]; col += panel) {
    int64_t cols = smaller(panel, dbias.shape[0] - col);
    TileGrid grid(space, 1, kRows, 1);
    Partials<double> partials(launch, grid.count(), cols, kChunks);
    forEachTask(launch, partials.chunks(), [&](int64_t chunk, const Workspace &) {
      double *sums = partials.slot(chunk);
      for (int64_t j = 0; j < cols; ++j)
        sums[j] = 0;
      for (int64_t i = partials.first(chunk); i < partials.end(chunk); ++i) {
        Tile tile = grid.at(i);
        addColumns(sums,
                   space.matrix<S>(du, number, tile.outer, du.strides[leading])
                       .asConst()
                       .block(tile.row, col),
                   tile.rows, cols);
      }
    });
    storeSums(partials, 0,
              accumulator ? elements<T>(accumulator) + col * accumulator.strides[0] : nullptr,
              accumulator.strides[0], elements<T>(dbias) + col * dbias.strides[0], dbias.strides[0],
              cols);
  }
}

EVO_CPU_INSTANTIATE(BiasGrad)

} // namespace evo::cpu::EVO_CPU_ISA
