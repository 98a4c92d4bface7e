//===- OptimizerPlanTest.cpp - the optimizer of a plan -----------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "runtime/plan/PlanJson.h"
#include "runtime/plan/Verify.h"
#include "test/plan/PlanFixture.h"

#include <algorithm>
#include <gtest/gtest.h>

using namespace evo;
using namespace evo::plan;
using namespace evo::plan::test;

namespace {

std::string printed(const Plan &plan) {
  Result<std::string> text = printPlan(plan);
  EXPECT_TRUE(text.ok()) << text.status().message();
  return text ? *text : "";
}

TEST(OptimizerPlan, IsLegal) {
  Status status = checkPlan(optimizerPlan());
  EXPECT_TRUE(status.ok()) << status.message();
}

TEST(OptimizerPlan, ComesBackFromItsText) {
  std::string text = printed(optimizerPlan());
  for (const char *part :
       {"\"gradient_block_bytes\": 1024,\n\"state_block_bytes\": 1024,\n",
        "\"optimizer\": {\"kind\":\"sgd\",\"loss_scale\":1024.0},\n",
        "\"gradient_offset\":512,\"states\":{\"momentum\":512},\"parts\"",
        "{\"name\":\"momentum.bias\",\"base\":\"state\",\"dtype\":\"f32\",\"shape\":[4],"
        "\"offset\":512,\"bytes\":16}",
        "{\"kernel\":\"sgd_step\",\"learning_rate\":0.125,\"momentum\":0.5,\"operands\"",
        "{\"kernel\":\"advance_optimizer\",\"growth_interval\":2000,\"operands\""})
    EXPECT_NE(text.find(part), std::string::npos) << part;
  Result<Plan> back = parsePlan(text, "p.json");
  ASSERT_TRUE(back.ok()) << back.status().message();
  EXPECT_EQ(back->stateBlockBytes, 1024);
  ASSERT_TRUE(back->optimizer.has_value());
  EXPECT_EQ(back->optimizer->kind, OptimizerKind::Sgd);
  EXPECT_EQ(back->optimizer->lossScale, 1024);
  EXPECT_EQ(printed(*back), text);
}

TEST(OptimizerPlan, IsNotMentionedWithout) {
  std::string text = printed(gradientPlan());
  for (const char *part : {"state", "optimizer"})
    EXPECT_EQ(text.find(part), std::string::npos) << part;
}

TEST(OptimizerPlan, KindsOfStateAreInTheOrderOfTheirNames) {
  Plan plan = optimizerPlan();
  plan.weights[0].states = {{StateKind::FirstMoment, 0},
                            {StateKind::Master, 512},
                            {StateKind::Momentum, 1024},
                            {StateKind::SecondMoment, 1536}};
  std::string text = printed(plan);
  Result<Plan> back = parsePlan(text, "p.json");
  ASSERT_TRUE(back.ok()) << back.status().message();
  EXPECT_EQ(printed(*back), text);
}

TEST(OptimizerPlan, TextMustSayWhatIsMeant) {
  struct Edit {
    std::string from, to, message;
  };
  const Edit edits[] = {
      {"{\"momentum\":512}", "{\"speed\":512}",
       "p.json: weights[1].states: expected first_moment, master, momentum or second_moment, got "
       "the "
       "key 'speed'"},
      {"{\"momentum\":512}", "{\"momentum\":-512}",
       "p.json: weights[1].states.momentum: expected an integer of at least 0, got -512"},
      {"\"kind\":\"sgd\"", "\"kind\":\"adam\"",
       "p.json: optimizer.kind: expected one of 'sgd', 'adamw', got string \"adam\""},
      {"\"growth_interval\":2000", "\"growth_interval\":-1",
       "p.json: procedures[4].steps[0].growth_interval: expected an integer of at least 0, got -1"},
  };
  for (const Edit &edit : edits) {
    std::string text = printed(optimizerPlan());
    size_t at = text.find(edit.from);
    ASSERT_NE(at, std::string::npos) << edit.from;
    Result<Plan> plan = parsePlan(text.replace(at, edit.from.size(), edit.to), "p.json");
    ASSERT_FALSE(plan.ok()) << edit.to;
    EXPECT_EQ(plan.status().message(), edit.message);
  }
}

/// One thing broken, and what the verifier says to it.
struct Mutation {
  const char *name;
  int invariant;
  std::string path, message; ///< a part of the message
  void (*apply)(Plan &);
};
void PrintTo(const Mutation &mutation, std::ostream *stream) { *stream << mutation.name; }

class OfOptimizers : public testing::TestWithParam<Mutation> {};

TEST_P(OfOptimizers, IsRejected) {
  Plan plan = optimizerPlan();
  GetParam().apply(plan);
  auto violation = verifyPlan(plan);
  ASSERT_TRUE(violation.has_value()) << "the mutant is accepted";
  EXPECT_EQ(violation->invariant, GetParam().invariant) << violation->message;
  EXPECT_EQ(violation->path, GetParam().path) << violation->message;
  EXPECT_NE(violation->message.find(GetParam().message), std::string::npos) << violation->message;
}

KernelAttributes &stepAttributes(Plan &plan) {
  return kernelStep(plan.procedures[3], 0).attributes;
}

Buffer &buffer(Plan &plan, const std::string &name) {
  Procedure &procedure = plan.procedures[3];
  return procedure.buffers[static_cast<size_t>(bufferIndex(procedure, name))];
}

/// The first step leaves the velocity out of both sides.
void dropVelocity(Plan &plan) {
  KernelStep &step = kernelStep(plan.procedures[3], 0);
  for (const char *name : {"velocity", "new_velocity"})
    step.operands[static_cast<size_t>(kernelInfo(step.kernel).operandIndex(name))].reset();
}

const Mutation kMutations[] = {
    {"RunsReversed", 6, "programs[2].runs[1].calls[0]",
     "expected the optimizer to be advanced after all else, got sgd_step behind it",
     [](Plan &p) { std::reverse(p.programs[2].runs.begin(), p.programs[2].runs.end()); }},
    {"CountsBehindSteps", 6, "programs[2].runs[1].calls[0]",
     "to be counted before any weight is updated, got a count behind a step",
     [](Plan &p) { std::swap(p.programs[2].runs[0], p.programs[2].runs[1]); }},
    {"CountsBetweenSteps", 6, "programs[2].runs[0].calls[0]", // the second block's
     "to be counted before any weight is updated, got a count behind a step",
     [](Plan &p) {
       std::vector<BlockRun> &runs = p.programs[2].runs;
       runs[0].calls.push_back(runs[1].calls[0]);
       runs.erase(runs.begin() + 1);
     }},
    {"AdvancedTwice", 6, "programs[2].runs[3].calls[0]",
     "expected one advance of the optimizer in all, got a second one",
     [](Plan &p) {
       p.programs[2].runs.push_back(p.programs[2].runs[2]);
       p.summary.predictedMs += 0.001;
     }},
    {"AdvancedInEveryBlock", 6, "programs[2].runs[2].calls[0]",
     "expected one advance of the optimizer in all, got a second one",
     [](Plan &p) {
       p.programs[2].runs[2].blockCount = 3;
       p.summary.predictedMs += 0.002;
     }},
    {"NeverAdvanced", 6, "programs[2].runs", "expected one advance of the optimizer, got none",
     [](Plan &p) {
       p.programs[2].runs.pop_back();
       p.procedures.pop_back();
     }},
    {"OneGradientNotCounted", 6, "programs[2].runs",
     "expected one count of the gradient of 'bias' in every block, since others are counted, got 0",
     [](Plan &p) {
       Procedure &count = p.procedures[2];
       count.steps.pop_back();
       count.buffers.pop_back(); // gradient.bias
     }},
    {"OneGradientCountedTwice", 6, "programs[2].runs",
     "expected one count of the gradient of 'weight' in every block, since others are counted, got "
     "2",
     [](Plan &p) {
       Procedure &count = p.procedures[2];
       operand(kernelStep(count, 1), "x") = operand(kernelStep(count, 0), "x");
       count.buffers.pop_back();
     }},
    {"CountedInOneBlock", 6, "programs[2].runs[0].calls[0]",
     "expected the gradient of 'weight' to be counted in all blocks, got one in 1",
     [](Plan &p) { p.programs[2].runs[0].blockCount = 1; }},
    {"HalfAGradientCounted", 6, "procedures[2].steps[0].operands.x",
     "expected all elements of 'gradient.weight' to be counted at once, got a part of them",
     [](Plan &p) { operand(kernelStep(p.procedures[2], 0), "x").extent[0].value = 2; }},
    {"OneWeightLearnsFaster", 6, "procedures[3].steps[1].learning_rate",
     "expected what the first step of the optimizer has, got another number",
     [](Plan &p) { kernelStep(p.procedures[3], 1).attributes.learningRate *= 2; }},
    {"OneWeightHasAnotherMomentum", 6, "procedures[3].steps[1].momentum",
     "expected what the first step of the optimizer has, got another number",
     [](Plan &p) { kernelStep(p.procedures[3], 1).attributes.momentum = 0.25; }},
    {"ScalarsZeroed", 6, "procedures[2].steps[2].operands.y",
     "expected 'optimizer' to be written by the optimizer's kernels alone, got zero",
     [](Plan &p) { // after the counts
       Procedure &count = p.procedures[2];
       KernelStep zero;
       zero.kernel = Kernel::Zero;
       zero.operands = {operand(kernelStep(count, 1), "y")};
       zero.operands[0]->version = 3;
       zero.location = "zero";
       count.steps.push_back({zero});
     }},
    {"GradientTurnedRound", 6, "procedures[3].steps[0].operands.gradient",
     "expected the elements of 'weight' that the step updates, got others",
     [](Plan &p) {
       View &view = operand(kernelStep(p.procedures[3], 0), "gradient");
       std::swap(view.order[0], view.order[1]);
     }},
    {"CountInAGradient", 6, "procedures[2].steps[0].operands.scalars.buffer",
     "expected 'optimizer', got 'gradient.bias'",
     [](Plan &p) { // which has four elements too
       Procedure &count = p.procedures[2];
       operand(kernelStep(count, 0), "scalars") = operand(kernelStep(count, 1), "x");
     }},
    {"NoCount", 6, "programs[2].runs",
     "expected gradients to be counted, since they may overflow (fp16, a loss scale other than 1, "
     "or one that grows), got no count",
     [](Plan &p) {
       p.procedures.erase(p.procedures.begin() + 2);
       p.programs[2].runs.erase(p.programs[2].runs.begin());
       for (BlockRun &run : p.programs[2].runs)
         --run.calls[0].procedure;
     }},
    {"BlockBytes", 10, "state_block_bytes", "expected 1024, got 1536",
     [](Plan &p) { p.stateBlockBytes = 1536; }},
    {"StaticWithoutState", 10, "summary.static_bytes", "expected 9216, got 6144",
     [](Plan &p) { p.summary.staticBytes = 6144; }},
    {"OffsetUnaligned", 8, "weights[1].states.momentum", "expected a multiple of 512, got 520",
     [](Plan &p) { p.weights[1].states[0].offset = 520; }},
    {"OffsetNegative", 8, "weights[1].states.momentum", "got -512",
     [](Plan &p) { p.weights[1].states[0].offset = -512; }},
    {"TwoAtOneOffset", 9, "weights[1].states.momentum", "apart from that of 'momentum.weight'",
     [](Plan &p) { p.weights[1].states[0].offset = 0; }},
    {"KindTwice", 0, "weights[1].states", "each kind once",
     [](Plan &p) {
       p.weights[1].states.push_back({StateKind::Momentum, 1024});
     }},
    {"StateThatNobodyUpdates", 1, "programs[2].runs",
     "expected one update of 'master.bias' in every block, got 0",
     [](Plan &p) {
       p.weights[1].states.insert(p.weights[1].states.begin(), {StateKind::Master, 1024});
       p.stateBlockBytes = 1536;
       p.summary.staticBytes += 3 * 512;
       p.summary.predictedPeakBytes += 3 * 512;
     }},
    {"NoProgram", 0, "optimizer", "expected none without its program, got one",
     [](Plan &p) { p.programs.pop_back(); }},
    {"NoInfo", 0, "optimizer", "expected what the optimizer program is, got none",
     [](Plan &p) { p.optimizer.reset(); }},
    {"NoBackward", 0, "programs", "expected a backward program beside the optimizer, got none",
     [](Plan &p) {
       p.programs.erase(p.programs.begin() + 1);
       p.weights[1].gradientOffset = p.gradientBlockBytes = 0;
     }},
    {"LossScaleOfZero", 0, "optimizer.loss_scale", "expected a finite number above 0",
     [](Plan &p) { p.optimizer->lossScale = 0; }},
    {"AnotherOptimizer", 0, "procedures[3].steps[0].kernel", "expected adamw_step, got sgd_step",
     [](Plan &p) { p.optimizer->kind = OptimizerKind::Adamw; }},
    {"MomentumOfOne", 0, "procedures[3].steps[0].momentum", "expected a number in [0, 1)",
     [](Plan &p) { stepAttributes(p).momentum = 1; }},
    {"LearningRateNegative", 0, "procedures[3].steps[0].learning_rate",
     "expected a finite number of at least 0 in f32",
     [](Plan &p) { stepAttributes(p).learningRate = -1e-3; }},
    {"LearningRateBeyondF32", 0, "procedures[3].steps[0].learning_rate", "in f32",
     [](Plan &p) { stepAttributes(p).learningRate = 1e39; }},
    {"MomentumWithoutVelocity", 0, "procedures[3].steps[0]",
     "expected operand 'velocity' where the momentum is above 0, got none", dropVelocity},
    {"VelocityReadAndNotWritten", 0, "procedures[3].steps[0]",
     "expected operands 'velocity' and 'new_velocity' together, got one of them",
     [](Plan &p) {
       KernelStep &step = kernelStep(p.procedures[3], 0);
       step.operands[static_cast<size_t>(kernelInfo(step.kernel).operandIndex("new_velocity"))]
           .reset();
     }},
    {"ScalarsOfThree", 0, "procedures[2].steps[0]",
     "expected axis 'e' to be the 4 scalars of the optimizer, got 3",
     [](Plan &p) {
       for (const char *name : {"scalars", "y"})
         operand(kernelStep(p.procedures[2], 0), name).extent[0].value = 3;
     }},
    {"StateElsewhere", 8, "procedures[3].buffers[6].offset", "expected 512, got 0",
     [](Plan &p) { buffer(p, "momentum.bias").offset = 0; }},
    {"StateOfAnUnknownKind", 0, "procedures[3].buffers[6].name",
     "expected a kind of state that a weight has, '.' and its name, got 'speed.bias'",
     [](Plan &p) { buffer(p, "momentum.bias").name = "speed.bias"; }},
    {"StateOutsideOfTheOptimizer", 0, "procedures[3].buffers[3].base",
     "expected no state in a backward procedure",
     [](Plan &p) { p.procedures[3].phase = Phase::Backward; }},
    {"GradientWritten", 4, "procedures[2].steps[0].operands.y",
     "expected no write of gradients but in the backward phase",
     [](Plan &p) {
       // The count of bias goes to its gradient, which has four elements too.
       KernelStep &step = kernelStep(p.procedures[2], 0);
       View target = operand(kernelStep(p.procedures[2], 1), "x");
       target.version = 1;
       operand(step, "y") = target;
     }},
    {"UpdatedTwice", 1, "programs[2].runs", "expected one update of 'weight' in every block, got 2",
     [](Plan &p) {
       p.programs[2].runs.push_back(p.programs[2].runs[1]);
       p.summary.predictedMs += 0.009;
     }},
    {"NeverUpdated", 1, "programs[2].runs", "expected one update of 'weight' in every block, got 0",
     [](Plan &p) {
       std::vector<BlockRun> &runs = p.programs[2].runs;
       runs[1].calls[0].procedure = 2;
       p.procedures[3] = p.procedures[4];
       p.procedures.pop_back();
       p.procedures[3].name = "last";
       runs[2].calls[0].procedure = 3;
     }},
    {"UpdatedInOneBlock", 1, "programs[2].runs[1].calls[0]",
     "expected updates of 'weight' in all blocks, got one in 1",
     [](Plan &p) { p.programs[2].runs[1].blockCount = 1; }},
    {"RunOfTwoBlocks", 0, "programs[2].runs[0].block_count", "expected 1 or all 3 blocks, got 2",
     [](Plan &p) { p.programs[2].runs[0].blockCount = 2; }},
    {"RunFromBlockOne", 0, "programs[2].runs[2].first_block", "expected 0, got 1",
     [](Plan &p) { p.programs[2].runs[2].firstBlock = 1; }},
    {"ScalarsGivenToForward", 4, "programs[0].inputs",
     "expected tensor 'optimizer' to be the optimizer's alone",
     [](Plan &p) { p.programs[0].inputs.push_back("optimizer"); }},
};
INSTANTIATE_TEST_SUITE_P(All, OfOptimizers, testing::ValuesIn(kMutations),
                         [](const auto &info) { return std::string(info.param.name); });

} // namespace
