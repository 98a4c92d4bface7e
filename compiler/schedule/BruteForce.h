//===- BruteForce.h - every plan of a small problem -------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#pragma once

#include "compiler/schedule/Problem.h"

namespace evo::schedule {

/// The frontier for all budgets, the problem's left aside, by the simulation of every plan: every
/// sequence of records in every block under every choice of segments. An error where there are more
/// than `mostPlans`.
Result<std::vector<FrontierPoint>> bruteForce(const Problem &problem, int64_t mostPlans = 100'000);

} // namespace evo::schedule
