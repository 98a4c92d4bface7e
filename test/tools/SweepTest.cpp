//===- SweepTest.cpp - points and picture of a frontier ---------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "passes/Sweep.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <regex>

namespace evo {
namespace {

/// Steps at 1, 2, 4, ... 1024 bytes; each takes one nanosecond less than the one before.
std::vector<SweepPoint> powersOfTwo() {
  std::vector<SweepPoint> steps;
  for (int64_t i = 0; i <= 10; ++i)
    steps.push_back({int64_t{1} << i, 100 - i});
  return steps;
}

std::vector<int64_t> budgetsOf(const std::vector<SweepPoint> &points) {
  std::vector<int64_t> budgets;
  for (const SweepPoint &point : points)
    budgets.push_back(point.budgetBytes);
  return budgets;
}

using Budgets = std::vector<int64_t>;

bool contains(const std::string &text, const std::string &part) {
  return text.find(part) != std::string::npos;
}

TEST(SweepTest, FindsTheTimeWithinABudget) {
  std::vector<SweepPoint> steps = {{10, 5}, {20, 3}};
  EXPECT_EQ(timeWithin(steps, 9), std::nullopt);
  EXPECT_EQ(timeWithin(steps, 10), 5);
  EXPECT_EQ(timeWithin(steps, 19), 5);
  EXPECT_EQ(timeWithin(steps, 20), 3);
  EXPECT_EQ(timeWithin(steps, INT64_MAX), 3);
  EXPECT_EQ(timeWithin({}, 10), std::nullopt);
}

TEST(SweepTest, SpreadsPointsEvenlyInTheLogarithm) {
  std::vector<SweepPoint> steps = powersOfTwo();
  EXPECT_EQ(budgetsOf(spreadPoints(steps, {}, 2)), (Budgets{1, 1024}));
  // 1024^(1/3) = 10.08 and 1024^(2/3) = 101.6: the steps within them.
  EXPECT_EQ(budgetsOf(spreadPoints(steps, {}, 4)), (Budgets{1, 8, 64, 1024}));
  EXPECT_EQ(spreadPoints(steps, {}, 4)[1], (SweepPoint{8, 97}));
  // More points than steps: all steps.
  EXPECT_EQ(spreadPoints(steps, {}, 64), steps);
  // One step is both ends.
  EXPECT_EQ(budgetsOf(spreadPoints(std::vector<SweepPoint>{{7, 3}}, {}, 64)), (Budgets{7}));
}

TEST(SweepTest, TakesTheBudgetsThatAreWanted) {
  std::vector<SweepPoint> steps = powersOfTwo();
  // 100 has the time of the step at 64. Outside of the ends nothing changes.
  std::vector<int64_t> wanted = {100, 0, 1, 1024, 5000, 100};
  std::vector<SweepPoint> points = spreadPoints(steps, wanted, 3);
  EXPECT_EQ(points, (std::vector<SweepPoint>{{1, 100}, {100, 94}, {1024, 90}}));
  // The first wanted go first where there is no room for all.
  EXPECT_EQ(budgetsOf(spreadPoints(steps, std::vector<int64_t>{100, 50}, 3)),
            (Budgets{1, 100, 1024}));
  EXPECT_EQ(budgetsOf(spreadPoints(steps, std::vector<int64_t>{100, 50}, 4)),
            (Budgets{1, 50, 100, 1024}));
}

TEST(SweepTest, KeepsStepsApartFromTheBudgetsThatAreWanted) {
  std::vector<SweepPoint> steps;
  for (int64_t bytes = 1; bytes <= 1024; ++bytes)
    steps.push_back({bytes, 2000 - bytes});
  // 10.08 and 101.6 would be even; 90 is close to the second, so that the widest gap is divided
  // instead: of 1..10, 10..90 and 90..1024 the last, at 303.6, whose logarithm 304 is nearest to.
  EXPECT_EQ(budgetsOf(spreadPoints(steps, std::vector<int64_t>{90}, 5)),
            (Budgets{1, 10, 90, 304, 1024}));
}

TEST(SweepTest, DividesTheWidestGapsWhereTargetsMeet) {
  std::vector<SweepPoint> steps = {{1, 9}, {900, 8}, {910, 7}, {920, 6}, {1024, 5}};
  // 10.08 and 101.6 lie in the first step. Of what is left 900 is nearest to the middle of 1 and
  // 1024, which is 32; then 920 to the middle of 900 and 1024, which is 960.
  EXPECT_EQ(budgetsOf(spreadPoints(steps, {}, 3)), (Budgets{1, 900, 1024}));
  EXPECT_EQ(budgetsOf(spreadPoints(steps, {}, 4)), (Budgets{1, 900, 920, 1024}));
}

constexpr int64_t kGiB = int64_t{1} << 30;

SweepReport makeReport(int64_t budgetBytes) {
  SweepReport report;
  report.model = {"a <b>", "evoformer", 48, {{"r", 384}, {"s", 512}}, {}};
  report.mode = plan::Mode::Train;
  report.profile = "a device";
  report.budgetBytes = budgetBytes;
  report.command = "evo-opt a.json";
  report.sweep.steps = {{4 * kGiB, 8'000'000}, {8 * kGiB, 6'000'000}, {16 * kGiB, 4'000'000}};
  report.sweep.named = {{Policy::Direct, 16 * kGiB, 4.0}, {Policy::Large, 8 * kGiB, 7.5}};
  report.sweep.lowerBoundNs = 4'000'000;
  report.points = report.sweep.steps;
  return report;
}

TEST(SweepTest, PrintsATable) {
  // x lower bound: 8 / 4, 6 / 4, 4 / 4; shares of 16 GiB; large gains (7.5 - 6) / 7.5.
  EXPECT_TRUE(contains(
      sweepText(makeReport(8 * kGiB)),
      "a <b>: evoformer, 48 blocks, s = 512, r = 384, fp32, training, 1 device\n"
      "priced by a device\n\n"
      "  budget        bytes  predicted  x lower bound  of the largest\n"
      "4.00 GiB   4294967296   8.000 ms          2.000          25.0 %  the smallest\n"
      "8.00 GiB   8589934592   6.000 ms          1.500          50.0 %  the budget, as much as "
      "large\n"
      "16.0 GiB  17179869184   4.000 ms          1.000         100.0 %  nothing gets faster, as "
      "much as direct\n\n"
      "policy     needs        bytes  predicted  x lower bound  auto within it    gain\n"
      "direct  16.0 GiB  17179869184   4.000 ms          1.000        4.000 ms   0.0 %  does not "
      "fit the budget\n"
      "large   8.00 GiB   8589934592   7.500 ms          1.875        6.000 ms  20.0 %\n\n"
      "lower bound     4.000 ms with memory for everything\n"
      "budget          8.00 GiB: 6.000 ms, 1.500 x the lower bound\n"))
      << sweepText(makeReport(8 * kGiB));
  EXPECT_TRUE(contains(sweepText(makeReport(8 * kGiB)),
                       "plan of a point evo-opt a.json --memory=BYTES -o PLAN.json\n"));
  EXPECT_TRUE(contains(sweepText(makeReport(kGiB)),
                       "1.00 GiB: no plan fits; the smallest budget is 4294967296 bytes\n"));
  EXPECT_TRUE(contains(sweepText(makeReport(32 * kGiB)),
                       "32.0 GiB: 4.000 ms, 1.000 x the lower bound; nothing gets faster above "
                       "16.0 GiB\n"));
}

TEST(SweepTest, WritesJson) {
  auto json = nlohmann::json::parse(sweepJson(makeReport(kGiB), 2.5));
  EXPECT_EQ(json["format"], "evo.sweep-report/1");
  EXPECT_EQ(json["budget_ms"], nullptr);
  EXPECT_EQ(json["sweep_ms"], 2.5);
  EXPECT_EQ(json["points"][1],
            (nlohmann::json{{"budget_bytes", 8589934592}, {"predicted_ms", 6.0}}));
  EXPECT_EQ(json["named"][1]["auto_ms"], 6.0);
  EXPECT_EQ(nlohmann::json::parse(sweepJson(makeReport(9 * kGiB), 0))["budget_ms"], 6.0);
}

/// What a regular expression's groups match, one entry a match, as numbers.
std::vector<std::vector<double>> numbersIn(const std::string &text, const std::string &pattern) {
  const std::regex expression(pattern);
  std::vector<std::vector<double>> all;
  for (std::sregex_iterator at(text.begin(), text.end(), expression), end; at != end; ++at) {
    std::vector<double> numbers;
    for (size_t i = 1; i < at->size(); ++i)
      numbers.push_back(std::stod((*at)[i]));
    all.push_back(numbers);
  }
  return all;
}

TEST(SweepTest, DrawsTheFrontierAsSteps) {
  std::string svg = frontierSvg(makeReport(8 * kGiB));
  auto points = numbersIn(svg, "class=\"point\" cx=\"([0-9.]+)\" cy=\"([0-9.]+)\"");
  auto dots = numbersIn(svg, "class=\"policy\" cx=\"([0-9.]+)\" cy=\"([0-9.]+)\"");
  ASSERT_EQ(points.size(), 3u);
  ASSERT_EQ(dots.size(), 2u);
  // Equal ratios of bytes are equal lengths: 8 / 4 = 16 / 8. Equal differences of times too, for
  // times that lie within a factor of 4: 8 - 6 = 6 - 4.
  EXPECT_NEAR(points[1][0] - points[0][0], points[2][0] - points[1][0], 0.02);
  EXPECT_NEAR(points[1][1] - points[0][1], points[2][1] - points[1][1], 0.02);
  EXPECT_EQ(dots[0], points[2]); // direct is the last step
  EXPECT_EQ(dots[1][0], points[1][0]);
  // 7.5 ms lie a quarter of the way from 8 to 6.
  EXPECT_NEAR(dots[1][1] - points[0][1], (points[1][1] - points[0][1]) / 4, 0.02);
  auto path = numbersIn(svg, "d=\"M([0-9.]+) ([0-9.]+) H([0-9.]+) V([0-9.]+) H([0-9.]+) V"
                             "([0-9.]+) H[0-9.]+\"");
  ASSERT_EQ(path.size(), 1u);
  EXPECT_EQ(path[0], (std::vector<double>{points[0][0], points[0][1], points[1][0], points[1][1],
                                          points[2][0], points[2][1]}));
  auto budget = numbersIn(svg, "class=\"budget\" x1=\"([0-9.]+)\"");
  ASSERT_EQ(budget.size(), 1u);
  EXPECT_EQ(budget[0][0], points[1][0]);
  auto bound = numbersIn(svg, "class=\"bound\" x1=\"[0-9.]+\" y1=\"([0-9.]+)\"");
  ASSERT_EQ(bound.size(), 1u);
  EXPECT_EQ(bound[0][0], points[2][1]);
  EXPECT_TRUE(contains(svg, ">8 GiB</text>"));
  EXPECT_TRUE(contains(svg, "<title>large, 8.00 GiB (8589934592 bytes): 7.500 ms, 1.875 x the "
                            "lower bound</title>"));
}

TEST(SweepTest, LeavesBudgetsOffTheAxisThatWouldFillIt) {
  // The axis spans a factor of 4: up to 64 GiB a budget takes no more than the frontier.
  EXPECT_TRUE(contains(frontierSvg(makeReport(64 * kGiB)), "class=\"budget\""));
  std::string far = frontierSvg(makeReport(65 * kGiB)), near = frontierSvg(makeReport(kGiB - 1));
  EXPECT_FALSE(contains(far, "class=\"budget\""));
  EXPECT_TRUE(contains(far, "budget 65.0 GiB, right of this"));
  EXPECT_FALSE(contains(near, "class=\"budget\""));
  EXPECT_TRUE(contains(near, "left of this"));
}

TEST(SweepTest, DrawsAFrontierOfOneStep) {
  SweepReport report = makeReport(16 * kGiB);
  report.sweep.steps = report.points = {{16 * kGiB, 4'000'000}};
  report.sweep.named.resize(1);
  std::string page = sweepHtml(report);
  EXPECT_TRUE(contains(page, "a &lt;b&gt;: time against memory"));
  EXPECT_FALSE(contains(page, "nan") || contains(page, "inf\""));
  EXPECT_EQ(numbersIn(page, "class=\"point\" cx=\"([0-9.]+)\"").size(), 1u);
}

TEST(SweepTest, KeepsLabelsApart) {
  SweepReport report = makeReport(8 * kGiB);
  // Three policies in nearly one place, at the right edge, on the frontier.
  report.sweep.named = {{Policy::Direct, 16 * kGiB, 4.0},
                        {Policy::Small, 16 * kGiB, 4.1},
                        {Policy::Chunk, 16 * kGiB, 4.2}};
  const std::string svg = frontierSvg(report);
  const std::regex expression("class=\"strong ?([a-z]*) over\" x=\"([0-9.]+)\" y=\"([0-9.]+)\">"
                              "([a-z]+)<");
  struct Box {
    double left, right, baseline;
  };
  std::vector<Box> boxes;
  for (std::sregex_iterator at(svg.begin(), svg.end(), expression), end; at != end; ++at) {
    const double width = 7 * static_cast<double>((*at)[4].length()), x = std::stod((*at)[2]);
    const double left = (*at)[1] == "end" ? x - width : (*at)[1] == "middle" ? x - width / 2 : x;
    boxes.push_back({left, left + width, std::stod((*at)[3])});
  }
  ASSERT_EQ(boxes.size(), 3u);
  for (const Box &a : boxes) {
    EXPECT_LT(a.right, 1004); // the picture's width
    for (const Box &b : boxes)
      if (&a != &b) {
        EXPECT_TRUE(a.right < b.left || b.right < a.left || std::abs(a.baseline - b.baseline) >= 12)
            << a.left << ".." << a.right << " at " << a.baseline << ", " << b.left << ".."
            << b.right << " at " << b.baseline;
      }
  }
}

} // namespace
} // namespace evo
