//===- Backends.h - the devices of this build -------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/core/Backend.h"
#if defined(EVO_HAS_CUDA)
#include "runtime/cuda/CudaBackend.h"
#endif

#include <optional>
#include <string_view>
#include <vector>

namespace evo {

/// Names of the backends that this build has, best first.
std::vector<std::string_view> builtBackends();
bool hasBackend(std::string_view name);

/// The devices of this machine that this build has backends for. A program has one.
class Devices {
public:
  /// Whether this build has the backend and this machine a device for it.
  bool canRun(std::string_view name);
  /// `device` is its number on this machine.
  Result<std::unique_ptr<Backend>> createBackend(std::string_view name, int64_t device,
                                                 int threads);

private:
#if defined(EVO_HAS_CUDA)
  /// Looked for when first asked about: a run on the cpu leaves them alone.
  CudaDevices &cuda();
  std::optional<CudaDevices> lookedFor;
#endif
};

} // namespace evo
