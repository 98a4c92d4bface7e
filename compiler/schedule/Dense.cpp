//===- Dense.cpp - engine A -------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "compiler/schedule/Composite.h"
#include "compiler/schedule/Engine.h"

#include <algorithm>

namespace evo::schedule {

namespace {
using Column = std::vector<TimeNs>; // one time a cell; cell i has headroom budget - i * granule

class DenseEngine {
public:
  DenseEngine(const Problem &problem, const Transitions &transitions, Bytes granule)
      : problem(problem), transitions(transitions), granule(granule),
        cells(static_cast<size_t>(problem.budgetBytes / granule) + 1),
        menu(composites(transitions, problem.budgetBytes, granule)) {
    if (problem.segments) {
      checkpoint = roundUp(problem.segments->checkpointBytes, granule);
      afterCheckpoint = static_cast<size_t>(checkpoint / granule);
    }
  }

  Found run() {
    const auto states = static_cast<size_t>(transitions.states);
    table.assign(static_cast<size_t>(problem.blocks) + 1, std::vector<Column>(states));
    for (size_t blocks = 0; blocks < table.size(); ++blocks)
      for (size_t state = 0; state < states; ++state)
        if (transitions.startsBlock[state])
          fill(blocks, static_cast<State>(state));
    Found found;
    const Column &top = table.back()[0];
    for (size_t cell = cells; cell-- > 0;)
      if (top[cell] < (found.frontier.empty() ? kNever : found.frontier.back().costNs))
        found.frontier.push_back({headroom(cell), top[cell]});
    if (found.frontier.empty())
      return found;
    found.plan.frameGranule = granule;
    found.plan.records.resize(static_cast<size_t>(problem.blocks));
    const Bytes last = found.frontier.back().bytes;
    found.need = trace(found.plan, 0, static_cast<size_t>(problem.blocks), 0,
                       static_cast<size_t>((problem.budgetBytes - last) / granule));
    return found;
  }

private:
  Bytes headroom(size_t cell) const {
    return problem.budgetBytes - static_cast<Bytes>(cell) * granule;
  }
  /// How many cells, from the first on, have at least these bytes.
  size_t cellsWith(Bytes bytes) const {
    return bytes > problem.budgetBytes
               ? 0
               : static_cast<size_t>((problem.budgetBytes - bytes) / granule) + 1;
  }
  const Column &column(size_t blocks, State state) const {
    return table[blocks][static_cast<size_t>(state)];
  }

  void fill(size_t blocks, State state) {
    Column &out = table[blocks][static_cast<size_t>(state)];
    out.assign(cells, kNever);
    if (blocks == 0) {
      if (transitions.inBoundaryLayout(state))
        std::fill(out.begin(), out.end(), 0);
      return;
    }
    addBlock(out, blocks, state);
    if (problem.segments && transitions.inBoundaryLayout(state))
      for (size_t count = 1; count < blocks; ++count)
        addSegment(out, blocks, state, count);
  }

  /// Among composites that differ in tau and time only, the one with the largest tau that fits is
  /// the fastest: each cell is visited once for all of them.
  void addBlock(Column &out, size_t blocks, State state) const {
    const std::vector<Composite> &ways = menu[static_cast<size_t>(state)];
    for (size_t end = ways.size(); end > 0;) {
      const Composite &last = ways[end - 1];
      const auto shift = static_cast<size_t>(last.sigma / granule);
      const TimeNs *rest = column(blocks - 1, last.end).data() + shift;
      size_t cell = 0;
      for (; end > 0 && ways[end - 1].end == last.end && ways[end - 1].sigma == last.sigma; --end) {
        const size_t limit = cellsWith(ways[end - 1].tau);
        for (const TimeNs costNs = ways[end - 1].costNs; cell < limit; ++cell)
          out[cell] = std::min(out[cell], costNs + rest[cell]);
      }
    }
  }

  size_t segmentCells() const {
    return cellsWith(checkpoint + problem.segments->forwardTransientBytes);
  }
  void addSegment(Column &out, size_t blocks, State state, size_t count) const {
    const TimeNs forwardNs = static_cast<TimeNs>(count) * problem.segments->forwardNs;
    const TimeNs *rest =
        column(blocks - count, transitions.afterFastForward(state)).data() + afterCheckpoint;
    const TimeNs *inner = column(count, state).data() + afterCheckpoint;
    const size_t limit = segmentCells();
    for (size_t cell = 0; cell < limit; ++cell)
      out[cell] = std::min(out[cell], forwardNs + rest[cell] + inner[cell]);
  }

  /// Writes the choices of a chain that begins with block `first`; a block before a segment, then
  /// the first in the order of the composites, then the shortest segment.
  Need trace(Plan &plan, size_t first, size_t blocks, State state, size_t cell) const {
    if (blocks == 0)
      return {};
    const TimeNs best = column(blocks, state)[cell];
    for (const Composite &way : menu[static_cast<size_t>(state)]) {
      const size_t next = cell + static_cast<size_t>(way.sigma / granule);
      if (way.tau > headroom(cell) || way.costNs + column(blocks - 1, way.end)[next] != best)
        continue;
      plan.records[first] = way.records;
      const Need rest = trace(plan, first + 1, blocks - 1, way.end, next);
      return {std::max(way.tau, way.sigma + rest.rounded),
              std::max(way.exactTau, way.exactSigma + rest.exact)};
    }
    const size_t next = cell + afterCheckpoint;
    size_t count = 1;
    while (static_cast<TimeNs>(count) * problem.segments->forwardNs +
               column(blocks - count, transitions.afterFastForward(state))[next] +
               column(count, state)[next] !=
           best)
      ++count;
    plan.segments.push_back({static_cast<int>(first), static_cast<int>(count)});
    const Need inner = trace(plan, first, count, state, next);
    const Need rest =
        trace(plan, first + count, blocks - count, transitions.afterFastForward(state), next);
    const Bytes forward = problem.segments->forwardTransientBytes;
    return {checkpoint + std::max({forward, inner.rounded, rest.rounded}),
            problem.segments->checkpointBytes + std::max({forward, inner.exact, rest.exact})};
  }

  const Problem &problem;
  const Transitions &transitions;
  const Bytes granule;
  const size_t cells;
  const std::vector<std::vector<Composite>> menu;
  Bytes checkpoint = 0;
  size_t afterCheckpoint = 0;             ///< cells
  std::vector<std::vector<Column>> table; ///< [blocks][state]
};
} // namespace

Found solveDense(const Problem &problem, const Transitions &transitions, Bytes granule) {
  return DenseEngine(problem, transitions, granule).run();
}

} // namespace evo::schedule
