//===- DeviceProfile.h - what a device can do -------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// The only place for hardware numbers ("evo.profile/1"). The built-in profiles are the files of
// examples/profiles, embedded at build time. Analytic: a kernel takes
//   launch + max(flops / peak(class), bytes / bandwidth, exps / expRate), rounded up to whole
//   nanoseconds.
// A profile may have a measured part (MeasuredTable.h), which `evo-run --calibrate` writes. The
// analytic time is then only the axis along which measured times are interpolated, and the price
// of what was not measured.
//
// Format, table and interpolation live here, in compiler/cost, and evo-run links this library: the
// loop that measures is in runtime/core (Calibrate.h) and knows no table, and what both share, the
// work of a call, is in runtime/plan (KernelWork.h).
//===----------------------------------------------------------------------===//
#pragma once

#include "compiler/cost/MeasuredTable.h"
#include "runtime/plan/DType.h"
#include "runtime/plan/KernelWork.h"
#include "runtime/plan/ProductTable.h"
#include "runtime/plan/Status.h"

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace evo::cost {

using plan::KernelWork;
using plan::WorkClass;

struct DeviceProfile {
  std::string name;           ///< "NVIDIA H100 80GB HBM3 (analytic)"
  std::string backend;        ///< "cuda" | "cpu"
  int64_t memoryBytes = 0;    ///< what the device has: the default of --memory
  int64_t libraryBytes = 0;   ///< context, modules, graphs: what libraries take outside the arena
  int64_t workspaceBytes = 0; ///< what kernels and libraries need in the arena while they run
  /// FLOP/s of matrix products, by plan::Precision.
  std::array<double, 5> matmulFlops{};
  double vectorFlops = 0; ///< FLOP/s outside matrix products (fp32)
  double bandwidth = 0;   ///< bytes/s of device memory
  double expRate = 0;     ///< exponentials/s
  int64_t launchNs = 0;   ///< of one kernel
  std::optional<MeasuredTable> measured;
  plan::ProductTable products; ///< empty: the library's proposals

  /// The analytic time of one launch, not rounded.
  double analyticNs(const KernelWork &work, plan::Precision precision) const;
  /// Whole nanoseconds of one kernel call; at least 1. Measured, to the nearest, where the table
  /// has the kernel in this precision, else analytic.
  int64_t costNs(const KernelWork &work, plan::Precision precision) const;

  /// "analytic", or what was measured and how well the table tells calls that are not in it:
  /// "measured, 3.1 % mean error on 88 held-out calls".
  std::string kindText(plan::Precision precision) const;
};

/// Errors name the key, expected and got.
Result<DeviceProfile> parseDeviceProfile(std::string_view text, std::string_view fileName);
Result<DeviceProfile> readDeviceProfile(const std::string &path);
/// The profile as a file's contents: the same bytes for the same profile; parsing them gives it
/// back.
std::string printDeviceProfile(const DeviceProfile &profile);

/// "h100" (the default of --profile), "h200", "cpu".
std::span<const std::string_view> builtinProfileNames();
Result<DeviceProfile> builtinProfile(std::string_view name);

} // namespace evo::cost
