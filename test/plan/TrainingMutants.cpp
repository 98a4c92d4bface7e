//===- TrainingMutants.cpp - backwards of another forward -------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// Recomputations that compute something else (5), and gradients of something else (6).
//===----------------------------------------------------------------------===//
#include "test/plan/MutantSites.h"
#include "test/plan/PlanMutants.h"

#include <set>

namespace evo::plan::test {

namespace {

//===----------------------------------------------------------------------===//
// Places
//===----------------------------------------------------------------------===//

/// Whether a program of the phase calls something that fits.
template <class Fits> bool isCalled(const Plan &plan, Phase phase, Fits fits) {
  for (const Program &program : plan.programs)
    for (const BlockRun &run : program.runs)
      for (const Call &call : run.calls)
        if (program.phase == phase && fits(plan.procedures[static_cast<size_t>(call.procedure)]))
          return true;
  return false;
}

bool isTraining(const Plan &plan) {
  return isCalled(plan, Phase::Backward, [](const Procedure &) { return true; });
}

/// Whether modules that share a loop, "a+b", have all of those.
bool hasModules(const std::string &all, const std::string &some) {
  return ("+" + all + "+").find("+" + some + "+") != std::string::npos;
}

/// Whether the backward program runs this forward procedure again, and only that program does.
bool isAgain(const Plan &plan, const Procedure &procedure) {
  auto own = [&](const Procedure &other) { return &other == &procedure; };
  return procedure.phase == Phase::Forward && isCalled(plan, Phase::Backward, own) &&
         !isCalled(plan, Phase::Forward, own);
}

/// Whether the backward program computes nothing of this procedure's module again.
bool isNeverAgain(const Plan &plan, const Procedure &procedure) {
  return !isCalled(plan, Phase::Backward, [&](const Procedure &other) {
    return other.phase == Phase::Forward && hasModules(other.module, procedure.module);
  });
}

/// Whether the procedure runs modules together that the forward program has run one by one.
bool isUnited(const Plan &plan, const Procedure &procedure) {
  return isAgain(plan, procedure) && isCalled(plan, Phase::Forward, [&](const Procedure &other) {
           return other.module != procedure.module && hasModules(procedure.module, other.module);
         });
}

bool writesStreams(const Procedure &procedure, int32_t buffer) {
  return procedure.buffers[static_cast<size_t>(buffer)].base == Base::Tensor &&
         newestVersion(procedure, buffer) > 0;
}

/// A call of the backward program that changes a stream that lies elsewhere, and right behind it
/// one that changes it too.
bool isChangedTwice(const Plan &plan, const CallSite &site) {
  const Call *next = site.call + 1;
  if (site.program->phase != Phase::Backward || next == &*site.run->calls.end())
    return false;
  const Procedure &other = plan.procedures[static_cast<size_t>(next->procedure)];
  for (const Binding &first : site.call->bindings)
    for (const Binding &second : next->bindings)
      if (first.offset == second.offset && writesStreams(*site.procedure, first.buffer) &&
          writesStreams(other, second.buffer))
        return true;
  return false;
}

bool isWeight(const Use &use) { return use.buffer().base == Base::Weight; }

/// Whether a step computes a value of the forward again.
bool isRecomputed(const Plan &plan, const Site &site) {
  const KernelStep &step = *site.kernel();
  if (step.kernel == Kernel::Copy || step.kernel == Kernel::DropoutMask)
    return false;
  if (site.procedure->phase == Phase::Forward)
    return isAgain(plan, *site.procedure);
  if (!isBackward(site) || isGradientKernel(step))
    return false;
  return isOfTheForward(step);
}

/// Whether the operand may go: others use its buffer, and nobody gives it memory for this step.
bool isOptionalTerm(const Use &use) {
  static const std::set<std::string_view> names = {"mask",      "pair_bias", "bias",
                                                   "row_scale", "gate",      "dropout"};
  return use.info().isOptional() && !use.info().isOutput() && names.count(use.info().name) &&
         readersOf(use) > 1;
}

std::vector<int64_t> shapeOf(const View &view) {
  std::vector<int64_t> shape;
  for (int32_t axis : view.order) {
    shape.push_back(view.extent[static_cast<size_t>(axis)].value);
    shape.push_back(view.extent[static_cast<size_t>(axis)].loop);
  }
  return shape;
}

bool isInput(const KernelStep &step, size_t index) {
  return step.operands[index] && !kernelInfo(step.kernel).operands[index].isOutput();
}

/// An input of the step that could stand for the other one, as far as shapes and types know.
std::optional<size_t> twinOf(const Use &use) {
  const KernelStep &step = *use.site.kernel();
  if (!isInput(step, use.index) || writesBuffer(use))
    return std::nullopt;
  for (size_t i = 0; i < step.operands.size(); ++i)
    if (i != use.index && isInput(step, i) && !writesBuffer({use.site, i}) &&
        *step.operands[i] != use.view() && shapeOf(*step.operands[i]) == shapeOf(use.view()) &&
        use.site.buffer(step.operands[i]->buffer).dtype == use.buffer().dtype)
      return i;
  return std::nullopt;
}

void exchangeWithTwin(const Use &use) {
  std::swap(use.operand(), use.site.kernel()->operands[*twinOf(use)]);
}

/// Changes an attribute that the kernel has; whether there is one.
bool changeAttribute(KernelStep &step) {
  for (KernelAttribute attribute :
       {KernelAttribute::Eps, KernelAttribute::Scale, KernelAttribute::Factor}) {
    if (!kernelInfo(step.kernel).hasAttribute(attribute))
      continue;
    step.attributes.*attributeInfo(attribute).real *= 2;
    return true;
  }
  return false;
}

/// Two axes of the buffer, of one length, that no loop moves along.
bool isSquare(const Use &use) {
  const View &view = use.view();
  return view.order.size() >= 2 && view.start[0].loop < 0 && view.start[1].loop < 0 &&
         view.extent[0] == view.extent[1] && view.extent[0].loop < 0;
}
void turnRound(const Use &use) {
  for (int32_t &axis : use.view().order)
    axis = axis == 0 ? 1 : axis == 1 ? 0 : axis;
}

/// Rows of a weight that has others behind them.
bool hasRowsBehind(const Use &use) {
  return isWeight(use) &&
         use.view().start[0].value + use.view().extent[0].value < use.buffer().shape[0];
}
void moveRows(const Use &use) { ++use.view().start[0].value; }

/// Another weight of that shape, that the procedure reads.
std::optional<int32_t> weightLike(const Use &use) {
  const std::vector<Buffer> &buffers = use.site.procedure->buffers;
  for (size_t i = 0; i < buffers.size(); ++i)
    if (isWeight(use) && buffers[i].base == Base::Weight &&
        buffers[i].shape == use.buffer().shape && buffers[i].name != use.buffer().name)
      return static_cast<int32_t>(i);
  return std::nullopt;
}
bool hasAnotherWeight(const Use &use) {
  return weightLike(use) && usesOfBuffer(*use.site.procedure, use.view().buffer) > 1;
}

/// Applies `change` to an operand of a recomputation.
template <class Fits, class Change>
std::string atRecomputed(Plan &plan, Random &random, Fits fits, Change change) {
  return atUse(
      plan, random,
      [&](const Use &use) {
        return !use.info().isOutput() && isRecomputed(plan, use.site) && fits(use);
      },
      change);
}

/// And to one of a gradient kernel.
template <class Fits, class Change>
std::string atGradient(Plan &plan, Random &random, Fits fits, Change change) {
  return atUse(
      plan, random,
      [&](const Use &use) {
        return isBackward(use.site) && isGradientKernel(*use.site.kernel()) && fits(use);
      },
      change);
}

//===----------------------------------------------------------------------===//
// Mutants
//===----------------------------------------------------------------------===//

const std::vector<Mutator> kRecomputed = {
    {"RecomputedWithoutATerm",
     [](Plan &p, Random &r) {
       return atRecomputed(p, r, isOptionalTerm, [](const Use &use) { use.operand().reset(); });
     }},
    {"RecomputedWithAnotherAttribute",
     [](Plan &p, Random &r) {
       return atRecomputed(
           p, r,
           [](const Use &use) {
             KernelStep copy = *use.site.kernel();
             // In a backward a factor of a value may be taken for one of the gradient's product.
             bool factor = kernelInfo(copy.kernel).hasAttribute(KernelAttribute::Factor) &&
                           isBackward(use.site);
             return use.index == 0 && !factor && changeAttribute(copy);
           },
           [](const Use &use) { changeAttribute(*use.site.kernel()); });
     }},
    {"RecomputedWithAnotherActivation",
     [](Plan &p, Random &r) {
       return atRecomputed(
           p, r,
           [](const Use &use) {
             return use.index == 0 && use.site.kernel()->attributes.activation == Activation::Relu;
           },
           [](const Use &use) { use.site.kernel()->attributes.activation = Activation::None; });
     }},
    {"RecomputedWithAnotherFill",
     [](Plan &p, Random &r) {
       return atRecomputed(
           p, r,
           [](const Use &use) {
             return use.info().name == "mask" &&
                    kernelInfo(use.site.kernel()->kernel).hasAttribute(KernelAttribute::Inf);
           },
           [](const Use &use) { use.site.kernel()->attributes.inf /= 2; });
     }},
    {"RecomputedWithAnotherWeight",
     [](Plan &p, Random &r) {
       return atRecomputed(p, r, hasAnotherWeight,
                           [](const Use &use) { use.view().buffer = *weightLike(use); });
     }},
    {"RecomputedWithOtherRows",
     [](Plan &p, Random &r) { return atRecomputed(p, r, hasRowsBehind, moveRows); }},
    {"RecomputedWithOperandsExchanged",
     [](Plan &p, Random &r) {
       return atRecomputed(
           p, r, [](const Use &use) { return twinOf(use).has_value(); }, exchangeWithTwin);
     }},
    {"RecomputedTurnedRound",
     [](Plan &p, Random &r) {
       return atRecomputed(
           p, r, [](const Use &use) { return isSquare(use) && !writesBuffer(use); }, turnRound);
     }},
    {"RecomputedInAnotherOrder",
     [](Plan &p, Random &r) {
       return atCall(
           p, r, [&](const CallSite &site) { return isChangedTwice(p, site); },
           [](const CallSite &site) { std::swap(*site.call, *(site.call + 1)); });
     }},
    {"RecomputedWithOneOfTheModules",
     [](Plan &p, Random &r) -> std::string {
       std::vector<Procedure *> united;
       for (Procedure &procedure : p.procedures)
         if (isUnited(p, procedure))
           united.push_back(&procedure);
       Procedure *const *found = pick(united, r);
       if (!found)
         return {};
       std::string &module = (*found)->module;
       size_t plus = module.find('+');
       std::string first = module.substr(0, plus), second = module.substr(plus + 1);
       const std::string others[] = {first, second, second + "+" + first, first + "+" + first};
       module = others[r() % std::size(others)];
       return (*found)->name + " as " + module;
     }},
};

bool isGradientOperand(std::string_view name) {
  return name == "dy" || name == "du" || name == "dout" || name == "dl";
}

/// The steps of the optimizer, but for `step`, that have an operand of that name and shape.
std::vector<Use> otherSteps(Plan &plan, const Use &use) {
  return usesOf(plan, [&](const Use &other) {
    return other.site.procedure == use.site.procedure && other.site.kernel() != use.site.kernel() &&
           other.index == use.index && other.site.kernel()->kernel == use.site.kernel()->kernel &&
           shapeOf(other.view()) == shapeOf(use.view());
  });
}

/// A gradient that is as long as the scalars of the optimizer.
std::optional<int32_t> gradientOfFour(const Procedure &procedure) {
  for (size_t i = 0; i < procedure.buffers.size(); ++i)
    if (procedure.buffers[i].base == Base::Gradient &&
        procedure.buffers[i].shape == std::vector<int64_t>{4})
      return static_cast<int32_t>(i);
  return std::nullopt;
}

/// Exchanges operands of these names with those of another step of the optimizer.
std::string exchangeSteps(Plan &plan, Random &random, std::string_view first,
                          std::string_view second) {
  return atUse(
      plan, random,
      [&](const Use &use) {
        return use.site.procedure->phase == Phase::Optimizer && use.info().name == first &&
               !otherSteps(plan, use).empty();
      },
      [&](const Use &use) {
        Use other = otherSteps(plan, use)[0];
        for (std::string_view name : std::set{first, second}) {
          int index = kernelInfo(use.site.kernel()->kernel).operandIndex(name);
          std::swap(use.site.kernel()->operands[static_cast<size_t>(index)],
                    other.site.kernel()->operands[static_cast<size_t>(index)]);
        }
      });
}

/// Breaks the order of the optimizer program.
template <class Change> std::string atRuns(Plan &plan, Change change) {
  for (Program &program : plan.programs)
    if (program.phase == Phase::Optimizer)
      return change(program.runs);
  return {};
}

const std::vector<Mutator> kPairing = {
    {"TermThatTheForwardHasNot",
     [](Plan &p, Random &r) {
       return atUse(
           p, r,
           [&](const Use &use) {
             return use.site.procedure->phase == Phase::Forward && use.info().name == "residual" &&
                    isTraining(p) && isNeverAgain(p, *use.site.procedure);
           },
           [](const Use &use) { use.operand().reset(); });
     }},
    {"PairBiasThatTheForwardHasNot",
     [](Plan &p, Random &r) {
       return atUse(
           p, r,
           [&](const Use &use) {
             bool again = false;
             for (const Site &site : sitesOf(p, [](const Site &site) { return site.kernel(); }))
               again |= isBackward(site) &&
                        hasModules(site.procedure->module, use.site.procedure->module) &&
                        (site.kernel()->kernel == Kernel::Attention ||
                         site.kernel()->kernel == Kernel::AttentionLogits);
             return use.site.procedure->phase == Phase::Forward && use.info().name == "pair_bias" &&
                    isTraining(p) && isNeverAgain(p, *use.site.procedure) && !again;
           },
           [](const Use &use) { use.operand().reset(); });
     }},
    {"GradientThatIsAValue",
     [](Plan &p, Random &r) {
       return atGradient(
           p, r,
           [](const Use &use) {
             return isGradientOperand(use.info().name) && twinOf(use) && readersOf(use) > 1;
           },
           [](const Use &use) { use.view() = *use.site.kernel()->operands[*twinOf(use)]; });
     }},
    {"GradientWithOperandsExchanged",
     [](Plan &p, Random &r) {
       return atGradient(
           p, r,
           [](const Use &use) {
             return !isGradientOperand(use.info().name) &&
                    !use.info().name.ends_with("accumulator") && use.info().name != "residual" &&
                    twinOf(use) && !writesBuffer(use);
           },
           exchangeWithTwin);
     }},
    {"GradientWithoutATerm",
     [](Plan &p, Random &r) {
       return atGradient(p, r, isOptionalTerm, [](const Use &use) { use.operand().reset(); });
     }},
    {"GradientWithAnotherAttribute",
     [](Plan &p, Random &r) {
       return atGradient(
           p, r,
           [](const Use &use) {
             KernelStep copy = *use.site.kernel();
             return use.index == 0 && changeAttribute(copy);
           },
           [](const Use &use) { changeAttribute(*use.site.kernel()); });
     }},
    {"GradientTurnedRound",
     [](Plan &p, Random &r) {
       return atGradient(
           p, r,
           [](const Use &use) {
             return !use.info().isOutput() && isSquare(use) && !writesBuffer(use);
           },
           turnRound);
     }},
    {"GradientOfTheBiasForThatOfTheWeight",
     [](Plan &p, Random &r) {
       return atGradient(
           p, r,
           [](const Use &use) {
             return use.site.kernel()->kernel == Kernel::LayerNormGrad &&
                    use.info().name == "dweight" && use.site.loops.empty();
           },
           [](const Use &use) {
             std::swap(use.operand(), use.site.kernel()->operands[use.index + 1]);
           });
     }},
    {"ProductByOtherRows",
     [](Plan &p, Random &r) {
       return atUse(
           p, r,
           [&](const Use &use) {
             return isBackward(use.site) && use.site.kernel()->kernel == Kernel::Linear &&
                    !isRecomputed(p, use.site) && hasRowsBehind(use);
           },
           moveRows);
     }},
    {"StepByTheGradientOfAnotherWeight",
     [](Plan &p, Random &r) { return exchangeSteps(p, r, "gradient", "gradient"); }},
    {"StepWithTheMomentOfAnotherWeight",
     [](Plan &p, Random &r) { return exchangeSteps(p, r, "first_moment", "new_first_moment"); }},
    {"VelocityOfAnotherWeight",
     [](Plan &p, Random &r) { return exchangeSteps(p, r, "velocity", "new_velocity"); }},
    {"CountInAGradient",
     [](Plan &p, Random &r) {
       return atUse(
           p, r,
           [](const Use &use) {
             return use.site.kernel()->kernel == Kernel::CountNonfinite &&
                    use.info().name == "scalars" && use.view().version == 0 &&
                    gradientOfFour(*use.site.procedure);
           },
           [](const Use &use) {
             int32_t buffer = *gradientOfFour(*use.site.procedure);
             use.operand() = wholeView(use.site.buffer(buffer), buffer, 0);
           });
     }},
    {"OptimizerOutOfOrder",
     [](Plan &p, Random &r) {
       return atRuns(p, [&](std::vector<BlockRun> &runs) {
         size_t run = r() % (runs.size() - 1);
         std::swap(runs[run], runs[run + 1]);
         return "run " + std::to_string(run);
       });
     }},
    {"OptimizerAdvancedTwice",
     [](Plan &p, Random &) {
       return atRuns(p, [](std::vector<BlockRun> &runs) {
         runs.push_back(runs.back());
         return std::string("advance");
       });
     }},
    {"StepWithAnotherAttribute",
     [](Plan &p, Random &r) {
       return atUse(
           p, r, [](const Use &use) { return use.info().name == "new_weight"; },
           [](const Use &use) { use.site.kernel()->attributes.learningRate += 0.125; });
     }},
    {"MomentsExchanged",
     [](Plan &p, Random &r) {
       return atUse(
           p, r, [](const Use &use) { return use.info().name == "first_moment"; },
           [](const Use &use) {
             KernelStep &step = *use.site.kernel();
             auto exchange = [&](std::string_view first, std::string_view second) {
               const KernelInfo &info = kernelInfo(step.kernel);
               std::swap(step.operands[static_cast<size_t>(info.operandIndex(first))],
                         step.operands[static_cast<size_t>(info.operandIndex(second))]);
             };
             exchange("first_moment", "second_moment");
             exchange("new_first_moment", "new_second_moment");
           });
     }},
};

} // namespace

std::map<int, std::vector<Mutator>> trainingMutators() { return {{5, kRecomputed}, {6, kPairing}}; }

} // namespace evo::plan::test
