//===- VerifySlices.cpp - slices are independent ----------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// A loop over slices computes what its kernels would on the whole axis (4): where an operand of a
// step moves along an axis of the kernel's row, all operands with this axis do, and outputs are
// slices along it too, or sums over it that all slices add to. Axes that a kernel mixes are not
// sliced.
//===----------------------------------------------------------------------===//
#include "runtime/plan/VerifyParts.h"

#include <algorithm>
#include <memory>

namespace evo::plan {

namespace {

/// A letter of Kernels.def, or for the leading axes '0', '1', ...
using Axis = char;

/// One operand of a step against one loop around it.
struct Sliced {
  std::string axes;     ///< of the view, in its order
  int moving = -1;      ///< the one that is a slice of the loop
  bool spreads = false; ///< leading axes of extent 1 are broadcast

  bool has(Axis axis) const { return axes.find(axis) != std::string::npos; }
  bool movesAlong(Axis axis) const {
    return moving >= 0 && axes[static_cast<size_t>(moving)] == axis;
  }
};

bool isLeading(Axis axis) { return axis >= '0' && axis <= '9'; }

class SliceCheck {
public:
  explicit SliceCheck(const Procedure &procedure) : procedure(procedure) {}
  Verdict steps(const std::vector<Step> &list, const Path &parent, std::string_view field);

private:
  /// A loop around, and whose memory is from inside it.
  struct Around {
    const LoopStep *loop = nullptr;
    std::vector<int32_t> buffers;
  };

  Verdict kernel(const KernelStep &step, const Path &path, const Around &around) const;
  Verdict along(const KernelStep &step, const std::vector<Sliced> &operands, Axis axis,
                const Path &path, const Around &around) const;
  Verdict output(const KernelStep &step, size_t index, Axis axis, const Path &path,
                 const Around &around) const;
  Sliced slicedOf(const OperandInfo &info, const View &view, const LoopStep &loop) const;

  const Procedure &procedure;
  std::vector<Around> arounds;
};

/// A view has a slice of a loop on one axis at most: it moves there, or is of a buffer that holds
/// one slice.
Sliced SliceCheck::slicedOf(const OperandInfo &info, const View &view, const LoopStep &loop) const {
  Sliced sliced;
  std::string_view letters = info.axes;
  bool star = !letters.empty() && (letters.front() == '*' || letters.front() == '~');
  if (star)
    letters.remove_prefix(1);
  size_t leading = view.order.size() - letters.size();
  for (size_t i = 0; i < leading; ++i)
    sliced.axes.push_back(static_cast<char>('0' + i));
  sliced.axes.append(letters);
  sliced.spreads = star && info.axes.front() == '~';
  for (size_t i = 0; i < view.order.size(); ++i) {
    const Extent &extent = view.extent[static_cast<size_t>(view.order[i])];
    bool slice = extent.loop == loop.loop;
    if (slice)
      sliced.moving = static_cast<int>(i);
    // `u` is q, or 1 and broadcast; masked means have no q to be.
    if (sliced.axes[i] == 'u' && (slice || extent.value != 1))
      sliced.axes[i] = 'q';
    if (sliced.spreads && i < leading && !slice && extent.value == 1)
      sliced.axes[i] = ' ';
  }
  return sliced;
}

std::string nameOf(Axis axis) {
  return isLeading(axis) ? makeText("leading axis ", axis - '0')
                         : makeText("axis '", std::string(1, axis), "'");
}

/// Sums over an axis are whole behind the loop: each slice adds to one memory.
Verdict SliceCheck::output(const KernelStep &step, size_t index, Axis axis, const Path &path,
                           const Around &around) const {
  const KernelInfo &info = kernelInfo(step.kernel);
  const OperandInfo &operand = info.operands[index];
  if (!operand.accumulates)
    return violates(4, path.at(operand.name),
                    makeText("no loop along ", nameOf(axis), " of ", info.mnemonic, ", whose '",
                             operand.name, "' takes all of it"),
                    makeText("slices of loop ", around.loop->loop));
  int32_t buffer = step.operands[index]->buffer;
  const auto &accumulator = step.operands[static_cast<size_t>(info.operandIndex(operand.mayAlias))];
  bool local =
      std::find(around.buffers.begin(), around.buffers.end(), buffer) != around.buffers.end();
  if (local || !accumulator || accumulator->buffer != buffer)
    return violates(4, path.at(operand.name),
                    makeText("a sum over ", nameOf(axis), " in memory that every slice of loop ",
                             around.loop->loop, " adds to"),
                    local ? "memory of one slice" : "one that does not add");
  return {};
}

Verdict SliceCheck::along(const KernelStep &step, const std::vector<Sliced> &operands, Axis axis,
                          const Path &path, const Around &around) const {
  const KernelInfo &info = kernelInfo(step.kernel);
  auto given = std::make_unique<bool[]>(step.operands.size());
  for (size_t i = 0; i < step.operands.size(); ++i)
    given[i] = step.operands[i].has_value();
  std::string_view mixed = mixedAxes(step.kernel, {given.get(), step.operands.size()});
  if (mixed.find(isLeading(axis) ? '*' : axis) != std::string_view::npos)
    return violates(4, path,
                    makeText("no loop along ", nameOf(axis), ", which ", info.mnemonic, " mixes"),
                    makeText("slices of loop ", around.loop->loop));
  for (size_t i = 0; i < operands.size(); ++i) {
    if (!step.operands[i])
      continue;
    if (operands[i].has(axis) && !operands[i].movesAlong(axis))
      return violates(4, path.at(info.operands[i].name),
                      makeText(nameOf(axis), " to be a slice of loop ", around.loop->loop,
                               ", as it is in other operands"),
                      "one that stands still");
    if (info.operands[i].isOutput() && !operands[i].has(axis))
      EVO_VERIFY(output(step, i, axis, path, around));
  }
  return {};
}

Verdict SliceCheck::kernel(const KernelStep &step, const Path &path, const Around &around) const {
  const KernelInfo &info = kernelInfo(step.kernel);
  std::vector<Sliced> operands(step.operands.size());
  std::string axes; // that move
  for (size_t i = 0; i < step.operands.size(); ++i) {
    if (!step.operands[i])
      continue;
    operands[i] = slicedOf(info.operands[i], *step.operands[i], *around.loop);
    if (operands[i].moving >= 0)
      if (Axis axis = operands[i].axes[static_cast<size_t>(operands[i].moving)];
          axes.find(axis) == std::string::npos)
        axes.push_back(axis);
  }
  for (Axis axis : axes)
    EVO_VERIFY(along(step, operands, axis, path, around));
  return {};
}

Verdict SliceCheck::steps(const std::vector<Step> &list, const Path &parent,
                          std::string_view field) {
  for (const Step &step : list)
    if (const auto *alloc = std::get_if<AllocStep>(&step.value))
      for (Around &around : arounds)
        around.buffers.push_back(alloc->buffer);
  for (size_t i = 0; i < list.size(); ++i) {
    Path path = parent.at(field, i);
    if (const auto *step = std::get_if<KernelStep>(&list[i].value)) {
      for (const Around &around : arounds)
        if (around.loop->extent > around.loop->size)
          EVO_VERIFY(kernel(*step, path.at("operands"), around));
    } else if (const auto *loop = std::get_if<LoopStep>(&list[i].value)) {
      arounds.push_back({loop, {}});
      EVO_VERIFY(steps(loop->body, path, "body"));
      arounds.pop_back();
    }
  }
  return {};
}

} // namespace

Verdict verifySlices(const Plan &plan) {
  Path root;
  for (size_t i = 0; i < plan.procedures.size(); ++i) {
    SliceCheck check(plan.procedures[i]);
    EVO_VERIFY(check.steps(plan.procedures[i].steps, root.at("procedures", i), "steps"));
  }
  return {};
}

} // namespace evo::plan
