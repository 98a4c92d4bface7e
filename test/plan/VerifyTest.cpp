//===- VerifyTest.cpp - legal plans -----------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "runtime/plan/Verify.h"
#include "test/plan/PlanFixture.h"

#include <gtest/gtest.h>

using namespace evo;
using namespace evo::plan;
using namespace evo::plan::test;

namespace {

TEST(Verify, AcceptsTheFixture) {
  Status status = checkPlan(fixturePlan());
  EXPECT_TRUE(status.ok()) << status.message();
}

} // namespace
