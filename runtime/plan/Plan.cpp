//===- Plan.cpp -------------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "runtime/plan/Plan.h"

#include <algorithm>
#include <array>

namespace evo::plan {

std::string_view baseName(Base base) {
  static constexpr std::array<std::string_view, kBases> names = {"tensor", "frame",    "saved",
                                                                 "weight", "gradient", "state"};
  return names[static_cast<size_t>(base)];
}

std::string_view stateName(StateKind kind) {
  static constexpr std::array<std::string_view, 4> names = {"first_moment", "master", "momentum",
                                                            "second_moment"};
  return names[static_cast<size_t>(kind)];
}

std::optional<StateKind> parseStateKind(std::string_view name) {
  for (StateKind kind :
       {StateKind::FirstMoment, StateKind::Master, StateKind::Momentum, StateKind::SecondMoment})
    if (stateName(kind) == name)
      return kind;
  return std::nullopt;
}

std::string_view optimizerName(OptimizerKind kind) {
  return kind == OptimizerKind::Adamw ? "adamw" : "sgd";
}

std::string_view laneName(Lane lane) {
  return lane == Lane::Communication ? "communication" : "compute";
}

std::string_view phaseName(Phase phase) {
  static constexpr std::array<std::string_view, 3> names = {"forward", "backward", "optimizer"};
  return names[static_cast<size_t>(phase)];
}

std::optional<Phase> parsePhase(std::string_view name) {
  for (Phase phase : {Phase::Forward, Phase::Backward, Phase::Optimizer})
    if (phaseName(phase) == name)
      return phase;
  return std::nullopt;
}

std::string_view modeName(Mode mode) { return mode == Mode::Train ? "train" : "infer"; }

std::string defaultLocation(const Procedure &procedure, Kernel kernel) {
  return procedure.module + "/" + std::string(kernelInfo(kernel).mnemonic);
}

const Tensor *workspaceOf(const Plan &plan) {
  auto found = std::find_if(plan.tensors.begin(), plan.tensors.end(),
                            [](const Tensor &tensor) { return tensor.name == kWorkspaceTensor; });
  return found == plan.tensors.end() ? nullptr : &*found;
}

bool goesDown(const Plan &plan, const Program &program, const BlockRun &run) {
  return program.phase == Phase::Backward &&
         std::any_of(run.calls.begin(), run.calls.end(), [&](const Call &call) {
           return call.procedure >= 0 &&
                  static_cast<size_t>(call.procedure) < plan.procedures.size() &&
                  plan.procedures[static_cast<size_t>(call.procedure)].phase == Phase::Backward;
         });
}

} // namespace evo::plan
