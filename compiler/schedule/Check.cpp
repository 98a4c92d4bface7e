//===- Check.cpp - is this a problem at all ---------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "compiler/schedule/Problem.h"

#include <string>
#include <vector>

namespace evo::schedule {

namespace {
Status invalid(std::string message) {
  return Status::error(ErrorCode::InvalidInput, std::move(message));
}

Status checkRange(const std::string &what, int64_t value, int64_t least, int64_t most) {
  if (value >= least && value <= most)
    return Status::success();
  return invalid(what + ": expected " + std::to_string(least) + " to " + std::to_string(most) +
                 ", got " + std::to_string(value));
}

Status checkMask(const std::string &what, StreamMask mask, size_t streams) {
  if ((mask >> streams) == 0)
    return Status::success();
  return invalid(what + ": expected bits of " + std::to_string(streams) + " streams, got mask " +
                 std::to_string(mask));
}

Status checkSizes(const Problem &problem) {
  EVO_TRY(checkRange("blocks", problem.blocks, 1, kMaxBlocks));
  EVO_TRY(checkRange("ops of a block", static_cast<int64_t>(problem.ops.size()), 1, kMaxOps));
  EVO_TRY(checkRange("streams", static_cast<int64_t>(problem.streamBytes.size()), 0, kMaxStreams));
  EVO_TRY(checkRange("budget bytes", problem.budgetBytes, 0, kMaxBytes));
  for (size_t i = 0; i < problem.streamBytes.size(); ++i)
    EVO_TRY(
        checkRange("bytes of stream " + std::to_string(i), problem.streamBytes[i], 0, kMaxBytes));
  if (!problem.copyNs.empty())
    EVO_TRY(checkRange("copy times", static_cast<int64_t>(problem.copyNs.size()),
                       static_cast<int64_t>(problem.streamBytes.size()),
                       static_cast<int64_t>(problem.streamBytes.size())));
  for (TimeNs copyNs : problem.copyNs)
    EVO_TRY(checkRange("copy ns of a stream", copyNs, 0, kMaxCostNs));
  for (const Op &op : problem.ops)
    EVO_TRY(
        checkMask("op '" + op.name + "', streams written", op.writes, problem.streamBytes.size()));
  if (const auto &segments = problem.segments) {
    EVO_TRY(checkRange("checkpoint bytes", segments->checkpointBytes, 0, kMaxBytes));
    EVO_TRY(checkRange("checkpoint ns", segments->checkpointNs, 0, kMaxCostNs));
    EVO_TRY(checkRange("forward ways of a segment's block",
                       static_cast<int64_t>(segments->forward.size()), 1, kMaxForwardWays));
    for (size_t i = 0; i < segments->forward.size(); ++i) {
      const SegmentCosts::Forward &way = segments->forward[i];
      const std::string where = "forward way " + std::to_string(i) + " of a segment, ";
      const Bytes least = i == 0 ? 0 : segments->forward[i - 1].transientBytes + 1;
      const TimeNs most = i == 0 ? kMaxCostNs : segments->forward[i - 1].costNs - 1;
      EVO_TRY(checkRange(where + "transient bytes", way.transientBytes, least, kMaxBytes));
      EVO_TRY(checkRange(where + "ns", way.costNs, 0, most));
    }
  }
  return Status::success();
}

Status checkRecord(const Problem &problem, size_t index) {
  const Record &record = problem.records[index];
  const std::string where = "record " + std::to_string(index) + " '" + record.name + "'";
  const auto ops = static_cast<int64_t>(problem.ops.size());
  EVO_TRY(checkRange(where + ", first op", record.first, 0, ops - 1));
  EVO_TRY(checkRange(where + ", last op", record.last, record.first, ops - 1));
  EVO_TRY(checkRange(where + ", cost ns", record.costNs, 0, kMaxCostNs));
  EVO_TRY(checkRange(where + ", transient bytes", record.transientBytes, 0, kMaxBytes));
  EVO_TRY(checkRange(where + ", kept bytes", record.keptBytes, 0, kMaxBytes));
  EVO_TRY(checkRange(where + ", layout in", record.layoutIn, 0, kMaxLayouts - 1));
  EVO_TRY(checkRange(where + ", layout out", record.layoutOut, 0, kMaxLayouts - 1));
  return checkMask(where + ", streams needed", record.needs, problem.streamBytes.size());
}

/// Layouts, as bits, in which records lead from op 0 in layout 0 to each boundary.
std::vector<uint32_t> layoutsReached(const Problem &problem) {
  std::vector<uint32_t> reached(problem.ops.size() + 1, 0);
  reached[0] = 1;
  for (size_t op = 0; op < problem.ops.size(); ++op)
    for (const Record &record : problem.records)
      if (static_cast<size_t>(record.first) == op && (reached[op] >> record.layoutIn & 1u))
        reached[static_cast<size_t>(record.last) + 1] |= 1u << record.layoutOut;
  return reached;
}
} // namespace

Status checkProblem(const Problem &problem) {
  EVO_TRY(checkSizes(problem));
  for (size_t i = 0; i < problem.records.size(); ++i)
    EVO_TRY(checkRecord(problem, i));
  const std::vector<uint32_t> reached = layoutsReached(problem);
  if (reached.back() & 1u)
    return Status::success();
  // The last boundary that is reached: what follows it has no record that fits.
  size_t stuck = problem.ops.size();
  while (reached[stuck] == 0)
    --stuck;
  if (stuck == problem.ops.size())
    return invalid("records: expected a sequence through the block that ends in layout 0, got "
                   "only ends in other layouts; add a record that leads back");
  return invalid(
      "records: expected a sequence through the block from layout 0, got none beyond op " +
      std::to_string(stuck) + " '" + problem.ops[stuck].name +
      "'; add a record that begins there in a layout that is reached");
}

} // namespace evo::schedule
