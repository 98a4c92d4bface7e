//===- BruteForce.cpp -------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "compiler/schedule/BruteForce.h"

#include "compiler/schedule/Simulate.h"

#include <algorithm>
#include <map>
#include <string>

namespace evo::schedule {

namespace {
using Records = std::vector<int>;
using Segments = std::vector<Segment>;

/// Sequences from the op on; layouts are left to the caller, who sees both ends of them.
void listSequences(const Problem &problem, int op, int layout, Records &chosen,
                   std::vector<Records> &found) {
  if (op == static_cast<int>(problem.ops.size())) {
    found.push_back(chosen);
    return;
  }
  for (size_t i = 0; i < problem.records.size(); ++i) {
    const Record &record = problem.records[i];
    if (record.first != op || (layout >= 0 && record.layoutIn != layout))
      continue;
    chosen.push_back(static_cast<int>(i));
    listSequences(problem, record.last + 1, record.layoutOut, chosen, found);
    chosen.pop_back();
  }
}

/// Every choice of segments for the blocks [first, end).
std::vector<Segments> listSegments(int first, int end, int ways) {
  if (first == end)
    return {{}};
  std::vector<Segments> found = listSegments(first + 1, end, ways);
  for (int count = 1; count < end - first; ++count)
    for (const Segments &inner : listSegments(first, first + count, ways))
      for (const Segments &rest : listSegments(first + count, end, ways))
        for (int way = 0; way < ways; ++way) {
          Segments all = {{first, count, way}};
          all.insert(all.end(), inner.begin(), inner.end());
          all.insert(all.end(), rest.begin(), rest.end());
          found.push_back(std::move(all));
        }
  return found;
}
} // namespace

Result<std::vector<FrontierPoint>> bruteForce(const Problem &problem, int64_t mostPlans) {
  EVO_TRY(checkProblem(problem));
  std::vector<Records> sequences;
  Records chosen;
  listSequences(problem, 0, -1, chosen, sequences);
  const std::vector<Segments> segments =
      problem.segments
          ? listSegments(0, problem.blocks, static_cast<int>(problem.segments->forward.size()))
          : std::vector<Segments>{{}};
  double plans = static_cast<double>(segments.size());
  for (int block = 0; block < problem.blocks; ++block)
    plans *= static_cast<double>(sequences.size());
  if (plans > static_cast<double>(mostPlans))
    return Status::error(ErrorCode::InvalidInput, "brute force: expected at most " +
                                                      std::to_string(mostPlans) +
                                                      " plans, got more");
  std::map<Bytes, TimeNs> best; // the least time at each peak
  Plan plan;
  std::vector<size_t> pick(static_cast<size_t>(problem.blocks), 0);
  for (size_t block = 0; block < pick.size();) {
    plan.records.clear();
    for (size_t sequence : pick)
      plan.records.push_back(sequences[sequence]);
    for (const Segments &some : segments) {
      plan.segments = some;
      // The problem is in order and a sequence has every op: what the simulation refuses is a
      // layout that does not fit.
      if (Result<Simulation> simulation = simulate(problem, plan); simulation.ok()) {
        const auto at = best.emplace(simulation->peakBytes, simulation->costNs).first;
        at->second = std::min(at->second, simulation->costNs);
      }
    }
    for (block = 0; block < pick.size() && ++pick[block] == sequences.size(); ++block)
      pick[block] = 0;
  }
  std::vector<FrontierPoint> frontier;
  for (const auto &[bytes, costNs] : best)
    if (frontier.empty() || costNs < frontier.back().costNs)
      frontier.push_back({bytes, costNs});
  return frontier;
}

} // namespace evo::schedule
