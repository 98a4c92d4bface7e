//===- CpuBackend.cpp -------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "runtime/cpu/CpuBackend.h"

#include "runtime/cpu/Blas.h"

#include <algorithm>
#include <cstring>
#include <new>
#include <system_error>

#if defined(__linux__)
#include <sched.h>
#endif

namespace evo {

namespace {

/// OpenBLAS has buffers for some 600 threads at a time and ends the program beyond that.
constexpr int kMaxThreads = 512;

class HostMemory : public DeviceMemory {
public:
  explicit HostMemory(int64_t bytes)
      : start(static_cast<std::byte *>(::operator new[](
            static_cast<size_t>(bytes), std::align_val_t{plan::kAlignment}, std::nothrow))),
        size(bytes) {}
  ~HostMemory() override { ::operator delete[](start, std::align_val_t{plan::kAlignment}); }
  HostMemory(const HostMemory &) = delete;
  HostMemory &operator=(const HostMemory &) = delete;
  std::byte *data() const override { return start; }
  int64_t bytes() const override { return size; }

private:
  std::byte *start;
  int64_t size;
};

/// Processors that this process may run on, which a container may have fewer of than the machine.
int usableProcessors() {
#if defined(__linux__)
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof(set), &set) == 0 && CPU_COUNT(&set) > 0)
    return CPU_COUNT(&set);
#endif
  unsigned count = std::thread::hardware_concurrency();
  return count ? static_cast<int>(count) : 1;
}

cpu::KernelSet kernelSetOf(CpuIsa isa) {
#if defined(EVO_CPU_HAS_X86_LEVELS)
  if (isa == CpuIsa::V4)
    return cpu::v4::kernelSet();
  if (isa == CpuIsa::V3)
    return cpu::v3::kernelSet();
#endif
  return cpu::baseline::kernelSet();
}

Status checkOperand(const plan::KernelInfo &info, size_t index, const TensorRef &tensor,
                    plan::DType expected) {
  const plan::OperandInfo &operand = info.operands[index];
  auto who = [&] {
    return "kernel '" + std::string(info.mnemonic) + "' operand '" + std::string(operand.name) +
           "' on cpu: ";
  };
  if (!tensor) {
    if (operand.isOptional())
      return {};
    return Status::error(ErrorCode::InvalidPlan, who() + "expected a tensor, got none");
  }
  if (tensor.dtype != expected)
    return Status::error(ErrorCode::Unsupported,
                         who() + "expected element type " + std::string(plan::dtypeName(expected)) +
                             ", got " + std::string(plan::dtypeName(tensor.dtype)));
  if (tensor.rank < 0 || tensor.rank > plan::kMaxRank)
    return Status::error(ErrorCode::InvalidPlan, who() + "expected at most " +
                                                     std::to_string(plan::kMaxRank) +
                                                     " axes, got " + std::to_string(tensor.rank));
  for (int d = 0; d < tensor.rank; ++d)
    if (tensor.strides[static_cast<size_t>(d)] < 0)
      return Status::error(ErrorCode::InvalidPlan,
                           who() + "expected strides of at least 0, got " +
                               std::to_string(tensor.strides[static_cast<size_t>(d)]) +
                               " on axis " + std::to_string(d));
  return {};
}

cpu::Operand operandOf(const TensorRef &tensor) {
  cpu::Operand operand;
  operand.data = tensor.data;
  operand.rank = tensor.rank;
  for (int d = 0; tensor && d < tensor.rank; ++d) {
    operand.shape[d] = tensor.shape[static_cast<size_t>(d)];
    operand.strides[d] = tensor.strides[static_cast<size_t>(d)];
  }
  return operand;
}

Status unsupportedPrecision(plan::Precision precision) {
  return Status::error(ErrorCode::Unsupported,
                       "expected precision fp32, tf32 or fp64 on cpu, got " +
                           std::string(plan::precisionName(precision)) +
                           "; compile the plan with one of these");
}

} // namespace

std::string_view cpuIsaName(CpuIsa isa) {
  switch (isa) {
  case CpuIsa::V4:
    return "x86-64-v4";
  case CpuIsa::V3:
    return "x86-64-v3";
  case CpuIsa::Baseline:
    break;
  }
  return "baseline";
}

bool cpuIsaAvailable(CpuIsa isa) {
  if (isa == CpuIsa::Baseline)
    return true;
#if defined(EVO_CPU_HAS_X86_LEVELS)
  bool v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
            __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
  if (isa == CpuIsa::V3)
    return v3;
  return v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vl");
#else
  return false;
#endif
}

CpuIsa bestCpuIsa() {
  for (CpuIsa isa : {CpuIsa::V4, CpuIsa::V3})
    if (cpuIsaAvailable(isa))
      return isa;
  return CpuIsa::Baseline;
}

CpuBackend::CpuBackend(int threads, CpuIsa isa)
    : isa(isa), kernels(kernelSetOf(isa)), pool(threads, cpu::kScratchBytes) {
  cpu::makeBlasSingleThreaded();
}

std::string CpuBackend::description() const {
  return "cpu, " + std::to_string(threads()) + (threads() == 1 ? " thread, " : " threads, ") +
         std::string(cpuIsaName(isa)) + " kernels, " +
         cpu::blasDescription(cpuIsaAvailable(CpuIsa::V4)) + ", " + std::to_string(scratchBytes()) +
         " bytes of scratch";
}

bool CpuBackend::supports(plan::Precision precision) const {
  return precision == plan::Precision::Fp32 || precision == plan::Precision::Tf32 ||
         precision == plan::Precision::Fp64;
}

Result<std::unique_ptr<DeviceMemory>> CpuBackend::allocate(int64_t bytes) {
  if (bytes < 0)
    return Status::error(ErrorCode::InvalidInput,
                         "expected a size of at least 0 bytes, got " + std::to_string(bytes));
  auto memory = std::make_unique<HostMemory>(bytes);
  if (!memory->data())
    return Status::error(ErrorCode::OutOfMemory,
                         "expected " + std::to_string(bytes) +
                             " bytes of host memory, the system refused; use a plan with a "
                             "smaller --memory");
  return std::unique_ptr<DeviceMemory>(std::move(memory));
}

Status CpuBackend::upload(std::byte *device, const void *host, int64_t bytes) {
  if (bytes > 0)
    std::memcpy(device, host, static_cast<size_t>(bytes));
  return {};
}

Status CpuBackend::download(void *host, const std::byte *device, int64_t bytes) {
  if (bytes > 0)
    std::memcpy(host, device, static_cast<size_t>(bytes));
  return {};
}

Status CpuBackend::launch(const KernelCall &call) {
  if (!supports(call.precision))
    return unsupportedPrecision(call.precision);
  const plan::KernelInfo &info = plan::kernelInfo(call.kernel);
  constexpr size_t kMaxOperands = 16;
  cpu::Operand operands[kMaxOperands];
  if (call.operands.size() != info.operands.size() || call.operands.size() > kMaxOperands)
    return Status::error(ErrorCode::InvalidPlan,
                         "kernel '" + std::string(info.mnemonic) + "' on cpu: expected " +
                             std::to_string(info.operands.size()) + " operands, got " +
                             std::to_string(call.operands.size()));
  // Statistics have the storage type in the precisions that are supported here.
  plan::DType expected = plan::storageType(call.precision);
  for (size_t i = 0; i < call.operands.size(); ++i) {
    EVO_TRY(checkOperand(info, i, call.operands[i], expected));
    operands[i] = operandOf(call.operands[i]);
  }
  const cpu::KernelFunction *table = expected == plan::DType::F64 ? kernels.fp64 : kernels.fp32;
  table[static_cast<size_t>(call.kernel)](
      cpu::Launch{operands, call.attributes, &pool, call.dropout});
  return {};
}

Result<std::unique_ptr<Backend>> createCpuBackend(int threads) {
  return createCpuBackend(threads, bestCpuIsa());
}

Result<std::unique_ptr<Backend>> createCpuBackend(int threads, CpuIsa isa) {
  if (threads < 0 || threads > kMaxThreads)
    return Status::error(ErrorCode::InvalidInput, "expected threads in [0, " +
                                                      std::to_string(kMaxThreads) + "], got " +
                                                      std::to_string(threads));
  if (!cpuIsaAvailable(isa))
    return Status::error(ErrorCode::Unsupported, "expected a processor with " +
                                                     std::string(cpuIsaName(isa)) +
                                                     ", got one without it");
  try {
    return std::unique_ptr<Backend>(std::make_unique<CpuBackend>(
        threads ? threads : std::min(usableProcessors(), kMaxThreads), isa));
  } catch (const std::bad_alloc &) {
    return Status::error(ErrorCode::OutOfMemory,
                         "expected memory for the workers' scratch, the system refused; use "
                         "fewer --threads");
  } catch (const std::system_error &error) {
    return Status::error(ErrorCode::OutOfMemory,
                         std::string("expected to start worker threads, got: ") + error.what() +
                             "; use fewer --threads");
  }
}

} // namespace evo
