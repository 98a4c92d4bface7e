//===- WorkspaceTest.cpp - plans for devices that need one ------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "runtime/plan/Timeline.h"
#include "runtime/plan/Verify.h"
#include "test/passes/StackFixture.h"

#include <gtest/gtest.h>

#include <algorithm>

using namespace mlir;

namespace evo::test {
namespace {

constexpr int64_t kAmple = int64_t{1} << 50;
constexpr int64_t kNeeded = 1'000'000, kSlot = 1'000'448; // 1954 * 512

class WorkspaceTest : public ::testing::Test {
protected:
  MLIRContext context{MLIRContext::Threading::DISABLED};
  cost::DeviceProfile without = *cost::builtinProfile("cpu"), with = without;
  WorkspaceTest() { with.workspaceBytes = kNeeded; }

  static spec::ModelSpec specOf(spec::StackKind stack, bool train) {
    spec::ModelSpec spec = smallSpec(stack, 24, 20);
    spec.mode = train ? plan::Mode::Train : plan::Mode::Infer;
    spec.blocks = 4;
    return spec;
  }
  Result<plan::Plan> planOn(const cost::DeviceProfile &profile, const spec::ModelSpec &spec,
                            Policy policy, int64_t budget, SearchReport *report = nullptr) {
    OwningOpRef<ModuleOp> module = importSpecification(spec, &context);
    Target target{profile, budget, false};
    EVO_ASSIGN([[maybe_unused]] Policy chosen, choosePolicy(*module, policy, target, report));
    EVO_ASSIGN(plan::Plan plan, planOf(*module, target));
    EVO_TRY(plan::checkPlan(plan));
    return plan;
  }
};

/// Without its workspace `plan` is `other`: streams where they were, frames and kept tensors above.
void expectSameButHigher(const plan::Plan &plan, const plan::Plan &other) {
  ASSERT_EQ(plan.tensors.size(), other.tensors.size() + 1);
  for (size_t i = 0; i < other.tensors.size(); ++i)
    EXPECT_EQ(plan.tensors[i].offset, other.tensors[i].offset) << other.tensors[i].name;
  const plan::Tensor &workspace = plan.tensors.back();
  EXPECT_EQ(workspace.name, "workspace");
  EXPECT_EQ(workspace.bytes, kSlot);
  EXPECT_EQ(workspace.offset, plan::slotBytes(other));
  EXPECT_EQ(plan.arenaBytes, other.arenaBytes + kSlot);
  EXPECT_EQ(plan.summary.predictedPeakBytes, other.summary.predictedPeakBytes + kSlot);
  EXPECT_EQ(plan.summary.keptBytes, other.summary.keptBytes);
  EXPECT_EQ(plan.summary.idle.total, other.summary.idle.total);
  EXPECT_EQ(plan.summary.idle.kept, other.summary.idle.kept);
  EXPECT_EQ(plan.summary.predictedMs, other.summary.predictedMs);
  for (size_t p = 0; p < other.programs.size(); ++p)
    for (size_t r = 0; r < other.programs[p].runs.size(); ++r)
      for (size_t c = 0; c < other.programs[p].runs[r].calls.size(); ++c)
        if (plan.programs[p].phase != plan::Phase::Optimizer) {
          EXPECT_EQ(plan.programs[p].runs[r].calls[c].frameOffset,
                    other.programs[p].runs[r].calls[c].frameOffset + kSlot);
        }
}

TEST_F(WorkspaceTest, EveryPlanIsHigherByIt) {
  for (bool train : {false, true}) {
    spec::ModelSpec spec = specOf(spec::StackKind::Evoformer, train);
    std::vector<Policy> policies = {Policy::Auto, Policy::Direct, Policy::Chunk};
    if (train)
      policies.push_back(Policy::Large);
    for (Policy policy : policies) {
      SCOPED_TRACE(policyName(policy).str());
      Result<plan::Plan> other = planOn(without, spec, policy, kAmple);
      Result<plan::Plan> plan = planOn(with, spec, policy, kAmple);
      ASSERT_TRUE(plan.ok() && other.ok()) << plan.status().message();
      expectSameButHigher(*plan, *other);
    }
  }
}

// The search counts it from the first byte: the same plans at budgets that are higher by it.
TEST_F(WorkspaceTest, BudgetsAreHigherByIt) {
  for (bool train : {false, true}) {
    spec::ModelSpec spec = specOf(spec::StackKind::Evoformer, train);
    SearchReport without_, with_;
    ASSERT_TRUE(planOn(without, spec, Policy::Auto, kAmple, &without_).ok());
    ASSERT_TRUE(planOn(with, spec, Policy::Auto, kAmple, &with_).ok());
    int64_t least = without_.leastBudgetBytes;
    EXPECT_EQ(with_.leastBudgetBytes, least + kSlot);
    for (int64_t budget : {least, least + least / 8, least + least / 2}) {
      Result<plan::Plan> other = planOn(without, spec, Policy::Auto, budget);
      Result<plan::Plan> plan = planOn(with, spec, Policy::Auto, budget + kSlot);
      ASSERT_TRUE(plan.ok() && other.ok()) << plan.status().message();
      expectSameButHigher(*plan, *other);
    }
    Result<plan::Plan> refused = planOn(with, spec, Policy::Auto, least + kSlot - 1);
    ASSERT_FALSE(refused.ok());
    EXPECT_NE(refused.status().message().find("the smallest feasible budget is " +
                                              std::to_string(least + kSlot) + " bytes, of which "),
              std::string::npos)
        << refused.status().message();
    EXPECT_NE(refused.status().message().find(", workspace of the kernels 1000448, "),
              std::string::npos)
        << refused.status().message();
  }
}

TEST_F(WorkspaceTest, PlansOfOtherDevicesHaveNone) {
  spec::ModelSpec spec = specOf(spec::StackKind::TemplatePair, false);
  Result<plan::Plan> plan = planOn(without, spec, Policy::Direct, kAmple);
  ASSERT_TRUE(plan.ok());
  EXPECT_EQ(plan::workspaceOf(*plan), nullptr);
  Result<plan::Plan> refused = planOn(without, spec, Policy::Direct, 1);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.status().message().find("workspace"), std::string::npos);
}

// A plan carries the part of the profile's table that its type needs, and nothing of an empty one.
TEST_F(WorkspaceTest, PlansCarryTheirProducts) {
  spec::ModelSpec spec = specOf(spec::StackKind::TemplatePair, false);
  plan::ProductClass half{plan::DType::BF16, plan::DType::BF16}, full;
  with.products = {"library 1",
                   {{1, 2, 3, 4, 5, 6, 7, 8, 9}, {9, 8, 7, 6, 5, 4, 3, 2, 1}},
                   {{half, {{{16, 16, 16, 1}, 1}}}, {full, {{{32, 16, 16, 1}, 0}}}}};
  for (Policy policy : {Policy::Auto, Policy::Chunk}) {
    Result<plan::Plan> plan = planOn(with, spec, policy, kAmple);
    ASSERT_TRUE(plan.ok()) << plan.status().message();
    EXPECT_EQ(plan->products, plan::productsOf(with.products, plan::Precision::Fp32));
    EXPECT_EQ(plan->products.ways.size(), 1u);
  }
  spec.precision = plan::Precision::Bf16;
  EXPECT_EQ(planOn(with, spec, Policy::Direct, kAmple)->products.series.front().products, half);
  spec.precision = plan::Precision::Fp16;
  EXPECT_TRUE(planOn(with, spec, Policy::Direct, kAmple)->products.empty());
}

// What the CUDA backend needs, in every plan of the profiles that are built in: 64 MiB of scratch,
// 32 for cuBLASLt and 48 for copies of operands. With the libraries' 624 MiB it is 768 MiB.
TEST_F(WorkspaceTest, TheGpusProfilesReserve144MiB) {
  for (const char *name : {"h100", "h200"}) {
    cost::DeviceProfile profile = *cost::builtinProfile(name);
    EXPECT_EQ(profile.workspaceBytes, 150'994'944);
    EXPECT_EQ(profile.libraryBytes + profile.workspaceBytes, int64_t{768} << 20);
    Result<plan::Plan> plan =
        planOn(profile, specOf(spec::StackKind::TemplatePair, false), Policy::Auto, kAmple);
    ASSERT_TRUE(plan.ok()) << plan.status().message();
    EXPECT_EQ(plan::workspaceBytes(*plan), 150'994'944);
  }
  EXPECT_EQ(cost::builtinProfile("cpu")->workspaceBytes, 0);
}

} // namespace
} // namespace evo::test
