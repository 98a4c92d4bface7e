//===- MaskedMean.cpp -----------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// y[b,u,x] = sum_q mask[b,q] x[b,q,x] / (eps + sum_q mask[b,q]); u is 1; an absent mask is all
// ones.
//
// Sums over q are long (thousands of MSA rows), so they are taken in double.
//===----------------------------------------------------------------------===//
#include "runtime/cpu/kernels/Rows.h"

namespace evo::cpu::EVO_CPU_ISA {

namespace {

/// sums[i] += weight * line[i * stride]
template <class S>
void accumulate(double *__restrict sums, double weight, const S *__restrict line, int64_t stride,
                int64_t n) {
  if (stride == 1) {
#pragma omp simd
    for (int64_t i = 0; i < n; ++i)
      sums[i] += weight * double(widen(line[i]));
  } else {
    for (int64_t i = 0; i < n; ++i)
      sums[i] += weight * double(widen(line[i * stride]));
  }
}

} // namespace

template <class S> void launchMaskedMean(const Launch &launch) {
  const Operand &x = launch.operands[0], &mask = launch.operands[1], &y = launch.operands[2];
  int64_t batches = x.shape[0], queries = x.shape[1], channels = x.shape[2];
  constexpr int64_t kCols = 256;
  int64_t colTiles = ceilDiv(channels, kCols);
  forEachTask(launch, batches * colTiles, [&](int64_t task, const Workspace &workspace) {
    int64_t b = task / colTiles, col = task % colTiles * kCols;
    int64_t cols = smaller(kCols, channels - col);
    double *sums = ScratchSpace(workspace).take<double>(kCols);
    for (int64_t i = 0; i < cols; ++i)
      sums[i] = 0;
    const S *in = elements<S>(x) + b * x.strides[0] + col * x.strides[2];
    const S *weights = mask ? elements<S>(mask) + b * mask.strides[0] : nullptr;
    double total = launch.attributes->eps;
    for (int64_t q = 0; q < queries; ++q) {
      double weight = weights ? double(widen(weights[q * mask.strides[1]])) : 1.0;
      total += weight;
      accumulate(sums, weight, in + q * x.strides[1], x.strides[2], cols);
    }
    S *out = elements<S>(y) + b * y.strides[0] + col * y.strides[2];
    for (int64_t i = 0; i < cols; ++i)
      out[i * y.strides[2]] = rounded<S>(Compute<S>(sums[i] / total));
  });
}

EVO_CPU_INSTANTIATE(MaskedMean)

} // namespace evo::cpu::EVO_CPU_ISA
