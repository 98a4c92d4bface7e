//===- Expressions.cpp ------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "runtime/plan/Expressions.h"

#include <bit>

namespace evo::plan {

namespace {

/// Deeper expressions are not sliced: the recursion ends there.
constexpr int32_t kMaxDepth = 1000;
/// What a number of an expression costs of a budget of steps: it is memory too.
constexpr size_t kWorkOfANumber = 10;

struct OpInfo {
  std::string_view axes;                  ///< as in Kernels.def
  std::array<std::string_view, 5> inputs; ///< their axes
  std::string_view parallel; ///< along these an element depends on the same elements of inputs only
};

const OpInfo &infoOf(Op op) {
  static constexpr std::array<OpInfo, kOps> table = {{
      {"*", {}, ""},
      {"*", {}, ""},
      {"*", {}, ""},
      {"*c", {"*c", "c", "c"}, "*"},
      {"*n", {"*k", "nk", "n"}, "*n"},
      {"*", {"*"}, "*"},
      {"*n", {"*n", "*", "*n", "*n", "*n"}, "*n"},
      {"*n", {"*n", "*n", "*"}, "*n"},
      {"bhqk", {"bqx", "bky", "hqk", "bk"}, "bq"},
      {"*k", {"*k"}, "*"},
      {"bhq", {"bhqk"}, "bq"},
      {"bqx", {"bhqk", "bky"}, "bq"},
      {"bqx", {"bqx", "x"}, "bqx"},
      {"bqx", {"bqx", "bqx"}, "bqx"},
      {"bux", {"bqx", "bq"}, "bx"},
      {"ijx", {"sic", "sjd"}, "ij"},
      {"ij", {"si", "sj"}, "ij"},
      {"bmn", {"bmk", "bnk"}, "bmn"},
      {"*", {}, ""},
      {"*", {}, ""},
  }};
  return table[static_cast<size_t>(op)];
}

void appendValue(std::vector<int64_t> &key, const Value &value) {
  key.push_back(value.node);
  if (!value)
    return;
  key.push_back(std::bit_cast<int64_t>(value.scale));
  key.push_back(static_cast<int64_t>(value.axes.size()));
  for (const AxisSlice &axis : value.axes)
    key.insert(key.end(), {axis.axis, axis.begin, axis.end});
}

} // namespace

char letterOf(std::string_view letters, size_t rank, size_t axis) {
  bool star = !letters.empty() && (letters.front() == '*' || letters.front() == '~');
  if (!star)
    return axis < letters.size() ? letters[axis] : '\0';
  size_t leading = rank + 1 - letters.size();
  return axis < leading ? static_cast<char>('A' + axis) : letters[axis - leading + 1];
}

uint64_t hashOf(uint64_t a, uint64_t b) {
  uint64_t x = a * 0x9e3779b97f4a7c15 + (b ^ (b >> 31)) * 0xbf58476d1ce4e5b9 + 0x94d049bb133111eb;
  for (int round = 0; round < 3; ++round) {
    x ^= x >> 30;
    x *= 0xbf58476d1ce4e5b9;
    x ^= x >> 27;
  }
  return x;
}

bool isSum(const Expression &epilogue) {
  return !epilogue.inputs[kRowScale] && !epilogue.inputs[kGate] && !epilogue.inputs[kDropout];
}

Value Expressions::make(Op op, std::vector<int64_t> numbers, std::vector<Value> inputs,
                        std::span<const int64_t> shape) {
  Expression made{op, std::move(numbers), std::move(inputs), {shape.begin(), shape.end()}, 0};
  std::vector<int64_t> key = {static_cast<int64_t>(op), static_cast<int64_t>(made.numbers.size())};
  key.insert(key.end(), made.numbers.begin(), made.numbers.end());
  key.push_back(static_cast<int64_t>(made.shape.size()));
  key.insert(key.end(), made.shape.begin(), made.shape.end());
  for (const Value &input : made.inputs) {
    appendValue(key, input);
    if (input)
      made.depth = std::max(made.depth, all[input.node].depth + 1);
  }
  work.spend(kWorkOfANumber * key.size());
  auto [entry, isNew] = known.try_emplace(std::move(key), size());
  Value value{entry->second, 1, {}};
  for (size_t axis = 0; axis < shape.size(); ++axis)
    value.axes.push_back({static_cast<int32_t>(axis), 0, shape[axis]});
  if (isNew)
    all.push_back(std::move(made));
  return value;
}

Value Expressions::sliceLetter(Value value, std::string_view letters, char letter, int64_t begin,
                               int64_t end) {
  size_t rank = value.axes.size();
  for (size_t axis = 0; axis < rank; ++axis)
    if (letterOf(letters, rank, axis) == letter && value.axes[axis].length() != 1)
      value = slice(std::move(value), axis, begin, end);
  return value;
}

/// The expression of a slice; -1 where its elements need more than slices of the inputs.
int32_t Expressions::sliced(int32_t node, int32_t axis, int64_t begin, int64_t end) {
  Op op = all[node].op;
  const OpInfo &info = infoOf(op);
  char letter = letterOf(info.axes, all[node].shape.size(), static_cast<size_t>(axis));
  bool leading = letter >= 'A' && letter <= 'Z';
  if (info.parallel.find(leading ? '*' : letter) == std::string_view::npos ||
      all[node].depth > kMaxDepth || !work.spend(1))
    return -1;
  auto known = slices.find({node, axis, begin, end});
  if (known != slices.end())
    return known->second;
  Expression part = all[node];
  for (size_t i = 0; i < part.inputs.size(); ++i)
    if (part.inputs[i])
      part.inputs[i] = sliceLetter(std::move(part.inputs[i]), info.inputs[i], letter, begin, end);
  part.shape[axis] = end - begin;
  int32_t made = make(op, part.numbers, std::move(part.inputs), part.shape).node;
  slices[{node, axis, begin, end}] = made;
  return made;
}

Value Expressions::slice(Value value, size_t axis, int64_t begin, int64_t end) {
  AxisSlice &own = value.axes[axis];
  AxisSlice part{own.axis, own.begin + begin, own.begin + end};
  if (part == own)
    return value;
  int32_t node = sliced(value.node, own.axis, part.begin, part.end);
  own = node < 0 ? part : AxisSlice{own.axis, 0, end - begin};
  value.node = node < 0 ? value.node : node;
  return value;
}

Value Expressions::slice(Value value, const Box &box) {
  for (size_t axis = 0; axis < value.axes.size(); ++axis)
    value = slice(std::move(value), axis, box.begin[axis], box.end[axis]);
  return value;
}

/// An input of the value's expression, for operands of its axes, with the axes of the value.
Value Expressions::through(const Value &value, const Value &input) const {
  Value result = input;
  if (!input || input.axes.size() != value.axes.size())
    return {};
  for (size_t axis = 0; axis < value.axes.size(); ++axis) {
    if (value.axes[axis].length() != all[value.node].shape[value.axes[axis].axis])
      return {};
    result.axes[axis] = input.axes[value.axes[axis].axis];
  }
  return result;
}

bool Expressions::passesTo(const Value &from, const Value &to, size_t depth) const {
  if (from == to)
    return true;
  if (!from || depth > kMaxDepth)
    return false;
  const Expression &own = all[from.node];
  if (own.op == Op::GateSum)
    return passesTo(through(from, own.inputs[0]), to, depth + 1);
  if (own.op != Op::Epilogue)
    return false;
  // The core of a sum is no sum itself.
  return (isSum(own) && through(from, own.inputs[kCore]) == to) ||
         (own.inputs[kResidual] && passesTo(through(from, own.inputs[kResidual]), to, depth + 1));
}

Value Expressions::passedTo(Value value, Op op) const {
  while (value && all[value.node].op != op) {
    const Expression &own = all[value.node];
    if (own.op == Op::GateSum)
      value = through(value, own.inputs[0]);
    else if (own.op == Op::Epilogue && isSum(own))
      value = through(value, own.inputs[kCore]);
    else
      return {};
  }
  return value;
}

uint64_t Expressions::weight(const Value &value, size_t input) const {
  const Expression &own = all[value.node];
  uint64_t other = hashOf(static_cast<uint64_t>(own.op), input) | 1;
  if (!own.inputs[input])
    return 0;
  switch (own.op) {
  case Op::Product: {
    if (input != 0)
      return other;
    // Additive over the rows of the weight, so that it does not matter in which pieces they come.
    auto weight = static_cast<uint64_t>(own.inputs[1].node);
    const AxisSlice &rows = own.inputs[1].axes[0];
    return hashOf(weight, static_cast<uint64_t>(rows.end)) -
           hashOf(weight, static_cast<uint64_t>(rows.begin));
  }
  case Op::Epilogue:
    if (input == kResidual || (input == kCore && isSum(own)))
      return 1;
    return input == kCore || input == kGate ? other : 0;
  case Op::GateSum:
    return input == 0 ? 1 : other;
  case Op::Norm:
  case Op::Relu:
  case Op::Softmax:
  case Op::Values:
  case Op::Gate:
  case Op::Outer:
  case Op::Matmul:
    return other;
  case Op::Gated:
    return input < 2 ? other : 0;
  case Op::Logits:
    return input < 3 ? other : 0;
  case Op::Mean:
    return input == 0 ? other : 0;
  default:
    return 0;
  }
}

} // namespace evo::plan
