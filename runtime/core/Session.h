//===- Session.h - one run, from files to files -----------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/core/Backend.h"
#include "runtime/core/Report.h"

#include <functional>
#include <optional>

namespace evo {

struct RunOptions {
  std::string planPath;        ///< for the report
  std::string weights, inputs; ///< files; empty: random ones
  std::string cotangents;      ///< training: gradients of the loss by m and z; empty: random ones
  std::string targets;         ///< training: of the loss, instead of cotangents
  int64_t steps = 0;           ///< training: optimizer steps; 0: none, the weights stay
  std::string loadState, saveState; ///< training: weights and optimizer state to begin and end with
  std::string lossCurve;            ///< training: a picture to write
  std::string outputs, json, trace; ///< files to write; empty: none
  std::string gradients;            ///< training: gradients by m, z and the parameters
  std::optional<std::string> weightsPrefix;
  uint64_t randomSeed = 0;
  std::optional<uint32_t> dropoutSeed; ///< training: of the masks of dropout; default: the loaded
                                       ///< state's, else 0
  int64_t iterations = 1;
  int64_t warmup = 1;
  int threads = 1; ///< of the host, for conversions; never changes a result
  bool checkFinite = false;
  /// `what` is "warm-up 1/1", "iteration 2/5" or "step 7/100, loss 0.123, 4.5 steps/s".
  std::function<void(std::string_view what, int64_t block, int64_t blocks)> onBlock;
};

/// An error of a device out of memory, with all that the plan needs of it and, where it is known,
/// what was free before any of it was allocated; any other status as it is.
Status withMemoryNeeds(const Status &status, const plan::Plan &plan,
                       std::optional<int64_t> freeBytes);

/// Verifies the plan, binds every tensor, allocates, runs and reports. Files to write are opened
/// first and get their names only when everything has succeeded. A trace is of the last iteration.
/// What runs out of the device's memory says what the plan needs of it, and what was free.
Result<RunReport> runPlan(const plan::Plan &plan, Backend &backend, const RunOptions &options);

} // namespace evo
