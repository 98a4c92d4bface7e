//===- Transitions.cpp ------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "compiler/schedule/Transitions.h"

#include <algorithm>

namespace evo::schedule {

Transitions::Transitions(const Problem &problem)
    : ops(static_cast<int>(problem.ops.size())),
      streams(static_cast<int>(problem.streamBytes.size())) {
  int layouts = 1;
  for (const Record &record : problem.records)
    layouts = std::max({layouts, record.layoutIn + 1, record.layoutOut + 1});
  states = layouts << streams;
  for (const Op &op : problem.ops)
    blockWrites |= op.writes;
  addEdges(problem);
  findStarts();
}

void Transitions::addEdges(const Problem &problem) {
  edges.resize(static_cast<size_t>(ops * states));
  for (size_t index = 0; index < problem.records.size(); ++index) {
    const Record &record = problem.records[index];
    StreamMask writes = 0;
    for (int op = record.first; op <= record.last; ++op)
      writes |= problem.ops[static_cast<size_t>(op)].writes;
    for (StreamMask kept = 0; kept < (1u << streams); ++kept) {
      Bytes copies = 0;
      TimeNs copyNs = 0;
      for (int stream = 0; stream < streams; ++stream)
        if ((record.needs & ~kept) >> stream & 1u) {
          copies += problem.streamBytes[static_cast<size_t>(stream)];
          copyNs += problem.copyNs.empty() ? 0 : problem.copyNs[static_cast<size_t>(stream)];
        }
      const State state = record.layoutIn << streams | static_cast<State>(kept);
      const State next =
          record.layoutOut << streams | static_cast<State>((kept | record.needs) & ~writes);
      edges[static_cast<size_t>(record.first * states + state)].push_back(
          {static_cast<int>(index), record.last + 1, next,
           std::max(record.transientBytes, record.keptBytes) + copies, record.keptBytes + copies,
           record.costNs + copyNs});
    }
  }
}

void Transitions::findStarts() {
  startsBlock.assign(static_cast<size_t>(states), false);
  std::vector<State> open = {0};
  startsBlock[0] = true;
  auto reach = [&](State state) {
    if (!startsBlock[static_cast<size_t>(state)]) {
      startsBlock[static_cast<size_t>(state)] = true;
      open.push_back(state);
    }
  };
  while (!open.empty()) {
    const State start = open.back();
    open.pop_back();
    std::vector<std::vector<bool>> reached(static_cast<size_t>(ops + 1),
                                           std::vector<bool>(static_cast<size_t>(states), false));
    reached[0][static_cast<size_t>(start)] = true;
    for (int op = 0; op < ops; ++op)
      for (State state = 0; state < states; ++state)
        if (reached[static_cast<size_t>(op)][static_cast<size_t>(state)])
          for (const Edge &edge : from(op, state))
            reached[static_cast<size_t>(edge.nextOp)][static_cast<size_t>(edge.nextState)] = true;
    for (State state = 0; state < states; ++state)
      if (reached.back()[static_cast<size_t>(state)])
        reach(state);
    if (inBoundaryLayout(start))
      reach(afterFastForward(start));
  }
}

} // namespace evo::schedule
