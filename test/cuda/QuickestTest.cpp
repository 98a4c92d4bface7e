//===- QuickestTest.cpp -----------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "runtime/cuda/Quickest.h"

#include <gtest/gtest.h>

namespace evo::cuda {
namespace {

TEST(Quickest, BeatsTheFirstByMoreThanNoise) {
  EXPECT_EQ(quickestOf({{10, 11, 12}, {9, 8, 9.5}, {7, 9, 8}}), 2u); // 9 is below 10
  EXPECT_EQ(quickestOf({{10, 11, 12}, {9, 8, 9.5}, {7, 10.5, 8}}),
            0u);                                                // one is as slow as the first
  EXPECT_EQ(quickestOf({{100, 101, 102}, {99, 99.5, 99}}), 0u); // 2 % of 101 is 2.02
  EXPECT_EQ(quickestOf({{100, 101, 102}, {98, 98, 98.5}}), 1u);
  EXPECT_EQ(quickestOf({{10, 10, 10}, {20, 20, 20}}), 0u);
  EXPECT_EQ(quickestOf({{10}}), 0u);
}

TEST(Quickest, WhoFailedHasNoTimes) {
  EXPECT_EQ(quickestOf({{10, 11, 12}, {}, {5, 6, 7}}), 2u);
  EXPECT_EQ(quickestOf({{}, {30, 31, 32}}), 1u);
  EXPECT_EQ(quickestOf({{}, {}}), 0u);
}

TEST(Quickest, TheMiddleOfTimes) {
  EXPECT_EQ(middleOf({3, 1, 2}), 2);
  EXPECT_EQ(middleOf({4, 1, 3, 2}), 3);
}

} // namespace
} // namespace evo::cuda
