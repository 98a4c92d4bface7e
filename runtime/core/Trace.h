//===- Trace.h - what ran when ----------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// One event a kernel call, written in the format of chrome://tracing and Perfetto.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/core/FileIo.h"
#include "runtime/plan/Plan.h"

#include <vector>

namespace evo {

struct TraceEvent {
  int32_t procedure = 0; ///< index into Plan::procedures
  int32_t step = 0;      ///< the step's id in the procedure
  int64_t block = 0;
  int64_t startNs = 0; ///< since the first of the traced programs began
  int64_t durationNs = 0;
  int64_t bytes = 0; ///< of the operands
};

struct Trace {
  std::vector<TraceEvent> events;
  int64_t originNs = 0; ///< of the clock: when that program began; 0 before
};

/// Times in the file are microseconds, as the format asks.
Status writeTrace(OutputFile &file, const plan::Plan &plan, const Trace &trace);

} // namespace evo
