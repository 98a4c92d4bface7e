//===- Composite.h - all sensible ways through one block --------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// Records compose: one after the other needs (max(tau1, sigma1 + tau2), sigma1 + sigma2). The
// composites of a block are the sequences of records that no other sequence between the same states
// equals or beats in tau, sigma and time together. What a composite keeps is the block's frame.
//===----------------------------------------------------------------------===//
#pragma once

#include "compiler/schedule/Transitions.h"

namespace evo::schedule {

struct Composite {
  State end = 0;
  Bytes sigma = 0; ///< the frame, rounded up to the granule
  Bytes tau = 0;   ///< at least sigma
  TimeNs costNs = 0;
  Bytes exactSigma = 0, exactTau = 0; ///< without the rounding
  std::vector<int> records;
};

/// For each state that a block can begin in, its composites with tau within `limit`, ordered by end
/// state, sigma, then tau; times fall as tau grows between equals of the others.
std::vector<std::vector<Composite>> composites(const Transitions &transitions, Bytes limit,
                                               Bytes granule);

} // namespace evo::schedule
