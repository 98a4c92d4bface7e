//===- FitEngine.h - the state of a fit search ------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// Of this folder only. The members are defined where their part of the search is told:
// FitSearch.cpp descends, FitState.cpp keeps the state, FitChoice.cpp branches, FitReasons.cpp
// explains failures.
//===----------------------------------------------------------------------===//
#pragma once

#include "compiler/memory/FitSearch.h"

#include <deque>
#include <limits>
#include <utility>

namespace evo::memory {

class FitSearch::Engine {
public:
  virtual ~Engine() = default;
  virtual Verdict run(const Guide &guide, int64_t nodeLimit) = 0;
  virtual std::vector<int64_t> offsets() const = 0;
  int64_t nodes = 0;
};

/// Bits that depend on all bits.
inline uint64_t mix(uint64_t x) {
  x ^= x >> 30;
  x *= 0xbf58476d1ce4e5b9ULL;
  x ^= x >> 27;
  x *= 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

/// A set of depths.
class Depths {
public:
  void clear() { words.clear(); }
  bool has(size_t depth) const {
    return depth / 64 < words.size() && (words[depth / 64] >> (depth % 64) & 1);
  }
  void add(size_t depth) {
    if (words.size() <= depth / 64)
      words.resize(depth / 64 + 1, 0);
    words[depth / 64] |= uint64_t{1} << (depth % 64);
  }
  void add(const Depths &other) {
    if (words.size() < other.words.size())
      words.resize(other.words.size(), 0);
    for (size_t i = 0; i < other.words.size(); ++i)
      words[i] |= other.words[i];
  }
  void remove(size_t depth) {
    if (depth / 64 < words.size())
      words[depth / 64] &= ~(uint64_t{1} << (depth % 64));
  }

private:
  std::vector<uint64_t> words;
};

/// Levels are 32 bits wide where the capacity allows it, which is faster.
template <typename Level> class LevelEngine final : public FitSearch::Engine {
public:
  LevelEngine(const FitProblem &problem, int64_t capacity, const Pruning &pruning);
  Verdict run(const Guide &guide, int64_t nodeLimit) override;
  std::vector<int64_t> offsets() const override;

private:
  static constexpr Level kNone = std::numeric_limits<Level>::max();
  /// Above every floor that still matters: nothing is left to place in that section.
  static constexpr Level kDone = kNone;

  struct Item {
    int32_t lower, upper;
    Level size;
    int32_t original;
    int32_t lifetimeStart; ///< the first item of its lifetime
    int32_t copyOf;        ///< the item before it with the same lifetime and size; -1: none
  };
  /// The state at one depth. By section: the floor, where its items end at the earliest, their sum,
  /// and the second lowest of their releases. By item: its release, and the level at which it may
  /// not lie because it would stand on a later item of its lifetime.
  struct Frame {
    std::vector<Level> floor, end, rest, second, release, barred;
    std::vector<int32_t> unplaced; ///< by release
    Depths reason;
  };
  /// Sections [lower, upper) are taken between base and top: by an item or, of one section, by
  /// nothing at all. Nothing is decided where lower == upper.
  struct Decision {
    int32_t lower = 0, upper = 0;
    Level base = 0, top = 0;
    bool isItem = false;
  };
  /// The section that a node branches on.
  struct Choice {
    int32_t section = -1;
    int64_t answers = 0;
    Level level = 0;
    Level next = kNone; ///< the next level if nothing lies here; kNone: something has to
  };
  struct Failure {
    uint64_t key = 0, check = 0;
  };

  bool descend(size_t depth, int32_t first, int32_t last, int32_t changedFirst,
               int32_t changedLast);
  bool descendParts(size_t depth, int32_t first, int32_t last);
  bool branch(size_t depth, int32_t first, int32_t last, const Choice &choice);
  int32_t settle(Frame &frame, int32_t first, int32_t last);
  bool hasParts(const Frame &frame, int32_t first, int32_t last);
  Failure stateOf(const Frame &frame, int32_t first, int32_t last) const;
  Choice choose(const Frame &frame, int32_t first, int32_t last);
  void markValleys(const Frame &frame, int32_t first, int32_t last);
  void countAnswers(const Frame &frame);
  Level nextLevel(const Frame &frame, const Choice &choice) const;
  bool mayComeNext(const Frame &frame, int32_t item) const;
  std::pair<int32_t, int32_t> place(size_t depth, int32_t first, int32_t last, int32_t item,
                                    Level level);
  std::pair<int32_t, int32_t> raise(size_t depth, int32_t first, int32_t last, int32_t section,
                                    Level level, Level next);
  void copyState(const Frame &from, Frame &to, int32_t first, int32_t last) const;
  void explain(size_t depth, int32_t item, Level level, Depths &reason) const;
  void explainOverload(size_t depth, int32_t section);
  void explainChoice(size_t depth, const Choice &choice);
  void blameAll(size_t depth, int32_t first, int32_t last);
  bool hasFailed(const Failure &state) const;
  void remember(const Failure &state);
  std::pair<int32_t, int32_t> reachOfAnswers(const Frame &frame, const Choice &choice) const;
  void setRanks(const Guide &guide);
  Frame &frameAt(size_t depth);

  int32_t sections;
  Level capacity;
  Pruning pruning;
  std::vector<Item> items;
  Guide guide;
  std::vector<int32_t> ranks;   ///< the order of answers
  std::vector<int64_t> weights; ///< failures of a section
  std::vector<Failure> failures;
  std::deque<Frame> frames;
  std::vector<Decision> trail; ///< by depth
  std::vector<Level> placed;   ///< offsets, as far as they are decided
  Depths failure;              ///< the decisions that the last failure rests on
  size_t remembered = 0;
  int64_t lastNode = 0;
  size_t mostDepth = 0; ///< raises without end would need memory and stack without end
  bool limitReached = false;
  // Scratch of one node.
  std::vector<int32_t> answers, openings;
  std::vector<Level> leftSize, rightSize, wall;
  std::vector<char> inValley, isUnplaced;
};

} // namespace evo::memory
