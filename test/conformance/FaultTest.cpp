//===- FaultTest.cpp - what a device's failures say -------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// A plan whose weights are not where a device has memory: what Evo says of the device's failure
// names expression, device and, where every launch is awaited, the step. A device that has failed
// is lost to the process, so each test runs in one of its own.
//===----------------------------------------------------------------------===//
#include "runtime/core/Executor.h"
#include "runtime/core/Trace.h"
#include "test/conformance/Backends.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <iostream>

namespace evo::conformance {

namespace {

constexpr int64_t kChannels = 4096;
constexpr int kTold = 3; // exit status

/// z[4096] = w[4096] of its one block.
plan::Plan copyPlan() {
  using namespace plan;
  constexpr int64_t kBytes = kChannels * 4;
  Plan plan;
  plan.model.blocks = 1;
  plan.arenaBytes = plan.weightBlockBytes = plan.summary.staticBytes = kBytes;
  plan.tensors = {{"z", DType::F32, {kChannels}, 0, kBytes}};
  Procedure procedure;
  procedure.name = "mix";
  procedure.module = "mixer";
  procedure.buffers = {{"z", Base::Tensor, 0, DType::F32, {kChannels}, {1}, 0, kBytes},
                       {"w", Base::Weight, -1, DType::F32, {kChannels}, {1}, 0, kBytes}};
  KernelStep step;
  step.kernel = Kernel::Copy;
  step.operands = {View{1, 0, {{0}}, {{kChannels}}, {0}}, View{0, 0, {{0}}, {{kChannels}}, {0}}};
  step.location = "mixer: swap";
  procedure.steps.push_back({std::move(step)});
  plan.procedures = {std::move(procedure)};
  plan.programs = {{Phase::Forward, {"z"}, {"z"}, {{0, 1, {{0, kBytes, 0, 0, 0, {}}}}}}};
  return plan;
}

/// Runs the plan with weights at `distance` from the arena, says what came of it and ends.
void runAndTell(const BackendFactory &factory, int64_t distance, bool traced) {
  plan::Plan plan = copyPlan();
  auto backend = factory.create();
  auto memory = (*backend)->allocate(2 * plan.arenaBytes);
  std::byte *arena = (*memory)->data();
  auto executor = Executor::create(plan, **backend, arena, arena + distance);
  if (!executor.ok()) {
    std::cerr << executor.status().message() << "\n";
    std::_Exit(1);
  }
  Trace trace;
  RunHooks hooks;
  hooks.trace = traced ? &trace : nullptr;
  Status status = (*executor)->run(plan::Phase::Forward, hooks);
  std::cerr << (status.ok() ? "no failure" : status.message()) << "\n";
  std::_Exit(kTold);
}

class FaultTest : public testing::Test {
protected:
  void SetUp() override {
    testing::FLAGS_gtest_death_test_style = "threadsafe"; // a device is not forked
    for (const BackendFactory &one : conformanceBackends())
      if (one.name == "cuda")
        factory = one;
    if (factory.name.empty())
      GTEST_SKIP() << "no device";
  }
  BackendFactory factory;
  static constexpr int64_t kNowhere = int64_t{1} << 45;
};

TEST_F(FaultTest, WeightsInTheDevicesMemoryAreRead) {
  EXPECT_EXIT(runAndTell(factory, kChannels * 4, false), testing::ExitedWithCode(kTold),
              "no failure");
}

TEST_F(FaultTest, AFaultNamesExpressionAndDevice) {
  EXPECT_EXIT(runAndTell(factory, kNowhere, false), testing::ExitedWithCode(kTold),
              "rank 0, cuda, program 'forward', at its end, of a launch up to there \\(run with "
              "--trace to find the step\\): cuda device 0 \\(.+\\): expected cudaStreamSynchronize "
              "to succeed, got cudaErrorIllegalAddress");
}

TEST_F(FaultTest, AFaultOfATracedRunNamesTheStep) {
  EXPECT_EXIT(
      runAndTell(factory, kNowhere, true), testing::ExitedWithCode(kTold),
      "rank 0, cuda, block 0, procedure 'mix', step 0 copy \\(mixer: swap\\): cuda device 0 "
      "\\(.+\\): expected cudaStreamSynchronize to succeed, got cudaErrorIllegalAddress");
}

TEST_F(FaultTest, AFullDeviceSaysWhatWasExpectedAndFree) {
  auto backend = factory.create();
  ASSERT_TRUE(backend.ok()) << backend.status().message();
  auto memory = (*backend)->allocate(int64_t{1} << 50);
  ASSERT_FALSE(memory.ok());
  EXPECT_EQ(memory.status().code(), ErrorCode::OutOfMemory);
  const std::string &said = memory.status().message();
  EXPECT_NE(said.find("expected 1125899906842624 bytes of memory on cuda device 0 ("),
            std::string::npos)
      << said;
  EXPECT_NE(said.find(" free of "), std::string::npos) << said;
}

} // namespace

} // namespace evo::conformance
