//===- DeviceProfile.cpp ----------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "compiler/cost/DeviceProfile.h"

#include "compiler/cost/BuiltinProfiles.h"
#include "compiler/json/StrictJson.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <vector>

namespace evo::cost {

namespace {
/// What the work itself takes, beside its launch.
double workNs(const DeviceProfile &profile, const KernelWork &work, plan::Precision precision) {
  const double peak = work.workClass == WorkClass::Matmul
                          ? profile.matmulFlops[static_cast<size_t>(precision)]
                          : profile.vectorFlops;
  return 1e9 *
         std::max({work.flops / peak, (work.bytesRead + work.bytesWritten) / profile.bandwidth,
                   work.exps / profile.expRate});
}
} // namespace

double DeviceProfile::analyticNs(const KernelWork &work, plan::Precision precision) const {
  return static_cast<double>(launchNs) + workNs(*this, work, precision);
}

int64_t DeviceProfile::costNs(const KernelWork &work, plan::Precision precision) const {
  const auto launches = static_cast<double>(work.launches);
  const double once = measuredNs(*this, work, precision);
  const double ns = once > 0 ? launches * std::round(once)
                             : launches * static_cast<double>(launchNs) +
                                   std::ceil(workNs(*this, work, precision));
  // 2^63 is the first double that an int64 cannot hold.
  if (!(ns < 0x1p63))
    return std::numeric_limits<int64_t>::max();
  return std::max<int64_t>(1, static_cast<int64_t>(ns));
}

std::string DeviceProfile::kindText(plan::Precision precision) const {
  if (!measured)
    return "analytic";
  for (const HeldOutError &error : measured->heldOut) {
    if (error.precision != precision)
      continue;
    char text[128];
    std::snprintf(text, sizeof text, "measured, mean error %.1f %% on %lld held-out calls",
                  100 * error.mean, static_cast<long long>(error.calls));
    return text;
  }
  return "measured, but not " + std::string(plan::precisionName(precision)) +
         ", whose times are analytic";
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
