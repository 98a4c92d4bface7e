//===- SessionTest.cpp ------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// What a run refuses before it reads a file; whole runs are tested through evo-run.
//===----------------------------------------------------------------------===//
#include "runtime/core/Session.h"
#include "test/core/CoreTest.h"
#include "test/core/FakeBackend.h"
#include "test/plan/PlanFixture.h"

namespace evo {
namespace {

TEST(SessionTest, RefusesAPrecisionThatTheBackendLacks) {
  test::FakeBackend backend;
  plan::Plan plan = plan::test::fixturePlan();
  plan.precision = plan::Precision::Tf32; // stored as fp32 is
  Result<RunReport> run = runPlan(plan, backend, RunOptions{});
  ASSERT_FALSE(run.ok());
  EXPECT_EQ(run.status().code(), ErrorCode::Unsupported);
  EXPECT_EQ(run.status().message(), "backend fake: expected a plan in fp32, got tf32 (compile the "
                                    "plan with --dtype)");
}

TEST(SessionTest, MeasuresMemoryWhenAllIsSetUpAndBehindEachRun) {
  plan::Plan plan = plan::test::fixturePlan();
  RunOptions options;
  options.warmup = 1;
  options.iterations = 2;
  test::FakeBackend backend;
  backend.skipsOthers = true;
  backend.lost = {100, 300, 200, 200};
  backend.records = true;
  Result<RunReport> run = runPlan(plan, backend, options);
  ASSERT_TRUE(run.ok()) << run.status().message();
  EXPECT_EQ(run->takenBytes, (std::vector<int64_t>{100, 300, 200, 200}));
  EXPECT_EQ(run->measuredPeakBytes, (std::vector<int64_t>{300})); // the most of all
  EXPECT_EQ(run->growthBytes(), 0);
  ASSERT_EQ(backend.recordings.size(), 1u);
  EXPECT_EQ(run->recordedLaunches, static_cast<int64_t>(backend.recordings[0]));

  test::FakeBackend silent; // a device that cannot tell
  silent.skipsOthers = true;
  run = runPlan(plan, silent, options);
  ASSERT_TRUE(run.ok()) << run.status().message();
  EXPECT_TRUE(run->takenBytes.empty());
  EXPECT_EQ(run->measuredPeakBytes,
            (std::vector<int64_t>{plan.arenaBytes + plan.summary.staticBytes}));
  EXPECT_EQ(run->recordedLaunches, 0);
}

TEST(SessionTest, TheLibraryFollowsThePlansTableOfProducts) {
  plan::Plan plan = plan::test::fixturePlan();
  plan.products = {"fake 1.2", {{7}}, {{{}, {{{2, 2, 2, 1}, 0}}}}};
  test::FakeBackend backend;
  backend.skipsOthers = true;
  backend.library.emplace();
  Result<RunReport> run = runPlan(plan, backend, RunOptions{});
  ASSERT_TRUE(run.ok()) << run.status().message();
  EXPECT_EQ(backend.library->followed, plan.products);
  EXPECT_EQ(run->products, "");

  plan.products.library = "fake 1.1"; // the report says so; the library does as it likes
  run = runPlan(plan, backend, RunOptions{});
  ASSERT_TRUE(run.ok());
  EXPECT_EQ(run->products, "products as fake 1.2 proposes: the plan's table is of fake 1.1");
  plan.products = {};
  run = runPlan(plan, backend, RunOptions{});
  ASSERT_TRUE(run.ok());
  EXPECT_TRUE(backend.library->followed.empty()); // nothing is left of the plan before
}

TEST(SessionTest, ADeviceOutOfMemorySaysWhatThePlanNeeds) {
  plan::Plan plan = plan::test::fixturePlan();
  ASSERT_EQ(plan.summary.libraryBytes, 4096);
  const std::string arena = std::to_string(plan.arenaBytes),
                    fixed = std::to_string(plan.summary.staticBytes),
                    needs = "; the plan needs 57856 bytes (arena " + arena + ", static part " +
                            fixed + ", libraries 4096)";
  test::FakeBackend small;
  small.memoryBytes = 100;
  Result<RunReport> run = runPlan(plan, small, RunOptions{});
  ASSERT_FALSE(run.ok());
  EXPECT_EQ(run.status().code(), ErrorCode::OutOfMemory);
  EXPECT_EQ(run.status().message(),
            "arena of " + arena + " bytes: expected at most 100 bytes, got " + arena + needs);

  test::FakeBackend full; // what a launch loads finds no place
  full.skipsOthers = true;
  full.tellsFree = 77;
  full.failAt = 0;
  full.failCode = ErrorCode::OutOfMemory;
  run = runPlan(plan, full, RunOptions{});
  ASSERT_FALSE(run.ok());
  EXPECT_TRUE(run.status().message().ends_with("the device is gone" + needs +
                                               ", of 77 that were free before its arena"))
      << run.status().message();

  full.launches.clear();
  full.failCode = ErrorCode::Internal; // another error says nothing of memory
  run = runPlan(plan, full, RunOptions{});
  ASSERT_FALSE(run.ok());
  EXPECT_TRUE(run.status().message().ends_with(": the device is gone")) << run.status().message();
}

} // namespace
} // namespace evo
