//===- VerifyMemory.cpp - arena, frames, kept tensors -----------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "runtime/plan/VerifyParts.h"

#include <algorithm>
#include <map>
#include <set>

namespace evo::plan {

namespace {

/// Bytes [begin, end) of the arena.
struct Range {
  int64_t begin = 0, end = 0;
  bool empty() const { return begin == end; }
  bool overlaps(const Range &other) const {
    return !empty() && !other.empty() && begin < other.end && other.begin < end;
  }
};

class ArenaCheck {
public:
  ArenaCheck(const Plan &plan, const std::vector<ProcedureFacts> &facts)
      : plan(plan), facts(facts) {}

  Verdict verify() {
    if (plan.arenaBytes < 0 || plan.arenaBytes > kMaxEnd)
      return violates(8, root.at("arena_bytes"), makeText("from 0 to ", kMaxEnd),
                      makeText(plan.arenaBytes));
    for (size_t i = 0; i < plan.tensors.size(); ++i) {
      const Tensor &tensor = plan.tensors[i];
      tensorAt[tensor.offset] = i;
      EVO_VERIFY(reach(tensor.offset + tensor.bytes, root.at("tensors", i).at("offset")));
    }
    for (size_t i = 0; i < plan.programs.size(); ++i)
      EVO_VERIFY(verifyProgram(plan.programs[i], root.at("programs", i)));
    if (top != plan.arenaBytes)
      return violates(10, root.at("arena_bytes"), makeText(top), makeText(plan.arenaBytes));
    return verifySummary();
  }

private:
  Verdict verifyProgram(const Program &program, const Path &path);
  Verdict verifyFrame(const Call &call, const Range &kept, const Path &path);
  Verdict verifyKept(const Program &program, const BlockRun &run, const Call &call,
                     const Path &path);
  Verdict verifyFrames(const Program &program, const BlockRun &run, int64_t keptBefore,
                       const Path &path);
  Verdict verifyStack(const Program &program, const BlockRun &run, const Path &path);
  Verdict verifySummary();
  Verdict clear(const Range &range, const Path &path);
  Verdict reach(int64_t end, const Path &path);
  Verdict keptOf(const BlockRun &run, const Call &call, int64_t block, const Path &path,
                 Range &range);

  const Plan &plan;
  const std::vector<ProcedureFacts> &facts;
  Path root;
  std::map<int64_t, size_t> tensorAt; ///< by offset
  int64_t top = 0;                    ///< the end of what the arena must hold
  int64_t keptBytes = 0;              ///< by forward calls
  Range keptArea;                     ///< of the forward program so far
  Range previous;                     ///< kept tensors of the call before
  bool hasPrevious = false;
};

Verdict ArenaCheck::reach(int64_t end, const Path &path) {
  if (end > plan.arenaBytes)
    return violates(8, path, makeText("an end of at most arena_bytes ", plan.arenaBytes),
                    makeText(end));
  top = std::max(top, alignTo(end));
  return {};
}

/// No byte of a tensor's slot.
Verdict ArenaCheck::clear(const Range &range, const Path &path) {
  auto above = tensorAt.upper_bound(range.begin);
  for (auto slot : {above == tensorAt.begin() ? tensorAt.end() : std::prev(above), above}) {
    if (slot == tensorAt.end())
      continue;
    const Tensor &tensor = plan.tensors[slot->second];
    if (range.overlaps({tensor.offset, tensor.offset + tensor.bytes}))
      return violates(9, path,
                      makeText("no bytes of tensor '", tensor.name, "' at ", tensor.offset),
                      makeText("[", range.begin, ", ", range.end, ")"));
  }
  return {};
}

Verdict ArenaCheck::keptOf(const BlockRun &run, const Call &call, int64_t block, const Path &path,
                           Range &range) {
  int64_t offset = 0;
  int64_t height = facts[call.procedure].savedBytes;
  if (call.savedOffset < 0 || call.savedStride < 0 ||
      __builtin_mul_overflow(call.savedStride, block - run.firstBlock, &offset) ||
      __builtin_add_overflow(offset, call.savedOffset, &offset) || offset > kMaxEnd - height)
    return violates(8, path.at("saved_offset"), makeText("offsets from 0 to ", kMaxEnd),
                    makeText(call.savedOffset, " with stride ", call.savedStride));
  range = {offset, offset + height};
  return {};
}

/// A frame may lie anywhere but in tensors and in what is kept while it is used.
Verdict ArenaCheck::verifyFrame(const Call &call, const Range &kept, const Path &path) {
  int64_t height = plan.procedures[call.procedure].frameBytes;
  if (call.frameOffset < 0 || call.frameOffset > kMaxEnd - height)
    return violates(8, path.at("frame_offset"), makeText("from 0 to ", kMaxEnd - height),
                    makeText(call.frameOffset));
  if (call.frameOffset % kAlignment != 0)
    return violates(8, path.at("frame_offset"), makeText("a multiple of ", kAlignment),
                    makeText(call.frameOffset));
  Range frame{call.frameOffset, call.frameOffset + height};
  EVO_VERIFY(reach(frame.end, path.at("frame_offset")));
  EVO_VERIFY(clear(frame, path.at("frame_offset")));
  if (frame.overlaps(kept))
    return violates(9, path.at("frame_offset"),
                    makeText("no kept bytes [", kept.begin, ", ", kept.end, ")"),
                    makeText("[", frame.begin, ", ", frame.end, ")"));
  return {};
}

/// The kept tensors of one call over the blocks of its run.
Verdict ArenaCheck::verifyKept(const Program &program, const BlockRun &run, const Call &call,
                               const Path &path) {
  int64_t height = facts[call.procedure].savedBytes;
  if (height == 0) {
    if (call.savedOffset == 0 && call.savedStride == 0)
      return {};
    return violates(12, path.at(call.savedOffset ? "saved_offset" : "saved_stride"),
                    "0 where nothing is kept",
                    makeText(call.savedOffset ? call.savedOffset : call.savedStride));
  }
  if (call.savedOffset % kAlignment != 0 || call.savedStride % kAlignment != 0)
    return violates(8, path.at("saved_offset"), makeText("multiples of ", kAlignment),
                    makeText(call.savedOffset, " with stride ", call.savedStride));
  Range lowest, highest;
  EVO_VERIFY(keptOf(run, call, run.firstBlock, path, lowest));
  EVO_VERIFY(keptOf(run, call, run.firstBlock + run.blockCount - 1, path, highest));
  Range area{lowest.begin, highest.end};
  EVO_VERIFY(reach(area.end, path.at("saved_offset")));
  EVO_VERIFY(clear(area, path.at("saved_offset")));
  if (program.phase != Phase::Forward) {
    if (area.begin < keptArea.begin || area.end > keptArea.end)
      return violates(12, path.at("saved_offset"),
                      makeText("bytes that the forward program keeps [", keptArea.begin, ", ",
                               keptArea.end, ")"),
                      makeText("[", area.begin, ", ", area.end, ")"));
    return {};
  }
  if (__builtin_mul_overflow(height, run.blockCount, &height) ||
      __builtin_add_overflow(keptBytes, height, &keptBytes))
    return violates(8, path.at("saved_offset"), "fewer than 2^63 kept bytes", "more");
  keptArea = {keptArea.empty() ? area.begin : std::min(keptArea.begin, area.begin),
              std::max(keptArea.end, area.end)};
  return {};
}

/// The frames of a run against what is kept while they are used: in the forward program all that
/// was pushed until the call's last block, in others (conservatively) all.
Verdict ArenaCheck::verifyFrames(const Program &program, const BlockRun &run, int64_t keptBefore,
                                 const Path &path) {
  int64_t lastBlock = run.firstBlock + run.blockCount - 1;
  int64_t end = keptBefore;
  Range range;
  if (run.blockCount > 1) // the last call's of the block before
    for (const Call &call : run.calls)
      if (facts[call.procedure].savedBytes > 0) {
        EVO_VERIFY(keptOf(run, call, lastBlock - 1, path, range));
        end = std::max(end, range.end);
      }
  for (size_t i = 0; i < run.calls.size(); ++i) {
    Path callPath = path.at("calls", i);
    if (facts[run.calls[i].procedure].savedBytes > 0) {
      EVO_VERIFY(keptOf(run, run.calls[i], lastBlock, callPath, range));
      end = std::max(end, range.end);
    }
    Range live = keptArea;
    if (program.phase == Phase::Forward)
      live.end = std::max(live.begin, end);
    EVO_VERIFY(verifyFrame(run.calls[i], live, callPath));
  }
  return {};
}

/// Forward calls push, backward calls pop: each region lies behind or before the one of the call
/// before it. Offsets are linear in the block, so the first two blocks of a run and its last speak
/// for all.
Verdict ArenaCheck::verifyStack(const Program &program, const BlockRun &run, const Path &path) {
  bool down = program.phase == Phase::Backward;
  int64_t first = down ? run.firstBlock + run.blockCount - 1 : run.firstBlock;
  int64_t last = down ? run.firstBlock : run.firstBlock + run.blockCount - 1;
  std::set<int64_t> sample = {first, last};
  if (run.blockCount > 1) {
    sample.insert(down ? first - 1 : first + 1);
    sample.insert(down ? last + 1 : last - 1);
  }
  std::vector<int64_t> blocks(sample.begin(), sample.end());
  if (down)
    std::reverse(blocks.begin(), blocks.end());
  for (int64_t block : blocks)
    for (size_t i = 0; i < run.calls.size(); ++i) {
      Path callPath = path.at("calls", i);
      if (facts[run.calls[i].procedure].savedBytes == 0)
        continue;
      Range range;
      EVO_VERIFY(keptOf(run, run.calls[i], block, callPath, range));
      if (hasPrevious && (down ? range.end > previous.begin : range.begin < previous.end))
        return violates(12, callPath.at("saved_offset"),
                        down ? makeText("an end of at most ", previous.begin)
                             : makeText("at least ", previous.end),
                        makeText(down ? range.end : range.begin, " in block ", block));
      previous = range;
      hasPrevious = true;
    }
  return {};
}

Verdict ArenaCheck::verifyProgram(const Program &program, const Path &path) {
  hasPrevious = false;
  for (size_t i = 0; i < program.runs.size(); ++i) {
    const BlockRun &run = program.runs[i];
    Path runPath = path.at("runs", i);
    int64_t keptBefore = keptArea.end;
    for (size_t j = 0; j < run.calls.size(); ++j)
      EVO_VERIFY(verifyKept(program, run, run.calls[j], runPath.at("calls", j)));
    EVO_VERIFY(verifyStack(program, run, runPath));
    EVO_VERIFY(verifyFrames(program, run, keptBefore, runPath));
  }
  return {};
}

Verdict ArenaCheck::verifySummary() {
  const Summary &summary = plan.summary;
  Path path = root.at("summary");
  auto equals = [&](std::string_view field, int64_t expected, int64_t got) -> Verdict {
    if (expected == got)
      return {};
    return violates(10, path.at(field), makeText(expected), makeText(got));
  };
  EVO_VERIFY(equals("arena_bytes", plan.arenaBytes, summary.arenaBytes));
  int64_t blockBytes = 0, staticBytes = 0;
  if (__builtin_add_overflow(plan.weightBlockBytes, plan.gradientBlockBytes, &blockBytes) ||
      __builtin_mul_overflow(plan.model.blocks, blockBytes, &staticBytes))
    return violates(10, root.at("weight_block_bytes"), "fewer than 2^63 bytes in all blocks",
                    "more");
  EVO_VERIFY(equals("static_bytes", staticBytes, summary.staticBytes));
  EVO_VERIFY(equals("kept_bytes", keptBytes, summary.keptBytes));
  if (summary.libraryBytes < 0)
    return violates(10, path.at("library_bytes"), "at least 0", makeText(summary.libraryBytes));
  int64_t peak = 0;
  if (__builtin_add_overflow(summary.arenaBytes, summary.staticBytes, &peak) ||
      __builtin_add_overflow(peak, summary.libraryBytes, &peak))
    return violates(10, path.at("predicted_peak_bytes"), "fewer than 2^63 bytes", "more");
  EVO_VERIFY(equals("predicted_peak_bytes", peak, summary.predictedPeakBytes));
  if (peak > summary.budgetBytes)
    return violates(10, path.at("predicted_peak_bytes"),
                    makeText("at most budget_bytes ", summary.budgetBytes), makeText(peak));
  return {};
}

} // namespace

Verdict verifyMemory(const Plan &plan, const std::vector<ProcedureFacts> &facts) {
  return ArenaCheck(plan, facts).verify();
}

} // namespace evo::plan
