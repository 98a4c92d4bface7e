//===- Backends.cpp -------------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "test/conformance/Backends.h"

#include "runtime/core/Workspace.h"
#include "runtime/cpu/CpuBackend.h"
#if defined(EVO_HAS_CUDA)
#include "runtime/cuda/CudaBackend.h"
#endif

#include <gtest/gtest.h>

#include <cstdlib>
#include <iostream>
#include <string_view>

namespace evo::conformance {

namespace {

#if defined(EVO_HAS_CUDA)
/// Backends of the device launch one after the other: a new one's workspace takes the place of the
/// one's before.
Result<std::unique_ptr<Backend>> createCuda() {
  static std::unique_ptr<DeviceMemory> workspace;
  const char *library = std::getenv("EVO_CONFORMANCE_LIBRARY");
  EVO_ASSIGN(std::unique_ptr<Backend> backend,
             createCudaBackend(0, !library || std::string_view(library) != "0"));
  EVO_ASSIGN(workspace, allocateWorkspace(*backend));
  return backend;
}

void addCuda(std::vector<BackendFactory> &backends) {
  using enum plan::Precision;
  if (cudaDevices() == 0) {
    static const bool said = (std::cout << "cuda is skipped: this machine has no device\n", true);
    (void)said;
    return;
  }
  backends.push_back(
      {"cuda",
       createCuda,
       {Fp32, Tf32, Bf16, Fp16},
       {},
       {plan::Kernel::OuterProductMean, plan::Kernel::Attention, plan::Kernel::AttentionGrad}});
}
#endif

/// Those that this build has and this machine can run.
std::vector<BackendFactory> allBackends() {
  using enum plan::Precision;
  std::vector<BackendFactory> backends;
#if defined(EVO_HAS_CUDA)
  addCuda(backends);
#endif
  for (CpuIsa isa : {CpuIsa::Baseline, CpuIsa::V3, CpuIsa::V4})
    if (cpuIsaAvailable(isa)) {
      const char *names[] = {"cpu_baseline", "cpu_v3", "cpu_v4"};
      backends.push_back({names[static_cast<int>(isa)],
                          [isa] { return createCpuBackend(2, isa); },
                          {Fp32, Fp64, Bf16, Fp16},
                          {}});
    }
  return backends;
}

/// Stops the suite where the backend that it was to try is not there: no test of it would run, and
/// none would fail.
class NamedBackend : public testing::Environment {
  void SetUp() override {
    if (!conformanceBackends().empty())
      return;
    std::string names;
    for (const BackendFactory &backend : allBackends())
      names += (names.empty() ? "" : ", ") + backend.name;
    FAIL() << "EVO_CONFORMANCE_BACKEND: expected a backend that this build has and this machine "
              "can run ("
           << names << "), got '" << std::getenv("EVO_CONFORMANCE_BACKEND") << "'";
  }
};
const testing::Environment *const kNamedBackend =
    testing::AddGlobalTestEnvironment(new NamedBackend);

} // namespace

std::vector<BackendFactory> conformanceBackends() {
  std::vector<BackendFactory> backends = allBackends();
  // One alone, where a device's time is short.
  if (const char *only = std::getenv("EVO_CONFORMANCE_BACKEND"))
    std::erase_if(backends, [&](const BackendFactory &backend) { return backend.name != only; });
  return backends;
}

} // namespace evo::conformance
