//===- VerifyPrograms.cpp - programs, arena, costs --------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "runtime/plan/VerifyParts.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

namespace evo::plan {

namespace {

bool mayCall(Phase program, Phase procedure) {
  // A backward program may run forward procedures again.
  return procedure == program || (program == Phase::Backward && procedure == Phase::Forward);
}

Verdict verifyNames(const Plan &plan, const std::vector<std::string> &names, const Path &path,
                    std::string_view field) {
  std::set<std::string_view> seen;
  for (size_t i = 0; i < names.size(); ++i) {
    if (names[i] == kWorkspaceTensor)
      return violates(0, path.at(field, i), "a tensor that is not the workspace of all kernels",
                      makeText("'", names[i], "'"));
    bool known = std::any_of(plan.tensors.begin(), plan.tensors.end(),
                             [&](const Tensor &tensor) { return tensor.name == names[i]; });
    if (!known || !seen.insert(names[i]).second)
      return violates(0, path.at(field, i), known ? "each tensor once" : "the name of a tensor",
                      makeText("'", names[i], "'"));
  }
  return {};
}

/// Every block exactly once: forward in order, backward from the last to the first. What only
/// computes again there is of blocks that are still to come.
Verdict verifyBlocks(const Plan &plan, const Program &program, const Path &path) {
  int64_t left = plan.model.blocks;
  for (size_t i = 0; i < program.runs.size(); ++i) {
    const BlockRun &run = program.runs[i];
    Path runPath = path.at("runs", i);
    if (run.blockCount < 1 || run.blockCount > left)
      return violates(0, runPath.at("block_count"), makeText("from 1 to ", left, " blocks"),
                      makeText(run.blockCount));
    bool down = goesDown(plan, program, run);
    if (program.phase == Phase::Backward && !down) {
      if (run.firstBlock < 0 || run.firstBlock > left - run.blockCount)
        return violates(0, runPath.at("first_block"), makeText("from 0 to ", left - run.blockCount),
                        makeText(run.firstBlock));
      continue;
    }
    int64_t first = down ? left - run.blockCount : plan.model.blocks - left;
    if (run.firstBlock != first)
      return violates(0, runPath.at("first_block"), makeText(first), makeText(run.firstBlock));
    left -= run.blockCount;
  }
  if (left != 0)
    return violates(0, path.at("runs"), makeText("runs of all ", plan.model.blocks, " blocks"),
                    makeText(left, " left out"));
  return {};
}

/// Bindings are of kept tensors and streams, in order, each once.
Verdict verifyBindings(const Procedure &procedure, const Call &call, const Path &path) {
  int32_t last = -1;
  for (size_t i = 0; i < call.bindings.size(); ++i) {
    int32_t buffer = call.bindings[i].buffer;
    Path bufferPath = path.at("bindings", i);
    if (buffer <= last || static_cast<size_t>(buffer) >= procedure.buffers.size())
      return violates(0, bufferPath.at("buffer"),
                      makeText("an index from ", last + 1, " below ", procedure.buffers.size()),
                      makeText(buffer));
    Base base = procedure.buffers[buffer].base;
    if (base != Base::Saved && base != Base::Tensor)
      return violates(0, bufferPath.at("buffer"), "a buffer of base saved or tensor",
                      baseName(base));
    last = buffer;
  }
  return {};
}

Verdict verifyProgram(const Plan &plan, const Program &program, const Path &path,
                      std::vector<bool> &called) {
  EVO_VERIFY(verifyNames(plan, program.inputs, path, "inputs"));
  EVO_VERIFY(verifyNames(plan, program.outputs, path, "outputs"));
  EVO_VERIFY(program.phase == Phase::Optimizer ? verifyOptimizerRuns(plan, program, path)
                                               : verifyBlocks(plan, program, path));
  for (size_t i = 0; i < program.runs.size(); ++i) {
    Path runPath = path.at("runs", i);
    if (program.runs[i].calls.empty())
      return violates(0, runPath.at("calls"), "at least one call", "none");
    for (size_t j = 0; j < program.runs[i].calls.size(); ++j) {
      int32_t procedure = program.runs[i].calls[j].procedure;
      Path callPath = runPath.at("calls", j);
      if (procedure < 0 || static_cast<size_t>(procedure) >= plan.procedures.size())
        return violates(0, callPath.at("procedure"),
                        makeText("a procedure below ", plan.procedures.size()),
                        makeText(procedure));
      if (!mayCall(program.phase, plan.procedures[procedure].phase))
        return violates(0, callPath.at("procedure"),
                        makeText("one of the ", phaseName(program.phase), " phase"),
                        phaseName(plan.procedures[procedure].phase));
      called[procedure] = true;
      EVO_VERIFY(verifyBindings(plan.procedures[procedure], program.runs[i].calls[j], callPath));
    }
  }
  return {};
}

/// Every weight of the block is read by somebody.
Verdict verifyWeightsUsed(const Plan &plan, const Path &root) {
  std::set<std::string_view> used;
  for (const Procedure &procedure : plan.procedures)
    for (const Buffer &buffer : procedure.buffers)
      if (buffer.base == Base::Weight)
        used.insert(buffer.name);
  for (size_t i = 0; i < plan.weights.size(); ++i)
    if (!used.count(plan.weights[i].name))
      return violates(0, root.at("weights", i), "a weight that some procedure uses", "none");
  return {};
}

/// Calls `visit(run, call, path)` on each call of a program, a run's block once.
template <class Visit> Verdict forEachCall(const Program &program, const Path &path, Visit visit) {
  for (size_t i = 0; i < program.runs.size(); ++i) {
    Path runPath = path.at("runs", i);
    for (size_t j = 0; j < program.runs[i].calls.size(); ++j)
      EVO_VERIFY(visit(program.runs[i], program.runs[i].calls[j], runPath.at("calls", j)));
  }
  return {};
}

/// Every block of the backward program makes the gradient of every weight; who adds to one comes
/// behind who wrote it.
Verdict verifyStores(const Plan &plan, const std::vector<ProcedureFacts> &facts,
                     const Program &program, const Path &path) {
  for (size_t i = 0; i < program.runs.size(); ++i) {
    if (!goesDown(plan, program, program.runs[i]))
      continue;
    Path runPath = path.at("runs", i);
    std::vector<bool> stored(plan.weights.size());
    for (size_t j = 0; j < program.runs[i].calls.size(); ++j) {
      const ProcedureFacts &fact = facts[program.runs[i].calls[j].procedure];
      for (size_t k = 0; k < stored.size(); ++k) {
        if (fact.addsTo[k] && !stored[k])
          return violates(1, runPath.at("calls", j),
                          makeText("the gradient of '", plan.weights[k].name,
                                   "' to be written in the block before it is read"),
                          "undefined elements");
        if (fact.stores[k])
          stored[k] = true;
      }
    }
    for (size_t k = 0; k < stored.size(); ++k)
      if (!stored[k])
        return violates(1, runPath.at("calls"),
                        makeText("a call that writes the gradient of '", plan.weights[k].name, "'"),
                        "none");
  }
  return {};
}

} // namespace

Verdict verifyPrograms(const Plan &plan) {
  Path root;
  std::vector<bool> called(plan.procedures.size());
  std::set<Phase> phases;
  for (size_t i = 0; i < plan.programs.size(); ++i) {
    Path path = root.at("programs", i);
    Phase phase = plan.programs[i].phase;
    if (!phases.insert(phase).second)
      return violates(0, path.at("phase"), "one program a phase",
                      makeText("a second ", phaseName(phase)));
    if (plan.mode == Mode::Infer && phase != Phase::Forward)
      return violates(0, path.at("phase"), "forward in a plan for inference", phaseName(phase));
    EVO_VERIFY(verifyProgram(plan, plan.programs[i], path, called));
  }
  if (!phases.count(Phase::Forward))
    return violates(0, root.at("programs"), "a forward program", "none");
  for (size_t i = 0; i < called.size(); ++i)
    if (!called[i])
      return violates(0, root.at("procedures", i), "a procedure that some program calls", "none");
  return verifyWeightsUsed(plan, root);
}

namespace {

bool isBound(const Plan &plan, const Call &call, size_t tensor) {
  const Procedure &procedure = plan.procedures[call.procedure];
  return std::any_of(call.bindings.begin(), call.bindings.end(), [&](const Binding &binding) {
    const Buffer &buffer = procedure.buffers[binding.buffer];
    return buffer.base == Base::Tensor && buffer.tensor == static_cast<int32_t>(tensor);
  });
}

/// Which tensors hold what somebody gave or wrote. Of those that have one slot only the last does.
class Definedness {
public:
  explicit Definedness(const Plan &plan) : plan(plan), defined(plan.tensors.size()) {}

  void define(size_t tensor) {
    for (size_t i = 0; i < defined.size(); ++i)
      if (plan.tensors[i].offset == plan.tensors[tensor].offset)
        defined[i] = false;
    defined[tensor] = true;
  }
  void define(const std::vector<std::string> &names) {
    for (size_t i = 0; i < plan.tensors.size(); ++i)
      if (std::find(names.begin(), names.end(), plan.tensors[i].name) != names.end())
        define(i);
  }
  bool has(size_t tensor) const { return defined[tensor]; }

private:
  const Plan &plan;
  std::vector<bool> defined;
};

} // namespace

Verdict verifyCalls(const Plan &plan, const std::vector<ProcedureFacts> &facts) {
  Path root;
  Definedness defined(plan);
  for (Phase phase : {Phase::Forward, Phase::Backward, Phase::Optimizer}) {
    const Program *program = programOf(plan, phase);
    if (!program)
      continue;
    defined.define(program->inputs);
    Path path = root.at("programs", static_cast<size_t>(program - plan.programs.data()));
    EVO_VERIFY(forEachCall(
        *program, path, [&](const BlockRun &, const Call &call, const Path &callPath) -> Verdict {
          const ProcedureFacts &fact = facts[call.procedure];
          for (size_t i = 0; i < plan.tensors.size(); ++i) {
            if (isBound(plan, call, i))
              continue;
            if (fact.readsAtEntry[i] && !defined.has(i))
              return violates(
                  1, callPath,
                  makeText("tensor '", plan.tensors[i].name, "' to be an input or written before"),
                  "undefined elements");
            if (fact.writes[i])
              defined.define(i);
          }
          return {};
        }));
    if (phase == Phase::Backward)
      EVO_VERIFY(verifyStores(plan, facts, *program, path));
    for (size_t i = 0; i < program->outputs.size(); ++i)
      for (size_t j = 0; j < plan.tensors.size(); ++j)
        if (plan.tensors[j].name == program->outputs[i] && !defined.has(j))
          return violates(1, path.at("outputs", i), "an output that is an input or written",
                          "undefined elements");
  }
  return {};
}

Verdict verifyCost(const Plan &plan) {
  Path root;
  auto sum = [](auto &&self, const std::vector<Step> &steps, int64_t &total) -> bool {
    for (const Step &step : steps) {
      if (const auto *kernel = std::get_if<KernelStep>(&step.value))
        if (__builtin_add_overflow(total, kernel->costNs, &total))
          return false;
      if (const auto *loop = std::get_if<LoopStep>(&step.value); loop)
        if (!self(self, loop->body, total))
          return false;
    }
    return true;
  };
  for (size_t i = 0; i < plan.procedures.size(); ++i) {
    int64_t total = 0;
    if (!sum(sum, plan.procedures[i].steps, total) || plan.procedures[i].costNs != total)
      return violates(18, root.at("procedures", i).at("cost_ns"),
                      makeText("the sum over its steps ", total),
                      makeText(plan.procedures[i].costNs));
  }
  double ns = 0;
  for (const Program &program : plan.programs)
    for (const BlockRun &run : program.runs)
      for (const Call &call : run.calls)
        ns += static_cast<double>(run.blockCount) *
              static_cast<double>(plan.procedures[call.procedure].costNs);
  double ms = ns / 1e6, got = plan.summary.predictedMs;
  if (!(std::abs(got - ms) <= 1e-9 * (1 + ms)))
    return violates(18, root.at("summary").at("predicted_ms"),
                    "the sum over all calls " + std::to_string(ms), std::to_string(got));
  return {};
}

} // namespace evo::plan
