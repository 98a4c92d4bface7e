//===- VerifyOptimizerOrder.cpp - count, update, advance --------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// A step skips its update where any gradient of any block is not finite, so all of them are counted
// before the first step, and the scalars advance when no step is left to read them (6).
//===----------------------------------------------------------------------===//
#include "runtime/plan/Optimizer.h"
#include "runtime/plan/VerifyParts.h"

#include <algorithm>

namespace evo::plan {

namespace {

/// What a procedure of the optimizer does that its order matters for.
struct OptimizerFacts {
  std::vector<Kernel> order;   ///< counts, steps and advances, loops' bodies twice
  std::vector<int64_t> counts; ///< a weight: counts of its whole gradient
};

/// Gathers the facts of one procedure after another, and that all steps update alike.
class OptimizerScan {
public:
  explicit OptimizerScan(const Plan &plan) : plan(plan) {}
  Verdict procedure(const Procedure &own, const Path &path, OptimizerFacts &facts) {
    facts.counts.resize(plan.weights.size());
    std::vector<const LoopStep *> loops;
    return scan(own, own.steps, path, "steps", loops, facts);
  }
  /// Of the advances, the largest.
  int64_t growthInterval() const { return interval; }

private:
  Verdict scan(const Procedure &own, const std::vector<Step> &steps, const Path &parent,
               std::string_view field, std::vector<const LoopStep *> &loops, OptimizerFacts &facts);
  Verdict step(const KernelStep &step, const Path &path);
  Verdict count(const Procedure &own, const KernelStep &step, const Path &path,
                const std::vector<const LoopStep *> &loops, OptimizerFacts &facts);

  const Plan &plan;
  const KernelStep *first = nullptr; ///< the step that all others are compared with
  int64_t interval = 0;
};

Verdict OptimizerScan::step(const KernelStep &step, const Path &path) {
  if (!first)
    first = &step;
  if (step.attributes == first->attributes)
    return {};
  for (KernelAttribute attribute : kernelInfo(step.kernel).attributes) {
    const AttributeInfo &info = attributeInfo(attribute);
    if (info.real && step.attributes.*info.real != first->attributes.*info.real)
      return violates(6, path.at(info.name), "what the first step of the optimizer has",
                      "another number");
  }
  return violates(6, path, "the attributes of the first step of the optimizer", "others");
}

Verdict OptimizerScan::count(const Procedure &own, const KernelStep &step, const Path &path,
                             const std::vector<const LoopStep *> &loops, OptimizerFacts &facts) {
  auto index = static_cast<size_t>(kernelInfo(step.kernel).operandIndex("x"));
  const View &view = *step.operands[index];
  const Buffer &buffer = own.buffers[view.buffer];
  Box box = wholeBox(view, loops);
  for (int axis = 0; axis < box.rank; ++axis)
    if (box.begin[axis] != 0 || box.end[axis] != buffer.shape[static_cast<size_t>(axis)])
      return violates(6, path.at("operands").at("x"),
                      makeText("all elements of '", buffer.name, "' to be counted at once"),
                      "a part of them");
  if (std::optional<size_t> weight = weightOfGradient(plan, buffer.name))
    ++facts.counts[*weight];
  return {};
}

Verdict OptimizerScan::scan(const Procedure &own, const std::vector<Step> &steps,
                            const Path &parent, std::string_view field,
                            std::vector<const LoopStep *> &loops, OptimizerFacts &facts) {
  for (size_t i = 0; i < steps.size(); ++i) {
    Path path = parent.at(field, i);
    if (const auto *kernel = std::get_if<KernelStep>(&steps[i].value)) {
      bool isCount = kernel->kernel == Kernel::CountNonfinite;
      if (isCount)
        EVO_VERIFY(count(own, *kernel, path, loops, facts));
      if (isOptimizerStep(kernel->kernel))
        EVO_VERIFY(step(*kernel, path));
      if (kernel->kernel == Kernel::AdvanceOptimizer)
        interval = std::max(interval, kernel->attributes.growthInterval);
      if (isCount || isOptimizerStep(kernel->kernel) || kernel->kernel == Kernel::AdvanceOptimizer)
        facts.order.push_back(kernel->kernel);
    } else if (const auto *loop = std::get_if<LoopStep>(&steps[i].value)) {
      size_t begin = facts.order.size();
      loops.push_back(loop);
      EVO_VERIFY(scan(own, loop->body, path, "body", loops, facts));
      loops.pop_back();
      // A second iteration shows what any later one does.
      std::vector<Kernel> body(facts.order.begin() + static_cast<std::ptrdiff_t>(begin),
                               facts.order.end());
      if (loop->extent > loop->size)
        facts.order.insert(facts.order.end(), body.begin(), body.end());
    }
  }
  return {};
}

/// How far the optimizer program has come.
struct Progress {
  bool stepped = false, advanced = false;
};

Verdict verifyOrder(const std::vector<Kernel> &order, const Path &path, Progress &progress) {
  for (Kernel kernel : order) {
    if (kernel == Kernel::AdvanceOptimizer && progress.advanced)
      return violates(6, path, "one advance of the optimizer in all", "a second one");
    if (progress.advanced)
      return violates(6, path, "the optimizer to be advanced after all else",
                      makeText(kernelInfo(kernel).mnemonic, " behind it"));
    if (kernel == Kernel::CountNonfinite && progress.stepped)
      return violates(6, path, "gradients of all blocks to be counted before any weight is updated",
                      "a count behind a step");
    progress.stepped |= isOptimizerStep(kernel);
    progress.advanced |= kernel == Kernel::AdvanceOptimizer;
  }
  return {};
}

/// Gradients are counted, of every weight in every block, or of none where they cannot overflow,
/// before the first weight is
/// updated; then the optimizer is advanced, once.
Verdict verifySequence(const Plan &plan, const Program &program,
                       const std::vector<OptimizerFacts> &facts, int64_t growthInterval,
                       const Path &path) {
  Progress progress;
  std::vector<int64_t> counts(plan.weights.size());
  for (size_t i = 0; i < program.runs.size(); ++i) {
    const BlockRun &run = program.runs[i];
    Path runPath = path.at("runs", i);
    // A second block shows what any later one does.
    for (int64_t block = 0; block < std::min<int64_t>(run.blockCount, 2); ++block)
      for (size_t j = 0; j < run.calls.size(); ++j)
        EVO_VERIFY(
            verifyOrder(facts[run.calls[j].procedure].order, runPath.at("calls", j), progress));
    for (size_t j = 0; j < run.calls.size(); ++j)
      for (size_t k = 0; k < counts.size(); ++k) {
        int64_t made = facts[run.calls[j].procedure].counts[k];
        counts[k] += made;
        if (made > 0 && run.blockCount != plan.model.blocks)
          return violates(
              6, runPath.at("calls", j),
              makeText("the gradient of '", plan.weights[k].name, "' to be counted in all blocks"),
              makeText("one in ", run.blockCount));
      }
  }
  if (!progress.advanced)
    return violates(6, path.at("runs"), "one advance of the optimizer", "none");
  bool none = std::all_of(counts.begin(), counts.end(), [](int64_t count) { return count == 0; });
  if (none && !mayOverflow(plan.precision, *plan.optimizer, growthInterval))
    return {};
  if (none)
    return violates(6, path.at("runs"),
                    "gradients to be counted, since they may overflow (fp16, a loss scale other "
                    "than 1, or one that grows)",
                    "no count");
  for (size_t k = 0; k < counts.size(); ++k)
    if (counts[k] != 1)
      return violates(6, path.at("runs"),
                      makeText("one count of the gradient of '", plan.weights[k].name,
                               "' in every block, since others are counted"),
                      makeText(counts[k]));
  return {};
}

} // namespace

bool isOptimizerStep(Kernel kernel) {
  return kernel == Kernel::SgdStep || kernel == Kernel::AdamwStep;
}

Verdict verifyOptimizerOrder(const Plan &plan, const Program &program, const Path &path) {
  Path root;
  OptimizerScan scan(plan);
  std::vector<OptimizerFacts> facts(plan.procedures.size());
  for (size_t i = 0; i < plan.procedures.size(); ++i)
    if (plan.procedures[i].phase == Phase::Optimizer)
      EVO_VERIFY(scan.procedure(plan.procedures[i], root.at("procedures", i), facts[i]));
  return verifySequence(plan, program, facts, scan.growthInterval(), path);
}

} // namespace evo::plan
