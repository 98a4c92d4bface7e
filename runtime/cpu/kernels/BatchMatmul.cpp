//===- BatchMatmul.cpp ----------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// y[b,m,n] = factor sum_k a[b,m,k] b[b,n,k].
//===----------------------------------------------------------------------===//
#include "runtime/cpu/kernels/Rows.h"

namespace evo::cpu::EVO_CPU_ISA {

template <class S> void launchBatchMatmul(const Launch &launch) {
  const Operand &a = launch.operands[0], &b = launch.operands[1], &y = launch.operands[2];
  int64_t batches = y.shape[0], m = y.shape[1], n = y.shape[2], k = a.shape[2];
  constexpr int64_t kRows = 256, kCols = 512;
  int64_t rowTiles = ceilDiv(m, kRows), colTiles = ceilDiv(n, kCols);
  forEachTask(launch, batches * rowTiles * colTiles, [&](int64_t task, const Workspace &workspace) {
    int64_t batch = task / colTiles / rowTiles;
    int64_t row = task / colTiles % rowTiles * kRows, col = task % colTiles * kCols;
    Matrix<const S> left{elements<S>(a) + batch * a.strides[0], a.strides[1], a.strides[2]};
    Matrix<const S> right{elements<S>(b) + batch * b.strides[0], b.strides[2],
                          b.strides[1]}; // [k, n]
    Matrix<S> out{elements<S>(y) + batch * y.strides[0], y.strides[1], y.strides[2]};
    storeProduct(smaller(kRows, m - row), smaller(kCols, n - col), k,
                 Compute<S>(launch.attributes->factor), left.block(row, 0), right.block(0, col),
                 out.block(row, col), workspace);
  });
}

EVO_CPU_INSTANTIATE(BatchMatmul)

} // namespace evo::cpu::EVO_CPU_ISA
