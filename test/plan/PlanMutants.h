//===- PlanMutants.h - ways to break a legal plan ---------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/plan/Plan.h"

#include <map>
#include <random>
#include <string>
#include <vector>

namespace evo::plan::test {

struct Mutator {
  const char *name;
  /// Breaks one thing at a random place and says where; empty if the plan has no such place.
  std::string (*apply)(Plan &, std::mt19937_64 &);
};

/// By the invariant that their mutants violate: 0 to 7, and those above.
std::map<int, std::vector<Mutator>> dataMutators();
std::map<int, std::vector<Mutator>> memoryMutators();
/// More of 5 and 6: of what is computed again, and of gradients.
std::map<int, std::vector<Mutator>> trainingMutators();

} // namespace evo::plan::test
