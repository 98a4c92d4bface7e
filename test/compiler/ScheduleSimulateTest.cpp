//===- ScheduleSimulateTest.cpp - plans event by event ----------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "compiler/schedule/Simulate.h"
#include "compiler/schedule/Solve.h"

#include <gtest/gtest.h>

#include <functional>
#include <string>

using namespace evo;
using namespace evo::schedule;

namespace {

/// Three blocks of two ops with one record each, and one that takes both; 5 bytes kept a block.
Problem threeBlocks() {
  Problem problem;
  problem.ops = {{"a", 0}, {"b", 1}};
  problem.records = {{"a", 0, 0, 10, 3, 2, 0, 0, 0},
                     {"b", 1, 1, 20, 7, 3, 0, 0, 0},
                     {"both", 0, 1, 40, 9, 1, 0, 0, 1},
                     {"there", 0, 0, 10, 3, 2, 0, 1, 0},
                     {"back", 1, 1, 20, 7, 3, 1, 0, 0}};
  problem.streamBytes = {8};
  problem.blocks = 3;
  problem.budgetBytes = 100;
  problem.segments = SegmentCosts{4, 0, {{5, 6}}};
  return problem;
}

Plan plainPlan() {
  return {.records = {{0, 1}, {0, 1}, {0, 1}}, .segments = {}, .frameGranule = 1};
}

TEST(ScheduleSimulate, EventsByHand) {
  Plan plan = plainPlan();
  // Kept 2 + 3 a block: the last b runs above 5 + 5 + 2, 12 + 7 = 19; 3 x 30 ns.
  Result<Simulation> simulation = simulate(threeBlocks(), plan);
  ASSERT_TRUE(simulation.ok()) << simulation.status().message();
  EXPECT_EQ(simulation->costNs, 90);
  EXPECT_EQ(simulation->peakBytes, 19);
  // Frames of 8: 8 + 8 + 2 + 7 = 25, and the last frame ends at 24.
  plan.frameGranule = 8;
  EXPECT_EQ(simulate(threeBlocks(), plan)->peakBytes, 25);
  // With a copy of the stream of 8 bytes: 5 + 5 + 8 + 9 = 27; 30 + 30 + 40 ns.
  plan = {.records = {{0, 1}, {0, 1}, {2}}, .segments = {}, .frameGranule = 1};
  EXPECT_EQ(simulate(threeBlocks(), plan)->peakBytes, 27);
  EXPECT_EQ(simulate(threeBlocks(), plan)->costNs, 100);
}

TEST(ScheduleSimulate, NestedSegmentsByHand) {
  Plan plan = plainPlan();
  // Checkpoint 4, the last block 4 + 2 + 7 = 13; again with pending gradients of 4: blocks 0 and 1
  // take 4 + 5 + 2 + 7 = 18. 2 x 6 + 90 ns.
  plan.segments = {{0, 2}};
  EXPECT_EQ(simulate(threeBlocks(), plan)->peakBytes, 18);
  EXPECT_EQ(simulate(threeBlocks(), plan)->costNs, 102);
  // Within it block 0 as a segment: 4 + 4 + 2 + 7 = 17 for block 1 and for block 0; 6 ns more.
  plan.segments = {{0, 2}, {0, 1}};
  EXPECT_EQ(simulate(threeBlocks(), plan)->peakBytes, 17);
  EXPECT_EQ(simulate(threeBlocks(), plan)->costNs, 108);
  // Checkpoints of 8: 8 + 8 + 2 + 7 = 25.
  plan.frameGranule = 8;
  EXPECT_EQ(simulate(threeBlocks(), plan)->peakBytes, 25);
}

TEST(ScheduleSimulate, WrongPlansAreRefused) {
  struct Case {
    std::function<void(Plan &)> breakIt;
    std::string message;
  };
  const Case cases[] = {
      {[](Plan &p) { p.frameGranule = 0; }, "frame granule: expected 1 to 17592186044416, got 0"},
      {[](Plan &p) { p.records.pop_back(); }, "blocks of the plan: expected 3, got 2"},
      {[](Plan &p) { p.records[1][1] = 5; }, "block 1: expected a record below 5, got 5"},
      {[](Plan &p) { p.records[1] = {1}; }, "block 1, first op of record 'b': expected 0, got 1"},
      {[](Plan &p) { p.records[1] = {0}; }, "block 1, ops carried out: expected 2, got 1"},
      {[](Plan &p) {
         p.records[1] = {0, 4};
       },
       "block 1, layout before record 'back': expected 1, got 0"},
      {[](Plan &p) {
         p.records[2] = {0, 1, 3};
       },
       "layout at the end of the chain: expected 0, got 1"},
      {[](Plan &p) {
         p.segments = {{0, 3}};
       },
       "segment 0: expected at least 1 block and fewer than the 3 from there to the end around it, "
       "got 3"},
      {[](Plan &p) {
         p.segments = {{0, 0}};
       },
       "segment 0: expected at least 1 block and fewer than the 3 from there to the end around it, "
       "got 0"},
      {[](Plan &p) {
         p.segments = {{0, 1}, {0, 1}};
       },
       "segment 1: expected at least 1 block and fewer than the 1 from there to the end around it, "
       "got 1"},
      {[](Plan &p) {
         p.segments = {{1, 1}, {0, 1}};
       },
       "segment 1: expected a first block from 1 to 1 in the order of the blocks, got 0"},
  };
  for (const Case &one : cases) {
    Plan plan = plainPlan();
    one.breakIt(plan);
    Result<Simulation> simulation = simulate(threeBlocks(), plan);
    ASSERT_FALSE(simulation.ok()) << one.message;
    EXPECT_EQ(simulation.status().message(), one.message);
  }
  Plan plan = plainPlan();
  plan.segments = {{0, 1}};
  Problem problem = threeBlocks();
  problem.segments.reset();
  EXPECT_EQ(simulate(problem, plan).status().message(),
            "segments of a problem without them: expected 0, got 1");
  problem = threeBlocks();
  problem.ops.push_back({"c", 0});
  problem.records = {
      {"a", 0, 2, 1, 1, 1, 0, 1, 0}, {"b", 0, 2, 1, 1, 1, 1, 0, 0}, {"c", 0, 2, 1, 1, 1, 0, 0, 0}};
  plan.records = {{0}, {1}, {2}};
  EXPECT_EQ(simulate(problem, plan).status().message(),
            "layout at the segment boundary before block 1: expected 0, got 1");
}

TEST(ScheduleSimulate, WrongSolutionsAreRefused) {
  const Problem problem = threeBlocks();
  Result<Solution> right = solve(problem);
  ASSERT_TRUE(right.ok()) << right.status().message();
  ASSERT_TRUE(validateSolution(problem, *right).ok());
  struct Case {
    std::function<void(Solution &)> breakIt;
    std::string message;
  };
  // The fastest plan keeps all: 90 ns, 19 bytes. The least budget has one segment within another,
  // or one after the other: 17.
  const Case cases[] = {
      {[](Solution &s) { s.costNs = 89; }, "cost of the plan in ns: expected 90, got 89"},
      {[](Solution &s) { s.peakBytes = 18; }, "peak of the plan in bytes: expected 19, got 18"},
      {[](Solution &s) { s.lossBytes = 1; }, "bytes lost to rounding: expected 0, got 1"},
      {[](Solution &s) { s.leastBytes = 101; },
       "smallest budget: expected at most the budget 100 that has a plan, got 101"},
      {[](Solution &s) { s.feasible = false; },
       "smallest budget: expected more than the budget 100 that has no plan, got 17"},
      {[](Solution &s) { s.frontier.clear(); },
       "frontier: expected a last point with the plan's cost, got another"},
      {[](Solution &s) { s.frontier.push_back(s.frontier.back()); },
       "frontier, point 3: expected more bytes and less time than the point before, got "
       "otherwise"},
  };
  for (const Case &one : cases) {
    Solution solution = *right;
    one.breakIt(solution);
    const Status status = validateSolution(problem, solution);
    ASSERT_FALSE(status.ok()) << one.message;
    EXPECT_EQ(status.message(), one.message);
  }
  Problem tighter = problem;
  tighter.budgetBytes = 18;
  EXPECT_EQ(validateSolution(tighter, *right).message(),
            "peak: expected at most the budget 18, got 19");
}

} // namespace
