//===- HtmlReport.cpp -------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "passes/HtmlReport.h"

#include <cstdio>

namespace evo {

namespace {

/// Colours by role; the second set where the reader's system is dark.
constexpr std::string_view kStyle = R"css(
:root { color-scheme: light dark; --page:#ffffff; --card:#f6f7f9; --text:#1d2430; --soft:#5b6675; --rule:#dde2e9;
  --ground:#eef2f7; --odd:#e4eaf2; --stream:#c5ccd6; --buffer:#8db4e2; --live:#e8833a; --bar:#4c86c6; --alarm:#c0392b; --ink:#14202e; }
@media (prefers-color-scheme: dark) { :root { --page:#14181e; --card:#1c222a; --text:#e4e9f0; --soft:#9aa6b5; --rule:#313a46;
  --ground:#1f262f; --odd:#252e39; --stream:#566171; --buffer:#3f6ea3; --live:#d9772f; --bar:#5b95d6; --alarm:#ff7b6b; --ink:#ffffff; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1100px; padding: 28px 24px 48px; background: var(--page); color: var(--text);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
h1 { font-size: 26px; margin: 0 0 4px; } h2 { font-size: 17px; margin: 34px 0 8px; }
p { margin: 4px 0; } .soft { color: var(--soft); }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(190px, 1fr)); gap: 12px; margin: 20px 0 0; }
.fact { background: var(--card); border: 1px solid var(--rule); border-radius: 8px; padding: 12px 14px; }
.fact b { display: block; font-size: 21px; } .fact span { color: var(--soft); font-size: 13px; }
.wide { overflow-x: auto; } .wide svg { display: block; width: 100%; min-width: 860px; height: auto; }
table { border-collapse: collapse; width: 100%; font-size: 14px; font-variant-numeric: tabular-nums; }
th, td { padding: 5px 12px 5px 0; text-align: left; border-bottom: 1px solid var(--rule); white-space: nowrap; }
th { color: var(--soft); font-weight: 600; } td.number, th.number { text-align: right; }
tr.sum td { font-weight: 600; }
svg text { fill: var(--text); font: 12px system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
svg .end { text-anchor: end; } svg .middle { text-anchor: middle; } svg .axis { fill: var(--soft); }
svg .module { text-anchor: end; fill: var(--text); } svg .strong { font-weight: 600; }
svg .inBox { text-anchor: middle; fill: var(--ink); font-size: 11px; pointer-events: none; }
svg .grid { stroke: var(--rule); stroke-width: 1; } svg .tick { stroke: var(--soft); } svg .lead { stroke: var(--soft); fill: none; }
svg .ground { fill: var(--ground); } svg .odd { fill: var(--odd); }
svg .stream { fill: var(--stream); stroke: var(--page); stroke-width: 1; }
svg .buffer { fill: var(--buffer); stroke: var(--page); stroke-width: 1; } svg .live { fill: var(--live); }
svg .mark { fill: var(--alarm); } svg .budget { stroke: var(--alarm); stroke-width: 1.5; stroke-dasharray: 6 4; }
svg .budgetText { fill: var(--alarm); } svg .bar { fill: var(--bar); }
)css";

std::string cell(const std::string &text, bool isNumber, std::string_view tag = "td") {
  std::string html("<");
  html.append(tag).append(isNumber ? " class=\"number\">" : ">").append(escapeHtml(text));
  return html.append("</").append(tag).append(">");
}

/// `alignment` has an 'l' or 'r' a column. The first row is the head; rows in `sums` stand out.
std::string table(const std::vector<std::vector<std::string>> &rows, std::string_view alignment,
                  const std::vector<size_t> &sums = {}) {
  std::string text = "<div class=\"wide\"><table>\n";
  for (size_t r = 0; r < rows.size(); ++r) {
    bool sum = false;
    for (size_t index : sums)
      sum |= index == r;
    text += sum ? "<tr class=\"sum\">" : "<tr>";
    for (size_t c = 0; c < rows[r].size(); ++c)
      text += cell(rows[r][c], alignment[c] == 'r', r == 0 ? "th" : "td");
    text += "</tr>\n";
  }
  return text + "</table></div>\n";
}

std::string fact(const std::string &value, const std::string &what) {
  return "<div class=\"fact\"><b>" + escapeHtml(value) + "</b><span>" + escapeHtml(what) +
         "</span></div>\n";
}

std::string headerHtml(const ReportData &data, const Compilation &compilation) {
  const plan::Plan &plan = compilation.plan;
  const plan::Summary &summary = plan.summary;
  char units[32];
  std::snprintf(units, sizeof units, "%.2f U", data.arenaInUnits(plan));
  return "<header>\n<h1>" + escapeHtml(data.name) + "</h1>\n<p>" + escapeHtml(data.model) +
         "</p>\n<p class=\"soft\">policy " + escapeHtml(data.policy) + "; priced by " +
         escapeHtml(pricedBy(compilation)) + "</p>\n<div class=\"facts\">\n" +
         fact(plan::formatBytes(summary.predictedPeakBytes),
              "predicted peak, of " + plan::formatBytes(summary.budgetBytes) + " budget") +
         fact(plan::formatBytes(summary.arenaBytes), "arena, allocated once") +
         fact(units, "arena in U = " + data.unitFormula +
                         " bytes = " + plan::formatBytes(data.unitBytes)) +
         fact(formatMs(summary.predictedMs),
              "predicted time, " + formatMs(static_cast<double>(data.blockCostNs) / 1e6) +
                  " a block") +
         "</div>\n</header>\n";
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
            "below and above the bytes that it has. Grey: streams and masks; pale: a module's "
            "frame; orange: live "
            "at the peak.</p>\n<div class=\"wide\">\n" +
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
         table(rows, "llllrrrr");
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
  std::string text = "<h2>Memory</h2>\n" + table(rows, "lrrl", sums);
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
         table(rows, "lrrl", {rows.size() - 1});
}

} // namespace

std::string escapeHtml(std::string_view text) {
  std::string escaped;
  for (char c : text) {
    switch (c) {
    case '&':
      escaped += "&amp;";
      break;
    case '<':
      escaped += "&lt;";
      break;
    case '>':
      escaped += "&gt;";
      break;
    case '"':
      escaped += "&quot;";
      break;
    case '\'':
      escaped += "&#39;";
      break;
    default:
      escaped += c;
    }
  }
  return escaped;
}

std::string reportHtml(const Compilation &compilation) {
  const plan::Plan &plan = compilation.plan;
  ReportData data = describe(compilation);
  return "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
         "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>" +
         escapeHtml(data.name) + ": execution plan</title>\n<style>" + std::string(kStyle) +
         "</style>\n</head>\n<body>\n" + headerHtml(data, compilation) + timelinesHtml(data, plan) +
         modulesHtml(data) + memoryHtml(data, plan) +
         "<h2>What is not here yet</h2>\n<p class=\"soft\">The choices follow a named policy, the "
         "same in every block. "
         "The schedule search, the lower bound that it proves and its frontier of time against "
         "memory are not in this "
         "version. Times are told by the profile, not measured on this "
         "plan.</p>\n</body>\n</html>\n";
}

} // namespace evo
