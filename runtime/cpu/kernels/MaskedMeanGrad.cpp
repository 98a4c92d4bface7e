//===- MaskedMeanGrad.cpp -------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// dx[b,q,x] = residual[b,q,x] + mask[b,q] dy[b,u,x] / (eps + sum_q mask[b,q]); u is 1; an absent
// mask is all ones; dx may be the residual.
//===----------------------------------------------------------------------===//
#include "runtime/cpu/kernels/Rows.h"

namespace evo::cpu::EVO_CPU_ISA {

template <class S> void launchMaskedMeanGrad(const Launch &launch) {
  using T = Compute<S>;
  const Operand &dy = launch.operands[0], &mask = launch.operands[1];
  const Operand &residual = launch.operands[2], &dx = launch.operands[3];
  int64_t queries = dx.shape[1], channels = dx.shape[2];
  constexpr int64_t kCols = 256;
  int64_t colTiles = ceilDiv(channels, kCols);
  forEachTask(launch, dx.shape[0] * colTiles, [&](int64_t task, const Workspace &workspace) {
    int64_t b = task / colTiles, col = task % colTiles * kCols;
    int64_t cols = smaller(kCols, channels - col);
    auto lineOf = [&](const Operand &operand, int64_t q) {
      return elements<S>(operand) + b * operand.strides[0] + q * operand.strides[1] +
             col * operand.strides[2];
    };
    auto weightOf = [&](int64_t q) {
      return mask ? double(widen(elements<S>(mask)[b * mask.strides[0] + q * mask.strides[1]]))
                  : 1.0;
    };
    double total = launch.attributes->eps;
    for (int64_t q = 0; q < queries; ++q)
      total += weightOf(q);
    ScratchSpace scratch(workspace);
    T *slope = scratch.take<T>(kCols), *values = scratch.take<T>(kCols);
    loadLine(slope, lineOf(dy, 0), dy.strides[2], cols);
    for (int64_t q = 0; q < queries; ++q) {
      T factor = T(weightOf(q) / total);
      loadLine(values, lineOf(residual, q), residual.strides[2], cols);
      zipLine(values, slope, 1, cols, [factor](T a, T b) { return a + factor * b; });
      storeLine(lineOf(dx, q), dx.strides[2], values, cols);
    }
  });
}

EVO_CPU_INSTANTIATE(MaskedMeanGrad)

} // namespace evo::cpu::EVO_CPU_ISA
