//===- Verify.h - the independent check of a plan ---------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// Reads the plan's values and nothing else: it shares no code with the compiler, so that an error
// there cannot hide itself. SCHEMA.md lists the invariants; numbers are those of the schedule's
// specification, 0 is for plans that are not even well formed.
//
// How data is checked. A procedure's steps are executed on versions instead of numbers: for every
// buffer the verifier holds a partition of its index space into boxes, each with the version that
// its elements have. A read must find its version on every element of its box; a write replaces it.
// Of a slice loop three iterations are executed: the first, all between at once, and the last,
// which may be shorter. That suffices, since a view either stands still or moves by whole slices:
// what two iterations in the middle do to each other, the first does to one of the middle.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/plan/Plan.h"
#include "runtime/plan/Status.h"

#include <optional>
#include <string>
#include <string_view>

namespace evo::plan {

struct Violation {
  int invariant = 0;
  std::string path;    ///< into the plan's JSON: "procedures[3].steps[5].operands.x.version"
  std::string message; ///< "invariant 1 (every read is defined): expected .., got .."
};

/// "every read is defined"; empty for a number that the verifier does not check.
std::string_view invariantName(int invariant);

/// The first violation found; nothing for a legal plan. Any plan ends in bounded time.
std::optional<Violation> verifyPlan(const Plan &plan);

/// The same as a status: ErrorCode::InvalidPlan with path and message.
Status checkPlan(const Plan &plan);

} // namespace evo::plan
