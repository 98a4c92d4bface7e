//===- TrainingTest.cpp - plans for training, of the predicted size -*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "runtime/plan/PlanJson.h"
#include "runtime/plan/Verify.h"
#include "test/passes/StackFixture.h"

#include "mlir/IR/MLIRContext.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>

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
    EXPECT_DOUBLE_EQ(plan->summary.predictedMs, predictedNs(*prediction, *plan) / 1e6);
    for (const plan::Procedure &procedure : plan->procedures)
      expectPriced(procedure.steps, procedure.name);
  }
  // Four pairs of two variants, both sides whole or by one axis: 4 2 2. Two keep all.
  EXPECT_EQ(most, 18u);
}

TEST_P(Training, PoliciesNeedWhatTheirPlansPredict) {
  Result<cost::DeviceProfile> profile = loadProfile("cpu");
  ASSERT_TRUE(profile.ok());
  for (bool plain : {false, true}) {
    double fastest = std::numeric_limits<double>::infinity();
    for (Policy policy : policiesOf(plan::Mode::Train, GetParam().stack != TemplatePair)) {
      SCOPED_TRACE(policyName(policy).str() + (plain ? ", plain" : ""));
      OwningOpRef<ModuleOp> module = importSpecification(specOf(GetParam()), &context);
      ASSERT_TRUE(choosePolicy(*module, policy, {*profile, INT64_MAX, plain}).ok());
      Result<plan::Plan> plan = lowerToPlan(*module);
      ASSERT_TRUE(plan.ok()) << plan.status().message();
      expectLegal(*plan);
      fastest = std::min(fastest, plan->summary.predictedMs);
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
    OwningOpRef<ModuleOp> module = importSpecification(specOf(GetParam()), &context);
    ASSERT_TRUE(choosePolicy(*module, Policy::Auto, {*profile, INT64_MAX, plain}).ok());
    Result<plan::Plan> plan = lowerToPlan(*module);
    ASSERT_TRUE(plan.ok()) << plan.status().message();
    EXPECT_EQ(plan->summary.predictedMs, fastest);
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
  // The outer product keeps m for the next block's row attention, where it does not come first: the
  // first block is one of its own.
  ASSERT_EQ(forward.runs.size(), pairOnly || GetParam().opmFirst ? 1u : 2u);
  ASSERT_EQ(backward.runs.size(), forward.runs.size());
  for (size_t run = 0; run < forward.runs.size(); ++run) {
    const plan::BlockRun &there = forward.runs[run],
                         &back = backward.runs[forward.runs.size() - 1 - run];
    EXPECT_EQ(there.firstBlock, back.firstBlock);
    EXPECT_EQ(there.blockCount, back.blockCount);
    ASSERT_EQ(there.calls.size(), back.calls.size());
    for (size_t i = 0; i < there.calls.size(); ++i) {
      const plan::Call &call = there.calls[i], &reversed = back.calls[there.calls.size() - 1 - i];
      EXPECT_EQ(plan->procedures[call.procedure].module,
                plan->procedures[reversed.procedure].module);
      EXPECT_EQ(plan->procedures[reversed.procedure].phase, plan::Phase::Backward);
      EXPECT_EQ(call.frameOffset, reversed.frameOffset);
      EXPECT_EQ(call.frameStride, reversed.frameStride);
    }
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

/// Where the first call of a run that keeps something keeps it.
int64_t firstKept(const plan::Plan &plan, const plan::BlockRun &run) {
  for (const plan::Call &call : run.calls)
    for (const plan::Buffer &buffer : plan.procedures[call.procedure].buffers)
      if (buffer.base == plan::Base::Saved)
        return call.savedOffset;
  return -1;
}

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
    ASSERT_EQ(forward.size(), backward.size());
    int64_t block = 0;
    for (size_t run = 0; run < forward.size(); ++run) {
      const plan::BlockRun &back = backward[forward.size() - 1 - run];
      EXPECT_EQ(forward[run].firstBlock, block);
      EXPECT_EQ(back.firstBlock, block);
      EXPECT_EQ(back.blockCount, forward[run].blockCount);
      block += forward[run].blockCount;
      // A run's first kept tensors lie where the last frame of the one before it did.
      if (run > 0) {
        const plan::Call &last = forward[run - 1].calls.back();
        EXPECT_EQ(firstKept(*plan, forward[run]),
                  last.frameOffset + (forward[run - 1].blockCount - 1) * last.frameStride);
      }
    }
    EXPECT_EQ(block, 3);
  }
}

TEST(TrainingPolicies, OfTheOtherModeAreRefusedWithTheList) {
  MLIRContext context(MLIRContext::Threading::DISABLED);
  Result<cost::DeviceProfile> profile = loadProfile("cpu");
  ASSERT_TRUE(profile.ok());
  auto refusal = [&](StackKind stack, plan::Mode mode, Policy policy) {
    spec::ModelSpec spec = smallSpec(stack, 3, 3);
    spec.mode = mode;
    OwningOpRef<ModuleOp> module = importSpecification(spec, &context);
    Result<Policy> taken = choosePolicy(*module, policy, {*profile, INT64_MAX, false});
    if (taken.ok())
      return std::string();
    EXPECT_EQ(taken.status().code(), ErrorCode::Unsupported);
    return taken.status().message();
  };
  for (Policy policy : {Policy::Direct, Policy::Small, Policy::Large, Policy::Chunk, Policy::Extra})
    EXPECT_EQ(refusal(Evoformer, plan::Mode::Train, policy), "");
  for (Policy policy : {Policy::Direct, Policy::Chunk})
    EXPECT_EQ(refusal(Evoformer, plan::Mode::Infer, policy), "");
  for (Policy policy : {Policy::Small, Policy::Large, Policy::Extra})
    EXPECT_EQ(refusal(Evoformer, plan::Mode::Infer, policy),
              "policy " + policyName(policy).str() +
                  " is not one of infer mode for this stack: auto, direct, chunk");
  EXPECT_EQ(refusal(TemplatePair, plan::Mode::Train, Policy::Extra),
            "policy extra is not one of train mode for this stack: auto, direct, small, large, "
            "chunk");
}

} // namespace
