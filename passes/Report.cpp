//===- Report.cpp - the reports as text and as JSON -------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "passes/ReportData.h"
#include "passes/TextTable.h"
#include "runtime/plan/SummaryJson.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <map>

namespace evo {

namespace {

using Json = nlohmann::ordered_json;
using plan::formatBytes;

std::string bytesCell(int64_t bytes) { return std::to_string(bytes) + " bytes"; }

std::string moduleTable(const ReportData &data) {
  std::vector<TextRow> rows = {
      {"blocks", "module", "choice", "dominant term", "bytes", "frame", "ms a block", "share"}};
  for (const ModuleReport &module : data.modules)
    rows.push_back(
        {blockRange(module), module.name, module.choice, module.dominant,
         formatBytes(module.dominantBytes), formatBytes(module.frameBytes),
         formatMs(static_cast<double>(module.costNs) / 1e6),
         formatShare(static_cast<double>(module.costNs), static_cast<double>(data.blockCostNs))});
  return textTable(rows, "llllrrrr");
}

std::string memoryTable(const ReportData &data) {
  std::vector<TextRow> rows;
  for (const LedgerLine &line : data.ledger)
    rows.push_back({line.name, formatBytes(line.bytes), bytesCell(line.bytes), line.note});
  return "memory\n" + textTable(rows, "lrrl", "  ");
}

/// The live tensors add up to the arena; a frame that its packing left gaps in says so.
std::string peakTable(const PeakReport &peak, const plan::Plan &plan) {
  std::vector<TextRow> rows;
  for (const LiveTensor &tensor : peak.live)
    rows.push_back({tensor.name, formatBytes(tensor.bytes), bytesCell(tensor.bytes), tensor.type});
  if (peak.fragmentationBytes != 0)
    rows.push_back({"fragmentation", formatBytes(peak.fragmentationBytes),
                    bytesCell(peak.fragmentationBytes),
                    "frame of " + bytesCell(peak.frameBytes) + ", live in it " +
                        bytesCell(peak.place.moment.liveBytes)});
  rows.push_back(
      {"together", formatBytes(plan.arenaBytes), bytesCell(plan.arenaBytes), "the arena"});
  return "peak in " + peakPlace(peak, plan) + ", with\n" + textTable(rows, "lrrl", "  ");
}

Json peakJson(const PeakReport &peak) {
  Json live = Json::object();
  for (const LiveTensor &tensor : peak.live)
    live[tensor.name] = tensor.bytes;
  return {{"procedure", peak.procedure->name},
          {"module", peak.procedure->module},
          {"step", peak.place.moment.step},
          {"location", peak.place.moment.location},
          {"block", peak.place.block},
          {"start_ms", static_cast<double>(peak.place.startNs) / 1e6},
          {"frame_bytes", peak.frameBytes},
          {"frame_live_bytes", peak.place.moment.liveBytes},
          {"fragmentation_bytes", peak.fragmentationBytes},
          {"live_bytes", live}};
}

/// The module that takes the most time.
std::string timeText(const ReportData &data) {
  std::map<std::string, double> shares;
  double all = 0;
  for (const ModuleReport &module : data.modules) {
    double ns = static_cast<double>(module.costNs) * static_cast<double>(module.blockCount);
    shares[module.name] += ns;
    all += ns;
  }
  auto most = std::max_element(shares.begin(), shares.end(),
                               [](const auto &a, const auto &b) { return a.second < b.second; });
  if (most == shares.end())
    return "none";
  return "time: " + most->first + " takes " + formatShare(most->second, all);
}

/// What keeps the plan from being faster: its memory, or, where nothing is gained by more of that,
/// the module that takes the most time.
std::string bottleneckText(const SearchReport &search, const ReportData &data, double ms,
                           double bound) {
  if (ms > bound * (1 + 1e-9) && data.peak)
    return "memory, " + formatMs(ms - bound) + ": the peak is in " + data.peak->procedure->module +
           (search.tighterNs > 0
                ? "; " + formatMs(static_cast<double>(search.tighterNs) / 1e6 - ms) +
                      " more within " + formatBytes(search.tighterBudgetBytes)
                : "");
  return timeText(data);
}

/// The named policies beside the plan.
std::string namedTable(const SearchReport &search, const plan::Plan &plan) {
  double ms = plan.summary.predictedMs;
  std::vector<TextRow> rows = {{"policy", "predicted", "against this", "peak", ""}};
  for (const PolicyNeed &need : search.named)
    rows.push_back({policyName(need.policy).str(), formatMs(need.predictedMs),
                    (need.predictedMs < ms ? "" : "+") + formatShare(need.predictedMs - ms, ms),
                    formatBytes(need.peakBytes),
                    need.peakBytes > plan.summary.budgetBytes ? "does not fit" : ""});
  return textTable(rows, "lrrrl");
}

/// How the plan compares: with what no plan can beat, with less memory, with the named policies.
std::string searchText(const SearchReport &search, const ReportData &data, const plan::Plan &plan) {
  double ms = plan.summary.predictedMs, bound = static_cast<double>(search.lowerBoundNs) / 1e6;
  if (!search.noSearch.empty())
    return "search          none, and the fastest named policy that fits was taken: " +
           search.noSearch + "\n\n" + namedTable(search, plan);
  std::string text = "lower bound     " + formatMs(bound) +
                     " with memory for everything; this plan " + formatShare(ms - bound, bound) +
                     " above it\n";
  text += "bottleneck      " + bottleneckText(search, data, ms, bound) + "\nsmallest budget " +
          formatBytes(search.leastBudgetBytes) + ", " + bytesCell(search.leastBudgetBytes) + "\n";
  text += "search          " + formatMs(search.searchMs) + " over " +
          std::to_string(search.records) + " records of a block, made in " +
          formatMs(search.recordsMs) + "; rounding takes " + formatBytes(search.lossBytes) + "\n\n";
  return text + namedTable(search, plan);
}

Json searchJson(const SearchReport &search) {
  Json named = Json::array();
  for (const PolicyNeed &need : search.named)
    named.push_back({{"policy", policyName(need.policy).str()},
                     {"predicted_ms", need.predictedMs},
                     {"predicted_peak_bytes", need.peakBytes}});
  auto known = [](auto value) { return value > 0 ? Json(value) : Json(nullptr); };
  return {{"none_because", search.noSearch.empty() ? Json(nullptr) : Json(search.noSearch)},
          {"records", search.records},
          {"records_ms", search.recordsMs},
          {"smallest_budget_bytes", known(search.leastBudgetBytes)},
          {"granule_bytes", search.granuleBytes},
          {"loss_bytes", search.lossBytes},
          {"tighter_budget_bytes", known(search.tighterBudgetBytes)},
          {"tighter_ms", known(static_cast<double>(search.tighterNs) / 1e6)},
          {"named", named}};
}

Json moduleJson(const ModuleReport &module) {
  return {{"first_block", module.firstBlock},
          {"block_count", module.blockCount},
          {"module", module.name},
          {"choice", module.choice},
          {"dominant", module.dominant},
          {"dominant_bytes", module.dominantBytes},
          {"frame_bytes", module.frameBytes},
          {"cost_ns", module.costNs}};
}

} // namespace

std::string reportText(const Compilation &compilation) {
  const plan::Plan &plan = compilation.plan;
  ReportData data = describe(compilation);
  std::string text = data.name + ": " + data.model + "\npolicy " + data.policy + "\npriced by " +
                     pricedBy(compilation) + "\n\n" + moduleTable(data) + "\n" + memoryTable(data) +
                     "\n";
  if (data.peak)
    text += peakTable(*data.peak, plan) + "\n";
  text += "predicted time  " + formatMs(plan.summary.predictedMs) + ", " +
          formatMs(static_cast<double>(data.blockCostNs) / 1e6) + " a block\n";
  if (compilation.search)
    return text + searchText(*compilation.search, data, plan);
  text += "bottleneck      " + timeText(data);
  if (data.peak)
    text += "; memory: the peak is in " + data.peak->procedure->module;
  return text + "\n";
}

std::string reportJson(const Compilation &compilation, double compileMs) {
  const plan::Plan &plan = compilation.plan;
  ReportData data = describe(compilation);
  Json report;
  report["format"] = "evo.compile-report/1";
  report["model"] = plan.model.name;
  report["stack"] = plan.model.stack;
  report["blocks"] = plan.model.blocks;
  report["sizes"] = plan.model.sizes;
  report["dtype"] = plan::precisionName(plan.precision);
  report["mode"] = plan::modeName(plan.mode);
  report["devices"] = plan.devices;
  report["summary"] = plan::summaryJson(plan.summary);
  report["requested_policy"] = compilation.requestedPolicy;
  report["profile"] = plan.profile;
  report["profile_kind"] = compilation.profileKind;
  report["stream_bytes"] = data.streamBytes;
  report["workspace_bytes"] = plan::workspaceBytes(plan);
  report["largest_frame_bytes"] = data.frameBytes;
  report["unit_bytes"] = data.unitBytes;
  report["arena_units"] = data.arenaInUnits(plan);
  report["modules"] = Json::array();
  for (const ModuleReport &module : data.modules)
    report["modules"].push_back(moduleJson(module));
  if (data.peak)
    report["peak"] = peakJson(*data.peak);
  const auto &search = compilation.search;
  report["lower_bound_ms"] = search && search->lowerBoundNs > 0
                                 ? Json(static_cast<double>(search->lowerBoundNs) / 1e6)
                                 : Json(nullptr);
  report["search_ms"] = search ? search->searchMs : 0;
  if (search)
    report["search"] = searchJson(*search);
  report["compile_ms"] = compileMs;
  return report.dump(2) + "\n";
}

} // namespace evo
