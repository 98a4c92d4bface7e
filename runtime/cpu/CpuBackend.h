//===- CpuBackend.h - kernels on the host's processors ----------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// Device memory is host memory. Launches run at once, on the backend's own threads; the work is cut
// into tiles by shape alone, so the thread count never changes a bit of a result. All precisions:
// tf32 is computed as fp32, and bf16 and fp16 are stored as such and computed in fp32.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/core/Backend.h"
#include "runtime/cpu/Launch.h"

namespace evo {

/// The instruction sets that kernels are compiled for: x86-64, x86-64-v3 (AVX2), x86-64-v4
/// (AVX-512). Elsewhere than on x86 there is only Baseline, which is what the compiler targets by
/// default.
enum class CpuIsa : uint8_t { Baseline, V3, V4 };
std::string_view cpuIsaName(CpuIsa isa); ///< "baseline" | "x86-64-v3" | "x86-64-v4"
/// Whether this build has the set and this machine can run it.
bool cpuIsaAvailable(CpuIsa isa);
CpuIsa bestCpuIsa();

class CpuBackend : public Backend {
public:
  CpuBackend(int threads, CpuIsa isa); ///< by createCpuBackend

  DeviceIdentity identity() const override;
  std::string name() const override { return "cpu"; }
  std::string description() const override;
  bool supports(plan::Precision) const override { return true; }
  Result<std::unique_ptr<DeviceMemory>> allocate(int64_t bytes) override;
  /// Workers have scratch of their own.
  Status setWorkspace(std::byte *, int64_t) override { return {}; }
  Status upload(std::byte *device, const void *host, int64_t bytes) override;
  Status download(void *host, const std::byte *device, int64_t bytes) override;
  Status launch(const KernelCall &call) override;
  Status synchronize() override { return {}; }
  ProductLibrary *productLibrary() override { return nullptr; }

  int threads() const { return pool.threads(); }
  /// Bytes of all workers' scratch; the backend allocates nothing else.
  int64_t scratchBytes() const { return pool.scratchBytes(); }

private:
  CpuIsa isa;
  cpu::KernelSet kernels;
  cpu::ThreadPool pool;
};

/// `threads` 0: as many as the process may use.
Result<std::unique_ptr<Backend>> createCpuBackend(int threads);
/// The same, with kernels of one instruction set, which must be available.
Result<std::unique_ptr<Backend>> createCpuBackend(int threads, CpuIsa isa);

} // namespace evo
