//===- Timeline.h - where a plan's memory goes, in time ---------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// For reports, pictures and what the summary says of idle memory: read off the plan's own steps.
// Decides nothing.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/plan/Plan.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace evo::plan {

/// Memory of a procedure's frame while one of its steps runs.
struct FrameMoment {
  std::string location;      ///< of the kernel step
  int32_t step = 0;          ///< its id
  int64_t liveBytes = 0;     ///< sum of the live frame buffers, each aligned
  int64_t height = 0;        ///< highest end of a live frame buffer
  int64_t startNs = 0;       ///< of the step, from the procedure's start
  int64_t costNs = 0;        ///< of the step, all iterations of the loops around it
  std::vector<int32_t> live; ///< indices into Procedure::buffers, largest first
};

/// One moment a kernel step, loops' bodies once.
std::vector<FrameMoment> frameTimeline(const Procedure &procedure);

/// The first moment with the most live bytes; nothing for a procedure without kernels.
std::optional<FrameMoment> framePeak(const Procedure &procedure);

/// When a frame buffer lives, from the procedure's start. A loop's body is laid out once, each of
/// its steps as long as all its iterations.
struct FrameLife {
  int32_t buffer = 0; ///< index into Procedure::buffers
  int64_t beginNs = 0;
  int64_t endNs = 0;
};

/// One life an alloc step, in their order.
std::vector<FrameLife> frameLives(const Procedure &procedure);

/// Where the arena is fullest.
struct PlanPeak {
  int32_t program = 0, run = 0, call = 0; ///< indices, each into the one before
  int64_t block = 0;                      ///< the first that gets there
  bool everyBlock = false;                ///< of its run
  int64_t startNs = 0;                    ///< of the step, from the plan's start
  FrameMoment moment;
};

/// Bytes of the arena's slots: streams, gradients, masks, scalars and workspace, those that share
/// one counted once.
int64_t slotBytes(const Plan &plan);
/// Of them, those of the kernels' workspace.
int64_t workspaceBytes(const Plan &plan);
/// Where the call's frame begins in the block of its run in which it lies highest, the last.
/// Between the slots and it lies what is kept then.
int64_t highestFrame(const BlockRun &run, const Call &call);

/// In the first call with the highest end in the arena; nothing for a plan without kernels.
std::optional<PlanPeak> planPeak(const Plan &plan);

/// The most bytes of the arena that are alive at once, over all kernel steps of all calls: its
/// slots, what is kept and still to be read, and the live buffers of the frame. What a loop uses
/// lives as long as it. No placement needs less. Of a verified plan.
int64_t largestLiveBytes(const Plan &plan);

/// Of a verified plan, or of one whose calls and buffers are in their ranges.
IdleBytes idleBytes(const Plan &plan);

/// "12.3 MiB", with three significant digits; bytes below 1 KiB as they are.
std::string formatBytes(int64_t bytes);

} // namespace evo::plan
