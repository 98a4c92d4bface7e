//===- TrainingTest.cpp - plans for training, of the predicted size -*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "runtime/plan/PlanJson.h"
#include "runtime/plan/Verify.h"
#include "test/passes/StackFixture.h"

#include "mlir/IR/MLIRContext.h"

#include <gtest/gtest.h>

using namespace mlir;
using namespace evo;
using namespace evo::test;
using spec::StackKind;
using enum spec::StackKind;

namespace {

struct Case {
  StackKind stack;
  int64_t s, r;
  bool opmFirst = false, maskTransition = true;
  plan::Precision precision = plan::Precision::Fp32;
};

std::string caseName(const ::testing::TestParamInfo<Case> &info) {
  const Case &c = info.param;
  return std::string(spec::stackName(c.stack)) + "_" + std::to_string(c.s) + "_" +
         std::to_string(c.r) + (c.opmFirst ? "_opm_first" : "") +
         (c.maskTransition ? "" : "_unmasked") + "_" +
         std::string(plan::precisionName(c.precision));
}

spec::ModelSpec specOf(const Case &c) {
  spec::ModelSpec spec = smallSpec(c.stack, c.s, c.r);
  spec.mode = plan::Mode::Train;
  spec.opmFirst = c.opmFirst;
  spec.maskTransition = c.maskTransition;
  spec.precision = c.precision;
  return spec;
}

void expectLegal(const plan::Plan &plan) {
  std::optional<plan::Violation> violation = plan::verifyPlan(plan);
  ASSERT_FALSE(violation) << violation->path << ": " << violation->message;
}

/// No step is free: whatever the lowering adds, a copy say, was there when kernels were priced.
void expectPriced(const std::vector<plan::Step> &steps, const std::string &procedure) {
  for (const plan::Step &step : steps) {
    if (const auto *kernel = std::get_if<plan::KernelStep>(&step.value)) {
      EXPECT_GT(kernel->costNs, 0) << procedure << ": " << kernel->location;
    } else if (const auto *loop = std::get_if<plan::LoopStep>(&step.value)) {
      expectPriced(loop->body, procedure);
    }
  }
}

class Training : public ::testing::TestWithParam<Case> {
protected:
  MLIRContext context{MLIRContext::Threading::DISABLED};
};

TEST_P(Training, EveryChoiceMakesALegalPlanOfThePredictedSize) {
  size_t most = 1;
  for (size_t k = 0; k < most; ++k) {
    SCOPED_TRACE("choice " + std::to_string(k));
    OwningOpRef<ModuleOp> module = importSpecification(specOf(GetParam()), &context);
    setTarget(*module);
    for (ir::ModuleOpInterface op : modulesOf(*module)) {
      std::vector<ir::ChoiceAttr> choices = trainingChoices(op);
      most = std::max(most, choices.size());
      op.setModuleChoice(choices[k % choices.size()]);
    }
    Result<Prediction> prediction = predict(*module);
    ASSERT_TRUE(prediction.ok()) << prediction.status().message();
    Result<plan::Plan> plan = lowerToPlan(*module);
    ASSERT_TRUE(plan.ok()) << plan.status().message();
    expectLegal(*plan);
    EXPECT_EQ(plan->arenaBytes, prediction->arenaBytes);
    EXPECT_EQ(plan->summary.keptBytes, prediction->keptBytes);
    EXPECT_DOUBLE_EQ(plan->summary.predictedMs, prediction->costNs / 1e6);
    for (const plan::Procedure &procedure : plan->procedures)
      expectPriced(procedure.steps, procedure.name);
  }
  // Four pairs of two variants; whole and by one axis.
  EXPECT_EQ(most, 8u);
}

TEST_P(Training, PolicySmallNeedsWhatItsPlanPredicts) {
  Result<cost::DeviceProfile> profile = loadProfile("cpu");
  ASSERT_TRUE(profile.ok());
  for (bool plain : {false, true})
    for (Policy policy : {Policy::Small, Policy::Auto}) {
      OwningOpRef<ModuleOp> module = importSpecification(specOf(GetParam()), &context);
      Result<Policy> taken = choosePolicy(*module, policy, {*profile, INT64_MAX, plain});
      ASSERT_TRUE(taken.ok()) << taken.status().message();
      EXPECT_EQ(*taken, Policy::Small);
      Result<plan::Plan> plan = lowerToPlan(*module);
      ASSERT_TRUE(plan.ok()) << plan.status().message();
      expectLegal(*plan);
      int64_t need = plan->summary.predictedPeakBytes;
      EXPECT_EQ(plan->summary.staticBytes,
                3 * (plan->weightBlockBytes + plan->gradientBlockBytes)); // of three blocks
      OwningOpRef<ModuleOp> again = importSpecification(specOf(GetParam()), &context);
      EXPECT_TRUE(choosePolicy(*again, policy, {*profile, need, plain}).ok());
      Result<Policy> refused = choosePolicy(*again, policy, {*profile, need - 1, plain});
      ASSERT_FALSE(refused.ok());
      EXPECT_EQ(refused.status().code(), ErrorCode::Infeasible);
      EXPECT_NE(refused.status().message().find("smallest feasible budget is " +
                                                std::to_string(need) + " bytes"),
                std::string::npos)
          << refused.status().message();
    }
}

TEST_P(Training, BackwardIsTheForwardReversed) {
  OwningOpRef<ModuleOp> module = importSpecification(specOf(GetParam()), &context);
  Result<cost::DeviceProfile> profile = loadProfile("cpu");
  ASSERT_TRUE(profile.ok());
  ASSERT_TRUE(choosePolicy(*module, Policy::Small, {*profile, INT64_MAX, false}).ok());
  Result<plan::Plan> plan = lowerToPlan(*module);
  ASSERT_TRUE(plan.ok()) << plan.status().message();
  ASSERT_EQ(plan->programs.size(), 2u);
  const plan::Program &forward = plan->programs[0], &backward = plan->programs[1];
  EXPECT_EQ(forward.phase, plan::Phase::Forward);
  EXPECT_EQ(backward.phase, plan::Phase::Backward);
  bool pairOnly = GetParam().stack == TemplatePair;
  std::vector<std::string> streams = {"m", "z"}, gradients = {"dm", "dz"};
  if (pairOnly)
    streams = {"z"}, gradients = {"dz"};
  EXPECT_EQ(forward.outputs, streams);
  EXPECT_EQ(backward.inputs, gradients);
  EXPECT_EQ(backward.outputs, gradients);
  ASSERT_EQ(forward.runs.size(), 1u);
  ASSERT_EQ(backward.runs.size(), 1u);
  const auto &calls = forward.runs[0].calls, &reversed = backward.runs[0].calls;
  ASSERT_EQ(calls.size(), reversed.size());
  for (size_t i = 0; i < calls.size(); ++i) {
    const plan::Call &there = calls[i], &back = reversed[calls.size() - 1 - i];
    EXPECT_EQ(plan->procedures[there.procedure].module, plan->procedures[back.procedure].module);
    EXPECT_EQ(plan->procedures[back.procedure].phase, plan::Phase::Backward);
    EXPECT_EQ(there.savedOffset, back.savedOffset);
    EXPECT_EQ(there.savedStride, back.savedStride);
  }
}

INSTANTIATE_TEST_SUITE_P(
    All, Training,
    ::testing::Values(Case{Evoformer, 7, 11}, Case{Evoformer, 1, 1}, Case{Evoformer, 5, 1},
                      Case{Evoformer, 1, 5},
                      Case{Evoformer, 2, 3, true, false, plan::Precision::Fp64},
                      Case{Evoformer, 13, 4, true, true, plan::Precision::Bf16},
                      Case{ExtraMsa, 7, 11}, Case{ExtraMsa, 1, 1},
                      Case{ExtraMsa, 17, 1, false, false}, Case{ExtraMsa, 1, 3},
                      Case{TemplatePair, 0, 11}, Case{TemplatePair, 0, 1},
                      Case{TemplatePair, 0, 5, false, false, plan::Precision::Fp16}),
    caseName);

/// Two segments of different choices: each keeps its blocks' tensors behind those of the one
/// before.
TEST(TrainingSegments, KeepOneBehindTheOther) {
  for (StackKind stack : {Evoformer, ExtraMsa, TemplatePair}) {
    SCOPED_TRACE(std::string(spec::stackName(stack)));
    MLIRContext context(MLIRContext::Threading::DISABLED);
    OwningOpRef<ModuleOp> module = importSpecification(specOf({stack, 7, 11}), &context);
    setTarget(*module);
    splitSegment(*module);
    std::vector<ir::ModuleOpInterface> modules = modulesOf(*module);
    for (size_t i = 0; i < modules.size(); ++i)
      modules[i].setModuleChoice(i < modules.size() / 2 ? trainingChoices(modules[i]).front()
                                                        : trainingChoices(modules[i]).back());
    Result<Prediction> prediction = predict(*module);
    ASSERT_TRUE(prediction.ok()) << prediction.status().message();
    Result<plan::Plan> plan = lowerToPlan(*module);
    ASSERT_TRUE(plan.ok()) << plan.status().message();
    expectLegal(*plan);
    EXPECT_EQ(plan->arenaBytes, prediction->arenaBytes);
    EXPECT_EQ(plan->summary.keptBytes, prediction->keptBytes);
    ASSERT_EQ(plan->programs.size(), 2u);
    const auto &forward = plan->programs[0].runs, &backward = plan->programs[1].runs;
    ASSERT_EQ(forward.size(), 2u);
    ASSERT_EQ(backward.size(), 2u);
    EXPECT_EQ(forward[1].firstBlock, 1);
    EXPECT_EQ(backward[0].firstBlock, 1);
    EXPECT_EQ(backward[0].blockCount, 2);
    EXPECT_EQ(backward[1].firstBlock, 0);
    // The same bytes a block, so the second segment begins where the next block of the first would.
    EXPECT_EQ(forward[1].calls[0].savedOffset,
              forward[0].calls[0].savedOffset + forward[0].calls[0].savedStride);
    EXPECT_EQ(forward[1].calls[0].savedOffset, backward[0].calls.back().savedOffset);
  }
}

TEST(TrainingPolicies, OfTheOtherModeAreRefusedWithTheList) {
  MLIRContext context(MLIRContext::Threading::DISABLED);
  Result<cost::DeviceProfile> profile = loadProfile("cpu");
  ASSERT_TRUE(profile.ok());
  for (plan::Mode mode : {plan::Mode::Infer, plan::Mode::Train})
    for (Policy policy : {Policy::Direct, Policy::Chunk, Policy::Small}) {
      spec::ModelSpec spec = smallSpec(Evoformer, 3, 3);
      spec.mode = mode;
      OwningOpRef<ModuleOp> module = importSpecification(spec, &context);
      Result<Policy> taken = choosePolicy(*module, policy, {*profile, INT64_MAX, false});
      bool legal = (mode == plan::Mode::Train) == (policy == Policy::Small);
      ASSERT_EQ(taken.ok(), legal);
      if (legal)
        continue;
      EXPECT_EQ(taken.status().code(), ErrorCode::Unsupported);
      EXPECT_EQ(taken.status().message(),
                mode == plan::Mode::Train
                    ? "policy " + policyName(policy).str() +
                          " is not one of train mode: auto, small"
                    : "policy small is not one of infer mode: auto, direct, chunk");
    }
}

} // namespace
