//===- Softmax.cpp --------------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// y[*,k] = exp(x[*,k] - max_k x) / sum_k exp(x[*,k] - max_k x); y may be x.
//
// Rows with a unit stride in y are worked on where they lie; others go through scratch, and those
// that are longer than the scratch are stepped through in place.
//===----------------------------------------------------------------------===//
#include "runtime/cpu/kernels/Rows.h"

namespace evo::cpu::EVO_CPU_ISA {

namespace {

template <class T> void softmaxLine(T *line, int64_t n) {
  T sum = expLine(line, maxLine(line, n), n);
  scaleLine(line, T(1) / sum, n);
}

/// A line that the scratch does not hold; x may be y.
template <class S>
void softmaxStrided(const S *x, int64_t xStride, S *y, int64_t yStride, int64_t n) {
  using T = Compute<S>;
  T largest = widen(x[0]), sum = 0;
  for (int64_t i = 1; i < n; ++i)
    largest = larger(largest, T(widen(x[i * xStride])));
  for (int64_t i = 0; i < n; ++i)
    sum += fastExp(widen(x[i * xStride]) - largest);
  for (int64_t i = 0; i < n; ++i)
    y[i * yStride] = rounded<S>(fastExp(widen(x[i * xStride]) - largest) / sum);
}

/// `scratch` has room for a line.
template <class S>
void softmaxThrough(Compute<S> *scratch, const S *x, int64_t xStride, S *y, int64_t yStride,
                    int64_t n) {
  if constexpr (!kRounds<S>)
    if (yStride == 1) {
      if (x != y)
        loadLine(y, x, xStride, n);
      return softmaxLine(y, n);
    }
  loadLine(scratch, x, xStride, n);
  softmaxLine(scratch, n);
  storeLine(y, yStride, scratch, n);
}

} // namespace

template <class S> void launchSoftmax(const Launch &launch) {
  using T = Compute<S>;
  const Operand &x = launch.operands[0], &y = launch.operands[1];
  int leading = x.rank - 1;
  int64_t n = x.shape[leading], xStride = x.strides[leading], yStride = y.strides[leading];
  if (n == 0)
    return;
  RowSpace space(x, leading);
  int xs = space.add(x), ys = space.add(y);
  space.merge();
  constexpr int64_t kElements = kKernelScratchBytes / int64_t(sizeof(T)) - 64;
  bool fits = n <= kElements || (yStride == 1 && !kRounds<S>);
  forEachTile(launch, space, 1, larger<int64_t>(1, smaller<int64_t>(64, 16384 / n)), 1,
              [&](const Tile &tile, const Workspace &workspace) {
                Matrix<S> in = space.matrix<S>(x, xs, tile.outer, xStride);
                Matrix<S> out = space.matrix<S>(y, ys, tile.outer, yStride);
                T *scratch = ScratchSpace(workspace).take<T>(smaller(n, kElements));
                for (int64_t i = tile.row; i < tile.row + tile.rows; ++i)
                  if (fits)
                    softmaxThrough(scratch, in.at(i, 0), xStride, out.at(i, 0), yStride, n);
                  else
                    softmaxStrided(in.at(i, 0), xStride, out.at(i, 0), yStride, n);
              });
}

EVO_CPU_INSTANTIATE(Softmax)

} // namespace evo::cpu::EVO_CPU_ISA
