//===- ScheduleInstances.h - problems of the schedule tests -----*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#pragma once

#include "compiler/schedule/Problem.h"

#include <algorithm>
#include <random>
#include <string>

namespace evo::schedule {

struct Shape {
  int ops = 3, choices = 2, blocks = 1, runs = 1, layouts = 1;
  StreamMask written = 3; ///< streams that ops may write
  bool segments = false, inference = false;
  Bytes unit = 1; ///< every size is a multiple
};

class RandomProblems {
public:
  explicit RandomProblems(uint64_t seed) : random(seed) {}

  int64_t below(int64_t n) { return static_cast<int64_t>(random() % static_cast<uint64_t>(n)); }

  /// Two streams of which most ops write one. Every op has a record from layout 0 to layout 0, so
  /// that there is always a way.
  Problem next(const Shape &shape) {
    Problem problem;
    problem.blocks = shape.blocks;
    problem.streamBytes = {shape.unit * below(6), shape.unit * below(6)};
    for (int op = 0; op < shape.ops; ++op) {
      problem.ops.push_back(
          {"op" + std::to_string(op), static_cast<StreamMask>(below(4)) & shape.written});
      for (int i = 0; i < shape.choices; ++i)
        addRecord(problem, shape, op, op, i == 0);
    }
    for (int i = 0; i < shape.runs; ++i) {
      const auto first = static_cast<int>(below(shape.ops));
      addRecord(problem, shape, first, first + static_cast<int>(below(shape.ops - first)), false);
    }
    if (shape.segments)
      addSegments(problem, shape);
    return problem;
  }

private:
  /// One to three ways forward, each faster than those with fewer bytes.
  void addSegments(Problem &problem, const Shape &shape) {
    problem.segments.emplace();
    problem.segments->checkpointBytes = shape.unit * below(5);
    problem.segments->checkpointNs = below(4);
    Bytes bytes = shape.unit * below(4);
    TimeNs costNs = 5 + below(20);
    for (int64_t left = 1 + below(3); left > 0 && costNs > 0; --left) {
      problem.segments->forward.push_back({bytes, costNs});
      bytes += shape.unit * (1 + below(3));
      costNs -= 1 + below(8);
    }
    problem.copyNs = {below(4), below(4)};
  }
  void addRecord(Problem &problem, const Shape &shape, int first, int last, bool plain) {
    Record record;
    record.name = "record" + std::to_string(problem.records.size());
    record.first = first;
    record.last = last;
    record.costNs = 1 + below(30) * (last - first + 1);
    record.transientBytes = shape.unit * below(12);
    if (!shape.inference) {
      record.keptBytes = shape.unit * below(6);
      record.needs = static_cast<StreamMask>(below(4));
    }
    if (!plain) {
      record.layoutIn = static_cast<int>(below(shape.layouts));
      record.layoutOut = static_cast<int>(below(shape.layouts));
    }
    problem.records.push_back(record);
  }

  std::mt19937_64 random;
};

/// A budget that every plan fits.
inline Bytes ample(const Problem &problem) {
  Bytes sum = 0;
  for (const Record &record : problem.records)
    sum += record.transientBytes + record.keptBytes;
  for (Bytes bytes : problem.streamBytes)
    sum += bytes * static_cast<Bytes>(problem.ops.size());
  if (problem.segments)
    sum += problem.segments->checkpointBytes + problem.segments->forward.back().transientBytes;
  return sum * problem.blocks;
}

inline constexpr Bytes kMiB = Bytes{1} << 20;

/// A module of the Evoformer, in rough numbers.
struct Module {
  const char *name;
  StreamMask reads, writes; ///< m is 1, z is 2
  Bytes tensors, whole;     ///< kept by saving all; needed whole by every slice
  TimeNs forwardNs;
};

/// s = 512, r = 384, bf16: m has 96 MiB, z 36 MiB. `odd` is what makes the sizes share no divisor.
inline constexpr Module kModules[] = {
    {"row_attention", 1, 1, 1536 * kMiB, 24 * kMiB, 2'100'000},
    {"column_attention", 1, 1, 1920 * kMiB, 4 * kMiB, 2'300'000},
    {"msa_transition", 1, 1, 384 * kMiB, 2 * kMiB, 1'300'000},
    {"outer_product_mean", 1, 2, 300 * kMiB, 12 * kMiB, 1'100'000},
    {"triangle_multiplication_outgoing", 2, 2, 180 * kMiB, 36 * kMiB, 700'000},
    {"triangle_multiplication_incoming", 2, 2, 184 * kMiB, 36 * kMiB, 720'000},
    {"triangle_attention_starting", 2, 2, 600 * kMiB, 2 * kMiB, 900'000},
    {"triangle_attention_ending", 2, 2, 610 * kMiB, 2 * kMiB, 920'000},
    {"pair_transition", 2, 2, 144 * kMiB, kMiB, 500'000},
};

/// 9 ops with 3 records each that keep results, and `ways` to recompute.
inline Problem evoformerProblem(Bytes budget, Bytes odd, bool segments, int blocks = 48,
                                int ways = 5) {
  Problem problem;
  problem.blocks = blocks;
  problem.budgetBytes = budget;
  problem.streamBytes = {96 * kMiB, 36 * kMiB};
  if (segments)
    problem.segments = SegmentCosts{132 * kMiB, 0, {{400 * kMiB, 10'500'000}}};
  for (const Module &module : kModules) {
    const auto op = static_cast<int>(problem.ops.size());
    problem.ops.push_back({module.name, module.writes});
    auto add = [&](const char *name, TimeNs costNs, Bytes transient, Bytes kept) {
      kept += kept > 0 ? odd * (op + 1) : 0;
      problem.records.push_back(
          {name, op, op, costNs, std::max(transient, kept), kept, 0, 0, module.reads});
    };
    const Bytes all = module.tensors;
    add("save", module.forwardNs * 3, all + all / 2 + module.whole, all);
    add("save_fused", module.forwardNs * 31 / 10, all / 2 + all / 4 + module.whole, all / 2);
    add("save_some", module.forwardNs * 33 / 10, all / 2 + all / 3 + module.whole, all / 3);
    for (int way = 0; way < ways; ++way)
      add("recompute",
          module.forwardNs * 4 + (TimeNs{1} << std::min(2 * way, 18)) * 2'000 * std::max(1, way - 8),
          module.whole + (2 * all >> way), 0);
  }
  return problem;
}

} // namespace evo::schedule
