//===- SearchTest.cpp - plans by search -------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "passes/Search.h"

#include "runtime/plan/PlanJson.h"
#include "runtime/plan/Timeline.h"
#include "runtime/plan/Verify.h"
#include "test/passes/StackFixture.h"

#include <gtest/gtest.h>

#include <cmath>

using namespace mlir;

namespace evo::test {
namespace {

class SearchTest : public ::testing::Test {
protected:
  MLIRContext context{MLIRContext::Threading::DISABLED};
  cost::DeviceProfile profile = *cost::builtinProfile("cpu");

  spec::ModelSpec specOf(spec::StackKind stack, bool train, int64_t blocks) {
    spec::ModelSpec spec = smallSpec(stack, 24, 20);
    spec.mode = train ? plan::Mode::Train : plan::Mode::Infer;
    spec.blocks = blocks;
    return spec;
  }
  Target targetOf(int64_t budget) { return {profile, budget, false}; }

  /// The plan of policy auto, verified.
  Result<plan::Plan> planWithin(const spec::ModelSpec &spec, int64_t budget, SearchReport &report) {
    OwningOpRef<ModuleOp> module = importSpecification(spec, &context);
    EVO_ASSIGN(Policy policy, choosePolicy(*module, Policy::Auto, targetOf(budget), &report));
    EXPECT_EQ(policy, Policy::Auto) << "the search found nothing as fast as a named policy";
    EVO_ASSIGN(plan::Plan plan, lowerToPlan(*module));
    EVO_TRY(plan::checkPlan(plan));
    return plan;
  }
};

constexpr int64_t kAmple = int64_t{1} << 50;

struct Case {
  spec::StackKind stack;
  bool train;
};
constexpr Case kCases[] = {{spec::StackKind::Evoformer, true},
                           {spec::StackKind::ExtraMsa, true},
                           {spec::StackKind::TemplatePair, true},
                           {spec::StackKind::Evoformer, false},
                           {spec::StackKind::TemplatePair, false}};

// From the smallest budget up: the plan verifies, fits, and is never slower than with less memory.
TEST_F(SearchTest, PlansFitAndNeverSlowDownAsTheBudgetGrows) {
  for (const Case &each : kCases) {
    SCOPED_TRACE(std::string(spec::stackName(each.stack)) + (each.train ? ", train" : ", infer"));
    spec::ModelSpec spec = specOf(each.stack, each.train, 5);
    SearchReport ample, report;
    Result<plan::Plan> fastest = planWithin(spec, kAmple, ample);
    ASSERT_TRUE(fastest.ok()) << fastest.status().message();
    EXPECT_NEAR(fastest->summary.predictedMs * 1e6, static_cast<double>(ample.lowerBoundNs), 1);
    int64_t least = ample.leastBudgetBytes, most = fastest->summary.predictedPeakBytes;
    ASSERT_LT(least, most);
    double before = INFINITY;
    for (int step = 0; step <= 16; ++step) {
      int64_t budget = least + (most - least) * step / 16;
      Result<plan::Plan> plan = planWithin(spec, budget, report);
      ASSERT_TRUE(plan.ok()) << plan.status().message();
      EXPECT_LE(plan->summary.predictedPeakBytes, budget);
      EXPECT_LE(plan->summary.predictedMs, before) << "at " << budget;
      before = plan->summary.predictedMs;
      if (step == 0) {
        EXPECT_EQ(plan->summary.predictedPeakBytes, budget) << "not the smallest budget";
      }
    }
    EXPECT_EQ(before, fastest->summary.predictedMs);
  }
}

// One byte below the smallest budget there is no plan, and the error says what that budget is.
TEST_F(SearchTest, TheSmallestBudgetIsTheSmallest) {
  for (const Case &each : kCases) {
    spec::ModelSpec spec = specOf(each.stack, each.train, 3);
    SearchReport report;
    ASSERT_TRUE(planWithin(spec, kAmple, report).ok());
    OwningOpRef<ModuleOp> module = importSpecification(spec, &context);
    int64_t least = report.leastBudgetBytes;
    Result<Policy> refused = choosePolicy(*module, Policy::Auto, targetOf(least - 1));
    ASSERT_FALSE(refused.ok());
    EXPECT_EQ(refused.status().code(), ErrorCode::Infeasible);
    const std::string &message = refused.status().message();
    EXPECT_NE(message.find("the smallest feasible budget is " + std::to_string(least) + " bytes"),
              std::string::npos)
        << message;
    EXPECT_NE(message.find("streams and masks"), std::string::npos) << message;
  }
}

// What the search promises is what the plan says: nanoseconds exactly, bytes to the rounding.
TEST_F(SearchTest, TheSolutionIsThePlan) {
  for (const Case &each : kCases) {
    spec::ModelSpec spec = specOf(each.stack, each.train, 6);
    OwningOpRef<ModuleOp> module = importSpecification(spec, &context);
    ir::StackOp stack = *module->getOps<ir::StackOp>().begin();
    Result<ScheduleSearch> search = ScheduleSearch::create(stack, targetOf(kAmple), {});
    ASSERT_TRUE(search.ok()) << search.status().message();
    int64_t least = search->leastBudget();
    for (int64_t percent : {100, 105, 120, 150, 200, 400, 1000}) {
      Result<schedule::Solution> solution = search->solve(least * percent / 100);
      ASSERT_TRUE(solution.ok()) << solution.status().message();
      OwningOpRef<ModuleOp> copy = module->clone();
      ASSERT_TRUE(search->apply(*copy->getOps<ir::StackOp>().begin(), *solution).ok());
      setTarget(*copy);
      Result<plan::Plan> plan = lowerToPlan(*copy);
      ASSERT_TRUE(plan.ok()) << plan.status().message();
      EXPECT_TRUE(plan::checkPlan(*plan).ok());
      EXPECT_EQ(std::llround(plan->summary.predictedMs * 1e6), search->costNs(*solution));
      EXPECT_EQ(plan->arenaBytes - plan::slotBytes(*plan),
                solution->peakBytes - solution->lossBytes);
    }
  }
}

// A budget that the whole forward must be run again for, more than once.
TEST_F(SearchTest, NestsSegmentsWhereMemoryIsShort) {
  spec::ModelSpec spec = specOf(spec::StackKind::Evoformer, true, 48);
  SearchReport report;
  ASSERT_TRUE(planWithin(spec, kAmple, report).ok());
  OwningOpRef<ModuleOp> module = importSpecification(spec, &context);
  ASSERT_TRUE(choosePolicy(*module, Policy::Auto, targetOf(report.leastBudgetBytes)).ok());
  ir::StackOp stack = *module->getOps<ir::StackOp>().begin();
  ASSERT_TRUE(stack.getRecompute());
  int64_t end = 0, nested = 0;
  for (auto interval : stack.getRecompute()->getAsRange<ir::RecomputeAttr>()) {
    nested += interval.getFirst() < end;
    end = std::max(end, interval.getEnd());
  }
  EXPECT_GT(nested, 0);
}

/// One of the seed's rows, on the analytic H100.
class SeedSearchTest : public SearchTest {
protected:
  SeedSearchTest() { profile = *cost::builtinProfile("h100"); }

  spec::ModelSpec readSpec(const std::string &name) {
    Result<spec::ModelSpec> spec =
        spec::readModelSpec(std::string(EVO_SPECS_FOLDER) + "/" + name + ".json", {});
    EXPECT_TRUE(spec.ok()) << name;
    return spec.ok() ? *spec : spec::ModelSpec();
  }
  /// What policy auto says of a budget.
  SearchReport searchWithin(const spec::ModelSpec &spec, int64_t budget, plan::Summary &summary) {
    OwningOpRef<ModuleOp> module = importSpecification(spec, &context);
    SearchReport report;
    Target target = targetOf(budget);
    Result<Policy> policy = choosePolicy(*module, Policy::Auto, target, &report);
    EXPECT_TRUE(policy.ok()) << policy.status().message();
    EXPECT_TRUE(!policy.ok() || *policy == Policy::Auto) << "a named policy was faster";
    Result<plan::Plan> plan = planOf(*module, target);
    EXPECT_TRUE(plan.ok());
    if (plan.ok()) {
      summary = plan->summary;
      // 48 blocks stay below 1 MB, and what no moment needs is said.
      EXPECT_LT(plan::printPlan(*plan)->size(), 1'000'000u);
      EXPECT_EQ(plan->arenaBytes - plan::largestLiveBytes(*plan), summary.idle.total);
      EXPECT_LE(summary.idle.total, summary.idle.kept + summary.idle.frame);
    }
    EXPECT_LE(summary.predictedPeakBytes, budget);
    return report;
  }
  PolicyNeed needOf(const SearchReport &report, Policy policy) {
    for (const PolicyNeed &need : report.named)
      if (need.policy == policy)
        return need;
    ADD_FAILURE() << policyName(policy).str();
    return {};
  }
};

// With the memory of a named policy the search is as fast or faster.
TEST_F(SeedSearchTest, IsNeverSlowerThanANamedPolicyThatFits) {
  for (const char *name : {"train-128-256", "train-512-384", "extra-train-5120-384",
                           "infer-512-384", "t1044-infer-128-2048"}) {
    SCOPED_TRACE(name);
    spec::ModelSpec spec = readSpec(name);
    plan::Summary summary;
    for (const PolicyNeed &need : searchWithin(spec, kAmple, summary).named) {
      SCOPED_TRACE(policyName(need.policy).str());
      searchWithin(spec, need.peakBytes, summary);
      EXPECT_LE(summary.predictedMs, need.predictedMs);
    }
  }
}

// Training at (512, 384): 0.7 of the peak of `large` at 5 % more, half of it at 15 %.
TEST_F(SeedSearchTest, TrainsInSevenTenthsAndInHalfOfLarge) {
  spec::ModelSpec spec = readSpec("train-512-384");
  plan::Summary summary;
  PolicyNeed large = needOf(searchWithin(spec, kAmple, summary), Policy::Large);
  searchWithin(spec, large.peakBytes * 7 / 10, summary);
  EXPECT_LE(summary.predictedMs, 1.05 * large.predictedMs);
  searchWithin(spec, large.peakBytes / 2, summary);
  EXPECT_LE(summary.predictedMs, 1.15 * large.predictedMs);
}

// Inference at (128, 2048) in fp32: an arena of 3.5 U at 3 % more time, U = 2048^2 * 128 * 4 bytes.
TEST_F(SeedSearchTest, InfersLongSequencesInThreeAndAHalfUnits) {
  spec::ModelSpec spec = readSpec("t1044-infer-128-2048");
  plan::Summary summary;
  SearchReport report = searchWithin(spec, kAmple, summary);
  int64_t arena = int64_t{2048} * 2048 * 128 * 4 * 7 / 2;
  searchWithin(spec, arena + summary.staticBytes + summary.libraryBytes, summary);
  EXPECT_LE(summary.arenaBytes, arena);
  EXPECT_LE(summary.predictedMs * 1e6, 1.03 * static_cast<double>(report.lowerBoundNs));
}

// Where the steps of the grid double, and where frames are rounded first, more memory is not
// slower.
TEST_F(SeedSearchTest, StepsOfTheGridNeverShow) {
  spec::ModelSpec spec = readSpec("train-128-256");
  plan::Summary summary;
  SearchReport report = searchWithin(spec, kAmple, summary);
  OwningOpRef<ModuleOp> module = importSpecification(spec, &context);
  Target target = targetOf(kAmple);
  ASSERT_TRUE(choosePolicy(*module, Policy::Direct, target).ok());
  Result<plan::Plan> plan = planOf(*module, target);
  ASSERT_TRUE(plan.ok());
  int64_t fixed = plan->summary.predictedPeakBytes - plan->arenaBytes + plan::slotBytes(*plan);
  for (int bit : {31, 33, 35}) {
    SCOPED_TRACE(bit);
    double before = INFINITY;
    for (int64_t more : {-1, 0, 1 << 20}) {
      searchWithin(spec, fixed + (int64_t{1} << bit) + more, summary);
      EXPECT_LE(summary.predictedMs, before) << more;
      before = summary.predictedMs;
    }
  }
  spec.s = 127;
  spec.r = 251;
  report = searchWithin(spec, kAmple, summary);
  double before = INFINITY;
  for (int64_t more : {0, 1 << 20, (2 << 20) - 1, 2 << 20, 3 << 20, 4 << 20, 8 << 20, 16 << 20}) {
    searchWithin(spec, report.leastBudgetBytes + more, summary);
    EXPECT_LE(summary.predictedMs, before) << more;
    before = summary.predictedMs;
  }
}

// Choices that no device could carry out are left out; where none is left, named policies remain.
TEST_F(SeedSearchTest, LimitsOfTheSolverAreNoErrors) {
  spec::ModelSpec spec = readSpec("t1044-infer-128-2048");
  spec.r = 6000;
  profile = *cost::builtinProfile("cpu");
  // Triangle attention takes more than the solver's 2^40 ns, whole or in slices.
  OwningOpRef<ModuleOp> slow = importSpecification(spec, &context);
  EXPECT_TRUE(choosePolicy(*slow, Policy::Auto, targetOf(int64_t{900} << 30)).ok());
  spec = specOf(spec::StackKind::TemplatePair, true, 513);
  OwningOpRef<ModuleOp> module = importSpecification(spec, &context);
  SearchReport report;
  Result<Policy> policy = choosePolicy(*module, Policy::Auto, targetOf(kAmple), &report);
  ASSERT_TRUE(policy.ok()) << policy.status().message();
  EXPECT_EQ(*policy, Policy::Direct);
  EXPECT_EQ(report.noSearch, "expected at most 512 blocks, got 513");
}

// The same specification and budget, the same plan.
TEST_F(SearchTest, IsDeterministic) {
  spec::ModelSpec spec = specOf(spec::StackKind::ExtraMsa, true, 4);
  SearchReport report;
  ASSERT_TRUE(planWithin(spec, kAmple, report).ok());
  std::string texts[2];
  for (std::string &text : texts) {
    OwningOpRef<ModuleOp> module = importSpecification(spec, &context);
    ASSERT_TRUE(choosePolicy(*module, Policy::Auto, targetOf(2 * report.leastBudgetBytes)).ok());
    llvm::raw_string_ostream stream(text);
    module->print(stream);
  }
  EXPECT_EQ(texts[0], texts[1]);
}

} // namespace
} // namespace evo::test
