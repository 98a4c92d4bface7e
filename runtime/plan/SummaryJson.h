//===- SummaryJson.h - a plan's summary as JSON -----------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/plan/Plan.h"

#include <nlohmann/json.hpp>

namespace evo::plan {

/// The object `summary` of a plan file, which reports of the compiler repeat.
nlohmann::ordered_json summaryJson(const Summary &summary);

} // namespace evo::plan
