//===- Expressions.h - what a value is computed from ------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// Values of a module as expressions over the boundary tensors and weights, equal ones with one
// number. Three things make plans comparable that compute the same in different ways:
//   - a fused kernel is the expression of the plain ones;
//   - a slice of a value is the value of slices, wherever an element of it needs no more of the
//     operands: rows of a projection are the projection by rows of the weight;
//   - a loop is what all its slices compute together.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/plan/Kernel.h"
#include "runtime/plan/Regions.h"

#include <array>
#include <cstdint>
#include <deque>
#include <map>
#include <span>
#include <vector>

namespace evo::plan {

/// What computes a value. The first three are leaves: a boundary tensor as the forward finds it, a
/// weight, and a value of which nothing is known.
enum class Op : uint8_t {
  Tensor,
  Weight,
  Unknown,
  Norm,      ///< x, weight, bias
  Product,   ///< factor * x weight^T + bias
  Relu,      ///< x
  Epilogue,  ///< residual + dropout * row_scale * sigmoid(gate) * x: x, row_scale, gate, dropout,
             ///< residual
  Gated,     ///< row_scale * sigmoid(g) * u: u, g, row_scale
  Logits,    ///< query, key, pair_bias, mask
  Softmax,   ///< x
  LogSum,    ///< x: log sum exp of logits
  Values,    ///< weights, value
  GateSum,   ///< gate + bias
  Gate,      ///< sigmoid(gate) * o: o, gate
  Mean,      ///< x, mask
  Outer,     ///< a, b
  OuterNorm, ///< mask_i, mask_j
  Matmul,    ///< a, b
  Dropout,   ///< nothing
  Other,     ///< any other kernel, and values in several pieces
};
inline constexpr size_t kOps = 20;

/// Elements [begin, end) of an axis of an expression.
struct AxisSlice {
  int32_t axis = 0;
  int64_t begin = 0, end = 0;
  int64_t length() const { return end - begin; }
  bool operator==(const AxisSlice &) const = default;
};

/// An expression's value times `scale`, its axes sliced and reordered.
struct Value {
  int32_t node = -1; ///< -1: none
  double scale = 1;
  std::vector<AxisSlice> axes;
  explicit operator bool() const { return node >= 0; }
  bool operator==(const Value &) const = default;
};

struct Expression {
  Op op = Op::Unknown;
  std::vector<int64_t> numbers; ///< attributes that the value depends on; of leaves an index
  std::vector<Value> inputs;    ///< absent ones are none
  std::vector<int64_t> shape;
  int32_t depth = 0;
};

/// The inputs of an Epilogue.
enum EpilogueInput : size_t { kCore, kRowScale, kGate, kDropout, kResidual };

class Expressions {
public:
  explicit Expressions(WorkBudget &work) : work(work) {}

  Value make(Op op, std::vector<int64_t> numbers, std::vector<Value> inputs,
             std::span<const int64_t> shape);
  const Expression &operator[](const Value &value) const { return all[value.node]; }
  const Expression &at(int32_t node) const { return all[node]; }
  int32_t size() const { return static_cast<int32_t>(all.size()); }

  /// Elements [begin, end) of axis `axis` of the value.
  Value slice(Value value, size_t axis, int64_t begin, int64_t end);
  /// A box of the value.
  Value slice(Value value, const Box &box);
  /// Elements [begin, end) of the axes that operand axes `letters` call `letter`; broadcast ones
  /// stay.
  Value sliceLetter(Value value, std::string_view letters, char letter, int64_t begin, int64_t end);

  /// Whether a gradient of `from` is one of `to` too, as that of a sum is one of its terms.
  bool passesTo(const Value &from, const Value &to, size_t depth = 0) const;
  /// The operand of the value that a gradient of it passes to unchanged and that is of that op; the
  /// value itself where it is.
  Value passedTo(Value value, Op op) const;

  /// What the gradient of the value is multiplied with on its way to an input; 0: it gets none.
  uint64_t weight(const Value &value, size_t input) const;

private:
  int32_t sliced(int32_t node, int32_t axis, int64_t begin, int64_t end);
  Value through(const Value &value, const Value &input) const;

  WorkBudget &work;
  std::deque<Expression> all; ///< none moves when others are made
  std::map<std::vector<int64_t>, int32_t> known;
  std::map<std::array<int64_t, 4>, int32_t> slices;
};

/// The letter of an operand's axis in Kernels.def, leading ones as 'A', 'B', ...
char letterOf(std::string_view letters, size_t rank, size_t axis);

/// A random number of a place: what tells paths of gradients apart.
uint64_t hashOf(uint64_t a, uint64_t b);

/// Whether an epilogue is nothing but a sum.
bool isSum(const Expression &epilogue);

} // namespace evo::plan
