//===- JsonText.h - text to a JSON value, strictly --------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// What a JSON library lets pass and a contract must not: a key that stands twice in an object (the
// last would win), integers that turn into floating point, nesting without bound.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/plan/Status.h"

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace evo::plan {

/// Objects and arrays may nest this deep.
inline constexpr size_t kMaxJsonDepth = 64;

/// One JSON value and nothing behind it. The error (InvalidPlan) has line and column, or the path.
Result<nlohmann::json> parseJsonText(std::string_view text);

/// `text` cut to a length that fits into a message.
std::string clipText(std::string_view text);

} // namespace evo::plan
