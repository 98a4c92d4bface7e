//===- Keys.h - the keys of a specification ---------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// One table for the checker, the overrides and the messages: every key by its dotted path, which
// stacks know it, and whether it must be there.
//===----------------------------------------------------------------------===//
#pragma once

#include "compiler/json/StrictJson.h"
#include "compiler/spec/ModelSpec.h"

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace evo::spec {

/// Bit i: the stack with the value i of StackKind.
using StackMask = uint8_t;
constexpr StackMask maskOf(StackKind kind) { return StackMask(1u << static_cast<unsigned>(kind)); }

enum class KeyKind : uint8_t {
  Object, ///< has keys of its own
  Text,   ///< a string: an override's value is taken as it is written
  Other,  ///< numbers, true and false
};

struct KeyInfo {
  std::string_view path;
  StackMask stacks;
  KeyKind kind;
  bool required; ///< where its parent is there

  std::string_view name() const { return path.substr(path.rfind('.') + 1); }
  /// The dotted path of the object that it stands in; empty for the root.
  std::string_view parent() const {
    size_t dot = path.rfind('.');
    return dot == std::string_view::npos ? std::string_view() : path.substr(0, dot);
  }
};

/// Every key of every stack. An optimizer's keys are listed for all kinds of optimizer.
std::span<const KeyInfo> keyTable();

/// Checks all objects of a specification against the table; the optimizer's keys against its kind.
Status checkAllKeys(const json::Json &root, StackKind stack);

} // namespace evo::spec
