//===- FitSearch.h - do these buffers fit into a height? --------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// The exact part of the packer, on a reduced problem: time is a row of sections (the sets of
// buffers alive together that no other set contains), sizes are counted in their common divisor.
//
// Depth first, bottom up. A solution may be pushed down until every buffer rests on the ground or
// on another one; only such solutions are looked for. The state is the floor of each section
// (nothing that is not yet placed can lie lower) and the set of buffers not yet placed; `release`
// of a buffer is the highest floor in its lifetime. A branch takes one section at the bottom of a
// valley of the floor and asks what lies right there: one of the buffers that end up within the
// valley, or nothing up to the next level at which something could lie. That is complete for any
// section of any valley, so the one with the fewest answers is taken.
//
// What is cut off, each by itself without loss:
//   - a section whose buffers, taken by their releases, end above the capacity (section bounds);
//   - a second copy of a buffer before the first, and two buffers of one lifetime, one right on the
//     other, in more than one order (dominance);
//   - parts of time that share no buffer that is left are solved one after the other, never again
//     for each other's sake (decomposition; a buffer with nothing above it is a part by itself);
//   - a state that failed before (memory of failures);
//   - a choice that had no part in the failure below it: its other answers fail too (backjumping).
//===----------------------------------------------------------------------===//
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

namespace evo::memory {

/// Alive in the sections [lower, upper); size > 0.
struct FitItem {
  int32_t lower = 0;
  int32_t upper = 0;
  int64_t size = 0;
};

struct FitProblem {
  int32_t sections = 0;
  std::vector<FitItem> items;
};

enum class Verdict : uint8_t { Fits, DoesNotFit, LimitReached };

/// What may be switched off, to show that no answer depends on it.
struct Pruning {
  bool bounds = true;
  bool dominance = true;
  bool decomposition = true;
  bool failures = true;
  bool backjumping = true;
};

/// In which order answers are tried.
enum class Preorder : uint8_t { Width, Area, Total, Size };

/// How one descent chooses. `noise` in 1/1000 perturbs the preorder's keys, with the seed.
struct Guide {
  Preorder preorder = Preorder::Width;
  bool weighted = false; ///< sections that failed often come first
  bool tight = false;    ///< ties to the section with the least room
  int32_t noise = 0;
  uint64_t seed = 0;
};

/// One problem with one capacity. What is learnt (failed states, weights) lasts from call to call.
class FitSearch {
public:
  FitSearch(const FitProblem &problem, int64_t capacity, const Pruning &pruning = {});
  ~FitSearch();
  /// Looks at no more than `nodeLimit` states.
  Verdict run(const Guide &guide, int64_t nodeLimit);
  /// After Fits: one offset an item.
  std::vector<int64_t> offsets() const;
  /// States looked at so far, over all calls.
  int64_t nodes() const;

  /// What the two widths of levels have in common.
  class Engine;

private:
  std::unique_ptr<Engine> engine;
};

} // namespace evo::memory
