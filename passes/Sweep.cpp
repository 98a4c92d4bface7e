//===- Sweep.cpp ------------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "passes/Sweep.h"

#include "passes/ReportData.h"
#include "passes/SweepTables.h"
#include "passes/TextTable.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

namespace evo {

//===----------------------------------------------------------------------===//
// Points
//===----------------------------------------------------------------------===//

std::optional<int64_t> timeWithin(std::span<const SweepPoint> steps, int64_t budgetBytes) {
  auto above = std::ranges::upper_bound(steps, budgetBytes, {}, &SweepPoint::budgetBytes);
  if (above == steps.begin())
    return std::nullopt;
  return std::prev(above)->predictedNs;
}

namespace {

/// Points by rising bytes.
void insertPoint(std::vector<SweepPoint> &points, SweepPoint point) {
  points.insert(std::ranges::upper_bound(points, point.budgetBytes, {}, &SweepPoint::budgetBytes),
                point);
}

/// The step between two points that is nearest to the middle of their logarithms; null where there
/// is none.
const SweepPoint *middleStep(std::span<const SweepPoint> steps, const SweepPoint &low,
                             const SweepPoint &high) {
  double middle =
      std::sqrt(static_cast<double>(low.budgetBytes) * static_cast<double>(high.budgetBytes));
  auto distance = [&](const SweepPoint &step) {
    return std::abs(std::log(static_cast<double>(step.budgetBytes) / middle));
  };
  auto first = std::ranges::upper_bound(steps, low.budgetBytes, {}, &SweepPoint::budgetBytes);
  auto last = std::ranges::lower_bound(steps, high.budgetBytes, {}, &SweepPoint::budgetBytes);
  auto above = std::ranges::upper_bound(first, last, static_cast<int64_t>(middle), {},
                                        &SweepPoint::budgetBytes);
  const SweepPoint *best = above == last ? nullptr : &*above;
  if (above != first && (!best || distance(*std::prev(above)) < distance(*best)))
    best = &*std::prev(above);
  return best;
}

/// The largest step within each of `count` budgets that rise evenly in their logarithms, but where
/// a point lies closer than half of what is between them.
void addEvenly(std::span<const SweepPoint> steps, size_t count, std::vector<SweepPoint> &points) {
  const auto low = static_cast<double>(steps.front().budgetBytes);
  const double range = std::log(static_cast<double>(steps.back().budgetBytes) / low);
  const double apart = range / static_cast<double>(count + 1);
  for (size_t i = 1; i <= count; ++i) {
    const auto budget = static_cast<int64_t>(low * std::exp(apart * static_cast<double>(i)));
    const auto above = std::ranges::upper_bound(steps, budget, {}, &SweepPoint::budgetBytes);
    if (above == steps.begin())
      continue;
    const SweepPoint &step = *std::prev(above);
    const bool isClose = std::ranges::any_of(points, [&](const SweepPoint &point) {
      return std::abs(std::log(static_cast<double>(step.budgetBytes) /
                               static_cast<double>(point.budgetBytes))) < apart / 2;
    });
    if (!isClose)
      insertPoint(points, step);
  }
}

} // namespace

std::vector<SweepPoint> spreadPoints(std::span<const SweepPoint> steps,
                                     std::span<const int64_t> wanted, size_t count) {
  if (steps.size() < 2)
    return {steps.begin(), steps.end()};
  std::vector<SweepPoint> points = {steps.front(), steps.back()};
  for (int64_t budget : wanted)
    if (points.size() < count && budget > steps.front().budgetBytes &&
        budget < steps.back().budgetBytes &&
        !std::ranges::binary_search(points, budget, {}, &SweepPoint::budgetBytes))
      insertPoint(points, {budget, *timeWithin(steps, budget)});
  addEvenly(steps, count - points.size(), points);
  // For those that met in one step or came close to a point, others divide the widest gaps.
  while (points.size() < count) {
    const SweepPoint *best = nullptr;
    double widest = 0;
    for (size_t i = 1; i < points.size(); ++i) {
      const double gap = static_cast<double>(points[i].budgetBytes) /
                         static_cast<double>(points[i - 1].budgetBytes);
      if (gap <= widest)
        continue;
      if (const SweepPoint *step = middleStep(steps, points[i - 1], points[i])) {
        best = step;
        widest = gap;
      }
    }
    if (!best)
      break;
    insertPoint(points, *best);
  }
  return points;
}

Result<SweepReport> sweep(const spec::ModelSpec &spec, const Target &target, size_t points,
                          mlir::MLIRContext &context) {
  SweepReport report;
  report.model.name = spec.name;
  report.model.stack = spec::stackName(spec.stack);
  report.model.blocks = spec.blocks;
  for (const auto &[name, size] : spec.sizeTable())
    report.model.sizes[name] = size;
  report.precision = spec.precision;
  report.mode = spec.mode;
  report.profile = target.profile.name;
  report.budgetBytes = target.budgetBytes;
  mlir::OwningOpRef<mlir::ModuleOp> module = importSpecification(spec, &context);
  EVO_ASSIGN(report.sweep, sweepBudgets(*module, target));
  std::vector<int64_t> wanted = {target.budgetBytes};
  for (const PolicyNeed &need : report.sweep.named)
    wanted.push_back(need.peakBytes);
  report.points = spreadPoints(report.sweep.steps, wanted, points);
  return report;
}

//===----------------------------------------------------------------------===//
// Tables
//===----------------------------------------------------------------------===//

static double msOf(int64_t ns) { return static_cast<double>(ns) / 1e6; }

static std::string noteOf(const SweepReport &report, const SweepPoint &point) {
  std::string note;
  auto add = [&](const std::string &text) { note += (note.empty() ? "" : ", ") + text; };
  if (point == report.points.front())
    add("the smallest");
  if (point == report.points.back())
    add("nothing gets faster");
  if (point.budgetBytes == report.budgetBytes)
    add("the budget");
  for (const PolicyNeed &need : report.sweep.named)
    if (need.peakBytes == point.budgetBytes)
      add("as much as " + policyName(need.policy).str());
  return note;
}

std::vector<TextRow> pointRows(const SweepReport &report) {
  std::vector<TextRow> rows = {
      {"budget", "bytes", "predicted", "x lower bound", "of the largest", ""}};
  const int64_t most = report.points.back().budgetBytes;
  for (const SweepPoint &point : report.points)
    rows.push_back({plan::formatBytes(point.budgetBytes), std::to_string(point.budgetBytes),
                    formatMs(msOf(point.predictedNs)), formatTimes(report, msOf(point.predictedNs)),
                    formatShare(static_cast<double>(point.budgetBytes), static_cast<double>(most)),
                    noteOf(report, point)});
  return rows;
}

std::vector<TextRow> policyRows(const SweepReport &report) {
  std::vector<TextRow> rows = {
      {"policy", "needs", "bytes", "predicted", "x lower bound", "auto within it", "gain", ""}};
  for (const PolicyNeed &need : report.sweep.named) {
    std::optional<int64_t> within = timeWithin(report.sweep.steps, need.peakBytes);
    double ms = within ? msOf(*within) : need.predictedMs;
    rows.push_back({policyName(need.policy).str(), plan::formatBytes(need.peakBytes),
                    std::to_string(need.peakBytes), formatMs(need.predictedMs),
                    formatTimes(report, need.predictedMs), formatMs(ms),
                    formatShare(need.predictedMs - ms, need.predictedMs),
                    need.peakBytes > report.budgetBytes ? "does not fit the budget" : ""});
  }
  return rows;
}

std::string budgetText(const SweepReport &report) {
  const int64_t least = report.sweep.steps.front().budgetBytes;
  const int64_t most = report.sweep.steps.back().budgetBytes;
  const std::string budget = plan::formatBytes(report.budgetBytes);
  std::optional<int64_t> within = timeWithin(report.sweep.steps, report.budgetBytes);
  if (!within)
    return budget + ": no plan fits; the smallest budget is " + std::to_string(least) + " bytes";
  std::string text = budget + ": " + formatMs(msOf(*within)) + ", " +
                     formatTimes(report, msOf(*within)) + " x the lower bound";
  if (report.budgetBytes > most)
    text += "; nothing gets faster above " + plan::formatBytes(most);
  return text;
}

std::string formatTimes(const SweepReport &report, double ms) {
  const double bound = msOf(report.sweep.lowerBoundNs);
  char text[48];
  std::snprintf(text, sizeof text, "%.3f", bound > 0 ? ms / bound : 0.0);
  return text;
}

std::string titleOf(const SweepReport &report) {
  return report.model.name.empty() ? report.model.stack : report.model.name;
}

//===----------------------------------------------------------------------===//
// Reports
//===----------------------------------------------------------------------===//

std::string sweepText(const SweepReport &report) {
  return titleOf(report) + ": " +
         modelText(report.model, report.precision, report.mode, /*devices=*/1) + "\npriced by " +
         report.profile + "\n\n" + textTable(pointRows(report), "rrrrrl") + "\n" +
         textTable(policyRows(report), "lrrrrrrl") + "\nlower bound     " +
         formatMs(msOf(report.sweep.lowerBoundNs)) +
         " with memory for everything\nbudget          " + budgetText(report) +
         "\nsearch          " + formatMs(report.sweep.searchMs) + ", " +
         std::to_string(report.sweep.steps.size()) + " steps of the frontier, " +
         std::to_string(report.points.size()) + " of them above\nplan of a point " +
         report.command + " --memory=BYTES -o PLAN.json\n";
}

std::string sweepJson(const SweepReport &report, double sweepMs) {
  using Json = nlohmann::ordered_json;
  auto timeOr = [](std::optional<int64_t> ns) { return ns ? Json(msOf(*ns)) : Json(nullptr); };
  Json json;
  json["format"] = "evo.sweep-report/1";
  json["model"] = report.model.name;
  json["stack"] = report.model.stack;
  json["blocks"] = report.model.blocks;
  json["sizes"] = report.model.sizes;
  json["dtype"] = plan::precisionName(report.precision);
  json["mode"] = plan::modeName(report.mode);
  json["devices"] = 1;
  json["profile"] = report.profile;
  json["lower_bound_ms"] = msOf(report.sweep.lowerBoundNs);
  json["budget_bytes"] = report.budgetBytes;
  json["budget_ms"] = timeOr(timeWithin(report.sweep.steps, report.budgetBytes));
  json["steps"] = report.sweep.steps.size();
  json["points"] = Json::array();
  for (const SweepPoint &point : report.points)
    json["points"].push_back(
        {{"budget_bytes", point.budgetBytes}, {"predicted_ms", msOf(point.predictedNs)}});
  json["named"] = Json::array();
  for (const PolicyNeed &need : report.sweep.named)
    json["named"].push_back({{"policy", policyName(need.policy).str()},
                             {"predicted_peak_bytes", need.peakBytes},
                             {"predicted_ms", need.predictedMs},
                             {"auto_ms", timeOr(timeWithin(report.sweep.steps, need.peakBytes))}});
  json["search_ms"] = report.sweep.searchMs;
  json["sweep_ms"] = sweepMs;
  return json.dump(2) + "\n";
}

} // namespace evo
