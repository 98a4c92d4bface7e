//===- VerifyPairing.cpp - operands of gradient kernels ---------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "runtime/plan/VerifyPairing.h"

#include <algorithm>

namespace evo::plan {

namespace {

/// Whether a value is all of its expression, axes in order.
bool isPlain(const Expressions &expressions, const Value &value) {
  const std::vector<int64_t> &shape = expressions[value].shape;
  for (size_t axis = 0; axis < value.axes.size(); ++axis)
    if (value.axes[axis] != AxisSlice{static_cast<int32_t>(axis), 0, shape[axis]})
      return false;
  return true;
}

/// Kernels that compute nothing but gradients.
bool isOfGradients(const KernelInfo &info) {
  return info.name.ends_with("Grad") || info.kernel == Kernel::Add || info.kernel == Kernel::Zero;
}

} // namespace

/// A value of the forward; none where the operand is absent.
Verdict Pairing::value(std::string_view name, Value &value) const {
  value = {};
  if (!has(name))
    return {};
  bool isGradient = false;
  value = trace.readValue(*operand(name), isGradient);
  if (isGradient)
    return violates(6, operands.at(name), "a value of the forward", "a gradient");
  return {};
}

Verdict Pairing::gradient(std::string_view name, Pieces &pieces) const {
  pieces.clear();
  if (!has(name))
    return {};
  pieces = trace.read(*operand(name));
  for (const Piece &piece : pieces)
    if (!piece.held.isGradient)
      return violates(6, operands.at(name), "a gradient", "a value of the forward");
  return {};
}

/// That the value is all of an expression of that op.
Verdict Pairing::plain(std::string_view name, Op op, const Value &value) const {
  if (value && e[value].op == op && isPlain(e, value))
    return {};
  return violates(6, operands.at(name),
                  makeText("the gradient of what a step of the forward computed that '",
                           info.mnemonic, "' differentiates"),
                  "that of something else");
}

/// A gradient that is all of one expression's.
Verdict Pairing::whole(std::string_view name, Op op, Value &value, uint64_t &sum) {
  Pieces pieces;
  EVO_VERIFY(gradient(name, pieces));
  value = pieces.size() == 1 ? e.passedTo(pieces[0].held.value, op) : Value{};
  EVO_VERIFY(plain(name, op, value));
  sum = pieces[0].held.sum;
  return {};
}

/// A gradient in pieces by its last axis.
Verdict Pairing::rows(std::string_view name, Pieces &pieces) const {
  EVO_VERIFY(gradient(name, pieces));
  std::vector<int64_t> shape = trace.shapeOf(*operand(name));
  for (const Piece &piece : pieces)
    for (size_t axis = 0; axis + 1 < shape.size(); ++axis)
      if (piece.box.begin[axis] != 0 || piece.box.end[axis] != shape[axis])
        return violates(6, operands.at(name), "one gradient of each channel",
                        "different ones along the other axes");
  return {};
}

Verdict Pairing::same(std::string_view name, const Value &got, const Value &want) const {
  if (got == want)
    return {};
  Path own = operands.at(name);
  if (!want)
    return violates(6, own, makeText("no ", quoted(name), ", as in the forward's step"), "one");
  if (!got)
    return violates(6, own, makeText(quoted(name), " as in the forward's step"), "none");
  // Of a value that no step of the forward holds, any part of its expressions may be in the way.
  bool known =
      forward.held.count(want.node) ? forward.held.count(got.node) > 0 : got.node < forward.count;
  if (!known || got.scale != want.scale)
    return violates(
        5, own, makeText(quoted(name), " as the forward of '", trace.procedure.module, "' had it"),
        "what is computed or read in another way");
  return violates(6, own, makeText("the ", quoted(name), " of the forward's step"),
                  "another value of the forward");
}

Verdict Pairing::same(std::string_view name, const Value &want) const {
  Value got;
  EVO_VERIFY(value(name, got));
  return same(name, got, want);
}

/// The elements of an operand that belong to a piece of operand `of`.
Verdict Pairing::part(std::string_view name, std::string_view of, const Box &box,
                      Value &part) const {
  EVO_VERIFY(value(name, part));
  if (!part)
    return {};
  std::string_view letters = info.operands[static_cast<size_t>(info.operandIndex(name))].axes;
  std::string_view other = info.operands[static_cast<size_t>(info.operandIndex(of))].axes;
  auto rank = static_cast<size_t>(box.rank);
  for (size_t axis = 0; axis < rank; ++axis)
    part = e.sliceLetter(std::move(part), letters, letterOf(other, rank, axis), box.begin[axis],
                         box.end[axis]);
  return {};
}

Verdict Pairing::numbers(std::span<const int64_t> got, std::span<const int64_t> want) const {
  if (std::equal(got.begin(), got.end(), want.begin(), want.end()))
    return {};
  return violates(
      6, path, makeText("the attributes of the forward's step in '", info.mnemonic, "'"), "others");
}

Verdict Pairing::factor(double got, double want) const {
  if (got == want)
    return {};
  return violates(6, path.at("factor"), makeText("the forward's ", std::to_string(want)),
                  std::to_string(got));
}

Verdict Pairing::absent(std::initializer_list<std::string_view> names) const {
  for (std::string_view name : names)
    if (has(name))
      return violates(6, operands.at(name), "none in a step on a gradient", "one");
  return {};
}

Box Pairing::boxOf(std::string_view name) const {
  Box box;
  for (int64_t length : trace.shapeOf(*operand(name)))
    box.end[box.rank++] = length;
  return box;
}

/// Writes a gradient of `target` to elements `box` of an output, with what `before` has of it.
Verdict Pairing::contribute(std::string_view name, std::string_view before, const Box &box,
                            const Value &target, uint64_t sum) {
  if (!has(name))
    return {};
  Pieces &out = outputs[static_cast<size_t>(info.operandIndex(name))];
  if (before.empty() || !has(before)) {
    out.push_back({box, {true, target, sum}});
    return {};
  }
  Pieces pieces;
  EVO_VERIFY(gradient(before, pieces));
  for (const Piece &piece : pieces) {
    if (!piece.box.intersects(box))
      continue;
    Piece made{box, {true, {}, sum + piece.held.sum}};
    Box own = box, other = box;
    for (int axis = 0; axis < box.rank; ++axis) {
      made.box.begin[axis] = std::max(box.begin[axis], piece.box.begin[axis]);
      made.box.end[axis] = std::min(box.end[axis], piece.box.end[axis]);
      own.begin[axis] = made.box.begin[axis] - box.begin[axis];
      own.end[axis] = made.box.end[axis] - box.begin[axis];
      other.begin[axis] = made.box.begin[axis] - piece.box.begin[axis];
      other.end[axis] = made.box.end[axis] - piece.box.begin[axis];
    }
    Value mine = target ? e.slice(target, own) : Value{};
    Value had = piece.held.value ? e.slice(piece.held.value, other) : Value{};
    if (!had || (mine && e.passesTo(had, mine)))
      made.held.value = mine;
    else if (!mine || e.passesTo(mine, had))
      made.held.value = had;
    else
      return violates(6, operands.at(before), "the gradient of what the step adds to",
                      "that of another value");
    out.push_back(std::move(made));
  }
  return {};
}

/// The gradient of an input of an expression, all of it.
Verdict Pairing::contribute(std::string_view name, std::string_view before, const Value &of,
                            size_t input, uint64_t sum) {
  if (!has(name))
    return {};
  const Value &target = e[of].inputs[input];
  if (!target)
    return violates(6, operands.at(name), "no gradient of what the forward's step does not have",
                    "one");
  return contribute(name, before, boxOf(name), target, sum * e.weight(of, input));
}

Verdict Pairing::dispatch() {
  switch (step.kernel) {
  case Kernel::LinearGrad:
    return linearGrad();
  case Kernel::Linear:
    return linear();
  case Kernel::WeightGrad:
    return weightGrad();
  case Kernel::BiasGrad:
    return biasGrad();
  case Kernel::LayerNormGrad:
    return layerNormGrad();
  case Kernel::GatedLinearGrad:
    return gatedLinearGrad();
  case Kernel::AttentionGrad:
    return attentionGrad();
  case Kernel::SoftmaxGrad:
    return softmaxGrad();
  case Kernel::AttentionValuesGrad:
    return valuesGrad();
  case Kernel::AttentionLogitsGrad:
    return logitsGrad();
  case Kernel::GateGrad:
    return gateGrad();
  case Kernel::MaskedMeanGrad:
    return meanGrad();
  case Kernel::OuterProductGrad:
    return outerProductGrad();
  case Kernel::BatchMatmul:
    return matmul("y", "");
  case Kernel::BatchMatmulGrad:
    return matmul("dx", "accumulator");
  case Kernel::Copy:
    return copy();
  case Kernel::Add:
    return add();
  case Kernel::Zero:
    outputs[0] = {{boxOf("y"), {true, {}, 0}}};
    return {};
  default:
    return violates(6, path.at("kernel"), "one that computes gradients of gradients",
                    info.mnemonic);
  }
}

/// What is written to the gradient of a weight is the gradient of these elements.
Verdict Pairing::store(size_t output) {
  const View &view = *step.operands[output];
  trace.write(view, outputs[output]);
  const Buffer &buffer = trace.procedure.buffers[view.buffer];
  std::optional<size_t> index =
      buffer.base == Base::Gradient ? weightOfGradient(trace.plan, buffer.name) : std::nullopt;
  if (!index)
    return {};
  View whole = view;
  for (size_t axis = 0; axis < whole.order.size(); ++axis)
    whole.order[axis] = static_cast<int32_t>(axis);
  Value weight = trace.weight(*index);
  for (const Piece &piece : trace.read(whole)) {
    Box box = piece.box;
    for (int axis = 0; axis < box.rank; ++axis) {
      box.begin[axis] += view.start[axis].value;
      box.end[axis] += view.start[axis].value;
    }
    if (piece.held.value && piece.held.value != e.slice(weight, box))
      return violates(6, operands.at(info.operands[output].name),
                      makeText("the gradient of '", trace.plan.weights[*index].name, "'"),
                      "that of another value");
  }
  return {};
}

Verdict Pairing::run() {
  EVO_VERIFY(dispatch());
  for (size_t i = 0; i < info.operands.size(); ++i)
    if (info.operands[i].isOutput() && step.operands[i])
      EVO_VERIFY(store(i));
  return {};
}

Verdict pairStep(Trace &trace, const ForwardExpressions &forward, const KernelStep &step,
                 const Path &path) {
  const KernelInfo &info = kernelInfo(step.kernel);
  bool gradient = isOfGradients(info);
  for (size_t i = 0; i < info.operands.size(); ++i)
    if (step.operands[i] && !info.operands[i].isOutput())
      for (const Piece &piece : trace.read(*step.operands[i]))
        gradient |= piece.held.isGradient;
  if (gradient)
    return Pairing(trace, forward, step, path).run();
  trace.evaluate(step);
  return {};
}

} // namespace evo::plan
