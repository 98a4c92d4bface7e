//===- VerifyTrace.cpp ------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "runtime/plan/VerifyTrace.h"

#include <algorithm>
#include <bit>

namespace evo::plan {

std::vector<int64_t> numbersOf(Op op, const KernelAttributes &attributes) {
  auto real = [](double value) { return std::bit_cast<int64_t>(value); };
  switch (op) {
  case Op::Norm:
  case Op::Mean:
  case Op::OuterNorm:
    return {real(attributes.eps)};
  case Op::Product:
    return {real(attributes.factor)};
  case Op::Logits:
    return {attributes.heads, real(attributes.scale), real(attributes.inf)};
  case Op::Values:
    return {attributes.heads};
  case Op::Dropout:
    return {real(attributes.rate), attributes.module};
  default:
    return {};
  }
}

Trace::Trace(const Plan &plan, const Procedure &procedure, Expressions &expressions,
             WorkBudget &work)
    : plan(plan), procedure(procedure), expressions(expressions), work(work),
      definitions(procedure.buffers.size()) {
  for (size_t i = 0; i < procedure.buffers.size(); ++i) {
    const Buffer &buffer = procedure.buffers[i];
    if (buffer.base == Base::Tensor)
      enter(i, {false, tensor(static_cast<size_t>(buffer.tensor)), 0});
    for (size_t k = 0; k < plan.weights.size() && buffer.base == Base::Weight; ++k)
      if (plan.weights[k].name == buffer.name)
        enter(i, {false, weight(k), 0});
  }
}

Value Trace::tensor(size_t index) {
  return expressions.make(Op::Tensor, {static_cast<int64_t>(index)}, {}, plan.tensors[index].shape);
}

Value Trace::weight(size_t index) {
  return expressions.make(Op::Weight, {static_cast<int64_t>(index)}, {}, plan.weights[index].shape);
}

/// Equal to nothing else.
Value Trace::unknown(std::span<const int64_t> shape) {
  auto own = static_cast<int64_t>(&procedure - plan.procedures.data());
  return expressions.make(Op::Unknown, {own, unknowns++}, {}, shape);
}

/// A value of another shape than the buffer's is none that is known.
void Trace::enter(size_t buffer, Held held) {
  const std::vector<int64_t> &shape = procedure.buffers[buffer].shape;
  auto fits = [](const AxisSlice &axis, int64_t length) { return axis.length() == length; };
  const std::vector<AxisSlice> &axes = held.value.axes;
  if (held.value && !std::equal(axes.begin(), axes.end(), shape.begin(), shape.end(), fits))
    held = {false, unknown(shape), 0};
  definitions[buffer] = {{0, Regions(shape, 0).whole(), std::move(held)}};
}

Verdict Trace::steps(const std::vector<Step> &list, const Path &parent, std::string_view field,
                     const Kernels &kernel) {
  for (size_t i = 0; i < list.size(); ++i) {
    Path path = parent.at(field, i);
    if (const auto *kernelStep = std::get_if<KernelStep>(&list[i].value)) {
      EVO_VERIFY(kernel(*kernelStep, path));
    } else if (const auto *alloc = std::get_if<AllocStep>(&list[i].value)) {
      definitions[alloc->buffer].clear();
    } else if (const auto *loop = std::get_if<LoopStep>(&list[i].value)) {
      loops.push_back(loop);
      EVO_VERIFY(steps(loop->body, path, "body", kernel));
      loops.pop_back();
    }
    if (!work.spend(1))
      return violates(0, path, "a plan that can be checked in bounded time", "more steps");
  }
  return {};
}

Pieces Trace::find(int32_t buffer, int32_t version, const Box &box) {
  Pieces found;
  work.spend(definitions[buffer].size());
  for (const Definition &definition : definitions[buffer]) {
    if (definition.version != version || !definition.box.intersects(box))
      continue;
    Piece piece{box, definition.held};
    Box within = box;
    for (int axis = 0; axis < box.rank; ++axis) {
      piece.box.begin[axis] = std::max(box.begin[axis], definition.box.begin[axis]);
      piece.box.end[axis] = std::min(box.end[axis], definition.box.end[axis]);
      within.begin[axis] = piece.box.begin[axis] - definition.box.begin[axis];
      within.end[axis] = piece.box.end[axis] - definition.box.begin[axis];
      piece.box.begin[axis] -= box.begin[axis];
      piece.box.end[axis] -= box.begin[axis];
    }
    if (piece.held.value)
      piece.held.value = expressions.slice(std::move(piece.held.value), within);
    held.insert(piece.held.value.node);
    found.push_back(std::move(piece));
  }
  return found;
}

Pieces Trace::read(const View &view) {
  Pieces pieces = find(view.buffer, view.version, wholeBox(view, loops));
  for (Piece &piece : pieces) {
    Piece own = piece;
    for (size_t axis = 0; axis < view.order.size(); ++axis) {
      size_t from = static_cast<size_t>(view.order[axis]);
      piece.box.begin[axis] = own.box.begin[from];
      piece.box.end[axis] = own.box.end[from];
      if (piece.held.value)
        piece.held.value.axes[axis] = own.held.value.axes[from];
    }
  }
  return pieces;
}

Pieces Trace::final(size_t buffer) {
  int32_t newest = 0;
  for (const Definition &definition : definitions[buffer])
    newest = std::max(newest, definition.version);
  return find(static_cast<int32_t>(buffer), newest,
              Regions(procedure.buffers[buffer].shape, 0).whole());
}

std::vector<int64_t> Trace::shapeOf(const View &view) const {
  Box box = wholeBox(view, loops);
  std::vector<int64_t> shape;
  for (int32_t axis : view.order)
    shape.push_back(box.end[axis] - box.begin[axis]);
  return shape;
}

Value Trace::joined(const Pieces &pieces, std::span<const int64_t> shape) {
  bool known =
      !pieces.empty() && std::none_of(pieces.begin(), pieces.end(),
                                      [](const Piece &piece) { return piece.held.isGradient; });
  if (!known)
    return unknown(shape);
  if (pieces.size() == 1)
    return pieces[0].held.value;
  std::vector<int64_t> places;
  std::vector<Value> parts;
  for (const Piece &piece : pieces) {
    places.insert(places.end(), piece.box.begin.begin(), piece.box.begin.end());
    parts.push_back(piece.held.value);
  }
  return expressions.make(Op::Other, std::move(places), std::move(parts), shape);
}

Value Trace::readValue(const View &view, bool &gradient) {
  Pieces pieces = read(view);
  for (const Piece &piece : pieces)
    gradient |= piece.held.isGradient;
  return joined(pieces, shapeOf(view));
}

void Trace::write(const View &view, const Pieces &pieces) {
  std::vector<Definition> &own = definitions[view.buffer];
  Box whole = wholeBox(view, loops);
  work.spend(own.size() + pieces.size());
  std::erase_if(own, [&](const Definition &definition) {
    for (int axis = 0; axis < whole.rank; ++axis)
      if (definition.box.begin[axis] < whole.begin[axis] ||
          definition.box.end[axis] > whole.end[axis])
        return false;
    return true;
  });
  for (const Piece &piece : pieces) {
    held.insert(piece.held.value.node);
    Definition definition{view.version, whole, piece.held};
    for (size_t axis = 0; axis < view.order.size(); ++axis) {
      size_t to = static_cast<size_t>(view.order[axis]);
      definition.box.begin[to] = whole.begin[to] + piece.box.begin[axis];
      definition.box.end[to] = whole.begin[to] + piece.box.end[axis];
      if (piece.held.value)
        definition.held.value.axes[to] = piece.held.value.axes[axis];
    }
    own.push_back(std::move(definition));
  }
}

namespace {

/// The operands of one step, by name.
class Evaluation {
public:
  Evaluation(Trace &trace, const KernelStep &step)
      : trace(trace), step(step), info(kernelInfo(step.kernel)) {}

  void run();

private:
  Value in(std::string_view name) {
    const std::optional<View> &view = operand(name);
    bool gradient = false;
    return view ? trace.readValue(*view, gradient) : Value{};
  }
  void out(std::string_view name, const Value &value) {
    const std::optional<View> &view = operand(name);
    if (!view)
      return;
    Box whole;
    for (int64_t length : trace.shapeOf(*view))
      whole.end[whole.rank++] = length;
    trace.write(*view, {{whole, {false, value, 0}}});
  }
  /// A value times the step's factor.
  Value times(Value value) const {
    value.scale *= step.attributes.factor;
    return value;
  }
  const std::optional<View> &operand(std::string_view name) const {
    return step.operands[static_cast<size_t>(info.operandIndex(name))];
  }
  std::vector<int64_t> shape(std::string_view name) const { return trace.shapeOf(*operand(name)); }
  Value make(Op op, std::vector<Value> inputs, std::span<const int64_t> shape) {
    return trace.expressions.make(op, numbersOf(op, step.attributes), std::move(inputs), shape);
  }

  Value product(Value x, const Value &weight, const Value &bias, std::span<const int64_t> shape);
  Value epilogue(Value core, std::span<const int64_t> shape);
  Value logits();
  void attention();
  void gatedLinear();
  void outerProductMean();
  /// Of a product without a bias, whose factor is one of its value.
  void scaled(Op op, std::string_view result);
  void any();

  Trace &trace;
  const KernelStep &step;
  const KernelInfo &info;
};

/// A factor of x is one of the product.
Value Evaluation::product(Value x, const Value &weight, const Value &bias,
                          std::span<const int64_t> shape) {
  KernelAttributes attributes;
  attributes.factor = step.attributes.factor * x.scale;
  x.scale = 1;
  return trace.expressions.make(Op::Product, numbersOf(Op::Product, attributes),
                                {std::move(x), weight, bias}, shape);
}

Value Evaluation::epilogue(Value core, std::span<const int64_t> shape) {
  bool isLinear = step.kernel == Kernel::Linear;
  Value gate = isLinear ? in("gate") : Value{}, dropout = isLinear ? in("dropout") : Value{};
  Value rowScale = in("row_scale"), residual = in("residual");
  if (!rowScale && !gate && !dropout && !residual)
    return core;
  return make(Op::Epilogue, {std::move(core), rowScale, gate, dropout, residual}, shape);
}

Value Evaluation::logits() {
  std::vector<int64_t> query = shape("query"), key = shape("key");
  std::vector<int64_t> own = {query[0], step.attributes.heads, query[1], key[1]};
  return make(Op::Logits, {in("query"), in("key"), in("pair_bias"), in("mask")}, own);
}

void Evaluation::attention() {
  Value x = logits(), value = in("value");
  std::vector<int64_t> own = trace.expressions[x].shape;
  Value weights = make(Op::Softmax, {x}, own);
  own.pop_back();
  Value sum = make(Op::LogSum, {x}, own);
  Value o = make(Op::Values, {weights, value}, shape("o"));
  out("o", o);
  out("lse", sum);
}

void Evaluation::gatedLinear() {
  std::vector<int64_t> own = shape("y");
  Value x = in("x");
  Value u = product(x, in("weight"), in("bias"), own);
  Value g = product(x, in("gate_weight"), in("gate_bias"), own);
  out("y", make(Op::Gated, {u, g, in("row_scale")}, own));
}

void Evaluation::outerProductMean() {
  std::vector<int64_t> own = shape("y"), pairs = own;
  pairs.back() = shape("weight").back();
  Value x = make(Op::Outer, {in("a"), in("b")}, pairs);
  out("y", epilogue(product(x, in("weight"), in("bias"), own), own));
}

void Evaluation::scaled(Op op, std::string_view result) {
  Value a = in("a"), b = in("b");
  double scale = step.attributes.factor * a.scale * b.scale;
  a.scale = b.scale = 1;
  Value value = make(op, {a, b}, shape(result));
  value.scale = scale;
  out(result, value);
}

void Evaluation::any() {
  std::vector<Value> inputs;
  std::vector<int64_t> numbers = {static_cast<int64_t>(step.kernel), 0};
  for (size_t i = 0; i < info.operands.size(); ++i)
    if (!info.operands[i].isOutput())
      inputs.push_back(in(info.operands[i].name));
  for (const OperandInfo &each : info.operands) {
    if (!each.isOutput() || !operand(each.name))
      continue;
    ++numbers[1];
    out(each.name, trace.expressions.make(Op::Other, numbers, inputs, shape(each.name)));
  }
}

void Evaluation::run() {
  switch (step.kernel) {
  case Kernel::LayerNorm:
    out("y", make(Op::Norm, {times(in("x")), in("weight"), in("bias")}, shape("y")));
    for (std::string_view name : {"mean", "rstd"})
      if (operand(name))
        out(name, trace.unknown(shape(name)));
    return;
  case Kernel::Linear: {
    std::vector<int64_t> own = shape("y");
    Value core = product(in("x"), in("weight"), in("bias"), own);
    if (step.attributes.activation == Activation::Relu)
      core = make(Op::Relu, {core}, own);
    return out("y", epilogue(core, own));
  }
  case Kernel::GatedLinear:
    return gatedLinear();
  case Kernel::Attention:
    return attention();
  case Kernel::AttentionLogits:
    return out("logits", logits());
  case Kernel::Softmax:
    return out("y", make(Op::Softmax, {in("x")}, shape("y")));
  case Kernel::AttentionValues:
    return out("o", make(Op::Values, {in("weights"), in("value")}, shape("o")));
  case Kernel::Gate: {
    Value sum = make(Op::GateSum, {in("gate"), in("gate_bias")}, shape("gate"));
    return out("y", make(Op::Gate, {in("o"), sum}, shape("y")));
  }
  case Kernel::MaskedMean:
    return out("y", make(Op::Mean, {in("x"), in("mask")}, shape("y")));
  case Kernel::OuterProduct:
    return scaled(Op::Outer, "o");
  case Kernel::BatchMatmul:
    return scaled(Op::Matmul, "y");
  case Kernel::OuterProductMean:
    return outerProductMean();
  case Kernel::OuterProductNorm:
    return out("y", make(Op::OuterNorm, {in("mask_i"), in("mask_j")}, shape("y")));
  case Kernel::Copy:
    return out("y", in("x"));
  case Kernel::DropoutMask:
    return out("y", make(Op::Dropout, {}, shape("y")));
  default:
    return any();
  }
}

} // namespace

void Trace::evaluate(const KernelStep &step) { Evaluation(*this, step).run(); }

} // namespace evo::plan
