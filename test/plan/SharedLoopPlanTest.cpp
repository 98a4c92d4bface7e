//===- SharedLoopPlanTest.cpp - modules that share a loop -------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// Modules that the forward program runs one by one, and that the backward program runs again, and
// goes back through, together.
//===----------------------------------------------------------------------===//
#include "runtime/plan/Strides.h"
#include "runtime/plan/Verify.h"
#include "test/plan/PlanFixture.h"

#include <gtest/gtest.h>

using namespace evo;
using namespace evo::plan;
using namespace evo::plan::test;

namespace {

enum Procedures { kCheckpoint, kFirst, kSecond, kAgain, kBackward };

Procedure softmaxOf(const Procedure &keeping, const std::string &module) {
  Procedure softmax = keeping;
  softmax.name = softmax.module = module;
  softmax.steps.erase(softmax.steps.begin()); // the copy
  softmax.buffers = {softmax.buffers[static_cast<size_t>(bufferIndex(softmax, "m"))]};
  for (auto &view : kernelStep(softmax, 0).operands)
    view->buffer = 0;
  softmax.costNs = 2000;
  return softmax;
}

/// m becomes the softmax of its softmax, and what was there is kept.
void computeTwice(Procedure &procedure) {
  KernelStep second = kernelStep(procedure, 1);
  operand(second, "x").version = 1;
  operand(second, "y").version = 2;
  second.costNs = 3000;
  procedure.steps.push_back({second});
  procedure.costNs = 6000; // 1 + 2 + 3 us
}

/// From the kept m: its softmax in `scratch`, the softmax of that in `both`, and back through them.
void goBackTwice(Procedure &procedure) {
  Buffer both = procedure.buffers[static_cast<size_t>(bufferIndex(procedure, "scratch"))];
  both.name = "both";
  both.offset = 512;
  auto index = static_cast<int32_t>(procedure.buffers.size());
  procedure.buffers.push_back(both);
  procedure.frameBytes = 1024;
  KernelStep softmax = kernelStep(procedure, 0), gradient = kernelStep(procedure, 1);
  operand(softmax, "x") = operand(softmax, "y");
  operand(softmax, "y") = operand(gradient, "y") = wholeView(both, index, 1);
  operand(kernelStep(procedure, 1), "dy").version = 1;
  operand(kernelStep(procedure, 1), "dx").version = 2;
  const Step added[] = {{AllocStep{index}}, {softmax}, {gradient}, {FreeStep{index}}};
  procedure.steps.insert(procedure.steps.begin() + 2, std::begin(added), std::end(added));
  procedure.costNs = 6000; // twice 1 + 2 us
}

/// m and dm [4,4] in one slot at 0. Each of two blocks keeps m at 512 or 1024, and runs `first` and
/// `second` on it, a softmax each. The backward program runs both again on the checkpoint, in one
/// procedure, which keeps m at 1536, and goes back through both in one.
Plan sharedPlan() {
  Plan plan = trainingPlan();
  plan.model.blocks = plan.schedule.blockCount = 2;
  plan.tensors[1].offset = 0;
  Procedure again = plan.procedures[0], backward = plan.procedures[1], checkpoint = again;
  checkpoint.name = checkpoint.module = "checkpoint";
  checkpoint.steps.pop_back(); // the softmax
  checkpoint.costNs = 1000;
  Procedure first = softmaxOf(again, "first"), second = softmaxOf(again, "second");
  computeTwice(again);
  goBackTwice(backward);
  again.module = backward.module = "first+second";
  again.name = "first+second.again";
  plan.procedures = {checkpoint, first, second, again, backward};
  Call rerun = callOf(kAgain, 2048, 1536), back = callOf(kBackward, 2048);
  rerun.bindings = {{bufferIndex(again, "m"), 512, 512}};
  back.bindings = {{bufferIndex(backward, "saved.m"), 1536, 0}};
  plan.programs[0].runs = {
      {0, 2, {callOf(kCheckpoint, 2048, 512, 512), callOf(kFirst, 2048), callOf(kSecond, 2048)}}};
  plan.programs[1].runs = {{0, 2, {rerun, back}}};
  plan.arenaBytes = plan.summary.arenaBytes = plan.summary.predictedPeakBytes = 2048 + 1024;
  plan.summary.keptBytes = 2 * 512;
  // In the backward of block 1 its checkpoint, and the m of the re-run behind the first softmax.
  plan.summary.idle = {1024, 1024, 0};
  plan.summary.predictedMs = 0.034; // 1 + 2 + 2 us forward, 6 + 6 us backward, 2 blocks
  return plan;
}

/// The same, but the forward program runs both together too.
Plan togetherPlan() {
  Plan plan = sharedPlan();
  Procedure &both = plan.procedures[kFirst];
  KernelStep second = kernelStep(both, 0);
  operand(second, "x").version = 1;
  operand(second, "y").version = 2;
  both.steps.push_back({second});
  both.module = both.name = "first+second";
  both.costNs = 4000; // 2 + 2 us
  plan.procedures.erase(plan.procedures.begin() + kSecond);
  plan.programs[0].runs[0].calls.pop_back();
  for (Call &call : plan.programs[1].runs[0].calls)
    --call.procedure;
  return plan;
}

TEST(SharedLoopPlan, MayRunOneByOneInTheForward) {
  Status status = checkPlan(sharedPlan());
  EXPECT_TRUE(status.ok()) << status.message();
  status = checkPlan(togetherPlan());
  EXPECT_TRUE(status.ok()) << status.message();
}

TEST(SharedLoopPlan, MayDropWhatAnyOfTheModulesDrops) {
  for (int module : {kFirst, kSecond}) {
    Plan plan = sharedPlan();
    addMask(plan.procedures[static_cast<size_t>(module)], 0.5, 3);
    addMask(plan.procedures[kAgain], 0.5, 3);
    Status status = checkPlan(plan);
    EXPECT_TRUE(status.ok()) << status.message();
  }
}

TEST(SharedLoopPlan, DoesNotComeApart) {
  Plan plan = togetherPlan();
  plan.procedures[kAgain - 1].module = "second";
  auto violation = verifyPlan(plan);
  ASSERT_TRUE(violation.has_value());
  EXPECT_EQ(violation->invariant, 5) << violation->message;
  EXPECT_NE(violation->message.find("expected modules that the forward program has run in the "
                                    "block, right after each other, got 'second' in block 1"),
            std::string::npos)
      << violation->message;
}

struct Broken {
  const char *name;
  int invariant;
  std::string path, message; ///< a part of the message
  void (*apply)(Plan &);
};
void PrintTo(const Broken &broken, std::ostream *stream) { *stream << broken.name; }

class OfSharedLoops : public testing::TestWithParam<Broken> {};

TEST_P(OfSharedLoops, IsRejected) {
  Plan plan = sharedPlan();
  GetParam().apply(plan);
  auto violation = verifyPlan(plan);
  ASSERT_TRUE(violation.has_value()) << "the mutant is accepted";
  EXPECT_EQ(violation->invariant, GetParam().invariant) << violation->message;
  EXPECT_EQ(violation->path, GetParam().path) << violation->message;
  EXPECT_NE(violation->message.find(GetParam().message), std::string::npos) << violation->message;
}

const Broken kShared[] = {
    {"ModulesInAnotherOrder", 5, "programs[1].runs[0].calls[0]",
     "right after each other, got 'second+first' in block 1",
     [](Plan &p) {
       p.procedures[kAgain].module = p.procedures[kBackward].module = "second+first";
     }},
    {"ModulesWithOneBetween", 5, "programs[1].runs[0].calls[0]",
     "right after each other, got 'first+second' in block 1",
     [](Plan &p) { // and a third softmax between the two
       Procedure third = p.procedures[kFirst];
       third.name = third.module = "third";
       p.procedures.push_back(third);
       std::vector<Call> &calls = p.programs[0].runs[0].calls;
       calls.insert(calls.end() - 1, callOf(5, 2048));
     }},
    {"ModuleThatNobodyRan", 5, "programs[1].runs[0].calls[0]",
     "right after each other, got 'other+second' in block 1",
     [](Plan &p) { p.procedures[kAgain].module = "other+second"; }},
    {"ModuleAloneAndInALoop", 5, "programs[0].runs[0].calls[2]",
     "expected one call of module 'first' in a block, got a second one",
     [](Plan &p) { p.procedures[kSecond].module = "first+second"; }},
    {"CheckpointTakenTooLate", 5, "programs[1].runs[0].calls[0].bindings",
     "expected tensor 'm' as the forward of 'first+second' found it",
     [](Plan &p) { // what the second module found
       std::vector<Call> &calls = p.programs[0].runs[0].calls;
       std::swap(calls[0], calls[1]);
     }},
    {"BackwardOfTheLastAlone", 5, "programs[1].runs[0].calls[1].bindings",
     "expected 'saved.m' as the forward of 'second' had it",
     [](Plan &p) { p.procedures[kBackward].module = "second"; }},
    {"BackwardOfTheFirstAlone", 6, "programs[1].runs[0].calls[1]",
     "expected the backward of 'second', block 1, the last of the forward left, got that of "
     "'first' in block 1",
     [](Plan &p) { p.procedures[kBackward].module = "first"; }},
    {"RerunOfTheFirstAlone", 5, "procedures[3]",
     "expected what 'first+second' computes of 'm', got another computation",
     [](Plan &p) { p.procedures[kAgain].steps.pop_back(); }},
    {"GradientOfTheSecondAlone", 6, "procedures[4]",
     "expected the gradient of 'm' as 'first+second' finds it, by each use of it once, in 'dm', "
     "got another",
     [](Plan &p) { // back through the second softmax only
       std::vector<Step> &steps = p.procedures[kBackward].steps;
       steps.erase(steps.begin() + 6);
     }},
    {"GradientOfTheOther", 6, "procedures[4].steps[5].operands.y",
     "expected the 'y' of the forward's step, got another value of the forward",
     [](Plan &p) { // both steps go back through the second softmax
       Procedure &procedure = p.procedures[kBackward];
       std::swap(procedure.steps[5], procedure.steps[6]); // frees it later
       operand(kernelStep(procedure, 3), "y") = operand(kernelStep(procedure, 2), "y");
     }},
    {"DropoutOfAnotherRate", 5, "programs[1].runs[0].calls[0]",
     "expected the dropout of the forward of 'first+second', rate 0.500000, module 3, shape [1, "
     "4], got rate 0.250000, module 3, shape [1, 4]",
     [](Plan &p) {
       addMask(p.procedures[kSecond], 0.5, 3);
       addMask(p.procedures[kAgain], 0.25, 3);
     }},
};

INSTANTIATE_TEST_SUITE_P(All, OfSharedLoops, testing::ValuesIn(kShared),
                         [](const testing::TestParamInfo<Broken> &info) {
                           return std::string(info.param.name);
                         });

} // namespace
