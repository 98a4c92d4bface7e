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

template <class T>
void softmaxStrided(const T *x, int64_t xStride, T *y, int64_t yStride, int64_t n) {
  T largest = x[0], sum = 0;
  for (int64_t i = 1; i < n; ++i)
    largest = larger(largest, x[i * xStride]);
  for (int64_t i = 0; i < n; ++i) {
    T value = fastExp(x[i * xStride] - largest);
    y[i * yStride] = value;
    sum += value;
  }
  for (int64_t i = 0; i < n; ++i)
    y[i * yStride] /= sum;
}

} // namespace

template <class T> void launchSoftmax(const Launch &launch) {
  const Operand &x = launch.operands[0], &y = launch.operands[1];
  int leading = x.rank - 1;
  int64_t n = x.shape[leading], xStride = x.strides[leading], yStride = y.strides[leading];
  if (n == 0)
    return;
  RowSpace space(x, leading);
  int xs = space.add(x), ys = space.add(y);
  space.merge();
  constexpr int64_t kElements = kKernelScratchBytes / int64_t(sizeof(T)) - 64;
  forEachTile(launch, space, 1, larger<int64_t>(1, smaller<int64_t>(64, 16384 / n)), 1,
              [&](const Tile &tile, const Workspace &workspace) {
                Matrix<T> in = space.matrix<T>(x, xs, tile.outer, xStride);
                Matrix<T> out = space.matrix<T>(y, ys, tile.outer, yStride);
                T *scratch = ScratchSpace(workspace).take<T>(smaller(n, kElements));
                for (int64_t i = tile.row; i < tile.row + tile.rows; ++i) {
                  if (yStride != 1 && n > kElements) {
                    softmaxStrided(in.at(i, 0), xStride, out.at(i, 0), yStride, n);
                    continue;
                  }
                  T *line = yStride == 1 ? out.at(i, 0) : scratch;
                  if (line != in.at(i, 0))
                    loadLine(line, in.at(i, 0), xStride, n);
                  softmaxLine(line, n);
                  if (yStride != 1)
                    storeLine(out.at(i, 0), yStride, line, n);
                }
              });
}

EVO_CPU_INSTANTIATE(Softmax)

} // namespace evo::cpu::EVO_CPU_ISA
