//===- Report.cpp -----------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "runtime/core/Report.h"

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>

namespace evo {

namespace {

std::string milliseconds(double ms) {
  char text[64];
  std::snprintf(text, sizeof text, "%.3f ms", ms);
  return text;
}

std::string sizesText(const plan::ModelInfo &model) {
  std::string text = model.stack + ", " + std::to_string(model.blocks) +
                     (model.blocks == 1 ? " block" : " blocks");
  for (const auto &[name, size] : model.sizes)
    text += ", " + name + " = " + std::to_string(size);
  return (model.name.empty() ? "" : model.name + ": ") + text;
}

std::string sourceText(const std::string &path, uint64_t seed) {
  return path.empty() ? "random, seed " + std::to_string(seed) : path;
}

/// Whose times the prediction is made of, and where they do not belong.
std::string predictionText(const RunReport &report) {
  if (report.profileDevice.empty())
    return "predicted by the formula of " + report.profile + ", running on " + report.runningOn;
  if (report.profileDevice == report.runningOn)
    return "predicted with the table of this device";
  return "predicted with the table of " + report.profileDevice + ", running on " + report.runningOn;
}

} // namespace

std::optional<size_t> RunReport::warmSample() const {
  auto sample = static_cast<size_t>(std::max<int64_t>(warmup, 1));
  return sample < takenBytes.size() ? std::optional(sample) : std::nullopt;
}

std::optional<int64_t> RunReport::measuredLibraryBytes() const {
  std::optional<size_t> warm = warmSample();
  return warm ? std::optional(takenBytes[*warm] - arenaBytes - staticBytes) : std::nullopt;
}

std::optional<int64_t> RunReport::growthBytes() const {
  std::optional<size_t> warm = warmSample();
  if (!warm)
    return std::nullopt;
  auto from = takenBytes.begin() + static_cast<std::ptrdiff_t>(*warm);
  return *std::max_element(from, takenBytes.end()) - *from;
}

double medianMs(std::vector<double> values) {
  if (values.empty())
    return 0;
  std::sort(values.begin(), values.end());
  size_t middle = values.size() / 2;
  return values.size() % 2 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

std::string bytesText(int64_t bytes) {
  static constexpr const char *kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  double value = static_cast<double>(bytes);
  size_t unit = 0;
  for (; value >= 1024 && unit < 4; ++unit)
    value /= 1024;
  if (unit == 0)
    return std::to_string(bytes) + " B";
  char text[64];
  std::snprintf(text, sizeof text, "%.2f %s (%lld)", value, kUnits[unit],
                static_cast<long long>(bytes));
  return text;
}

/// What a loss and an optimizer did, where there were some. Numbers that are not finite are null.
static void addTraining(const RunReport &report, nlohmann::ordered_json &json) {
  if (!report.loss)
    return;
  json["targets"] = report.targets;
  json["loss"] = *report.loss;
  json["loss_ms"] = report.lossMs;
  if (report.optimizer.empty())
    return;
  std::vector<int64_t> numbers;
  std::vector<double> losses, scales;
  std::vector<bool> skipped;
  for (const StepReport &step : report.steps) {
    numbers.push_back(step.step);
    losses.push_back(step.loss);
    scales.push_back(step.lossScale);
    skipped.push_back(step.skipped);
  }
  json["optimizer"] = report.optimizer;
  json["step_numbers"] = numbers;
  json["losses"] = losses;
  json["loss_scales"] = scales;
  json["skipped"] = skipped;
  json["skipped_steps"] = std::count(skipped.begin(), skipped.end(), true);
  json["loss_scale"] = report.lossScale;
  auto orNull = [](const std::string &path) {
    return path.empty() ? nlohmann::ordered_json() : nlohmann::ordered_json(path);
  };
  json["load_state"] = orNull(report.loadState);
  json["save_state"] = orNull(report.saveState);
}

std::string reportJson(const RunReport &report) {
  nlohmann::ordered_json json;
  json["model"] = {{"name", report.model.name},
                   {"stack", report.model.stack},
                   {"blocks", report.model.blocks},
                   {"sizes", report.model.sizes},
                   {"channels", report.model.channels}};
  json["plan"] = report.planPath;
  json["policy"] = report.summary.policy;
  json["mode"] = plan::modeName(report.mode);
  json["dtype"] = plan::precisionName(report.precision);
  json["profile"] = report.profile;
  json["profile_device"] = report.profileDevice.empty()
                               ? nlohmann::ordered_json()
                               : nlohmann::ordered_json(report.profileDevice);
  json["running_on"] = report.runningOn;
  json["prediction"] = predictionText(report);
  json["backend"] = report.backend;
  json["device"] = report.description;
  json["products"] =
      report.products.empty() ? nlohmann::ordered_json() : nlohmann::ordered_json(report.products);
  json["devices"] = report.devices;
  json["threads"] = report.threads;
  json["warmup"] = report.warmup;
  json["iterations_ms"] = report.iterationsMs;
  json["median_ms"] = medianMs(report.iterationsMs);
  json["thread_ms"] = report.threadMs;
  json["setup_ms"] = report.setupMs;
  json["predicted_ms"] = report.predictedMs;
  json["predicted_peak_bytes"] = report.summary.predictedPeakBytes;
  json["arena_bytes"] = report.arenaBytes;
  json["static_bytes"] = report.staticBytes;
  json["library_bytes"] = report.summary.libraryBytes;
  json["budget_bytes"] = report.summary.budgetBytes;
  json["kept_bytes"] = report.summary.keptBytes;
  json["measured_peak_bytes"] = report.measuredPeakBytes;
  json["taken_bytes"] = report.takenBytes;
  auto bytesOrNull = [](std::optional<int64_t> bytes) {
    return bytes ? nlohmann::ordered_json(*bytes) : nlohmann::ordered_json();
  };
  json["measured_library_bytes"] = bytesOrNull(report.measuredLibraryBytes());
  json["growth_bytes"] = bytesOrNull(report.growthBytes());
  json["recorded_launches"] = report.recordedLaunches;
  auto pathOrNull = [](const std::string &path) {
    return path.empty() ? nlohmann::ordered_json() : nlohmann::ordered_json(path);
  };
  json["weights"] = pathOrNull(report.weights);
  json["weights_prefix"] = report.weightsPrefix;
  json["weights_ignored"] = report.weightsIgnored;
  json["inputs"] = pathOrNull(report.inputs);
  json["outputs"] = pathOrNull(report.outputs);
  if (report.mode == plan::Mode::Train) {
    json["cotangents"] = pathOrNull(report.cotangents);
    json["gradients"] = pathOrNull(report.gradients);
    json["dropout_seed"] = report.dropoutSeed;
    addTraining(report, json);
  }
  json["random_seed"] = report.randomSeed;
  return json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

using Rows = std::vector<std::pair<std::string, std::string>>;

/// Where tensors came from and went to.
static void addFiles(const RunReport &report, Rows &rows) {
  std::string weights =
      report.loadState.empty() ? sourceText(report.weights, report.randomSeed) : report.loadState;
  if (report.weightsIgnored > 0)
    weights += ", " + std::to_string(report.weightsIgnored) + " tensors outside '" +
               report.weightsPrefix + "blocks.' ignored";
  rows.emplace_back("weights", weights);
  rows.emplace_back("inputs", sourceText(report.inputs, report.randomSeed));
  if (!report.targets.empty())
    rows.emplace_back("targets", report.targets);
  else if (report.mode == plan::Mode::Train)
    rows.emplace_back("cotangents", sourceText(report.cotangents, report.randomSeed));
  if (!report.outputs.empty())
    rows.emplace_back("outputs", report.outputs);
  if (!report.gradients.empty())
    rows.emplace_back("gradients", report.gradients);
  if (!report.saveState.empty())
    rows.emplace_back("state", report.saveState);
  if (!report.lossCurve.empty())
    rows.emplace_back("loss curve", report.lossCurve);
}

/// The loss, and how the steps went.
static void addSteps(const RunReport &report, Rows &rows) {
  auto text = [](double value) {
    char digits[64];
    std::snprintf(digits, sizeof digits, "%.6g", value);
    return std::string(digits);
  };
  if (report.loss && report.steps.empty())
    rows.emplace_back("loss", text(*report.loss));
  if (report.steps.empty())
    return;
  const StepReport &first = report.steps.front(), &last = report.steps.back();
  auto skipped = std::count_if(report.steps.begin(), report.steps.end(),
                               [](const StepReport &step) { return step.skipped; });
  rows.emplace_back("optimizer", report.optimizer + ", steps " + std::to_string(first.step) +
                                     " to " + std::to_string(last.step) + ", " +
                                     std::to_string(skipped) + " skipped");
  rows.emplace_back("loss", text(first.loss) + " to " + text(last.loss));
  if (report.lossScale != 1 || first.lossScale != 1)
    rows.emplace_back("loss scale", text(first.lossScale) + " to " + text(report.lossScale));
}

std::string reportTable(const RunReport &report) {
  Rows rows;
  rows.emplace_back("model", sizesText(report.model));
  rows.emplace_back("plan", report.summary.policy + ", " +
                                std::string(plan::precisionName(report.precision)) +
                                ", priced for " + report.profile);
  rows.emplace_back("device", report.description);
  if (!report.products.empty())
    rows.emplace_back("", report.products);
  addFiles(report, rows);
  addSteps(report, rows);
  rows.emplace_back("time, median of " + std::to_string(report.iterationsMs.size()),
                    milliseconds(medianMs(report.iterationsMs)));
  if (report.loss)
    rows.emplace_back("time, losses on the host", milliseconds(report.lossMs));
  rows.emplace_back("time, predicted", milliseconds(report.predictedMs));
  if (!report.profileDevice.empty())
    rows.emplace_back("", predictionText(report));
  rows.emplace_back("arena", bytesText(report.arenaBytes));
  rows.emplace_back("static", bytesText(report.staticBytes));
  rows.emplace_back("peak, predicted", bytesText(report.summary.predictedPeakBytes));
  for (size_t i = 0; i < report.measuredPeakBytes.size(); ++i)
    rows.emplace_back(report.measuredPeakBytes.size() == 1
                          ? "peak, measured"
                          : "peak, measured, device " + std::to_string(i),
                      bytesText(report.measuredPeakBytes[i]));
  if (std::optional<int64_t> libraries = report.measuredLibraryBytes())
    rows.emplace_back("libraries, measured", bytesText(*libraries));
  if (report.growthBytes().value_or(0) > 0)
    rows.emplace_back("grown since the warm-up", bytesText(*report.growthBytes()));
  size_t width = 0;
  for (const auto &[name, value] : rows)
    width = std::max(width, name.size());
  std::string text;
  for (const auto &[name, value] : rows)
    text += name + std::string(width - name.size() + 2, ' ') + value + "\n";
  return text;
}

} // namespace evo
