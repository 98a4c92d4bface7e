//===- Training.h - what a run does between its programs --------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// The loss between forward and backward, the optimizer's numbers behind it, and the state that a
// run begins and ends with.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/core/Loss.h"
#include "runtime/core/Session.h"
#include "runtime/core/TrainingState.h"

namespace evo {

class Training {
public:
  /// Reads and binds the targets, where there are some.
  static Result<Training> create(const plan::Plan &plan, const RunOptions &options);

  /// Finds the optimizer's state in the run's memory and sets it to that of a first step.
  Status attach(const plan::Plan &plan, Backend &backend, std::byte *arena, std::byte *staticPart);
  /// Takes weights and state from the file to load.
  Status load();
  /// Where a parameter has a master, sets it from its weight's source.
  Status setMaster(size_t weight, const ElementReader &read);

  bool hasLoss() const { return loss.has_value(); }
  /// Behind the forward program: the loss, and its gradients as cotangents.
  Status computeCotangents(Backend &backend, std::byte *arena);
  /// Behind the optimizer program: what it did.
  Status finishStep();
  /// What the masks of dropout are keyed by.
  uint32_t dropoutSeed() const { return seed; }
  uint32_t stepIndex() const { return static_cast<uint32_t>(scalars.steps); }
  /// What the gradients of the last backward program are times too large.
  double gradientScale() const { return hasLoss() && state ? usedScale : 1; }

  Status save(OutputFile &file) const;
  void fillReport(RunReport &report) const;
  const std::vector<StepReport> &steps() const { return taken; }

private:
  explicit Training(const RunOptions &options)
      : options(options), seed(options.dropoutSeed.value_or(0)) {}

  const RunOptions &options;
  uint32_t seed;         ///< of dropout
  std::string optimizer; ///< its name; empty: none
  std::optional<MeanSquaredError> loss;
  std::optional<TrainingState> state;
  OptimizerScalars scalars; ///< of the next step
  double usedScale = 1, lastLoss = 0, lossMs = 0;
  std::vector<StepReport> taken;
};

} // namespace evo
