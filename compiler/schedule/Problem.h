//===- Problem.h - which choice for each op of each block -------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// The schedule search as a problem of its own: a chain of equal blocks, a block a chain of ops, for
// each op (or run of ops) a menu of records. Choose records for every block, and segments of blocks
// to recompute, such that the time is least and the memory stays within a budget.
//
// Memory is counted as headroom: bytes above the static part and the base streams. A record maps
// the headroom N that everything after it needs to max(tau, sigma + N): tau is what it needs itself
// in either phase, sigma what stays allocated from its forward to its backward phase. For inference
// nothing is kept, and the same problem holds.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/plan/Status.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace evo::schedule {

using Bytes = int64_t;
using TimeNs = int64_t;
using StreamMask = uint32_t; ///< bit i is stream i of the problem

// Limits within which no sum of bytes or times of a plan reaches 2^63.
constexpr int kMaxBlocks = 512, kMaxOps = 64, kMaxStreams = 4, kMaxLayouts = 16,
              kMaxForwardWays = 256;
constexpr Bytes kMaxBytes = Bytes{1} << 44;
constexpr TimeNs kMaxCostNs = TimeNs{1} << 40;

struct Op {
  std::string name;
  StreamMask writes = 0; ///< streams of which a new version begins behind the op
};

/// One way to carry out the ops [first, last], both phases of them.
struct Record {
  std::string name;
  int first = 0;
  int last = 0;
  TimeNs costNs = 0;        ///< forward, recomputation and backward
  Bytes transientBytes = 0; ///< tau: the most above what is kept before, own kept bytes included,
                            ///< in either phase; without the versions that `needs` names
  Bytes keptBytes = 0;      ///< sigma: from forward to backward, likewise without them
  int layoutIn = 0;
  int layoutOut = 0;
  /// Streams whose version before `first` the backward phase reads. A version that no op keeps yet
  /// is copied before the forward phase and adds its stream's bytes to tau and to sigma.
  StreamMask needs = 0;
};

/// Segments: the first blocks of a chain run forward without keeping anything but a checkpoint of
/// the streams, and once more when the backward phase reaches them. They begin and end in layout 0.
struct SegmentCosts {
  /// One way to run a block forward, keeping nothing.
  struct Forward {
    Bytes transientBytes = 0;
    TimeNs costNs = 0;
  };
  Bytes checkpointBytes = 0; ///< the streams at a boundary; pending gradients are as large
  TimeNs checkpointNs = 0;   ///< to write it
  /// At least one; from one to the next more bytes and less time.
  std::vector<Forward> forward;
};

struct Problem {
  std::vector<Op> ops; ///< of one block
  std::vector<Record> records;
  std::vector<Bytes> streamBytes; ///< of one kept version of each stream
  std::vector<TimeNs> copyNs;     ///< to keep one; none: no time
  int blocks = 1;
  Bytes budgetBytes = 0; ///< headroom: the arena without the base streams
  std::optional<SegmentCosts> segments;
};

/// Sizes, spans, masks and limits, and that some sequence of records leads through a block and back
/// to layout 0, the layout in which the chain begins and ends.
Status checkProblem(const Problem &problem);

/// Blocks [first, first + count) under one checkpoint.
struct Segment {
  int first = 0;
  int count = 0;
  int forward = 0; ///< index of the way in which the blocks run forward first
  bool operator==(const Segment &) const = default;
};

struct Plan {
  /// For each block the indices of its records, which follow one another from the first op to the
  /// last.
  std::vector<std::vector<int>> records;
  /// Disjoint or nested, an outer one before its inner ones, otherwise by first block. A segment
  /// ends before the chain or the segment around it does.
  std::vector<Segment> segments;
  /// What a block keeps is rounded up to a multiple of this, as is a checkpoint.
  Bytes frameGranule = 1;
  bool operator==(const Plan &) const = default;
};

struct FrontierPoint {
  Bytes bytes = 0;
  TimeNs costNs = 0;
  bool operator==(const FrontierPoint &) const = default;
};

struct Solution {
  bool feasible = false;
  Bytes leastBytes = 0; ///< the smallest budget with a plan, at the granule used
  Plan plan;
  TimeNs costNs = 0;
  Bytes peakBytes = 0; ///< headroom that the plan needs
  Bytes lossBytes = 0; ///< the part of the peak that is rounding of frames and checkpoints
  /// The least time at each budget up to the problem's: bytes increase, times decrease.
  std::vector<FrontierPoint> frontier;
};

} // namespace evo::schedule
