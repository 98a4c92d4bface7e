//===- WorkspaceTest.cpp - the kernels' workspace in a plan -----*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "runtime/plan/PlanJson.h"
#include "runtime/plan/Timeline.h"
#include "runtime/plan/Verify.h"
#include "test/plan/PlanFixture.h"

#include <gtest/gtest.h>

using namespace evo;
using namespace evo::plan;
using namespace evo::plan::test;

namespace {

/// Reserves 1000 bytes, a slot of 1024, at the arena's end. Returns the index of the tensor.
int32_t addWorkspace(Plan &plan) {
  plan.tensors.push_back({std::string(kWorkspaceTensor), DType::F32, {250}, plan.arenaBytes, 1000});
  for (int64_t *bytes : {&plan.arenaBytes, &plan.summary.arenaBytes,
                         &plan.summary.predictedPeakBytes, &plan.summary.budgetBytes})
    *bytes += 1024;
  return static_cast<int32_t>(plan.tensors.size()) - 1;
}

void expectViolation(const Plan &plan, int invariant, const std::string &path,
                     const std::string &message) {
  auto violation = verifyPlan(plan);
  ASSERT_TRUE(violation.has_value()) << "the plan is accepted";
  EXPECT_EQ(violation->invariant, invariant) << violation->message;
  EXPECT_EQ(violation->path, path) << violation->message;
  EXPECT_NE(violation->message.find(message), std::string::npos) << violation->message;
}

TEST(Workspace, IsAliveFromTheFirstStepToTheLast) {
  for (Plan plan : {fixturePlan(), trainingPlan(), optimizerPlan()}) {
    int64_t slots = slotBytes(plan), live = largestLiveBytes(plan);
    IdleBytes idle = idleBytes(plan);
    EXPECT_EQ(workspaceOf(plan), nullptr);
    EXPECT_EQ(workspaceBytes(plan), 0);
    addWorkspace(plan);
    EXPECT_EQ(verifyPlan(plan), std::nullopt);
    EXPECT_EQ(workspaceOf(plan), &plan.tensors.back());
    EXPECT_EQ(workspaceBytes(plan), 1024);
    EXPECT_EQ(slotBytes(plan), slots + 1024);
    EXPECT_EQ(largestLiveBytes(plan), live + 1024);
    IdleBytes now = idleBytes(plan);
    EXPECT_EQ(std::tuple(now.total, now.kept, now.frame),
              std::tuple(idle.total, idle.kept, idle.frame));
  }
}

TEST(Workspace, IsReadBackAsItWasPrinted) {
  Plan plan = fixturePlan();
  addWorkspace(plan);
  Result<std::string> text = printPlan(plan);
  ASSERT_TRUE(text.ok()) << text.status().message();
  // Behind m 1536, z 1024, mask 512 and the tallest frame of 5632 bytes.
  EXPECT_NE(text->find("{\"name\":\"workspace\",\"dtype\":\"f32\",\"shape\":[250],\"offset\":8704,"
                       "\"bytes\":1000}"),
            std::string::npos);
  Result<Plan> read = parsePlan(*text, "p.json");
  ASSERT_TRUE(read.ok()) << read.status().message();
  ASSERT_NE(workspaceOf(*read), nullptr);
  EXPECT_EQ(workspaceOf(*read)->offset, 8704);
}

TEST(Workspace, IsNoProgramsAndNoProceduresTensor) {
  const std::string what = "expected a tensor that is not the workspace of all kernels, got "
                           "'workspace'";
  Plan plan = fixturePlan();
  addWorkspace(plan);
  Plan input = plan;
  input.programs[0].inputs.push_back("workspace");
  expectViolation(input, 0, "programs[0].inputs[3]", what);
  Plan output = plan;
  output.programs[0].outputs.push_back("workspace");
  expectViolation(output, 0, "programs[0].outputs[2]", what);
  Plan used = plan;
  Buffer &buffer = used.procedures[kTransition].buffers[0];
  buffer.name = "workspace";
  buffer.tensor = 3;
  expectViolation(used, 0, "procedures[1].buffers[0].name", what);
}

TEST(Workspace, SharesItsBytesWithNobody) {
  Plan plan = trainingPlan();
  auto workspace = static_cast<size_t>(addWorkspace(plan));
  // As a gradient may lie in its stream's slot, of the same bytes.
  plan.tensors[workspace].shape = plan.tensors[0].shape;
  plan.tensors[workspace].bytes = plan.tensors[0].bytes;
  plan.tensors[workspace].offset = plan.tensors[0].offset;
  expectViolation(plan, 9, "tensors[" + std::to_string(workspace) + "].offset", "the end of 'm'");
  Plan below = fixturePlan();
  int64_t frames = below.programs[0].runs[0].calls[0].frameOffset;
  below.tensors[static_cast<size_t>(addWorkspace(below))].offset = frames;
  expectViolation(below, 9, "programs[0].runs[0].calls[0].frame_offset",
                  "expected no bytes of tensor 'workspace' at " + std::to_string(frames));
}

} // namespace
