//===- AxesTest.cpp ---------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "runtime/cuda/Axes.h"

#include <gtest/gtest.h>

#include <vector>

namespace evo::cuda {
namespace {

/// Axes of one operand.
AxisSpace<1> space(std::vector<int64_t> extents, std::vector<int64_t> strides) {
  AxisSpace<1> axes;
  for (size_t d = 0; d < extents.size(); ++d) {
    axes.stride[0][d] = strides[d];
    axes.push(extents[d]);
  }
  return axes;
}

std::vector<int64_t> offsets(const AxisSpace<1> &axes) {
  std::vector<int64_t> all;
  for (int64_t i = 0; i < axes.count(); ++i)
    all.push_back(axes.offsetOf(0, i));
  return all;
}

TEST(AxesTest, CountsAndLocatesInRowMajorOrder) {
  AxisSpace<2> axes;
  axes.stride[0][0] = 10, axes.stride[1][0] = 1;
  axes.push(2);
  axes.stride[0][1] = 3, axes.stride[1][1] = 0; // the second operand is a broadcast here
  axes.push(3);
  EXPECT_EQ(axes.count(), 6);
  int64_t at[2];
  axes.locate(5, at); // (1, 2): 10 + 2 * 3, 1
  EXPECT_EQ(at[0], 16);
  EXPECT_EQ(at[1], 1);
  EXPECT_EQ(offsets(space({2, 3}, {10, 3})), (std::vector<int64_t>{0, 3, 6, 10, 13, 16}));
}

TEST(AxesTest, NoAxesAreOneElementAndAnEmptyAxisIsNone) {
  EXPECT_EQ(space({}, {}).count(), 1);
  EXPECT_EQ(space({}, {}).offsetOf(0, 0), 0);
  EXPECT_EQ(space({4, 0, 3}, {0, 3, 1}).count(), 0);
}

TEST(AxesTest, IndicesPassTwoToThe32) {
  // A pair tensor of 24576 x 24576 x 128: 77,309,411,328 elements.
  AxisSpace<1> pair = space({24576, 24576, 128}, {24576 * 128, 128, 1});
  EXPECT_EQ(pair.count(), 77309411328);
  EXPECT_EQ(pair.offsetOf(0, 77309411327), 77309411327);
  // (24575, 24575, 127) of rows that are padded to 136.
  AxisSpace<1> padded = space({24576, 24576, 128}, {24576 * 136, 136, 1});
  EXPECT_EQ(padded.offsetOf(0, 77309411327), int64_t{24575} * 24576 * 136 + 24575 * 136 + 127);
  // Transposed.
  AxisSpace<1> turned = space({24576, 24576, 128}, {128, 24576 * 128, 1});
  EXPECT_EQ(turned.offsetOf(0, int64_t{24575} * 24576 * 128), 24575 * 128);
  EXPECT_EQ(turned.offsetOf(0, 24575 * 128), int64_t{24575} * 24576 * 128);
}

TEST(AxesTest, QuotientsAreThoseOf64BitsOnBothSidesOfTheBorder) {
  constexpr int64_t kBorder = int64_t{1} << 32;
  for (int64_t a : {int64_t{0}, int64_t{7}, kBorder - 1, kBorder, kBorder + 1, kBorder * 1000 + 3})
    for (int64_t b : {int64_t{1}, int64_t{3}, kBorder - 1, kBorder, kBorder + 7})
      EXPECT_EQ(quotient(a, b), a / b) << a << " / " << b;
}

TEST(AxesTest, MergingKeepsEveryOffset) {
  struct Case {
    std::vector<int64_t> extents, strides;
    int rank; ///< when merged
  };
  for (const Case &c : std::vector<Case>{{{2, 3, 4}, {12, 4, 1}, 1},
                                         {{2, 3, 4}, {24, 4, 1}, 2},
                                         {{2, 3, 4}, {1, 2, 6}, 3},
                                         {{2, 1, 4}, {4, 77, 1}, 1},
                                         {{1, 1, 1}, {5, 6, 7}, 0},
                                         {{2, 3, 4}, {0, 0, 1}, 2},
                                         {{2, 3, 4}, {0, 0, 0}, 1}}) {
    AxisSpace<1> axes = space(c.extents, c.strides), merged = axes;
    merged.merge();
    EXPECT_EQ(merged.rank, c.rank);
    EXPECT_EQ(offsets(merged), offsets(axes));
  }
}

TEST(AxesTest, AxesThatOneOperandStepsThroughUnevenlyStayApart) {
  AxisSpace<2> axes;
  const int64_t strides[2][2] = {{4, 1}, {1, 2}};
  for (int d = 0; d < 2; ++d) {
    axes.stride[0][d] = strides[0][d], axes.stride[1][d] = strides[1][d];
    axes.push(d == 0 ? 2 : 4);
  }
  axes.merge();
  EXPECT_EQ(axes.rank, 2);
}

TEST(AxesTest, SortingPutsTheSmallestStrideOfOneOperandLast) {
  AxisSpace<1> axes = space({2, 3, 4}, {1, 8, 2});
  axes.sortLike(0);
  EXPECT_EQ(axes.extent[0], 3);
  EXPECT_EQ(axes.extent[1], 4);
  EXPECT_EQ(axes.extent[2], 2);
  axes.merge(); // 3 axes of strides 8, 2, 1: 4 * 2 = 8 and 2 * 1 = 2
  EXPECT_EQ(axes.rank, 1);
  EXPECT_EQ(axes.extent[0], 24);
}

TEST(AxesTest, RemovingAnAxisKeepsTheOthers) {
  AxisSpace<1> axes = space({2, 3, 4}, {12, 4, 1});
  axes.removeAxis(1);
  EXPECT_EQ(axes.rank, 2);
  EXPECT_EQ(axes.extent[1], 4);
  EXPECT_EQ(axes.stride[0][1], 1);
}

TEST(AxesTest, BoxesCoverEveryElementOnce) {
  const int64_t extents[] = {3, 7, 5};
  for (int64_t most : {1, 2, 3, 4, 7, 15, 20, 36, 105, 1000}) {
    Boxes boxes(3, extents, most);
    std::vector<int> seen(105, 0);
    EXPECT_LE(boxes.mostElements(), most);
    for (int64_t i = 0; i < boxes.count(); ++i) {
      Box box = boxes.at(i);
      EXPECT_LE(box.extent[0] * box.extent[1] * box.extent[2], most);
      for (int64_t a = 0; a < box.extent[0]; ++a)
        for (int64_t b = 0; b < box.extent[1]; ++b)
          for (int64_t c = 0; c < box.extent[2]; ++c)
            ++seen[static_cast<size_t>(((box.start[0] + a) * 7 + box.start[1] + b) * 5 +
                                       box.start[2] + c)];
    }
    EXPECT_EQ(seen, std::vector<int>(105, 1)) << most;
  }
}

TEST(AxesTest, BoxesKeepToTheBoundsOfTheirAxes) {
  const int64_t extents[] = {10, 7}, longest[] = {4, 100};
  Boxes boxes(2, extents, 1000, longest);
  EXPECT_EQ(boxes.count(), 3); // 4, 4 and 2 of the first axis
  EXPECT_EQ(boxes.at(2).start[0], 8);
  EXPECT_EQ(boxes.at(2).extent[0], 2);
  EXPECT_EQ(boxes.at(2).extent[1], 7);
}

TEST(AxesTest, OneBoxWhereEverythingFitsAndNoneOfNothing) {
  const int64_t extents[] = {3, 7};
  EXPECT_EQ(Boxes(2, extents, 21).count(), 1);
  EXPECT_EQ(Boxes(0, extents, 1).count(), 1);
  const int64_t empty[] = {3, 0};
  EXPECT_EQ(Boxes(2, empty, 8).count(), 0);
}

} // namespace
} // namespace evo::cuda
