//===- DeviceProfile.cpp ----------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "compiler/cost/DeviceProfile.h"

#include "compiler/cost/BuiltinProfiles.h"
#include "compiler/json/StrictJson.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

namespace evo::cost {

namespace {
constexpr int64_t kMaxInt = std::numeric_limits<int64_t>::max();
constexpr std::string_view kBackendNames[] = {"cuda", "cpu"};
constexpr plan::Precision kPrecisions[] = {plan::Precision::Fp64, plan::Precision::Fp32,
                                           plan::Precision::Tf32, plan::Precision::Bf16,
                                           plan::Precision::Fp16};

Status checkKeys(const json::Json &root) {
  static constexpr json::KeyRule kRootKeys[] = {
      {"format", true},
      {"name", true},
      {"backend", true},
      {"memory_bytes", true},
      {"library_bytes", true},
      {"matmul_flop_per_s", true},
      {"vector_flop_per_s", true},
      {"memory_bytes_per_s", true},
      {"exp_per_s", true},
      {"launch_ns", true},
  };
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
  if (reader.status().ok() && profile.libraryBytes >= profile.memoryBytes)
    reader.fail("library_bytes", "less than memory_bytes", root.at("library_bytes"));
  EVO_TRY(reader.status());
  profile.backend = kBackendNames[backend];
  return profile;
}
} // namespace

int64_t DeviceProfile::costNs(const KernelWork &work, plan::Precision precision) const {
  const double peak = work.workClass == WorkClass::Matmul
                          ? matmulFlops[static_cast<size_t>(precision)]
                          : vectorFlops;
  const double seconds = std::max(
      {work.flops / peak, (work.bytesRead + work.bytesWritten) / bandwidth, work.exps / expRate});
  const double ns =
      static_cast<double>(work.launches) * static_cast<double>(launchNs) + std::ceil(seconds * 1e9);
  // 2^63 is the first double that an int64 cannot hold.
  if (!(ns < 0x1p63))
    return kMaxInt;
  return std::max<int64_t>(1, static_cast<int64_t>(ns));
}

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

std::span<const std::string_view> builtinProfileNames() {
  static const std::vector<std::string_view> names = [] {
    std::vector<std::string_view> all;
    for (const BuiltinProfileText &profile : builtinProfileTexts())
      all.push_back(profile.name);
    return all;
  }();
  return names;
}

Result<DeviceProfile> builtinProfile(std::string_view name) {
  std::string list;
  for (const BuiltinProfileText &profile : builtinProfileTexts()) {
    if (profile.name == name)
      return parseDeviceProfile(profile.text, name);
    list += (list.empty() ? "" : ", ") + std::string(profile.name);
  }
  return Status::error(ErrorCode::InvalidInput,
                       "profile: expected one of " + list + " or a file, got " + json::quote(name));
}

} // namespace evo::cost
