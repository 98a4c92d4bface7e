//===- ReportData.cpp -------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "passes/ReportData.h"

#include <algorithm>
#include <cstdio>

namespace evo {

namespace {

std::string countOf(int64_t count, const std::string &one) {
  return std::to_string(count) + " " + one + (count == 1 ? "" : "s");
}

std::string policyText(const Compilation &compilation) {
  const std::string &policy = compilation.plan.summary.policy;
  if (compilation.requestedPolicy == policy)
    return policy;
  return policy + " (" + compilation.requestedPolicy + ": the search found nothing faster)";
}

std::string typeText(plan::DType dtype, const std::vector<int64_t> &shape) {
  std::string text(plan::dtypeName(dtype));
  for (size_t i = 0; i < shape.size(); ++i)
    text += (i ? ", " : " [") + std::to_string(shape[i]);
  return text + "]";
}

bool sameModule(const ModuleReport &a, const ModuleReport &b) {
  return a.name == b.name && a.choice == b.choice && a.dominantBytes == b.dominantBytes &&
         a.frameBytes == b.frameBytes && a.costNs == b.costNs;
}

/// Runs of blocks with the same modules under the same choices become one run.
std::vector<ModuleReport> foldSegments(const std::vector<ModuleReport> &modules) {
  std::vector<ModuleReport> folded;
  size_t last = 0; // where the last run of `folded` begins
  for (size_t begin = 0; begin < modules.size();) {
    size_t end = begin;
    while (end < modules.size() && modules[end].firstBlock == modules[begin].firstBlock)
      ++end;
    bool equal = std::equal(folded.begin() + static_cast<long>(last), folded.end(),
                            modules.begin() + static_cast<long>(begin),
                            modules.begin() + static_cast<long>(end), sameModule);
    if (equal) {
      for (size_t i = last; i < folded.size(); ++i)
        folded[i].blockCount += modules[begin].blockCount;
    } else {
      last = folded.size();
      folded.insert(folded.end(), modules.begin() + static_cast<long>(begin),
                    modules.begin() + static_cast<long>(end));
    }
    begin = end;
  }
  return folded;
}

} // namespace

bool isHidden(const plan::Plan &plan, const plan::Tensor &tensor, bool backward) {
  auto shares = [&](const plan::Tensor &other) {
    return &other != &tensor && other.offset == tensor.offset;
  };
  auto other = std::find_if(plan.tensors.begin(), plan.tensors.end(), shares);
  // The stream stands before its gradient.
  return other != plan.tensors.end() &&
         (other > plan.tensors.begin() + (&tensor - plan.tensors.data())) == backward;
}

namespace {

std::optional<PeakReport> describePeak(const plan::Plan &plan) {
  std::optional<plan::PlanPeak> place = plan::planPeak(plan);
  if (!place)
    return std::nullopt;
  PeakReport peak;
  peak.place = *std::move(place);
  const plan::BlockRun &run = plan.programs[peak.place.program].runs[peak.place.run];
  peak.procedure = &plan.procedures[run.calls[peak.place.call].procedure];
  peak.frameBytes = peak.procedure->frameBytes;
  peak.fragmentationBytes = peak.frameBytes - peak.place.moment.liveBytes;
  // Of a stream and its gradient in one slot the program's own is alive.
  bool backward = plan.programs[peak.place.program].phase == plan::Phase::Backward;
  for (const plan::Tensor &tensor : plan.tensors)
    if (!isHidden(plan, tensor, backward))
      peak.live.push_back(
          {tensor.name, plan::alignTo(tensor.bytes), typeText(tensor.dtype, tensor.shape)});
  peak.keptBytes = plan::highestFrame(run, run.calls[peak.place.call]) - plan::slotBytes(plan);
  if (peak.keptBytes > 0)
    peak.live.push_back({"kept", peak.keptBytes, "for backward, so far"});
  for (int32_t index : peak.place.moment.live) {
    const plan::Buffer &buffer = peak.procedure->buffers[index];
    peak.live.push_back(
        {buffer.name, plan::alignTo(buffer.bytes), typeText(buffer.dtype, buffer.shape)});
  }
  return peak;
}

/// Why the arena is more than the largest sum of live bytes.
std::string idleText(const plan::IdleBytes &idle) {
  std::string text;
  if (idle.kept > 0)
    text = plan::formatBytes(idle.kept) + " kept for calls that have yet to end";
  if (idle.frame > 0)
    text +=
        (text.empty() ? "" : ", ") + plan::formatBytes(idle.frame) + " between buffers of a frame";
  return text;
}

std::vector<LedgerLine> ledgerOf(const ReportData &data, const plan::Plan &plan) {
  const plan::Summary &summary = plan.summary;
  std::vector<LedgerLine> lines = {
      {"streams and masks", data.streamBytes,
       plan.mode == plan::Mode::Train ? "gradients of streams in the same places" : ""},
      {"frame at the peak", data.peak ? data.peak->frameBytes : 0,
       data.peak ? "of " + data.peak->procedure->module : ""}};
  if (int64_t workspace = plan::workspaceBytes(plan); workspace > 0)
    lines.push_back({"workspace", workspace, "of the device's kernels, by the profile"});
  if (summary.keptBytes > 0) {
    lines.push_back({"kept at the peak", data.peak ? data.peak->keptBytes : 0,
                     "of " + plan::formatBytes(summary.keptBytes) + " from forward to backward"});
  }
  lines.push_back({"arena", summary.arenaBytes, unitText(data, plan)});
  if (summary.idle.total != 0)
    lines.push_back({"never in use", summary.idle.total, idleText(summary.idle)});
  int64_t gradients = plan.model.blocks * plan.gradientBlockBytes;
  int64_t state = plan.model.blocks * plan.stateBlockBytes;
  lines.push_back({"weights (static)", summary.staticBytes - gradients - state, ""});
  if (gradients > 0)
    lines.push_back({"gradients (static)", gradients, "of weights"});
  if (state > 0)
    lines.push_back({"optimizer (static)", state, "state of weights"});
  lines.push_back({"libraries", summary.libraryBytes, "the profile's bound"});
  lines.push_back({"predicted peak", summary.predictedPeakBytes, "arena + static + libraries"});
  lines.push_back({"budget", summary.budgetBytes,
                   plan::formatBytes(summary.budgetBytes - summary.predictedPeakBytes) + " left"});
  return lines;
}

} // namespace

double ReportData::arenaInUnits(const plan::Plan &plan) const {
  return unitBytes ? static_cast<double>(plan.arenaBytes) / static_cast<double>(unitBytes) : 0;
}

ReportData describe(const Compilation &compilation) {
  const plan::Plan &plan = compilation.plan;
  ReportData data;
  data.name = plan.model.name.empty() ? plan.model.stack : plan.model.name;
  data.model = modelText(plan.model, plan.precision, plan.mode, plan.devices);
  data.policy = policyText(compilation);
  data.streamBytes = plan::slotBytes(plan) - plan::workspaceBytes(plan);
  for (const plan::Tensor &tensor : plan.tensors) {
    if (tensor.name == "z")
      data.unitBytes = tensor.bytes;
  }
  data.unitFormula = plan.model.channels.count("c_z") ? "r^2 c_z" : "r^2 c_t";
  for (const plan::Program &program : plan.programs)
    for (const plan::BlockRun &run : program.runs)
      for (const plan::Call &call : run.calls)
        data.frameBytes = std::max(data.frameBytes, plan.procedures[call.procedure].frameBytes);
  data.modules = foldSegments(compilation.modules);
  data.blockCostNs =
      static_cast<int64_t>(plan.summary.predictedMs * 1e6 /
                           static_cast<double>(std::max<int64_t>(1, plan.model.blocks)));
  data.peak = describePeak(plan);
  data.ledger = ledgerOf(data, plan);
  return data;
}

std::string modelText(const plan::ModelInfo &model, plan::Precision precision, plan::Mode mode,
                      int64_t devices) {
  std::string text = model.stack + ", " + countOf(model.blocks, "block");
  // The specification's order: s before r.
  for (auto size = model.sizes.rbegin(); size != model.sizes.rend(); ++size)
    text += ", " + size->first + " = " + std::to_string(size->second);
  text += ", " + std::string(plan::precisionName(precision));
  text += mode == plan::Mode::Infer ? ", inference" : ", training";
  return text + ", " + countOf(devices, "device");
}

std::string blockRange(const ModuleReport &module) {
  int64_t last = module.firstBlock + module.blockCount - 1;
  std::string first = std::to_string(module.firstBlock);
  return module.blockCount == 1 ? first : first + "-" + std::to_string(last);
}

std::string formatMs(double ms) {
  char text[48];
  std::snprintf(text, sizeof text, ms < 10 ? "%.3f ms" : "%.1f ms", ms);
  return text;
}

std::string formatShare(double part, double whole) {
  char text[48];
  std::snprintf(text, sizeof text, "%.1f %%", whole > 0 ? 100 * part / whole : 0.0);
  return text;
}

std::string unitText(const ReportData &data, const plan::Plan &plan) {
  char text[48];
  std::snprintf(text, sizeof text, "%.2f U, U = ", data.arenaInUnits(plan));
  return text + data.unitFormula + " bytes of " + std::string(plan::precisionName(plan.precision)) +
         " = " + plan::formatBytes(data.unitBytes);
}

std::string peakPlace(const PeakReport &peak, const plan::Plan &plan) {
  const plan::BlockRun &run = plan.programs[peak.place.program].runs[peak.place.run];
  const std::string &location = peak.place.moment.location;
  std::string text = peak.procedure->module + ", step " + std::to_string(peak.place.moment.step) +
                     " (" + location.substr(location.rfind('/') + 1) + "), ";
  if (run.blockCount > 1 && peak.place.everyBlock)
    text += "of every block " + std::to_string(run.firstBlock) + "-" +
            std::to_string(run.firstBlock + run.blockCount - 1) + ", first ";
  else
    text += "of block " + std::to_string(peak.place.block) + ", ";
  return text + formatMs(static_cast<double>(peak.place.startNs) / 1e6) + " into the run";
}

std::string pricedBy(const Compilation &compilation) {
  const std::string &name = compilation.plan.profile;
  return compilation.profileKind == "analytic" ? name : name + ": " + compilation.profileKind;
}

} // namespace evo
