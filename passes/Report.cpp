//===- Report.cpp - what a plan holds and where -----------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "passes/Compile.h"
#include "runtime/plan/Timeline.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstdio>

namespace evo {

namespace {

using plan::formatBytes;

std::string formatMs(double ms) {
  char text[48];
  std::snprintf(text, sizeof text, ms < 10 ? "%.3f ms" : "%.1f ms", ms);
  return text;
}

/// Rows with columns as wide as their widest cell; the first `left` columns are flush left.
std::string alignRows(const std::vector<std::vector<std::string>> &rows, size_t left) {
  std::vector<size_t> widths;
  for (const auto &row : rows)
    for (size_t i = 0; i < row.size(); ++i) {
      if (i == widths.size())
        widths.push_back(0);
      widths[i] = std::max(widths[i], row[i].size());
    }
  std::string text;
  for (const auto &row : rows) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) {
      std::string padding(widths[i] - row[i].size(), ' ');
      line += (i ? "  " : "") + (i < left ? row[i] + padding : padding + row[i]);
    }
    text += line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
  }
  return text;
}

std::string blockRange(const ModuleReport &module) {
  int64_t last = module.firstBlock + module.blockCount - 1;
  std::string first = std::to_string(module.firstBlock);
  return module.blockCount == 1 ? first : first + "-" + std::to_string(last);
}

std::string header(const plan::Plan &plan) {
  std::string text = plan.model.name.empty() ? plan.model.stack : plan.model.name;
  text += "  " + plan.model.stack + ", " + std::to_string(plan.model.blocks) + " blocks";
  for (const auto &[name, size] : plan.model.sizes)
    text += ", " + name + " = " + std::to_string(size);
  text += ", " + std::string(plan::precisionName(plan.precision));
  text += plan.mode == plan::Mode::Infer ? ", inference" : ", training";
  return text + ", " + std::to_string(plan.devices) + (plan.devices == 1 ? " device" : " devices");
}

std::string moduleTable(const std::vector<ModuleReport> &modules) {
  std::vector<std::vector<std::string>> rows = {{"blocks", "module", "choice", "dominant term",
                                                 "bytes", "frame", "ms a block"}};
  for (const ModuleReport &module : modules)
    rows.push_back({blockRange(module), module.name, module.choice, module.dominant,
                    formatBytes(module.dominantBytes), formatBytes(module.frameBytes),
                    formatMs(static_cast<double>(module.costNs) / 1e6)});
  return alignRows(rows, 4);
}

struct Peak {
  const plan::Procedure *procedure = nullptr;
  plan::FrameMoment moment;
};

/// The first call with the highest end in the arena, and the step in it.
std::optional<Peak> findPeak(const plan::Plan &plan) {
  std::optional<Peak> peak;
  int64_t highest = -1;
  for (const plan::Program &program : plan.programs)
    for (const plan::BlockRun &run : program.runs)
      for (const plan::Call &call : run.calls) {
        const plan::Procedure &procedure = plan.procedures[call.procedure];
        int64_t end = call.frameOffset + procedure.frameBytes;
        std::optional<plan::FrameMoment> moment = plan::framePeak(procedure);
        if (end <= highest || !moment)
          continue;
        highest = end;
        peak = Peak{&procedure, *moment};
      }
  return peak;
}

std::vector<std::pair<std::string, int64_t>> liveTensors(const plan::Plan &plan, const Peak &peak) {
  std::vector<std::pair<std::string, int64_t>> live;
  for (const plan::Tensor &tensor : plan.tensors)
    live.emplace_back(tensor.name, plan::alignTo(tensor.bytes));
  for (int32_t index : peak.moment.live) {
    const plan::Buffer &buffer = peak.procedure->buffers[index];
    live.emplace_back(buffer.name, plan::alignTo(buffer.bytes));
  }
  return live;
}

std::string memoryLines(const plan::Plan &plan) {
  const plan::Summary &summary = plan.summary;
  int64_t streams = 0;
  for (const plan::Tensor &tensor : plan.tensors)
    streams += plan::alignTo(tensor.bytes);
  std::vector<std::vector<std::string>> rows;
  auto add = [&](const std::string &what, int64_t bytes, const std::string &note) {
    rows.push_back({"  " + what, formatBytes(bytes), std::to_string(bytes), note});
  };
  add("streams and masks", streams, "");
  add("largest frame", summary.arenaBytes - streams, "");
  add("arena", summary.arenaBytes, "what evo-run allocates once");
  add("weights (static)", summary.staticBytes, "");
  add("libraries", summary.libraryBytes, "the profile's");
  add("predicted peak", summary.predictedPeakBytes, "");
  add("budget", summary.budgetBytes, "");
  // Bytes flush right, notes flush left.
  std::string text = "memory\n";
  size_t name = 0, human = 0, exact = 0;
  for (const auto &row : rows) {
    name = std::max(name, row[0].size());
    human = std::max(human, row[1].size());
    exact = std::max(exact, row[2].size());
  }
  for (const auto &row : rows) {
    text += row[0] + std::string(name - row[0].size() + 2 + human - row[1].size(), ' ') + row[1];
    text += std::string(2 + exact - row[2].size(), ' ') + row[2] + " bytes";
    text += (row[3].empty() ? "" : "  " + row[3]) + "\n";
  }
  return text;
}

} // namespace

std::string reportText(const Compilation &compilation) {
  const plan::Plan &plan = compilation.plan;
  std::string text = header(plan) + "\n";
  text += "policy " + plan.summary.policy;
  if (compilation.requestedPolicy != plan.summary.policy)
    text += " (" + compilation.requestedPolicy +
            ": the fastest named policy that fits; there is no search yet)";
  text += ", priced by " + plan.profile + "\n\n" + moduleTable(compilation.modules) + "\n" +
          memoryLines(plan);
  if (std::optional<Peak> peak = findPeak(plan)) {
    text += "\npeak in " + peak->procedure->name + " at step " +
            std::to_string(peak->moment.step) + ", " + peak->moment.location + ", with\n";
    for (const auto &[name, bytes] : liveTensors(plan, *peak))
      text += "  " + name + " " + formatBytes(bytes) + "\n";
  }
  return text + "\npredicted time " + formatMs(plan.summary.predictedMs) + "\n";
}

std::string reportJson(const Compilation &compilation, double compileMs) {
  using Json = nlohmann::ordered_json;
  const plan::Plan &plan = compilation.plan;
  const plan::Summary &summary = plan.summary;
  Json report;
  report["format"] = "evo.compile-report/1";
  report["model"] = plan.model.name;
  report["summary"] = {{"policy", summary.policy},
                       {"budget_bytes", summary.budgetBytes},
                       {"arena_bytes", summary.arenaBytes},
                       {"static_bytes", summary.staticBytes},
                       {"library_bytes", summary.libraryBytes},
                       {"predicted_peak_bytes", summary.predictedPeakBytes},
                       {"kept_bytes", summary.keptBytes},
                       {"predicted_ms", summary.predictedMs}};
  report["requested_policy"] = compilation.requestedPolicy;
  report["profile"] = plan.profile;
  report["modules"] = Json::array();
  for (const ModuleReport &module : compilation.modules)
    report["modules"].push_back({{"first_block", module.firstBlock},
                                 {"block_count", module.blockCount},
                                 {"module", module.name},
                                 {"choice", module.choice},
                                 {"dominant", module.dominant},
                                 {"dominant_bytes", module.dominantBytes},
                                 {"frame_bytes", module.frameBytes},
                                 {"cost_ns", module.costNs}});
  if (std::optional<Peak> peak = findPeak(plan)) {
    Json live = Json::object();
    for (const auto &[name, bytes] : liveTensors(plan, *peak))
      live[name] = bytes;
    report["peak"] = {{"procedure", peak->procedure->name},
                      {"step", peak->moment.step},
                      {"location", peak->moment.location},
                      {"live_bytes", live}};
  }
  report["compile_ms"] = compileMs;
  return report.dump(2) + "\n";
}

} // namespace evo
