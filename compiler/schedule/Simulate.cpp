//===- Simulate.cpp ---------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "compiler/schedule/Simulate.h"

#include <algorithm>
#include <string>
#include <utility>

namespace evo::schedule {

namespace {
Status broken(std::string message) {
  return Status::error(ErrorCode::InvalidPlan, std::move(message));
}

Status differs(const std::string &what, int64_t expected, int64_t got) {
  return broken(what + ": expected " + std::to_string(expected) + ", got " + std::to_string(got));
}

/// A stream's content, named by the last op that wrote it, counted over all blocks; -1 for the
/// chain's input. A segment that runs again makes the same versions again.
struct Version {
  int stream = 0;
  int64_t writer = -1;
  bool operator==(const Version &) const = default;
};

struct Allocation {
  Bytes bytes = 0;
  std::optional<Version> version; ///< where it is a kept copy of a stream
};

class Simulator {
public:
  Simulator(const Problem &problem, const Plan &plan) : problem(problem), plan(plan) {}

  Result<Simulation> run() {
    EVO_TRY(runChain(0, problem.blocks, 0, plan.segments.size()));
    if (!allocations.empty() || live != 0)
      return differs("bytes allocated at the end", 0, live);
    return Simulation{costNs, peak};
  }

private:
  /// A part of a chain: a block, or a segment with the range of its inner segments.
  struct Part {
    int first = 0;
    int count = 1;
    std::optional<std::pair<size_t, size_t>> inner;
    SegmentCosts::Forward way; ///< of a segment
    size_t allocatedBefore = 0;
  };

  void allocate(Bytes bytes, std::optional<Version> version = std::nullopt) {
    allocations.push_back({bytes, version});
    live += bytes;
    peak = std::max(peak, live);
  }
  void release() {
    live -= allocations.back().bytes;
    allocations.pop_back();
  }
  void touch(Bytes bytes) { peak = std::max(peak, live + bytes); }
  Bytes padding(Bytes bytes) const {
    const Bytes rest = bytes % plan.frameGranule;
    return rest == 0 ? 0 : plan.frameGranule - rest;
  }

  bool isAllocated(const Version &version) const {
    return std::any_of(allocations.begin(), allocations.end(),
                       [&](const Allocation &a) { return a.version == version; });
  }
  Version versionBefore(int stream, int block, int op) const {
    const auto ops = static_cast<int64_t>(problem.ops.size());
    for (int64_t at = block * ops + op - 1; at >= 0; --at)
      if (problem.ops[static_cast<size_t>(at % ops)].writes >> stream & 1u)
        return {stream, at};
    return {stream, -1};
  }

  /// Blocks [first, end), forward and backward, with the plan's segments [nextSegment, endSegment).
  Status runChain(int first, int end, size_t nextSegment, size_t endSegment) {
    EVO_ASSIGN(std::vector<Part> parts, split(first, end, nextSegment, endSegment));
    for (Part &part : parts) {
      part.allocatedBefore = allocations.size();
      if (part.inner)
        fastForward(part);
      else
        EVO_TRY(forward(part.first));
    }
    for (; !parts.empty(); parts.pop_back()) {
      const Part &part = parts.back();
      if (part.inner)
        EVO_TRY(runAgain(part));
      else
        backward(part.first);
      if (allocations.size() != part.allocatedBefore)
        return differs("allocations before block " + std::to_string(part.first),
                       static_cast<int64_t>(part.allocatedBefore),
                       static_cast<int64_t>(allocations.size()));
    }
    return Status::success();
  }

  Result<std::vector<Part>> split(int first, int end, size_t segment, size_t endSegment) const {
    std::vector<Part> parts;
    int block = first;
    while (block < end) {
      if (segment == endSegment || plan.segments[segment].first != block) {
        parts.push_back({block++, 1, std::nullopt, {}, 0});
        continue;
      }
      const Segment &outer = plan.segments[segment];
      if (outer.count < 1 || outer.count >= end - block)
        return broken("segment " + std::to_string(segment) +
                      ": expected at least 1 block and fewer than the " +
                      std::to_string(end - block) + " from there to the end around it, got " +
                      std::to_string(outer.count));
      size_t innerEnd = segment + 1;
      while (innerEnd < endSegment && plan.segments[innerEnd].first < block + outer.count)
        ++innerEnd;
      const auto &ways = problem.segments->forward;
      if (outer.forward < 0 || static_cast<size_t>(outer.forward) >= ways.size())
        return broken("segment " + std::to_string(segment) + ": expected a forward way below " +
                      std::to_string(ways.size()) + ", got " + std::to_string(outer.forward));
      parts.push_back({block, outer.count, std::pair(segment + 1, innerEnd),
                       ways[static_cast<size_t>(outer.forward)], 0});
      block += outer.count;
      segment = innerEnd;
    }
    if (segment != endSegment)
      return broken("segment " + std::to_string(segment) + ": expected a first block from " +
                    std::to_string(first) + " to " + std::to_string(end - 1) +
                    " in the order of the blocks, got " +
                    std::to_string(plan.segments[segment].first));
    return parts;
  }

  void keepCopy(int stream, const Version &version) {
    allocate(problem.streamBytes[static_cast<size_t>(stream)], version);
    if (!problem.copyNs.empty())
      costNs += problem.copyNs[static_cast<size_t>(stream)];
  }

  Status forward(int block) {
    const Bytes before = live;
    int op = 0;
    for (int index : plan.records[static_cast<size_t>(block)]) {
      const Record &record = problem.records[static_cast<size_t>(index)];
      if (record.first != op)
        return differs("block " + std::to_string(block) + ", first op of record '" + record.name +
                           "'",
                       op, record.first);
      recordStarts.push_back(allocations.size());
      for (int stream = 0; stream < static_cast<int>(problem.streamBytes.size()); ++stream)
        if (const Version version = versionBefore(stream, block, op);
            (record.needs >> stream & 1u) && !isAllocated(version))
          keepCopy(stream, version);
      touch(record.transientBytes);
      allocate(record.keptBytes);
      op = record.last + 1;
    }
    if (op != static_cast<int>(problem.ops.size()))
      return differs("block " + std::to_string(block) + ", ops carried out",
                     static_cast<int64_t>(problem.ops.size()), op);
    allocate(padding(live - before));
    return Status::success();
  }

  void backward(int block) {
    release(); // the padding
    const std::vector<int> &records = plan.records[static_cast<size_t>(block)];
    for (size_t i = records.size(); i-- > 0;) {
      const Record &record = problem.records[static_cast<size_t>(records[i])];
      release();
      touch(record.transientBytes);
      costNs += record.costNs;
      for (; allocations.size() > recordStarts.back(); release())
        ;
      recordStarts.pop_back();
    }
  }

  void fastForward(const Part &part) {
    const SegmentCosts &costs = *problem.segments;
    allocate(costs.checkpointBytes + padding(costs.checkpointBytes));
    touch(part.way.transientBytes);
    costNs += costs.checkpointNs + part.count * part.way.costNs;
  }

  /// The checkpoint becomes the streams, and the gradients of the segment's end wait beside them.
  Status runAgain(const Part &part) {
    const SegmentCosts &costs = *problem.segments;
    release();
    allocate(costs.checkpointBytes + padding(costs.checkpointBytes));
    EVO_TRY(runChain(part.first, part.first + part.count, part.inner->first, part.inner->second));
    release();
    return Status::success();
  }

  const Problem &problem;
  const Plan &plan;
  std::vector<Allocation> allocations;
  std::vector<size_t> recordStarts; ///< allocations before each record that ran forward
  Bytes live = 0, peak = 0;
  TimeNs costNs = 0;
};

/// Indices, the number of blocks, layouts from record to record, and that segments may be used.
Status checkPlan(const Problem &problem, const Plan &plan) {
  if (plan.frameGranule < 1 || plan.frameGranule > kMaxBytes)
    return broken("frame granule: expected 1 to " + std::to_string(kMaxBytes) + ", got " +
                  std::to_string(plan.frameGranule));
  if (plan.records.size() != static_cast<size_t>(problem.blocks))
    return differs("blocks of the plan", problem.blocks, static_cast<int64_t>(plan.records.size()));
  if (!plan.segments.empty() && !problem.segments)
    return differs("segments of a problem without them", 0,
                   static_cast<int64_t>(plan.segments.size()));
  std::vector<bool> boundary(plan.records.size() + 1, false); // where a segment begins or ends
  for (const Segment &segment : plan.segments)
    for (int64_t at : {int64_t{segment.first}, int64_t{segment.first} + segment.count})
      if (at >= 0 && at <= problem.blocks)
        boundary[static_cast<size_t>(at)] = true;
  int layout = 0;
  for (size_t block = 0; block < plan.records.size(); ++block) {
    if (boundary[block] && layout != 0)
      return differs("layout at the segment boundary before block " + std::to_string(block), 0,
                     layout);
    for (int index : plan.records[block]) {
      if (index < 0 || static_cast<size_t>(index) >= problem.records.size())
        return broken("block " + std::to_string(block) + ": expected a record below " +
                      std::to_string(problem.records.size()) + ", got " + std::to_string(index));
      const Record &record = problem.records[static_cast<size_t>(index)];
      if (record.layoutIn != layout)
        return differs("block " + std::to_string(block) + ", layout before record '" + record.name +
                           "'",
                       record.layoutIn, layout);
      layout = record.layoutOut;
    }
  }
  if (layout != 0)
    return differs("layout at the end of the chain", 0, layout);
  return Status::success();
}
} // namespace

Result<Simulation> simulate(const Problem &problem, const Plan &plan) {
  EVO_TRY(checkProblem(problem));
  EVO_TRY(checkPlan(problem, plan));
  return Simulator(problem, plan).run();
}

Status validateSolution(const Problem &problem, const Solution &solution) {
  if (!solution.feasible) {
    if (solution.leastBytes <= problem.budgetBytes)
      return broken("smallest budget: expected more than the budget " +
                    std::to_string(problem.budgetBytes) + " that has no plan, got " +
                    std::to_string(solution.leastBytes));
    return Status::success();
  }
  if (solution.leastBytes > problem.budgetBytes)
    return broken("smallest budget: expected at most the budget " +
                  std::to_string(problem.budgetBytes) + " that has a plan, got " +
                  std::to_string(solution.leastBytes));
  EVO_ASSIGN(const Simulation rounded, simulate(problem, solution.plan));
  Plan tight = solution.plan;
  tight.frameGranule = 1;
  EVO_ASSIGN(const Simulation exact, simulate(problem, tight));
  if (solution.costNs != rounded.costNs)
    return differs("cost of the plan in ns", rounded.costNs, solution.costNs);
  if (solution.peakBytes != rounded.peakBytes)
    return differs("peak of the plan in bytes", rounded.peakBytes, solution.peakBytes);
  if (solution.lossBytes != rounded.peakBytes - exact.peakBytes)
    return differs("bytes lost to rounding", rounded.peakBytes - exact.peakBytes,
                   solution.lossBytes);
  if (solution.peakBytes > problem.budgetBytes)
    return broken("peak: expected at most the budget " + std::to_string(problem.budgetBytes) +
                  ", got " + std::to_string(solution.peakBytes));
  if (solution.frontier.empty() || solution.frontier.back().costNs != solution.costNs)
    return broken("frontier: expected a last point with the plan's cost, got another");
  for (size_t i = 1; i < solution.frontier.size(); ++i)
    if (solution.frontier[i].bytes <= solution.frontier[i - 1].bytes ||
        solution.frontier[i].costNs >= solution.frontier[i - 1].costNs)
      return broken("frontier, point " + std::to_string(i) +
                    ": expected more bytes and less time than the point before, got otherwise");
  return Status::success();
}

} // namespace evo::schedule
