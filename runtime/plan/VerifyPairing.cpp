//===- VerifyPairing.cpp - gradient kernels and their forward ---*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// A gradient knows the expression whose gradient it is, and with it the kernel that a step must be
// the derivative of: its operands have to be that kernel's. What the step writes are gradients of
// the kernel's inputs. Sums along the way count the paths, see PathSums.
//===----------------------------------------------------------------------===//
#include "runtime/plan/VerifyTrace.h"

#include <algorithm>
#include <bit>

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

Value swapped(Value value, size_t a, size_t b) {
  if (value)
    std::swap(value.axes[a], value.axes[b]);
  return value;
}

class Pairing {
public:
  Pairing(Trace &trace, const ForwardExpressions &forward, const KernelStep &step, const Path &path)
      : trace(trace), e(trace.expressions), forward(forward), step(step),
        info(kernelInfo(step.kernel)), path(path), operands(path.at("operands")),
        outputs(info.operands.size()) {}

  Verdict run();

private:
  const std::optional<View> &operand(std::string_view name) const {
    return step.operands[static_cast<size_t>(info.operandIndex(name))];
  }
  bool has(std::string_view name) const { return operand(name).has_value(); }
  Verdict value(std::string_view name, Value &value) const;
  Verdict gradient(std::string_view name, Pieces &pieces) const;
  Verdict whole(std::string_view name, Op op, Value &value, uint64_t &sum);
  Verdict rows(std::string_view name, Pieces &pieces) const;
  Verdict plain(std::string_view name, Op op, const Value &value) const;
  Verdict same(std::string_view name, const Value &got, const Value &want) const;
  Verdict same(std::string_view name, const Value &want) const;
  Verdict part(std::string_view name, std::string_view of, const Box &box, Value &value) const;
  Verdict numbers(std::span<const int64_t> got, std::span<const int64_t> want) const;
  Verdict factor(double got, double want) const;
  Verdict absent(std::initializer_list<std::string_view> names) const;
  Verdict contribute(std::string_view name, std::string_view before, const Box &box,
                     const Value &target, uint64_t sum);
  Verdict contribute(std::string_view name, std::string_view before, const Value &of, size_t input,
                     uint64_t sum);
  Box boxOf(std::string_view name) const;
  std::string quoted(std::string_view name) const { return makeText("'", name, "'"); }

  Verdict dispatch();
  Verdict linearGrad();
  Verdict linearGradPiece(const Piece &piece);
  Verdict linear();
  Verdict weightGrad();
  Verdict biasGrad();
  Verdict layerNormGrad();
  Verdict gatedLinearGrad();
  Verdict attentionGrad();
  Verdict softmaxGrad();
  Verdict valuesGrad();
  Verdict logitsGrad();
  Verdict gateGrad();
  Verdict meanGrad();
  Verdict outerProductGrad();
  Verdict matmul(std::string_view result, std::string_view before);
  Verdict copy();
  Verdict add();
  Verdict store(size_t output);

  Trace &trace;
  Expressions &e;
  const ForwardExpressions &forward;
  const KernelStep &step;
  const KernelInfo &info;
  const Path &path;
  Path operands;
  std::vector<Pieces> outputs;
};

//===----------------------------------------------------------------------===//
// Operands
//===----------------------------------------------------------------------===//

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

//===----------------------------------------------------------------------===//
// Projections
//===----------------------------------------------------------------------===//

Verdict Pairing::linearGradPiece(const Piece &piece) {
  Value y = piece.held.value;
  if (y && e[y].op == Op::Epilogue && isSum(e[y]))
    y = e.passedTo(y, e[e[y].inputs[kCore]].op);
  EVO_VERIFY(plain("dy", y ? e[y].op : Op::Other, y));
  std::array<Value, 5> epilogue;
  uint64_t sum = piece.held.sum;
  Value core = y;
  if (e[y].op == Op::Epilogue) {
    std::copy_n(e[y].inputs.begin(), epilogue.size(), epilogue.begin());
    core = epilogue[kCore];
    sum *= e.weight(y, kCore);
  }
  Value rowScale, gate, dropout, h;
  EVO_VERIFY(part("row_scale", "dy", piece.box, rowScale));
  EVO_VERIFY(part("gate", "dy", piece.box, gate));
  EVO_VERIFY(part("dropout", "dy", piece.box, dropout));
  EVO_VERIFY(part("h", "dy", piece.box, h));
  EVO_VERIFY(same("row_scale", rowScale, epilogue[kRowScale]));
  EVO_VERIFY(same("gate", gate, epilogue[kGate]));
  EVO_VERIFY(same("dropout", dropout, epilogue[kDropout]));
  bool relu = e[core].op == Op::Relu;
  if (relu != (step.attributes.activation == Activation::Relu))
    return violates(6, path.at("activation"),
                    relu ? "relu, as in the forward's step" : "none, as in the forward's step",
                    activationName(step.attributes.activation));
  if (h || has("dgate"))
    EVO_VERIFY(same("h", h, core));
  if (gate && has("dgate"))
    EVO_VERIFY(
        contribute("dgate", "", piece.box, epilogue[kGate], piece.held.sum * e.weight(y, kGate)));
  return contribute("du", "", piece.box, relu ? e[core].inputs[0] : core,
                    relu ? sum * e.weight(core, 0) : sum);
}

Verdict Pairing::linearGrad() {
  Pieces pieces;
  EVO_VERIFY(gradient("dy", pieces));
  for (const Piece &piece : pieces)
    EVO_VERIFY(linearGradPiece(piece));
  return {};
}

/// dx = du weight, as a product with the weight turned round.
Verdict Pairing::linear() {
  EVO_VERIFY(absent({"bias", "row_scale", "gate", "dropout"}));
  Pieces pieces;
  EVO_VERIFY(rows("x", pieces));
  Value target;
  uint64_t sum = 0;
  for (const Piece &piece : pieces) {
    Value product = e.passedTo(piece.held.value, Op::Product), weight;
    EVO_VERIFY(plain("x", Op::Product, product));
    EVO_VERIFY(part("weight", "x", piece.box, weight));
    EVO_VERIFY(same("weight", swapped(weight, 0, 1), e[product].inputs[1]));
    EVO_VERIFY(factor(step.attributes.factor, std::bit_cast<double>(e[product].numbers[0])));
    if (target && target != e[product].inputs[0])
      return violates(6, operands.at("x"), "gradients of projections of one value",
                      "those of several");
    target = e[product].inputs[0];
    sum += piece.held.sum * e.weight(product, 0);
  }
  if (step.attributes.activation != Activation::None)
    return violates(6, path.at("activation"), "none in a step on a gradient", "relu");
  return contribute("y", "residual", boxOf("y"), target, sum);
}

Verdict Pairing::weightGrad() {
  Pieces pieces;
  EVO_VERIFY(rows("du", pieces));
  Box box = boxOf("dweight");
  for (const Piece &piece : pieces) {
    Value product = e.passedTo(piece.held.value, Op::Product), x;
    EVO_VERIFY(plain("du", Op::Product, product));
    EVO_VERIFY(value("x", x));
    double scale = step.attributes.factor * x.scale;
    x.scale = 1;
    EVO_VERIFY(same("x", x, e[product].inputs[0]));
    EVO_VERIFY(factor(scale, std::bit_cast<double>(e[product].numbers[0])));
    box.begin[0] = piece.box.begin[piece.box.rank - 1];
    box.end[0] = piece.box.end[piece.box.rank - 1];
    EVO_VERIFY(contribute("dweight", "accumulator", box, e[product].inputs[1],
                          piece.held.sum * e.weight(product, 1)));
  }
  return {};
}

Verdict Pairing::biasGrad() {
  Pieces pieces;
  EVO_VERIFY(rows("du", pieces));
  Box box = boxOf("dbias");
  for (const Piece &piece : pieces) {
    bool isGate = piece.held.value && e[piece.held.value].op == Op::GateSum;
    Op op = isGate ? Op::GateSum : Op::Product;
    size_t input = isGate ? 1 : 2;
    Value sum = e.passedTo(piece.held.value, op);
    EVO_VERIFY(plain("du", op, sum));
    if (!e[sum].inputs[input])
      return violates(6, operands.at("du"), "the gradient of a sum with a bias",
                      "that of one without");
    box.begin[0] = piece.box.begin[piece.box.rank - 1];
    box.end[0] = piece.box.end[piece.box.rank - 1];
    EVO_VERIFY(contribute("dbias", "accumulator", box, e[sum].inputs[input],
                          piece.held.sum * e.weight(sum, input)));
  }
  return {};
}

Verdict Pairing::gatedLinearGrad() {
  Pieces pieces;
  EVO_VERIFY(gradient("dy", pieces));
  for (const Piece &piece : pieces) {
    const Value &y = piece.held.value;
    EVO_VERIFY(plain("dy", Op::Gated, y));
    Value u, g, rowScale;
    EVO_VERIFY(part("u", "dy", piece.box, u));
    EVO_VERIFY(part("g", "dy", piece.box, g));
    EVO_VERIFY(part("row_scale", "dy", piece.box, rowScale));
    std::vector<Value> inputs = e[y].inputs;
    EVO_VERIFY(same("u", u, inputs[0]));
    EVO_VERIFY(same("g", g, inputs[1]));
    EVO_VERIFY(same("row_scale", rowScale, inputs[2]));
    EVO_VERIFY(contribute("du", "", piece.box, inputs[0], piece.held.sum * e.weight(y, 0)));
    EVO_VERIFY(contribute("dg", "", piece.box, inputs[1], piece.held.sum * e.weight(y, 1)));
  }
  return {};
}

Verdict Pairing::layerNormGrad() {
  Value y;
  uint64_t sum = 0;
  EVO_VERIFY(whole("dy", Op::Norm, y, sum));
  EVO_VERIFY(same("x", e[y].inputs[0]));
  EVO_VERIFY(same("weight", e[y].inputs[1]));
  EVO_VERIFY(numbers(numbersOf(Op::Norm, step.attributes), e[y].numbers));
  EVO_VERIFY(contribute("dx", "residual", y, 0, sum));
  EVO_VERIFY(contribute("dweight", "weight_accumulator", y, 1, sum));
  return contribute("dbias", "bias_accumulator", y, 2, sum);
}

//===----------------------------------------------------------------------===//
// Attention
//===----------------------------------------------------------------------===//

Verdict Pairing::attentionGrad() {
  Value o;
  uint64_t sum = 0;
  EVO_VERIFY(whole("dout", Op::Values, o, sum));
  Value weights = e[o].inputs[0];
  EVO_VERIFY(plain("dout", Op::Softmax, weights));
  Value logits = e[weights].inputs[0];
  EVO_VERIFY(plain("dout", Op::Logits, logits));
  static constexpr std::string_view names[] = {"query", "key", "pair_bias", "mask"};
  for (size_t i = 0; i < std::size(names); ++i)
    EVO_VERIFY(same(names[i], e[logits].inputs[i]));
  EVO_VERIFY(same("value", e[o].inputs[1]));
  EVO_VERIFY(same("o", o));
  std::vector<int64_t> shape = e[logits].shape;
  shape.pop_back();
  EVO_VERIFY(same("lse", e.make(Op::LogSum, {}, {logits}, shape)));
  EVO_VERIFY(numbers(numbersOf(Op::Logits, step.attributes), e[logits].numbers));
  EVO_VERIFY(contribute("dvalue", "", o, 1, sum));
  sum *= e.weight(o, 0) * e.weight(weights, 0);
  EVO_VERIFY(contribute("dquery", "", logits, 0, sum));
  EVO_VERIFY(contribute("dkey", "", logits, 1, sum));
  return contribute("dpair_bias", "accumulator", logits, 2, sum);
}

Verdict Pairing::softmaxGrad() {
  Value y;
  uint64_t sum = 0;
  EVO_VERIFY(whole("dy", Op::Softmax, y, sum));
  EVO_VERIFY(same("y", y));
  return contribute("dx", "", y, 0, sum);
}

Verdict Pairing::valuesGrad() {
  Value o;
  uint64_t sum = 0;
  EVO_VERIFY(whole("dout", Op::Values, o, sum));
  EVO_VERIFY(same("weights", e[o].inputs[0]));
  EVO_VERIFY(same("value", e[o].inputs[1]));
  EVO_VERIFY(numbers(numbersOf(Op::Values, step.attributes), e[o].numbers));
  EVO_VERIFY(contribute("dweights", "", o, 0, sum));
  return contribute("dvalue", "", o, 1, sum);
}

Verdict Pairing::logitsGrad() {
  Value logits;
  uint64_t sum = 0;
  EVO_VERIFY(whole("dl", Op::Logits, logits, sum));
  EVO_VERIFY(same("query", e[logits].inputs[0]));
  EVO_VERIFY(same("key", e[logits].inputs[1]));
  // What fills the mask is no attribute of this kernel.
  std::vector<int64_t> got = numbersOf(Op::Logits, step.attributes), want = e[logits].numbers;
  got.pop_back();
  want.pop_back();
  EVO_VERIFY(numbers(got, want));
  EVO_VERIFY(contribute("dquery", "", logits, 0, sum));
  EVO_VERIFY(contribute("dkey", "", logits, 1, sum));
  return contribute("dpair_bias", "accumulator", logits, 2, sum);
}

Verdict Pairing::gateGrad() {
  Value y;
  uint64_t sum = 0;
  EVO_VERIFY(whole("dy", Op::Gate, y, sum));
  Value gate = e[y].inputs[1];
  EVO_VERIFY(plain("dy", Op::GateSum, gate));
  EVO_VERIFY(same("o", e[y].inputs[0]));
  EVO_VERIFY(same("gate", e[gate].inputs[0]));
  EVO_VERIFY(same("gate_bias", e[gate].inputs[1]));
  EVO_VERIFY(contribute("dout", "", y, 0, sum));
  return contribute("dgate", "", y, 1, sum);
}

Verdict Pairing::meanGrad() {
  Value y;
  uint64_t sum = 0;
  EVO_VERIFY(whole("dy", Op::Mean, y, sum));
  EVO_VERIFY(same("mask", e[y].inputs[1]));
  EVO_VERIFY(numbers(numbersOf(Op::Mean, step.attributes), e[y].numbers));
  return contribute("dx", "residual", y, 0, sum);
}

//===----------------------------------------------------------------------===//
// Products of two values, sums, and what is left
//===----------------------------------------------------------------------===//

Verdict Pairing::outerProductGrad() {
  Value o;
  uint64_t sum = 0;
  EVO_VERIFY(whole("dout", Op::Outer, o, sum));
  EVO_VERIFY(same("a", e[o].inputs[0]));
  EVO_VERIFY(same("b", e[o].inputs[1]));
  EVO_VERIFY(factor(step.attributes.factor, o.scale));
  EVO_VERIFY(contribute("da", "", o, 0, sum));
  return contribute("db", "accumulator", o, 1, sum);
}

/// y[m,n] = a[m,k] b[n,k]: da[m,k] = dy[m,n] b[n,k], and db[n,k] = dy[m,n] a[m,k] with dy turned
/// round. Both are products by the other operand turned round.
Verdict Pairing::matmul(std::string_view result, std::string_view before) {
  Pieces pieces;
  EVO_VERIFY(gradient("a", pieces));
  Value y = pieces.size() == 1 ? pieces[0].held.value : Value{};
  bool turned = y && y.axes.size() == 3 && y.axes[1].axis == 2;
  if (turned)
    y = swapped(y, 1, 2);
  EVO_VERIFY(plain("a", Op::Matmul, y));
  Value other;
  EVO_VERIFY(value("b", other));
  EVO_VERIFY(same("b", swapped(other, 1, 2), e[y].inputs[turned ? 0 : 1]));
  EVO_VERIFY(factor(step.attributes.factor, y.scale));
  return contribute(result, before, y, turned ? 1 : 0, pieces[0].held.sum);
}

Verdict Pairing::copy() { return gradient("x", outputs[1]); }

Verdict Pairing::add() {
  Pieces pieces;
  EVO_VERIFY(gradient("addend", pieces));
  for (const Piece &piece : pieces)
    EVO_VERIFY(contribute("y", "x", piece.box, piece.held.value, piece.held.sum));
  return {};
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

/// Kernels that compute nothing but gradients.
bool isOfGradients(const KernelInfo &info) {
  return info.name.ends_with("Grad") || info.kernel == Kernel::Add || info.kernel == Kernel::Zero;
}

} // namespace

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
