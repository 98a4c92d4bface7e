//===- Search.h - the fastest plan of a stack within a budget ---*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// Between the IR and the schedule library: makes the problem of a stack, solves it for a budget and
// writes the solution back as segments, runs, choices and intervals to recompute.
//===----------------------------------------------------------------------===//
#pragma once

#include "compiler/schedule/Solve.h"
#include "passes/StackProblem.h"

#include <vector>

namespace evo {

class ScheduleSearch {
public:
  /// `fixedBytes`: what every plan of the stack needs beside kept tensors and frames, that is
  /// boundary tensors, the static part and the libraries' share.
  static Result<ScheduleSearch> create(ir::StackOp stack, const Target &target, int64_t fixedBytes);

  /// The fastest plan for a budget on all of the device's memory. Infeasible where none fits.
  Result<schedule::Solution> solve(int64_t budgetBytes) const;

  /// The smallest budget with a plan.
  Result<int64_t> leastBudget() const;

  /// The time of the stack with memory for everything: no plan is faster.
  Result<int64_t> lowerBoundNs() const;

  /// Budgets and the least times within them: as many points as there are, at most `points`, from
  /// the smallest budget to the one from which on nothing gets faster.
  Result<std::vector<schedule::FrontierPoint>> frontier(size_t points) const;

  /// Replaces the stack's segments by those of the solution.
  Status apply(ir::StackOp stack, const schedule::Solution &solution) const;

  int64_t costNs(const schedule::Solution &solution) const { return solution.costNs * repeats; }
  const StackProblem &stackProblem() const { return stack; }

private:
  StackProblem stack;
  int64_t fixedBytes = 0;
  schedule::Bytes ampleBytes = 0; ///< headroom that every plan fits in
  schedule::Bytes granule = 1;
  int64_t blocks = 0;
  int64_t repeats = 1; ///< blocks for each of the problem's: in inference one speaks for all
};

} // namespace evo
