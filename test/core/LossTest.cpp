//===- LossTest.cpp - losses, their cotangents and their picture -*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "runtime/core/Loss.h"
#include "runtime/core/LossCurve.h"
#include "test/core/CoreTest.h"
#include "test/core/FakeBackend.h"

#include <cmath>

namespace evo {
namespace {

using namespace evo::test;
using plan::DType;
using plan::Phase;

/// m [2, 2] at 0 and z [3] at 512, whose cotangents lie where the other's output is.
plan::Plan twoStreams() {
  plan::Plan plan;
  plan.tensors = {{"m", DType::F32, {2, 2}, 0, 16},
                  {"z", DType::F32, {3}, 512, 12},
                  {"dm", DType::F32, {2, 2}, 512, 16},
                  {"dz", DType::F32, {3}, 0, 12}};
  plan.programs = {{Phase::Forward, {"m", "z"}, {"m", "z"}, {}},
                   {Phase::Backward, {"dm", "dz"}, {"dm", "dz"}, {}}};
  return plan;
}

Result<MeanSquaredError> lossOf(const plan::Plan &plan, std::vector<HostTensor> targets,
                                bool checkFinite = false) {
  return MeanSquaredError::create(plan, std::move(targets), "t", 2, checkFinite);
}

struct Arena {
  std::vector<float> values = std::vector<float>(256);
  std::byte *data() { return reinterpret_cast<std::byte *>(values.data()); }
  std::vector<float> at(size_t first, size_t count) {
    return {values.begin() + static_cast<std::ptrdiff_t>(first),
            values.begin() + static_cast<std::ptrdiff_t>(first + count)};
  }
};

TEST(Loss, IsTheSumOfTheMeansAndItsGradient) {
  plan::Plan plan = twoStreams();
  auto loss = lossOf(plan, {hostTensor<float>("z", HostType::F32, {3}, {1, 1, 4}),
                            hostTensor<double>("m", HostType::F64, {2, 2}, {0, 0, 0, 0})});
  ASSERT_TRUE(loss.ok()) << messageOf(loss);
  FakeBackend backend;
  Arena arena;
  arena.values[0] = 1, arena.values[1] = 2, arena.values[2] = -1, arena.values[3] = 4;
  arena.values[128] = 1, arena.values[129] = 4, arena.values[130] = 1;
  auto value = loss->evaluate(backend, arena.data(), 1);
  ASSERT_TRUE(value.ok());
  EXPECT_EQ(*value, 11.5); // (1 + 4 + 1 + 16) / 4 + (0 + 9 + 9) / 3
  // Nothing is written before: an output may lie where a cotangent goes.
  EXPECT_EQ(arena.at(128, 3), (std::vector<float>{1, 4, 1}));
  EXPECT_OK(loss->uploadCotangents(backend, arena.data()));
  EXPECT_EQ(arena.at(128, 4), (std::vector<float>{0.5, 1, -0.5, 2})); // 2 (x - t) / 4
  EXPECT_EQ(arena.at(0, 3), (std::vector<float>{0, 2, -2}));          // 2 (x - t) / 3
}

TEST(Loss, CotangentsAreScaledAndZeroWithoutATarget) {
  plan::Plan plan = twoStreams();
  auto loss = lossOf(plan, {hostTensor<float>("m", HostType::F32, {2, 2}, {0, 0, 0, 0})});
  ASSERT_TRUE(loss.ok()) << messageOf(loss);
  FakeBackend backend;
  Arena arena;
  for (size_t i = 0; i < 4; ++i)
    arena.values[i] = 1;
  auto value = loss->evaluate(backend, arena.data(), 1024);
  ASSERT_TRUE(value.ok());
  EXPECT_EQ(*value, 1); // the scale is the cotangents'
  EXPECT_OK(loss->uploadCotangents(backend, arena.data()));
  EXPECT_EQ(arena.at(128, 4), (std::vector<float>{512, 512, 512, 512})); // 2 * 1024 / 4
  EXPECT_EQ(arena.at(0, 3), (std::vector<float>{0, 0, 0}));
}

TEST(Loss, RefusesTargetsThatDoNotFit) {
  plan::Plan plan = twoStreams();
  auto floats = [](const char *name, std::vector<int64_t> shape, std::vector<float> values) {
    return std::vector<HostTensor>{hostTensor(name, HostType::F32, std::move(shape), values)};
  };
  EXPECT_MESSAGE(lossOf(plan, {}), "t: expected a target of one of 'm', 'z', got none");
  EXPECT_MESSAGE(lossOf(plan, floats("q", {3}, {1, 2, 3})),
                 "t: unknown tensor 'q': expected targets of 'm', 'z'");
  EXPECT_MESSAGE(lossOf(plan, floats("z", {2}, {1, 2})),
                 "t: tensor 'z': expected F32, F64, F16 or BF16 [3], got F32 [2]");
  EXPECT_MESSAGE(lossOf(plan, {hostTensor<uint8_t>("z", HostType::U8, {3}, {1, 2, 3})}),
                 "t: tensor 'z': expected F32, F64, F16 or BF16 [3], got U8 [3]");
  EXPECT_MESSAGE(lossOf(plan, floats("z", {3}, {1, NAN, 3}), true),
                 "t: tensor 'z': expected finite values, got another at element 1");
  plan.programs.pop_back();
  EXPECT_MESSAGE(lossOf(plan, floats("z", {3}, {1, 2, 3})),
                 "expected programs forward and backward in the plan, got one of them");
}

TEST(Loss, NeedsACotangentOfEveryOutput) {
  plan::Plan plan = twoStreams();
  plan.programs[1].inputs = {"dm"};
  EXPECT_MESSAGE(lossOf(plan, {hostTensor<float>("m", HostType::F32, {2, 2}, {0, 0, 0, 0})}),
                 "program output 'z': expected a tensor 'dz' of its shape among the inputs of the "
                 "backward program, got none");
}

size_t countOf(const std::string &text, const std::string &part) {
  size_t count = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1))
    ++count;
  return count;
}

std::string pointsOf(const std::string &svg) {
  size_t begin = svg.find("points=\"") + 8;
  return svg.substr(begin, svg.find('"', begin) - begin);
}

TEST(LossCurve, RunsFromTheFirstStepToTheLast) {
  std::vector<StepReport> steps = {{5, 4, 1, false}, {6, 2, 1, false}, {7, 3, 1, false}};
  std::string svg = lossCurveSvg(steps, "a < b");
  // Steps 5 to 7 from 76 to 700; losses from 0 to 4 and a twentieth of 4 - 2, 4.1, from 344 to 48:
  // 344 - 296 * 4 / 4.1 = 55.22.
  EXPECT_EQ(pointsOf(svg), "76.00,55.22 388.00,199.61 700.00,127.41");
  EXPECT_NE(svg.find("<title>a &lt; b</title>"), std::string::npos);
  EXPECT_NE(svg.find(">loss</text>"), std::string::npos);
  EXPECT_EQ(countOf(svg, "class=\"skip\""), 0u);
}

TEST(LossCurve, IsLogarithmicBeyondADecade) {
  std::vector<StepReport> steps = {{1, 100, 1, false}, {2, 1, 1, false}};
  std::string svg = lossCurveSvg(steps, "");
  EXPECT_NE(svg.find(">loss (logarithmic)</text>"), std::string::npos);
  for (const char *tick : {">1</text>", ">10</text>", ">100</text>"})
    EXPECT_NE(svg.find(tick), std::string::npos) << tick;
  // lg(110 / 0.9) = 2.08715 decades on 296: 48 + 296 * lg 1.1 / 2.08715 = 53.87.
  EXPECT_EQ(pointsOf(svg).substr(0, 11), "76.00,53.87");
}

TEST(LossCurve, HasGapsWhereALossIsNotFiniteAndMarksWhereAStepIsSkipped) {
  std::vector<StepReport> steps = {{1, 2, 1, false},
                                   {2, NAN, 1, false},
                                   {3, INFINITY, 1, true},
                                   {3, 2, 1, true},
                                   {3, 1, 1, false}};
  std::string svg = lossCurveSvg(steps, "");
  EXPECT_EQ(countOf(svg, "<polyline"), 2u);
  EXPECT_EQ(countOf(svg, "class=\"skip\""), 1u);
  EXPECT_EQ(countOf(svg, "nan\""), 0u);
}

TEST(LossCurve, IsDrawnOfOneStepOfNoneAndOfEqualOnes) {
  EXPECT_EQ(countOf(lossCurveSvg({}, ""), "<polyline"), 0u);
  std::vector<StepReport> one = {{1, 0, 1, false}};
  EXPECT_EQ(countOf(lossCurveSvg(one, ""), "<polyline"), 1u);
  std::vector<StepReport> equal = {{1, 2, 1, false}, {2, 2, 1, false}};
  std::string svg = lossCurveSvg(equal, "");
  EXPECT_EQ(countOf(svg, "nan"), 0u);
  EXPECT_EQ(countOf(svg, "inf"), 0u);
}

} // namespace
} // namespace evo
