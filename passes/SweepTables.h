//===- SweepTables.h - what the text and the page both show -----*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#pragma once

#include "passes/Sweep.h"
#include "passes/TextTable.h"

namespace evo {

/// A head and a row a point: "rrrrrl".
std::vector<TextRow> pointRows(const SweepReport &report);
/// A head and a row a named policy, with auto's time in the memory that it needs: "lrrrrrrl".
std::vector<TextRow> policyRows(const SweepReport &report);
/// "79.0 GiB: 412.3 ms, 1.000 x the lower bound"
std::string budgetText(const SweepReport &report);
/// "1.043": as a multiple of the lower bound.
std::string formatTimes(const SweepReport &report, double ms);
std::string titleOf(const SweepReport &report); ///< the model's name, else the stack's

} // namespace evo
