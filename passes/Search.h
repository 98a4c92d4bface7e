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
  /// What every plan of the stack has in common: the bytes of boundary tensors, the static part and
  /// the libraries' share, and the time of the optimizer.
  struct Fixed {
    int64_t bytes = 0;
    int64_t costNs = 0;
  };
  static Result<ScheduleSearch> create(ir::StackOp stack, const Target &target, Fixed fixed);

  /// The fastest plan for a budget on all of the device's memory. Infeasible where none fits.
  Result<schedule::Solution> solve(int64_t budgetBytes) const;

  /// The smallest budget with a plan.
  int64_t leastBudget() const { return leastBytes + fixed.bytes; }

  /// The time of the stack with memory for everything: no plan is faster.
  int64_t lowerBoundNs() const { return stackNs(fastest.costNs); }

  /// Budgets and the least times within them, every step from the smallest budget to the one from
  /// which on nothing gets faster. `solve` finds for each a plan of that time or less, but where it
  /// is one of `others`: plans that stand beside the search.
  Result<std::vector<schedule::FrontierPoint>>
  frontier(const std::vector<schedule::FrontierPoint> &others) const;

  /// Replaces the stack's segments by those of the solution.
  Status apply(ir::StackOp stack, const schedule::Solution &solution) const;

  /// What a tenth less headroom would cost, into the report.
  Status setTighter(const schedule::Solution &solution, SearchReport &report) const;

  int64_t costNs(const schedule::Solution &solution) const { return stackNs(solution.costNs); }
  const StackProblem &stackProblem() const { return stack; }

private:
  int64_t stackNs(schedule::TimeNs costNs) const { return costNs * repeats + fixed.costNs; }

  StackProblem stack;
  Fixed fixed;
  schedule::Solution fastest;     ///< with memory for everything, frames not rounded
  schedule::Bytes leastBytes = 0; ///< the smallest headroom with a plan
  int64_t repeats = 1; ///< blocks for each of the problem's: in inference one speaks for all
};

} // namespace evo
