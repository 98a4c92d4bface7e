//===- PolicyRules.h - which policies there are, and when -------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#pragma once

#include "passes/Passes.h"

#include <string_view>

namespace evo {

/// Usage, with the list, where no policy has this name.
Status checkPolicyName(std::string_view name);

/// The policy of that name. Usage where the stack, the mode or the device count does not allow it,
/// with those that they allow; Unsupported where they do and this version has no such policy.
Result<Policy> resolvePolicy(std::string_view name, const spec::ModelSpec &spec, int64_t devices);

} // namespace evo
