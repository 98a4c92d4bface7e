//===- WorkspaceTest.cpp ----------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "runtime/core/Workspace.h"
#include "runtime/core/Calibrate.h"
#include "runtime/core/Session.h"
#include "test/core/CoreTest.h"
#include "test/core/FakeBackend.h"
#include "test/plan/PlanFixture.h"

namespace evo {
namespace {

/// The fixture's plan with 1000 bytes of workspace, a slot of 1024, at the arena's end.
plan::Plan planWithWorkspace() {
  plan::Plan plan = plan::test::fixturePlan();
  plan.tensors.push_back({"workspace", plan::DType::F32, {250}, plan.arenaBytes, 1000});
  for (int64_t *bytes : {&plan.arenaBytes, &plan.summary.arenaBytes,
                         &plan.summary.predictedPeakBytes, &plan.summary.budgetBytes})
    *bytes += 1024;
  return plan;
}

TEST(WorkspaceTest, IsLentFromTheArena) {
  test::FakeBackend backend;
  backend.skipsOthers = true;
  backend.workspaceBytes = 1000;
  plan::Plan plan = planWithWorkspace();
  std::vector<std::byte> arena(static_cast<size_t>(plan.arenaBytes));
  ASSERT_TRUE(lendWorkspace(backend, plan, arena.data()).ok());
  EXPECT_EQ(backend.workspace.data(),
            arena.data() + 8704); // behind slots of 3072 and a frame of 5632
  EXPECT_EQ(backend.workspace.size(), 1000u);
  EXPECT_TRUE(runPlan(plan, backend, RunOptions{}).ok());
}

TEST(WorkspaceTest, TooLittleIsRefusedBeforeTheFirstLaunch) {
  test::FakeBackend backend;
  backend.workspaceBytes = 1001;
  RunOptions options;
  options.planPath = "p.json";
  for (const auto &[plan, got] :
       {std::pair(planWithWorkspace(), "1000"), std::pair(plan::test::fixturePlan(), "0")}) {
    Result<RunReport> run = runPlan(plan, backend, options);
    ASSERT_FALSE(run.ok());
    EXPECT_EQ(
        run.status().message(),
        "p.json: workspace of the kernels of fake: expected at least 1001 bytes in the arena, "
        "got " +
            std::string(got) +
            "; make the plan with a profile of this device (evo-opt --profile, evo-run "
            "--calibrate writes one)");
  }
  EXPECT_TRUE(backend.launches.empty());
}

TEST(WorkspaceTest, WithoutAPlanItIsAllocatedFullOfNaNs) {
  test::FakeBackend backend;
  backend.workspaceBytes = (1 << 20) + 4; // a piece and a little
  Result<std::unique_ptr<DeviceMemory>> memory = allocateWorkspace(backend);
  ASSERT_TRUE(memory.ok());
  EXPECT_EQ(backend.workspace.data(), (*memory)->data());
  ASSERT_EQ(backend.workspace.size(), (size_t{1} << 20) + 4);
  EXPECT_TRUE(std::all_of(backend.workspace.begin(), backend.workspace.end(),
                          [](std::byte byte) { return byte == std::byte{0xff}; }));
  backend.memoryBytes = 1000;
  EXPECT_EQ(allocateWorkspace(backend).status().code(), ErrorCode::OutOfMemory);
}

TEST(WorkspaceTest, ACalibrationBringsItsOwn) {
  test::FakeBackend backend;
  backend.workspaceBytes = 2048;
  CalibrationOptions options;
  options.precisions = {plan::Precision::Fp32};
  options.rounds = 1;
  options.sampleNs = 1;
  CalibrationCall copy{plan::Kernel::Copy, {}, {{{3}}, {{3}}}, 0, false};
  ASSERT_TRUE(measureCalls(backend, {&copy, 1}, options).ok());
  EXPECT_EQ(backend.workspace.size(), 2048u);
}

} // namespace
} // namespace evo
