//===- FitState.cpp - what a node of the search knows -----------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "compiler/memory/FitEngine.h"

#include <algorithm>

namespace evo::memory {

template <typename Level>
typename LevelEngine<Level>::Frame &LevelEngine<Level>::frameAt(size_t depth) {
  while (frames.size() <= depth) {
    Frame &frame = frames.emplace_back();
    for (std::vector<Level> *bySection : {&frame.floor, &frame.end, &frame.rest, &frame.second})
      bySection->resize(sections);
    frame.release.resize(items.size());
    frame.barred.resize(items.size());
    trail.resize(frames.size());
  }
  return frames[depth];
}

/// Recomputes what changed in the sections [first, last). The section that cannot hold what is left
/// in it, or -1.
template <typename Level>
int32_t LevelEngine<Level>::settle(Frame &frame, int32_t first, int32_t last) {
  std::vector<int32_t> &unplaced = frame.unplaced;
  const std::vector<Level> &release = frame.release;
  for (size_t i = 1; i < unplaced.size(); ++i) { // nearly in order: few releases rose
    const int32_t item = unplaced[i];
    size_t at = i;
    for (; at > 0 && release[unplaced[at - 1]] > release[item]; --at)
      unplaced[at] = unplaced[at - 1];
    unplaced[at] = item;
  }
  for (int32_t s = first; s < last; ++s) {
    frame.end[s] = 0;
    frame.rest[s] = 0;
    frame.second[s] = kNone;
    frame.floor[s] = kDone;
  }
  for (int32_t index : unplaced) {
    const Item &item = items[index];
    const int32_t from = std::max(first, item.lower), to = std::min(last, item.upper);
    const Level low = release[index], size = item.size;
    for (int32_t s = from; s < to; ++s) {
      frame.floor[s] = std::min(frame.floor[s], low); // releases rise: the first one stays
      frame.second[s] = std::min(frame.second[s], low > frame.floor[s] ? low : kNone);
      frame.end[s] = std::max(frame.end[s], low) + size;
      frame.rest[s] += size;
    }
  }
  int32_t worst = -1;
  for (int32_t s = first; s < last; ++s) {
    const Level end = pruning.bounds || frame.floor[s] == kDone
                          ? frame.end[s]
                          : static_cast<Level>(frame.floor[s] + frame.rest[s]);
    if (end > capacity && (worst < 0 || weights[s] > weights[worst]))
      worst = s;
  }
  return worst;
}

template <typename Level>
void LevelEngine<Level>::copyState(const Frame &from, Frame &to, int32_t first,
                                   int32_t last) const {
  for (auto member : {&Frame::floor, &Frame::end, &Frame::rest, &Frame::second})
    std::copy((from.*member).begin() + first, (from.*member).begin() + last,
              (to.*member).begin() + first);
  for (int32_t index : from.unplaced) {
    to.release[index] = from.release[index];
    to.barred[index] = from.barred[index];
  }
}

/// The state below an answer; returns the sections in which anything changed.
template <typename Level>
std::pair<int32_t, int32_t> LevelEngine<Level>::place(size_t depth, int32_t first, int32_t last,
                                                      int32_t item, Level level) {
  Frame &to = frameAt(depth + 1);
  const Frame &from = frames[depth];
  copyState(from, to, first, last);
  const Item &chosen = items[item];
  const Level top = level + chosen.size;
  std::pair<int32_t, int32_t> changed{chosen.lower, chosen.upper};
  to.unplaced.clear();
  for (int32_t index : from.unplaced) {
    if (index == item)
      continue;
    to.unplaced.push_back(index);
    const Item &other = items[index];
    if (other.lower >= chosen.upper || chosen.lower >= other.upper || to.release[index] >= top)
      continue;
    to.release[index] = top;
    changed = {std::min(changed.first, other.lower), std::max(changed.second, other.upper)};
  }
  for (int32_t earlier = chosen.lifetimeStart; earlier < item; ++earlier)
    to.barred[earlier] = top;
  placed[item] = level;
  trail[depth] = {chosen.lower, chosen.upper, level, top, true};
  return changed;
}

template <typename Level>
std::pair<int32_t, int32_t> LevelEngine<Level>::raise(size_t depth, int32_t first, int32_t last,
                                                      int32_t section, Level level, Level next) {
  Frame &to = frameAt(depth + 1);
  const Frame &from = frames[depth];
  copyState(from, to, first, last);
  to.unplaced = from.unplaced;
  std::pair<int32_t, int32_t> changed{section, section + 1};
  for (int32_t index : to.unplaced) {
    const Item &item = items[index];
    if (item.lower > section || item.upper <= section || to.release[index] >= next)
      continue;
    to.release[index] = next;
    changed = {std::min(changed.first, item.lower), std::max(changed.second, item.upper)};
  }
  trail[depth] = {section, section + 1, level, next, false};
  return changed;
}

/// Whether there is a section in which nothing is left, or two neighbours that share no item.
template <typename Level>
bool LevelEngine<Level>::hasParts(const Frame &frame, int32_t first, int32_t last) {
  std::fill(openings.begin() + first, openings.begin() + last, 0);
  for (int32_t index : frame.unplaced) {
    ++openings[items[index].lower];
    --openings[items[index].upper - 1];
  }
  int32_t open = 0;
  for (int32_t s = first; s < last; ++s) {
    open += openings[s];
    if (frame.floor[s] == kDone || (open == 0 && s + 1 < last))
      return true;
  }
  return false;
}

template <typename Level>
typename LevelEngine<Level>::Failure LevelEngine<Level>::stateOf(const Frame &frame, int32_t first,
                                                                 int32_t last) const {
  // What is left and the floors decide all that follows, and which items are barred.
  uint64_t key = 0x243f6a8885a308d3ULL + static_cast<uint64_t>(first), check = ~key;
  for (int32_t s = first; s < last; ++s) {
    key = mix(key ^ static_cast<uint64_t>(frame.floor[s]));
    check = (check + static_cast<uint64_t>(frame.floor[s])) * 0x9e3779b97f4a7c15ULL;
    check ^= check >> 29;
  }
  uint64_t sum = 0, product = 1;
  for (int32_t index : frame.unplaced) {
    const bool barred = frame.barred[index] == frame.release[index];
    const uint64_t value = mix(static_cast<uint64_t>(index) * 2 + (barred ? 1 : 0) + 1);
    const uint64_t release = mix(value ^ (static_cast<uint64_t>(frame.release[index]) << 8));
    sum += release;
    product *= release | 1;
  }
  return {mix(key ^ sum), mix(check ^ product) | 1};
}

template <typename Level> bool LevelEngine<Level>::hasFailed(const Failure &state) const {
  const Failure &known = failures[state.key & (failures.size() - 1)];
  return known.key == state.key && known.check == state.check;
}

/// One slot a key, the last failure stays; the table grows with what it holds.
template <typename Level> void LevelEngine<Level>::remember(const Failure &state) {
  constexpr size_t kMostSlots = size_t{1} << 20;
  if (remembered * 2 > failures.size() && failures.size() < kMostSlots) {
    std::vector<Failure> larger(failures.size() * 4);
    for (const Failure &old : failures)
      if (old.check != 0)
        larger[old.key & (larger.size() - 1)] = old;
    failures.swap(larger);
  }
  Failure &slot = failures[state.key & (failures.size() - 1)];
  remembered += slot.check == 0;
  slot = state;
}

template class LevelEngine<int32_t>;
template class LevelEngine<int64_t>;

} // namespace evo::memory
