//===- BatchMatmulGrad.cpp ------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// dx[b,m,n] = accumulator[b,m,n] + factor sum_k a[b,m,k] b[b,n,k]; dx may be the accumulator.
//===----------------------------------------------------------------------===//
#include "runtime/cpu/kernels/Rows.h"

namespace evo::cpu::EVO_CPU_ISA {

template <class S> void launchBatchMatmulGrad(const Launch &launch) {
  using T = Compute<S>;
  const Operand &a = launch.operands[0], &b = launch.operands[1], &base = launch.operands[2];
  const Operand &dx = launch.operands[3];
  int64_t batches = dx.shape[0], m = dx.shape[1], n = dx.shape[2], k = a.shape[2];
  constexpr int64_t kRows = 256, kCols = 512;
  int64_t rowTiles = ceilDiv(m, kRows), colTiles = ceilDiv(n, kCols);
  forEachTask(launch, batches * rowTiles * colTiles, [&](int64_t task, const Workspace &workspace) {
    int64_t batch = task / colTiles / rowTiles;
    int64_t row = task / colTiles % rowTiles * kRows, col = task % colTiles * kCols;
    int64_t rows = smaller(kRows, m - row), cols = smaller(kCols, n - col);
    Matrix<const S> left{elements<S>(a) + batch * a.strides[0], a.strides[1], a.strides[2]};
    Matrix<const S> right{elements<S>(b) + batch * b.strides[0], b.strides[2],
                          b.strides[1]}; // [k, n]
    Matrix<T> out =
        Matrix<T>{elements<T>(dx) + batch * dx.strides[0], dx.strides[1], dx.strides[2]}.block(row,
                                                                                               col);
    if (base && base.data != dx.data) {
      Matrix<const T> sums{elements<T>(base) + batch * base.strides[0], base.strides[1],
                           base.strides[2]};
      copyMatrix(out, sums.block(row, col), rows, cols);
    }
    gemm(rows, cols, k, T(launch.attributes->factor), left.block(row, 0), right.block(0, col),
         base ? T(1) : T(0), out, workspace);
  });
}

EVO_CPU_INSTANTIATE(BatchMatmulGrad)

} // namespace evo::cpu::EVO_CPU_ISA
