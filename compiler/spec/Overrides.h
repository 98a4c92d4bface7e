//===- Overrides.h - `--set NAME=VALUE` -------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// Overrides edit the specification's JSON before it is checked, so that what a flag may say is
// exactly what the file may say.
//===----------------------------------------------------------------------===//
#pragma once

#include "compiler/spec/Keys.h"

#include <span>
#include <string>
#include <string_view>

namespace evo::spec {

/// "NAME=VALUE", taken apart at the first `=`.
struct Override {
  std::string_view name, value;
};
/// ErrorCode::Usage where there is no `=` or no name before it.
Result<Override> parseOverride(std::string_view text);

/// The key of `stacks` that `name` means: its dotted path, or its last part where only one key has
/// it. ErrorCode::Usage for a name that no key or more than one has.
Result<const KeyInfo *> resolveKey(std::string_view name, std::span<const KeyInfo> keys,
                                   StackMask stacks);

/// Writes the value into `root`, with the parents that are not there yet.
Status applyOverride(json::Json &root, const KeyInfo &key, std::string_view value);

} // namespace evo::spec
