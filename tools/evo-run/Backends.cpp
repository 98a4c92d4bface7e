//===- Backends.cpp ---------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "tools/evo-run/Backends.h"

#include "runtime/cpu/CpuBackend.h"

#include <algorithm>

namespace evo {

std::vector<std::string_view> builtBackends() { return {"cpu"}; }

bool hasBackend(std::string_view name) {
  std::vector<std::string_view> built = builtBackends();
  return std::find(built.begin(), built.end(), name) != built.end();
}

Result<std::unique_ptr<Backend>> createBackend(std::string_view name, int64_t device, int threads) {
  if (name != "cpu")
    return Status::error(ErrorCode::Unsupported,
                         "expected a backend of this build (cpu), got " + std::string(name));
  if (device != 0)
    return Status::error(ErrorCode::Usage,
                         "--device: expected 0 on the cpu, got " + std::to_string(device));
  return createCpuBackend(threads);
}

} // namespace evo
