//===- Engine.h - what the two engines share --------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// T[l](u, N): the least time of a chain of l blocks that begins in state u with headroom N.
//
//   block     T[l](u, N) = min over ways o through a block, tau_o <= N :
//                            t_o + T[l-1](v_o, N - sigma_o);    T[0] = 0 in layout 0
//   segment   T[l](u, N) = min over 1 <= j < l, ways ff to run forward, tau_ff <= N - c :
//                            t_c + j t_ff + T[l-j](u', N - c) + T[j](u, N - c)
//
// c holds the checkpoint while the rest runs, and after it the pending gradients while the segment
// runs again, whose streams take the checkpoint's place. u' is u without the versions that the
// segment replaced: nothing of it is kept yet.
//===----------------------------------------------------------------------===//
#pragma once

#include "compiler/schedule/Transitions.h"

namespace evo::schedule {

/// More than any plan takes, and a sum of two with any plan's time is still below 2^63.
constexpr TimeNs kNever = TimeNs{1} << 61;

/// Headroom that a part of a plan needs, with and without rounding.
struct Need {
  Bytes rounded = 0;
  Bytes exact = 0;
};

/// The last way that fits is the fastest; -1 where none does.
inline int fastestForward(const SegmentCosts &costs, Bytes headroom) {
  int way = static_cast<int>(costs.forward.size()) - 1;
  while (way >= 0 && costs.forward[static_cast<size_t>(way)].transientBytes > headroom)
    --way;
  return way;
}

/// To write a checkpoint and run `count` blocks forward.
inline TimeNs segmentNs(const SegmentCosts &costs, const SegmentCosts::Forward &way, size_t count) {
  return costs.checkpointNs + static_cast<TimeNs>(count) * way.costNs;
}

struct Found {
  std::vector<FrontierPoint> frontier; ///< empty where the budget has no plan
  Plan plan;
  Need need;
};

/// Engine A: composites of a block, their frames rounded up to the granule, on a grid of headrooms
/// budget - i * granule. Exact for the rounded frames: what a plan needs is compared in bytes. A
/// point of the frontier lies at the first cell of the grid that reaches its time.
Found solveDense(const Problem &problem, const Transitions &transitions, Bytes granule);

/// Engine B: staircases of (bytes, time) for every op, exact for any sizes.
Found solveSparse(const Problem &problem, const Transitions &transitions);

} // namespace evo::schedule
