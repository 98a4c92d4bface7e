//===- Places.h - where blocks and threads work -----------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// Which rows and columns of tensors of any size a block's number means. Plain C++ for host and
// device, without CUDA's headers, so that it is tested where there is no device.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/cuda/Axes.h"

namespace evo::cuda {

struct Place {
  int64_t row, col;
};

/// The first of a thread's `neighbours` columns and of its rows, of which it has `rows`, a block's
/// rows apart. A row has 2^rowShift of a block's 256 threads, and `colTiles` blocks.
EVO_HOST_DEVICE constexpr Place linePlace(int64_t tile, unsigned thread, int64_t colTiles,
                                          int rowShift, int rows, int neighbours) {
  int perRow = 1 << rowShift, rowsOfBlock = 256 >> rowShift;
  int64_t rowTile = colTiles == 1 ? tile : quotient(tile, colTiles);
  int64_t row = rowTile * (rowsOfBlock * rows) + (thread >> rowShift);
  int64_t col = ((tile - rowTile * colTiles) * perRow + (thread & (perRow - 1))) * neighbours;
  return {row, col};
}

struct OuterPlace {
  int64_t outer, row, col;
};

/// Of tiles of rows x cols, of which each outer index has rowTiles x colTiles.
EVO_HOST_DEVICE constexpr OuterPlace tilePlace(int64_t tile, int64_t rowTiles, int64_t colTiles,
                                               int rows, int cols) {
  int64_t rest = quotient(tile, colTiles), outer = quotient(rest, rowTiles);
  return {outer, (rest - outer * rowTiles) * rows, (tile - rest * colTiles) * cols};
}

/// Rows (outer, inner) in tiles of one outer index each, all counted in 32 bits, as copies of boxes
/// name them.
struct RowTiles {
  int ofInner = 0, all = 0;

  /// False: there are too many, or they are mostly of no rows.
  constexpr bool cut(int64_t outer, int64_t inner, int rows) {
    constexpr int64_t kMost = int64_t{1} << 30; // rows of all tiles
    if (inner < 1 || inner > kMost - rows)
      return false;
    int64_t tiles = ceilDiv(inner, rows), padded = tiles * rows;
    if (outer > kMost / padded || (outer > 1 && padded > 2 * inner))
      return false;
    ofInner = static_cast<int>(tiles), all = static_cast<int>(tiles * outer);
    return true;
  }
};

/// Where a tile of `rows` rows begins, of which each outer index has `ofInner`.
EVO_HOST_DEVICE constexpr void locateTile(int tile, int ofInner, int rows, int &outer, int &inner) {
  outer = tile / ofInner;
  inner = (tile - outer * ofInner) * rows;
}

/// Row and column, in tiles, of a matrix whose tiles are numbered in bands of `together` rows of
/// them, column by column within a band.
EVO_HOST_DEVICE constexpr void locateInBands(int tile, int mTiles, int nTiles, int together, int &m,
                                             int &n) {
  int inBand = together * nTiles, band = tile / inBand, left = mTiles - band * together;
  int height = together < left ? together : left, in = tile - band * inBand;
  n = in / height;
  m = band * together + in - n * height;
}

/// The tile of a pair bias: its head, first row and column.
struct BiasTile {
  int head, query, key;
};

/// All tiles of kRows x kCols of a pair bias, and which batches of which a block has.
template <int kRows, int kCols> struct BiasCut {
  int64_t qTiles, kTiles, batches, all, blocks;

  EVO_HOST_DEVICE constexpr BiasCut(int64_t heads, int64_t queries, int64_t keys, int64_t batches,
                                    int64_t blocks)
      : qTiles(ceilDiv(queries, kRows)), kTiles(ceilDiv(keys, kCols)), batches(batches),
        all(heads * qTiles * kTiles), blocks(blocks) {}
  EVO_HOST_DEVICE constexpr BiasTile at(int64_t tile) const {
    int64_t rest = quotient(tile, kTiles), head = quotient(rest, qTiles);
    return {static_cast<int>(head), static_cast<int>(rest - head * qTiles) * kRows,
            static_cast<int>(tile - rest * kTiles) * kCols};
  }
  /// Where block's part of all tiles' batches begins.
  EVO_HOST_DEVICE constexpr int64_t partOf(int64_t block) const {
    return all * batches * block / blocks;
  }
  /// Whose part has batch `unit % batches` of tile `unit / batches`.
  EVO_HOST_DEVICE constexpr int64_t blockOf(int64_t unit) const {
    int64_t block = unit * blocks / (all * batches);
    while (partOf(block + 1) <= unit)
      ++block;
    return block;
  }
};

inline constexpr int kTurnedRows = 64; ///< of a tile of rows whose elements lie apart

/// Rows in tiles: the last axis of a space, along which the tiles lie, and the others.
template <int N> struct TurnedRows {
  AxisSpace<N> outer;
  int64_t stride[N], extent, tasks; ///< of the last axis; tiles of all

  constexpr explicit TurnedRows(const AxisSpace<N> &rows)
      : outer(rows), stride(), extent(rows.extent[rows.rank - 1]), tasks(0) {
    int inner = rows.rank - 1;
    for (int o = 0; o < N; ++o)
      stride[o] = rows.stride[o][inner];
    outer.removeAxis(inner);
    tasks = outer.count() * ceilDiv(extent, kTurnedRows);
  }
  /// Where the first row of a tile lies; how many rows it has.
  EVO_HOST_DEVICE constexpr int locate(int64_t task, int64_t (&at)[N]) const {
    int64_t tiles = ceilDiv(extent, kTurnedRows), above = quotient(task, tiles);
    int64_t first = (task - above * tiles) * kTurnedRows;
    outer.locate(above, at);
    for (int o = 0; o < N; ++o)
      at[o] += first * stride[o];
    return static_cast<int>(smaller(kTurnedRows, extent - first));
  }
};

} // namespace evo::cuda
