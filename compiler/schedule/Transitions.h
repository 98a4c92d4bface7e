//===- Transitions.h - the states of a chain and its edges ------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// What passes from an op to the next one besides the headroom: the layout, and for each stream one
// bit that says whether its current version is kept already. A record is one edge for each state
// that it can begin in; tau and sigma of an edge count the versions that it has to copy.
//===----------------------------------------------------------------------===//
#pragma once

#include "compiler/schedule/Problem.h"

#include <vector>

namespace evo::schedule {

using State = int; ///< layout << streams | kept bits; the chain begins in state 0

struct Edge {
  int record = 0;
  int nextOp = 0;
  State nextState = 0;
  Bytes tau = 0; ///< at least sigma
  Bytes sigma = 0;
  TimeNs costNs = 0;
};

struct Transitions {
  explicit Transitions(const Problem &problem);

  int ops = 0;
  int states = 0;
  int streams = 0;
  StreamMask blockWrites = 0;
  /// [op * states + state], by record index.
  std::vector<std::vector<Edge>> edges;
  /// Whether a block can begin in the state.
  std::vector<bool> startsBlock;

  const std::vector<Edge> &from(int op, State state) const {
    return edges[static_cast<size_t>(op * states + state)];
  }
  bool inBoundaryLayout(State state) const { return (state >> streams) == 0; }
  /// Behind blocks that ran without keeping anything: versions that they replaced are not kept.
  State afterFastForward(State state) const { return state & ~static_cast<State>(blockWrites); }

private:
  void addEdges(const Problem &problem);
  void findStarts();
};

inline Bytes roundUp(Bytes bytes, Bytes granule) {
  return (bytes + granule - 1) / granule * granule;
}

} // namespace evo::schedule
