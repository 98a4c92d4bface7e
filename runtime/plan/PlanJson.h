//===- PlanJson.h - a plan as JSON ------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// The codec between plan::Plan and "evo.plan/1" files. SCHEMA.md says what each field means. The
// codec checks form (keys, types, ranges, numbers of entries); what the values mean together is the
// verifier's.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/plan/Plan.h"
#include "runtime/plan/Status.h"

#include <string>
#include <string_view>

namespace evo::plan {

/// Loops may nest this deep within a procedure, and nodes in the schedule tree.
inline constexpr int kMaxTreeDepth = 16;
/// Longer plan files are refused unread.
inline constexpr int64_t kMaxPlanBytes = int64_t{64} << 20;

/// Parses the contents of a plan file; `fileName` is for messages. The errors (InvalidPlan) name
/// the file, the path into the JSON, and expected and got.
Result<Plan> parsePlan(std::string_view text, std::string_view fileName);
/// Reads a file and parses it; ErrorCode::Io where it cannot be read.
Result<Plan> readPlan(const std::string &path);
/// The plan as a file's contents: the same bytes for the same plan, one line a buffer and a step.
/// Parsing them gives the plan back. Errors: text that is not UTF-8, a number that is not finite,
/// operands that do not fit the kernel, trees deeper than kMaxTreeDepth.
Result<std::string> printPlan(const Plan &plan);

} // namespace evo::plan
