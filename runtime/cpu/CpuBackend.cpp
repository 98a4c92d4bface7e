//===- CpuBackend.cpp -------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "runtime/cpu/CpuBackend.h"

#include "runtime/cpu/Blas.h"

#include <algorithm>
#include <cstring>
#include <fstream>
#include <new>
#include <system_error>

#if defined(__linux__)
#include <sched.h>
#include <unistd.h>
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

/// Grows where the kernels' speed changes: a table of another revision tells nothing of these.
constexpr int64_t kKernelRevision = 1;

/// "AMD EPYC 9B45 64-Core Processor", or the architecture where the system does not say.
std::string processorName() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    size_t colon = line.find(": ");
    if (line.starts_with("model name") && colon != std::string::npos)
      return line.substr(colon + 2);
  }
#if defined(__aarch64__)
  return "aarch64";
#else
  return "unnamed processor";
#endif
}

int64_t physicalBytes() {
#if defined(__linux__)
  long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
  if (pages > 0 && size > 0)
    return int64_t{pages} * size;
#endif
  return int64_t{16} << 30;
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
                    plan::Precision precision) {
  const plan::OperandInfo &operand = info.operands[index];
  plan::DType storage = plan::storageType(precision), statistic = plan::statisticType(precision);
  bool mayBeStorage = operand.type != plan::OperandType::Statistic;
  bool mayBeStatistic = operand.type != plan::OperandType::Storage;
  auto who = [&] {
    return "kernel '" + std::string(info.mnemonic) + "' operand '" + std::string(operand.name) +
           "' on cpu: ";
  };
  if (!tensor) {
    if (operand.isOptional())
      return {};
    return Status::error(ErrorCode::InvalidPlan, who() + "expected a tensor, got none");
  }
  if (!(mayBeStorage && tensor.dtype == storage) &&
      !(mayBeStatistic && tensor.dtype == statistic)) {
    std::string expected(plan::dtypeName(mayBeStorage ? storage : statistic));
    if (mayBeStorage && mayBeStatistic && storage != statistic)
      expected += " or " + std::string(plan::dtypeName(statistic));
    return Status::error(ErrorCode::Unsupported, who() + "expected element type " + expected +
                                                     ", got " +
                                                     std::string(plan::dtypeName(tensor.dtype)));
  }
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
  operand.type = tensor.dtype;
  operand.rank = tensor.rank;
  for (int d = 0; tensor && d < tensor.rank; ++d) {
    operand.shape[d] = tensor.shape[static_cast<size_t>(d)];
    operand.strides[d] = tensor.strides[static_cast<size_t>(d)];
  }
  return operand;
}

/// Sums of attention's outputs are kept in scratch where plans store half.
Status checkHeadWidth(const KernelCall &call, const plan::KernelInfo &info) {
  bool sums = call.kernel == plan::Kernel::Attention || call.kernel == plan::Kernel::AttentionGrad;
  const TensorRef &query = call.operands[0];
  if (!sums || query.rank != 3 || plan::elementBytes(query.dtype) != 2)
    return {};
  int64_t width = query.shape[2] / std::max<int64_t>(call.attributes->heads, 1);
  if (width <= cpu::kMostHalfHeadWidth)
    return {};
  return Status::error(ErrorCode::Unsupported,
                       "kernel '" + std::string(info.mnemonic) +
                           "' on cpu: expected a head width of at most " +
                           std::to_string(cpu::kMostHalfHeadWidth) + " in bf16 and fp16, got " +
                           std::to_string(width) + "; compile the plan with --dtype=fp32");
}

const cpu::KernelFunction *tableOf(const cpu::KernelSet &kernels, plan::DType storage) {
  switch (storage) {
  case plan::DType::F64:
    return kernels.fp64;
  case plan::DType::F16:
    return kernels.fp16;
  case plan::DType::BF16:
    return kernels.bf16;
  case plan::DType::F32:
    break;
  }
  return kernels.fp32;
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

DeviceIdentity CpuBackend::identity() const {
  return {processorName() + ", " + std::string(cpuIsaName(isa)) + ", " +
              cpu::blasDescription(false),
          threads(),
          kKernelRevision,
          physicalBytes(),
          /*libraryBytes=*/0,
          /*workspaceBytes=*/0};
}

std::string CpuBackend::description() const {
  return "cpu, " + std::to_string(threads()) + (threads() == 1 ? " thread, " : " threads, ") +
         std::string(cpuIsaName(isa)) + " kernels, " +
         cpu::blasDescription(cpuIsaAvailable(CpuIsa::V4)) + ", " + std::to_string(scratchBytes()) +
         " bytes of scratch";
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
  const plan::KernelInfo &info = plan::kernelInfo(call.kernel);
  constexpr size_t kMaxOperands = 16;
  cpu::Operand operands[kMaxOperands];
  if (call.operands.size() != info.operands.size() || call.operands.size() > kMaxOperands)
    return Status::error(ErrorCode::InvalidPlan,
                         "kernel '" + std::string(info.mnemonic) + "' on cpu: expected " +
                             std::to_string(info.operands.size()) + " operands, got " +
                             std::to_string(call.operands.size()));
  for (size_t i = 0; i < call.operands.size(); ++i) {
    EVO_TRY(checkOperand(info, i, call.operands[i], call.precision));
    operands[i] = operandOf(call.operands[i]);
  }
  EVO_TRY(checkHeadWidth(call, info));
  const cpu::KernelFunction *table = tableOf(kernels, plan::storageType(call.precision));
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
