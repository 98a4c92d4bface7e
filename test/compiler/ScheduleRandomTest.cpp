//===- ScheduleRandomTest.cpp - solvers against brute force -----*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "compiler/schedule/BruteForce.h"
#include "compiler/schedule/Simulate.h"
#include "compiler/schedule/Solve.h"
#include "test/compiler/ScheduleInstances.h"

#include <gtest/gtest.h>

#include <algorithm>

using namespace evo;
using namespace evo::schedule;

namespace {

using Frontier = std::vector<FrontierPoint>;
constexpr SolveOptions kSparse = {.engine = Engine::Sparse};

/// 3 to 6 ops of 2 or 3 records, as many blocks as brute force can do.
Shape randomShape(RandomProblems &random, bool small) {
  Shape shape;
  shape.blocks = 1 + static_cast<int>(random.below(3));
  shape.ops =
      3 + static_cast<int>(random.below(small ? (shape.blocks == 1 ? 4 : 4 - shape.blocks) : 4));
  shape.choices = small && shape.blocks > 1 ? 2 : 2 + static_cast<int>(random.below(2));
  shape.runs = static_cast<int>(random.below(shape.blocks == 3 && small ? 2 : 3));
  shape.layouts = 1 + static_cast<int>(random.below(2));
  shape.written = static_cast<StreamMask>(random.below(4));
  shape.segments = random.below(2) == 0;
  shape.inference = random.below(8) == 0;
  return shape;
}

TEST(ScheduleRandom, AllBudgetsAgainstBruteForce) {
  RandomProblems random(20260201);
  size_t points = 0, withSegments = 0;
  for (int i = 0; i < 600; ++i) {
    Problem problem = random.next(randomShape(random, /*small=*/true));
    problem.budgetBytes = ample(problem);
    Result<Frontier> every = bruteForce(problem);
    ASSERT_TRUE(every.ok()) << i << ": " << every.status().message();
    for (Engine engine : {Engine::Sparse, Engine::Dense}) {
      Result<Solution> solution =
          solve(problem, {.engine = engine, .granule = engine == Engine::Dense ? 1 : 0});
      ASSERT_TRUE(solution.ok()) << i << ": " << solution.status().message();
      ASSERT_EQ(solution->frontier, *every) << i;
      ASSERT_EQ(solution->peakBytes, every->back().bytes) << i;
      ASSERT_EQ(solution->leastBytes, every->front().bytes) << i;
    }
    points += every->size();
    // The plan of each point, and what lies just below it.
    for (size_t at = 0; at < every->size(); ++at) {
      problem.budgetBytes = (*every)[at].bytes;
      Result<Solution> solution = solve(problem, kSparse);
      ASSERT_TRUE(solution.ok() && solution->feasible) << i;
      ASSERT_EQ(solution->peakBytes, (*every)[at].bytes) << i;
      ASSERT_EQ(solution->costNs, (*every)[at].costNs) << i;
      withSegments += !solution->plan.segments.empty();
    }
    if (problem.budgetBytes = every->front().bytes - 1; problem.budgetBytes >= 0)
      for (Engine engine : {Engine::Sparse, Engine::Dense}) {
        Result<Solution> none =
            solve(problem, {.engine = engine, .granule = engine == Engine::Dense ? 1 : 0});
        ASSERT_TRUE(none.ok()) << i << ": " << none.status().message();
        ASSERT_FALSE(none->feasible) << i;
        ASSERT_EQ(none->leastBytes, every->front().bytes) << i;
      }
  }
  // A frontier of one point, or plans without segments, would test little.
  EXPECT_GT(points, 1500u);
  EXPECT_GT(withSegments, 100u);
}

TEST(ScheduleRandom, EnginesAgreeOnMultiplesOfTheGrid) {
  RandomProblems random(20260202);
  int feasible = 0;
  for (int i = 0; i < 10'000; ++i) {
    Shape shape = randomShape(random, /*small=*/false);
    shape.unit = 1 + random.below(1000);
    Problem problem = random.next(shape);
    problem.budgetBytes = shape.unit * random.below(60);
    Result<Solution> dense = solve(problem, {.granule = shape.unit});
    Result<Solution> sparse = solve(problem, kSparse);
    ASSERT_TRUE(dense.ok()) << i << ": " << dense.status().message();
    ASSERT_TRUE(sparse.ok()) << i << ": " << sparse.status().message();
    ASSERT_EQ(dense->feasible, sparse->feasible) << i;
    ASSERT_EQ(dense->leastBytes, sparse->leastBytes) << i;
    ASSERT_EQ(dense->frontier, sparse->frontier) << i;
    ASSERT_EQ(dense->lossBytes, 0) << i;
    feasible += sparse->feasible;
  }
  EXPECT_GT(feasible, 5'000);
  EXPECT_LT(feasible, 9'900);
}

/// Each block and each checkpoint loses less than a granule: 5 of them with as much less budget do
/// no worse.
TEST(ScheduleRandom, RoundedFramesLoseLessThanTheirGranules) {
  RandomProblems random(20260203);
  int lossy = 0;
  for (int i = 0; i < 500; ++i) {
    Shape shape = randomShape(random, /*small=*/false);
    shape.unit = 7;
    Problem problem = random.next(shape);
    problem.budgetBytes = 300 + random.below(300);
    const Bytes granule = 16;
    Result<Solution> dense = solve(problem, {.granule = granule});
    Result<Solution> exact = solve(problem, kSparse);
    ASSERT_TRUE(dense.ok() && exact.ok());
    // 3 blocks have at most 2 checkpoints at once.
    problem.budgetBytes -= granule * 5;
    Result<Solution> less = solve(problem, kSparse);
    ASSERT_TRUE(less.ok());
    if (dense->feasible) {
      ASSERT_TRUE(exact->feasible);
      ASSERT_GE(dense->costNs, exact->costNs) << i;
      ASSERT_GE(dense->lossBytes, 0);
      ASSERT_LT(dense->lossBytes, granule * 5);
      lossy += dense->lossBytes > 0;
    }
    if (less->feasible) {
      ASSERT_TRUE(dense->feasible) << i;
      ASSERT_LE(dense->costNs, less->costNs) << i;
    }
  }
  EXPECT_GT(lossy, 100);
}

TEST(ScheduleRandom, MoreBudgetAndMoreRecordsAreNeverSlower) {
  RandomProblems random(20260204);
  int faster = 0;
  for (int i = 0; i < 300; ++i) {
    Problem problem = random.next(randomShape(random, /*small=*/false));
    Problem larger = problem;
    for (int more = 0; more < 3; ++more) {
      Record record = problem.records[static_cast<size_t>(
          random.below(static_cast<int64_t>(problem.records.size())))];
      record.costNs = 1 + random.below(20);
      record.transientBytes = random.below(12);
      larger.records.push_back(record);
    }
    TimeNs before = INT64_MAX;
    for (Bytes budget = 0; budget <= 40; budget += 5) {
      problem.budgetBytes = larger.budgetBytes = budget;
      Result<Solution> solution = solve(problem, {.granule = 1});
      Result<Solution> ofMore = solve(larger, {.granule = 1});
      ASSERT_TRUE(solution.ok() && ofMore.ok());
      if (!solution->feasible)
        continue;
      ASSERT_LE(solution->costNs, before) << i;
      ASSERT_TRUE(ofMore->feasible) << i;
      ASSERT_LE(ofMore->costNs, solution->costNs) << i;
      faster += ofMore->costNs < solution->costNs;
      before = solution->costNs;
    }
  }
  EXPECT_GT(faster, 300);
}

TEST(ScheduleRandom, TwiceTheBytesGiveTheSamePlan) {
  RandomProblems random(20260205);
  for (int i = 0; i < 500; ++i) {
    Problem problem = random.next(randomShape(random, /*small=*/false));
    problem.budgetBytes = 10 + random.below(40);
    Problem twice = problem;
    twice.budgetBytes *= 2;
    for (Record &record : twice.records) {
      record.transientBytes *= 2;
      record.keptBytes *= 2;
    }
    for (Bytes &bytes : twice.streamBytes)
      bytes *= 2;
    if (twice.segments) {
      twice.segments->checkpointBytes *= 2;
      for (SegmentCosts::Forward &way : twice.segments->forward)
        way.transientBytes *= 2;
    }
    for (Engine engine : {Engine::Sparse, Engine::Dense}) {
      Result<Solution> one = solve(problem, {.engine = engine, .granule = 1});
      Result<Solution> two = solve(twice, {.engine = engine, .granule = 2});
      ASSERT_TRUE(one.ok() && two.ok());
      ASSERT_EQ(one->plan.records, two->plan.records) << i;
      ASSERT_EQ(one->plan.segments, two->plan.segments) << i;
      ASSERT_EQ(one->peakBytes * 2, two->peakBytes) << i;
    }
  }
}

} // namespace
