//===- Sweep.h - the frontier of time against memory ------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// What a plan of policy auto takes at every budget, and the reports on it.
//===----------------------------------------------------------------------===//
#pragma once

#include "passes/Compile.h"

#include <optional>
#include <span>
#include <string>
#include <vector>

namespace evo {

/// The time of the fastest plan within a budget; nothing where none fits. `steps`: a frontier's.
std::optional<int64_t> timeWithin(std::span<const SweepPoint> steps, int64_t budgetBytes);

/// At most `count` (at least 2) points of the frontier: its ends, then the budgets of `wanted` that
/// lie between them, then steps that divide what is between these evenly in the logarithm of bytes.
std::vector<SweepPoint> spreadPoints(std::span<const SweepPoint> steps,
                                     std::span<const int64_t> wanted, size_t count);

/// What the reports tell.
struct SweepReport {
  plan::ModelInfo model;
  plan::Precision precision = plan::Precision::Fp32;
  plan::Mode mode = plan::Mode::Infer;
  std::string profile;
  int64_t budgetBytes = 0;
  std::string command; ///< what makes the plan of a point, but for its --memory
  Sweep sweep;
  std::vector<SweepPoint> points; ///< of sweep.steps
};

/// Errors: those of the search, for example of a stack that it does not take (Unsupported).
Result<SweepReport> sweep(const spec::ModelSpec &spec, const Target &target, size_t points,
                          mlir::MLIRContext &context);

std::string sweepText(const SweepReport &report);
/// `sweepMs` is the wall time that the tool measured.
std::string sweepJson(const SweepReport &report, double sweepMs);
std::string sweepHtml(const SweepReport &report);

/// A picture (an svg element): predicted time over memory.
std::string frontierSvg(const SweepReport &report);

} // namespace evo
