//===- VerifyChainRule.cpp - what each gradient kernel makes ----*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// The rules of Kernels.def's gradients, on expressions.
//===----------------------------------------------------------------------===//
#include "runtime/plan/VerifyPairing.h"

#include <algorithm>
#include <bit>

namespace evo::plan {

namespace {

Value swapped(Value value, size_t a, size_t b) {
  if (value)
    std::swap(value.axes[a], value.axes[b]);
  return value;
}

} // namespace

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
  Value x;
  EVO_VERIFY(value("x", x));
  x.scale *= step.attributes.factor;
  EVO_VERIFY(same("x", x, e[y].inputs[0]));
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

} // namespace evo::plan
