//===- HtmlTimeline.cpp - the arena over a block's time ---------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// Every box is a buffer: its left and right edges are its alloc and free, its lower and upper edges
// the bytes of the arena that it has. Streams and masks lie below, the modules' frames above them.
//===----------------------------------------------------------------------===//
#include "passes/HtmlReport.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace evo {

namespace {

constexpr double kLeft = 84, kTop = 34, kWidth = 700, kHeight = 380, kPanel = 250, kFoot = 140;
constexpr double kLine = 15;

/// `text` where it fits into `width`, else what fits of it, else nothing.
std::string fitted(const std::string &text, double width) {
  auto room = static_cast<size_t>(std::max(0.0, width / kLetterWidth));
  if (text.size() <= room)
    return text;
  return room < 5 ? "" : text.substr(0, room - 1) + "…";
}

class Picture {
public:
  Picture(const plan::Plan &plan, const plan::BlockRun &run, const PeakReport *peak)
      : plan(plan), run(run), peak(peak) {
    for (const plan::Call &call : run.calls)
      totalNs += plan.procedures[call.procedure].costNs;
    const plan::Summary &summary = plan.summary;
    budget = summary.budgetBytes - summary.staticBytes - summary.libraryBytes;
    showsBudget = static_cast<double>(budget) < 1.6 * static_cast<double>(plan.arenaBytes);
    int64_t lowest = run.calls.empty() ? 0 : INT64_MAX;
    for (const plan::Call &call : run.calls)
      lowest = std::min(lowest, plan::highestFrame(run, call));
    top = std::max<int64_t>(1, showsBudget ? std::max(budget, plan.arenaBytes) : plan.arenaBytes);
    // What earlier blocks keep stands still: where that is most of the arena, only its top is
    // shown.
    if (lowest - plan::slotBytes(plan) > top / 2)
      bottom = lowest - (top - lowest) / 4;
  }

  std::string draw() {
    std::string text = "<svg viewBox=\"0 0 " + svgNumber(kLeft + kWidth + kPanel) + " " +
                       svgNumber(kTop + kHeight + kFoot) +
                       "\" role=\"img\" aria-label=\"arena over time\">\n";
    text += drawFrames() + drawNames() + drawGrid() + drawStreams() + drawBuffers();
    if (showsBudget)
      text += line("budget", 0, kWidth, budget) +
              svgLabel("note budgetText", kLeft + 6, y(budget) - 5,
                       "budget leaves " + plan::formatBytes(budget) + " for the arena");
    if (peak)
      text += drawPeak() + drawPanel();
    return text + "</svg>\n";
  }

private:
  double x(double ns) const {
    return kLeft + kWidth * ns / static_cast<double>(std::max<int64_t>(1, totalNs));
  }
  double y(int64_t bytes) const {
    return kTop + kHeight * (1 - static_cast<double>(bytes - bottom) /
                                     (1.04 * static_cast<double>(top - bottom)));
  }
  std::string line(std::string_view cssClass, double from, double to, int64_t bytes) const {
    return svgElement(
        "line", cssClass,
        {{"x1", kLeft + from}, {"x2", kLeft + to}, {"y1", y(bytes)}, {"y2", y(bytes)}}, "");
  }
  std::string box(std::string_view cssClass, double left, double right, int64_t offset,
                  int64_t bytes, const std::string &name, const std::string &hint) const {
    if (offset + bytes <= bottom)
      return "";
    double upper = y(offset + bytes), height = y(std::max(offset, bottom)) - upper;
    std::string text = svgElement("rect", cssClass,
                                  {{"x", left},
                                   {"y", upper},
                                   {"width", std::max(0.6, right - left)},
                                   {"height", std::max(0.6, height)}},
                                  "<title>" + escapeHtml(hint) + "</title>");
    std::string shown = height < kLine ? "" : fitted(name, right - left - 6);
    if (!shown.empty())
      text += svgLabel("inBox", (left + right) / 2, upper + height / 2 + 4, shown);
    return text;
  }

  std::string drawFrames() const;
  std::string drawNames() const;
  std::string drawGrid() const;
  std::string drawStreams() const;
  bool isBackward() const;
  std::string drawBuffers() const;
  std::string drawPeak() const;
  std::string drawPanel() const;

  const plan::Plan &plan;
  const plan::BlockRun &run;
  const PeakReport *peak;
  int64_t totalNs = 0;
  int64_t budget = 0;
  bool showsBudget = false;
  int64_t bottom = 0, top = 1; ///< bytes of the arena that are shown
};

/// A pale ground a module up to the height of its frame.
std::string Picture::drawFrames() const {
  std::string text;
  int64_t now = 0;
  for (size_t i = 0; i < run.calls.size(); ++i) {
    const plan::Procedure &procedure = plan.procedures[run.calls[i].procedure];
    double left = x(static_cast<double>(now)),
           right = x(static_cast<double>(now + procedure.costNs));
    text += box(i % 2 ? "ground odd" : "ground", left, right, plan::highestFrame(run, run.calls[i]),
                procedure.frameBytes, "",
                procedure.module + ", " + procedure.choice + ": frame of " +
                    plan::formatBytes(procedure.frameBytes));
    now += procedure.costNs;
  }
  return text;
}

/// Each module's name below its middle, moved aside where its neighbours leave no room.
std::string Picture::drawNames() const {
  constexpr double kApart = 25;
  std::vector<double> middles, places;
  int64_t now = 0;
  for (const plan::Call &call : run.calls) {
    int64_t cost = plan.procedures[call.procedure].costNs;
    middles.push_back(x(static_cast<double>(now) + static_cast<double>(cost) / 2));
    places.push_back(places.empty() ? middles.back()
                                    : std::max(middles.back(), places.back() + kApart));
    now += cost;
  }
  double limit = kLeft + kWidth;
  for (size_t i = places.size(); i-- > 0; limit = places[i] - kApart)
    places[i] = std::min(places[i], limit);
  std::string text;
  double floor = kTop + kHeight + 20;
  for (size_t i = 0; i < places.size(); ++i)
    text += "<path class=\"lead\" d=\"M" + svgNumber(middles[i]) + " " + svgNumber(floor) + " L" +
            svgNumber(places[i]) + " " + svgNumber(floor + 8) +
            "\"/>\n<text class=\"module\" transform=\"translate(" + svgNumber(places[i] - 2) + "," +
            svgNumber(floor + 18) + ") rotate(32)\">" +
            escapeHtml(plan.procedures[run.calls[i].procedure].module) + "</text>\n";
  return text;
}

std::string Picture::drawGrid() const {
  std::string text;
  int64_t step = 1;
  while ((top - bottom) / step >= 8)
    step *= 2;
  for (int64_t bytes = (bottom + step - 1) / step * step; bytes <= top; bytes += step)
    text += line("grid", 0, kWidth, bytes) +
            svgLabel("axis end", kLeft - 8, y(bytes) + 4, exactBytes(static_cast<double>(bytes)));
  if (bottom > 0)
    text += svgLabel("axis", kLeft, kTop - 20,
                     "from " + plan::formatBytes(bottom) + " up; below lies what is kept");
  double range = static_cast<double>(totalNs) / 1e6, ms = range > 0 ? decimalStep(range) : 1;
  for (int i = 0; i * ms <= range; ++i) {
    char tick[32];
    std::snprintf(tick, sizeof tick, "%g%s", i * ms, i == 0 ? " ms" : "");
    double at = x(i * ms * 1e6), floor = kTop + kHeight;
    text +=
        svgElement("line", "tick", {{"x1", at}, {"x2", at}, {"y1", floor}, {"y2", floor + 4}}, "") +
        svgLabel("axis middle", at, floor + 16, tick);
  }
  return text;
}

/// Whether the run is of the backward program.
bool Picture::isBackward() const {
  for (const plan::Program &program : plan.programs)
    if (&run >= program.runs.data() && &run < program.runs.data() + program.runs.size())
      return program.phase == plan::Phase::Backward;
  return false;
}

std::string Picture::drawStreams() const {
  std::string text;
  for (const plan::Tensor &tensor : plan.tensors) {
    if (isHidden(plan, tensor, isBackward()))
      continue;
    std::string hint = tensor.name + ", " + plan::formatBytes(tensor.bytes);
    text += box("stream", kLeft, kLeft + kWidth, tensor.offset, plan::alignTo(tensor.bytes), hint,
                hint);
  }
  // The stack of what is kept, as high as each call finds it.
  int64_t now = 0, base = plan::slotBytes(plan);
  for (const plan::Call &call : run.calls) {
    const plan::Procedure &procedure = plan.procedures[call.procedure];
    if (int64_t bytes = plan::highestFrame(run, call) - base; bytes > 0)
      text +=
          box("stream", x(static_cast<double>(now)), x(static_cast<double>(now + procedure.costNs)),
              base, bytes, "kept", "kept for backward, " + plan::formatBytes(bytes));
    now += procedure.costNs;
  }
  return text;
}

std::string Picture::drawBuffers() const {
  std::string text;
  int64_t now = 0;
  for (size_t i = 0; i < run.calls.size(); ++i) {
    const plan::Procedure &procedure = plan.procedures[run.calls[i].procedure];
    bool fullest = peak && peak->place.call == static_cast<int32_t>(i);
    const std::vector<int32_t> *live = fullest ? &peak->place.moment.live : nullptr;
    for (const plan::FrameLife &life : plan::frameLives(procedure)) {
      const plan::Buffer &buffer = procedure.buffers[life.buffer];
      bool atPeak = live && std::find(live->begin(), live->end(), life.buffer) != live->end();
      text += box(atPeak ? "buffer live" : "buffer", x(static_cast<double>(now + life.beginNs)),
                  x(static_cast<double>(now + life.endNs)),
                  plan::highestFrame(run, run.calls[i]) + buffer.offset,
                  plan::alignTo(buffer.bytes), buffer.name,
                  procedure.module + ": " + buffer.name + ", " + plan::formatBytes(buffer.bytes));
    }
    now += procedure.costNs;
  }
  return text;
}

/// A mark over the middle of the fullest step.
std::string Picture::drawPeak() const {
  double now = 0;
  for (int32_t i = 0; i < peak->place.call; ++i)
    now += static_cast<double>(plan.procedures[run.calls[i].procedure].costNs);
  const plan::FrameMoment &moment = peak->place.moment;
  double at = x(now + static_cast<double>(moment.startNs) + static_cast<double>(moment.costNs) / 2);
  int64_t end = plan::highestFrame(run, run.calls[peak->place.call]) + moment.height;
  std::string text = "<path class=\"mark\" d=\"M" + svgNumber(at) + " " + svgNumber(y(end) - 2) +
                     " l-5 -9 h10 z\"/>\n";
  bool right = at > kLeft + kWidth / 2;
  double height = y(end) - 5;
  // Above the line of the budget and its name, where it would lie on them.
  if (showsBudget && std::abs(y(budget) - height + 4) < kLine)
    height = y(budget) - 6 - kLine;
  std::string name = "peak " + plan::formatBytes(plan.arenaBytes) + " in " +
                     peak->procedure->module + ", step " + std::to_string(moment.step);
  return text + svgLabel(right ? "note strong end" : "note strong", at + (right ? -9 : 9),
                         y(end) - 5, name);
}

/// What lives at the peak, highest in the arena first.
std::string Picture::drawPanel() const {
  struct Entry {
    int64_t offset;
    std::string name;
    int64_t bytes;
    bool stream;
  };
  std::vector<Entry> entries;
  for (const plan::Tensor &tensor : plan.tensors)
    if (!isHidden(plan, tensor, isBackward()))
      entries.push_back({tensor.offset, tensor.name, plan::alignTo(tensor.bytes), true});
  if (peak->keptBytes > 0)
    entries.push_back({plan::slotBytes(plan), "kept", peak->keptBytes, true});
  int64_t base = plan::highestFrame(run, run.calls[peak->place.call]);
  for (int32_t index : peak->place.moment.live) {
    const plan::Buffer &buffer = peak->procedure->buffers[index];
    entries.push_back({base + buffer.offset, buffer.name, plan::alignTo(buffer.bytes), false});
  }
  std::stable_sort(entries.begin(), entries.end(),
                   [](const Entry &a, const Entry &b) { return a.offset > b.offset; });
  double left = kLeft + kWidth + 24, right = kLeft + kWidth + kPanel - 6, at = kTop + 12;
  std::string text = svgLabel("note strong", left, at, "live at the peak");
  for (const Entry &entry : entries) {
    at += 20;
    if (at > kTop + kHeight)
      break;
    text += svgElement("rect", entry.stream ? "stream" : "buffer live",
                       {{"x", left}, {"y", at - 9}, {"width", 10}, {"height", 10}}, "") +
            svgLabel("note", left + 16, at, fitted(entry.name, right - left - 90)) +
            svgLabel("note end", right, at, plan::formatBytes(entry.bytes));
  }
  if (peak->fragmentationBytes > 0)
    text += svgLabel("note", left + 16, at + 20, "gaps in the frame") +
            svgLabel("note end", right, at + 20, plan::formatBytes(peak->fragmentationBytes));
  return text;
}

} // namespace

std::string timelineSvg(const plan::Plan &plan, const plan::Program &program,
                        const plan::BlockRun &run, const ReportData &data) {
  bool here = data.peak && &plan.programs[data.peak->place.program] == &program &&
              &program.runs[data.peak->place.run] == &run;
  return Picture(plan, run, here ? &*data.peak : nullptr).draw();
}

std::string moduleBarsSvg(const ReportData &data) {
  constexpr double kNames = 220, kBar = 24, kLongest = 560;
  int64_t most = 1;
  for (const ModuleReport &module : data.modules)
    most = std::max(most, module.costNs);
  double height = kBar * static_cast<double>(data.modules.size()) + 8;
  std::string text = "<svg viewBox=\"0 0 1034 " + svgNumber(height) +
                     "\" role=\"img\" aria-label=\"time by module\">\n";
  double at = 4;
  for (const ModuleReport &module : data.modules) {
    double length = kLongest * static_cast<double>(module.costNs) / static_cast<double>(most);
    std::string time = formatMs(static_cast<double>(module.costNs) / 1e6);
    std::string share =
        formatShare(static_cast<double>(module.costNs), static_cast<double>(data.blockCostNs));
    text += svgLabel("note end", kNames - 10, at + 16, module.name) +
            svgElement("rect", "bar",
                       {{"x", kNames},
                        {"y", at + 3},
                        {"width", std::max(1.0, length)},
                        {"height", kBar - 6},
                        {"rx", 2}},
                       "<title>" + escapeHtml(module.name + ", " + module.choice) + "</title>") +
            svgLabel("note", kNames + length + 8, at + 16, time + "  ·  " + share);
    at += kBar;
  }
  return text + "</svg>\n";
}

} // namespace evo
