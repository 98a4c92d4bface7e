//===- Strides.h - dense layouts and whole views ----------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// What a plan file leaves out because it is the rule: row-major strides and views of a whole
// buffer.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/plan/Plan.h"

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace evo::plan {

/// Row-major strides without padding; nothing where one passes 2^63 - 1.
std::optional<std::vector<int64_t>> denseStrides(std::span<const int64_t> shape);

/// All of `buffer`, its axes in their own order.
View wholeView(const Buffer &buffer, int32_t index, int32_t version);

} // namespace evo::plan
