//===- VerifyOptimizer.cpp - state of the weights, and its updates -*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "runtime/plan/VerifyParts.h"

#include <algorithm>
#include <cmath>
#include <map>

namespace evo::plan {

namespace {

/// What lies where in a block's state.
using Places = std::map<int64_t, std::pair<int64_t, std::string>>; ///< offset: end and name

Verdict verifyPlaces(const Weight &weight, DType dtype, const Path &path, Places &places) {
  int64_t bytes = byteSize(weight.shape, dtype).value_or(0); // the gradient's, which has passed
  for (size_t i = 0; i < weight.states.size(); ++i) {
    const WeightState &state = weight.states[i];
    if (i > 0 && state.kind <= weight.states[i - 1].kind)
      return violates(0, path.at("states"), "each kind once, in the order of their names",
                      makeText("'", stateName(state.kind), "' behind '",
                               stateName(weight.states[i - 1].kind), "'"));
    Path place = path.at("states");
    Path own = place.at(stateName(state.kind));
    if (state.offset < 0 || state.offset > kMaxEnd - bytes)
      return violates(8, own, makeText("an offset from 0 to ", kMaxEnd - bytes),
                      makeText(state.offset));
    if (state.offset % kAlignment != 0)
      return violates(8, own, makeText("a multiple of ", kAlignment), makeText(state.offset));
    std::string name = makeText(stateName(state.kind), ".", weight.name);
    auto [entry, inserted] =
        places.try_emplace(state.offset, std::pair(state.offset + bytes, name));
    if (!inserted)
      return violates(9, own, makeText("an offset apart from that of '", entry->second.second, "'"),
                      makeText(state.offset));
  }
  return {};
}

Verdict verifyApart(const Places &places, const Path &root) {
  const std::pair<int64_t, std::string> *below = nullptr;
  for (const auto &[offset, place] : places) {
    if (below && offset < below->first)
      return violates(9, root.at("weights"),
                      makeText("'", place.second, "' at ", below->first, " or behind, the end of '",
                               below->second, "'"),
                      makeText(offset));
    below = &place;
  }
  return {};
}

/// The kernel that updates weights for an optimizer.
Kernel stepOf(OptimizerKind kind) {
  return kind == OptimizerKind::Sgd ? Kernel::SgdStep : Kernel::AdamwStep;
}

/// Where operand `name` of a step that updates weight `weight` is: the buffer's base and name.
std::pair<Base, std::string> placeOf(std::string_view name, std::string_view weight) {
  if (name == "scalars")
    return {Base::Tensor, std::string(kOptimizerTensor)};
  if (name == "weight" || name == "new_weight")
    return {Base::Weight, std::string(weight)};
  if (name == "gradient")
    return {Base::Gradient, makeText(kGradientPrefix, weight)};
  if (name.starts_with("new_"))
    name.remove_prefix(4);
  if (name == "velocity")
    name = stateName(StateKind::Momentum);
  return {Base::State, makeText(name, ".", weight)};
}

/// A step updates elements of one weight, in place, by their gradient and with their state.
Verdict verifyStepOperands(const Procedure &procedure, const KernelStep &step, const Path &path) {
  const KernelInfo &info = kernelInfo(step.kernel);
  const View &weight = *step.operands[static_cast<size_t>(info.operandIndex("weight"))];
  const std::string &name = procedure.buffers[weight.buffer].name;
  for (size_t i = 0; i < info.operands.size(); ++i) {
    if (!step.operands[i])
      continue;
    const View &view = *step.operands[i];
    const Buffer &got = procedure.buffers[view.buffer];
    auto [base, expected] = placeOf(info.operands[i].name, name);
    Path operand = path.at(info.operands[i].name);
    if (got.base != base || got.name != expected)
      return violates(6, operand.at("buffer"),
                      makeText("'", expected, "' in a step of '", name, "'"),
                      makeText("'", got.name, "'"));
    if (info.operands[i].name != "scalars" &&
        (view.start != weight.start || view.extent != weight.extent || view.order != weight.order))
      return violates(6, operand, makeText("the elements of '", name, "' that the step updates"),
                      "others");
  }
  return {};
}

/// Gradients are counted in the scalars, which are advanced in place.
Verdict verifyScalarsOf(const Procedure &procedure, const KernelStep &step, const Path &path) {
  const KernelInfo &info = kernelInfo(step.kernel);
  for (size_t i = 0; i < info.operands.size(); ++i) {
    const Buffer &got = procedure.buffers[step.operands[i]->buffer];
    Path operand = path.at(info.operands[i].name);
    if (info.operands[i].name == "x" && got.base != Base::Gradient)
      return violates(6, operand.at("buffer"), "the gradient of a weight",
                      makeText("'", got.name, "'"));
    if (info.operands[i].name != "x" && (got.base != Base::Tensor || got.name != kOptimizerTensor))
      return violates(6, operand.at("buffer"), makeText("'", kOptimizerTensor, "'"),
                      makeText("'", got.name, "'"));
  }
  return {};
}

/// What the optimizer's own kernels write is written by no other.
Verdict verifyOther(const Procedure &procedure, const KernelStep &step, const Path &path) {
  const KernelInfo &info = kernelInfo(step.kernel);
  for (size_t i = 0; i < info.operands.size(); ++i) {
    if (!info.operands[i].isOutput() || !step.operands[i])
      continue;
    const Buffer &got = procedure.buffers[step.operands[i]->buffer];
    if (got.base == Base::Weight || got.base == Base::State ||
        (got.base == Base::Tensor && got.name == kOptimizerTensor))
      return violates(6, path.at(info.operands[i].name),
                      makeText("'", got.name, "' to be written by the optimizer's kernels alone"),
                      info.mnemonic);
  }
  return {};
}

/// Steps of another optimizer than the plan's are steps that its state and its reader know nothing
/// of.
Verdict verifyKernels(const Plan &plan, const Procedure &procedure, const std::vector<Step> &steps,
                      const Path &parent, std::string_view field) {
  for (size_t i = 0; i < steps.size(); ++i) {
    Path path = parent.at(field, i);
    if (const auto *kernel = std::get_if<KernelStep>(&steps[i].value)) {
      bool step = isOptimizerStep(kernel->kernel);
      if (step && kernel->kernel != stepOf(plan.optimizer->kind))
        return violates(0, path.at("kernel"), kernelInfo(stepOf(plan.optimizer->kind)).mnemonic,
                        kernelInfo(kernel->kernel).mnemonic);
      if (step)
        EVO_VERIFY(verifyStepOperands(procedure, *kernel, path.at("operands")));
      if (kernel->kernel == Kernel::CountNonfinite || kernel->kernel == Kernel::AdvanceOptimizer)
        EVO_VERIFY(verifyScalarsOf(procedure, *kernel, path.at("operands")));
      else if (!step)
        EVO_VERIFY(verifyOther(procedure, *kernel, path.at("operands")));
    } else if (const auto *loop = std::get_if<LoopStep>(&steps[i].value)) {
      EVO_VERIFY(verifyKernels(plan, procedure, loop->body, path, "body"));
    }
  }
  return {};
}

Verdict expectOnce(int64_t got, const Path &path, std::string_view what) {
  if (got == 1)
    return {};
  return violates(1, path, makeText("one update of ", what, " in every block"), makeText(got));
}

/// Updates of one block, summed over the calls for all blocks; the others make none.
Verdict verifyUpdates(const Plan &plan, const std::vector<ProcedureFacts> &facts,
                      const Program &program, const Path &path) {
  std::vector<int64_t> updates(plan.weights.size());
  std::vector<std::vector<int64_t>> states;
  for (const Weight &weight : plan.weights)
    states.emplace_back(weight.states.size());
  for (size_t i = 0; i < program.runs.size(); ++i) {
    const BlockRun &run = program.runs[i];
    Path runPath = path.at("runs", i);
    for (size_t j = 0; j < run.calls.size(); ++j) {
      const ProcedureFacts &fact = facts[run.calls[j].procedure];
      for (size_t k = 0; k < updates.size(); ++k) {
        int64_t made = fact.updates[k];
        for (size_t s = 0; s < states[k].size(); ++s) {
          made = std::max<int64_t>(made, fact.stateUpdates[k][s]);
          states[k][s] += fact.stateUpdates[k][s];
        }
        updates[k] += fact.updates[k];
        if (made > 0 && run.blockCount != plan.model.blocks)
          return violates(1, runPath.at("calls", j),
                          makeText("updates of '", plan.weights[k].name, "' in all blocks"),
                          makeText("one in ", run.blockCount));
      }
    }
  }
  for (size_t k = 0; k < updates.size(); ++k) {
    EVO_VERIFY(expectOnce(updates[k], path.at("runs"), makeText("'", plan.weights[k].name, "'")));
    for (size_t s = 0; s < states[k].size(); ++s)
      EVO_VERIFY(expectOnce(states[k][s], path.at("runs"),
                            makeText("'", stateName(plan.weights[k].states[s].kind), ".",
                                     plan.weights[k].name, "'")));
  }
  return {};
}

/// What the optimizer keeps in the arena is nobody else's.
Verdict verifyScalars(const Plan &plan, const std::vector<ProcedureFacts> &facts,
                      const Program &optimizer, const Path &root) {
  for (size_t t = 0; t < plan.tensors.size(); ++t) {
    const std::string &name = plan.tensors[t].name;
    auto holds = [&](const std::vector<std::string> &names) {
      return std::find(names.begin(), names.end(), name) != names.end();
    };
    if (!holds(optimizer.inputs))
      continue;
    for (size_t i = 0; i < plan.programs.size(); ++i)
      if (&plan.programs[i] != &optimizer && holds(plan.programs[i].inputs))
        return violates(4, root.at("programs", i).at("inputs"),
                        makeText("tensor '", name, "' to be the optimizer's alone"), "it");
    for (size_t i = 0; i < facts.size(); ++i)
      if (facts[i].writes[t] && plan.procedures[i].phase != Phase::Optimizer)
        return violates(4, root.at("procedures", i),
                        makeText("no write of tensor '", name, "' but by the optimizer"), "one");
  }
  return {};
}

} // namespace

std::optional<StateIndex> stateOfBuffer(const Plan &plan, std::string_view bufferName) {
  size_t dot = bufferName.find('.');
  if (dot == std::string_view::npos)
    return std::nullopt;
  std::optional<StateKind> kind = parseStateKind(bufferName.substr(0, dot));
  if (!kind)
    return std::nullopt;
  for (size_t i = 0; i < plan.weights.size(); ++i)
    for (size_t s = 0; s < plan.weights[i].states.size(); ++s)
      if (plan.weights[i].name == bufferName.substr(dot + 1) &&
          plan.weights[i].states[s].kind == *kind)
        return StateIndex{i, s};
  return std::nullopt;
}

Verdict verifyStates(const Plan &plan) {
  Path root;
  bool optimized = programOf(plan, Phase::Optimizer) != nullptr;
  if (optimized && !programOf(plan, Phase::Backward))
    return violates(0, root.at("programs"), "a backward program beside the optimizer", "none");
  if (optimized != plan.optimizer.has_value())
    return violates(0, root.at("optimizer"),
                    optimized ? "what the optimizer program is" : "none without its program",
                    optimized ? "none" : "one");
  if (optimized && !(std::isfinite(plan.optimizer->lossScale) && plan.optimizer->lossScale > 0))
    return violates(0, root.at("optimizer").at("loss_scale"), "a finite number above 0", "another");
  Places places;
  for (size_t i = 0; i < plan.weights.size(); ++i) {
    Path path = root.at("weights", i);
    if (!optimized && !plan.weights[i].states.empty())
      return violates(0, path.at("states"), "none without an optimizer",
                      makeText(plan.weights[i].states.size()));
    EVO_VERIFY(verifyPlaces(plan.weights[i], statisticType(plan.precision), path, places));
  }
  EVO_VERIFY(verifyApart(places, root));
  int64_t end = places.empty() ? 0 : alignTo(places.rbegin()->second.first);
  if (plan.stateBlockBytes != end)
    return violates(10, root.at("state_block_bytes"), makeText(end),
                    makeText(plan.stateBlockBytes));
  return {};
}

Verdict verifyOptimizerRuns(const Plan &plan, const Program &program, const Path &path) {
  for (size_t i = 0; i < program.runs.size(); ++i) {
    const BlockRun &run = program.runs[i];
    Path runPath = path.at("runs", i);
    if (run.firstBlock != 0)
      return violates(0, runPath.at("first_block"), "0", makeText(run.firstBlock));
    if (run.blockCount != 1 && run.blockCount != plan.model.blocks)
      return violates(0, runPath.at("block_count"),
                      makeText("1 or all ", plan.model.blocks, " blocks"),
                      makeText(run.blockCount));
  }
  return {};
}

Verdict verifyOptimizer(const Plan &plan, const std::vector<ProcedureFacts> &facts) {
  const Program *optimizer = programOf(plan, Phase::Optimizer);
  if (!optimizer)
    return {};
  Path root;
  for (size_t i = 0; i < plan.procedures.size(); ++i)
    if (plan.procedures[i].phase == Phase::Optimizer)
      EVO_VERIFY(verifyKernels(plan, plan.procedures[i], plan.procedures[i].steps,
                               root.at("procedures", i), "steps"));
  Path program = root.at("programs", static_cast<size_t>(optimizer - plan.programs.data()));
  EVO_VERIFY(verifyUpdates(plan, facts, *optimizer, program));
  EVO_VERIFY(verifyOptimizerOrder(plan, *optimizer, program));
  return verifyScalars(plan, facts, *optimizer, root);
}

} // namespace evo::plan
