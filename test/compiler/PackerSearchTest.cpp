//===- PackerSearchTest.cpp - the exact search and its limits ---*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "compiler/memory/Greedy.h"
#include "compiler/memory/Packer.h"
#include "compiler/memory/Reduction.h"
#include "test/compiler/PackingInstances.h"

#include <gtest/gtest.h>

using namespace evo;
using namespace evo::memory;

namespace {

using Buffers = std::vector<Lifetime>;

SearchedPacking searched(const Buffers &buffers, const SearchOptions &options = {},
                         Bytes alignment = 1) {
  Result<SearchedPacking> result = searchPacking(buffers, alignment, options);
  EXPECT_TRUE(result.ok()) << result.status().message();
  if (!result.ok())
    return {};
  const Status valid = validatePacking(buffers, alignment, result->packing);
  EXPECT_TRUE(valid.ok()) << valid.message();
  EXPECT_LE(result->packing.lowerBound, result->leastHeight);
  EXPECT_LE(result->leastHeight, result->packing.height);
  return *result;
}

/// Loads: 3 + 2, 1 + 1 + 3, 1 + 1 + 2 + 1, 3 + 1 + 1, 3 + 1 + 1, 3 + 2: 5 at every time, and yet no
/// packing of height 5. With [0, 1) and [5, 6) of 2, the two of 3 lie at 0 or at 2. Let [0, 2) lie
/// at 0; then [1, 5) and [1, 3) take 3 and 4. Below them [2, 3) of 2 and [2, 4) fill 0 to 3, so [2,
/// 4) lies at 0 or 2. But [3, 6), with [1, 5) at 3 or 4, can only lie at 0, and leaves 3 and 4 to
/// [1, 5) and [2, 4). With [0, 2) at 2 the same holds upside down.
const Buffers kAboveTheLoad = {{3, 6, 3}, {1, 5, 1}, {5, 6, 2}, {2, 4, 1}, {4, 5, 1},
                               {2, 3, 2}, {1, 3, 1}, {0, 2, 3}, {0, 1, 2}};

Buffers scaled(Buffers buffers, Bytes factor) {
  for (Lifetime &buffer : buffers)
    buffer.size *= factor;
  return buffers;
}

TEST(PackerSearch, FindsWhatGreedyOrdersMiss) {
  // Loads: 1 + 7, 1 + 5 + 2, 2 + 6: 8 at every time. a [0,5) at 0 with b [1,5) on it at 1 and e
  // [0,1) at 1; c [1,6) on b at 6, and d [5,6) below c. Large ones first puts d and e at 0, and a
  // at 7.
  const Buffers buffers = {{0, 5, 1}, {1, 5, 5}, {1, 6, 2}, {5, 6, 6}, {0, 1, 7}};
  EXPECT_EQ(packGreedily(buffers, 8)->height, 9);
  const SearchedPacking result = searched(buffers);
  EXPECT_EQ(result.packing.height, 8);
  EXPECT_TRUE(result.proven());
  EXPECT_GT(result.nodes, 0);
}

TEST(PackerSearch, RaisesTheBoundWhereTheLoadIsRefuted) {
  const SearchedPacking result = searched(kAboveTheLoad);
  EXPECT_EQ(result.packing.lowerBound, 5);
  EXPECT_EQ(result.packing.height, 6);
  EXPECT_EQ(result.leastHeight, 6);
  EXPECT_TRUE(result.proven());
}

TEST(PackerSearch, HugeSizesAreCountedInTheirCommonUnit) {
  const Bytes factor = Bytes{1} << 40;
  const SearchedPacking large = searched(scaled(kAboveTheLoad, factor));
  EXPECT_EQ(large.packing.height, 6 * factor);
  EXPECT_TRUE(large.proven());
  // Without a common unit levels need more than 32 bits; one buffer of a byte more is the load.
  Buffers odd = scaled(kAboveTheLoad, factor);
  odd.push_back({8, 9, 5 * factor + 1});
  const SearchedPacking wide = searched(odd);
  EXPECT_EQ(wide.packing.lowerBound, 5 * factor + 1);
  EXPECT_EQ(wide.packing.height, 6 * factor);
}

TEST(PackerSearch, AlignmentIsTheUnit) {
  // 512 times the sizes, less a byte each, are rounded up to them.
  Buffers buffers = scaled(kAboveTheLoad, 512);
  for (Lifetime &buffer : buffers)
    buffer.size -= 1;
  const SearchedPacking result = searched(buffers, {}, 512);
  EXPECT_EQ(result.packing.height, 6 * 512);
  EXPECT_TRUE(result.proven());
}

TEST(PackerSearch, NothingTakesNothing) {
  const SearchedPacking nothing = searched({});
  EXPECT_EQ(nothing.packing.height, 0);
  EXPECT_TRUE(nothing.proven());
  const SearchedPacking empty = searched({{0, 2, 0}, {1, 3, 0}});
  EXPECT_EQ(empty.packing.height, 0);
  EXPECT_EQ(empty.nodes, 0);
}

TEST(PackerSearch, EmptyBuffersDoNotHinder) {
  Buffers buffers = kAboveTheLoad;
  for (TimeStep t = 0; t < 6; ++t)
    buffers.push_back({t, t + 1, 0});
  EXPECT_EQ(searched(buffers).packing.height, 6);
}

TEST(PackerSearch, PartsOfTimeArePackedAlone) {
  // The hard part, and after it a load of 7: what is at least 7 high makes 6 good enough.
  Buffers buffers = kAboveTheLoad;
  buffers.push_back({20, 22, 4});
  buffers.push_back({21, 23, 3});
  const SearchedPacking result = searched(buffers);
  EXPECT_EQ(result.packing.height, 7);
  EXPECT_TRUE(result.proven());
  // Two hard parts are two searches.
  Buffers twice = kAboveTheLoad;
  for (const Lifetime &buffer : kAboveTheLoad)
    twice.push_back({buffer.lower + 50, buffer.upper + 50, buffer.size});
  EXPECT_EQ(searched(twice).packing.height, 6);
}

TEST(PackerSearch, EqualLifetimesAreStacked) {
  // Alive throughout, in any order: 1 + 2 + ... + 40 = 820 bytes without a search.
  Buffers buffers;
  for (Bytes size = 1; size <= 40; ++size)
    buffers.push_back({3, 9, size});
  const SearchedPacking result = searched(buffers);
  EXPECT_EQ(result.packing.height, 820);
  EXPECT_EQ(result.nodes, 0);
  // With the hard ones above them: 820 + 6.
  for (const Lifetime &buffer : kAboveTheLoad)
    buffers.push_back({buffer.lower + 3, buffer.upper + 3, buffer.size});
  const SearchedPacking above = searched(buffers);
  EXPECT_EQ(above.packing.height, 826);
  EXPECT_TRUE(above.proven());
}

TEST(PackerSearch, ACapacityEndsTheSearch) {
  std::mt19937_64 random(5);
  const Buffers buffers = perfectPacking(random, 40, 1000, 30);
  const Bytes greedy = packGreedily(buffers, 1000)->height;
  ASSERT_GT(greedy, 1000);
  SearchOptions options;
  options.capacity = greedy; // reached before any search
  const SearchedPacking loose = searched(buffers, options);
  EXPECT_EQ(loose.packing.height, greedy);
  EXPECT_EQ(loose.nodes, 0);
  EXPECT_FALSE(loose.proven());
  EXPECT_EQ(loose.leastHeight, 1000);
  options.capacity = 1000;
  EXPECT_EQ(searched(buffers, options).packing.height, 1000);
}

TEST(PackerSearch, ACapacityBelowTheOptimumIsRefuted) {
  SearchOptions options;
  options.capacity = 5;
  const SearchedPacking result = searched(kAboveTheLoad, options);
  EXPECT_EQ(result.packing.height, 6);
  EXPECT_EQ(result.leastHeight, 6);
  // Below the load there is nothing to search for; the best is sought all the same.
  options.capacity = 3;
  EXPECT_EQ(searched(kAboveTheLoad, options).packing.height, 6);
}

TEST(PackerSearch, TheLimitLeavesTheBestFoundAndItsGap) {
  std::mt19937_64 random(5);
  const Buffers buffers = perfectPacking(random, 60, 100000, 60);
  SearchOptions options;
  options.nodeLimit = 10;
  const SearchedPacking cut = searched(buffers, options);
  EXPECT_EQ(cut.packing.height, packGreedily(buffers, 100000)->height);
  EXPECT_EQ(cut.leastHeight, 100000);
  EXPECT_FALSE(cut.proven());
  EXPECT_LE(cut.nodes, 10);
  options.nodeLimit = 0;
  EXPECT_EQ(searched(buffers, options).nodes, 0);
}

TEST(PackerSearch, PerfectPackingsAreFound) {
  std::mt19937_64 random(20261125);
  int missedByGreedy = 0;
  for (int i = 0; i < 60; ++i) {
    const auto count = 20 + random() % 41;
    const Bytes height = i % 3 == 0 ? 64 : i % 3 == 1 ? 1024 : 1000003;
    const Buffers buffers = perfectPacking(random, count, height, 12 + static_cast<TimeStep>(i));
    ASSERT_GE(buffers.size(), count);
    missedByGreedy += packGreedily(buffers, height)->height > height;
    const SearchedPacking result = searched(buffers);
    EXPECT_EQ(result.packing.lowerBound, height);
    EXPECT_EQ(result.packing.height, height) << "instance " << i;
    EXPECT_TRUE(result.proven());
  }
  EXPECT_GE(missedByGreedy, 30);
}

TEST(PackerSearch, SameInputSamePacking) {
  std::mt19937_64 random(17);
  const Buffers buffers = perfectPacking(random, 50, 512, 40);
  const SearchedPacking once = searched(buffers), again = searched(buffers);
  EXPECT_EQ(once.packing.offsets, again.packing.offsets);
  EXPECT_EQ(once.nodes, again.nodes);
}

TEST(Reduction, StacksWhatIsAliveThroughoutAndLeavesOutTheEasy) {
  // Units of 4. The first is alive while each other is: it lies at the bottom, and 24 - 8 = 16
  // bytes are left, 4 units. The second, of 4, has 4 - 4 + 1 = 1 place and meets no other. The
  // third, of 3, has 2 places, and the last, of 1, could take both; but that one has 4 places, and
  // the third takes 3 + 1 - 1 = 3 of them at most: it is left out, then the third has both places.
  const Buffers buffers = {{0, 9, 8}, {0, 4, 16}, {4, 9, 12}, {6, 8, 4}};
  const Reduction reduction(buffers, 24);
  EXPECT_EQ(reduction.capacity(), 4);
  EXPECT_TRUE(reduction.problem().items.empty());
  // The third first, on the ground; the last upon it.
  EXPECT_EQ(reduction.expand({}), (std::vector<Bytes>{0, 8, 8, 20}));
}

TEST(Reduction, TimeBecomesTheLargestSetsAliveTogether) {
  // Height 10, units of 1. Alive at 0: a b; at 1: b c; at 2: c d; at 3 only d. Nothing starts at 3.
  // The three sets are the sections; d's end and a's start matter to nobody.
  const Buffers buffers = {{0, 1, 6}, {0, 2, 4}, {1, 3, 5}, {2, 9, 5}};
  const Reduction reduction(buffers, 10);
  const FitProblem &problem = reduction.problem();
  ASSERT_EQ(problem.sections, 3);
  ASSERT_EQ(problem.items.size(), 4u);
  const std::vector<std::pair<int, int>> expected = {{0, 1}, {0, 2}, {1, 3}, {2, 3}};
  for (size_t i = 0; i < 4; ++i)
    EXPECT_EQ(std::pair(int{problem.items[i].lower}, int{problem.items[i].upper}), expected[i]);
}

} // namespace
