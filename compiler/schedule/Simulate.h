//===- Simulate.h - what a plan costs, event by event -----------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// An independent account of a plan: forward through the blocks, backward through them, segments run
// again on the way, with a list of what is allocated. Shares nothing with the solvers but the
// structs of the problem.
//===----------------------------------------------------------------------===//
#pragma once

#include "compiler/schedule/Problem.h"

namespace evo::schedule {

struct Simulation {
  TimeNs costNs = 0;
  Bytes peakBytes = 0;
};

/// Errors: a plan that does not lead through the chain, segments that cross, a granule below 1.
Result<Simulation> simulate(const Problem &problem, const Plan &plan);

/// The solution's time and peak are those of its plan, its loss what the plan would save without
/// rounding, the peak is within the budget, and the frontier falls and ends at the solution's time.
Status validateSolution(const Problem &problem, const Solution &solution);

} // namespace evo::schedule
