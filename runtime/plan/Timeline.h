//===- Timeline.h - where a plan's memory goes, in time ---------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// For reports and pictures: read off the plan's own alloc and free steps. Decides nothing.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/plan/Plan.h"

#include <cstdint>
#include <string>
#include <vector>

namespace evo::plan {

/// Memory of a procedure's frame while one of its steps runs.
struct FrameMoment {
  std::string location;      ///< of the kernel step
  int32_t step = 0;          ///< its id
  int64_t liveBytes = 0;     ///< sum of the live frame buffers, each aligned
  int64_t height = 0;        ///< highest end of a live frame buffer
  int64_t costNs = 0;        ///< of the step
  std::vector<int32_t> live; ///< indices into Procedure::buffers, largest first
};

/// One moment a kernel step, loops' bodies once.
std::vector<FrameMoment> frameTimeline(const Procedure &procedure);

/// The first moment with the most live bytes; nothing for a procedure without kernels.
std::optional<FrameMoment> framePeak(const Procedure &procedure);

/// "12.3 MiB", with three significant digits; bytes below 1 KiB as they are.
std::string formatBytes(int64_t bytes);

} // namespace evo::plan
