//===- RecomputePlanTest.cpp - bindings, checkpoints, sums -------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "runtime/plan/PlanJson.h"
#include "runtime/plan/Strides.h"
#include "runtime/plan/Timeline.h"
#include "runtime/plan/Verify.h"
#include "test/plan/PlanFixture.h"

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

using namespace evo;
using namespace evo::plan;
using namespace evo::plan::test;

namespace {

enum Procedures { kCheckpoint, kForward, kAgain, kBackward };

/// m and dm [4,4] in one slot at 0. Each of two blocks keeps m at 512 or 1024 and runs softmax over
/// it; the backward program runs that again on the checkpoint, keeps m at 1536, and reads it there.
Plan rerunPlan() {
  Plan plan = trainingPlan();
  plan.model.blocks = plan.schedule.blockCount = 2;
  plan.tensors[1].offset = 0;
  Procedure again = plan.procedures[0], backward = plan.procedures[1];
  Procedure checkpoint = again, forward = again;
  checkpoint.name = checkpoint.module = "checkpoint";
  checkpoint.steps.pop_back(); // the softmax
  checkpoint.costNs = 1000;
  forward.name = forward.module = again.module = backward.module = "first";
  forward.steps.erase(forward.steps.begin()); // the copy
  forward.buffers = {forward.buffers[static_cast<size_t>(bufferIndex(forward, "m"))]};
  for (auto &view : kernelStep(forward, 0).operands)
    view->buffer = 0;
  forward.costNs = 2000;
  again.name = "first.again";
  plan.procedures = {checkpoint, forward, again, backward};
  Call rerun = callOf(kAgain, 2048, 1536), back = callOf(kBackward, 2048);
  rerun.bindings = {{bufferIndex(again, "m"), 512, 512}};
  back.bindings = {{bufferIndex(backward, "saved.m"), 1536, 0}};
  plan.programs[0].runs = {{0, 2, {callOf(kCheckpoint, 2048, 512, 512), callOf(kForward, 2048)}}};
  plan.programs[1].runs = {{0, 2, {rerun, back}}};
  plan.arenaBytes = plan.summary.arenaBytes = plan.summary.predictedPeakBytes = 2560;
  plan.summary.keptBytes = 2 * 512;
  // In the backward of block 1 nobody reads its checkpoint any more.
  plan.summary.idle = {512, 512, 0};
  plan.summary.predictedMs = 0.018; // 1 + 2 us forward, 3 + 3 us backward, 2 blocks
  return plan;
}

void insertAt(std::vector<Step> &steps, size_t at, const std::vector<Step> &added) {
  for (size_t i = 0; i < added.size(); ++i)
    steps.insert(steps.begin() + static_cast<std::ptrdiff_t>(at + i), added[i]);
}

Call &backwardCall(Plan &plan, size_t index) { return plan.programs[1].runs[0].calls[index]; }

/// The columns of dm summed over slices of `size` of its 4 rows, then copied to the gradient of
/// bias.
Plan slicedPlan(int64_t size) {
  Plan plan = gradientPlan();
  Procedure &procedure = plan.procedures[1];
  auto total = static_cast<int32_t>(procedure.buffers.size());
  procedure.buffers.push_back({"total", Base::Frame, -1, DType::F32, {4}, {1}, 512, 16});
  procedure.frameBytes = 1024;
  auto zeros = [&](int32_t version) {
    return wholeView(procedure.buffers[static_cast<size_t>(total)], total, version);
  };
  KernelStep zero, copy, add = kernelStep(procedure, 1);
  zero.kernel = Kernel::Zero;
  zero.operands = {zeros(1)};
  copy.kernel = Kernel::Copy;
  copy.operands = {zeros(2), operand(add, "dbias")};
  operand(add, "du").start[0] = {0, 0};
  operand(add, "du").extent[0] = {size, 0};
  operand(add, "dbias") = zeros(2);
  add.operands[static_cast<size_t>(kernelInfo(Kernel::BiasGrad).operandIndex("accumulator"))] =
      zeros(1);
  LoopStep loop{0, "s", 4, size, {}};
  loop.body.push_back({add});
  std::vector<Step> steps = {{AllocStep{total}}, {zero}, {loop}, {copy}, {FreeStep{total}}};
  procedure.steps.erase(procedure.steps.begin() + 1);
  insertAt(procedure.steps, 1, steps);
  plan.arenaBytes = plan.summary.arenaBytes = 2560 + 1024;
  plan.summary.predictedPeakBytes = 3584 + 6144;
  // The kept m is read before there is a frame, and dy and the total are not alive together.
  plan.summary.idle = {1024, 512, 512};
  return plan;
}

TEST(RecomputePlan, IsLegalAndComesBackFromItsText) {
  Plan plan = rerunPlan();
  Status status = checkPlan(plan);
  ASSERT_TRUE(status.ok()) << status.message();
  Result<std::string> text = printPlan(plan);
  ASSERT_TRUE(text.ok()) << text.status().message();
  Result<Plan> back = parsePlan(*text, "p.json");
  ASSERT_TRUE(back.ok()) << back.status().message();
  EXPECT_EQ(backwardCall(*back, 0).bindings, backwardCall(plan, 0).bindings);
  EXPECT_EQ(*printPlan(*back), *text);
}

/// The same, but the re-run runs on a copy of its checkpoint, at 2048, above the m that it keeps.
Plan copyingPlan() {
  Plan plan = rerunPlan();
  std::vector<Call> &calls = plan.programs[1].runs[0].calls;
  Call copy = callOf(kCheckpoint, 2560, 2048);
  copy.bindings = {{bufferIndex(plan.procedures[kCheckpoint], "m"), 512, 512}};
  calls[0].bindings[0] = {calls[0].bindings[0].buffer, 2048, 0};
  calls[0].frameOffset = 2560;
  calls.insert(calls.begin(), copy);
  plan.summary.predictedMs = 0.020; // 1 us more in each of 2 blocks
  return plan;
}

TEST(RecomputePlan, MayRunOnWhatLiesAboveWhatItKeeps) {
  Status status = checkPlan(copyingPlan());
  EXPECT_TRUE(status.ok()) << status.message();
  // What a call keeps still lies above all that is read and not run on.
  Plan plan = trainingPlan();
  std::vector<Call> &calls = plan.programs[0].runs[0].calls;
  std::swap(calls[0].savedOffset, calls[1].savedOffset);
  std::vector<Call> &back = plan.programs[1].runs[0].calls;
  std::swap(back[0].savedOffset, back[1].savedOffset);
  auto violation = verifyPlan(plan);
  ASSERT_TRUE(violation.has_value());
  EXPECT_EQ(violation->invariant, 12) << violation->message;
  EXPECT_NE(violation->message.find("expected at least 1600, got 1024"), std::string::npos)
      << violation->message;
}

TEST(RecomputePlan, LargestLiveBytes) {
  // m, the checkpoint of block 0, and for block 1 its own and the m of the re-run; then the m of
  // the re-run and a frame.
  EXPECT_EQ(largestLiveBytes(rerunPlan()), 512 + 512 + 512 + 512);
  // When block 1 runs again its checkpoint is done with, and there are the copy and the m.
  EXPECT_EQ(largestLiveBytes(copyingPlan()), 512 + 512 + 512 + 512);
  // m, dm, two kept tensors in each of three blocks, and a frame.
  EXPECT_EQ(largestLiveBytes(trainingPlan()), 512 + 512 + 6 * 512 + 512);
}

TEST(RecomputePlan, IdleBytes) {
  // Of 2560, m, both checkpoints and the m of the re-run are all that is there when block 1 has
  // run again; in its backward, where the arena ends, its checkpoint is dead.
  IdleBytes idle = idleBytes(rerunPlan());
  EXPECT_EQ(idle.total, 2560 - 4 * 512);
  EXPECT_EQ(idle.kept, 512);
  EXPECT_EQ(idle.frame, 0);
  idle = idleBytes(slicedPlan(2));
  EXPECT_EQ(idle.total, 1024);
  EXPECT_EQ(idle.kept, 512);
  EXPECT_EQ(idle.frame, 512);
  EXPECT_EQ(idleBytes(trainingPlan()).total, 0);
}

TEST(RecomputePlan, SumsOverAnySlicesAreLegal) {
  for (int64_t size : {1, 2, 3, 4}) { // 4 iterations, 2, 2 with a shorter one, 1
    Status status = checkPlan(slicedPlan(size));
    EXPECT_TRUE(status.ok()) << size << ": " << status.message();
  }
}

/// One thing broken, and what the verifier says to it.
struct Broken {
  const char *name;
  int invariant;
  std::string path, message; ///< a part of the message
  void (*apply)(Plan &);
};
void PrintTo(const Broken &broken, std::ostream *stream) { *stream << broken.name; }

void expectRejected(Plan plan, const Broken &broken) {
  broken.apply(plan);
  auto violation = verifyPlan(plan);
  ASSERT_TRUE(violation.has_value()) << "the mutant is accepted";
  EXPECT_EQ(violation->invariant, broken.invariant) << violation->message;
  EXPECT_EQ(violation->path, broken.path) << violation->message;
  EXPECT_NE(violation->message.find(broken.message), std::string::npos) << violation->message;
}

class OfRecomputation : public testing::TestWithParam<Broken> {};
class OfSums : public testing::TestWithParam<Broken> {};
TEST_P(OfRecomputation, IsRejected) { expectRejected(rerunPlan(), GetParam()); }
TEST_P(OfSums, IsRejected) { expectRejected(slicedPlan(2), GetParam()); }
class OfSoftmax : public testing::TestWithParam<Broken> {};
class OfProjection : public testing::TestWithParam<Broken> {};
TEST_P(OfSoftmax, IsRejected) { expectRejected(trainingPlan(), GetParam()); }
TEST_P(OfProjection, IsRejected) { expectRejected(gradientPlan(), GetParam()); }

const Broken kRecomputation[] = {
    {"BindingsOutOfOrder", 0, "programs[1].runs[0].calls[0].bindings[1].buffer",
     "expected an index from 2 below 2, got 0",
     [](Plan &p) {
       // saved.m is buffer 0, m buffer 1
       backwardCall(p, 0).bindings = {{1, 512, 512}, {0, 1536, 0}};
     }},
    {"BindingTwice", 0, "programs[1].runs[0].calls[0].bindings[1].buffer", "expected an index from",
     [](Plan &p) {
       std::vector<Binding> &bindings = backwardCall(p, 0).bindings;
       bindings.push_back(bindings[0]);
     }},
    {"BindingOfAFrameBuffer", 0, "programs[1].runs[0].calls[1].bindings[0].buffer",
     "expected a buffer of base saved or tensor, got frame",
     [](Plan &p) {
       backwardCall(p, 1).bindings = {{bufferIndex(p.procedures[kBackward], "scratch"), 1536, 0}};
     }},
    {"BindingBehindTheArena", 8, "programs[1].runs[0].calls[0].bindings",
     "expected an end of at most arena_bytes 2560, got 2624 in block 1", // 2048 + 512 + 64
     [](Plan &p) { backwardCall(p, 0).bindings[0].offset = 2048; }},
    {"BindingBeforeTheArena", 8, "programs[1].runs[0].calls[0].bindings", "got -512",
     [](Plan &p) { backwardCall(p, 0).bindings[0].offset = -512; }},
    {"SlotReadAfterTheGradientWasGiven", 1, "programs[1].runs[0].calls[0]",
     "expected tensor 'm' to be an input or written before, got undefined elements",
     [](Plan &p) { backwardCall(p, 0).bindings.clear(); }},
    {"CheckpointOfAnotherBlock", 5, "programs[1].runs[0].calls[0].bindings",
     "expected tensor 'm' as the forward of 'first' found it, got version 0 of 'm' in block 1",
     [](Plan &p) { backwardCall(p, 0).bindings[0].stride = 0; }},
    {"CheckpointTakenTooLate", 5, "programs[1].runs[0].calls[0].bindings",
     "got version 2 of 'm' in block 1", // behind the second softmax
     [](Plan &p) {
       std::vector<Call> &calls = p.programs[0].runs[0].calls;
       std::swap(calls[0], calls[1]);
     }},
    {"RerunOnWhatTheForwardLeft", 5, "programs[1].runs[0].calls[0]",
     "expected version 1 of 'm', which the forward of 'first' found, got version 2 in block 1",
     [](Plan &p) { // m is still in its slot, but behind both softmaxes
       p.tensors[1].offset = 2560;
       p.arenaBytes = p.summary.arenaBytes = p.summary.predictedPeakBytes = 3072;
       backwardCall(p, 0).bindings.clear();
     }},
    {"RerunOfAnotherKernel", 5, "procedures[2]",
     "expected what 'first' computes of 'm', got another computation",
     [](Plan &p) {
       KernelStep &step = kernelStep(p.procedures[kAgain], 1);
       step.kernel = Kernel::Copy;
       step.operands[0] = operand(kernelStep(p.procedures[kAgain], 0), "y"); // what was kept
     }},
    {"StreamElsewhereInTheForward", 5, "programs[0].runs[0].calls[1].bindings",
     "expected streams in their slots but where a forward runs again",
     [](Plan &p) {
       p.programs[0].runs[0].calls[1].bindings = {{0, 512, 512}};
     }},
    {"FrameOverWhatARerunKeeps", 9, "programs[1].runs[0].calls[1].frame_offset",
     "expected no kept bytes [1536, 1600), got [1536, 2048) in block 1",
     [](Plan &p) { backwardCall(p, 1).frameOffset = 1536; }},
    {"FrameOfARerunOverItsCheckpoint", 9, "programs[1].runs[0].calls[0].frame_offset",
     "expected no kept bytes [1024, 1088), got [1024, 1536) in block 1",
     [](Plan &p) {
       addMask(p.procedures[kForward], 0.5, 3);
       addMask(p.procedures[kAgain], 0.5, 3);
       backwardCall(p, 0).frameOffset = 1024;
     }},
    {"DropoutOfAnotherRate", 5, "programs[1].runs[0].calls[0]",
     "expected the dropout of the forward of 'first', rate 0.500000, module 3, shape [1, 4], got "
     "rate 0.250000, module 3, shape [1, 4]",
     [](Plan &p) {
       addMask(p.procedures[kForward], 0.5, 3);
       addMask(p.procedures[kAgain], 0.25, 3);
     }},
    {"DropoutWhereTheForwardHasNone", 5, "programs[1].runs[0].calls[0]",
     "expected no dropout, as in the forward of 'first'",
     [](Plan &p) { addMask(p.procedures[kAgain], 0.25, 3); }},
};

/// The steps of the backward: weight_grad, alloc, zero, loop, copy, free, ...
std::vector<Step> &sumSteps(Plan &plan) { return plan.procedures[1].steps; }

const Broken kSums[] = {
    {"SumWithoutZeros", 6, "procedures[1].steps[2].body[0].operands.accumulator.version",
     "expected 'total' to be set before slices add to it, got undefined elements",
     [](Plan &p) { sumSteps(p).erase(sumSteps(p).begin() + 2); }},
    {"PartialSumReadInItsLoop", 6, "procedures[1].steps[3].body[2].operands.x",
     "expected no use of the sum in 'total' before its loop ends, got one beside step 2",
     [](Plan &p) { // a copy in every iteration
       Procedure &procedure = p.procedures[1];
       Buffer peek = procedure.buffers.back();
       peek.name = "peek";
       peek.offset = 1024;
       auto index = static_cast<int32_t>(procedure.buffers.size());
       procedure.buffers.push_back(peek);
       procedure.frameBytes = 1536;
       KernelStep copy = kernelStep(procedure, 3);
       copy.operands[1] = wholeView(peek, index, 1);
       std::vector<Step> &body = firstLoop(procedure).body;
       insertAt(body, body.size(), {{AllocStep{index}}, {copy}, {FreeStep{index}}});
     }},
    {"ZerosTwice", 6, "procedures[1].steps[3].operands.y",
     "expected every element of 'total' to be read before it is overwritten, got some that step 1 "
     "wrote and nobody reads",
     [](Plan &p) {
       Step again = sumSteps(p)[2];
       operand(std::get<KernelStep>(again.value), "y").version = 2;
       sumSteps(p).insert(sumSteps(p).begin() + 3, again);
       KernelStep &add = kernelStep(p.procedures[1], 3);
       operand(add, "accumulator").version = 2;
       operand(add, "dbias").version = 3;
       operand(kernelStep(p.procedures[1], 4), "x").version = 3;
     }},
    {"SumThatNobodyReads", 6, "procedures[1].steps[5].free",
     "expected every element of 'total' to be read before it is freed, got some that step 2 "
     "wrote and nobody reads",
     [](Plan &p) { // the bias's gradient is summed at once, beside the slices
       Plan whole = gradientPlan();
       sumSteps(p)[4] = {kernelStep(whole.procedures[1], 1)};
     }},
    {"TermOfTwoSums", 6, "procedures[1].steps[9].operands.residual",
     "expected version 0 of 'dm' to be added to one sum, got a second one",
     [](Plan &p) { // dm is added to its copy, and again to the product of both
       Procedure &procedure = p.procedures[1];
       KernelStep add = kernelStep(procedure, 4); // the copy of dm
       add.kernel = Kernel::Add;
       View dm = *add.operands[0], dy = *add.operands[1], sum = dy;
       sum.version = 2;
       add.operands = {dy, dm, sum};
       operand(kernelStep(procedure, 5), "x").version = 2;
       sumSteps(p).insert(sumSteps(p).begin() + 8, {add});
     }},
    {"TermOfEverySlice", 6, "procedures[1].steps[10].body[0].operands.addend",
     "expected version 1 of 'extra' to be added once, got once in every slice of loop 1",
     [](Plan &p) { // rows [0, 2) of a copy of dm are added to each half of dy
       Procedure &procedure = p.procedures[1];
       Buffer extra = procedure.buffers[static_cast<size_t>(bufferIndex(procedure, "dy"))];
       extra.name = "extra";
       extra.offset = 1024;
       auto index = static_cast<int32_t>(procedure.buffers.size());
       procedure.buffers.push_back(extra);
       procedure.frameBytes = 1536;
       p.arenaBytes = p.summary.arenaBytes = 2560 + 1536;
       p.summary.predictedPeakBytes = 4096 + 6144;
       KernelStep copy = kernelStep(procedure, 4), add = copy;
       View dy = *copy.operands[1], some = wholeView(extra, index, 1), sum;
       copy.operands[1] = some;
       dy.start[0] = {0, 1};
       dy.extent[0] = {2, 1};
       some.extent[0].value = 2;
       sum = dy;
       sum.version = 2;
       add.kernel = Kernel::Add;
       add.operands = {dy, some, sum};
       operand(kernelStep(procedure, 5), "x").version = 2;
       LoopStep loop{1, "s", 4, 2, {}};
       loop.body.push_back({add});
       insertAt(sumSteps(p), 8, {{AllocStep{index}}, {copy}, {loop}, {FreeStep{index}}});
     }},
    {"SlicesOverwriteTheGradient", 7, "procedures[1].steps[3].body[0].operands.dbias",
     "expected a contribution to 'gradient.bias' that every slice of loop 0 adds to, got one that "
     "overwrites those of the slices before",
     [](Plan &p) {
       KernelStep &add = kernelStep(p.procedures[1], 2);
       add.operands[static_cast<size_t>(kernelInfo(Kernel::BiasGrad).operandIndex("accumulator"))]
           .reset();
       operand(add, "dbias").buffer = bufferIndex(p.procedures[1], "gradient.bias");
     }},
    {"WeightOfTwoUsesAndOneContribution", 7, "programs[1].runs[0].calls",
     "expected 2 contributions to rows [0, 4) of the gradient of 'weight', as many as the forward "
     "program uses them, got 1",
     [](Plan &p) { // the product is multiplied by the weight once more
       Procedure &forward = p.procedures[0];
       KernelStep again = kernelStep(forward, 1);
       again.operands[static_cast<size_t>(kernelInfo(Kernel::Linear).operandIndex("bias"))].reset();
       operand(again, "residual").version = 1;
       operand(again, "y").version = 2;
       forward.steps.push_back({again});
     }},
};

void turnRound(View &view) { std::swap(view.order[0], view.order[1]); }

/// The backward of each module: softmax of what was kept, softmax_grad of it and dm.
const Broken kSoftmax[] = {
    {"SoftmaxOverTheOtherAxis", 5, "procedures[1].steps[2].operands.y",
     "expected 'y' as the forward of 'first' had it, got what is computed or read in another way",
     [](Plan &p) {
       turnRound(operand(kernelStep(p.procedures[1], 0), "x"));
       turnRound(operand(kernelStep(p.procedures[1], 0), "y"));
     }},
    {"CopyForTheSoftmax", 6, "procedures[1].steps[2].operands.y",
     "expected the 'y' of the forward's step, got another value of the forward",
     [](Plan &p) { kernelStep(p.procedures[1], 0).kernel = Kernel::Copy; }},
    {"CopyForTheForward", 6, "procedures[1].steps[2].operands.dy",
     "expected the gradient of what a step of the forward computed that 'softmax_grad' "
     "differentiates, got that of something else",
     [](Plan &p) { // m turned round, in the place of its softmax
       KernelStep &step = kernelStep(p.procedures[0], 1);
       step.kernel = Kernel::Copy;
       step.operands[0] = wholeView(p.procedures[0].buffers[0], 0, 1); // what was kept
       turnRound(*step.operands[0]);
     }},
    {"GradientsTurnedRound", 6, "procedures[1].steps[2].operands.dy", "got that of something else",
     [](Plan &p) {
       KernelStep &step = kernelStep(p.procedures[1], 1);
       for (const char *name : {"y", "dy", "dx"})
         turnRound(operand(step, name));
     }},
    {"BackwardTwice", 6, "programs[1].runs[0].calls[2]",
     "expected the backward of 'second', block 1, the last of the forward left, got that of "
     "'first' in block 2",
     [](Plan &p) {
       std::vector<Call> &calls = p.programs[1].runs[0].calls;
       calls.push_back(calls[1]);
     }},
    {"ModuleWithoutABackward", 6, "programs[1].runs[0].calls[0]",
     "expected the backward of 'third', block 2, the last of the forward left, got that of "
     "'second' in block 2",
     [](Plan &p) { // one more softmax
       Procedure third = p.procedures[0];
       third.name = third.module = "third";
       third.buffers = {third.buffers[static_cast<size_t>(bufferIndex(third, "m"))]};
       third.steps.erase(third.steps.begin());
       for (auto &view : kernelStep(third, 0).operands)
         view->buffer = 0;
       third.costNs = kernelStep(third, 0).costNs;
       p.procedures.push_back(third);
       p.programs[0].runs[0].calls.push_back(callOf(4, 4096));
     }},
};

/// m += m weight^T + bias; its backward has weight_grad, bias_grad, a copy of dm, and dm += dm
/// weight.
const Broken kProjection[] = {
    {"ResidualThatTheForwardHasNot", 6, "procedures[1].steps[4].operands.residual",
     "expected the gradient of what the step adds to, got that of another value",
     [](Plan &p) {
       KernelStep &step = kernelStep(p.procedures[0], 1);
       step.operands[static_cast<size_t>(kernelInfo(step.kernel).operandIndex("residual"))].reset();
     }},
    {"GradientAddedTwice", 6, "procedures[1]",
     "expected the gradient of 'm' as 'linear' finds it, by each use of it once, in 'dm', got "
     "another",
     [](Plan &p) { // what the copy of dm holds is in the sum already
       Procedure &procedure = p.procedures[1];
       KernelStep &copy = kernelStep(procedure, 2), &product = kernelStep(procedure, 3), add = copy;
       View sum = operand(product, "y"), after = sum;
       after.version = 2;
       add.kernel = Kernel::Add;
       add.operands = {sum, *copy.operands[1], after};
       add.costNs = 0;
       procedure.steps.insert(procedure.steps.end() - 1, {add});
     }},
    {"GradientThatIsAValue", 6, "procedures[1].steps[0].operands.du",
     "expected a gradient, got a value of the forward",
     [](Plan &p) {
       KernelStep &step = kernelStep(p.procedures[1], 0);
       operand(step, "du") = operand(step, "x");
     }},
    {"ValueThatIsAGradient", 6, "procedures[1].steps[0].operands.du",
     "expected a gradient, got a value of the forward",
     [](Plan &p) {
       KernelStep &step = kernelStep(p.procedures[1], 0);
       std::swap(operand(step, "du"), operand(step, "x"));
     }},
    {"ProductByTheWeightAsItIs", 6, "procedures[1].steps[4].operands.weight",
     "expected the 'weight' of the forward's step, got another value of the forward",
     [](Plan &p) { turnRound(operand(kernelStep(p.procedures[1], 3), "weight")); }},
    {"FactorOfTheProduct", 6, "procedures[1].steps[4].factor",
     "expected the forward's 1.000000, got 0.500000",
     [](Plan &p) { kernelStep(p.procedures[1], 3).attributes.factor = 0.5; }},
};

std::string nameOf(const testing::TestParamInfo<Broken> &info) { return info.param.name; }
INSTANTIATE_TEST_SUITE_P(All, OfRecomputation, testing::ValuesIn(kRecomputation), nameOf);
INSTANTIATE_TEST_SUITE_P(All, OfSums, testing::ValuesIn(kSums), nameOf);
INSTANTIATE_TEST_SUITE_P(All, OfSoftmax, testing::ValuesIn(kSoftmax), nameOf);
INSTANTIATE_TEST_SUITE_P(All, OfProjection, testing::ValuesIn(kProjection), nameOf);

/// What a module that runs again works on is the version that its forward found, whether it writes
/// a new one or not: in a group's last module nobody reads what it would write.
TEST(RerunPlaces, OtherPlacesOfAStreamAreRefused) {
  std::ifstream file(EVO_PLAN_INPUTS "/template-large.json");
  std::stringstream text;
  text << file.rdbuf();
  Result<Plan> plan = parsePlan(text.str(), "template-large.json");
  ASSERT_TRUE(plan.ok()) << plan.status().message();
  ASSERT_FALSE(verifyPlan(*plan).has_value());
  Program *backward = nullptr;
  for (Program &program : plan->programs)
    if (program.phase == Phase::Backward)
      backward = &program;
  ASSERT_NE(backward, nullptr);
  int tried = 0;
  for (BlockRun &run : backward->runs) {
    std::vector<std::pair<Binding *, Buffer *>> streams;
    for (Call &call : run.calls)
      for (Binding &binding : call.bindings) {
        Procedure &procedure = plan->procedures[static_cast<size_t>(call.procedure)];
        Buffer &buffer = procedure.buffers[static_cast<size_t>(binding.buffer)];
        if (buffer.base == Base::Tensor && procedure.module != "checkpoint")
          streams.emplace_back(&binding, &buffer);
      }
    for (auto &[binding, buffer] : streams)
      for (auto &[other, otherBuffer] : streams) {
        if (other->offset == binding->offset || otherBuffer->tensor != buffer->tensor)
          continue;
        Binding before = *binding;
        binding->offset = other->offset;
        binding->stride = other->stride;
        EXPECT_TRUE(verifyPlan(*plan).has_value()) << before.offset << " to " << other->offset;
        *binding = before;
        ++tried;
      }
  }
  EXPECT_GT(tried, 4);
}

} // namespace
