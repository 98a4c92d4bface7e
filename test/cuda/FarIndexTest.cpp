//===- FarIndexTest.cpp -----------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// Where kernels look for elements of tensors of more than 2^31: what they compute, without a device
// and without the tensors. 46349 is the prime above the root of 2^31: a pair tensor of as many
// residues has 46349^2 = 2148229801 = 2^31 + 746153 elements a channel.
//===----------------------------------------------------------------------===//
#include "runtime/cuda/Axes.h"
#include "runtime/cuda/kernels/BoxRange.h"
#include "runtime/cuda/kernels/HeadMatrix.h"
#include "runtime/cuda/kernels/MmaAxis.h"
#include "runtime/cuda/kernels/Places.h"

#include <gtest/gtest.h>

#include <set>
#include <vector>

namespace evo::cuda {
namespace {

constexpr int64_t kTwo31 = int64_t{1} << 31, kTwo32 = int64_t{1} << 32;
constexpr int64_t kResidues = 46349, kPairs = kResidues * kResidues;
static_assert(kPairs == 2148229801 && kPairs > kTwo31);
constexpr int64_t kFar = kTwo31 + 8; ///< a stride

/// Indices of `count` that are worth a look: both ends, and both sides of tiles' borders next to
/// 2^31 and 2^32, the ends and the middle.
std::vector<int64_t> indicesOf(int64_t count, int64_t tile) {
  std::set<int64_t> found;
  for (int64_t about : {int64_t{0}, count / 2, kTwo31, kTwo32, count})
    for (int64_t border : {about, about / tile * tile, (about / tile + 1) * tile})
      for (int64_t i = border - 2; i <= border + 2; ++i)
        if (i >= 0 && i < count)
          found.insert(i);
  return {found.begin(), found.end()};
}

/// A number of more bits than any offset has.
using Wide = __int128;

/// The offset of a row-major index, one axis after the other.
Wide offsetOf(int64_t index, const std::vector<int64_t> &extents,
              const std::vector<int64_t> &strides) {
  Wide offset = 0;
  for (size_t d = extents.size(); d-- > 0;) {
    offset += Wide{index % extents[d]} * strides[d];
    index /= extents[d];
  }
  return offset;
}

TEST(FarIndexTest, ElementsOfPairTensorsLieWhereTheirStridesSay) {
  struct Case {
    std::vector<int64_t> extents, strides;
  };
  for (const Case &c :
       std::vector<Case>{{{kResidues, kResidues, 1}, {kResidues, 1, 1}},
                         {{kResidues, kResidues, 8}, {kResidues * 8, 8, 1}},  // 2^34
                         {{kResidues, kResidues, 7}, {kResidues * 7, 7, 1}},  // odd
                         {{kResidues, kResidues, 4}, {4, kResidues * 4, 1}},  // transposed
                         {{kResidues, kResidues, 3}, {kResidues, 1, kPairs}}, // by channel
                         {{3, 5, 70}, {2 * kFar * 5, kFar, 1}},               // far apart
                         {{kTwo31 + 9, 3}, {3, 1}},                           // one long axis
                         {{3, 1, kTwo32 + 5}, {kTwo32 + 5, kTwo32 + 5, 1}},   // a longer one
                         {{65537, 65537, 2}, {(65537 * 2 + 6) * int64_t{8}, 2 * 8, 8}}}) { // padded
    AxisSpace<2> axes;
    for (size_t d = 0; d < c.extents.size(); ++d) {
      axes.stride[0][d] = c.strides[d], axes.stride[1][d] = 3 * c.strides[d];
      axes.push(c.extents[d]);
    }
    AxisSpace<2> merged = axes;
    merged.merge();
    ASSERT_EQ(merged.count(), axes.count());
    for (int64_t i : indicesOf(axes.count(), 64)) {
      Wide expected = offsetOf(i, c.extents, c.strides);
      int64_t at[2];
      axes.locate(i, at);
      EXPECT_TRUE(at[0] == expected && at[1] == 3 * expected) << i;
      merged.locate(i, at);
      EXPECT_TRUE(at[0] == expected && at[1] == 3 * expected) << i;
      EXPECT_TRUE(merged.offsetOf(0, i) == expected) << i;
    }
  }
}

TEST(FarIndexTest, LinesOfAllBlocksAndThreadsFollowEachOther) {
  // 2^rowShift threads a row, each with so many rows and neighbours; the columns a row has.
  for (int rowShift : {0, 3, 8})
    for (int rows : {1, 4})
      for (int neighbours : {1, 8})
        for (int64_t colTiles : {int64_t{1}, int64_t{3}, kTwo31 / 8, kTwo32 + 1}) {
          int64_t perRow = 1 << rowShift, rowsOfBlock = 256 >> rowShift;
          for (int64_t tile : indicesOf(kTwo32 * 3, colTiles))
            for (unsigned thread : {0u, 1u, 37u, 255u}) {
              Place place = linePlace(tile, thread, colTiles, rowShift, rows, neighbours);
              Wide row = Wide{tile / colTiles} * rowsOfBlock * rows + thread / perRow;
              Wide col = (Wide{tile % colTiles} * perRow + thread % perRow) * neighbours;
              EXPECT_TRUE(place.row == row && place.col == col) << tile << " " << thread;
            }
        }
}

TEST(FarIndexTest, TilesOfAllBlocksFollowEachOther) {
  for (auto [rowTiles, colTiles] : std::vector<std::pair<int64_t, int64_t>>{
           {1, 1}, {7, 5}, {kResidues, kResidues}, {3, kTwo31 + 1}, {kTwo32 + 3, 2}})
    for (int64_t tile : indicesOf(kTwo32 * 4, rowTiles)) {
      OuterPlace place = tilePlace(tile, rowTiles, colTiles, 64, 128);
      EXPECT_EQ(place.outer, tile / colTiles / rowTiles);
      EXPECT_TRUE(place.row == Wide{tile / colTiles % rowTiles} * 64) << tile;
      EXPECT_TRUE(place.col == Wide{tile % colTiles} * 128) << tile;
    }
}

TEST(FarIndexTest, AxesOfProductsSplitWhereTheyAreTwo) {
  // Rows (i, c) of [s, i, c] with far strides: 33546239 x 32, of fewer than 2^30.
  MmaAxis axis = MmaAxis::of(33546239, kFar, 32, 8);
  EXPECT_EQ(axis.extent, 1073479648);
  EXPECT_TRUE(axis.isCounted());
  for (int64_t x : indicesOf(axis.extent, 128))
    EXPECT_TRUE(axis.offsetOf(x) == offsetOf(x, {33546239, 32}, {kFar, 8})) << x;
  // What tiles step over beyond the end is still counted.
  EXPECT_TRUE(axis.offsetOf(axis.extent + 127) ==
              Wide{(axis.extent + 127) / 32} * kFar + (axis.extent + 127) % 32 * 8);
  // One axis is not counted through.
  MmaAxis whole = MmaAxis::of(3, 5 * kFar, 5, kFar);
  EXPECT_EQ(whole.inner, 15);
  for (int64_t x = 0; x < 15; ++x)
    EXPECT_TRUE(whole.offsetOf(x) == Wide{x} * kFar) << x;
  // All pairs are too many for it.
  EXPECT_FALSE(MmaAxis::of(kPairs, 8).isCounted());
  EXPECT_FALSE(MmaAxis::of(int64_t{1} << 30, 8).isCounted());
}

TEST(FarIndexTest, TurnedRowsOfAChannelFirstPairTensor) {
  // [i, j] of x by channel, of y by row with 8 channels, and far apart; 46349 = 724 * 64 + 13.
  AxisSpace<3> pairs;
  const int64_t strides[3][2] = {{kResidues, 1}, {kResidues * 8, 8}, {kResidues * kFar, kFar}};
  for (int d = 0; d < 2; ++d) {
    for (int o = 0; o < 3; ++o)
      pairs.stride[o][d] = strides[o][d];
    pairs.push(kResidues);
  }
  TurnedRows<3> rows(pairs);
  EXPECT_EQ(rows.tasks, kResidues * 725);
  int64_t seen = 0;
  for (int64_t task : indicesOf(rows.tasks, 725)) {
    int64_t at[3], i = task / 725, j = task % 725 * 64;
    EXPECT_EQ(rows.locate(task, at), j + 64 <= kResidues ? 64 : 13) << task;
    for (int o = 0; o < 3; ++o)
      EXPECT_TRUE(at[o] == Wide{i} * strides[o][0] + Wide{j} * strides[o][1]) << task << " " << o;
    seen += at[0] > kTwo31;
  }
  EXPECT_GT(seen, 0);
}

TEST(FarIndexTest, HeadsBeginWhereTheirStridesSay) {
  HeadMatrix heads{nullptr, kFar, kPairs, 1, 1};
  for (int64_t b : {int64_t{0}, int64_t{1}, kResidues - 1, kTwo31})
    for (int64_t h : {int64_t{0}, int64_t{3}, int64_t{127}})
      EXPECT_TRUE(heads.offsetOf(b, h) == Wide{b} * kFar + Wide{h} * kPairs) << b << " " << h;
  heads.row = kFar;
  for (int64_t q : {int64_t{0}, int64_t{1}, kResidues - 1})
    EXPECT_TRUE(heads.rowOffset(q) == Wide{q} * kFar) << q;
}

TEST(FarIndexTest, TilesOfRowsAreCountedIn32Bits) {
  RowTiles tiles;
  ASSERT_TRUE(tiles.cut(16384, 65535, 64)); // 16384 x 1024 tiles: 2^30 rows
  EXPECT_EQ(tiles.ofInner, 1024);
  EXPECT_EQ(tiles.all, 16777216);
  for (int64_t tile : indicesOf(tiles.all, 1024)) {
    int outer = 0, inner = 0;
    locateTile(static_cast<int>(tile), tiles.ofInner, 64, outer, inner);
    EXPECT_EQ(outer, tile / 1024);
    EXPECT_EQ(inner, tile % 1024 * 64);
  }
  EXPECT_FALSE(tiles.cut(16384, 65537, 64)); // 1025 tiles each
  EXPECT_FALSE(tiles.cut(1, kPairs, 64));
  EXPECT_FALSE(tiles.cut(kResidues, kResidues, 64));
  EXPECT_FALSE(tiles.cut(1000, 31, 64)); // mostly of no rows
  EXPECT_TRUE(tiles.cut(1, 31, 64));
  EXPECT_FALSE(tiles.cut(1, 0, 64));
  // Pieces of 64 rows of all pairs, of which each first index has 725.
  constexpr int64_t kPieces = kResidues * 725;
  static_assert(kPieces == 33603025);
  for (int64_t piece : indicesOf(kPieces, 725)) {
    int outer = 0, inner = 0;
    locateTile(static_cast<int>(piece), 725, 64, outer, inner);
    EXPECT_EQ(outer * kResidues + inner, piece / 725 * kResidues + piece % 725 * 64);
  }
}

TEST(FarIndexTest, BandsOfTilesCoverAMatrixOnce) {
  std::set<std::pair<int, int>> seen;
  for (int tile = 0; tile < 35 * 3; ++tile) { // bands of 16, 16 and 3
    int m = 0, n = 0;
    locateInBands(tile, 35, 3, 16, m, n);
    EXPECT_TRUE(m >= 0 && m < 35 && n >= 0 && n < 3);
    seen.insert({m, n});
  }
  EXPECT_EQ(seen.size(), 105u);
  // 2^30 rows of 256 columns, the most: 2^23 tiles of 128 rows.
  int m = 0, n = 0;
  locateInBands((1 << 23) - 1, 1 << 23, 1, 16, m, n);
  EXPECT_EQ(m, (1 << 23) - 1);
  EXPECT_EQ(n, 0);
  locateInBands((1 << 24) - 1, 1, 1 << 24, 16, m, n);
  EXPECT_EQ(n, (1 << 24) - 1);
}

TEST(FarIndexTest, PartsOfAPairBiasCoverAllBatchesOnce) {
  // 8 heads of 46349 x 46349, of 363 x 363 tiles: 1054152 tiles, 46349 batches, 264 blocks.
  BiasCut<128, 128> cut(8, kResidues, kResidues, kResidues, 264);
  EXPECT_EQ(cut.all, 8 * 363 * 363);
  EXPECT_EQ(cut.partOf(0), 0);
  EXPECT_EQ(cut.partOf(264), cut.all * kResidues);
  for (int64_t tile : indicesOf(cut.all, 363)) {
    BiasTile at = cut.at(tile);
    EXPECT_EQ(at.head, tile / 363 / 363);
    EXPECT_EQ(at.query, tile / 363 % 363 * 128);
    EXPECT_EQ(at.key, tile % 363 * 128);
  }
  for (int64_t unit : indicesOf(cut.all * kResidues, kResidues)) {
    int64_t block = cut.blockOf(unit);
    EXPECT_LE(cut.partOf(block), unit);
    EXPECT_GT(cut.partOf(block + 1), unit);
  }
}

TEST(FarIndexTest, GridsHoldAsManyBlocksAsADeviceTakes) {
  EXPECT_EQ(gridOf(0), 1u);
  EXPECT_EQ(gridOf(kTwo31 - 1), 2147483647u);
  EXPECT_EQ(gridOf(kTwo31), 2147483647u); // of kernels that step through their work
  EXPECT_EQ(gridOf(kPairs), 2147483647u);
}

TEST(FarIndexTest, BoxesReachWhatTheirCoordinatesName) {
  auto reaches = [](std::vector<int64_t> extents, std::vector<int64_t> strides,
                    uint64_t address = 256) {
    const int64_t extent[3] = {extents[0], extents[1], extents[2]};
    const int64_t stride[2] = {strides[0], strides[1]};
    return reachesBoxes<3>(address, 2, extent, stride);
  };
  // [46349, 46349, 128] of half types: 2^38 elements.
  EXPECT_TRUE(reaches({128, kResidues, kResidues}, {128, kResidues * 128}));
  EXPECT_TRUE(reaches({128, kResidues, 3}, {128, kFar * 8}));
  // One axis of all pairs has more than coordinates name, whatever lies beside it.
  EXPECT_FALSE(reaches({128, kPairs, 1}, {128, 0}));
  EXPECT_TRUE(reaches({128, kMostBoxedExtent, 1}, {128, 0}));
  EXPECT_FALSE(reaches({128, kMostBoxedExtent + 1, 1}, {128, 0}));
  static_assert(kMostBoxedExtent + 2 * kMostBoxExtent == INT32_MAX);
  // Strides are below 2^40 bytes; that of an axis of one element is none.
  EXPECT_TRUE(reaches({128, 2, 2}, {128, (int64_t{1} << 39) - 8}));
  EXPECT_FALSE(reaches({128, 2, 2}, {128, int64_t{1} << 39}));
  EXPECT_FALSE(reaches({128, 2, 2}, {128, INT64_MAX}));
  EXPECT_TRUE(reaches({128, 2, 1}, {128, 7}));
  EXPECT_FALSE(reaches({128, 2, 2}, {128, 260})); // 520 bytes
  EXPECT_FALSE(reaches({128, 2, 2}, {128, 256}, 264));
  EXPECT_FALSE(reaches({0, 2, 2}, {128, 256}));
}

} // namespace
} // namespace evo::cuda
