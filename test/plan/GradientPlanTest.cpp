//===- GradientPlanTest.cpp - where a plan's gradients lie ------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "runtime/plan/PlanJson.h"
#include "runtime/plan/Strides.h"
#include "runtime/plan/Verify.h"
#include "test/plan/PlanFixture.h"

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

TEST(GradientPlan, IsLegal) {
  Status status = checkPlan(gradientPlan());
  EXPECT_TRUE(status.ok()) << status.message();
}

TEST(GradientPlan, ComesBackFromItsText) {
  Plan plan = gradientPlan();
  std::string text = printed(plan);
  EXPECT_NE(text.find("\"weight_block_bytes\": 1024,\n\"gradient_block_bytes\": 1024,\n"),
            std::string::npos)
      << text.substr(0, 400);
  EXPECT_NE(
      text.find("{\"name\":\"bias\",\"dtype\":\"f32\",\"shape\":[4],\"offset\":512,\"bytes\":16,"
                "\"gradient_offset\":512,"),
      std::string::npos);
  // The first weight's gradient lies at 0, the default.
  EXPECT_EQ(text.find("\"gradient_offset\":0"), std::string::npos);
  EXPECT_NE(text.find("{\"name\":\"gradient.bias\",\"base\":\"gradient\",\"dtype\":\"f32\","
                      "\"shape\":[4],\"offset\":512,\"bytes\":16}"),
            std::string::npos);
  Result<Plan> back = parsePlan(text, "p.json");
  ASSERT_TRUE(back.ok()) << back.status().message();
  EXPECT_EQ(back->gradientBlockBytes, 1024);
  EXPECT_EQ(back->weights[0].gradientOffset, 0);
  EXPECT_EQ(back->weights[1].gradientOffset, 512);
  EXPECT_EQ(back->procedures[1].buffers[bufferIndex(back->procedures[1], "gradient.bias")].base,
            Base::Gradient);
  EXPECT_EQ(printed(*back), text);
}

TEST(GradientPlan, IsNotMentionedInInference) {
  EXPECT_EQ(printed(fixturePlan()).find("gradient"), std::string::npos);
}

TEST(GradientPlan, TextMustHoldWholeNumbers) {
  struct Edit {
    std::string from, to, message;
  };
  const Edit edits[] = {
      {"\"gradient_block_bytes\": 1024", "\"gradient_block_bytes\": -512",
       "p.json: gradient_block_bytes: expected an integer of at least 0, got -512"},
      {"\"gradient_block_bytes\": 1024", "\"gradient_block_bytes\": \"1024\"",
       "p.json: gradient_block_bytes: expected an integer, got string \"1024\""},
      {"\"gradient_offset\":512", "\"gradient_offset\":512.0",
       "p.json: weights[1].gradient_offset: expected an integer, got 512.0"},
  };
  for (const Edit &edit : edits) {
    std::string text = printed(gradientPlan());
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

class OfGradients : public testing::TestWithParam<Mutation> {};

TEST_P(OfGradients, IsRejected) {
  Plan plan = gradientPlan();
  GetParam().apply(plan);
  auto violation = verifyPlan(plan);
  ASSERT_TRUE(violation.has_value()) << "the mutant is accepted";
  EXPECT_EQ(violation->invariant, GetParam().invariant) << violation->message;
  EXPECT_EQ(violation->path, GetParam().path) << violation->message;
  EXPECT_NE(violation->message.find(GetParam().message), std::string::npos) << violation->message;
}

Buffer &gradient(Plan &plan, const std::string &name) {
  Procedure &procedure = plan.procedures[1];
  return procedure.buffers[static_cast<size_t>(bufferIndex(procedure, "gradient." + name))];
}

/// The backward of block 0 by a procedure that changes dm and stores nothing.
void leaveOutBlockZero(Plan &plan) {
  Procedure idle;
  idle.name = idle.module = "idle";
  idle.phase = Phase::Backward;
  KernelStep step;
  step.kernel = Kernel::Softmax;
  idle.buffers = {plan.procedures[1].buffers[0]};
  step.operands = {wholeView(idle.buffers[0], 0, 0), wholeView(idle.buffers[0], 0, 1)};
  idle.steps.push_back({step});
  plan.procedures.push_back(idle);
  std::vector<BlockRun> &runs = plan.programs[1].runs;
  runs[0].firstBlock = 1;
  runs[0].blockCount = 2;
  runs.push_back({0, 1, {callOf(2, 2560)}});
}

const Mutation kMutations[] = {
    {"BlockBytesTooMany", 10, "gradient_block_bytes", "expected 1024, got 1536",
     [](Plan &p) { p.gradientBlockBytes += 512; }},
    {"BlockBytesTooFew", 10, "gradient_block_bytes", "expected 1024, got 512",
     [](Plan &p) { p.gradientBlockBytes -= 512; }},
    {"OffsetUnaligned", 8, "weights[1].gradient_offset", "expected a multiple of 512, got 520",
     [](Plan &p) { p.weights[1].gradientOffset = 520; }},
    {"OffsetNegative", 8, "weights[1].gradient_offset", "got -512",
     [](Plan &p) { p.weights[1].gradientOffset = -512; }},
    {"OffsetHuge", 8, "weights[1].gradient_offset", "expected an offset from 0 to ",
     [](Plan &p) { p.weights[1].gradientOffset = INT64_MAX - 511; }},
    {"OneOverTheOther", 9, "weights[1].gradient_offset",
     "expected at least 64, the end of 'weight'", [](Plan &p) { p.weights[1].gradientOffset = 0; }},
    {"Inference", 0, "weights[1].gradient_offset", "expected 0 without a backward program, got 512",
     [](Plan &p) { p.mode = Mode::Infer; }},
    {"NoBackward", 10, "gradient_block_bytes", "expected 0 without a backward program, got 1024",
     [](Plan &p) {
       p.programs.pop_back();
       p.weights[1].gradientOffset = 0;
     }},
    {"BufferElsewhere", 8, "procedures[1].buffers[3].offset", "expected 512, got 0",
     [](Plan &p) { gradient(p, "bias").offset = 0; }},
    {"BufferOfAnotherType", 0, "procedures[1].buffers[3].dtype", "expected f32, got bf16",
     [](Plan &p) {
       gradient(p, "bias").dtype = DType::BF16;
       gradient(p, "bias").bytes = 8;
     }},
    {"BufferOfAnotherShape", 0, "procedures[1].buffers[3].shape", "expected [4], got [2]",
     [](Plan &p) {
       gradient(p, "bias").shape = {2};
       gradient(p, "bias").bytes = 8;
     }},
    {"BufferOfAnUnknownWeight", 0, "procedures[1].buffers[3].name",
     "expected 'gradient.' and a weight's name, got 'gradient.biases'",
     [](Plan &p) { gradient(p, "bias").name = "gradient.biases"; }},
    {"BufferWithoutThePrefix", 0, "procedures[1].buffers[3].name", "got 'bias'",
     [](Plan &p) { gradient(p, "bias").name = "bias"; }},
    {"BufferInForward", 0, "procedures[1].buffers[2].base",
     "expected no gradient in a forward procedure, got gradient",
     [](Plan &p) { p.procedures[1].phase = Phase::Forward; }},
    {"BlockWithoutGradients", 1, "programs[1].runs[1].calls",
     "expected a call that writes the gradient of 'weight', got none", leaveOutBlockZero},
    {"AddedToBeforeItIsWritten", 1, "programs[1].runs[0].calls[0]",
     "expected the gradient of 'bias' to be written in the block before it is read",
     [](Plan &p) {
       KernelStep &step = kernelStep(p.procedures[1], 1);
       View before = operand(step, "dbias");
       before.version = 0;
       step.operands[kernelInfo(Kernel::BiasGrad).operandIndex("accumulator")] = before;
     }},
    {"StaticWithoutGradients", 10, "summary.static_bytes", "expected 6144, got 3072",
     [](Plan &p) { p.summary.staticBytes = 3072; }},
};
INSTANTIATE_TEST_SUITE_P(All, OfGradients, testing::ValuesIn(kMutations),
                         [](const auto &info) { return std::string(info.param.name); });

/// Two modules that share the weights. The backward of `second` runs first; procedures `adders` add
/// to the gradients that they find.
Plan sharedWeights(std::initializer_list<size_t> adders) {
  Plan plan = gradientPlan();
  for (size_t i : {0, 1}) {
    Procedure second = plan.procedures[i];
    second.name = i ? "second.backward" : "second";
    second.module = "second";
    plan.procedures.push_back(second);
  }
  const char *const outputs[] = {"dweight", "dbias"};
  for (size_t adder : adders)
    for (int id : {0, 1}) {
      KernelStep &step = kernelStep(plan.procedures[adder], id);
      View before = operand(step, outputs[id]);
      before.version = 0;
      step.operands[static_cast<size_t>(kernelInfo(step.kernel).operandIndex("accumulator"))] =
          before;
    }
  // Two kept tensors a block, in the order of the calls.
  plan.programs[0].runs[0].calls = {callOf(0, 4096, 1024, 1024), callOf(2, 4096, 1536, 1024)};
  plan.programs[1].runs[0].calls = {callOf(3, 4096, 1536, 1024), callOf(1, 4096, 1024, 1024)};
  plan.arenaBytes = plan.summary.arenaBytes = 4608;
  plan.summary.keptBytes = 6 * 512;
  plan.summary.predictedPeakBytes = 4608 + 6144;
  plan.summary.predictedMs = 0.078; // 3 us forward, 10 us backward, twice in each of 3 blocks
  return plan;
}

TEST(GradientPlan, MayBeAddedToBehindItsWriter) {
  Status status = checkPlan(sharedWeights({1}));
  EXPECT_TRUE(status.ok()) << status.message();
}

TEST(GradientPlan, NothingIsThereForTheFirstCallToAddTo) {
  auto violation = verifyPlan(sharedWeights({3}));
  ASSERT_TRUE(violation.has_value());
  EXPECT_EQ(violation->invariant, 1) << violation->message;
  EXPECT_EQ(violation->path, "programs[1].runs[0].calls[0]") << violation->message;
}

TEST(GradientPlan, TheSecondCallMustNotOverwriteTheFirst) {
  auto violation = verifyPlan(sharedWeights({}));
  ASSERT_TRUE(violation.has_value());
  EXPECT_EQ(violation->message,
            "invariant 7 (every use of a weight contributes to its gradient): expected rows [0, 4) "
            "of the gradient of 'weight' to be added to what calls before have left, got a call "
            "that overwrites them");
  EXPECT_EQ(violation->path, "programs[1].runs[0].calls[1]");
}

} // namespace
