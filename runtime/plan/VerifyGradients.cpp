//===- VerifyGradients.cpp - nothing lost, nothing twice --------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// What backward procedures do with the values that they compute (6). A loop's body is looked at
// once: its slices tile an axis, so a view that moves with it stands for the whole axis. verifyData
// has held the versions already.
//===----------------------------------------------------------------------===//
#include "runtime/plan/Regions.h"
#include "runtime/plan/VerifyParts.h"

#include <algorithm>
#include <set>

namespace evo::plan {

namespace {

/// Boxes looked at before a plan is refused as too large.
constexpr int64_t kMaxWork = 100'000'000;

bool movesWith(const View &view, int32_t loop) {
  return std::any_of(view.start.begin(), view.start.end(),
                     [&](const Start &start) { return start.loop == loop; });
}

/// Whether the kernel adds input `input` to an output, as one term of a sum.
bool isTerm(const KernelInfo &info, size_t input) {
  const OperandInfo &operand = info.operands[input];
  if (operand.isOutput())
    return false;
  if (operand.name == "residual" || operand.name == "addend")
    return true;
  return std::any_of(info.operands.begin(), info.operands.end(), [&](const OperandInfo &output) {
    return output.accumulates && output.mayAlias == operand.name;
  });
}

bool isSameView(const View &a, const View &b) {
  return a.buffer == b.buffer && a.start == b.start && a.extent == b.extent && a.order == b.order;
}

/// Whether the step writes to where it reads this input.
bool isInPlace(const KernelStep &step, size_t input) {
  const KernelInfo &info = kernelInfo(step.kernel);
  for (size_t i = 0; i < info.operands.size(); ++i)
    if (info.operands[i].isOutput() && step.operands[i] &&
        isSameView(*step.operands[i], *step.operands[input]))
      return true;
  return false;
}

class GradientFlow {
public:
  GradientFlow(const Plan &plan, const Procedure &procedure, WorkBudget &work);
  Verdict run(const Path &path) { return steps(procedure.steps, path, "steps"); }

private:
  struct BufferState {
    size_t depth = 0; ///< loops around its alloc
    Regions unread;   ///< the id of the step that wrote an element; nothing where it was read
    Regions added;    ///< the newest version that was a term of a sum
  };

  Verdict steps(const std::vector<Step> &list, const Path &parent, std::string_view field);
  Verdict kernel(const KernelStep &step, const Path &path);
  Verdict free(int32_t buffer, const Path &path);
  Verdict term(const KernelStep &step, size_t input, const Path &path);
  Verdict write(const KernelStep &step, size_t output, const Path &path);
  Verdict spend(size_t amount, const Path &path);
  void alloc(int32_t buffer);
  bool isGradient(const View &view) const {
    return gradients.count({view.buffer, view.version}) > 0;
  }
  std::string quoted(int32_t buffer) const {
    return makeText("'", procedure.buffers[buffer].name, "'");
  }

  const Procedure &procedure;
  WorkBudget &work;
  std::vector<BufferState> buffers;
  std::vector<bool> isStream;                      ///< a buffer: a gradient that the caller gives
  std::set<std::pair<int32_t, int32_t>> gradients; ///< buffers and versions, as opposed to
                                                   ///< activations that are computed again
  std::vector<const LoopStep *> loops;
  int32_t nextId = 0;
};

GradientFlow::GradientFlow(const Plan &plan, const Procedure &procedure, WorkBudget &work)
    : procedure(procedure), work(work), buffers(procedure.buffers.size()) {
  const Program *program = programOf(plan, Phase::Backward);
  for (size_t i = 0; i < buffers.size(); ++i) {
    const Buffer &buffer = procedure.buffers[i];
    alloc(static_cast<int32_t>(i));
    isStream.push_back(program && buffer.base == Base::Tensor &&
                       std::count(program->inputs.begin(), program->inputs.end(), buffer.name) &&
                       std::count(program->outputs.begin(), program->outputs.end(), buffer.name));
    if (isStream.back() || buffer.base == Base::Gradient)
      gradients.insert({static_cast<int32_t>(i), 0});
  }
}

Verdict GradientFlow::spend(size_t amount, const Path &path) {
  if (!work.spend(amount + 1))
    return violates(0, path, "a plan that can be checked in bounded time",
                    "more steps and pieces of buffers");
  return {};
}

void GradientFlow::alloc(int32_t buffer) {
  BufferState &state = buffers[buffer];
  state.depth = loops.size();
  state.unread = state.added = Regions(procedure.buffers[buffer].shape, kUndefined);
  gradients.erase(gradients.lower_bound({buffer, 0}), gradients.lower_bound({buffer + 1, 0}));
}

Verdict GradientFlow::free(int32_t buffer, const Path &path) {
  const Regions &unread = buffers[buffer].unread;
  int32_t writer = unread.newest(unread.whole());
  if (writer != kUndefined)
    return violates(6, path,
                    makeText("every element of ", quoted(buffer), " to be read before it is freed"),
                    makeText("some that step ", writer, " wrote and nobody reads"));
  return {};
}

/// A gradient is a term of one sum, once.
Verdict GradientFlow::term(const KernelStep &step, size_t input, const Path &path) {
  const View &view = *step.operands[input];
  BufferState &state = buffers[view.buffer];
  Box box = wholeBox(view, loops);
  EVO_VERIFY(spend(state.added.size(), path));
  if (state.added.newest(box) >= view.version)
    return violates(
        6, path,
        makeText("version ", view.version, " of ", quoted(view.buffer), " to be added to one sum"),
        "a second one");
  for (size_t depth = state.depth; depth < loops.size() && !isInPlace(step, input); ++depth)
    if (loops[depth]->extent > loops[depth]->size && !movesWith(view, loops[depth]->loop))
      return violates(
          6, path,
          makeText("version ", view.version, " of ", quoted(view.buffer), " to be added once"),
          makeText("once in every slice of loop ", loops[depth]->loop));
  state.added.write(box, view.version);
  return {};
}

Verdict GradientFlow::write(const KernelStep &step, size_t output, const Path &path) {
  const KernelInfo &info = kernelInfo(step.kernel);
  const View &view = *step.operands[output];
  BufferState &state = buffers[view.buffer];
  Box box = wholeBox(view, loops);
  EVO_VERIFY(spend(state.unread.size(), path));
  int32_t writer = state.unread.newest(box);
  if (writer != kUndefined)
    return violates(
        6, path,
        makeText("every element of ", quoted(view.buffer), " to be read before it is overwritten"),
        makeText("some that step ", writer, " wrote and nobody reads"));
  bool takesOver = false;
  for (size_t i = 0; i < info.operands.size(); ++i)
    takesOver |=
        !info.operands[i].isOutput() && step.operands[i] && isSameView(*step.operands[i], view);
  if (isStream[view.buffer] && !takesOver)
    return violates(
        6, path,
        makeText("the gradient that ", quoted(view.buffer), " has to be among the step's inputs"),
        "a step that overwrites it");
  state.unread.write(box, nextId);
  return {};
}

Verdict GradientFlow::kernel(const KernelStep &step, const Path &path) {
  const KernelInfo &info = kernelInfo(step.kernel);
  Path operands = path.at("operands");
  bool fromGradients = step.kernel == Kernel::Zero;
  for (size_t i = 0; i < info.operands.size(); ++i) {
    if (!step.operands[i] || info.operands[i].isOutput())
      continue;
    const View &view = *step.operands[i];
    BufferState &state = buffers[view.buffer];
    EVO_VERIFY(spend(state.unread.size(), path));
    state.unread.write(wholeBox(view, loops), kUndefined);
    fromGradients |= isGradient(view);
  }
  for (size_t i = 0; i < info.operands.size(); ++i)
    if (step.operands[i] && isTerm(info, i) && isGradient(*step.operands[i]))
      EVO_VERIFY(term(step, i, operands.at(info.operands[i].name)));
  for (size_t i = 0; i < info.operands.size(); ++i) {
    if (!step.operands[i] || !info.operands[i].isOutput())
      continue;
    EVO_VERIFY(write(step, i, operands.at(info.operands[i].name)));
    if (fromGradients)
      gradients.insert({step.operands[i]->buffer, step.operands[i]->version});
  }
  ++nextId;
  return {};
}

Verdict GradientFlow::steps(const std::vector<Step> &list, const Path &parent,
                            std::string_view field) {
  for (size_t i = 0; i < list.size(); ++i) {
    Path path = parent.at(field, i);
    EVO_VERIFY(spend(1, path));
    if (const auto *kernelStep = std::get_if<KernelStep>(&list[i].value)) {
      EVO_VERIFY(kernel(*kernelStep, path));
    } else if (const auto *allocStep = std::get_if<AllocStep>(&list[i].value)) {
      alloc(allocStep->buffer);
    } else if (const auto *freeStep = std::get_if<FreeStep>(&list[i].value)) {
      EVO_VERIFY(free(freeStep->buffer, path.at("free")));
    } else if (const auto *loopStep = std::get_if<LoopStep>(&list[i].value)) {
      loops.push_back(loopStep);
      EVO_VERIFY(steps(loopStep->body, path, "body"));
      loops.pop_back();
    }
  }
  return {};
}

} // namespace

Verdict verifyGradients(const Plan &plan) {
  Path root;
  WorkBudget work{kMaxWork};
  for (size_t i = 0; i < plan.procedures.size(); ++i)
    if (plan.procedures[i].phase == Phase::Backward)
      EVO_VERIFY(GradientFlow(plan, plan.procedures[i], work).run(root.at("procedures", i)));
  return {};
}

} // namespace evo::plan
