//===- Solve.cpp ------------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "compiler/schedule/Solve.h"

#include "compiler/schedule/Composite.h"
#include "compiler/schedule/Engine.h"
#include "compiler/schedule/Simulate.h"

#include <algorithm>
#include <numeric>
#include <optional>
#include <string>

namespace evo::schedule {

Bytes keptDivisor(const Problem &problem) {
  Bytes divisor = 0;
  for (const Record &record : problem.records)
    divisor = std::gcd(divisor, record.keptBytes);
  for (Bytes bytes : problem.streamBytes)
    divisor = std::gcd(divisor, bytes);
  if (problem.segments)
    divisor = std::gcd(divisor, problem.segments->checkpointBytes);
  return divisor;
}

namespace {
constexpr Bytes kCells = 8192, kMostCells = Bytes{1} << 20;
constexpr Bytes kOutOfReach = Bytes{1} << 62;

/// With steps of the largest common divisor no frame is rounded; where they are too fine, the
/// default.
Bytes chooseGranule(const Problem &problem) {
  const Bytes divisor = keptDivisor(problem);
  if (divisor == 0) // nothing is ever kept: one cell will do
    return std::max<Bytes>(problem.budgetBytes, 1);
  return problem.budgetBytes / divisor < kCells ? divisor : defaultGranule(problem.budgetBytes);
}

/// The recurrence of Engine.h for the headroom alone.
class LeastBudget {
public:
  LeastBudget(const Problem &problem, const Transitions &transitions, Bytes granule)
      : transitions(transitions), segments(problem.segments),
        menu(composites(transitions, kOutOfReach, granule)) {
    if (segments)
      segments->checkpointBytes = roundUp(segments->checkpointBytes, granule);
  }

  Bytes run(size_t blocks) {
    const auto states = static_cast<size_t>(transitions.states);
    table.assign(blocks + 1, std::vector<Bytes>(states, kOutOfReach));
    for (size_t count = 0; count <= blocks; ++count)
      for (size_t state = 0; state < states; ++state)
        if (transitions.startsBlock[state])
          table[count][state] = least(count, static_cast<State>(state));
    return table.back()[0];
  }

private:
  Bytes least(size_t blocks, State state) const {
    if (blocks == 0)
      return transitions.inBoundaryLayout(state) ? 0 : kOutOfReach;
    Bytes best = kOutOfReach;
    for (const Composite &way : menu[static_cast<size_t>(state)])
      best = std::min(best, std::max(way.tau, way.sigma + at(blocks - 1, way.end)));
    if (!segments || !transitions.inBoundaryLayout(state))
      return best;
    for (size_t count = 1; count < blocks; ++count) {
      const Bytes rest = at(blocks - count, transitions.afterFastForward(state));
      best = std::min(
          best, segments->checkpointBytes +
                    std::max({segments->forward.front().transientBytes, rest, at(count, state)}));
    }
    return best;
  }
  Bytes at(size_t blocks, State state) const { return table[blocks][static_cast<size_t>(state)]; }

  const Transitions &transitions;
  std::optional<SegmentCosts> segments;
  const std::vector<std::vector<Composite>> menu;
  std::vector<std::vector<Bytes>> table; ///< [blocks][state]
};

Status checkGranule(const Problem &problem, Bytes granule) {
  const Bytes least = problem.budgetBytes / kMostCells + 1;
  if (granule >= least && granule <= kMaxBytes)
    return Status::success();
  return Status::error(ErrorCode::InvalidInput,
                       "granule: expected " + std::to_string(least) + " to " +
                           std::to_string(kMaxBytes) + " bytes for a budget of " +
                           std::to_string(problem.budgetBytes) + ", got " +
                           std::to_string(granule) + "; the sparse engine needs none");
}
} // namespace

Bytes defaultGranule(Bytes budgetBytes) {
  return std::max<Bytes>(Bytes{2} << 20, budgetBytes / kCells);
}

Result<Bytes> leastBudget(const Problem &problem, Bytes granule) {
  EVO_TRY(checkProblem(problem));
  if (granule < 1 || granule > kMaxBytes)
    return Status::error(ErrorCode::InvalidInput, "granule: expected 1 to " +
                                                      std::to_string(kMaxBytes) + " bytes, got " +
                                                      std::to_string(granule));
  // Without times, what is left of the composites is a few pairs of bytes.
  Problem timeless = problem;
  for (Record &record : timeless.records)
    record.costNs = 0;
  const Transitions transitions(timeless);
  return LeastBudget(timeless, transitions, granule).run(static_cast<size_t>(problem.blocks));
}

Result<Solution> solve(const Problem &problem, const SolveOptions &options) {
  EVO_TRY(checkProblem(problem));
  const bool dense = options.engine == Engine::Dense;
  Bytes granule = 1;
  if (dense) {
    granule = options.granule != 0 ? options.granule : chooseGranule(problem);
    EVO_TRY(checkGranule(problem, granule));
  }
  const Transitions transitions(problem);
  Found found =
      dense ? solveDense(problem, transitions, granule) : solveSparse(problem, transitions);
  Solution solution;
  EVO_ASSIGN(solution.leastBytes, leastBudget(problem, granule));
  if (!found.frontier.empty()) {
    solution.feasible = true;
    solution.plan = std::move(found.plan);
    solution.costNs = found.frontier.back().costNs;
    solution.peakBytes = found.need.rounded;
    solution.lossBytes = found.need.rounded - found.need.exact;
    solution.frontier = std::move(found.frontier);
  }
  EVO_TRY(validateSolution(problem, solution));
  return solution;
}

} // namespace evo::schedule
