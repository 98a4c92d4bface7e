//===- ScheduleLp.h - the schedule problem as a linear program --*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// A layered flow: one unit flows through the blocks, from op to op, along one edge for each record
// and state (layout, streams kept) that it can begin in. With x_e the flow of an edge, S_b the
// bytes that the blocks before b keep and F_b block b's frame in whole granules q:
//   least     sum t_e x_e
//   such that flow is kept at every op and state, begins in layout 0 and ends in it
//             S_b + sum over edges before op k of sigma_e x_e
//                 + sum over edges at op k of tau_e x_e <= budget     for every block b and op k
//             q F_b >= sum of sigma_e x_e;  S_b + q F_b <= budget;  S_(b+1) = S_b + q F_b
// Edges are made here from the records once more, so that solver and oracle share Problem.h alone.
// Segments are left out: their plans nest, which no flow does.
//===----------------------------------------------------------------------===//
#pragma once

#include "compiler/schedule/Problem.h"

#include <algorithm>
#include <string>
#include <vector>

namespace evo::schedule {

class ScheduleLp {
public:
  ScheduleLp(const Problem &problem, Bytes granule) : problem(problem), granule(granule) {
    int layouts = 1;
    for (const Record &record : problem.records)
      layouts = std::max({layouts, record.layoutIn + 1, record.layoutOut + 1});
    states = layouts << problem.streamBytes.size();
    listEdges();
  }

  /// In the format that CPLEX defined and CBC reads; bytes are in granules.
  std::string text() {
    std::string objective = "minimize\n obj:", rows = "subject to\n", binaries = "binaries\n",
                frames = "generals\n";
    for (int block = 0; block < problem.blocks; ++block) {
      for (size_t i = 0; i < edges.size(); ++i) {
        objective += "\n + " + std::to_string(edges[i].costNs) + " " + flow(block, i);
        binaries += " " + flow(block, i) + "\n";
      }
      addFlow(block, rows);
      addMemory(block, rows);
      frames += " " + named("f", block) + "\n";
    }
    rows += " start: " + named("s", 0) + " = 0\n";
    return objective + "\n" + rows + binaries + frames + "end\n";
  }

private:
  struct Edge {
    int first, last, from, to;
    Bytes tau, sigma;
    TimeNs costNs;
  };

  int layoutOf(int state) const { return state >> problem.streamBytes.size(); }

  void listEdges() {
    const auto streams = problem.streamBytes.size();
    for (const Record &record : problem.records)
      for (StreamMask kept = 0; kept < 1u << streams; ++kept) {
        StreamMask written = 0;
        for (int op = record.first; op <= record.last; ++op)
          written |= problem.ops[static_cast<size_t>(op)].writes;
        Bytes copies = 0;
        TimeNs copyNs = 0;
        for (size_t stream = 0; stream < streams; ++stream)
          if ((record.needs & ~kept) >> stream & 1u) {
            copies += problem.streamBytes[stream];
            copyNs += problem.copyNs.empty() ? 0 : problem.copyNs[stream];
          }
        const StreamMask after = (kept | record.needs) & ~written;
        edges.push_back({record.first, record.last,
                         record.layoutIn << streams | static_cast<int>(kept),
                         record.layoutOut << streams | static_cast<int>(after),
                         std::max(record.transientBytes, record.keptBytes) + copies,
                         record.keptBytes + copies, record.costNs + copyNs});
      }
  }

  static std::string named(const char *name, int block, const std::string &more = "") {
    return name + std::to_string(block) + more;
  }
  static std::string flow(int block, size_t edge) {
    return named("x", block, "_" + std::to_string(edge));
  }
  /// 20 digits: a double's value, exactly.
  std::string inGranules(Bytes bytes) const {
    char text[64];
    std::snprintf(text, sizeof text, "%.12f",
                  static_cast<double>(bytes) / static_cast<double>(granule));
    return text;
  }

  /// What enters each op and state leaves it: from the op before, or from the block before.
  void addFlow(int block, std::string &rows) const {
    const auto ops = static_cast<int>(problem.ops.size());
    for (int op = 0; op < ops; ++op)
      for (int state = 0; state < states; ++state) {
        std::string row;
        for (size_t i = 0; i < edges.size(); ++i) {
          if (edges[i].first == op && edges[i].from == state)
            row += " + " + flow(block, i);
          const bool entersHere = op > 0 && edges[i].last + 1 == op && edges[i].to == state;
          const bool entersBlock =
              op == 0 && block > 0 && edges[i].last + 1 == ops && edges[i].to == state;
          if (entersHere || entersBlock)
            row += " - " + flow(entersBlock ? block - 1 : block, i);
        }
        if (!row.empty())
          rows += row + " = " + (block == 0 && op == 0 && state == 0 ? "1" : "0") + "\n";
      }
    if (block + 1 < problem.blocks)
      return;
    std::string row;
    for (size_t i = 0; i < edges.size(); ++i)
      if (edges[i].last + 1 == ops && layoutOf(edges[i].to) == 0)
        row += " + " + flow(block, i);
    rows += row + " = 1\n";
  }

  void addMemory(int block, std::string &rows) const {
    const std::string budget = inGranules(problem.budgetBytes), kept = named("s", block),
                      frame = named("f", block);
    for (int op = 0; op <= static_cast<int>(problem.ops.size()); ++op) {
      std::string row;
      bool any = false;
      for (size_t i = 0; i < edges.size(); ++i) {
        const Bytes bytes = edges[i].first < op    ? edges[i].sigma
                            : edges[i].first == op ? edges[i].tau
                                                   : 0;
        any |= edges[i].first == op;
        if (bytes > 0)
          row += "\n + " + inGranules(bytes) + " " + flow(block, i);
      }
      if (op == static_cast<int>(problem.ops.size()))
        rows += " " + row + " - " + frame + " <= 0\n"; // the frame, rounded up
      else if (any)
        rows += " " + kept + row + " <= " + budget + "\n";
    }
    rows += " " + kept + " + " + frame + " <= " + budget + "\n";
    if (block + 1 < problem.blocks)
      rows += " " + named("s", block + 1) + " - " + kept + " - " + frame + " = 0\n";
  }

  const Problem &problem;
  const Bytes granule;
  int states = 1;
  std::vector<Edge> edges;
};

} // namespace evo::schedule
