//===- ProfileJson.cpp - profiles as JSON -----------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "compiler/cost/DeviceProfile.h"
#include "compiler/json/StrictJson.h"
#include "runtime/plan/ProductJson.h"

#include <limits>
#include <set>
#include <tuple>
#include <vector>

namespace evo::cost {

namespace {
constexpr int64_t kMaxInt = std::numeric_limits<int64_t>::max();
/// More could not be told from each other as doubles.
constexpr int64_t kMaxCount = int64_t{1} << 53;
constexpr std::string_view kBackendNames[] = {"cuda", "cpu"};
constexpr plan::Precision kPrecisions[] = {plan::Precision::Fp64, plan::Precision::Fp32,
                                           plan::Precision::Tf32, plan::Precision::Bf16,
                                           plan::Precision::Fp16};
constexpr json::KeyRule kRootKeys[] = {
    {"format", true},
    {"name", true},
    {"backend", true},
    {"memory_bytes", true},
    {"library_bytes", true},
    {"workspace_bytes", false},
    {"matmul_flop_per_s", true},
    {"vector_flop_per_s", true},
    {"memory_bytes_per_s", true},
    {"exp_per_s", true},
    {"launch_ns", true},
    {"products", false},
    {"measured", false},
};
constexpr json::KeyRule kMeasuredKeys[] = {
    {"device", true},   {"kernel_set", true}, {"kernel_revision", true},
    {"held_out", true}, {"series", true},
};
constexpr json::KeyRule kHeldOutKeys[] = {
    {"precision", true},   {"calls", true},        {"mean_error", true},
    {"worst_error", true}, {"worst_kernel", true},
};
constexpr json::KeyRule kSeriesKeys[] = {
    {"kernel", true}, {"precision", true}, {"operands", true}, {"shape", true}, {"points", true}};

Status expected(const std::string &where, const std::string &what, const std::string &got) {
  return Status::error(ErrorCode::InvalidInput, where + ": expected " + what + ", got " + got);
}

/// The errors of a part of the file, below the part's own place.
Status below(const std::string &where, const Status &status) {
  if (status.ok())
    return status;
  return Status::error(status.code(), where + "." + status.message());
}

Result<std::vector<int64_t>> readCounts(const json::Json &value, const std::string &where,
                                        size_t count, const std::string &what, int64_t least) {
  if (!value.is_array() || value.size() != count)
    return expected(where, what,
                    value.is_array() ? "an array of " + std::to_string(value.size())
                                     : json::describe(value));
  std::vector<int64_t> counts;
  for (const json::Json &item : value) {
    const bool whole = item.is_number_unsigned() &&
                       item.get<uint64_t>() <= static_cast<uint64_t>(kMaxCount) &&
                       item.get<int64_t>() >= least;
    if (!whole)
      return expected(where + "[" + std::to_string(counts.size()) + "]",
                      "an integer from " + std::to_string(least) + " to " +
                          std::to_string(kMaxCount),
                      json::describe(item));
    counts.push_back(item.get<int64_t>());
  }
  return counts;
}

/// Names that a choice takes, and what it found.
Result<plan::Kernel> readKernel(const json::Json &value, const std::string &key,
                                const std::string &where) {
  const json::Json &name = value.at(key);
  const auto kernel = name.is_string() ? plan::parseKernel(name.get<std::string>()) : std::nullopt;
  if (!kernel)
    return expected(where + "." + key, "the name of a kernel", json::describe(name));
  return *kernel;
}

Result<plan::Precision> readPrecision(const json::Json &value, const std::string &where) {
  const json::Json &name = value.at("precision");
  const auto precision =
      name.is_string() ? plan::parsePrecision(name.get<std::string>()) : std::nullopt;
  if (!precision)
    return expected(where + ".precision", "one of fp64, fp32, tf32, bf16, fp16",
                    json::describe(name));
  return *precision;
}

Result<std::vector<MeasuredPoint>> readPoints(const json::Json &list, const std::string &where) {
  if (!list.is_array() || list.empty())
    return expected(where, "an array of at least one point",
                    list.is_array() ? "an empty one" : json::describe(list));
  std::vector<MeasuredPoint> points;
  for (const json::Json &item : list) {
    const std::string here = where + "[" + std::to_string(points.size()) + "]";
    EVO_ASSIGN(const std::vector<int64_t> counts,
               readCounts(item, here, 4, "[flops, bytes, exps, ns]", 0));
    const MeasuredPoint point{counts[0], counts[1], counts[2], counts[3]};
    if (point.ns < 1)
      return expected(here + "[3]", "a time of at least 1 ns", "0");
    if (!points.empty()) {
      const MeasuredPoint &before = points.back();
      if (point.flops < before.flops || point.bytes < before.bytes || point.exps < before.exps ||
          point.ns < before.ns)
        return expected(here, "work and time of at least those of the point before", item.dump());
    }
    points.push_back(point);
  }
  return points;
}

/// The optional operands of a series, by name.
Result<uint32_t> readOptional(const json::Json &list, plan::Kernel kernel,
                              const std::string &where) {
  const plan::KernelInfo &info = plan::kernelInfo(kernel);
  if (!list.is_array())
    return expected(where, "an array of operands", json::describe(list));
  uint32_t optional = 0;
  for (const json::Json &item : list) {
    const int index = item.is_string() ? info.operandIndex(item.get<std::string>()) : -1;
    if (index < 0 || !info.operands[static_cast<size_t>(index)].isOptional())
      return expected(where, "optional operands of " + std::string(info.mnemonic),
                      json::describe(item));
    optional |= 1u << index;
  }
  return optional;
}

Result<MeasuredSeries> readSeries(const json::Json &value, const std::string &where) {
  EVO_TRY(json::checkKeys(value, where, kSeriesKeys));
  MeasuredSeries series;
  EVO_ASSIGN(series.kernel, readKernel(value, "kernel", where));
  EVO_ASSIGN(series.precision, readPrecision(value, where));
  const std::string axes = plan::shapeAxes(series.kernel);
  EVO_ASSIGN(series.shape,
             readCounts(value.at("shape"), where + ".shape", axes.size(),
                        "the " + std::to_string(axes.size()) + " extents of \"" + axes + "\"", 1));
  EVO_ASSIGN(series.optional,
             readOptional(value.at("operands"), series.kernel, where + ".operands"));
  EVO_ASSIGN(series.points, readPoints(value.at("points"), where + ".points"));
  return series;
}

Result<HeldOutError> readHeldOut(const json::Json &value, const std::string &where) {
  EVO_TRY(json::checkKeys(value, where, kHeldOutKeys));
  HeldOutError error;
  EVO_ASSIGN(error.precision, readPrecision(value, where));
  EVO_ASSIGN(error.worstKernel, readKernel(value, "worst_kernel", where));
  json::FieldReader reader(value);
  reader.integer("calls", error.calls, 0, kMaxCount);
  reader.number("mean_error", error.mean, json::kNonNegative);
  reader.number("worst_error", error.worst, json::kNonNegative);
  EVO_TRY(below(where, reader.status()));
  return error;
}

Result<MeasuredTable> readMeasured(const json::Json &value) {
  EVO_TRY(json::checkKeys(value, "measured", kMeasuredKeys));
  MeasuredTable table;
  json::FieldReader reader(value);
  reader.text("device", table.device);
  reader.text("kernel_set", table.kernelSet);
  reader.integer("kernel_revision", table.kernelRevision, 0, kMaxInt);
  EVO_TRY(below("measured", reader.status()));
  if (table.device.empty())
    return expected("measured.device", "the name of a device", "none");
  if (table.kernelSet != plan::kernelSetHash())
    return expected("measured.kernel_set",
                    json::quote(plan::kernelSetHash()) + ", the kernels of this version",
                    json::quote(table.kernelSet) +
                        "; measure again with evo-run --calibrate, or remove \"measured\" and plan "
                        "by the analytic part");
  for (const char *key : {"held_out", "series"}) {
    const json::Json &list = value.at(key);
    if (!list.is_array() || list.empty())
      return expected(std::string("measured.") + key, "an array of at least one entry",
                      list.is_array() ? "an empty one" : json::describe(list));
    for (size_t i = 0; i < list.size(); ++i) {
      const std::string where = std::string("measured.") + key + "[" + std::to_string(i) + "]";
      if (key == std::string_view("series")) {
        EVO_ASSIGN(MeasuredSeries series, readSeries(list[i], where));
        table.series.push_back(std::move(series));
      } else {
        EVO_ASSIGN(HeldOutError error, readHeldOut(list[i], where));
        table.heldOut.push_back(error);
      }
    }
  }
  return table;
}

Status checkKeys(const json::Json &root) {
  EVO_TRY(json::checkKeys(root, "", kRootKeys));
  std::vector<json::KeyRule> precisions;
  for (plan::Precision precision : kPrecisions)
    precisions.push_back({plan::precisionName(precision), true});
  return json::checkKeys(root.at("matmul_flop_per_s"), "matmul_flop_per_s", precisions);
}

Result<DeviceProfile> profileFromJson(const json::Json &root) {
  if (!root.is_object())
    return Status::error(ErrorCode::InvalidInput,
                         "expected a JSON object, got " + json::describe(root));
  EVO_TRY(json::checkFormat(root, "evo.profile/1"));
  EVO_TRY(checkKeys(root));
  DeviceProfile profile;
  json::FieldReader reader(root);
  size_t backend = 0;
  reader.text("name", profile.name);
  reader.choice("backend", backend, kBackendNames);
  reader.integer("memory_bytes", profile.memoryBytes, 1, kMaxInt);
  reader.integer("library_bytes", profile.libraryBytes, 0, kMaxInt);
  for (plan::Precision precision : kPrecisions)
    reader.number("matmul_flop_per_s." + std::string(plan::precisionName(precision)),
                  profile.matmulFlops[static_cast<size_t>(precision)], json::kPositive);
  reader.number("vector_flop_per_s", profile.vectorFlops, json::kPositive);
  reader.number("memory_bytes_per_s", profile.bandwidth, json::kPositive);
  reader.number("exp_per_s", profile.expRate, json::kPositive);
  reader.integer("launch_ns", profile.launchNs, 0, kMaxInt);
  if (root.contains("workspace_bytes"))
    reader.integer("workspace_bytes", profile.workspaceBytes, 0, kMaxInt);
  if (reader.status().ok() && profile.libraryBytes >= profile.memoryBytes)
    reader.fail("library_bytes", "less than memory_bytes", root.at("library_bytes"));
  if (reader.status().ok() && profile.workspaceBytes >= profile.memoryBytes - profile.libraryBytes)
    reader.fail("workspace_bytes", "less than memory_bytes without library_bytes",
                root.at("workspace_bytes"));
  EVO_TRY(reader.status());
  profile.backend = kBackendNames[backend];
  if (const json::Json *products = reader.find("products")) {
    EVO_ASSIGN(profile.products, plan::parseProducts(products->dump(), "products"));
  }
  if (const json::Json *measured = reader.find("measured")) {
    EVO_ASSIGN(profile.measured, readMeasured(*measured));
  }
  return profile;
}

using Ordered = nlohmann::ordered_json;

std::string printTable(const plan::ProductTable &table) {
  std::string text = "{\n    \"library\": " + Ordered(table.library).dump() +
                     ",\n    \"ways\": " + Ordered(table.ways).dump() + ",\n    \"series\": [";
  std::string separator = "\n      ";
  for (const plan::ProductSeries &series : table.series) {
    text += separator + plan::seriesJson(series).dump();
    separator = ",\n      ";
  }
  return text + "\n    ]\n  }";
}

/// One line a series, so that a diff shows what changed.
std::string printMeasured(const MeasuredTable &table) {
  std::string text = "{\n    \"device\": " + Ordered(table.device).dump() +
                     ",\n    \"kernel_set\": " + Ordered(table.kernelSet).dump() +
                     ",\n    \"kernel_revision\": " + std::to_string(table.kernelRevision) +
                     ",\n    \"held_out\": [";
  std::string separator = "\n      ";
  for (const HeldOutError &error : table.heldOut) {
    Ordered line = {{"precision", plan::precisionName(error.precision)},
                    {"calls", error.calls},
                    {"mean_error", error.mean},
                    {"worst_error", error.worst},
                    {"worst_kernel", plan::kernelInfo(error.worstKernel).mnemonic}};
    text += separator + line.dump();
    separator = ",\n      ";
  }
  text += "\n    ],\n    \"series\": [";
  separator = "\n      ";
  for (const MeasuredSeries &series : table.series) {
    Ordered points = Ordered::array(), operands = Ordered::array();
    const plan::KernelInfo &info = plan::kernelInfo(series.kernel);
    for (size_t i = 0; i < info.operands.size(); ++i)
      if (series.optional >> i & 1u)
        operands.push_back(info.operands[i].name);
    for (const MeasuredPoint &point : series.points)
      points.push_back({point.flops, point.bytes, point.exps, point.ns});
    Ordered line = {{"kernel", info.mnemonic},
                    {"precision", plan::precisionName(series.precision)},
                    {"operands", operands},
                    {"shape", series.shape},
                    {"points", points}};
    text += separator + line.dump();
    separator = ",\n      ";
  }
  return text + "\n    ]\n  }";
}
} // namespace

Result<DeviceProfile> parseDeviceProfile(std::string_view text, std::string_view fileName) {
  EVO_ASSIGN(const json::Json root, json::parseStrict(text, fileName));
  Result<DeviceProfile> profile = profileFromJson(root);
  if (!profile.ok())
    return profile.status().withContext(fileName);
  return profile;
}

Result<DeviceProfile> readDeviceProfile(const std::string &path) {
  EVO_ASSIGN(const std::string text, json::readTextFile(path));
  return parseDeviceProfile(text, path);
}

std::string printDeviceProfile(const DeviceProfile &profile) {
  Ordered matmul;
  for (plan::Precision precision : kPrecisions)
    matmul[std::string(plan::precisionName(precision))] =
        profile.matmulFlops[static_cast<size_t>(precision)];
  std::string text = "{";
  std::string separator = "\n  ";
  auto member = [&](std::string_view key, const std::string &value) {
    text += separator + "\"" + std::string(key) + "\": " + value;
    separator = ",\n  ";
  };
  member("format", "\"evo.profile/1\"");
  member("name", Ordered(profile.name).dump());
  member("backend", Ordered(profile.backend).dump());
  member("memory_bytes", std::to_string(profile.memoryBytes));
  member("library_bytes", std::to_string(profile.libraryBytes));
  if (profile.workspaceBytes > 0)
    member("workspace_bytes", std::to_string(profile.workspaceBytes));
  member("matmul_flop_per_s", matmul.dump());
  member("vector_flop_per_s", Ordered(profile.vectorFlops).dump());
  member("memory_bytes_per_s", Ordered(profile.bandwidth).dump());
  member("exp_per_s", Ordered(profile.expRate).dump());
  member("launch_ns", std::to_string(profile.launchNs));
  if (!profile.products.empty())
    member("products", printTable(profile.products));
  if (profile.measured)
    member("measured", printMeasured(*profile.measured));
  return text + "\n}\n";
}

} // namespace evo::cost
