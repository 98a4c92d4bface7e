//===- Dense.cpp - engine A -------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "compiler/schedule/Composite.h"
#include "compiler/schedule/Engine.h"

#include <algorithm>

namespace evo::schedule {

namespace {
using Column = std::vector<TimeNs>; // one time a cell; cell i has headroom budget - i * granule
constexpr size_t kTile = 1024;      // cells that stay in the first cache while all steps visit them

/// out[i] = min(out[i], costNs + rest[i]), in a form that compilers vectorise without a 64-bit
/// minimum: no difference leaves the range of TimeNs.
void lowerBy(TimeNs *out, const TimeNs *rest, TimeNs costNs, size_t count) {
  for (size_t i = 0; i < count; ++i) {
    const TimeNs before = out[i], difference = costNs + rest[i] - before;
    out[i] = before + (difference & (difference >> 63));
  }
}

/// A way through a block in those cells where, of the ways that differ in tau and time only, it is
/// the fastest.
struct Step {
  State end = 0;
  size_t shift = 0;                ///< cells that its frame takes
  size_t firstCell = 0, limit = 0; ///< half-open
  TimeNs costNs = 0;
};

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
    for (const std::vector<Composite> &ways : menu)
      steps.push_back(stepsOf(ways));
    const std::vector<std::vector<bool>> asked = chainsAsked();
    table.assign(static_cast<size_t>(problem.blocks) + 1, std::vector<Column>(states));
    for (size_t blocks = 0; blocks < table.size(); ++blocks)
      for (size_t state = 0; state < states; ++state)
        if (asked[blocks][state])
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

  /// For which numbers of blocks and states the whole chain asks.
  std::vector<std::vector<bool>> chainsAsked() const {
    const auto blocks = static_cast<size_t>(problem.blocks);
    std::vector<std::vector<bool>> asked(
        blocks + 1, std::vector<bool>(static_cast<size_t>(transitions.states), false));
    asked[blocks][0] = true;
    for (size_t left = blocks; left > 0; --left)
      for (State state = 0; state < transitions.states; ++state) {
        if (!asked[left][static_cast<size_t>(state)])
          continue;
        for (const Composite &way : menu[static_cast<size_t>(state)])
          asked[left - 1][static_cast<size_t>(way.end)] = true;
        if (problem.segments && transitions.inBoundaryLayout(state))
          for (size_t count = 1; count < left; ++count) {
            asked[count][static_cast<size_t>(state)] = true;
            asked[left - count][static_cast<size_t>(transitions.afterFastForward(state))] = true;
          }
      }
    return asked;
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

  /// Of ways with one frame and end, the one with the largest tau that fits is the fastest: each
  /// cell is visited once for all of them.
  std::vector<Step> stepsOf(const std::vector<Composite> &ways) const {
    std::vector<Step> steps;
    for (size_t i = ways.size(); i-- > 0;) {
      const auto shift = static_cast<size_t>(ways[i].sigma / granule);
      const bool goesOn =
          !steps.empty() && steps.back().end == ways[i].end && steps.back().shift == shift;
      steps.push_back({ways[i].end, shift, goesOn ? steps.back().limit : 0, cellsWith(ways[i].tau),
                       ways[i].costNs});
    }
    return steps;
  }

  void addBlock(Column &out, size_t blocks, State state) const {
    for (size_t tile = 0; tile < cells; tile += kTile)
      for (const Step &step : steps[static_cast<size_t>(state)]) {
        const size_t first = std::max(step.firstCell, tile);
        const size_t limit = std::min(step.limit, tile + kTile);
        if (first < limit)
          lowerBy(&out[first], &column(blocks - 1, step.end)[first + step.shift], step.costNs,
                  limit - first);
      }
  }

  void addSegment(Column &out, size_t blocks, State state, size_t count) const {
    const TimeNs *rest =
        column(blocks - count, transitions.afterFastForward(state)).data() + afterCheckpoint;
    const TimeNs *inner = column(count, state).data() + afterCheckpoint;
    // Each way in the cells where it is the last one that fits.
    size_t cell = 0;
    for (size_t i = problem.segments->forward.size(); i-- > 0;) {
      const SegmentCosts::Forward &way = problem.segments->forward[i];
      const TimeNs forwardNs = segmentNs(*problem.segments, way, count);
      const size_t limit = cellsWith(checkpoint + way.transientBytes);
      for (; cell < limit; ++cell) {
        const TimeNs before = out[cell], difference = forwardNs + rest[cell] + inner[cell] - before;
        out[cell] = before + (difference & (difference >> 63));
      }
    }
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
    const SegmentCosts &costs = *problem.segments;
    const int forward = fastestForward(costs, headroom(cell) - checkpoint);
    const SegmentCosts::Forward &ff = costs.forward[static_cast<size_t>(forward)];
    size_t count = 1;
    while (segmentNs(costs, ff, count) +
               column(blocks - count, transitions.afterFastForward(state))[next] +
               column(count, state)[next] !=
           best)
      ++count;
    plan.segments.push_back({static_cast<int>(first), static_cast<int>(count), forward});
    const Need inner = trace(plan, first, count, state, next);
    const Need rest =
        trace(plan, first + count, blocks - count, transitions.afterFastForward(state), next);
    return {checkpoint + std::max({ff.transientBytes, inner.rounded, rest.rounded}),
            costs.checkpointBytes + std::max({ff.transientBytes, inner.exact, rest.exact})};
  }

  const Problem &problem;
  const Transitions &transitions;
  const Bytes granule;
  const size_t cells;
  const std::vector<std::vector<Composite>> menu;
  std::vector<std::vector<Step>> steps; ///< [state], of the menu
  Bytes checkpoint = 0;
  size_t afterCheckpoint = 0;             ///< cells
  std::vector<std::vector<Column>> table; ///< [blocks][state]
};
} // namespace

Found solveDense(const Problem &problem, const Transitions &transitions, Bytes granule) {
  return DenseEngine(problem, transitions, granule).run();
}

} // namespace evo::schedule
