//===- Executor.h - runs a program of a plan --------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// Views become operands once, when the executor is made; a call only adds its bases and the
// positions of its loops. Steps are launched in the plan's order on one queue, which fulfils every
// wait. Where the backend records launches, the first run of a program is recorded behind it, in
// pieces of a bounded number, and later runs give the device a piece at a time (LaunchQueue.h).
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/core/Backend.h"
#include "runtime/core/Trace.h"
#include "runtime/plan/Plan.h"

#include <functional>
#include <memory>

namespace evo {

/// The kernel steps of a procedure, loops' bodies in order: their positions are the steps' ids.
std::vector<const plan::KernelStep *> kernelSteps(const plan::Procedure &procedure);

struct RunHooks {
  /// After each block: blocks that have been launched, and all that the program has.
  std::function<void(int64_t done, int64_t total)> onBlock;
  /// Collects an event a kernel; the device is synchronized behind each.
  Trace *trace = nullptr;
  int rank = 0;
  uint32_t dropoutSeed = 0; ///< of the masks of dropout
  uint32_t step = 0;        ///< number of the optimizer's step: each has its own masks
};

class Executor {
public:
  /// `plan` has passed plan::checkPlan and outlives the executor, as do the backend and the memory:
  /// an arena of plan.arenaBytes and a static part with the weights of all blocks.
  static Result<std::unique_ptr<Executor>> create(const plan::Plan &plan, Backend &backend,
                                                  std::byte *arena, std::byte *staticPart);
  ~Executor();

  /// Launches the program of `phase` and waits for its end. Errors name rank, device, procedure,
  /// block, step and where the step came from.
  Status run(plan::Phase phase, const RunHooks &hooks = {});
  /// The device's launches in recordings, which take memory of it beside the arena; 0 where the
  /// backend records none.
  int64_t recordedLaunches() const;

private:
  struct Impl;
  explicit Executor(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl;
};

} // namespace evo
