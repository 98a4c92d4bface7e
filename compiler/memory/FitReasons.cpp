//===- FitReasons.cpp - the decisions that a failure rests on ---*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "compiler/memory/FitEngine.h"

#include <algorithm>

namespace evo::memory {

/// Adds the decisions for which an item cannot lie below a level: one that ends there or above it,
/// and those for which the item is not below that one.
template <typename Level>
void LevelEngine<Level>::explain(size_t depth, int32_t item, Level level, Depths &reason) const {
  const Item &kept = items[item];
  size_t end = depth;
  while (level > 0) {
    size_t found = end;
    for (size_t d = 0; d < end; ++d) {
      const Decision &decision = trail[d];
      if (decision.top < level || decision.lower >= kept.upper || kept.lower >= decision.upper)
        continue;
      if (found == end)
        found = d;
      if (reason.has(d)) {
        found = d;
        break;
      }
    }
    if (found == end)
      return;
    reason.add(found);
    level = trail[found].base - kept.size + 1;
    end = found;
  }
}

/// Why the items of a section end above the capacity: those behind its last idle time do.
template <typename Level> void LevelEngine<Level>::explainOverload(size_t depth, int32_t section) {
  const Frame &frame = frames[depth];
  failure.clear();
  std::vector<int32_t> busy;
  Level start = 0, end = 0;
  for (int32_t index : frame.unplaced) {
    const Item &item = items[index];
    if (item.lower > section || item.upper <= section)
      continue;
    if (frame.release[index] > end) {
      busy.clear();
      start = end = frame.release[index];
    }
    busy.push_back(index);
    end += item.size;
  }
  for (int32_t index : busy)
    explain(depth, index, start, failure);
}

/// Adds why no other answer exists for a section: what lies below in it, what keeps the others up,
/// and, where it may stay empty, what the next level rests on.
template <typename Level>
void LevelEngine<Level>::explainChoice(size_t depth, const Choice &choice) {
  const Frame &frame = frames[depth];
  Depths &reason = frames[depth].reason;
  const int32_t section = choice.section;
  for (size_t d = 0; d < depth; ++d)
    if (trail[d].lower <= section && section < trail[d].upper)
      reason.add(d);
  const Level room = capacity - choice.level - frame.rest[section];
  const Level next = choice.next != kNone ? choice.next : choice.level + room + 1;
  for (int32_t index : frame.unplaced) {
    const Item &item = items[index];
    if (item.lower > section || item.upper <= section)
      continue;
    if (frame.release[index] > choice.level) {
      explain(depth, index, std::min(frame.release[index], next), reason);
      continue;
    }
    explain(depth, index, choice.level, reason);
  }
  if (room == 0)
    return; // nothing may stay empty here, whatever lies beside
  const auto [lower, upper] = reachOfAnswers(frame, choice);
  for (size_t d = 0; d < depth; ++d)
    if (trail[d].isItem && trail[d].lower < upper && lower < trail[d].upper)
      reason.add(d);
  for (int32_t index : frame.unplaced) {
    const Item &item = items[index];
    const bool beside = item.upper <= section || item.lower > section;
    if (beside && item.lower < upper && lower < item.upper)
      explain(depth, index, next - item.size, reason);
  }
}

template <typename Level>
void LevelEngine<Level>::blameAll(size_t depth, int32_t first, int32_t last) {
  failure.clear();
  for (size_t d = 0; d < depth; ++d)
    if (trail[d].lower < last && first < trail[d].upper)
      failure.add(d);
}

template class LevelEngine<int32_t>;
template class LevelEngine<int64_t>;

} // namespace evo::memory
