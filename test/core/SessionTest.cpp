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

} // namespace
} // namespace evo
