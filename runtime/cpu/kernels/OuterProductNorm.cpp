//===- OuterProductNorm.cpp -----------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// y[i,j] = 1 / (eps + sum_s mask_i[s,i] mask_j[s,j]).
//===----------------------------------------------------------------------===//
#include "runtime/cpu/kernels/Rows.h"

namespace evo::cpu::EVO_CPU_ISA {

template <class S> void launchOuterProductNorm(const Launch &launch) {
  using T = Compute<S>;
  const Operand &maskI = launch.operands[0], &maskJ = launch.operands[1], &y = launch.operands[2];
  Matrix<const S> a{elements<S>(maskI), maskI.strides[1], maskI.strides[0]}; // [i, s]
  Matrix<const S> b{elements<S>(maskJ), maskJ.strides[0], maskJ.strides[1]}; // [s, j]
  Matrix<T> out{elements<T>(y), y.strides[0], y.strides[1]};
  T eps = T(launch.attributes->eps);
  constexpr int64_t kTile = 128;
  int64_t rows = y.shape[0], cols = y.shape[1], sequences = maskI.shape[0];
  int64_t colTiles = ceilDiv(cols, kTile);
  forEachTask(launch, ceilDiv(rows, kTile) * colTiles,
              [&](int64_t task, const Workspace &workspace) {
                int64_t i = task / colTiles * kTile, j = task % colTiles * kTile;
                int64_t m = smaller(kTile, rows - i), n = smaller(kTile, cols - j);
                T *sums = ScratchSpace(workspace).take<T>(kTile * kTile);
                gemm(m, n, sequences, T(1), a.block(i, 0), b.block(0, j), T(0),
                     Matrix<T>{sums, n, 1}, workspace);
#pragma omp simd
                for (int64_t e = 0; e < m * n; ++e)
                  sums[e] = T(1) / (eps + sums[e]);
                copyMatrix(out.block(i, j), Matrix<const T>{sums, n, 1}, m, n);
              });
}

EVO_CPU_INSTANTIATE(OuterProductNorm)

} // namespace evo::cpu::EVO_CPU_ISA
