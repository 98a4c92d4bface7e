//===- FitChoice.cpp - where the search branches ----------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "compiler/memory/FitEngine.h"

#include <algorithm>
#include <tuple>

namespace evo::memory {

/// A valley: neighbouring sections of one floor, with higher ones or the end on either side.
template <typename Level>
void LevelEngine<Level>::markValleys(const Frame &frame, int32_t first, int32_t last) {
  const std::vector<Level> &floor = frame.floor;
  for (int32_t s = first; s < last;) {
    int32_t end = s + 1;
    while (end < last && floor[end] == floor[s])
      ++end;
    const Level left = s == first ? kNone : floor[s - 1], right = end == last ? kNone : floor[end];
    const bool valley = left > floor[s] && right > floor[s];
    for (; s < end; ++s) {
      inValley[s] = valley;
      wall[s] = std::min(left, right);
      leftSize[s] = rightSize[s] = kNone;
      openings[s] = 0;
    }
    leftSize[end] = rightSize[end] = kNone;
    openings[end] = 0;
  }
}

template <typename Level>
bool LevelEngine<Level>::mayComeNext(const Frame &frame, int32_t item) const {
  if (!pruning.dominance)
    return true;
  return frame.barred[item] != frame.release[item] &&
         (items[item].copyOf < 0 || !isUnplaced[items[item].copyOf]);
}

/// For each section of a valley: how many items may lie on its floor, and the least size of those
/// that lie on the floor to its left (`leftSize`) and to its right (`rightSize`, one behind).
template <typename Level> void LevelEngine<Level>::countAnswers(const Frame &frame) {
  for (int32_t index : frame.unplaced)
    isUnplaced[index] = 1;
  for (int32_t index : frame.unplaced) {
    const Item &item = items[index];
    if (!inValley[item.lower] || frame.release[index] != frame.floor[item.lower])
      continue;
    leftSize[item.upper] = std::min(leftSize[item.upper], item.size);
    rightSize[item.lower] = std::min(rightSize[item.lower], item.size);
    if (mayComeNext(frame, index)) {
      ++openings[item.lower];
      --openings[item.upper];
    }
  }
}

/// The section with the fewest answers, weighed by how often each failed.
template <typename Level>
typename LevelEngine<Level>::Choice LevelEngine<Level>::choose(const Frame &frame, int32_t first,
                                                               int32_t last) {
  markValleys(frame, first, last);
  countAnswers(frame);
  Choice best;
  Level bestRoom = 0;
  int64_t bestWeight = 1;
  int32_t open = 0;
  for (int32_t s = last - 1; s >= first; --s) // rightSize of a section: least to its right
    if (inValley[s] && s + 1 < last && inValley[s + 1])
      rightSize[s] = std::min(rightSize[s], rightSize[s + 1]);
  for (int32_t s = first; s < last; ++s) {
    open += openings[s];
    if (!inValley[s])
      continue;
    const Level level = frame.floor[s];
    if (s > first && inValley[s - 1])
      leftSize[s] = std::min(leftSize[s], leftSize[s - 1]);
    // A bound of the next level: upon an item beside this section, or upon the walls.
    const Level right = s + 1 < last && inValley[s + 1] ? rightSize[s + 1] : kNone;
    Level rise = std::min(leftSize[s], right);
    if (wall[s] != kNone)
      rise = std::min(rise, static_cast<Level>(wall[s] - level));
    if (frame.second[s] != kNone)
      rise = std::min(rise, static_cast<Level>(frame.second[s] - level));
    const Level room = capacity - level - frame.rest[s];
    const bool mayStayEmpty = rise <= room;
    const int64_t count = open + (mayStayEmpty ? 1 : 0);
    const int64_t weight = guide.weighted ? weights[s] : 1;
    const Level tieRoom = guide.tight ? capacity - frame.end[s] : 0;
    const int64_t left = count * bestWeight, kept = best.answers * weight;
    if (best.section >= 0 && std::tie(left, tieRoom, level) >= std::tie(kept, bestRoom, best.level))
      continue;
    best = {s, count, level, mayStayEmpty ? Level{0} : kNone};
    bestRoom = tieRoom;
    bestWeight = weight;
    if (count == 0)
      break;
  }
  for (int32_t index : frame.unplaced)
    isUnplaced[index] = 0;
  return best;
}

/// The lowest level above the floor of a section at which an item could lie if none lies on the
/// floor: an item kept up by the floor elsewhere lies there, one that is not rests upon an item
/// beside the section.
template <typename Level>
Level LevelEngine<Level>::nextLevel(const Frame &frame, const Choice &choice) const {
  const int32_t section = choice.section;
  const auto [lower, upper] = reachOfAnswers(frame, choice);
  Level next = frame.second[section];
  for (int32_t index : frame.unplaced) {
    const Item &item = items[index];
    const bool beside = item.upper <= section || item.lower > section;
    if (beside && item.lower < upper && lower < item.upper)
      next = std::min(next, static_cast<Level>(frame.release[index] + item.size));
  }
  const bool fits = next != kNone && next <= capacity - frame.rest[section];
  return fits ? next : kNone;
}

/// The sections of all items that could lie on the floor of a section: each of them covers it.
template <typename Level>
std::pair<int32_t, int32_t> LevelEngine<Level>::reachOfAnswers(const Frame &frame,
                                                               const Choice &choice) const {
  std::pair<int32_t, int32_t> reach{choice.section, choice.section + 1};
  for (int32_t index : frame.unplaced) {
    const Item &item = items[index];
    if (frame.release[index] == choice.level && item.lower <= choice.section &&
        choice.section < item.upper)
      reach = {std::min(reach.first, item.lower), std::max(reach.second, item.upper)};
  }
  return reach;
}

template class LevelEngine<int32_t>;
template class LevelEngine<int64_t>;

} // namespace evo::memory
