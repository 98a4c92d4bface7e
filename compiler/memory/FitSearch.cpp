//===- FitSearch.cpp --------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "compiler/memory/FitEngine.h"

#include <algorithm>
#include <numeric>
#include <tuple>

namespace evo::memory {

template <typename Level>
LevelEngine<Level>::LevelEngine(const FitProblem &problem, int64_t capacity, const Pruning &pruning)
    : sections(problem.sections), capacity(static_cast<Level>(capacity)), pruning(pruning) {
  for (size_t i = 0; i < problem.items.size(); ++i) {
    const FitItem &item = problem.items[i];
    items.push_back(
        {item.lower, item.upper, static_cast<Level>(item.size), static_cast<int32_t>(i), 0, -1});
  }
  std::sort(items.begin(), items.end(), [](const Item &a, const Item &b) {
    return std::tie(a.lower, a.upper, b.size, a.original) <
           std::tie(b.lower, b.upper, a.size, b.original);
  });
  for (int32_t i = 0; i < static_cast<int32_t>(items.size()); ++i) {
    const bool isFirst =
        i == 0 || items[i - 1].lower != items[i].lower || items[i - 1].upper != items[i].upper;
    items[i].lifetimeStart = isFirst ? i : items[i - 1].lifetimeStart;
    items[i].copyOf = !isFirst && items[i - 1].size == items[i].size ? i - 1 : -1;
  }
  mostDepth = 4 * items.size() + 256;
  placed.assign(items.size(), 0);
  weights.assign(sections, 1);
  const auto width = static_cast<size_t>(sections) + 1;
  answers.resize(width);
  openings.resize(width);
  leftSize.resize(width);
  rightSize.resize(width);
  wall.resize(width);
  inValley.resize(width);
  isUnplaced.resize(items.size());
  failures.resize(pruning.failures ? 256 : 0);
}

template <typename Level> Verdict LevelEngine<Level>::run(const Guide &next, int64_t nodeLimit) {
  setRanks(next);
  lastNode = nodes + nodeLimit;
  limitReached = false;
  Frame &root = frameAt(0);
  std::fill(root.floor.begin(), root.floor.end(), Level{0});
  std::fill(root.release.begin(), root.release.end(), Level{0});
  std::fill(root.barred.begin(), root.barred.end(), Level{-1});
  root.unplaced.resize(items.size());
  std::iota(root.unplaced.begin(), root.unplaced.end(), 0);
  if (descend(0, 0, sections, 0, sections))
    return Verdict::Fits;
  return limitReached ? Verdict::LimitReached : Verdict::DoesNotFit;
}

template <typename Level> std::vector<int64_t> LevelEngine<Level>::offsets() const {
  std::vector<int64_t> byOriginal(items.size());
  for (size_t i = 0; i < items.size(); ++i)
    byOriginal[items[i].original] = placed[i];
  return byOriginal;
}

template <typename Level> void LevelEngine<Level>::setRanks(const Guide &next) {
  guide = next;
  std::vector<double> load(sections, 0), keys;
  for (const Item &item : items)
    for (int32_t s = item.lower; s < item.upper; ++s)
      load[s] += static_cast<double>(item.size);
  uint64_t state = mix(guide.seed + 1);
  for (const Item &item : items) {
    const double width = item.upper - item.lower, size = static_cast<double>(item.size);
    const double total = *std::max_element(load.begin() + item.lower, load.begin() + item.upper);
    double key = 0;
    switch (guide.preorder) {
    case Preorder::Width:
      key = width + size / (2.0 * static_cast<double>(capacity));
      break;
    case Preorder::Area:
      key = width * size;
      break;
    case Preorder::Total:
      key = total * 16 + width * size / sections;
      break;
    case Preorder::Size:
      key = size + width / (2.0 * sections);
      break;
    }
    state = mix(state + 0x9e3779b97f4a7c15ULL);
    keys.push_back(key * (1000.0 + static_cast<double>(guide.noise) *
                                       (static_cast<double>(state % 2001) / 1000.0 - 1.0)));
  }
  std::vector<int32_t> order(items.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](int32_t a, int32_t b) { return keys[a] > keys[b]; });
  ranks.resize(items.size());
  for (size_t i = 0; i < order.size(); ++i)
    ranks[order[i]] = static_cast<int32_t>(i);
}

/// Parts of the sections that share no item, narrow ones first: a failure of one fails all.
template <typename Level>
bool LevelEngine<Level>::descendParts(size_t depth, int32_t first, int32_t last) {
  std::vector<std::pair<int32_t, int32_t>> parts;
  int32_t open = 0, start = first;
  for (int32_t s = first; s < last; ++s) { // openings: as hasParts left them
    if (open == 0)
      start = s;
    open += openings[s];
    if (open == 0 && frames[depth].floor[s] != kDone)
      parts.emplace_back(start, s + 1);
  }
  std::stable_sort(parts.begin(), parts.end(), [](const auto &a, const auto &b) {
    return a.second - a.first < b.second - b.first;
  });
  trail[depth] = {};
  for (const auto &[lower, upper] : parts) {
    Frame &to = frameAt(depth + 1);
    const Frame &from = frames[depth];
    to.unplaced.clear();
    for (int32_t index : from.unplaced)
      if (items[index].lower >= lower && items[index].lower < upper)
        to.unplaced.push_back(index);
    copyState(from, to, lower, upper);
    if (!descend(depth + 1, lower, upper, lower, lower))
      return false;
  }
  return true;
}

/// Whether what is left in the sections [first, last) fits. Where it does not, `failure` holds the
/// decisions that this rests on.
template <typename Level>
bool LevelEngine<Level>::descend(size_t depth, int32_t first, int32_t last, int32_t changedFirst,
                                 int32_t changedLast) {
  Frame &frame = frames[depth];
  if (frame.unplaced.empty())
    return true;
  if (nodes >= lastNode || depth >= mostDepth) {
    limitReached = true;
    return false;
  }
  ++nodes;
  const int32_t overloaded = settle(frame, changedFirst, changedLast);
  if (overloaded >= 0) {
    ++weights[overloaded];
    if (pruning.bounds)
      explainOverload(depth, overloaded);
    else
      blameAll(depth, 0, sections);
    return false;
  }
  if (frame.unplaced.size() == 1) {
    placed[frame.unplaced[0]] = frame.release[frame.unplaced[0]];
    return true;
  }
  if (pruning.decomposition && hasParts(frame, first, last))
    return descendParts(depth, first, last);
  Failure state;
  if (pruning.failures) {
    state = stateOf(frame, first, last);
    if (hasFailed(state)) {
      blameAll(depth, first, last);
      return false;
    }
  }
  if (branch(depth, first, last, choose(frame, first, last)))
    return true;
  if (pruning.failures && !limitReached)
    remember(state);
  return false;
}

template <typename Level>
bool LevelEngine<Level>::branch(size_t depth, int32_t first, int32_t last, const Choice &found) {
  Choice choice = found;
  std::vector<int32_t> candidates;
  for (int32_t index : frames[depth].unplaced)
    isUnplaced[index] = 1;
  for (int32_t index : frames[depth].unplaced)
    if (frames[depth].release[index] == choice.level && items[index].lower <= choice.section &&
        choice.section < items[index].upper && mayComeNext(frames[depth], index))
      candidates.push_back(index);
  for (int32_t index : frames[depth].unplaced)
    isUnplaced[index] = 0;
  std::sort(candidates.begin(), candidates.end(),
            [&](int32_t a, int32_t b) { return ranks[a] < ranks[b]; });
  if (choice.next != kNone)
    choice.next = nextLevel(frames[depth], choice);
  if (candidates.empty() && choice.next == kNone)
    ++weights[choice.section];
  frames[depth].reason.clear();
  for (size_t i = 0; i <= candidates.size(); ++i) {
    const bool isItem = i < candidates.size();
    if (!isItem && choice.next == kNone)
      break;
    const auto changed = isItem
                             ? place(depth, first, last, candidates[i], choice.level)
                             : raise(depth, first, last, choice.section, choice.level, choice.next);
    if (descend(depth + 1, first, last, changed.first, changed.second))
      return true;
    if (limitReached)
      return false;
    if (pruning.backjumping && !failure.has(depth))
      return false; // for the same reason, whatever is chosen here
    failure.remove(depth);
    frames[depth].reason.add(failure);
  }
  explainChoice(depth, choice);
  failure = frames[depth].reason;
  return false;
}

FitSearch::FitSearch(const FitProblem &problem, int64_t capacity, const Pruning &pruning) {
  // Narrow levels are faster. Releases stay within the capacity, ends within twice of it.
  if (capacity < (int64_t{1} << 29))
    engine = std::make_unique<LevelEngine<int32_t>>(problem, capacity, pruning);
  else
    engine = std::make_unique<LevelEngine<int64_t>>(problem, capacity, pruning);
}

FitSearch::~FitSearch() = default;

Verdict FitSearch::run(const Guide &guide, int64_t nodeLimit) {
  return engine->run(guide, nodeLimit);
}

std::vector<int64_t> FitSearch::offsets() const { return engine->offsets(); }

int64_t FitSearch::nodes() const { return engine->nodes; }

} // namespace evo::memory
