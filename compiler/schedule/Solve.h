//===- Solve.h - the fastest plan within a budget ---------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// Optimal for the costs given and for the plans of Problem.h: no other order of ops, no op run
// again but by its record or a segment. Values in, values out; deterministic; no clock.
//===----------------------------------------------------------------------===//
#pragma once

#include "compiler/schedule/Problem.h"

namespace evo::schedule {

enum class Engine {
  Dense, ///< a grid of headrooms; the frames of blocks are rounded up to its step
  Sparse ///< exact for any sizes, and slower
};

struct SolveOptions {
  Engine engine = Engine::Dense;
  /// Step of the dense grid. 0: the largest number that divides all sizes kept, if the grid then
  /// has at most 8192 cells, else `defaultGranule`. The budget may have at most 2^20 steps.
  Bytes granule = 0;
};

/// The largest number that divides all that is ever kept; 0 where nothing is. With frames of its
/// multiples nothing is rounded.
Bytes keptDivisor(const Problem &problem);

/// The larger of 2 MiB and budget / 8192, at least 1.
Bytes defaultGranule(Bytes budgetBytes);

/// The fastest plan, and the frontier of least times up to the budget. Of plans with the least time
/// the sparse engine takes one with the least peak. Where no plan fits, `feasible` is false and
/// `leastBytes` says what would do. A solution was validated.
Result<Solution> solve(const Problem &problem, const SolveOptions &options = {});

/// The smallest budget for which there is a plan whose frames are rounded up to the granule; the
/// problem's own budget plays no part.
Result<Bytes> leastBudget(const Problem &problem, Bytes granule = 1);

} // namespace evo::schedule
