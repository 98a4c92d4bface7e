//===- InvariantSweepTest.cpp - mutants of each invariant -------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// Breaks legal plans in one place, many times for each invariant, and expects the verifier to name
// that invariant. The plans are the fixtures and those under Inputs, which evo-opt has made
// (Inputs/regenerate.sh): every policy for training, with dropout, plain kernels and an optimizer
// among them, and one of the search, with blocks that run again.
//===----------------------------------------------------------------------===//
#include "runtime/plan/PlanJson.h"
#include "runtime/plan/Verify.h"
#include "test/plan/PlanFixture.h"
#include "test/plan/PlanMutants.h"

#include <fstream>
#include <gtest/gtest.h>
#include <iostream>
#include <map>
#include <set>
#include <sstream>

using namespace evo;
using namespace evo::plan;
using namespace evo::plan::test;

namespace {

/// Different mutants of each invariant: some have few places in these plans.
constexpr int kMutantsOfEach = 80, kFewestOfEach = 20;
/// And of each mutator, where an invariant has many.
constexpr int kMutantsOfAMutator = 20;

/// The same plan, whose backward program calls no procedure that the forward program calls: what is
/// broken there is broken for the recomputation alone.
Plan withOwnProcedures(Plan plan) {
  std::map<int32_t, int32_t> own;
  for (const BlockRun &run : plan.programs[0].runs)
    for (const Call &call : run.calls)
      own[call.procedure] = -1;
  for (BlockRun &run : plan.programs[1].runs)
    for (Call &call : run.calls) {
      auto copied = own.find(call.procedure);
      if (copied == own.end())
        continue;
      if (copied->second < 0) {
        copied->second = static_cast<int32_t>(plan.procedures.size());
        plan.procedures.push_back(plan.procedures[static_cast<size_t>(call.procedure)]);
        plan.procedures.back().name += ".own";
      }
      call.procedure = copied->second;
    }
  return plan;
}

std::vector<Plan> legalPlans() {
  std::vector<Plan> plans = {fixturePlan(), trainingPlan(), gradientPlan(), optimizerPlan()};
  for (const char *name : {"template-direct", "template-small", "template-large", "template-chunk",
                           "evoformer-extra", "template-plain", "extra-small", "evoformer-tight"}) {
    std::ifstream file(std::string(EVO_PLAN_INPUTS "/") + name + ".json");
    std::stringstream text;
    text << file.rdbuf();
    Result<Plan> plan = parsePlan(text.str(), name);
    EXPECT_TRUE(plan.ok()) << plan.status().message();
    if (plan)
      plans.push_back(*std::move(plan));
  }
  plans.push_back(withOwnProcedures(plans.back()));
  return plans;
}

TEST(InvariantSweep, ThePlansAreLegal) {
  for (const Plan &plan : legalPlans()) {
    Status status = checkPlan(plan);
    EXPECT_TRUE(status.ok()) << plan.model.name << ": " << status.message();
  }
}

TEST(InvariantSweep, EveryMutantIsRejectedByItsInvariant) {
  const std::vector<Plan> plans = legalPlans();
  std::mt19937_64 random(20260101);
  int all = 0;
  std::map<int, std::vector<Mutator>> byInvariant = dataMutators();
  byInvariant.merge(memoryMutators());
  for (const auto &[invariant, mutators] : trainingMutators())
    byInvariant[invariant].insert(byInvariant[invariant].end(), mutators.begin(), mutators.end());
  for (const auto &[invariant, mutators] : byInvariant) {
    std::map<std::string, int> made;
    std::set<std::string> seen;
    int count = 0;
    // No mutant is counted twice, and none is tried for ever.
    int wanted = std::max(kMutantsOfEach, kMutantsOfAMutator * static_cast<int>(mutators.size()));
    for (int attempt = 0; attempt < 100 * wanted && count < wanted; ++attempt) {
      const Mutator &mutator = mutators[random() % mutators.size()];
      size_t base = random() % plans.size();
      Plan mutant = plans[base];
      std::string what = mutator.apply(mutant, random);
      if (what.empty() || !seen.insert(mutator.name + std::to_string(base) + what).second)
        continue;
      ++count;
      ++made[mutator.name];
      auto violation = verifyPlan(mutant);
      std::string who = mutator.name + std::string(" of ") + plans[base].model.name + ", " + what;
      ASSERT_TRUE(violation.has_value()) << who << " is accepted";
      EXPECT_EQ(violation->invariant, invariant)
          << who << ": " << violation->path << ": " << violation->message;
    }
    EXPECT_GE(count, kFewestOfEach) << "of invariant " << invariant;
    std::cout << "invariant " << invariant << ": " << count << " mutants rejected";
    for (const Mutator &mutator : mutators) {
      EXPECT_GT(made[mutator.name], 0) << mutator.name << " finds no place";
      std::cout << ", " << mutator.name << " " << made[mutator.name];
    }
    std::cout << "\n";
    all += count;
  }
  EXPECT_GE(all, 1000);
}

} // namespace
