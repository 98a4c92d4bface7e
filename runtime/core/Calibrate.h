//===- Calibrate.h - how long kernels take on this device -------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// Measures calls of every kernel through the backend interface. What becomes of the times, a table
// and its errors, is compiler/cost's (Fit.h).
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/core/Backend.h"
#include "runtime/core/Clock.h"
#include "runtime/plan/KernelWork.h"

#include <functional>
#include <optional>
#include <span>
#include <vector>

namespace evo {

/// A call to measure: shapes are those of the operands in the order of Kernels.def, nothing for an
/// absent one.
struct CalibrationCall {
  plan::Kernel kernel = plan::Kernel::Copy;
  plan::KernelAttributes attributes;
  std::vector<std::optional<std::vector<int64_t>>> shapes;
  int32_t series = 0;   ///< calls of one series differ in their rows alone
  bool heldOut = false; ///< for testing the table: about a fifth of the calls
};

/// The largest calls of each series: beyond them time is taken to grow with the work.
struct CalibrationLimits {
  double mostFlops = 1e9;
  double mostBytes = 64e6; ///< of elements of 4 bytes
  size_t mostCalls = 6;    ///< of a series
  /// Also the layers and lengths between those of the coarse grid, and longer ones: kernels of a
  /// GPU change their ways with the shape, and a call there takes little time.
  bool isFine = false;
};

/// Calls of all kernels at the channels of the AlphaFold models and lengths up to 512 (2048 where
/// the grid is fine), rows 4 times as many from call to call. The same limits give the same list.
std::vector<CalibrationCall> calibrationCalls(const CalibrationLimits &limits);

struct CalibrationOptions {
  std::vector<plan::Precision> precisions;
  /// Each round samples all calls, so that what else the machine does for a moment meets a call
  /// once and not in all its samples. A call's time is the median over the rounds.
  int rounds = 3;
  int64_t sampleNs = 400'000; ///< a sample repeats the call for about this long
  /// Repeats go through this much memory, as far as 64 places allow: a step's operands were written
  /// by other kernels, and few of them are still in the first caches.
  int64_t coldBytes = 32'000'000;
  /// Where one thread does all the work, `threadNs` leaves out what other programs do.
  std::function<int64_t()> clock = nowNs;
  /// Called before each sample.
  std::function<void(int64_t done, int64_t all)> onCall;
};

/// Times each call in each precision, on random data, with products computed as the backend's
/// library was found to do it most quickly; its table is complete then. A kernel that the backend
/// says is unsupported has no samples; any other error ends the measurement.
Result<std::vector<plan::CalibrationSample>> measureCalls(Backend &backend,
                                                          std::span<const CalibrationCall> calls,
                                                          const CalibrationOptions &options);

} // namespace evo
