//===- Calibrate.h - evo-run --calibrate ------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/core/Backend.h"
#include "runtime/core/CommandLine.h"

#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace evo {

struct CalibrateRequest {
  std::vector<plan::Precision> precisions; ///< empty: all that the backend has
  int64_t rounds = 3;                      ///< samples of each call
  std::string output;                      ///< the profile's file
  std::string json;                        ///< the report's; empty: none
  std::function<void(std::string_view what, int64_t done, int64_t all)> onCall;
};

/// What --calibrate takes of the command line; a flag that it does not know is wrong usage.
Result<CalibrateRequest> readCalibration(const CommandLine &line, std::span<const Flag> flags);

/// Measures the backend, fits a profile and writes it; returns the report for the screen.
Result<std::string> calibrate(Backend &backend, const CalibrateRequest &request);

} // namespace evo
