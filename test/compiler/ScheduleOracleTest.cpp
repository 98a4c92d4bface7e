//===- ScheduleOracleTest.cpp - the search against CBC ----------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "test/compiler/ScheduleOracle.h"
#include "test/compiler/ScheduleInstances.h"

using namespace evo;
using namespace evo::schedule;

namespace {

TEST_F(ScheduleOracle, RandomChains) {
  RandomProblems random(20260206);
  for (int i = 0; i < 40; ++i) {
    Shape shape;
    shape.ops = 4 + static_cast<int>(random.below(4));
    shape.choices = 3 + static_cast<int>(random.below(3));
    shape.blocks = 2 + static_cast<int>(random.below(7));
    shape.runs = static_cast<int>(random.below(4));
    shape.layouts = 1 + static_cast<int>(random.below(2));
    Problem problem = random.next(shape);
    problem.budgetBytes = 20 + random.below(25 * shape.blocks);
    // Frames of 1 byte are exact; others are rounded.
    compare("random " + std::to_string(i), problem, 1 + random.below(3));
  }
  EXPECT_GE(feasible, 20);
  EXPECT_GE(infeasible, 3);
}

TEST_F(ScheduleOracle, EvoformerChains) {
  constexpr Bytes kGiB = 1024 * kMiB, kOdd = 3 * 64 * 1024 + 512;
  for (auto [blocks, gib, odd] : std::initializer_list<std::tuple<int, Bytes, Bytes>>{
           {8, 5, kOdd}, {8, 12, 0}, {48, 2, kOdd}, {48, 24, kOdd}, {48, 60, kOdd}, {48, 60, 0}}) {
    const Problem problem = evoformerProblem(gib * kGiB, odd, /*segments=*/false, blocks);
    compare(std::to_string(blocks) + " blocks, " + std::to_string(gib) + " GiB" +
                (odd ? "" : ", divisor"),
            problem, odd ? defaultGranule(problem.budgetBytes) : 12 * kMiB);
  }
  EXPECT_GE(feasible, 4);
  EXPECT_GE(infeasible, 1);
}

} // namespace
