//===- Training.cpp ---------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "runtime/core/Training.h"

#include "runtime/core/Clock.h"
#include "runtime/core/TensorFile.h"

namespace evo {

Result<Training> Training::create(const plan::Plan &plan, const RunOptions &options) {
  Training training(options);
  if (plan.optimizer)
    training.optimizer = plan::optimizerName(plan.optimizer->kind);
  if (options.steps > 0 && (options.targets.empty() || !plan.optimizer))
    return Status::error(ErrorCode::Usage,
                         options.targets.empty()
                             ? "expected --targets with --steps, got none"
                             : "expected a plan with an optimizer for --steps, got one without "
                               "(give the specification an 'optimizer')");
  if (options.targets.empty())
    return training;
  EVO_ASSIGN(std::vector<HostTensor> targets, readTensorFile(options.targets));
  EVO_ASSIGN(training.loss, MeanSquaredError::create(plan, std::move(targets), options.targets,
                                                     options.threads, options.checkFinite));
  return training;
}

Status Training::attach(const plan::Plan &plan, Backend &backend, std::byte *arena,
                        std::byte *staticPart) {
  if (!plan.optimizer)
    return {};
  Result<TrainingState> created = TrainingState::create(plan, backend, arena, staticPart);
  if (!created)
    return created.status();
  state.emplace(*std::move(created));
  EVO_TRY(state->reset());
  EVO_ASSIGN(scalars, state->scalars());
  return {};
}

Status Training::load() {
  if (!state)
    return Status::error(ErrorCode::Usage, "expected a plan with an optimizer for --load-state, "
                                           "got one without");
  EVO_ASSIGN(uint32_t saved, state->load(options.loadState));
  seed = options.dropoutSeed.value_or(saved);
  EVO_ASSIGN(scalars, state->scalars());
  return {};
}

Status Training::setMaster(size_t weight, const ElementReader &read) {
  return state ? state->setMaster(weight, read, options.threads) : Status::success();
}

Status Training::computeCotangents(Backend &backend, std::byte *arena) {
  double start = nowMs();
  usedScale = state ? scalars.lossScale : 1;
  EVO_ASSIGN(lastLoss, loss->evaluate(backend, arena, usedScale));
  EVO_TRY(loss->uploadCotangents(backend, arena));
  lossMs += nowMs() - start;
  return {};
}

Status Training::finishStep() {
  double before = scalars.steps;
  EVO_ASSIGN(scalars, state->scalars());
  taken.push_back({static_cast<int64_t>(before) + 1, lastLoss, usedScale, scalars.steps == before});
  return {};
}

Status Training::save(OutputFile &file) const {
  if (!state)
    return Status::error(ErrorCode::Usage, "expected a plan with an optimizer for --save-state, "
                                           "got one without");
  return state->save(file, seed);
}

void Training::fillReport(RunReport &report) const {
  report.targets = options.targets;
  report.loadState = options.loadState;
  report.saveState = options.saveState;
  report.lossCurve = options.lossCurve;
  if (!hasLoss())
    return;
  report.loss = lastLoss;
  report.lossMs = lossMs;
  if (options.steps == 0)
    return;
  report.optimizer = optimizer;
  report.steps = taken;
  report.lossScale = scalars.lossScale;
}

} // namespace evo
