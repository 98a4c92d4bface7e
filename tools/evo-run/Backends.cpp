//===- Backends.cpp ---------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "tools/evo-run/Backends.h"

#include "runtime/cpu/CpuBackend.h"

#include <algorithm>

namespace evo {

std::vector<std::string_view> builtBackends() {
#if defined(EVO_HAS_CUDA)
  return {"cuda", "cpu"};
#else
  return {"cpu"};
#endif
}

bool hasBackend(std::string_view name) {
  std::vector<std::string_view> built = builtBackends();
  return std::find(built.begin(), built.end(), name) != built.end();
}

#if defined(EVO_HAS_CUDA)
CudaDevices &Devices::cuda() {
  if (!lookedFor)
    lookedFor.emplace();
  return *lookedFor;
}
#endif

bool Devices::canRun(std::string_view name) {
#if defined(EVO_HAS_CUDA)
  if (name == "cuda")
    return cuda().count() > 0;
#endif
  return hasBackend(name);
}

Result<std::unique_ptr<Backend>> Devices::createBackend(std::string_view name, int64_t device,
                                                        int threads) {
#if defined(EVO_HAS_CUDA)
  if (name == "cuda")
    return cuda().createBackend(static_cast<int>(device));
#endif
  if (name != "cpu")
    return Status::error(ErrorCode::Unsupported,
                         "expected a backend of this build (cpu), got " + std::string(name));
  if (device != 0)
    return Status::error(ErrorCode::Usage,
                         "--device: expected 0 on the cpu, got " + std::to_string(device));
  return createCpuBackend(threads);
}

} // namespace evo
