//===- DeviceProfile.h - what a device can do -------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// The only place for hardware numbers ("evo.profile/1"). The built-in profiles are the files of
// examples/profiles, embedded at build time. Analytic: a kernel takes
//   launch + max(flops / peak(class), bytes / bandwidth, exps / expRate), rounded up to whole
//   nanoseconds.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/plan/DType.h"
#include "runtime/plan/Status.h"

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace evo::cost {

/// Which of the device's peaks bounds a kernel's arithmetic.
enum class WorkClass : uint8_t { Matmul, Vector };

/// What one kernel call does, counted by the kernel's own interface.
struct KernelWork {
  WorkClass workClass = WorkClass::Vector;
  double flops = 0;
  double bytesRead = 0;
  double bytesWritten = 0;
  double exps = 0; ///< exponentials (softmax, sigmoid)
  int64_t launches = 1;
};

struct DeviceProfile {
  std::string name;         ///< "NVIDIA H100 80GB HBM3 (analytic)"
  std::string backend;      ///< "cuda" | "cpu"
  int64_t memoryBytes = 0;  ///< what the device has: the default of --memory
  int64_t libraryBytes = 0; ///< context, modules, library workspaces outside the arena
  /// FLOP/s of matrix products, by plan::Precision.
  std::array<double, 5> matmulFlops{};
  double vectorFlops = 0; ///< FLOP/s outside matrix products (fp32)
  double bandwidth = 0;   ///< bytes/s of device memory
  double expRate = 0;     ///< exponentials/s
  int64_t launchNs = 0;   ///< of one kernel

  /// Whole nanoseconds of one kernel call; at least 1.
  int64_t costNs(const KernelWork &work, plan::Precision precision) const;
};

/// Errors name the key, expected and got.
Result<DeviceProfile> parseDeviceProfile(std::string_view text, std::string_view fileName);
Result<DeviceProfile> readDeviceProfile(const std::string &path);

/// "h100" (the default of --profile), "h200", "cpu".
std::span<const std::string_view> builtinProfileNames();
Result<DeviceProfile> builtinProfile(std::string_view name);

} // namespace evo::cost
