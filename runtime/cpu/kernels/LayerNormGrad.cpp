//===- LayerNormGrad.cpp --------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// With xhat = (factor x - mean) * rstd, mean and rstd those of factor x, and e = dy * weight:
// dx = residual + rstd * (e - mean_c(e) - xhat * mean_c(e * xhat));
// dweight[c] = weight_accumulator[c] + sum_* dy * xhat; dbias[c] = bias_accumulator[c] + sum_* dy.
// Each output may be what is added to it. x is normalised as it lies, with eps / factor^2; its rstd
// is then that of factor x, times factor.
//
// One pass over the rows: a task has a chunk of them, of which it stores dx and sums dweight and
// dbias in its slot, in double. Channels beyond a slot are summed in further passes that leave dx
// alone. Rows that lie apart are gathered into scratch a few at a time.
//===----------------------------------------------------------------------===//
#include "runtime/cpu/kernels/Elementwise.h"
#include "runtime/cpu/kernels/Partials.h"

#include <math.h>

namespace evo::cpu::EVO_CPU_ISA {

namespace {

/// A row; strides in elements. X is S, or Compute<S> for one in scratch.
template <class X, class S> struct NormRow {
  const X *x, *dy;
  const S *weight;
  int64_t xStride, dyStride, weightStride, channels;
  bool dense() const { return xStride == 1 && dyStride == 1 && weightStride == 1; }
};

/// Of x as it lies; `slope` is the rstd of factor x.
template <class T> struct RowMoments { T mean, rstd, slope; };

/// sum of f(i) over [0, n)
template <class T, class F> [[gnu::always_inline]] inline T sumOver(int64_t n, const F &f) {
  T sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < n; ++i)
    sum += f(i);
  return sum;
}

template <class X, class S>
RowMoments<Compute<S>> momentsOf(const NormRow<X, S> &row, double eps, double factor) {
  using T = Compute<S>;
  int64_t n = row.channels, stride = row.xStride;
  const X *x = row.x;
  T mean = (stride == 1 ? sumOver<T>(n, [&](int64_t i) { return widen(x[i]); })
                        : sumOver<T>(n, [&](int64_t i) { return widen(x[i * stride]); })) /
           T(n);
  auto square = [mean](X value) { return (widen(value) - mean) * (widen(value) - mean); };
  T variance = (stride == 1 ? sumOver<T>(n, [&](int64_t i) { return square(x[i]); })
                            : sumOver<T>(n, [&](int64_t i) { return square(x[i * stride]); })) /
               T(n);
  T rstd = T(1) / T(sqrt(variance + T(eps / (factor * factor))));
  return {mean, rstd, rstd / T(factor)};
}

/// A line of x's type.
template <class X> struct GradLine {
  X *data = nullptr;
  int64_t stride = 0;
  explicit operator bool() const { return data != nullptr; }
};

/// dx may be dy or the residual, which may be null.
template <class X, class S>
void gradRow(const NormRow<X, S> &row, RowMoments<Compute<S>> moments, GradLine<const X> residual,
             GradLine<X> dx) {
  using T = Compute<S>;
  // OpenMP captures no structured binding.
  auto mean = moments.mean, rstd = moments.rstd, slope = moments.slope;
  int64_t n = row.channels;
  auto pass = [&](int64_t xs, int64_t dys, int64_t ws, int64_t rs, int64_t dxs)
      __attribute__((always_inline)) {
    const X *x = row.x, *dy = row.dy;
    const S *weight = row.weight;
    T sum = 0, product = 0;
#pragma omp simd reduction(+ : sum, product)
    for (int64_t i = 0; i < n; ++i) {
      T e = widen(dy[i * dys]) * widen(weight[i * ws]);
      sum += e;
      product += e * ((widen(x[i * xs]) - mean) * rstd);
    }
    sum /= T(n), product /= T(n);
    auto grad = [&](int64_t i) __attribute__((always_inline)) {
      return slope * (widen(dy[i * dys]) * widen(weight[i * ws]) - sum -
                      (widen(x[i * xs]) - mean) * rstd * product);
    };
    if (residual) {
#pragma omp simd
      for (int64_t i = 0; i < n; ++i)
        dx.data[i * dxs] = rounded<X>(widen(residual.data[i * rs]) + grad(i));
    } else {
#pragma omp simd
      for (int64_t i = 0; i < n; ++i)
        dx.data[i * dxs] = rounded<X>(grad(i));
    }
  };
  if (row.dense() && dx.stride == 1 && (!residual || residual.stride == 1))
    pass(1, 1, 1, 1, 1);
  else
    pass(row.xStride, row.dyStride, row.weightStride, residual.stride, dx.stride);
}

/// Adds a row's channels [first, first + n) to the sums.
template <class X, class S>
void sumRow(const NormRow<X, S> &row, RowMoments<Compute<S>> moments, int64_t first, int64_t n,
            double *__restrict weightSums, double *__restrict biasSums) {
  auto mean = moments.mean, rstd = moments.rstd; // OpenMP captures no structured binding
  const X *x = row.x + first * row.xStride, *dy = row.dy + first * row.dyStride;
  auto pass = [&](int64_t xs, int64_t dys) __attribute__((always_inline)) {
#pragma omp simd
    for (int64_t i = 0; i < n; ++i) {
      double slope = double(widen(dy[i * dys]));
      weightSums[i] += slope * double((widen(x[i * xs]) - mean) * rstd);
      biasSums[i] += slope;
    }
  };
  row.dense() ? pass(1, 1) : pass(row.xStride, row.dyStride);
}

/// The rows of one tile.
template <class X, class S> struct NormTile {
  Matrix<const X> x, dy, residual;
  Matrix<X> dx; ///< null in the passes that leave it alone
  const S *weight;
  int64_t weightStride, channels, rows;
  double eps, factor;
};

/// Stores dx and adds channels [first, first + n) to the slot, dweight's sums first.
template <class X, class S>
void gradRows(const NormTile<X, S> &tile, int64_t first, int64_t n, double *slot) {
  for (int64_t i = 0; i < tile.rows; ++i) {
    NormRow<X, S> row{tile.x.at(i, 0),   tile.dy.at(i, 0),  tile.weight,  tile.x.colStride,
                      tile.dy.colStride, tile.weightStride, tile.channels};
    RowMoments<Compute<S>> moments = momentsOf(row, tile.eps, tile.factor);
    sumRow(row, moments, first, n, slot, slot + n);
    if (!tile.dx)
      continue;
    GradLine<const X> residual{};
    if (tile.residual)
      residual = {tile.residual.at(i, 0), tile.residual.colStride};
    gradRow(row, moments, residual, GradLine<X>{tile.dx.at(i, 0), tile.dx.colStride});
  }
}

/// The same with rows gathered in scratch, where dx takes the place of dy and the residual that of
/// x.
template <class S>
void gradGathered(const NormTile<S, S> &tile, int64_t first, int64_t n, double *slot,
                  const Workspace &workspace) {
  using T = Compute<S>;
  ScratchSpace scratch(workspace);
  int64_t rows = tile.rows, channels = tile.channels;
  Matrix<T> x{scratch.take<T>(rows * channels), channels, 1};
  Matrix<T> dy{scratch.take<T>(rows * channels), channels, 1};
  copyMatrix(x, tile.x, rows, channels);
  copyMatrix(dy, tile.dy, rows, channels);
  NormTile<T, S> dense{x.asConst(),
                       dy.asConst(),
                       {},
                       tile.dx ? dy : Matrix<T>{},
                       tile.weight,
                       tile.weightStride,
                       tile.channels,
                       rows,
                       tile.eps,
                       tile.factor};
  gradRows(dense, first, n, slot);
  if (tile.dx && tile.residual) {
    copyMatrix(x, tile.residual, rows, channels);
    addLine(dy.data, x.data, 1, rows * channels);
  }
  if (tile.dx)
    copyMatrix(tile.dx, dy.asConst(), rows, channels);
}

} // namespace

template <class S> void launchLayerNormGrad(const Launch &launch) {
  using T = Compute<S>;
  const Operand &x = launch.operands[0], &weight = launch.operands[1], &dy = launch.operands[2];
  const Operand &residual = launch.operands[3], &dx = launch.operands[6];
  const Operand &dweight = launch.operands[7], &dbias = launch.operands[8];
  int leading = x.rank - 1;
  int64_t channels = x.shape[leading];
  auto stride = [&](const Operand &operand) {
    return channels == 1 && operand ? 1 : operand.strides[leading];
  };
  RowSpace space(x, leading);
  int xs = space.add(x), dys = space.add(dy), residuals = space.add(residual), dxs = space.add(dx);
  space.merge();
  constexpr int64_t kElements = kTaskScratchBytes / 2 / int64_t(sizeof(T)) - 64, kRows = 64;
  bool gathers = (kRounds<S> || stride(x) != 1 || stride(dy) != 1 || stride(dx) != 1 ||
                  (residual && stride(residual) != 1)) &&
                 channels <= kElements;
  int64_t tileRows = gathers ? smaller(kRows, kElements / larger<int64_t>(channels, 1)) : kRows;
  int64_t panel = Partials<double>::kMostSums / 2, chunks = 64;
  for (int64_t first = 0; first < channels; first += panel) {
    int64_t n = smaller(panel, channels - first);
    TileGrid grid(space, 1, tileRows, 1);
    Partials<double> partials(launch, grid.count(), 2 * n, chunks);
    forEachTask(launch, partials.chunks(), [&](int64_t chunk, const Workspace &workspace) {
      double *slot = partials.slot(chunk);
      for (int64_t i = 0; i < 2 * n; ++i)
        slot[i] = 0;
      for (int64_t i = partials.first(chunk); i < partials.end(chunk); ++i) {
        Tile at = grid.at(i);
        NormTile<S, S> tile{
            space.matrix<S>(x, xs, at.outer, stride(x)).asConst().block(at.row, 0),
            space.matrix<S>(dy, dys, at.outer, stride(dy)).asConst().block(at.row, 0),
            space.matrix<S>(residual, residuals, at.outer, stride(residual))
                .asConst()
                .block(at.row, 0),
            space.matrix<S>(dx, dxs, at.outer, stride(dx)).block(at.row, 0),
            elements<S>(weight),
            weight.strides[0],
            channels,
            at.rows,
            launch.attributes->eps,
            launch.attributes->factor};
        if (first > 0)
          tile.dx = {};
        gathers ? gradGathered(tile, first, n, slot, workspace) : gradRows(tile, first, n, slot);
      }
    });
    auto store = [&](int64_t from, const Operand &accumulator, const Operand &out) {
      storeSums(partials, from,
                accumulator ? elements<T>(accumulator) + first * accumulator.strides[0] : nullptr,
                accumulator.strides[0], elements<T>(out) + first * out.strides[0], out.strides[0],
                n);
    };
    store(0, launch.operands[4], dweight);
    store(n, launch.operands[5], dbias);
  }
}

EVO_CPU_INSTANTIATE(LayerNormGrad)

} // namespace evo::cpu::EVO_CPU_ISA
