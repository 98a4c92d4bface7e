//===- VerifyTrace.h - procedures as expressions ----------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// Runs a procedure on expressions. A loop's body is run once, on all its slices together.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/plan/Expressions.h"
#include "runtime/plan/VerifyParts.h"

#include <functional>
#include <set>

namespace evo::plan {

/// What elements hold: a value, or the gradient of one.
struct Held {
  bool isGradient = false;
  Value value;      ///< none: of a gradient zeros, which are that of any value
  uint64_t sum = 0; ///< of a gradient: the weights of the paths along which it was made
};

/// Elements of an operand, in its axes.
struct Piece {
  Box box;
  Held held;
};
using Pieces = std::vector<Piece>;

class Trace {
public:
  using Kernels = std::function<Verdict(const KernelStep &, const Path &)>;

  Trace(const Plan &plan, const Procedure &procedure, Expressions &expressions, WorkBudget &work);

  /// What a buffer holds when the procedure is entered.
  void enter(size_t buffer, Held held);
  /// Calls `kernel` for each kernel step.
  Verdict run(const Path &path, const Kernels &kernel) {
    return steps(procedure.steps, path, "steps", kernel);
  }

  Pieces read(const View &view);
  /// The value of an operand of which no element is a gradient; `gradient` is set where one is.
  Value readValue(const View &view, bool &gradient);
  /// Pieces that are no gradients as one value.
  Value joined(const Pieces &pieces, std::span<const int64_t> shape);
  void write(const View &view, const Pieces &pieces);
  /// What all elements of a buffer hold now, in its own axes.
  Pieces final(size_t buffer);

  /// Evaluates a kernel on values that are no gradients.
  void evaluate(const KernelStep &step);

  std::vector<int64_t> shapeOf(const View &view) const;
  Value tensor(size_t index);
  Value weight(size_t index);
  Value unknown(std::span<const int64_t> shape);

  const Plan &plan;
  const Procedure &procedure;
  Expressions &expressions;
  std::set<int32_t> held; ///< expressions of values that steps have read or written

private:
  struct Definition {
    int32_t version;
    Box box;
    Held held;
  };
  Verdict steps(const std::vector<Step> &list, const Path &parent, std::string_view field,
                const Kernels &kernel);
  Pieces find(int32_t buffer, int32_t version, const Box &box);

  WorkBudget &work;
  std::vector<std::vector<Definition>> definitions; ///< of each buffer
  std::vector<const LoopStep *> loops;
  int64_t unknowns = 0;
};

/// The attributes that an op's value depends on.
std::vector<int64_t> numbersOf(Op op, const KernelAttributes &attributes);

/// The expressions of a module's forward.
struct ForwardExpressions {
  std::set<int32_t> held; ///< of what its steps read and write
  int32_t count = 0;      ///< these, and what they are made of, are numbered below
};

/// Runs a step of a backward procedure: one of gradients is held to the kernel of the forward that
/// it differentiates (5, 6).
Verdict pairStep(Trace &trace, const ForwardExpressions &forward, const KernelStep &step,
                 const Path &path);

} // namespace evo::plan
