//===- PlanMutants.cpp ------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// Each mutator's places are chosen so that the invariant it stands for is the first that is
// violated.
//===----------------------------------------------------------------------===//
#include "test/plan/PlanMutants.h"
#include "test/plan/MutantSites.h"

namespace evo::plan::test {

namespace {

const std::vector<Mutator> kForm = {
    {"BufferBytes",
     [](Plan &p, Random &r) {
       return atBuffer(
           p, r, [](auto &, auto &) { return true; },
           [](auto &, Buffer &buffer) { buffer.bytes += 4; });
     }},
    {"BufferTwice",
     [](Plan &p, Random &r) {
       return atBuffer(
           p, r, [](auto &procedure, auto &buffer) { return &buffer != &procedure.buffers[0]; },
           [](Procedure &procedure, Buffer &buffer) { buffer.name = procedure.buffers[0].name; });
     }},
    {"ViewBehindItsBuffer",
     [](Plan &p, Random &r) {
       return atUse(
           p, r, [](const Use &use) { return use.view().extent[0].loop < 0; },
           [](const Use &use) { use.view().extent[0].value = use.buffer().shape[0] + 1; });
     }},
    {"OperandMissing",
     [](Plan &p, Random &r) {
       return atUse(
           p, r, [](const Use &use) { return !use.info().isOptional(); },
           [](const Use &use) { use.operand().reset(); });
     }},
    {"AxisTwice",
     [](Plan &p, Random &r) {
       return atUse(
           p, r, [](const Use &use) { return use.view().order.size() > 1; },
           [](const Use &use) { use.view().order[0] = use.view().order[1]; });
     }},
    {"EpsOfZero",
     [](Plan &p, Random &r) {
       return atUse(
           p, r,
           [](const Use &use) {
             return kernelInfo(use.site.kernel()->kernel).hasAttribute(KernelAttribute::Eps);
           },
           [](const Use &use) { use.site.kernel()->attributes.eps = 0; });
     }},
    {"Blocks",
     [](Plan &p, Random &r) {
       return atCall(
           p, r,
           [&](const CallSite &site) { // what only computes again may have any of the blocks left
             return site.program->phase != Phase::Backward || goesDown(p, *site.program, *site.run);
           },
           [](const CallSite &site) { site.run->blockCount += 1; });
     }},
};

const std::vector<Mutator> kDefined = {
    {"ReadOfALaterVersion",
     [](Plan &p, Random &r) {
       return atUse(
           p, r, [](const Use &use) { return !use.info().isOutput(); },
           [](const Use &use) { ++use.view().version; });
     }},
    {"VersionsWithAGap",
     [](Plan &p, Random &r) {
       return atUse(
           p, r, [](const Use &use) { return use.info().isOutput(); },
           [](const Use &use) { use.view().version += 9; });
     }},
    {"WriteOfVersionZero",
     [](Plan &p, Random &r) {
       return atUse(
           p, r, [](const Use &use) { return use.info().isOutput(); },
           [](const Use &use) { use.view().version = 0; });
     }},
    {"InputNotGiven",
     [](Plan &p, Random &r) {
       std::vector<std::string> &inputs = p.programs[r() % p.programs.size()].inputs;
       size_t at = r() % inputs.size();
       std::string name = inputs[at];
       inputs.erase(inputs.begin() + static_cast<std::ptrdiff_t>(at));
       return name;
     }},
};

bool isLoop(const Site &site) { return site.loop(); }

const std::vector<Mutator> kSlices = {
    {"LoopTooLong",
     [](Plan &p, Random &r) {
       return atSite(p, r, isLoop, [](const Site &site) { ++site.loop()->extent; });
     }},
    {"SlicesOfNothing",
     [](Plan &p, Random &r) {
       return atSite(p, r, isLoop, [](const Site &site) { site.loop()->size = 0; });
     }},
    {"SliceLongerThanItsLoop",
     [](Plan &p, Random &r) {
       return atSite(p, r, isLoop,
                     [](const Site &site) { site.loop()->size = site.loop()->extent + 1; });
     }},
    {"ViewThatStartsLater",
     [](Plan &p, Random &r) {
       return atUse(
           p, r, [](const Use &use) { return moves(use.view()); },
           [](const Use &use) {
             for (Start &start : use.view().start)
               start.value += start.loop >= 0;
           });
     }},
    {"ViewOfConstantLength",
     [](Plan &p, Random &r) {
       return atUse(
           p, r, [](const Use &use) { return moves(use.view()); },
           [](const Use &use) {
             for (size_t axis = 0; axis < use.view().start.size(); ++axis)
               if (use.view().start[axis].loop >= 0)
                 use.view().extent[axis].loop = -1;
           });
     }},
    {"ViewThatStandsStill",
     [](Plan &p, Random &r) {
       return atUse(
           p, r,
           [](const Use &use) {
             return moves(use.view()) && !use.info().isOutput() && !writesBuffer(use) &&
                    use.buffer().base != Base::Frame;
           },
           [](const Use &use) {
             for (Start &start : use.view().start)
               start.loop = -1;
           });
     }},
};

const std::vector<Mutator> kLives = {
    {"FreedTwice",
     [](Plan &p, Random &r) {
       return atSite(
           p, r, [](const Site &site) { return site.free(); },
           [](const Site &site) { site.insert(site.at + 1, Step(site.step())); });
     }},
    {"AllocatedTwice",
     [](Plan &p, Random &r) {
       return atSite(
           p, r, [](const Site &site) { return site.alloc(); },
           [](const Site &site) { site.insert(site.at + 1, Step(site.step())); });
     }},
    {"NeverAllocated",
     [](Plan &p, Random &r) {
       return atSite(
           p, r, [](const Site &site) { return site.alloc(); },
           [](const Site &site) { site.erase(); });
     }},
    {"FreedAtOnce",
     [](Plan &p, Random &r) {
       return atSite(
           p, r, [](const Site &site) { return site.alloc(); },
           [](const Site &site) {
             int32_t buffer = site.alloc()->buffer;
             std::erase_if(*site.list, [&](const Step &step) {
               const auto *free = std::get_if<FreeStep>(&step.value);
               return free && free->buffer == buffer;
             });
             site.insert(site.at + 1, {FreeStep{buffer}});
           });
     }},
};

/// Before the first step, zeros over a whole buffer.
std::string overwrite(Plan &plan, Random &random, bool (*fits)(const Procedure &, const Buffer &)) {
  return atBuffer(plan, random, fits, [](Procedure &procedure, Buffer &buffer) {
    auto index = static_cast<int32_t>(&buffer - procedure.buffers.data());
    procedure.steps.insert(procedure.steps.begin(),
                           stepOf(Kernel::Zero, {wholeView(buffer, index, 1)}));
  });
}

const std::vector<Mutator> kInPlace = {
    {"WriteOfAMask",
     [](Plan &p, Random &r) {
       return overwrite(p, r, [](const Procedure &, const Buffer &buffer) {
         return buffer.base == Base::Tensor && buffer.name.ends_with("_mask");
       });
     }},
    {"WriteOfAWeight",
     [](Plan &p, Random &r) {
       return overwrite(p, r, [](const Procedure &, const Buffer &buffer) {
         return buffer.base == Base::Weight;
       });
     }},
    {"WriteOfWhatWasKept",
     [](Plan &p, Random &r) {
       return overwrite(p, r, [](const Procedure &procedure, const Buffer &buffer) {
         return buffer.base == Base::Saved && procedure.phase == Phase::Backward;
       });
     }},
    {"ReadOfWhatWasOverwritten",
     [](Plan &p, Random &r) {
       return atUse(
           p, r,
           [](const Use &use) {
             return !use.info().isOutput() && use.view().version > 1 && !writesBuffer(use);
           },
           [](const Use &use) { --use.view().version; });
     }},
    {"OutputOverItsInput",
     [](Plan &p, Random &r) {
       return atUse(
           p, r,
           [](const Use &use) {
             return use.site.kernel()->kernel == Kernel::LayerNorm && use.info().name == "x";
           },
           [](const Use &use) {
             std::optional<View> &y = use.site.kernel()->operands[3];
             y = use.view();
             y->version = newestVersion(*use.site.procedure, y->buffer) + 1;
           });
     }},
};

/// Whether other procedures of the module compute masks of dropout too.
bool hasTwin(const Plan &plan, const Procedure &own) {
  return std::any_of(plan.procedures.begin(), plan.procedures.end(), [&](const Procedure &other) {
    std::function<bool(const std::vector<Step> &)> has = [&](const std::vector<Step> &steps) {
      return std::any_of(steps.begin(), steps.end(), [&](const Step &step) {
        const auto *kernel = std::get_if<KernelStep>(&step.value);
        const auto *loop = std::get_if<LoopStep>(&step.value);
        return (kernel && kernel->kernel == Kernel::DropoutMask) || (loop && has(loop->body));
      });
    };
    return &other != &own && other.module == own.module && has(other.steps);
  });
}

template <class Change> std::string atDropout(Plan &plan, Random &random, Change change) {
  return atUse(
      plan, random,
      [&](const Use &use) {
        return use.site.kernel()->kernel == Kernel::DropoutMask &&
               hasTwin(plan, *use.site.procedure);
      },
      [&](const Use &use) { change(use.site.kernel()->attributes); });
}

bool isRecalled(const Procedure &procedure, const Buffer &buffer) {
  return buffer.base == Base::Saved && procedure.phase == Phase::Backward;
}

const std::vector<Mutator> kForward = {
    {"RateOfDropout",
     [](Plan &p, Random &r) {
       return atDropout(p, r, [](KernelAttributes &attributes) { attributes.rate /= 2; });
     }},
    {"ModuleOfDropout",
     [](Plan &p, Random &r) {
       return atDropout(p, r, [](KernelAttributes &attributes) { attributes.module += 1; });
     }},
    {"KeptByAnotherName",
     [](Plan &p, Random &r) {
       return atBuffer(p, r, isRecalled,
                       [](Procedure &, Buffer &buffer) { buffer.name += ".other"; });
     }},
    {"BackwardOfAnotherModule",
     [](Plan &p, Random &r) {
       return atBuffer(p, r, isRecalled,
                       [](Procedure &procedure, Buffer &) { procedure.module += ".other"; });
     }},
    {"BindingsExchanged",
     [](Plan &p, Random &r) {
       std::string text;
       auto same = [](const CallSite &site, size_t i, size_t j) {
         auto bufferOf = [&](size_t k) -> const Buffer & {
           return site.procedure->buffers[static_cast<size_t>(site.call->bindings[k].buffer)];
         };
         return bufferOf(i).base == Base::Saved && bufferOf(j).base == Base::Saved &&
                bufferOf(i).bytes == bufferOf(j).bytes;
       };
       auto exchange = [&](const CallSite &site, bool apply) {
         for (size_t i = 0; i < site.call->bindings.size(); ++i)
           for (size_t j = 0; j < i; ++j)
             if (same(site, i, j)) {
               if (apply)
                 std::swap(site.call->bindings[i].offset, site.call->bindings[j].offset);
               return true;
             }
         return false;
       };
       return atCall(
           p, r,
           [&](const CallSite &site) {
             return site.procedure->phase == Phase::Backward && exchange(site, false);
           },
           [&](const CallSite &site) { exchange(site, true); });
     }},
};

bool isGradientStream(const Procedure &procedure, const Buffer &buffer) {
  return procedure.phase == Phase::Backward && buffer.base == Base::Tensor &&
         (buffer.name == "dm" || buffer.name == "dz" || buffer.name == "dt");
}

const std::vector<Mutator> kGradients = {
    {"TermDropped",
     [](Plan &p, Random &r) {
       return atUse(
           p, r,
           [](const Use &use) {
             const KernelStep &step = *use.site.kernel();
             return isBackward(use.site) && use.info().name == "residual" &&
                    use.info().isOptional() && (isGradientKernel(step) || !isOfTheForward(step));
           },
           [](const Use &use) { use.operand().reset(); });
     }},
    {"SumThatNobodyBegan",
     [](Plan &p, Random &r) {
       return atUse(
           p, r,
           [](const Use &use) {
             return use.site.kernel()->kernel == Kernel::Zero && use.buffer().base == Base::Frame;
           },
           [](const Use &use) { use.site.erase(); });
     }},
    {"ValueThatNobodyReads",
     [](Plan &p, Random &r) {
       return atSite(
           p, r, [](const Site &site) { return site.free() && isBackward(site); },
           [](const Site &site) {
             site.insert(site.at, zeroOf(*site.procedure, site.free()->buffer));
           });
     }},
    {"StreamOverwritten",
     [](Plan &p, Random &r) {
       return atBuffer(p, r, isGradientStream, [](Procedure &procedure, Buffer &buffer) {
         procedure.steps.push_back(
             zeroOf(procedure, static_cast<int32_t>(&buffer - procedure.buffers.data())));
       });
     }},
};

bool isGradient(const Use &use) {
  return use.buffer().base == Base::Gradient && use.info().isOutput();
}
bool isProduct(const Use &use) {
  Kernel kernel = use.site.kernel()->kernel;
  return isGradient(use) && (kernel == Kernel::WeightGrad || kernel == Kernel::BiasGrad);
}

/// Whether other steps read what this one reads.
bool readsWhatOthersRead(const Use &use) {
  const std::vector<std::optional<View>> &operands = use.site.kernel()->operands;
  for (size_t i = 0; i < operands.size(); ++i)
    if (Use other{use.site, i}; operands[i] && !other.info().isOutput() &&
                                operands[i]->buffer != use.view().buffer && readersOf(other) < 2)
      return false;
  return true;
}

const std::vector<Mutator> kWeights = {
    {"SlicesThatOverwrite",
     [](Plan &p, Random &r) {
       return atUse(
           p, r,
           [](const Use &use) {
             return use.info().name.ends_with("accumulator") &&
                    use.buffer().base == Base::Gradient && !use.site.loops.empty();
           },
           [](const Use &use) { use.operand().reset(); });
     }},
    {"ZerosForAContribution",
     [](Plan &p, Random &r) {
       return atUse(
           p, r,
           [](const Use &use) {
             return isProduct(use) && use.site.loops.empty() && readsWhatOthersRead(use);
           },
           [](const Use &use) {
             View view = use.view();
             int64_t cost = use.site.kernel()->costNs;
             use.site.step() = stepOf(Kernel::Zero, {view});
             use.site.kernel()->costNs = cost;
           });
     }},
    {"ContributionTwice",
     [](Plan &p, Random &r) {
       return atUse(
           p, r,
           [](const Use &use) {
             return isProduct(use) && isWhole(use) && use.site.loops.empty() &&
                    use.view().version == newestVersion(*use.site.procedure, use.view().buffer);
           },
           [](const Use &use) {
             KernelStep again = *use.site.kernel();
             again.operands[static_cast<size_t>(
                 kernelInfo(again.kernel).operandIndex("accumulator"))] = use.view();
             again.operands[use.index]->version += 1;
             again.costNs = 0;
             use.site.insert(use.site.at + 1, {again});
           });
     }},
};

} // namespace

std::map<int, std::vector<Mutator>> dataMutators() {
  return {{0, kForm},    {1, kDefined}, {2, kSlices},    {3, kLives},
          {4, kInPlace}, {5, kForward}, {6, kGradients}, {7, kWeights}};
}

} // namespace evo::plan::test
