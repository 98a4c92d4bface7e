//===- ScheduleTest.cpp - the search on instances by hand -------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "compiler/schedule/BruteForce.h"
#include "compiler/schedule/Solve.h"

#include <gtest/gtest.h>

#include <functional>
#include <string>

using namespace evo;
using namespace evo::schedule;

namespace {

using Frontier = std::vector<FrontierPoint>;
constexpr SolveOptions kSparse = {.engine = Engine::Sparse};

/// Two blocks of one op: save it, or keep its input and recompute.
Problem twoBlocks(Bytes budget) {
  Problem problem;
  problem.ops = {{"op", 0}};
  problem.records = {{.name = "save", .costNs = 10, .transientBytes = 4, .keptBytes = 4},
                     {.name = "recompute", .costNs = 13, .transientBytes = 6, .keptBytes = 1}};
  problem.blocks = 2;
  problem.budgetBytes = budget;
  return problem;
}

/// Three blocks of one record; a checkpoint of 2 bytes, 3 ns a block to run forward.
Problem threeBlocks(Bytes budget, Bytes unit = 1) {
  Problem problem;
  problem.ops = {{"op", 0}};
  problem.records = {
      {.name = "save", .costNs = 10, .transientBytes = 5 * unit, .keptBytes = 4 * unit}};
  problem.blocks = 3;
  problem.budgetBytes = budget * unit;
  problem.segments = SegmentCosts{2 * unit, 0, {{1 * unit, 3}}};
  return problem;
}

TEST(Schedule, TransientHeavyRecordsComeFirst) {
  // save, save 4 + 4 = 8, 20 ns; recompute, save max(6, 1 + 4) = 6, 23 ns; save, recompute
  // 4 + 6 = 10, 23 ns; recompute twice max(6, 1 + 6) = 7, 26 ns.
  for (SolveOptions options : {kSparse, SolveOptions{}}) {
    Result<Solution> solution = solve(twoBlocks(20), options);
    ASSERT_TRUE(solution.ok()) << solution.status().message();
    EXPECT_EQ(solution->frontier, (Frontier{{6, 23}, {8, 20}}));
    EXPECT_EQ(solution->plan.records, (std::vector<std::vector<int>>{{0}, {0}}));
    EXPECT_EQ(solution->peakBytes, 8);
    solution = solve(twoBlocks(7), options);
    ASSERT_TRUE(solution.ok()) << solution.status().message();
    EXPECT_EQ(solution->plan.records, (std::vector<std::vector<int>>{{1}, {0}}));
    EXPECT_EQ(solution->peakBytes, 6);
    EXPECT_EQ(solution->costNs, 23);
    solution = solve(twoBlocks(5), options);
    ASSERT_TRUE(solution.ok()) << solution.status().message();
    EXPECT_FALSE(solution->feasible);
    EXPECT_TRUE(solution->frontier.empty());
    EXPECT_EQ(solution->leastBytes, 6);
  }
}

TEST(Schedule, FramesAreRoundedOnceABlock) {
  // A frame of 4 becomes 8 in both blocks: 16, of which 16 - 8 is loss.
  Result<Solution> solution = solve(twoBlocks(16), {.granule = 8});
  ASSERT_TRUE(solution.ok()) << solution.status().message();
  EXPECT_EQ(solution->costNs, 20);
  EXPECT_EQ(solution->peakBytes, 16);
  EXPECT_EQ(solution->lossBytes, 8);
  EXPECT_EQ(solution->plan.frameGranule, 8);
  solution = solve(twoBlocks(15), {.granule = 8});
  ASSERT_TRUE(solution.ok()) << solution.status().message();
  EXPECT_FALSE(solution->feasible);
  EXPECT_EQ(solution->leastBytes, 16);
  EXPECT_EQ(*leastBudget(twoBlocks(0), 8), 16);
  EXPECT_EQ(*leastBudget(twoBlocks(0)), 6);
}

TEST(Schedule, AVersionIsKeptOnce) {
  // Kept 10 + 1 by a, 1 by b, which needs the same version and replaces it, 10 + 1 by c.
  Problem problem;
  problem.ops = {{"a", 0}, {"b", 1}, {"c", 0}};
  for (int op = 0; op < 3; ++op)
    problem.records.push_back(
        {"save", op, op, /*costNs=*/1, /*transientBytes=*/1, /*keptBytes=*/1, 0, 0, /*needs=*/1});
  problem.streamBytes = {10};
  problem.budgetBytes = 100;
  Result<Solution> solution = solve(problem, kSparse);
  ASSERT_TRUE(solution.ok()) << solution.status().message();
  EXPECT_EQ(solution->peakBytes, 23);
  // The version behind c is the one before a of the next block: 23 + 1 (a) + 1 (b) + 11 (c).
  problem.blocks = 2;
  solution = solve(problem, kSparse);
  ASSERT_TRUE(solution.ok()) << solution.status().message();
  EXPECT_EQ(solution->peakBytes, 36);
}

TEST(Schedule, ARunTakesThePlaceOfItsOps) {
  // 10 + 10 ns and 5 + 5 bytes one by one; together 25 ns and 7 bytes.
  Problem problem;
  problem.ops = {{"a", 0}, {"b", 0}};
  problem.records = {{"a", 0, 0, 10, 5, 5, 0, 0, 0},
                     {"b", 1, 1, 10, 5, 5, 0, 0, 0},
                     {"a and b", 0, 1, 25, 7, 1, 0, 0, 0}};
  problem.budgetBytes = 10;
  Result<Solution> solution = solve(problem);
  ASSERT_TRUE(solution.ok()) << solution.status().message();
  EXPECT_EQ(solution->plan.records[0], (std::vector<int>{0, 1}));
  EXPECT_EQ(solve(problem, kSparse)->frontier, (Frontier{{7, 25}, {10, 20}}));
  problem.budgetBytes = 9;
  EXPECT_EQ(solve(problem)->plan.records[0], std::vector<int>{2});
}

TEST(Schedule, SegmentsByHand) {
  // T1 = (5, 10). T2: two blocks (4 + 5, 20), or a segment of one (2 + 5, 3 + 10 + 10).
  // T3: a block first: (4 + 7, 33), (4 + 9, 30); a segment of one first: (2 + 7, 3 + 23 + 10),
  // (2 + 9, 33); a segment of two: (2 + 7, 6 + 10 + 23), (2 + 9, 36).
  const Frontier expected = {{9, 36}, {11, 33}, {13, 30}};
  const std::vector<Segment> segments[] = {{{0, 1}, {1, 1}}, {{1, 1}}, {}};
  for (SolveOptions options : {kSparse, SolveOptions{}}) {
    for (size_t i = 0; i < expected.size(); ++i) {
      Result<Solution> solution = solve(threeBlocks(expected[i].bytes), options);
      ASSERT_TRUE(solution.ok()) << solution.status().message();
      EXPECT_EQ(solution->frontier, Frontier(expected.begin(), expected.begin() + 1 + i));
      EXPECT_EQ(solution->plan.segments, segments[i]);
      EXPECT_EQ(solution->costNs, expected[i].costNs);
      EXPECT_EQ(solution->peakBytes, expected[i].bytes);
    }
    EXPECT_EQ(solve(threeBlocks(8), options)->leastBytes, 9);
  }
  Result<Frontier> every = bruteForce(threeBlocks(0));
  ASSERT_TRUE(every.ok());
  EXPECT_EQ(*every, expected);
}

TEST(Schedule, SizesOfManyTebibytes) {
  const Bytes unit = Bytes{1} << 40;
  for (SolveOptions options : {kSparse, SolveOptions{}}) {
    Result<Solution> solution = solve(threeBlocks(13, unit), options);
    ASSERT_TRUE(solution.ok()) << solution.status().message();
    EXPECT_EQ(solution->frontier, (Frontier{{9 * unit, 36}, {11 * unit, 33}, {13 * unit, 30}}));
  }
}

TEST(Schedule, InferenceKeepsNothing) {
  Problem problem = twoBlocks(5);
  for (Record &record : problem.records)
    record.keptBytes = 0;
  Result<Solution> solution = solve(problem);
  ASSERT_TRUE(solution.ok()) << solution.status().message();
  EXPECT_EQ(solution->costNs, 20); // two saves of 4 bytes, one after the other
  EXPECT_EQ(solution->peakBytes, 4);
}

TEST(Schedule, TheDefaultGrid) {
  EXPECT_EQ(defaultGranule(0), 2 << 20);
  EXPECT_EQ(defaultGranule(Bytes{16} << 30), 2 << 20); // 16 GiB / 8192 = 2 MiB
  EXPECT_EQ(defaultGranule(Bytes{80} << 30), 10 << 20);
  // Kept sizes 4 and 1 divide by 1 only: 8191 cells are few enough, 2^24 bytes are not.
  EXPECT_EQ(solve(twoBlocks(8191))->plan.frameGranule, 1);
  EXPECT_EQ(solve(twoBlocks(1 << 24))->plan.frameGranule, 2 << 20);
}

TEST(Schedule, WrongProblemsAreRefused) {
  struct Case {
    std::function<void(Problem &)> breakIt;
    std::string message;
  };
  const Case cases[] = {
      {[](Problem &p) { p.blocks = 0; }, "blocks: expected 1 to 512, got 0"},
      {[](Problem &p) { p.ops.clear(); }, "ops of a block: expected 1 to 64, got 0"},
      {[](Problem &p) { p.streamBytes.resize(5); }, "streams: expected 0 to 4, got 5"},
      {[](Problem &p) { p.budgetBytes = -1; },
       "budget bytes: expected 0 to 17592186044416, got -1"},
      {[](Problem &p) { p.streamBytes = {-3}; },
       "bytes of stream 0: expected 0 to 17592186044416, got -3"},
      {[](Problem &p) { p.ops[0].writes = 1; },
       "op 'op', streams written: expected bits of 0 streams, got mask 1"},
      {[](Problem &p) {
         p.segments = SegmentCosts{-1, 0, {{0, 0}}};
       },
       "checkpoint bytes: expected 0 to 17592186044416, got -1"},
      {[](Problem &p) {
         p.segments = SegmentCosts{0, 0, {{0, -1}}};
       },
       "forward way 0 of a segment, ns: expected 0 to 1099511627776, got -1"},
      {[](Problem &p) {
         p.segments = SegmentCosts{0, 0, {{-1, 0}}};
       },
       "forward way 0 of a segment, transient bytes: expected 0 to 17592186044416, got -1"},
      {[](Problem &p) {
         p.segments = SegmentCosts{0, -2, {{0, 0}}};
       },
       "checkpoint ns: expected 0 to 1099511627776, got -2"},
      {[](Problem &p) {
         p.segments = SegmentCosts{0, 0, {}};
       },
       "forward ways of a segment's block: expected 1 to 256, got 0"},
      {[](Problem &p) {
         p.segments = SegmentCosts{0, 0, {{4, 9}, {4, 8}}};
       },
       "forward way 1 of a segment, transient bytes: expected 5 to 17592186044416, got 4"},
      {[](Problem &p) {
         p.segments = SegmentCosts{0, 0, {{4, 9}, {5, 9}}};
       },
       "forward way 1 of a segment, ns: expected 0 to 8, got 9"},
      {[](Problem &p) { p.copyNs = {1, 2, 3}; }, "copy times: expected 0 to 0, got 3"},
      {[](Problem &p) { p.records[1].first = 1; },
       "record 1 'recompute', first op: expected 0 to 0, got 1"},
      {[](Problem &p) { p.records[1].last = 2; },
       "record 1 'recompute', last op: expected 0 to 0, got 2"},
      {[](Problem &p) { p.records[0].costNs = -1; },
       "record 0 'save', cost ns: expected 0 to 1099511627776, got -1"},
      {[](Problem &p) { p.records[0].transientBytes = -1; },
       "record 0 'save', transient bytes: expected 0 to 17592186044416, got -1"},
      {[](Problem &p) { p.records[0].keptBytes = -1; },
       "record 0 'save', kept bytes: expected 0 to 17592186044416, got -1"},
      {[](Problem &p) { p.records[0].layoutIn = -1; },
       "record 0 'save', layout in: expected 0 to 15, got -1"},
      {[](Problem &p) { p.records[0].layoutOut = 16; },
       "record 0 'save', layout out: expected 0 to 15, got 16"},
      {[](Problem &p) { p.records[0].needs = 2; },
       "record 0 'save', streams needed: expected bits of 0 streams, got mask 2"},
      {[](Problem &p) { p.records.clear(); },
       "records: expected a sequence through the block from layout 0, got none beyond op 0 'op'; "
       "add a record that begins there in a layout that is reached"},
      {[](Problem &p) { p.records[0].layoutOut = p.records[1].layoutOut = 1; },
       "records: expected a sequence through the block that ends in layout 0, got only ends in "
       "other layouts; add a record that leads back"},
  };
  for (const Case &one : cases) {
    Problem problem = twoBlocks(10);
    one.breakIt(problem);
    Result<Solution> solution = solve(problem);
    ASSERT_FALSE(solution.ok()) << one.message;
    EXPECT_EQ(solution.status().message(), one.message);
  }
}

TEST(Schedule, WrongOptionsAreRefused) {
  EXPECT_EQ(solve(twoBlocks(10), {.granule = -1}).status().message(),
            "granule: expected 1 to 17592186044416 bytes for a budget of 10, got -1; the sparse "
            "engine needs none");
  // 2^21 / 2^20 + 1 = 3
  EXPECT_EQ(solve(twoBlocks(1 << 21), {.granule = 1}).status().message(),
            "granule: expected 3 to 17592186044416 bytes for a budget of 2097152, got 1; the "
            "sparse engine needs none");
  EXPECT_EQ(leastBudget(twoBlocks(10), 0).status().message(),
            "granule: expected 1 to 17592186044416 bytes, got 0");
  // 2 records in each of 2 blocks: 4 plans
  EXPECT_TRUE(bruteForce(twoBlocks(10), 4).ok());
  EXPECT_EQ(bruteForce(twoBlocks(10), 3).status().message(),
            "brute force: expected at most 3 plans, got more");
}

} // namespace
