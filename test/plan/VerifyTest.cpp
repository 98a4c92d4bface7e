//===- VerifyTest.cpp - legal plans and hostile ones ------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "runtime/plan/Verify.h"
#include "runtime/plan/PlanJson.h"
#include "runtime/plan/Strides.h"
#include "test/plan/PlanFixture.h"

#include <chrono>
#include <cmath>
#include <gtest/gtest.h>

using namespace evo;
using namespace evo::plan;
using namespace evo::plan::test;

namespace {

void expectLegal(const Plan &plan) {
  Status status = checkPlan(plan);
  EXPECT_TRUE(status.ok()) << status.message();
}

double secondsOf(const Plan &plan) {
  auto start = std::chrono::steady_clock::now();
  (void)checkPlan(plan);
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

TEST(Verify, AcceptsInferenceAndTraining) {
  expectLegal(fixturePlan());
  expectLegal(trainingPlan());
}

TEST(Verify, SaysInvariantPathExpectedAndGot) {
  Plan plan = fixturePlan();
  operand(kernelStep(plan.procedures[kTransition], 1), "x").version = 2;
  auto violation = verifyPlan(plan);
  ASSERT_TRUE(violation.has_value());
  EXPECT_EQ(violation->invariant, 1);
  EXPECT_EQ(violation->path, "procedures[1].steps[0].body[3].operands.x.version");
  EXPECT_EQ(violation->message, "invariant 1 (every read is defined): expected version 2 of "
                                "'norm', got version 1");
  Status status = checkPlan(plan);
  EXPECT_EQ(status.code(), ErrorCode::InvalidPlan);
  EXPECT_EQ(status.message(), violation->path + ": " + violation->message);
}

TEST(Verify, EveryCheckedInvariantHasAName) {
  for (int invariant : {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 15, 16, 18})
    EXPECT_FALSE(invariantName(invariant).empty()) << invariant;
  for (int invariant : {-1, 13, 14, 17, 19, 20})
    EXPECT_TRUE(invariantName(invariant).empty()) << invariant;
}

/// Sets slice size and extents of the transition's loop over r = 7.
Plan transitionSlicedBy(int64_t size) {
  Plan plan = fixturePlan();
  Procedure &procedure = plan.procedures[kTransition];
  firstLoop(procedure).size = size;
  for (int id = 0; id < 3; ++id)
    for (auto &view : kernelStep(procedure, id).operands)
      if (view)
        for (Extent &extent : view->extent)
          if (extent.loop == 0)
            extent.value = size;
  Buffer &norm = procedure.buffers[bufferIndex(procedure, "norm")];
  Buffer &hidden = procedure.buffers[bufferIndex(procedure, "hidden")];
  norm.shape[0] = hidden.shape[0] = size;
  norm.bytes = size * 5 * 8 * 4;
  hidden.bytes = size * 5 * 16 * 4;
  hidden.offset = alignTo(norm.bytes);
  procedure.frameBytes = alignTo(hidden.offset + hidden.bytes);
  return plan;
}

TEST(Verify, AnySliceSize) {
  for (int64_t size = 1; size <= 7; ++size) // 7 = 7 * 1 = 3 * 2 + 1 = 2 * 3 + 1 = 4 + 3 = .. = 7
    expectLegal(transitionSlicedBy(size));
}

TEST(Verify, FramesMayLieAnywhereInTheArenaAndBuffersInTheFrame) {
  Plan plan = fixturePlan();
  plan.programs[0].runs[0].calls[kTransition].frameOffset = 3072 + 5632 - 1536;
  expectLegal(plan);
}

TEST(Verify, PaddedRows) {
  Plan plan = fixturePlan();
  Procedure &procedure = plan.procedures[kPair];
  Buffer &norm = procedure.buffers[bufferIndex(procedure, "norm")];
  norm.strides = {32, 4, 1};
  norm.bytes = (6 * 32 + 6 * 4 + 3 + 1) * 4; // 880, still below the next buffer at 1024
  expectLegal(plan);
}

TEST(Verify, AnOutputThatIsAnInputNeedsNoWrite) {
  Plan plan = fixturePlan();
  plan.programs[0].outputs.push_back("msa_mask");
  expectLegal(plan);
}

TEST(Verify, ShardsOfRanks) {
  Plan plan = fixturePlan();
  plan.devices = 3; // ceil(5 / 3) = 2 rows each, one in the last; r whole everywhere
  plan.ranks = {{0, {{"r", {0, 7}}, {"s", {0, 2}}}},
                {1, {{"r", {0, 7}}, {"s", {2, 4}}}},
                {2, {{"r", {0, 7}}, {"s", {4, 5}}}}};
  expectLegal(plan);
  plan.devices = 4; // the last rank's shard is empty
  plan.ranks.push_back({3, {{"r", {0, 7}}, {"s", {5, 5}}}});
  expectLegal(plan);
}

TEST(Verify, SegmentsOfTheSchedule) {
  Plan plan = fixturePlan();
  ScheduleNode inner{"segment", "", "", 1, 2, {plan.schedule.children[0]}};
  ScheduleNode outer{"segment", "", "", 0, 4, {inner}};
  plan.schedule.children.push_back(outer);
  expectLegal(plan);
}

/// One mask, written to a tensor.
Plan maskPlan(double rate, int64_t module) {
  Plan plan;
  plan.model = {"mask", "evoformer", 1, {{"r", 3}}, {}};
  plan.mode = Mode::Train;
  plan.profile = "none";
  plan.backend = "cpu";
  plan.precision = Precision::Bf16; // a mask has the type of statistics
  plan.tensors = {{"mask", DType::F32, {1, 3, 5}, 0, 60}};
  Procedure procedure;
  procedure.name = procedure.module = "dropout";
  procedure.buffers = {{"mask", Base::Tensor, 0, DType::F32, {1, 3, 5}, {15, 5, 1}, 0, 60}};
  KernelStep step;
  step.kernel = Kernel::DropoutMask;
  step.attributes.rate = rate;
  step.attributes.module = module;
  step.operands = {wholeView(procedure.buffers[0], 0, 1)};
  procedure.steps.push_back({step});
  plan.procedures = {procedure};
  plan.programs = {{Phase::Forward, {}, {"mask"}, {{0, 1, {callOf(0, 0)}}}}};
  plan.schedule = {"stack", "", "", 0, 1, {}};
  plan.arenaBytes = plan.summary.arenaBytes = plan.summary.predictedPeakBytes = 512;
  plan.summary.budgetBytes = 512;
  return plan;
}

TEST(Verify, MasksOfDropout) {
  for (double rate : {0.0, 0.25, 1 - 0x1p-53})
    for (int64_t module : {int64_t{0}, int64_t{1} << 31, (int64_t{1} << 32) - 1}) {
      Plan plan = maskPlan(rate, module);
      expectLegal(plan);
      Result<std::string> text = printPlan(plan);
      ASSERT_TRUE(text.ok()) << text.status().message();
      Result<Plan> again = parsePlan(*text, "mask.json");
      ASSERT_TRUE(again.ok()) << again.status().message();
      EXPECT_EQ(kernelStep(again->procedures[0], 0).attributes,
                kernelStep(plan.procedures[0], 0).attributes);
    }
  auto refused = [](double rate, int64_t module, const std::string &message) {
    auto violation = verifyPlan(maskPlan(rate, module));
    ASSERT_TRUE(violation.has_value()) << rate << " " << module;
    EXPECT_EQ(violation->path + violation->message,
              "procedures[0].steps[0]." + message + ", got another");
  };
  for (double rate : {-0.25, 1.0, std::nan("")})
    refused(rate, 0, "rateinvariant 0 (a plan is well formed): expected a number in [0, 1)");
  for (int64_t module : {int64_t{-1}, int64_t{1} << 32})
    refused(0.25, module,
            "moduleinvariant 0 (a plan is well formed): expected an integer in [0, 2^32)");
}

/// A copy of m by slices of `size` along s in a plan of its own, so that sizes can be anything.
Plan copyPlan(int64_t extent, int64_t size) {
  Plan plan;
  plan.model = {"copy", "evoformer", 1, {{"s", extent}}, {}};
  plan.profile = "none";
  plan.backend = "cpu";
  plan.precision = Precision::Bf16;
  plan.tensors = {{"m", DType::BF16, {extent, 1}, 0, 2 * extent}};
  Procedure procedure;
  procedure.name = procedure.module = "softmax";
  procedure.buffers = {{"m", Base::Tensor, 0, DType::BF16, {extent, 1}, {1, 1}, 0, 2 * extent}};
  KernelStep step;
  step.kernel = Kernel::Softmax;
  View view = wholeView(procedure.buffers[0], 0, 0);
  view.start[0] = {0, 0};
  view.extent[0] = {size, 0};
  step.operands = {view, view};
  step.operands[1]->version = 1;
  LoopStep loop{0, "s", extent, size, {}};
  loop.body.push_back({step});
  procedure.steps.push_back({std::move(loop)});
  plan.procedures = {procedure};
  plan.programs = {{Phase::Forward, {"m"}, {"m"}, {{0, 1, {callOf(0, 0)}}}}};
  plan.schedule = {"stack", "", "", 0, 1, {}};
  plan.arenaBytes = plan.summary.arenaBytes = plan.summary.predictedPeakBytes = alignTo(2 * extent);
  plan.summary.budgetBytes = INT64_MAX;
  return plan;
}

TEST(Verify, LongLoopsTakeNoLongerThanShortOnes) {
  for (int64_t size : {int64_t{1}, int64_t{3}, int64_t{1} << 39, (int64_t{1} << 40) - 1})
    expectLegal(copyPlan(int64_t{1} << 40, size));
  expectLegal(copyPlan(int64_t{1} << 61, 1));
  EXPECT_LT(secondsOf(copyPlan(int64_t{1} << 61, 1)), 0.1);
}

TEST(Verify, TooManyElementsAreAnErrorAndNoOverflow) {
  auto violation = verifyPlan(copyPlan(INT64_MAX, 1)); // 2^64 bytes
  ASSERT_TRUE(violation.has_value());
  EXPECT_EQ(violation->invariant, 0);
  EXPECT_EQ(violation->path, "tensors[0].shape");
}

TEST(Verify, ManySteps) {
  Plan plan = copyPlan(64, 1);
  auto &body = firstLoop(plan.procedures[0]).body;
  for (int32_t version = 1; version < 5000; ++version) {
    body.push_back(body.back());
    auto &step = std::get<KernelStep>(body.back().value);
    step.operands[0]->version = version;
    step.operands[1]->version = version + 1;
  }
  expectLegal(plan);
  EXPECT_LT(secondsOf(plan), 1.0);
}

TEST(Verify, PlansThatShatterABufferEndInBoundedTime) {
  // A checkerboard of versions: every write cuts the boxes before it, none can be joined again.
  const int64_t side = 4096;
  Plan plan = copyPlan(side, 1);
  plan.tensors[0].shape = {side, side};
  plan.procedures[0].buffers[0].shape = {side, side};
  plan.procedures[0].buffers[0].strides = {side, 1};
  plan.tensors[0].bytes = plan.procedures[0].buffers[0].bytes = 2 * side * side;
  std::vector<Step> steps;
  for (int64_t i = 0; i < 30000; ++i) {
    KernelStep step;
    step.kernel = Kernel::Softmax;
    View view = wholeView(plan.procedures[0].buffers[0], 0, 0);
    view.start = {{2 * (i % 2048), -1}, {2 * (i / 2048), -1}};
    view.extent = {{1, -1}, {1, -1}};
    step.operands = {view, view};
    step.operands[1]->version = 1;
    steps.push_back({step});
  }
  plan.procedures[0].steps = std::move(steps);
  auto violation = verifyPlan(plan);
  ASSERT_TRUE(violation.has_value());
  EXPECT_EQ(violation->message, "invariant 0 (a plan is well formed): expected a plan that can be "
                                "checked in bounded time, got more steps and pieces of buffers");
  EXPECT_LT(secondsOf(plan), 10.0);
}

TEST(Verify, RealSizedPlansTakeMilliseconds) {
  Plan plan = fixturePlan();
  plan.model.blocks = plan.schedule.blockCount = 48;
  plan.programs[0].runs.clear();
  std::vector<Procedure> three = plan.procedures;
  plan.procedures.clear();
  for (int block = 0; block < 48; ++block) { // every block with procedures of its own
    BlockRun run{block, 1, {}};
    for (Procedure procedure : three) {
      procedure.name += std::to_string(block);
      plan.procedures.push_back(procedure);
      run.calls.push_back(callOf(static_cast<int32_t>(plan.procedures.size() - 1), 3072));
    }
    plan.programs[0].runs.push_back(run);
  }
  plan.summary.predictedMs = 48 * 0.044;
  plan.summary.staticBytes = 48 * plan.weightBlockBytes;
  plan.summary.predictedPeakBytes =
      plan.arenaBytes + plan.summary.staticBytes + plan.summary.libraryBytes;
  expectLegal(plan);
  EXPECT_LT(secondsOf(plan), 0.5);
}

} // namespace
