//===- ChoicesTest.cpp - every legal choice makes a legal plan --*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "runtime/plan/PlanJson.h"
#include "runtime/plan/Verify.h"
#include "test/passes/StackFixture.h"

#include "mlir/IR/IRMapping.h"
#include "mlir/IR/MLIRContext.h"

#include <gtest/gtest.h>

using namespace mlir;
using namespace evo;
using namespace evo::test;
using spec::StackKind;

namespace {

/// A stack, its s and r, and what a specification can switch.
struct Case {
  StackKind stack;
  int64_t s, r;
  bool opmFirst = false, maskTransition = true;
  plan::Precision precision = plan::Precision::Fp32;
};

std::string caseName(const ::testing::TestParamInfo<Case> &info) {
  const Case &c = info.param;
  std::string stack = c.stack == StackKind::Evoformer  ? "evoformer"
                      : c.stack == StackKind::ExtraMsa ? "extra_msa"
                                                       : "template_pair";
  return stack + "_" + std::to_string(c.s) + "_" + std::to_string(c.r) +
         (c.opmFirst ? "_opm_first" : "") + (c.maskTransition ? "" : "_unmasked") + "_" +
         std::string(plan::precisionName(c.precision));
}

spec::ModelSpec specOf(const Case &c) {
  spec::ModelSpec spec = smallSpec(c.stack, c.s, c.r);
  spec.opmFirst = c.opmFirst;
  spec.maskTransition = c.maskTransition;
  spec.precision = c.precision;
  return spec;
}

class Choices : public ::testing::TestWithParam<Case> {
protected:
  /// The stack with the k-th choice of every module; fewer choices start again.
  OwningOpRef<ModuleOp> chosen(size_t k) {
    OwningOpRef<ModuleOp> module = importSpecification(specOf(GetParam()), &context);
    setTarget(*module);
    for (ir::ModuleOpInterface op : modulesOf(*module)) {
      std::vector<ir::ChoiceAttr> choices = legalChoices(op);
      most = std::max(most, choices.size());
      op.setModuleChoice(choices[k % choices.size()]);
    }
    return module;
  }

  MLIRContext context{MLIRContext::Threading::DISABLED};
  size_t most = 1; ///< choices of the module that has the most
};

TEST_P(Choices, MakeLegalPlansOfThePredictedSize) {
  for (size_t k = 0; k < most; ++k) {
    SCOPED_TRACE("choice " + std::to_string(k));
    OwningOpRef<ModuleOp> module = chosen(k);
    Result<Prediction> prediction = predict(*module);
    ASSERT_TRUE(prediction.ok()) << prediction.status().message();
    Result<plan::Plan> plan = lowerToPlan(*module);
    ASSERT_TRUE(plan.ok()) << plan.status().message();
    std::optional<plan::Violation> violation = plan::verifyPlan(*plan);
    ASSERT_FALSE(violation) << violation->path << ": " << violation->message;
    EXPECT_EQ(plan->arenaBytes, prediction->arenaBytes);
    EXPECT_EQ(plan->summary.keptBytes, 0);
    // Streams are updated in place: no module ends in a copy of one.
    EXPECT_EQ(llvm::count(kernelsOf(*plan), plan::Kernel::Copy), 0);
  }
  // Two variants of: whole, and five sizes of an axis. Transitions: whole, and five of each of two
  // axes.
  EXPECT_EQ(most, 12u);
}

TEST_P(Choices, MakeTheSamePlanAgain) {
  for (size_t k = 0; k < 12; k += 5) {
    std::string texts[2];
    for (std::string &text : texts) {
      OwningOpRef<ModuleOp> module = chosen(k);
      Result<plan::Plan> plan = lowerToPlan(*module);
      ASSERT_TRUE(plan.ok()) << plan.status().message();
      Result<std::string> printed = plan::printPlan(*plan);
      ASSERT_TRUE(printed.ok()) << printed.status().message();
      text = *printed;
    }
    EXPECT_EQ(texts[0], texts[1]) << "choice " << k;
  }
}

using enum StackKind;
INSTANTIATE_TEST_SUITE_P(
    All, Choices,
    ::testing::Values(Case{Evoformer, 7, 11}, Case{Evoformer, 1, 1}, Case{Evoformer, 5, 1},
                      Case{Evoformer, 1, 5},
                      Case{Evoformer, 2, 3, true, false, plan::Precision::Fp64},
                      Case{Evoformer, 13, 4, true, true, plan::Precision::Bf16},
                      Case{ExtraMsa, 7, 11}, Case{ExtraMsa, 1, 1},
                      Case{ExtraMsa, 17, 1, false, false}, Case{ExtraMsa, 1, 3},
                      Case{TemplatePair, 0, 11}, Case{TemplatePair, 0, 1},
                      Case{TemplatePair, 0, 5, false, false, plan::Precision::Fp16}),
    caseName);

TEST(Segments, OfDifferentChoicesShareWhatIsEqual) {
  for (StackKind stack : {Evoformer, ExtraMsa, TemplatePair}) {
    SCOPED_TRACE(std::string(spec::stackName(stack)));
    MLIRContext context(MLIRContext::Threading::DISABLED);
    OwningOpRef<ModuleOp> module = importSpecification(smallSpec(stack, 7, 11), &context);
    setTarget(*module);
    splitSegment(*module);
    std::vector<ir::ModuleOpInterface> modules = modulesOf(*module);
    size_t half = modules.size() / 2, different = 0;
    for (size_t i = 0; i < modules.size(); ++i) {
      // The second segment slices every other module.
      bool sliced = i >= half && i % 2 == 0;
      modules[i].setModuleChoice(legalChoices(modules[i])[sliced ? 2 : 0]);
      different += sliced;
    }
    Result<plan::Plan> plan = lowerToPlan(*module);
    ASSERT_TRUE(plan.ok()) << plan.status().message();
    std::optional<plan::Violation> violation = plan::verifyPlan(*plan);
    ASSERT_FALSE(violation) << violation->path << ": " << violation->message;
    EXPECT_EQ(plan->procedures.size(), half + different);
    ASSERT_EQ(plan->programs.size(), 1u);
    const auto &runs = plan->programs[0].runs;
    ASSERT_EQ(runs.size(), 2u);
    EXPECT_EQ(runs[0].firstBlock, 0);
    EXPECT_EQ(runs[0].blockCount, 1);
    EXPECT_EQ(runs[1].firstBlock, 1);
    EXPECT_EQ(runs[1].blockCount, 2);
    size_t shared = 0;
    for (size_t i = 0; i < half; ++i)
      shared += runs[0].calls[i].procedure == runs[1].calls[i].procedure;
    EXPECT_EQ(shared, half - different);
  }
}

/// The smallest budget that a policy accepts is what its plan predicts.
TEST(Policies, NeedWhatTheirPlansPredict) {
  for (StackKind stack : {Evoformer, ExtraMsa, TemplatePair})
    for (Policy policy : {Policy::Direct, Policy::Chunk})
      for (bool plain : {false, true}) {
        SCOPED_TRACE(std::string(spec::stackName(stack)) + " " + policyName(policy).str());
        MLIRContext context(MLIRContext::Threading::DISABLED);
        Result<cost::DeviceProfile> profile = loadProfile("cpu");
        ASSERT_TRUE(profile.ok());
        OwningOpRef<ModuleOp> module = importSpecification(smallSpec(stack, 19, 13), &context);
        ASSERT_TRUE(choosePolicy(*module, policy, {*profile, INT64_MAX, plain}).ok());
        Result<plan::Plan> plan = lowerToPlan(*module);
        ASSERT_TRUE(plan.ok()) << plan.status().message();
        int64_t need = plan->summary.predictedPeakBytes;
        OwningOpRef<ModuleOp> again = importSpecification(smallSpec(stack, 19, 13), &context);
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

} // namespace
