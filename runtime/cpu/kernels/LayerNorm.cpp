//===- LayerNorm.cpp ------------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// y[*,c] = (factor x[*,c] - mean) * rstd * weight[c] + bias[c], rstd = 1 / sqrt(var + eps), mean
// and variance those of factor x, the variance biased and taken about the mean in a second pass.
// mean and rstd are stored where they are asked for. x is normalised as it lies, with eps /
// factor^2.
//
// Rows that lie apart (x or y transposed) are gathered into scratch a few at a time; rows longer
// than the scratch are read where they lie.
//===----------------------------------------------------------------------===//
#include "runtime/cpu/kernels/Rows.h"

#include <math.h>

namespace evo::cpu::EVO_CPU_ISA {

namespace {

template <class S> struct Norm {
  using T = Compute<S>;
  const S *weight, *bias;
  int64_t weightStride, biasStride, channels;
  double eps, factor;   ///< eps is that of x as it lies
  Matrix<T> mean, rstd; // [rows] as one column
};

template <class X> Compute<X> sumOf(const X *x, int64_t stride, int64_t n) {
  Compute<X> sum = 0;
  if (stride == 1) {
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; ++i)
      sum += widen(x[i]);
  } else {
    for (int64_t i = 0; i < n; ++i)
      sum += widen(x[i * stride]);
  }
  return sum;
}

template <class X> Compute<X> squaresAbout(Compute<X> mean, const X *x, int64_t stride, int64_t n) {
  Compute<X> sum = 0;
  if (stride == 1) {
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; ++i)
      sum += (widen(x[i]) - mean) * (widen(x[i]) - mean);
  } else {
    for (int64_t i = 0; i < n; ++i)
      sum += (widen(x[i * stride]) - mean) * (widen(x[i * stride]) - mean);
  }
  return sum;
}

/// x may be y. X is S, or Compute<S> for a row in scratch.
template <class S, class X>
void normRow(const Norm<S> &norm, const X *x, int64_t xStride, X *y, int64_t yStride, int64_t row) {
  using T = Compute<S>;
  int64_t n = norm.channels;
  T mean = sumOf(x, xStride, n) / T(n);
  T variance = squaresAbout(mean, x, xStride, n) / T(n);
  T rstd = T(1) / T(sqrt(variance + T(norm.eps)));
  auto normed = [&](int64_t i, int64_t xs, int64_t ws, int64_t bs) __attribute__((always_inline)) {
    return rounded<X>((widen(x[i * xs]) - mean) * rstd * widen(norm.weight[i * ws]) +
                      widen(norm.bias[i * bs]));
  };
  if (xStride == 1 && yStride == 1 && norm.weightStride == 1 && norm.biasStride == 1) {
#pragma omp simd
    for (int64_t i = 0; i < n; ++i)
      y[i] = normed(i, 1, 1, 1);
  } else {
    for (int64_t i = 0; i < n; ++i)
      y[i * yStride] = normed(i, xStride, norm.weightStride, norm.biasStride);
  }
  if (norm.mean)
    *norm.mean.at(row, 0) = mean * T(norm.factor);
  if (norm.rstd)
    *norm.rstd.at(row, 0) = rstd / T(norm.factor);
}

template <class S>
void normTile(const Norm<S> &norm, Matrix<S> x, Matrix<S> y, const Tile &tile, bool gathers,
              const Workspace &workspace) {
  if (!gathers) {
    for (int64_t i = tile.row; i < tile.row + tile.rows; ++i)
      normRow(norm, x.at(i, 0), x.colStride, y.at(i, 0), y.colStride, i);
    return;
  }
  auto *space = ScratchSpace(workspace).take<Compute<S>>(tile.rows * norm.channels);
  Matrix<Compute<S>> packed{space, norm.channels, 1};
  copyMatrix(packed, x.block(tile.row, 0).asConst(), tile.rows, norm.channels);
  for (int64_t i = 0; i < tile.rows; ++i)
    normRow(norm, packed.at(i, 0), 1, packed.at(i, 0), 1, tile.row + i);
  copyMatrix(y.block(tile.row, 0), packed.asConst(), tile.rows, norm.channels);
}

} // namespace

template <class S> void launchLayerNorm(const Launch &launch) {
  using T = Compute<S>;
  const Operand &x = launch.operands[0], &weight = launch.operands[1], &bias = launch.operands[2];
  const Operand &y = launch.operands[3], &mean = launch.operands[4], &rstd = launch.operands[5];
  double factor = launch.attributes->factor;
  int leading = x.rank - 1;
  int64_t channels = x.shape[leading];
  if (channels == 0)
    return;
  RowSpace space(x, leading);
  int xs = space.add(x), ys = space.add(y), means = space.add(mean), rstds = space.add(rstd);
  space.merge();
  int64_t xStride = channels == 1 ? 1 : x.strides[leading];
  int64_t yStride = channels == 1 ? 1 : y.strides[leading];
  constexpr int64_t kElements = kKernelScratchBytes / int64_t(sizeof(T)) - 64;
  bool gathers = (kRounds<S> || xStride != 1 || yStride != 1) && channels <= kElements;
  int64_t tileRows = gathers ? smaller<int64_t>(64, kElements / channels) : 64;
  forEachTile(launch, space, 1, tileRows, 1, [&](const Tile &tile, const Workspace &workspace) {
    Norm<S> norm{elements<S>(weight),
                 elements<S>(bias),
                 weight.strides[0],
                 bias.strides[0],
                 channels,
                 launch.attributes->eps / (factor * factor),
                 factor,
                 space.matrix<T>(mean, means, tile.outer, 0),
                 space.matrix<T>(rstd, rstds, tile.outer, 0)};
    normTile(norm, space.matrix<S>(x, xs, tile.outer, xStride),
             space.matrix<S>(y, ys, tile.outer, yStride), tile, gathers, workspace);
  });
}

EVO_CPU_INSTANTIATE(LayerNorm)

} // namespace evo::cpu::EVO_CPU_ISA
