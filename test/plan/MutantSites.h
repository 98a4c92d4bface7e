//===- MutantSites.h - places where a plan can be broken --------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/plan/Plan.h"
#include "runtime/plan/Strides.h"

#include <algorithm>
#include <functional>
#include <random>
#include <string>
#include <vector>

namespace evo::plan::test {

using Random = std::mt19937_64;

/// A step where it stands.
struct Site {
  Procedure *procedure;
  std::vector<Step> *list;
  size_t at;
  std::vector<LoopStep *> loops; ///< around it

  Step &step() const { return (*list)[at]; }
  KernelStep *kernel() const { return std::get_if<KernelStep>(&step().value); }
  LoopStep *loop() const { return std::get_if<LoopStep>(&step().value); }
  AllocStep *alloc() const { return std::get_if<AllocStep>(&step().value); }
  FreeStep *free() const { return std::get_if<FreeStep>(&step().value); }
  const Buffer &buffer(int32_t index) const {
    return procedure->buffers[static_cast<size_t>(index)];
  }
  void insert(size_t where, const Step &added) const {
    list->insert(list->begin() + static_cast<std::ptrdiff_t>(where), added);
  }
  void erase() const { list->erase(list->begin() + static_cast<std::ptrdiff_t>(at)); }
};

/// An operand of a kernel step.
struct Use {
  Site site;
  size_t index;

  const OperandInfo &info() const { return kernelInfo(site.kernel()->kernel).operands[index]; }
  std::optional<View> &operand() const { return site.kernel()->operands[index]; }
  View &view() const { return *operand(); }
  const Buffer &buffer() const { return site.buffer(view().buffer); }
  std::string text() const {
    return site.procedure->name + " " + site.kernel()->location + " " + std::string(info().name) +
           " in " + buffer().name;
  }
};

inline void collect(Procedure &procedure, std::vector<Step> &list, std::vector<LoopStep *> loops,
                    std::vector<Site> &sites) {
  for (size_t i = 0; i < list.size(); ++i) {
    sites.push_back({&procedure, &list, i, loops});
    if (auto *loop = std::get_if<LoopStep>(&list[i].value)) {
      loops.push_back(loop);
      collect(procedure, loop->body, loops, sites);
      loops.pop_back();
    }
  }
}

/// A random one of the things that fit.
template <class Thing> const Thing *pick(const std::vector<Thing> &things, Random &random) {
  return things.empty() ? nullptr : &things[random() % things.size()];
}

inline std::vector<Site> sitesOf(Plan &plan, const std::function<bool(const Site &)> &fits) {
  std::vector<Site> all, fitting;
  for (Procedure &procedure : plan.procedures)
    collect(procedure, procedure.steps, {}, all);
  for (const Site &site : all)
    if (fits(site))
      fitting.push_back(site);
  return fitting;
}

inline std::vector<Use> usesOf(Plan &plan, const std::function<bool(const Use &)> &fits) {
  std::vector<Use> uses;
  for (const Site &site : sitesOf(plan, [](const Site &site) { return site.kernel(); }))
    for (size_t i = 0; i < site.kernel()->operands.size(); ++i)
      if (Use use{site, i}; use.operand() && fits(use))
        uses.push_back(use);
  return uses;
}

/// Applies `change` to a random operand that fits.
template <class Fits, class Change>
std::string atUse(Plan &plan, Random &random, Fits fits, Change change) {
  std::vector<Use> uses = usesOf(plan, fits);
  const Use *use = pick(uses, random);
  if (!use)
    return {};
  std::string text = use->text();
  change(*use);
  return text;
}

template <class Fits, class Change>
std::string atSite(Plan &plan, Random &random, Fits fits, Change change) {
  std::vector<Site> sites = sitesOf(plan, fits);
  const Site *site = pick(sites, random);
  if (!site)
    return {};
  std::string text = site->procedure->name + " step " + std::to_string(site->at);
  change(*site);
  return text;
}

template <class Fits, class Change>
std::string atBuffer(Plan &plan, Random &random, Fits fits, Change change) {
  std::vector<std::pair<Procedure *, Buffer *>> buffers;
  for (Procedure &procedure : plan.procedures)
    for (Buffer &buffer : procedure.buffers)
      if (fits(procedure, buffer))
        buffers.push_back({&procedure, &buffer});
  const auto *found = pick(buffers, random);
  if (!found)
    return {};
  std::string text = found->first->name + " " + found->second->name;
  change(*found->first, *found->second);
  return text;
}

struct CallSite {
  const Program *program;
  BlockRun *run;
  Call *call;
  const Procedure *procedure;
};

template <class Fits, class Change>
std::string atCall(Plan &plan, Random &random, Fits fits, Change change) {
  std::vector<CallSite> calls;
  for (Program &program : plan.programs)
    for (BlockRun &run : program.runs)
      for (Call &call : run.calls)
        if (CallSite site{&program, &run, &call,
                          &plan.procedures[static_cast<size_t>(call.procedure)]};
            fits(site))
          calls.push_back(site);
  const CallSite *found = pick(calls, random);
  if (!found)
    return {};
  change(*found);
  return std::string(phaseName(found->program->phase)) + " call of " + found->procedure->name;
}

/// Entry of a table.
template <class Entry, class Change>
std::string atEntry(std::vector<Entry> &entries, size_t from, Random &random, Change change) {
  if (entries.size() <= from)
    return {};
  size_t index = from + random() % (entries.size() - from);
  change(index);
  return entries[index].name;
}

inline int usesOfBuffer(Procedure &procedure, int32_t buffer) {
  std::vector<Site> sites;
  collect(procedure, procedure.steps, {}, sites);
  int uses = 0;
  for (const Site &site : sites)
    if (site.kernel())
      for (const auto &view : site.kernel()->operands)
        uses += view && view->buffer == buffer;
  return uses;
}

/// Operands that read the version of the buffer that this one names.
inline int readersOf(const Use &use) {
  std::vector<Site> sites;
  collect(*use.site.procedure, use.site.procedure->steps, {}, sites);
  int readers = 0;
  for (const Site &site : sites)
    for (size_t i = 0; site.kernel() && i < site.kernel()->operands.size(); ++i) {
      const std::optional<View> &view = site.kernel()->operands[i];
      readers += view && !kernelInfo(site.kernel()->kernel).operands[i].isOutput() &&
                 view->buffer == use.view().buffer && view->version == use.view().version;
    }
  return readers;
}

inline int32_t newestVersion(const Procedure &procedure, int32_t buffer) {
  int32_t newest = 0;
  std::function<void(const std::vector<Step> &)> walk = [&](const std::vector<Step> &steps) {
    for (const Step &step : steps) {
      if (const auto *loop = std::get_if<LoopStep>(&step.value))
        walk(loop->body);
      if (const auto *kernel = std::get_if<KernelStep>(&step.value))
        for (const auto &view : kernel->operands)
          if (view && view->buffer == buffer)
            newest = std::max(newest, view->version);
    }
  };
  walk(procedure.steps);
  return newest;
}

inline Step stepOf(Kernel kernel, std::vector<std::optional<View>> operands) {
  KernelStep step;
  step.kernel = kernel;
  step.operands = std::move(operands);
  step.location = "mutant";
  return {step};
}

inline Step zeroOf(const Procedure &procedure, int32_t buffer) {
  return stepOf(Kernel::Zero, {wholeView(procedure.buffers[static_cast<size_t>(buffer)], buffer,
                                         newestVersion(procedure, buffer) + 1)});
}

inline bool moves(const View &view) {
  return std::any_of(view.start.begin(), view.start.end(),
                     [](const Start &start) { return start.loop >= 0; });
}
inline bool isWhole(const Use &use) {
  for (size_t axis = 0; axis < use.view().extent.size(); ++axis)
    if (use.view().extent[axis] != Extent{use.buffer().shape[axis], -1})
      return false;
  return true;
}
inline bool writesBuffer(const Use &use) {
  const KernelStep &step = *use.site.kernel();
  for (size_t i = 0; i < step.operands.size(); ++i)
    if (step.operands[i] && kernelInfo(step.kernel).operands[i].isOutput() &&
        step.operands[i]->buffer == use.view().buffer)
      return true;
  return false;
}
inline bool isBackward(const Site &site) { return site.procedure->phase == Phase::Backward; }
/// Whether a step of a backward procedure, of no gradient kernel, computes a value of the forward.
/// Products for gradients read their weight turned round.
inline bool isOfTheForward(const KernelStep &step) {
  if (step.kernel != Kernel::Linear)
    return step.kernel != Kernel::BatchMatmul && step.kernel != Kernel::Add &&
           step.kernel != Kernel::Zero && step.kernel != Kernel::Copy;
  int weight = kernelInfo(step.kernel).operandIndex("weight");
  return step.operands[static_cast<size_t>(weight)]->order[0] == 0;
}
inline bool isGradientKernel(const KernelStep &step) {
  return kernelInfo(step.kernel).name.ends_with("Grad");
}
inline bool isBound(const Call &call, int32_t buffer) {
  return std::any_of(call.bindings.begin(), call.bindings.end(),
                     [&](const Binding &binding) { return binding.buffer == buffer; });
}
inline bool keepsUnbound(const CallSite &site) {
  for (size_t i = 0; i < site.procedure->buffers.size(); ++i)
    if (site.procedure->buffers[i].base == Base::Saved &&
        !isBound(*site.call, static_cast<int32_t>(i)))
      return true;
  return false;
}

} // namespace evo::plan::test
