//===- Workspace.h - what kernels use while they run ------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// A backend allocates none of it: a plan reserves it in the arena, and who launches kernels without
// a plan (calibrations, tests, benchmarks) brings its own.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/core/Backend.h"
#include "runtime/plan/Plan.h"

namespace evo {

/// Gives the backend what the plan reserves; nothing where it reserves nothing, which a backend
/// that needs a workspace refuses.
Status lendWorkspace(Backend &backend, const plan::Plan &plan, std::byte *arena);

/// Allocates what the backend needs and gives it to it, full of NaNs, since no kernel may rely on
/// what it finds there. To be kept until the backend has launched for the last time.
Result<std::unique_ptr<DeviceMemory>> allocateWorkspace(Backend &backend);

/// Uploads bytes 0xff, a NaN in each type.
Status poison(Backend &backend, const DeviceMemory &memory);

} // namespace evo
