//===- OptimizerTest.cpp - plans with an optimizer ---------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "compiler/cost/DeviceProfile.h"
#include "passes/Compile.h"
#include "runtime/plan/Verify.h"
#include "test/passes/StackFixture.h"

#include "mlir/IR/MLIRContext.h"

#include <gtest/gtest.h>

#include <algorithm>

using namespace mlir;
using namespace evo;
using namespace evo::test;
using plan::Kernel;
using plan::StateKind;
using enum spec::StackKind;

namespace {

constexpr spec::Sgd kMomentum{0.01, 0.9};
constexpr spec::AdamW kAdamW{0.001, 0.9, 0.999, 1e-8, 0.01};

struct Case {
  const char *name;
  std::variant<spec::Sgd, spec::AdamW> optimizer;
  bool masterWeights;
  spec::LossScale lossScale;
  plan::Precision precision;
  std::vector<StateKind> states;
  bool counts;            ///< the gradients that are not finite
  double firstScale;      ///< of the loss
  int64_t growthInterval; ///< of the loss scale
};
void PrintTo(const Case &c, std::ostream *stream) { *stream << c.name; }

class WithOptimizer : public ::testing::TestWithParam<Case> {
protected:
  spec::ModelSpec specOf(spec::StackKind stack) {
    spec::ModelSpec spec = smallSpec(stack, 3, 4);
    spec.mode = plan::Mode::Train;
    spec.optimizer = GetParam().optimizer;
    spec.masterWeights = GetParam().masterWeights;
    spec.lossScale = GetParam().lossScale;
    spec.precision = GetParam().precision;
    return spec;
  }
  Result<Compilation> compiled(const spec::ModelSpec &spec, int64_t memory = int64_t{1} << 40,
                               Policy policy = Policy::Small) {
    CompileOptions options;
    options.policy = policy;
    options.target = {*cost::builtinProfile("h100"), memory, false};
    return compile(spec, options, context);
  }
  MLIRContext context{MLIRContext::Threading::DISABLED};
};

const plan::KernelStep *stepOf(const plan::Plan &plan, Kernel kernel) {
  for (const plan::Procedure &procedure : plan.procedures)
    for (const plan::Step &step : procedure.steps)
      if (const auto *found = std::get_if<plan::KernelStep>(&step.value))
        if (found->kernel == kernel)
          return found;
  return nullptr;
}

TEST_P(WithOptimizer, UpdatesEveryWeightOnceAndCountsItsState) {
  const Case &c = GetParam();
  for (spec::StackKind stack : {Evoformer, ExtraMsa, TemplatePair}) {
    Result<Compilation> made = compiled(specOf(stack));
    ASSERT_TRUE(made.ok()) << made.status().message();
    const plan::Plan &plan = made->plan;
    int64_t stateBytes = 0;
    for (const plan::Weight &weight : plan.weights) {
      ASSERT_EQ(weight.states.size(), c.states.size());
      for (size_t i = 0; i < c.states.size(); ++i) {
        EXPECT_EQ(weight.states[i].kind, c.states[i]);
        EXPECT_EQ(weight.states[i].offset, stateBytes);
        stateBytes +=
            plan::alignTo(*plan::byteSize(weight.shape, plan::statisticType(plan.precision)));
      }
    }
    EXPECT_EQ(plan.stateBlockBytes, stateBytes);
    EXPECT_EQ(plan.summary.staticBytes,
              plan.model.blocks * (plan.weightBlockBytes + plan.gradientBlockBytes + stateBytes));
    std::vector<Kernel> kernels = kernelsOf(plan);
    auto count = [&](Kernel kernel) {
      return static_cast<size_t>(std::count(kernels.begin(), kernels.end(), kernel));
    };
    bool isSgd = std::holds_alternative<spec::Sgd>(c.optimizer);
    size_t weights = plan.weights.size();
    EXPECT_EQ(count(Kernel::SgdStep), isSgd ? weights : 0);
    EXPECT_EQ(count(Kernel::AdamwStep), isSgd ? 0 : weights);
    EXPECT_EQ(count(Kernel::CountNonfinite), c.counts ? weights : 0);
    EXPECT_EQ(count(Kernel::AdvanceOptimizer), 1u);
    ASSERT_TRUE(plan.optimizer.has_value());
    EXPECT_EQ(plan.optimizer->lossScale, c.firstScale);
    EXPECT_EQ(stepOf(plan, Kernel::AdvanceOptimizer)->attributes.growthInterval, c.growthInterval);
  }
}

TEST_P(WithOptimizer, RunsBehindTheBackwardProgramWithoutAFrame) {
  Result<Compilation> made = compiled(specOf(Evoformer));
  ASSERT_TRUE(made.ok()) << made.status().message();
  const plan::Plan &plan = made->plan;
  ASSERT_EQ(plan.programs.size(), 3u);
  const plan::Program &program = plan.programs[2];
  EXPECT_EQ(program.phase, plan::Phase::Optimizer);
  EXPECT_EQ(program.inputs, std::vector<std::string>{"optimizer"});
  EXPECT_EQ(program.outputs, std::vector<std::string>{"optimizer"});
  ASSERT_EQ(program.runs.size(), GetParam().counts ? 3u : 2u);
  for (const plan::BlockRun &run : program.runs) {
    bool last = &run == &program.runs.back();
    EXPECT_EQ(run.firstBlock, 0);
    EXPECT_EQ(run.blockCount, last ? 1 : plan.model.blocks);
    ASSERT_EQ(run.calls.size(), 1u);
    const plan::Procedure &procedure = plan.procedures[run.calls[0].procedure];
    EXPECT_EQ(procedure.frameBytes, 0);
    EXPECT_GT(procedure.costNs, 0);
  }
}

/// The budget is the need to the byte: what is weighed is what the plan holds.
TEST_P(WithOptimizer, FitsExactlyWhatItNeeds) {
  Result<Compilation> made = compiled(specOf(TemplatePair));
  ASSERT_TRUE(made.ok()) << made.status().message();
  int64_t need = made->plan.summary.predictedPeakBytes;
  EXPECT_TRUE(compiled(specOf(TemplatePair), need).ok());
  Result<Compilation> refused = compiled(specOf(TemplatePair), need - 1);
  ASSERT_FALSE(refused.ok());
  EXPECT_NE(refused.status().message().find("budget is " + std::to_string(need) + " bytes"),
            std::string::npos)
      << refused.status().message();
}

TEST_P(WithOptimizer, IsLeftOutOfInference) {
  spec::ModelSpec spec = specOf(TemplatePair);
  spec.mode = plan::Mode::Infer;
  Result<Compilation> made = compiled(spec, int64_t{1} << 40, Policy::Direct);
  ASSERT_TRUE(made.ok()) << made.status().message();
  EXPECT_FALSE(made->plan.optimizer.has_value());
  EXPECT_EQ(made->plan.stateBlockBytes, 0);
  EXPECT_EQ(made->plan.programs.size(), 1u);
}

using enum plan::StateKind;
const Case kCases[] = {
    {"Sgd", spec::Sgd{0.01, 0}, false, 1.0, plan::Precision::Fp32, {}, false, 1, 0},
    {"SgdWithMomentum", kMomentum, false, 1.0, plan::Precision::Fp32, {Momentum}, false, 1, 0},
    {"SgdScaled", kMomentum, false, 1024.0, plan::Precision::Fp64, {Momentum}, true, 1024, 0},
    {"SgdInHalf", kMomentum, true, 1.0, plan::Precision::Fp16, {Master, Momentum}, true, 1, 0},
    {"AdamW", kAdamW, false, 1.0, plan::Precision::Bf16, {FirstMoment, SecondMoment}, false, 1, 0},
    {"AdamWDynamic",
     kAdamW,
     true,
     std::nullopt,
     plan::Precision::Fp16,
     {FirstMoment, Master, SecondMoment},
     true,
     65536,
     2000},
};
INSTANTIATE_TEST_SUITE_P(All, WithOptimizer, ::testing::ValuesIn(kCases),
                         [](const auto &info) { return std::string(info.param.name); });

/// The model attribute of a module may have been edited.
TEST(Optimizer, ADictionaryThatLacksAnAttributeIsRefused) {
  MLIRContext context(MLIRContext::Threading::DISABLED);
  spec::ModelSpec spec = smallSpec(TemplatePair, 0, 3);
  spec.mode = plan::Mode::Train;
  spec.optimizer = kAdamW;
  OwningOpRef<ModuleOp> module = importSpecification(spec, &context);
  setTarget(*module);
  for (ir::ModuleOpInterface op : modulesOf(*module))
    op.setModuleChoice(trainingChoices(op).front());
  auto stack = *module->getOps<ir::StackOp>().begin();
  NamedAttrList model(stack.getModel());
  NamedAttrList optimizer(cast<DictionaryAttr>(model.get("optimizer")));
  optimizer.set("beta2", FloatAttr::get(Float64Type::get(&context), 1.0));
  model.set("optimizer", optimizer.getDictionary(&context));
  stack.setModelAttr(model.getDictionary(&context));
  Result<plan::Plan> plan = lowerToPlan(*module);
  ASSERT_FALSE(plan.ok());
  EXPECT_NE(plan.status().message().find("expected a legal 'beta2' in the model's optimizer"),
            std::string::npos)
      << plan.status().message();
}

} // namespace
