//===- Backends.cpp -------------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "test/conformance/Backends.h"

#include "runtime/cpu/CpuBackend.h"

namespace evo::conformance {

std::vector<BackendFactory> conformanceBackends() {
  using enum plan::Precision;
  std::vector<BackendFactory> backends;
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

} // namespace evo::conformance
