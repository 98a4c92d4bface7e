//===- HtmlReport.cpp -------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "passes/HtmlReport.h"

#include <cstdio>

namespace evo {

namespace {

/// What no plan can beat, where the search said it.
std::string boundFact(const Compilation &compilation) {
  if (!compilation.search || compilation.search->lowerBoundNs == 0)
    return "";
  return htmlFact(formatMs(static_cast<double>(compilation.search->lowerBoundNs) / 1e6),
                  "lower bound, with memory for everything");
}

std::string headerHtml(const ReportData &data, const Compilation &compilation) {
  const plan::Plan &plan = compilation.plan;
  const plan::Summary &summary = plan.summary;
  char units[32];
  std::snprintf(units, sizeof units, "%.2f U", data.arenaInUnits(plan));
  return "<header>\n<h1>" + escapeHtml(data.name) + "</h1>\n<p>" + escapeHtml(data.model) +
         "</p>\n<p class=\"soft\">policy " + escapeHtml(data.policy) + "; priced by " +
         escapeHtml(pricedBy(compilation)) +
         "; times are modelled by it, not measured</p>\n<div class=\"facts\">\n" +
         htmlFact(plan::formatBytes(summary.predictedPeakBytes),
                  "predicted peak, of " + plan::formatBytes(summary.budgetBytes) + " budget") +
         htmlFact(plan::formatBytes(summary.arenaBytes), "arena, allocated once") +
         htmlFact(units, "arena in U = " + data.unitFormula +
                             " bytes = " + plan::formatBytes(data.unitBytes)) +
         htmlFact(formatMs(summary.predictedMs),
                  "predicted time, " + formatMs(static_cast<double>(data.blockCostNs) / 1e6) +
                      " a block") +
         boundFact(compilation) + "</div>\n</header>\n";
}

/// The run of each program that holds the fullest call, with the blocks that it stands for.
std::string timelinesHtml(const ReportData &data, const plan::Plan &plan) {
  std::string text;
  for (const plan::Program &program : plan.programs) {
    const plan::BlockRun *fullest = nullptr;
    int64_t highest = -1;
    for (const plan::BlockRun &run : program.runs)
      for (const plan::Call &call : run.calls)
        if (int64_t end =
                plan::highestFrame(run, call) + plan.procedures[call.procedure].frameBytes;
            end > highest) {
          highest = end;
          fullest = &run;
        }
    if (!fullest)
      continue;
    int64_t last = fullest->firstBlock + fullest->blockCount - 1;
    std::string blocks = fullest->blockCount == 1
                             ? "block " + std::to_string(fullest->firstBlock)
                             : "each of the blocks " + std::to_string(fullest->firstBlock) +
                                   " to " + std::to_string(last);
    text += "<h2>Memory over one block, " + std::string(plan::phaseName(program.phase)) +
            "</h2>\n<p class=\"soft\">The arena in " + blocks +
            ". A box is a buffer: left and right its alloc and free in modelled time (a slice loop "
            "as one pass), "
            "below and above the bytes that it has. Grey: streams, masks, the workspace "
            "and what is kept; pale: a module's frame; orange: live at the peak.</p>\n<div "
            "class=\"wide\">\n" +
            timelineSvg(plan, program, *fullest, data) + "</div>\n";
  }
  return text;
}

std::string modulesHtml(const ReportData &data) {
  std::vector<std::vector<std::string>> rows = {{"blocks", "module", "choice", "dominant term",
                                                 "bytes of it", "exact frame", "a block", "share"}};
  for (const ModuleReport &module : data.modules)
    rows.push_back(
        {blockRange(module), module.name, module.choice, module.dominant,
         plan::formatBytes(module.dominantBytes), plan::formatBytes(module.frameBytes),
         formatMs(static_cast<double>(module.costNs) / 1e6),
         formatShare(static_cast<double>(module.costNs), static_cast<double>(data.blockCostNs))});
  return "<h2>Time by module, a block</h2>\n<div class=\"wide\">\n" + moduleBarsSvg(data) +
         "</div>\n<h2>Modules</h2>\n<p class=\"soft\">The dominant term is the largest single "
         "tensor of a module "
         "that fuses and slices nothing; the exact frame is what its buffers take after "
         "packing.</p>\n" +
         htmlTable(rows, "llllrrrr");
}

std::string memoryHtml(const ReportData &data, const plan::Plan &plan) {
  std::vector<std::vector<std::string>> rows = {{"what", "", "bytes", ""}};
  std::vector<size_t> sums;
  for (const LedgerLine &line : data.ledger) {
    if (line.name == "arena" || line.name == "predicted peak")
      sums.push_back(rows.size());
    rows.push_back(
        {line.name, plan::formatBytes(line.bytes), std::to_string(line.bytes), line.note});
  }
  std::string text = "<h2>Memory</h2>\n" + htmlTable(rows, "lrrl", sums);
  if (!data.peak)
    return text;
  rows = {{"tensor", "", "bytes", "type"}};
  for (const LiveTensor &tensor : data.peak->live)
    rows.push_back(
        {tensor.name, plan::formatBytes(tensor.bytes), std::to_string(tensor.bytes), tensor.type});
  if (data.peak->fragmentationBytes != 0)
    rows.push_back({"fragmentation of the frame", plan::formatBytes(data.peak->fragmentationBytes),
                    std::to_string(data.peak->fragmentationBytes), ""});
  rows.push_back({"together", plan::formatBytes(plan.arenaBytes), std::to_string(plan.arenaBytes),
                  "the arena"});
  return text + "<h2>Live at the peak</h2>\n<p class=\"soft\">" +
         escapeHtml(peakPlace(*data.peak, plan)) + "</p>\n" +
         htmlTable(rows, "lrrl", {rows.size() - 1});
}

} // namespace

std::string reportHtml(const Compilation &compilation) {
  const plan::Plan &plan = compilation.plan;
  ReportData data = describe(compilation);
  return htmlPage(data.name + ": execution plan", headerHtml(data, compilation) +
                                                      timelinesHtml(data, plan) +
                                                      modulesHtml(data) + memoryHtml(data, plan));
}

} // namespace evo
