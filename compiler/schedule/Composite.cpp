//===- Composite.cpp --------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "compiler/schedule/Composite.h"

#include <algorithm>
#include <map>
#include <tuple>

namespace evo::schedule {

namespace {
/// A composite of the ops from one on: an edge, and what follows it among the composites of the
/// state behind it.
struct Tail {
  State end = 0;
  Bytes sigma = 0, tau = 0;
  TimeNs costNs = 0;
  const Edge *edge = nullptr;
  size_t next = 0;
  Bytes exactSigma = 0, exactTau = 0;
};

/// Keeps those that no other beats or equals; between equals the first in the order of the tails.
void keepBest(std::vector<Tail> &tails) {
  std::stable_sort(tails.begin(), tails.end(), [](const Tail &a, const Tail &b) {
    return std::tie(a.end, a.costNs, a.sigma, a.tau) < std::tie(b.end, b.costNs, b.sigma, b.tau);
  });
  std::vector<Tail> kept;
  std::map<Bytes, Bytes> tauBySigma; // of faster ones: sigma grows, tau falls
  for (const Tail &tail : tails) {
    if (!kept.empty() && kept.back().end != tail.end)
      tauBySigma.clear();
    auto after = tauBySigma.upper_bound(tail.sigma);
    if (after != tauBySigma.begin() && std::prev(after)->second <= tail.tau)
      continue;
    auto beaten = tauBySigma.lower_bound(tail.sigma);
    while (beaten != tauBySigma.end() && beaten->second >= tail.tau)
      beaten = tauBySigma.erase(beaten);
    tauBySigma.emplace(tail.sigma, tail.tau);
    kept.push_back(tail);
  }
  tails = std::move(kept);
}

/// The tails of every op and state, at op * states + state.
std::vector<std::vector<Tail>> allTails(const Transitions &transitions, Bytes limit) {
  const auto states = static_cast<size_t>(transitions.states);
  const auto ops = static_cast<size_t>(transitions.ops);
  std::vector<std::vector<Tail>> tails((ops + 1) * states);
  for (size_t state = 0; state < states; ++state)
    tails[ops * states + state].push_back({.end = static_cast<State>(state)});
  for (size_t at = ops * states; at-- > 0;) {
    for (const Edge &edge : transitions.edges[at]) {
      const std::vector<Tail> &rest =
          tails[static_cast<size_t>(edge.nextOp) * states + static_cast<size_t>(edge.nextState)];
      for (size_t next = 0; next < rest.size(); ++next) {
        const Bytes sigma = edge.sigma + rest[next].sigma;
        const Bytes tau = std::max(edge.tau, edge.sigma + rest[next].tau);
        if (tau <= limit)
          tails[at].push_back({rest[next].end, sigma, tau, edge.costNs + rest[next].costNs, &edge,
                               next, sigma, tau});
      }
    }
    keepBest(tails[at]);
  }
  return tails;
}
} // namespace

std::vector<std::vector<Composite>> composites(const Transitions &transitions, Bytes limit,
                                               Bytes granule) {
  const std::vector<std::vector<Tail>> tails = allTails(transitions, limit);
  const auto states = static_cast<size_t>(transitions.states);
  std::vector<std::vector<Composite>> result(states);
  for (size_t start = 0; start < states; ++start) {
    if (!transitions.startsBlock[start])
      continue;
    std::vector<Tail> frames = tails[start];
    for (Tail &frame : frames) {
      frame.sigma = roundUp(frame.sigma, granule);
      frame.tau = std::max(frame.tau, frame.sigma);
    }
    keepBest(frames);
    for (const Tail &frame : frames) {
      if (frame.tau > limit)
        continue;
      Composite composite{frame.end,        frame.sigma,    frame.tau, frame.costNs,
                          frame.exactSigma, frame.exactTau, {}};
      for (const Tail *tail = &frame; tail->edge;) {
        composite.records.push_back(tail->edge->record);
        tail = &tails[static_cast<size_t>(tail->edge->nextOp) * states +
                      static_cast<size_t>(tail->edge->nextState)][tail->next];
      }
      result[start].push_back(std::move(composite));
    }
    std::stable_sort(result[start].begin(), result[start].end(),
                     [](const Composite &a, const Composite &b) {
                       return std::tie(a.end, a.sigma, a.tau) < std::tie(b.end, b.sigma, b.tau);
                     });
  }
  return result;
}

} // namespace evo::schedule
