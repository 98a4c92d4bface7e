//===- VerifyMemory.cpp - arena, frames, declared bytes ---------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "runtime/plan/Timeline.h"
#include "runtime/plan/VerifyParts.h"

#include <algorithm>

namespace evo::plan {

namespace {

Verdict equals(const Path &path, std::string_view field, int64_t expected, int64_t got) {
  if (expected == got)
    return {};
  return violates(10, path.at(field), makeText(expected), makeText(got));
}

Verdict verifyIdle(const Plan &plan, const Path &summary) {
  IdleBytes idle = idleBytes(plan);
  Path path = summary.at("idle");
  EVO_VERIFY(equals(path, "bytes", idle.total, plan.summary.idle.total));
  EVO_VERIFY(equals(path, "kept_bytes", idle.kept, plan.summary.idle.kept));
  return equals(path, "frame_bytes", idle.frame, plan.summary.idle.frame);
}

Verdict verifySummary(const Plan &plan, int64_t keptBytes, const Path &root) {
  const Summary &summary = plan.summary;
  Path path = root.at("summary");
  EVO_VERIFY(equals(path, "arena_bytes", plan.arenaBytes, summary.arenaBytes));
  int64_t blockBytes = 0, staticBytes = 0;
  if (__builtin_add_overflow(plan.weightBlockBytes, plan.gradientBlockBytes, &blockBytes) ||
      __builtin_add_overflow(blockBytes, plan.stateBlockBytes, &blockBytes) ||
      __builtin_mul_overflow(plan.model.blocks, blockBytes, &staticBytes))
    return violates(10, root.at("weight_block_bytes"), "fewer than 2^63 bytes in all blocks",
                    "more");
  EVO_VERIFY(equals(path, "static_bytes", staticBytes, summary.staticBytes));
  EVO_VERIFY(equals(path, "kept_bytes", keptBytes, summary.keptBytes));
  EVO_VERIFY(verifyIdle(plan, path));
  if (summary.libraryBytes < 0)
    return violates(10, path.at("library_bytes"), "at least 0", makeText(summary.libraryBytes));
  int64_t peak = 0;
  if (__builtin_add_overflow(summary.arenaBytes, summary.staticBytes, &peak) ||
      __builtin_add_overflow(peak, summary.libraryBytes, &peak))
    return violates(10, path.at("predicted_peak_bytes"), "fewer than 2^63 bytes", "more");
  EVO_VERIFY(equals(path, "predicted_peak_bytes", peak, summary.predictedPeakBytes));
  if (peak > summary.budgetBytes)
    return violates(10, path.at("predicted_peak_bytes"),
                    makeText("at most budget_bytes ", summary.budgetBytes), makeText(peak));
  return {};
}

} // namespace

Verdict verifyMemory(const Plan &plan, const std::vector<ProcedureFacts> &facts,
                     std::set<Recall> &recalls) {
  Path root;
  if (plan.arenaBytes < 0 || plan.arenaBytes > kMaxEnd)
    return violates(8, root.at("arena_bytes"), makeText("from 0 to ", kMaxEnd),
                    makeText(plan.arenaBytes));
  ArenaUse use;
  for (size_t i = 0; i < plan.tensors.size(); ++i) {
    int64_t end = plan.tensors[i].offset + plan.tensors[i].bytes;
    if (end > plan.arenaBytes)
      return violates(8, root.at("tensors", i).at("offset"),
                      makeText("an end of at most arena_bytes ", plan.arenaBytes), makeText(end));
    use.top = std::max(use.top, alignTo(end));
  }
  EVO_VERIFY(verifyKept(plan, facts, use, recalls));
  if (use.top != plan.arenaBytes)
    return violates(10, root.at("arena_bytes"), makeText(use.top), makeText(plan.arenaBytes));
  return verifySummary(plan, use.keptBytes, root);
}

} // namespace evo::plan
