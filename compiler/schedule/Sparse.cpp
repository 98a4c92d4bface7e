//===- Sparse.cpp - engine B ------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "compiler/schedule/Engine.h"

#include <algorithm>
#include <tuple>

namespace evo::schedule {

namespace {
/// The least time as a function of headroom: bytes increase, times decrease.
using Staircase = std::vector<FrontierPoint>;

TimeNs timeAt(const Staircase &stairs, Bytes headroom) {
  auto above =
      std::upper_bound(stairs.begin(), stairs.end(), headroom,
                       [](Bytes bytes, const FrontierPoint &p) { return bytes < p.bytes; });
  return above == stairs.begin() ? kNever : std::prev(above)->costNs;
}

void append(Staircase &stairs, FrontierPoint point) {
  if (!stairs.empty() && stairs.back().costNs <= point.costNs)
    return;
  if (!stairs.empty() && stairs.back().bytes == point.bytes)
    stairs.pop_back();
  stairs.push_back(point);
}

/// The lower of two.
Staircase lower(const Staircase &a, const Staircase &b) {
  Staircase result;
  result.reserve(a.size() + b.size());
  for (size_t i = 0, j = 0; i < a.size() || j < b.size();) {
    const bool takeA = j == b.size() || (i < a.size() && std::tie(a[i].bytes, a[i].costNs) <=
                                                             std::tie(b[j].bytes, b[j].costNs));
    append(result, takeA ? a[i++] : b[j++]);
  }
  return result;
}

/// The stairs behind something that keeps `sigma`, needs `tau` and takes `costNs`.
Staircase behind(const Staircase &stairs, Bytes tau, Bytes sigma, TimeNs costNs, Bytes limit) {
  Staircase result;
  result.reserve(stairs.size());
  for (const FrontierPoint &point : stairs)
    if (const Bytes bytes = std::max(tau, sigma + point.bytes); bytes <= limit)
      append(result, {bytes, costNs + point.costNs});
  return result;
}

/// Both under the same headroom, one after the other.
Staircase sum(const Staircase &a, const Staircase &b) {
  Staircase result;
  for (size_t i = 0, j = 0; i < a.size() || j < b.size();) {
    const bool takeA = j == b.size() || (i < a.size() && a[i].bytes <= b[j].bytes);
    const Bytes bytes = takeA ? a[i++].bytes : b[j++].bytes;
    if (i > 0 && j > 0)
      append(result, {bytes, a[i - 1].costNs + b[j - 1].costNs});
  }
  return result;
}

class SparseEngine {
public:
  SparseEngine(const Problem &problem, const Transitions &transitions)
      : problem(problem), transitions(transitions),
        states(static_cast<size_t>(transitions.states)) {}

  Found run() {
    const auto blocks = static_cast<size_t>(problem.blocks);
    table.assign(blocks + 1, std::vector<Staircase>(states));
    for (size_t state = 0; state < states; ++state)
      if (transitions.inBoundaryLayout(static_cast<State>(state)))
        table[0][state] = {{0, 0}};
    for (size_t count = 1; count <= blocks; ++count) {
      const std::vector<Staircase> ofOps = solveBlock(count);
      for (size_t state = 0; state < states; ++state)
        if (transitions.startsBlock[state])
          table[count][state] = withSegments(ofOps[state], count, static_cast<State>(state));
    }
    Found found;
    found.frontier = table[blocks][0];
    if (found.frontier.empty())
      return found;
    found.plan.records.resize(blocks);
    found.need = trace(found.plan, 0, blocks, 0, found.frontier.back().bytes);
    return found;
  }

private:
  const Staircase &stairs(size_t blocks, State state) const {
    return table[blocks][static_cast<size_t>(state)];
  }

  /// For each op and state, at op * states + state, what remains of a chain of `blocks` blocks.
  std::vector<Staircase> solveBlock(size_t blocks) const {
    const auto ops = static_cast<size_t>(transitions.ops);
    std::vector<Staircase> result((ops + 1) * states);
    for (size_t state = 0; state < states; ++state)
      result[ops * states + state] = table[blocks - 1][state];
    for (size_t at = ops * states; at-- > 0;)
      for (const Edge &edge : transitions.edges[at])
        if (const Staircase &rest = result[behindEdge(edge)]; !rest.empty())
          result[at] = lower(result[at],
                             behind(rest, edge.tau, edge.sigma, edge.costNs, problem.budgetBytes));
    return result;
  }
  size_t behindEdge(const Edge &edge) const {
    return static_cast<size_t>(edge.nextOp) * states + static_cast<size_t>(edge.nextState);
  }

  Staircase withSegments(Staircase best, size_t blocks, State state) const {
    if (!problem.segments || !transitions.inBoundaryLayout(state))
      return best;
    const SegmentCosts &costs = *problem.segments;
    for (size_t count = 1; count < blocks; ++count) {
      const Staircase both =
          sum(stairs(blocks - count, transitions.afterFastForward(state)), stairs(count, state));
      for (const SegmentCosts::Forward &way : costs.forward)
        best = lower(best,
                     behind(both, costs.checkpointBytes + way.transientBytes, costs.checkpointBytes,
                            segmentNs(costs, way, count), problem.budgetBytes));
    }
    return best;
  }

  /// Writes the choices of a chain that begins with block `first`; records before a segment, then
  /// the lowest record, then the shortest segment.
  Need trace(Plan &plan, size_t first, size_t blocks, State state, Bytes headroom) const {
    if (blocks == 0)
      return {};
    const TimeNs best = timeAt(stairs(blocks, state), headroom);
    const std::vector<Staircase> ofOps = solveBlock(blocks);
    if (timeAt(ofOps[static_cast<size_t>(state)], headroom) == best)
      return traceBlock(plan, first, blocks, static_cast<size_t>(state), headroom, ofOps);
    const SegmentCosts &costs = *problem.segments;
    const State after = transitions.afterFastForward(state);
    const Bytes left = headroom - costs.checkpointBytes;
    const int forward = fastestForward(costs, left);
    const SegmentCosts::Forward &way = costs.forward[static_cast<size_t>(forward)];
    size_t count = 1;
    while (segmentNs(costs, way, count) + timeAt(stairs(blocks - count, after), left) +
               timeAt(stairs(count, state), left) !=
           best)
      ++count;
    plan.segments.push_back({static_cast<int>(first), static_cast<int>(count), forward});
    const Need inner = trace(plan, first, count, state, left);
    const Need rest = trace(plan, first + count, blocks - count, after, left);
    const Bytes need =
        costs.checkpointBytes + std::max({way.transientBytes, inner.exact, rest.exact});
    return {need, need};
  }

  Need traceBlock(Plan &plan, size_t first, size_t blocks, size_t at, Bytes headroom,
                  const std::vector<Staircase> &ofOps) const {
    Bytes kept = 0, need = 0;
    while (at < static_cast<size_t>(transitions.ops) * states) {
      const TimeNs best = timeAt(ofOps[at], headroom - kept);
      const std::vector<Edge> &edges = transitions.edges[at];
      auto edge = std::find_if(edges.begin(), edges.end(), [&](const Edge &e) {
        return e.tau <= headroom - kept &&
               e.costNs + timeAt(ofOps[behindEdge(e)], headroom - kept - e.sigma) == best;
      });
      if (edge == edges.end())
        return {}; // a broken promise of our own, which the validation reports
      plan.records[first].push_back(edge->record);
      need = std::max(need, kept + edge->tau);
      kept += edge->sigma;
      at = behindEdge(*edge);
    }
    const auto end = static_cast<State>(at % states);
    const Need rest = trace(plan, first + 1, blocks - 1, end, headroom - kept);
    need = std::max(need, kept + rest.exact);
    return {need, need};
  }

  const Problem &problem;
  const Transitions &transitions;
  const size_t states;
  std::vector<std::vector<Staircase>> table; ///< [blocks][state]
};
} // namespace

Found solveSparse(const Problem &problem, const Transitions &transitions) {
  return SparseEngine(problem, transitions).run();
}

} // namespace evo::schedule
