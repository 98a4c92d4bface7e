//===- VerifyContributions.cpp - what makes a weight's gradient -*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// Each use of a weight's elements in the forward program makes one contribution to their gradient
// (7). A step in a slice loop is one use, and makes one contribution, since slices tile an axis. A
// step that computes what another one has computed is no use of its own: what is made of both are
// terms of one gradient.
//===----------------------------------------------------------------------===//
#include "runtime/plan/Regions.h"
#include "runtime/plan/VerifyParts.h"

#include <algorithm>
#include <functional>
#include <map>

namespace evo::plan {

namespace {

/// Elements of weights looked at before a plan is refused as too large.
constexpr int64_t kMaxWork = 50'000'000;

/// Where a procedure meets a weight, or its gradient.
struct Meeting {
  Box box;
  bool contributes = false; ///< writes the gradient, more than zeros
  bool writes = false;      ///< writes the gradient
  bool adds = false;        ///< adds to what calls before have left
};
/// By weight.
using Meetings = std::map<size_t, std::vector<Meeting>>;

using VisitStep =
    std::function<Verdict(const KernelStep &, const Path &, const std::vector<const LoopStep *> &)>;

Verdict forEachStep(const std::vector<Step> &list, const Path &parent, std::string_view field,
                    std::vector<const LoopStep *> &loops, const VisitStep &visit) {
  for (size_t i = 0; i < list.size(); ++i) {
    Path path = parent.at(field, i);
    if (const auto *kernel = std::get_if<KernelStep>(&list[i].value))
      EVO_VERIFY(visit(*kernel, path, loops));
    if (const auto *loop = std::get_if<LoopStep>(&list[i].value)) {
      loops.push_back(loop);
      EVO_VERIFY(forEachStep(loop->body, path, "body", loops, visit));
      loops.pop_back();
    }
  }
  return {};
}

/// Knows the steps of a procedure that compute the same from the same.
class ValueNumbers {
public:
  explicit ValueNumbers(const Procedure &procedure) : procedure(procedure) {}

  /// Whether a step before has computed the outputs of this one.
  bool isAgain(const KernelStep &step, const std::vector<const LoopStep *> &loops);

private:
  /// A value and the elements of it.
  using Input = std::pair<int64_t, std::vector<int64_t>>;
  struct Known {
    Kernel kernel;
    KernelAttributes attributes;
    std::vector<Input> inputs;
    bool operator==(const Known &) const = default;
  };
  Input inputOf(const View &view, const std::vector<const LoopStep *> &loops);
  bool isWhole(const View &view) const {
    const std::vector<int64_t> &shape = procedure.buffers[view.buffer].shape;
    for (size_t axis = 0; axis < shape.size(); ++axis)
      if (view.extent[axis].loop < 0 && view.extent[axis].value != shape[axis])
        return false;
    return true;
  }

  const Procedure &procedure;
  std::map<std::vector<Input>, std::vector<std::pair<Known, int64_t>>> known; ///< with numbers
  std::map<std::pair<int32_t, int32_t>, int64_t> values; ///< of buffers and versions
  int64_t next = 0;
};

ValueNumbers::Input ValueNumbers::inputOf(const View &view,
                                          const std::vector<const LoopStep *> &loops) {
  auto [value, isNew] = values.try_emplace({view.buffer, view.version}, next);
  next += isNew;
  Input input{value->second, {}};
  for (size_t axis = 0; axis < view.start.size(); ++axis) {
    int64_t length = view.extent[axis].value;
    for (const LoopStep *loop : loops)
      if (loop->loop == view.extent[axis].loop)
        length = loop->extent;
    input.second.push_back(view.start[axis].value);
    input.second.push_back(length);
  }
  return input;
}

bool ValueNumbers::isAgain(const KernelStep &step, const std::vector<const LoopStep *> &loops) {
  const KernelInfo &info = kernelInfo(step.kernel);
  Known own{step.kernel, step.attributes, {}};
  for (size_t i = 0; i < info.operands.size(); ++i)
    if (!info.operands[i].isOutput())
      own.inputs.push_back(step.operands[i] ? inputOf(*step.operands[i], loops) : Input{-1, {}});
  std::vector<std::pair<Known, int64_t>> &alike = known[own.inputs];
  int64_t number = -1;
  for (const auto &[other, otherNumber] : alike)
    if (other == own)
      number = otherNumber;
  bool again = number >= 0;
  if (!again) {
    number = next;
    next += static_cast<int64_t>(info.operands.size());
    alike.push_back({own, number});
  }
  for (size_t i = 0; i < info.operands.size(); ++i)
    if (info.operands[i].isOutput() && step.operands[i])
      values[{step.operands[i]->buffer, step.operands[i]->version}] =
          isWhole(*step.operands[i]) ? number + static_cast<int64_t>(i) : next++;
  return again;
}

Meetings meetingsOf(const Plan &plan, const Procedure &procedure) {
  std::vector<std::optional<size_t>> weights;
  for (const Buffer &buffer : procedure.buffers) {
    weights.push_back(std::nullopt);
    if (buffer.base == Base::Gradient)
      weights.back() = weightOfGradient(plan, buffer.name);
    for (size_t i = 0; i < plan.weights.size() && buffer.base == Base::Weight; ++i)
      if (plan.weights[i].name == buffer.name)
        weights.back() = i;
  }
  Meetings meetings;
  ValueNumbers numbers(procedure);
  std::vector<const LoopStep *> loops;
  auto visit = [&](const KernelStep &step, const Path &, const auto &around) -> Verdict {
    const KernelInfo &info = kernelInfo(step.kernel);
    if (procedure.phase == Phase::Forward && numbers.isAgain(step, around))
      return {};
    for (size_t i = 0; i < info.operands.size(); ++i) {
      if (!step.operands[i] || !weights[step.operands[i]->buffer])
        continue;
      const View &view = *step.operands[i];
      bool output = info.operands[i].isOutput();
      bool gradient = procedure.buffers[view.buffer].base == Base::Gradient;
      meetings[*weights[view.buffer]].push_back({wholeBox(view, around),
                                                 output && step.kernel != Kernel::Zero, output,
                                                 gradient && !output && view.version == 0});
    }
    return {};
  };
  (void)forEachStep(procedure.steps, Path(), "steps", loops, visit);
  return meetings;
}

/// One block of the forward and of the backward program, wherever both have the same calls.
struct BlockPair {
  size_t forward = 0, backward = 0; ///< runs
};

std::vector<BlockPair> pairBlocks(const Plan &plan, const Program &forward,
                                  const Program &backward) {
  std::vector<BlockPair> pairs;
  for (size_t i = 0; i < forward.runs.size(); ++i)
    for (size_t j = 0; j < backward.runs.size(); ++j) {
      const BlockRun &a = forward.runs[i], &b = backward.runs[j];
      if (!goesDown(plan, backward, b))
        continue;
      if (a.firstBlock < b.firstBlock + b.blockCount && b.firstBlock < a.firstBlock + a.blockCount)
        pairs.push_back({i, j});
    }
  return pairs;
}

class ContributionCount {
public:
  explicit ContributionCount(const Plan &plan) : plan(plan) {
    for (const Procedure &procedure : plan.procedures)
      meetings.push_back(meetingsOf(plan, procedure));
  }
  Verdict run();

private:
  Verdict weight(const BlockPair &pair, size_t index);
  Verdict elements(const BlockPair &pair, size_t index, const Box &box);
  std::vector<const Meeting *> meetingsAt(const Call &call, size_t index, const Box &box) const;
  const BlockRun &forwardRun(const BlockPair &pair) const {
    return programOf(plan, Phase::Forward)->runs[pair.forward];
  }
  const BlockRun &backwardRun(const BlockPair &pair) const {
    return programOf(plan, Phase::Backward)->runs[pair.backward];
  }

  const Plan &plan;
  std::vector<Meetings> meetings; ///< of each procedure
  WorkBudget work{kMaxWork};
};

std::vector<const Meeting *> ContributionCount::meetingsAt(const Call &call, size_t index,
                                                           const Box &box) const {
  std::vector<const Meeting *> found;
  const Meetings &own = meetings[call.procedure];
  if (auto known = own.find(index); known != own.end())
    for (const Meeting &meeting : known->second)
      if (meeting.box.intersects(box))
        found.push_back(&meeting);
  return found;
}

std::string rowsText(const Box &box) { return makeText("[", box.begin[0], ", ", box.end[0], ")"); }

/// Elements that every step meets all or none of.
Verdict ContributionCount::elements(const BlockPair &pair, size_t index, const Box &box) {
  Path root;
  auto number = static_cast<size_t>(programOf(plan, Phase::Backward) - plan.programs.data());
  Path program = root.at("programs", number);
  Path run = program.at("runs", pair.backward);
  const std::string &name = plan.weights[index].name;
  int64_t uses = 0, contributions = 0;
  for (const Call &call : forwardRun(pair).calls)
    uses += static_cast<int64_t>(meetingsAt(call, index, box).size());
  bool written = false;
  const std::vector<Call> &calls = backwardRun(pair).calls;
  for (size_t i = 0; i < calls.size(); ++i) {
    if (plan.procedures[calls[i].procedure].phase != Phase::Backward)
      continue;
    bool writes = false, adds = false;
    for (const Meeting *meeting : meetingsAt(calls[i], index, box)) {
      contributions += meeting->contributes;
      writes |= meeting->writes;
      adds |= meeting->adds;
    }
    if (writes && written && !adds)
      return violates(7, run.at("calls", i),
                      makeText("rows ", rowsText(box), " of the gradient of '", name,
                               "' to be added to what calls before have left"),
                      "a call that overwrites them");
    if (adds && !written)
      return violates(1, run.at("calls", i),
                      makeText("rows ", rowsText(box), " of the gradient of '", name,
                               "' to be written in the block before they are read"),
                      "undefined elements");
    written |= writes;
  }
  if (uses != contributions)
    return violates(7, run.at("calls"),
                    makeText(uses, " contributions to rows ", rowsText(box),
                             " of the gradient of '", name,
                             "', as many as the forward program uses them"),
                    makeText(contributions));
  return {};
}

Verdict ContributionCount::weight(const BlockPair &pair, size_t index) {
  std::vector<std::vector<int64_t>> cuts; // by axis
  for (int64_t size : plan.weights[index].shape)
    cuts.push_back({0, size});
  int64_t met = 0;
  auto cut = [&](const std::vector<Call> &calls) {
    for (const Call &call : calls) {
      const Meetings &own = meetings[call.procedure];
      auto known = own.find(index);
      if (known == own.end())
        continue;
      met += static_cast<int64_t>(known->second.size());
      for (const Meeting &meeting : known->second)
        for (size_t axis = 0; axis < cuts.size(); ++axis)
          cuts[axis].insert(cuts[axis].end(), {meeting.box.begin[axis], meeting.box.end[axis]});
    }
  };
  cut(forwardRun(pair).calls);
  cut(backwardRun(pair).calls);
  for (std::vector<int64_t> &axis : cuts) {
    std::sort(axis.begin(), axis.end());
    axis.erase(std::unique(axis.begin(), axis.end()), axis.end());
  }
  cuts.resize(2, {0, 1});
  for (size_t i = 0; i + 1 < cuts[0].size(); ++i)
    for (size_t j = 0; j + 1 < cuts[1].size(); ++j) {
      if (!work.spend(static_cast<size_t>(met) + 1))
        return violates(0, Path().at("weights", index),
                        "a plan that can be checked in bounded time", "more uses of weights");
      Box box{static_cast<int>(plan.weights[index].shape.size()),
              {cuts[0][i], cuts[1][j]},
              {cuts[0][i + 1], cuts[1][j + 1]}};
      EVO_VERIFY(elements(pair, index, box));
    }
  return {};
}

Verdict ContributionCount::run() {
  const Program *forward = programOf(plan, Phase::Forward);
  const Program *backward = programOf(plan, Phase::Backward);
  if (!forward || !backward)
    return {};
  for (const BlockPair &pair : pairBlocks(plan, *forward, *backward))
    for (size_t i = 0; i < plan.weights.size(); ++i)
      EVO_VERIFY(weight(pair, i));
  return {};
}

/// An output that the loops around leave where it is, and that its step does not add to.
bool isOverwritten(const KernelStep &step, size_t output,
                   const std::vector<const LoopStep *> &loops, int32_t &loop) {
  const KernelInfo &info = kernelInfo(step.kernel);
  const View &after = *step.operands[output];
  int input =
      info.operands[output].accumulates ? info.operandIndex(info.operands[output].mayAlias) : -1;
  if (input >= 0 && step.operands[input] && step.operands[input]->buffer == after.buffer)
    return false;
  for (const LoopStep *around : loops)
    if (around->extent > around->size &&
        std::none_of(after.start.begin(), after.start.end(),
                     [&](const Start &start) { return start.loop == around->loop; })) {
      loop = around->loop;
      return true;
    }
  return false;
}

} // namespace

Box wholeBox(const View &view, std::span<const LoopStep *const> loops) {
  Box box;
  box.rank = static_cast<int>(view.start.size());
  for (int axis = 0; axis < box.rank; ++axis) {
    int64_t length = view.extent[axis].value;
    for (const LoopStep *loop : loops)
      if (loop->loop == view.extent[axis].loop)
        length = loop->extent;
    box.begin[axis] = view.start[axis].value;
    box.end[axis] = box.begin[axis] + length;
  }
  return box;
}

Verdict verifySums(const Plan &plan) {
  Path root;
  for (size_t i = 0; i < plan.procedures.size(); ++i) {
    const Procedure &procedure = plan.procedures[i];
    std::vector<const LoopStep *> loops;
    auto visit = [&](const KernelStep &step, const Path &path, const auto &around) -> Verdict {
      const KernelInfo &info = kernelInfo(step.kernel);
      for (size_t j = 0; j < info.operands.size(); ++j) {
        int32_t loop = -1;
        if (info.operands[j].isOutput() && step.operands[j] &&
            procedure.buffers[step.operands[j]->buffer].base == Base::Gradient &&
            isOverwritten(step, j, around, loop))
          return violates(7, path.at("operands").at(info.operands[j].name),
                          makeText("a contribution to '",
                                   procedure.buffers[step.operands[j]->buffer].name,
                                   "' that every slice of loop ", loop, " adds to"),
                          "one that overwrites those of the slices before");
      }
      return {};
    };
    EVO_VERIFY(forEachStep(procedure.steps, root.at("procedures", i), "steps", loops, visit));
  }
  return {};
}

Verdict verifyContributions(const Plan &plan) { return ContributionCount(plan).run(); }

} // namespace evo::plan
