//===- FitSearchTest.cpp - every way of pruning, one answer -----*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "compiler/memory/FitSearch.h"
#include "compiler/memory/Reduction.h"
#include "test/compiler/PackingInstances.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <random>

using namespace evo::memory;

namespace {

constexpr int64_t kUnlimited = 5'000'000;

/// All prunings, each one left out, none.
std::vector<Pruning> prunings() {
  std::vector<Pruning> all(7);
  all[1].bounds = false;
  all[2].dominance = false;
  all[3].decomposition = false;
  all[4].failures = false;
  all[5].backjumping = false;
  all[6] = {false, false, false, false, false};
  return all;
}

bool overlap(const FitItem &a, const FitItem &b) { return a.lower < b.upper && b.lower < a.upper; }

/// The least height by brute force: every order, each item at the lowest offset that is free.
int64_t leastHeight(const std::vector<FitItem> &items) {
  std::vector<size_t> order(items.size());
  std::iota(order.begin(), order.end(), size_t{0});
  int64_t least = std::numeric_limits<int64_t>::max();
  do {
    std::vector<int64_t> offsets(items.size());
    int64_t height = 0;
    for (size_t at = 0; at < order.size() && height < least; ++at) {
      const FitItem &item = items[order[at]];
      int64_t offset = 0;
      for (bool moved = true; moved;) {
        moved = false;
        for (size_t before = 0; before < at; ++before) {
          const FitItem &other = items[order[before]];
          const int64_t from = offsets[order[before]], to = from + other.size;
          if (!overlap(item, other) || offset >= to || from >= offset + item.size)
            continue;
          offset = to;
          moved = true;
        }
      }
      offsets[order[at]] = offset;
      height = std::max(height, offset + item.size);
    }
    least = std::min(least, height);
  } while (std::next_permutation(order.begin(), order.end()));
  return least;
}

/// Items that fill up a load in every section, as far as `most` items go: little room to be wrong.
FitProblem tightProblem(std::mt19937_64 &random, size_t most) {
  FitProblem problem;
  problem.sections = static_cast<int32_t>(3 + random() % 8);
  std::vector<int64_t> room(problem.sections, static_cast<int64_t>(4 + random() % 5));
  for (int tries = 0; tries < 200 && problem.items.size() < most; ++tries) {
    const auto lower = static_cast<int32_t>(random() % problem.sections);
    const auto length = static_cast<int32_t>(2 + random() % 4);
    int64_t size = static_cast<int64_t>(1 + random() % 3);
    int32_t upper = lower;
    for (; upper < problem.sections && upper < lower + length && room[upper] > 0; ++upper)
      size = std::min(size, room[upper]);
    for (int32_t s = lower; s < upper; ++s)
      room[s] -= size;
    if (upper > lower)
      problem.items.push_back({lower, upper, size});
  }
  return problem;
}

int64_t loadOf(const FitProblem &problem) {
  std::vector<int64_t> load(problem.sections, 0);
  for (const FitItem &item : problem.items)
    for (int32_t s = item.lower; s < item.upper; ++s)
      load[s] += item.size;
  return *std::max_element(load.begin(), load.end());
}

/// The verdict; offsets of a fit are checked pair by pair.
Verdict verdict(const FitProblem &problem, int64_t capacity, const Pruning &pruning,
                const Guide &guide = {}) {
  FitSearch search(problem, capacity, pruning);
  const Verdict found = search.run(guide, kUnlimited);
  if (found != Verdict::Fits)
    return found;
  const std::vector<int64_t> offsets = search.offsets();
  for (size_t i = 0; i < problem.items.size(); ++i) {
    const FitItem &item = problem.items[i];
    EXPECT_GE(offsets[i], 0);
    EXPECT_LE(offsets[i] + item.size, capacity);
    for (size_t j = 0; j < i; ++j)
      EXPECT_FALSE(overlap(item, problem.items[j]) &&
                   offsets[i] < offsets[j] + problem.items[j].size &&
                   offsets[j] < offsets[i] + item.size)
          << "items " << i << " and " << j;
  }
  return found;
}

/// Load 5, least height 6: see PackerSearchTest.cpp.
const FitProblem kAboveTheLoad = {6,
                                  {{3, 6, 3},
                                   {1, 5, 1},
                                   {5, 6, 2},
                                   {2, 4, 1},
                                   {4, 5, 1},
                                   {2, 3, 2},
                                   {1, 3, 1},
                                   {0, 2, 3},
                                   {0, 1, 2}}};

TEST(FitSearch, RefutesAndFits) {
  for (const Pruning &pruning : prunings()) {
    EXPECT_EQ(verdict(kAboveTheLoad, 5, pruning), Verdict::DoesNotFit);
    EXPECT_EQ(verdict(kAboveTheLoad, 6, pruning), Verdict::Fits);
  }
}

TEST(FitSearch, NothingFitsAnywhere) {
  EXPECT_EQ(verdict({0, {}}, 0, {}), Verdict::Fits);
  EXPECT_EQ(verdict({1, {{0, 1, 1}}}, 0, {}), Verdict::DoesNotFit);
}

TEST(FitSearch, SmallOnesAgainstBruteForce) {
  std::mt19937_64 random(1);
  for (int i = 0; i < 300; ++i) {
    const FitProblem problem = tightProblem(random, 3 + random() % 5);
    const int64_t load = loadOf(problem), least = leastHeight(problem.items);
    for (int64_t capacity = load - 1; capacity <= load + 1; ++capacity)
      for (const Pruning &pruning : prunings())
        ASSERT_EQ(verdict(problem, capacity, pruning),
                  capacity >= least ? Verdict::Fits : Verdict::DoesNotFit)
            << "problem " << i << ", capacity " << capacity;
  }
}

TEST(FitSearch, EachPruningKeepsTheAnswer) {
  std::mt19937_64 random(2);
  int refuted = 0;
  for (int i = 0; i < 400; ++i) {
    const FitProblem problem = tightProblem(random, 16);
    const int64_t load = loadOf(problem);
    const Verdict plain = verdict(problem, load, prunings().back());
    refuted += plain == Verdict::DoesNotFit;
    for (const Pruning &pruning : prunings())
      ASSERT_EQ(verdict(problem, load, pruning), plain) << "problem " << i;
    for (Preorder preorder : {Preorder::Area, Preorder::Total, Preorder::Size})
      ASSERT_EQ(verdict(problem, load, {}, {preorder, true, true, 500, 7}), plain)
          << "problem " << i;
  }
  EXPECT_GE(refuted, 1); // else the test says nothing
}

TEST(FitSearch, PruningSavesNodes) {
  // One packing of 60 buffers without a gap: what each of these three leaves out costs thousands of
  // states, and without any pruning the limit is reached. (The other two pay on other problems.)
  constexpr int64_t kLimit = 20000;
  std::mt19937_64 random(1);
  const Reduction reduction(perfectPacking(random, 60, 1024, 40), 1024);
  auto nodesOf = [&](const Pruning &pruning) {
    FitSearch search(reduction.problem(), reduction.capacity(), pruning);
    search.run({Preorder::Width, false, true, 0, 0}, kLimit);
    return search.nodes();
  };
  const int64_t all = nodesOf({});
  EXPECT_LT(all, kLimit / 2);
  for (int left : {1, 2, 5}) // bounds, dominance, backjumping
    EXPECT_GT(nodesOf(prunings()[left]), 2 * all) << "without pruning " << left;
  EXPECT_EQ(nodesOf(prunings().back()), kLimit);
}

TEST(FitSearch, TheLimitIsKeptAndWhatWasLearntStays) {
  FitSearch search(kAboveTheLoad, 5);
  Verdict found = Verdict::LimitReached;
  int calls = 0;
  for (; found == Verdict::LimitReached && calls < 1000; ++calls) {
    const int64_t before = search.nodes();
    found = search.run({Preorder::Width, true, true, 0, 0}, 3 + calls);
    EXPECT_LE(search.nodes() - before, 3 + calls);
  }
  EXPECT_EQ(found, Verdict::DoesNotFit);
  EXPECT_GT(calls, 1);
}

TEST(FitSearch, WideLevelsGiveTheSameAnswers) {
  FitProblem wide = kAboveTheLoad;
  for (FitItem &item : wide.items)
    item.size <<= 40;
  EXPECT_EQ(verdict(wide, (int64_t{6} << 40) - 1, {}), Verdict::DoesNotFit);
  EXPECT_EQ(verdict(wide, int64_t{6} << 40, {}), Verdict::Fits);
}

} // namespace
