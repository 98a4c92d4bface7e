//===- Backends.cpp -------------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "test/conformance/Backends.h"

#include "runtime/core/Workspace.h"
#include "runtime/cpu/CpuBackend.h"
#if defined(EVO_HAS_CUDA)
#include "runtime/cuda/CudaBackend.h"

#include <cuda_runtime_api.h>
#endif

#include <gtest/gtest.h>

#include <cstdlib>
#include <iostream>
#include <string_view>

namespace evo::conformance {

namespace {

#if defined(EVO_HAS_CUDA)
/// Of the backend that was created last: backends of the device launch one after the other, a new
/// one's workspace takes the place of the one's before.
DeviceMemory *lentWorkspace(std::unique_ptr<DeviceMemory> next = nullptr) {
  static std::unique_ptr<DeviceMemory> lent;
  if (next)
    lent = std::move(next);
  return lent.get();
}

Result<std::unique_ptr<Backend>> createCuda(const CudaDevices &devices) {
  const char *library = std::getenv("EVO_CONFORMANCE_LIBRARY");
  EVO_ASSIGN(std::unique_ptr<Backend> backend,
             devices.createBackend(0, !library || std::string_view(library) != "0"));
  EVO_ASSIGN(std::unique_ptr<DeviceMemory> workspace, allocateWorkspace(*backend));
  lentWorkspace(std::move(workspace));
  return backend;
}

void addCuda(std::vector<BackendFactory> &backends) {
  using enum plan::Precision;
  CudaDevices devices;
  if (devices.count() == 0) {
    static const bool said = (std::cout << "cuda is skipped: this machine has no device\n", true);
    (void)said;
    return;
  }
  backends.push_back(
      {"cuda", [devices] { return createCuda(devices); }, {Fp32, Tf32, Bf16, Fp16}, {}, true});
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

Status poisonWorkspace(Backend &backend) {
#if defined(EVO_HAS_CUDA)
  if (backend.identity().workspaceBytes == 0 || std::getenv("EVO_CONFORMANCE_UNWRITTEN"))
    return {};
  // All bits set are NaN in every type. The device fills it: an upload of as much takes longer than
  // most cases, and so does a kernel whose accesses are watched one by one.
  DeviceMemory &workspace = *lentWorkspace();
  cudaError_t error = cudaMemset(workspace.data(), 0xff, static_cast<size_t>(workspace.bytes()));
  if (error == cudaSuccess)
    error = cudaDeviceSynchronize();
  if (error != cudaSuccess)
    return Status::error(ErrorCode::Internal, cudaGetErrorString(error));
#endif
  return {};
}

std::vector<BackendFactory> conformanceBackends() {
  std::vector<BackendFactory> backends = allBackends();
  // One alone, where a device's time is short.
  if (const char *only = std::getenv("EVO_CONFORMANCE_BACKEND"))
    std::erase_if(backends, [&](const BackendFactory &backend) { return backend.name != only; });
  return backends;
}

} // namespace evo::conformance
