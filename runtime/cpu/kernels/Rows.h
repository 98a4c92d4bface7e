//===- Rows.h - leading axes as rows ----------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// The leading axes `*` that the operands of a kernel share, brought to one axis of rows and an
// outer index: neighbouring axes that every operand steps through evenly are merged, and the
// longest axis that is left becomes the rows. Tiles are numbered outer index first, then rows, then
// columns.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/cpu/kernels/Matrix.h"

namespace evo::cpu::EVO_CPU_ISA {

template <class T> T *elements(const Operand &operand) {
  return reinterpret_cast<T *>(operand.data);
}

/// Whether an operand that may be of either type has the statistics' and not that of S.
template <class S> bool isStatistic(const Operand &operand) {
  return kRounds<S> && operand.type == plan::DType::F32;
}

/// Calls body(i, workspace) for i in [0, count) on the pool.
template <class Body> void forEachTask(const Launch &launch, int64_t count, const Body &body) {
  launch.pool->run(
      count,
      [](const void *context, int64_t i, const Workspace &workspace) {
        (*static_cast<const Body *>(context))(i, workspace);
      },
      &body);
}

/// An operand of the axes `~` as one of `*`: its leading axes of extent 1 serve all indices.
inline Operand broadcast(Operand operand, int leading) {
  for (int d = 0; d < leading; ++d)
    if (operand.shape[d] == 1)
      operand.strides[d] = 0;
  return operand;
}

class RowSpace {
public:
  /// The first `leadingRank` axes of `first` and of every operand that is added.
  RowSpace(const Operand &first, int leadingRank) : rank(leadingRank) {
    for (int d = 0; d < rank; ++d)
      extent[d] = first.shape[d];
  }

  /// Returns the operand's number for `matrix`; absent operands have strides of 0.
  int add(const Operand &operand) {
    for (int d = 0; d < rank; ++d)
      stride[operands][d] = operand ? operand.strides[d] : 0;
    return operands++;
  }

  /// To be called once, after the last `add`. The rows run along the axis that operand `unitRowsOf`
  /// has with a stride of 1, where it is given and has one.
  void merge(int unitRowsOf = -1) {
    int kept = 0;
    for (int d = 0; d < rank; ++d) {
      if (extent[d] == 1)
        continue;
      if (kept > 0 && mergeable(kept - 1, d)) {
        moveAxis(d, kept - 1, extent[kept - 1] * extent[d]);
        continue;
      }
      moveAxis(d, kept, extent[d]);
      ++kept;
    }
    rank = kept;
    for (int d = 0; d < rank; ++d)
      if (rowAxis < 0 || extent[d] >= extent[rowAxis])
        rowAxis = d;
    for (int d = 0; unitRowsOf >= 0 && d < rank; ++d)
      if (stride[unitRowsOf][d] == 1)
        rowAxis = d;
    for (int d = 0; d < rank; ++d)
      if (d != rowAxis)
        outerCount *= extent[d];
  }

  int64_t rows() const { return rowAxis < 0 ? 1 : extent[rowAxis]; }
  int64_t outer() const { return outerCount; }
  int64_t rowStride(int number) const { return rowAxis < 0 ? 0 : stride[number][rowAxis]; }

  /// Operand `number` at `outerIndex`: one row a row of the row axis, columns by `colStride`.
  template <class T>
  Matrix<T> matrix(const Operand &operand, int number, int64_t outerIndex,
                   int64_t colStride) const {
    if (!operand)
      return {};
    int64_t offset = 0;
    for (int d = rank - 1; d >= 0; --d)
      if (d != rowAxis) {
        offset += outerIndex % extent[d] * stride[number][d];
        outerIndex /= extent[d];
      }
    return {elements<T>(operand) + offset, rowAxis < 0 ? 0 : stride[number][rowAxis], colStride};
  }

  /// The same for an operand that may be a statistic.
  template <class S>
  EitherMatrix<S> either(const Operand &operand, int number, int64_t outerIndex,
                         int64_t colStride) const {
    if (isStatistic<S>(operand))
      return {{}, matrix<Compute<S>>(operand, number, outerIndex, colStride)};
    return {matrix<S>(operand, number, outerIndex, colStride), {}};
  }

private:
  static constexpr int kMaxOperands = 10;
  bool mergeable(int outerAxis, int d) const {
    for (int o = 0; o < operands; ++o)
      if (stride[o][outerAxis] != stride[o][d] * extent[d])
        return false;
    return true;
  }
  void moveAxis(int from, int to, int64_t newExtent) {
    extent[to] = newExtent;
    for (int o = 0; o < operands; ++o)
      stride[o][to] = stride[o][from];
  }

  int rank, rowAxis = -1, operands = 0;
  int64_t outerCount = 1;
  int64_t extent[plan::kMaxRank] = {};
  int64_t stride[kMaxOperands][plan::kMaxRank] = {};
};

/// One tile of rows and columns, as half-open intervals.
struct Tile {
  int64_t outer, row, rows, col, cols;
};

/// Rows and columns cut into tiles of at most `tileRows` x `tileCols`.
class TileGrid {
public:
  TileGrid(const RowSpace &space, int64_t cols, int64_t tileRows, int64_t tileCols)
      : rows(space.rows()), cols(cols), tileRows(tileRows), tileCols(tileCols),
        rowTiles(ceilDiv(rows, tileRows)), colTiles(ceilDiv(cols, tileCols)),
        total(space.outer() * rowTiles * colTiles) {}
  int64_t count() const { return total; }
  Tile at(int64_t i) const {
    int64_t col = i % colTiles * tileCols, row = i / colTiles % rowTiles * tileRows;
    return {i / colTiles / rowTiles, row, smaller(tileRows, rows - row), col,
            smaller(tileCols, cols - col)};
  }

private:
  int64_t rows, cols, tileRows, tileCols, rowTiles, colTiles, total;
};

/// Calls body(tile, workspace) for every tile of at most `tileRows` x `tileCols`.
template <class Body>
void forEachTile(const Launch &launch, const RowSpace &space, int64_t cols, int64_t tileRows,
                 int64_t tileCols, const Body &body) {
  TileGrid grid(space, cols, tileRows, tileCols);
  forEachTask(launch, grid.count(),
              [&](int64_t i, const Workspace &workspace) { body(grid.at(i), workspace); });
}

} // namespace evo::cpu::EVO_CPU_ISA
