//===- RehearsalTest.cpp - what a run takes before its first step -*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "runtime/core/Session.h"
#include "runtime/core/TensorFile.h"
#include "test/core/CoreTest.h"
#include "test/core/FakeBackend.h"
#include "test/passes/StackFixture.h"

#include <gtest/gtest.h>

using namespace mlir;

namespace evo::test {
namespace {

/// Training of three template pair blocks with SGD.
Result<plan::Plan> trainingPlan(MLIRContext &context) {
  spec::ModelSpec spec = smallSpec(spec::StackKind::TemplatePair, 0, 4);
  spec.mode = plan::Mode::Train;
  spec.optimizer = spec::Sgd();
  OwningOpRef<ModuleOp> module = importSpecification(spec, &context);
  Target target{*cost::builtinProfile("cpu"), int64_t{1} << 40, false};
  EVO_ASSIGN([[maybe_unused]] Policy chosen, choosePolicy(*module, Policy::Auto, target, nullptr));
  return planOf(*module, target);
}

// A device takes memory for recordings; within steps there must be none to make.
TEST(Rehearsal, TheOptimizerIsRecordedBeforeTheWarmUp) {
  MLIRContext context{MLIRContext::Threading::DISABLED};
  auto plan = trainingPlan(context);
  ASSERT_TRUE(plan.ok()) << plan.status().message();
  FakeBackend backend;
  backend.records = backend.skipsOthers = true;
  TemporaryFolder folder;
  RunOptions options;
  options.targets = folder.path("targets.safetensors");
  const TensorToWrite target = tensorToWrite(
      hostTensor<float>("z", HostType::F32, {4, 4, 6}, std::vector<float>(4 * 4 * 6, 1.0f)));
  EXPECT_OK(writeTensorFile(options.targets, {&target, 1}));
  options.steps = 2;
  std::vector<size_t> atWarmUp, atSteps; // recordings behind each block
  options.onBlock = [&](std::string_view what, int64_t, int64_t) {
    (what.starts_with("step") ? atSteps : atWarmUp).push_back(backend.recordings.size());
  };
  auto report = runPlan(*plan, backend, options);
  ASSERT_TRUE(report.ok()) << report.status().message();
  ASSERT_FALSE(atWarmUp.empty() || atSteps.empty());
  EXPECT_EQ(atWarmUp.front(), 1u); // the optimizer's
  EXPECT_EQ(atSteps.front(), 3u);  // of each program one
  EXPECT_EQ(backend.recordings.size(), 3u);
}

} // namespace
} // namespace evo::test
