//===- Backends.h - the devices of this build -------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/core/Backend.h"

#include <string_view>
#include <vector>

namespace evo {

/// Names of the backends that this build has, best first.
std::vector<std::string_view> builtBackends();
bool hasBackend(std::string_view name);
/// Whether this build has the backend and this machine a device for it.
bool canRun(std::string_view name);

/// `device` is its number on this machine.
Result<std::unique_ptr<Backend>> createBackend(std::string_view name, int64_t device, int threads);

} // namespace evo
