//===- VerifySlicesTest.cpp - loops along mixed axes ------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "runtime/plan/Strides.h"
#include "runtime/plan/Verify.h"
#include "test/plan/PlanFixture.h"

#include <gtest/gtest.h>
#include <initializer_list>

using namespace evo;
using namespace evo::plan;
using namespace evo::plan::test;

namespace {

void expectRejected(const Plan &plan, const std::string &path, const std::string &message) {
  auto violation = verifyPlan(plan);
  ASSERT_TRUE(violation.has_value()) << "the plan is accepted";
  EXPECT_EQ(violation->invariant, 4) << violation->message;
  EXPECT_EQ(violation->path, path) << violation->message;
  EXPECT_NE(violation->message.find(message), std::string::npos) << violation->message;
}

/// Steps in the loop over r of the transition, on hidden [3 of 7, 5, 16], before its last product.
void insertSteps(Plan &plan, std::initializer_list<Step> added) {
  std::vector<Step> &body = firstLoop(plan.procedures[kTransition]).body;
  body.insert(body.begin() + 5, added);
}

/// hidden, which is the operand of the last product.
View hidden(Plan &plan) { return operand(kernelStep(plan.procedures[kTransition], 2), "x"); }

/// A buffer behind the others in the frame of the transition.
View addBuffer(Plan &plan, const std::vector<int64_t> &shape, int64_t bytes) {
  Procedure &procedure = plan.procedures[kTransition];
  Buffer buffer = procedure.buffers[static_cast<size_t>(bufferIndex(procedure, "hidden"))];
  buffer.name = "extra";
  buffer.shape = shape;
  buffer.strides = *denseStrides(shape);
  buffer.offset = procedure.frameBytes;
  buffer.bytes = bytes;
  procedure.frameBytes += 512;
  procedure.buffers.push_back(buffer);
  return wholeView(buffer, static_cast<int32_t>(procedure.buffers.size() - 1), 1);
}

KernelStep stepOf(Kernel kernel, std::vector<std::optional<View>> operands) {
  KernelStep step;
  step.kernel = kernel;
  step.operands = std::move(operands);
  step.attributes.eps = 1e-5;
  step.location = "extra";
  return step;
}

TEST(VerifySlices, AttentionLooksBeyondTheKeysOfItsSlice) {
  Plan plan = fixturePlan(); // column attention in the loop over s: keys are those of two rows
  KernelStep &attention = kernelStep(plan.procedures[kRow], 4);
  for (const char *name : {"query", "key", "value", "o"})
    operand(attention, name).order = {1, 0, 2};
  operand(attention, "mask").order = {1, 0};
  attention.operands[static_cast<size_t>(kernelInfo(attention.kernel).operandIndex("pair_bias"))]
      .reset();
  expectRejected(plan, "procedures[0].steps[5].body[6].operands.o",
                 "expected no loop along axis 'k' of attention, whose 'o' takes all of it, got "
                 "slices of loop 0");
}

TEST(VerifySlices, SoftmaxNeedsItsWholeAxis) {
  Plan plan = fixturePlan();
  View before = hidden(plan);
  before.order = {1, 2, 0}; // over r
  View after = before;
  after.version = 2;
  operand(kernelStep(plan.procedures[kTransition], 2), "x").version = 2;
  insertSteps(plan, {{stepOf(Kernel::Softmax, {before, after})}});
  expectRejected(plan, "procedures[1].steps[0].body[5].operands",
                 "expected no loop along axis 'k', which softmax mixes, got slices of loop 0");
}

TEST(VerifySlices, SoftmaxAlongAnotherAxisIsLegal) {
  Plan plan = fixturePlan();
  View before = hidden(plan), after = before; // over the channels
  after.version = 2;
  operand(kernelStep(plan.procedures[kTransition], 2), "x").version = 2;
  insertSteps(plan, {{stepOf(Kernel::Softmax, {before, after})}});
  Status status = checkPlan(plan);
  EXPECT_TRUE(status.ok()) << status.message();
}

TEST(VerifySlices, MeanIsOverAllSlices) {
  Plan plan = fixturePlan();
  View x = hidden(plan), mean = addBuffer(plan, {5, 1, 16}, 5 * 16 * 4);
  x.order = {1, 0, 2}; // q is r
  insertSteps(plan, {{AllocStep{mean.buffer}},
                     {stepOf(Kernel::MaskedMean, {x, std::nullopt, mean})},
                     {FreeStep{mean.buffer}}});
  expectRejected(plan, "procedures[1].steps[0].body[6].operands.y",
                 "expected no loop along axis 'q' of masked_mean, whose 'y' takes all of it");
}

TEST(VerifySlices, SumIsOverAllSlices) {
  Plan plan = fixturePlan();
  View du = hidden(plan), sum = addBuffer(plan, {16}, 16 * 4);
  KernelStep step = stepOf(Kernel::BiasGrad, {du, std::nullopt, sum});
  insertSteps(plan, {{AllocStep{sum.buffer}}, {step}, {FreeStep{sum.buffer}}});
  expectRejected(plan, "procedures[1].steps[0].body[6].operands.dbias",
                 "expected a sum over leading axis 0 in memory that every slice of loop 0 adds to, "
                 "got memory of one slice");
}

TEST(VerifySlices, MixedAxesAreThoseOfTheFormulas) {
  const bool all[16] = {true, true, true, true, true, true, true, true,
                        true, true, true, true, true, true, true, true};
  const bool noMask[5] = {true, true, true, false, true};
  EXPECT_EQ(mixedAxes(Kernel::LayerNorm, all), "c");
  EXPECT_EQ(mixedAxes(Kernel::LayerNormGrad, all), "c");
  EXPECT_EQ(mixedAxes(Kernel::SoftmaxGrad, all), "k");
  EXPECT_EQ(mixedAxes(Kernel::AttentionLogits, all), "hxyk");
  EXPECT_EQ(mixedAxes(Kernel::AttentionLogits, noMask), "hxy");
  EXPECT_EQ(mixedAxes(Kernel::MaskedMeanGrad, all), "q");
  EXPECT_EQ(mixedAxes(Kernel::DropoutMask, all), "*");
  EXPECT_EQ(mixedAxes(Kernel::Linear, all), "");
}

} // namespace
