//===- WeightGrad.cpp -----------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// dweight[n,k] = accumulator[n,k] + factor sum_* du[*,n] x[*,k]; dweight may be the accumulator.
//
// A task owns a tile of dweight and a chunk of rows: one product a block of rows, summed in the
// output where there is one chunk, else in the chunk's slot. Small weights get several chunks,
// since they have few tiles.
//===----------------------------------------------------------------------===//
#include "runtime/cpu/kernels/Partials.h"

namespace evo::cpu::EVO_CPU_ISA {

namespace {

constexpr int64_t kRows = 2048, kTileN = 128, kTileK = 128;

/// The chunks of rows that make some 32 tasks of `tiles` tiles.
int64_t chunksFor(int64_t tiles) { return larger<int64_t>(1, 32 / larger<int64_t>(tiles, 1)); }

template <class T>
void addSlots(const Partials<T> &partials, int64_t row, int64_t rows, int64_t k,
              Matrix<const T> accumulator, Matrix<T> out, const Workspace &workspace) {
  T *total = ScratchSpace(workspace).take<T>(k);
  for (int64_t i = row; i < row + rows; ++i) {
    partials.sum(total, i * k, k);
    if (accumulator)
      addLine(total, accumulator.at(i, 0), accumulator.colStride, k);
    storeLine(out.at(i, 0), out.colStride, total, k);
  }
}

} // namespace

template <class S> void launchWeightGrad(const Launch &launch) {
  using T = Compute<S>;
  const Operand &du = launch.operands[0], &x = launch.operands[1], &base = launch.operands[2];
  const Operand &dweight = launch.operands[3];
  int leading = du.rank - 1;
  int64_t n = dweight.shape[0], k = dweight.shape[1];
  RowSpace space(du, leading);
  int dus = space.add(du), xs = space.add(x);
  space.merge();
  Matrix<T> out{elements<T>(dweight), dweight.strides[0], dweight.strides[1]};
  Matrix<const T> accumulator{elements<T>(base), base.strides[0], base.strides[1]};
  int64_t kTiles = ceilDiv(k, kTileK), tiles = ceilDiv(n, kTileN) * kTiles;
  TileGrid grid(space, 1, kRows, 1);
  bool fits = k > 0 && n <= Partials<T>::kMostSums / k;
  Partials<T> partials(launch, grid.count(), fits ? n * k : 0, fits ? chunksFor(tiles) : 1);
  bool direct = partials.chunks() == 1;
  forEachTask(launch, partials.chunks() * tiles, [&](int64_t task, const Workspace &workspace) {
    int64_t chunk = task / tiles, row = task % tiles / kTiles * kTileN;
    int64_t col = task % kTiles * kTileK;
    int64_t rows = smaller(kTileN, n - row), cols = smaller(kTileK, k - col);
    Matrix<T> sums = (direct ? out : Matrix<T>{partials.slot(chunk), k, 1}).block(row, col);
    T beta = 0;
    if (direct && accumulator) {
      beta = 1;
      if (accumulator.data != out.data)
        copyMatrix(sums, accumulator.block(row, col), rows, cols);
    }
    int64_t first = partials.first(chunk), end = partials.end(chunk);
    if (first == end && beta == T(0)) // no rows at all: an empty product stores zeros
      gemm(rows, cols, 0, T(1), Matrix<const S>{}, Matrix<const S>{}, beta, sums, workspace);
    for (int64_t i = first; i < end; ++i, beta = 1) {
      Tile tile = grid.at(i);
      gemm(rows, cols, tile.rows, T(launch.attributes->factor),
           space.matrix<S>(du, dus, tile.outer, du.strides[leading])
               .asConst()
               .block(tile.row, row)
               .transposed(),
           space.matrix<S>(x, xs, tile.outer, x.strides[leading]).asConst().block(tile.row, col),
           beta, sums, workspace);
    }
  });
  constexpr int64_t kRowsOfSum = 8;
  if (!direct)
    forEachTask(launch, ceilDiv(n, kRowsOfSum), [&](int64_t task, const Workspace &workspace) {
      int64_t row = task * kRowsOfSum;
      addSlots(partials, row, smaller(kRowsOfSum, n - row), k, accumulator, out, workspace);
    });
}

EVO_CPU_INSTANTIATE(WeightGrad)

} // namespace evo::cpu::EVO_CPU_ISA
