//===- ProductSplitTest.cpp -------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "runtime/cuda/ProductSplit.h"

#include <gtest/gtest.h>

#include <vector>

namespace evo::cuda {
namespace {

constexpr int64_t kPairs = int64_t{46349} * 46349; ///< 2^31 + 746153

/// Of a, b, y and the addend.
ProductAxis axisOf(int64_t extent, int64_t a, int64_t b, int64_t y, int64_t addend = 0) {
  return {extent, {a, b, y, addend}};
}

TEST(ProductSplitTest, StretchesFollowEachOtherAlignedAndEven) {
  for (int64_t extent : {int64_t{1}, int64_t{7}, int64_t{100}, int64_t{4097}, kPairs})
    for (int64_t most :
         {int64_t{1}, int64_t{3}, int64_t{8}, int64_t{13}, int64_t{1} << 24, int64_t{INT32_MAX}}) {
      if (extent / most > 1000000)
        continue;
      Stretches cut(extent, most);
      int64_t next = 0;
      for (int64_t i = 0; i < cut.count(); ++i) {
        Stretch stretch = cut.at(i);
        EXPECT_EQ(stretch.first, next);
        EXPECT_GE(stretch.count, 1);
        EXPECT_LE(stretch.count, most);
        EXPECT_TRUE(most < 8 || stretch.first % 8 == 0) << extent << " " << most;
        next += stretch.count;
      }
      EXPECT_EQ(next, extent);
    }
  // Two of 2148229801, of which one has 2^31 - 1 at most: halves, the first rounded up to eights.
  Stretches pairs(kPairs, INT32_MAX);
  ASSERT_EQ(pairs.count(), 2);
  EXPECT_EQ(pairs.at(0).count, 1074114904);
  EXPECT_EQ(pairs.at(1).count, 1074114897);
  EXPECT_EQ(Stretches(INT32_MAX, INT32_MAX).count(), 1);
}

TEST(ProductSplitTest, ASmallProductIsOnePiece) {
  ProductPieces pieces(axisOf(128, 1, 0, 64), axisOf(64, 0, 1, 1), axisOf(1000, 128, 64, 0), {});
  ASSERT_EQ(pieces.count(), 1);
  ProductPiece piece = pieces.at(0);
  EXPECT_EQ(piece.m.count, 128);
  EXPECT_EQ(piece.n.count, 64);
  EXPECT_EQ(piece.k.count, 1000);
  EXPECT_EQ(piece.batch.count, 1);
  EXPECT_FALSE(piece.adds);
}

TEST(ProductSplitTest, AWeightsGradientOfAllPairsIsASumOfPieces) {
  // dweight[n,k] = sum over pairs of du[pair,n] x[pair,k], n = 128 and k = 64.
  ProductPieces pieces(axisOf(128, 1, 0, 64), axisOf(64, 0, 1, 1), axisOf(kPairs, 128, 64, 0), {});
  // (2^31 - 1) / 128 = 16777215 pairs each at most, 2148229801 / 16777215 = 128.04...
  ASSERT_EQ(pieces.count(), 129);
  EXPECT_EQ(pieces.sums(), 129);
  int64_t next = 0;
  for (int64_t i = 0; i < pieces.count(); ++i) {
    ProductPiece piece = pieces.at(i);
    EXPECT_EQ(piece.k.first, next);
    EXPECT_LE(piece.k.count * 128, INT32_MAX);
    EXPECT_EQ(piece.offset[0], next * 128);
    EXPECT_EQ(piece.offset[1], next * 64);
    EXPECT_EQ(piece.offset[2], 0);
    EXPECT_EQ(piece.adds, i > 0);
    EXPECT_EQ(piece.m.count, 128);
    EXPECT_EQ(piece.n.count, 64);
    next += piece.k.count;
  }
  EXPECT_EQ(next, kPairs);
}

TEST(ProductSplitTest, ALinearLayerOfAllPairsIsPiecesOfItsRows) {
  // y[pair,n] = sum_k x[pair,k] weight[n,k], one channel each: rows alone are more than 2^31.
  ProductPieces one(axisOf(kPairs, 1, 0, 1), axisOf(1, 0, 1, 1), axisOf(1, 1, 1, 0), {});
  ASSERT_EQ(one.count(), 2);
  EXPECT_EQ(one.at(1).offset[0], 1074114904);
  EXPECT_EQ(one.at(1).offset[2], 1074114904);
  EXPECT_FALSE(one.at(1).adds);
  // 8 channels of x, 4 of y and a residual of rows of 16: the widest counts.
  ProductPieces several(axisOf(kPairs, 8, 0, 4, 16), axisOf(4, 0, 8, 1, 1), axisOf(8, 1, 1, 0), {});
  int64_t next = 0;
  for (int64_t i = 0; i < several.count(); ++i) {
    ProductPiece piece = several.at(i);
    EXPECT_EQ(piece.m.first, next);
    EXPECT_LE(piece.m.count * 16, INT32_MAX);
    EXPECT_EQ(piece.offset[0], next * 8);
    EXPECT_EQ(piece.offset[2], next * 4);
    EXPECT_EQ(piece.offset[3], next * 16);
    EXPECT_FALSE(piece.adds);
    next += piece.m.count;
  }
  EXPECT_EQ(next, kPairs);
  EXPECT_EQ(several.sums(), 1);
}

TEST(ProductSplitTest, RowsFarApartAreOneEach) {
  ProductPieces pieces(axisOf(3, (int64_t{1} << 31) + 8, 0, 5), axisOf(5, 0, 7, 1),
                       axisOf(7, 1, 1, 0), {});
  ASSERT_EQ(pieces.count(), 3);
  EXPECT_EQ(pieces.at(2).offset[0], 4294967312); // 2 (2^31 + 8)
  EXPECT_EQ(pieces.at(2).offset[2], 10);
  EXPECT_EQ(pieces.at(2).m.count, 1);
}

TEST(ProductSplitTest, BatchesAreCutWhereTheyAreMany) {
  ProductPieces pieces(axisOf(5, 7, 0, 5), axisOf(5, 0, 7, 1), axisOf(7, 1, 1, 0),
                       axisOf(kPairs, 35, 35, 25));
  EXPECT_EQ(pieces.count(), 65559); // 2148229801 / 32768 = 65558.8
  ProductPiece last = pieces.at(pieces.count() - 1);
  EXPECT_EQ(last.batch.first + last.batch.count, kPairs);
  EXPECT_EQ(last.offset[0], last.batch.first * 35);
  EXPECT_EQ(last.offset[2], last.batch.first * 25);
}

/// y[b,m,n] of all pieces one after the other, as the library computes them.
std::vector<int64_t> multiply(const ProductAxis (&axis)[4], const std::vector<int64_t> &a,
                              const std::vector<int64_t> &b, int64_t most, size_t size) {
  ProductPieces pieces(axis[0], axis[1], axis[2], axis[3], most, 2);
  std::vector<int64_t> y(size, -1);
  for (int64_t p = 0; p < pieces.count(); ++p) {
    ProductPiece piece = pieces.at(p);
    auto at = [&](int o, int64_t m, int64_t n, int64_t k, int64_t batch) {
      return static_cast<size_t>(piece.offset[o] + m * axis[0].stride[o] + n * axis[1].stride[o] +
                                 k * axis[2].stride[o] + batch * axis[3].stride[o]);
    };
    for (int64_t batch = 0; batch < piece.batch.count; ++batch)
      for (int64_t m = 0; m < piece.m.count; ++m)
        for (int64_t n = 0; n < piece.n.count; ++n) {
          int64_t sum = 0;
          for (int64_t k = 0; k < piece.k.count; ++k)
            sum += a[at(0, m, n, k, batch)] * b[at(1, m, n, k, batch)];
          int64_t &to = y[at(2, m, n, 0, batch)];
          to = piece.adds ? to + sum : sum;
        }
  }
  return y;
}

TEST(ProductSplitTest, PiecesOfAnySizeMakeTheSameProduct) {
  constexpr int64_t kM = 5, kN = 6, kK = 23, kBatches = 3;
  // a[b,k,m], b[b,n,k], y[b,m,n]
  const ProductAxis axis[4] = {axisOf(kM, 1, 0, kN), axisOf(kN, 0, kK, 1), axisOf(kK, kM, 1, 0),
                               axisOf(kBatches, kK * kM, kN * kK, kM * kN)};
  std::vector<int64_t> a, b;
  for (int64_t i = 0; i < kBatches * kK * kM; ++i)
    a.push_back(i * 7 % 11 - 5);
  for (int64_t i = 0; i < kBatches * kN * kK; ++i)
    b.push_back(i * 5 % 13 - 6);
  size_t size = kBatches * kM * kN;
  std::vector<int64_t> whole = multiply(axis, a, b, INT32_MAX, size);
  EXPECT_EQ(ProductPieces(axis[0], axis[1], axis[2], axis[3]).count(), 1);
  for (int64_t most : {1, 6, 24, 50, 60, 115})
    EXPECT_EQ(multiply(axis, a, b, most, size), whole) << most;
}

} // namespace
} // namespace evo::cuda
