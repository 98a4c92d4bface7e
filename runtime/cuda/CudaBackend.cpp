//===- CudaBackend.cpp ------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "runtime/cuda/CudaBackend.h"

#include "runtime/cuda/Error.h"
#include "runtime/cuda/Launch.h"
#include "runtime/cuda/Product.h"
#include "runtime/cuda/ProductTuning.h"

#include <algorithm>

namespace evo {

namespace {

using cuda::Context;

/// What context, kernels, cuBLASLt and recordings take together at most.
constexpr int64_t kLibraryBytes = int64_t{624} << 20;
/// Grows where the speed of kernels changes.
constexpr int64_t kKernelRevision = 6;

class CudaMemory : public DeviceMemory {
public:
  CudaMemory(std::byte *start, int64_t size, int device)
      : start(start), size(size), device(device) {}
  ~CudaMemory() override {
    cudaSetDevice(device);
    cudaFree(start);
  }
  CudaMemory(const CudaMemory &) = delete;
  CudaMemory &operator=(const CudaMemory &) = delete;
  std::byte *data() const override { return start; }
  int64_t bytes() const override { return size; }

private:
  std::byte *start;
  int64_t size;
  int device;
};

Status checkOperand(const plan::OperandInfo &operand, const TensorRef &tensor,
                    plan::Precision precision) {
  plan::DType storage = plan::storageType(precision), statistic = plan::statisticType(precision);
  bool mayBeStorage = operand.type != plan::OperandType::Statistic;
  bool mayBeStatistic = operand.type != plan::OperandType::Storage;
  auto error = [&](ErrorCode code, const std::string &what) {
    return Status::error(code, "operand '" + std::string(operand.name) + "': expected " + what);
  };
  if (!tensor)
    return operand.isOptional() ? Status::success()
                                : error(ErrorCode::InvalidPlan, "a tensor, got none");
  if (!(mayBeStorage && tensor.dtype == storage) &&
      !(mayBeStatistic && tensor.dtype == statistic)) {
    std::string expected(plan::dtypeName(mayBeStorage ? storage : statistic));
    if (mayBeStorage && mayBeStatistic && storage != statistic)
      expected += " or " + std::string(plan::dtypeName(statistic));
    return error(ErrorCode::Unsupported, "element type " + expected + ", got " +
                                             std::string(plan::dtypeName(tensor.dtype)));
  }
  if (tensor.rank < 0 || tensor.rank > plan::kMaxRank)
    return error(ErrorCode::InvalidPlan, "at most " + std::to_string(plan::kMaxRank) +
                                             " axes, got " + std::to_string(tensor.rank));
  for (int d = 0; d < tensor.rank; ++d)
    if (int64_t stride = tensor.strides[static_cast<size_t>(d)]; stride < 0)
      return error(ErrorCode::InvalidPlan, "strides of at least 0, got " + std::to_string(stride) +
                                               " on axis " + std::to_string(d));
  return {};
}

cuda::Operand operandOf(const TensorRef &tensor) {
  cuda::Operand operand;
  operand.data = tensor.data;
  operand.type = tensor.dtype;
  operand.rank = tensor ? tensor.rank : 0;
  for (int d = 0; d < operand.rank; ++d) {
    operand.shape[d] = tensor.shape[static_cast<size_t>(d)];
    operand.strides[d] = tensor.strides[static_cast<size_t>(d)];
  }
  return operand;
}

/// A captured graph.
class CudaTape : public Tape {
public:
  CudaTape(cudaGraph_t graph, int64_t nodes) : graph(graph), nodes(nodes) {}
  ~CudaTape() override { cudaGraphDestroy(graph); }
  CudaTape(const CudaTape &) = delete;
  CudaTape &operator=(const CudaTape &) = delete;
  int64_t size() const override { return nodes; }
  cudaGraph_t get() const { return graph; }

private:
  cudaGraph_t graph;
  int64_t nodes;
};

/// A graph that the driver has uploaded.
class CudaRecording : public Recording {
public:
  CudaRecording(cudaGraphExec_t graph, Context &context) : graph(graph), context(context) {}
  ~CudaRecording() override { cudaGraphExecDestroy(graph); }
  CudaRecording(const CudaRecording &) = delete;
  CudaRecording &operator=(const CudaRecording &) = delete;
  Status replay() override {
    EVO_TRY(context.use());
    return context.checked(cudaGraphLaunch(graph, context.stream), "cudaGraphLaunch");
  }

  /// Whether it now launches what `other` does: not where kernels follow each other otherwise.
  bool update(cudaGraph_t other) {
    cudaGraphExecUpdateResultInfo result;
    return cuda::statusOf(cudaGraphExecUpdate(graph, other, &result), "cudaGraphExecUpdate").ok();
  }

private:
  cudaGraphExec_t graph;
  Context &context;
};

/// cuBLASLt, with the context's table.
class CudaProducts : public ProductLibrary {
public:
  explicit CudaProducts(Context &context) : context(context) {}
  std::string name() const override { return context.lt->name(); }
  void follow(const plan::ProductTable &table) override {
    bool known = table.library == name();
    context.table = known ? table : plan::ProductTable();
    context.products.clear();
  }
  Status measure() override { return cuda::tuneProducts(context).withContext(context.where()); }
  const plan::ProductTable &table() const override { return context.table; }

private:
  Context &context;
};

class CudaBackend : public Backend {
public:
  explicit CudaBackend(std::unique_ptr<Context> made)
      : context(std::move(made)), library(*context) {}

  std::string name() const override { return "cuda"; }
  DeviceIdentity identity() const override {
    return {context->deviceName,  1, kKernelRevision, context->memoryBytes, kLibraryBytes,
            cuda::kWorkspaceBytes};
  }
  std::string description() const override {
    return "cuda device " + std::to_string(context->device) + ", " + context->deviceName + ", " +
           context->lt->name() + ", " + std::to_string(cuda::kWorkspaceBytes) +
           " bytes of workspace";
  }
  bool supports(plan::Precision precision) const override {
    return precision != plan::Precision::Fp64;
  }

  Result<std::unique_ptr<DeviceMemory>> allocate(int64_t bytes) override {
    if (bytes < 0)
      return Status::error(ErrorCode::InvalidInput,
                           "expected a size of at least 0 bytes, got " + std::to_string(bytes));
    EVO_TRY(context->use());
    void *data = nullptr;
    Status status = context->checked(
        cudaMalloc(&data, static_cast<size_t>(std::max<int64_t>(bytes, 1))), "cudaMalloc");
    if (!status.ok() && status.code() == ErrorCode::OutOfMemory) {
      size_t free = 0, all = 0;
      cudaMemGetInfo(&free, &all);
      return Status::error(ErrorCode::OutOfMemory,
                           "expected " + std::to_string(bytes) + " bytes of memory on " + where() +
                               ", got " + std::to_string(free) + " free of " + std::to_string(all) +
                               "; use a plan with a smaller --memory");
    }
    EVO_TRY(status);
    return std::unique_ptr<DeviceMemory>(
        std::make_unique<CudaMemory>(static_cast<std::byte *>(data), bytes, context->device));
  }

  Status setWorkspace(std::byte *start, int64_t bytes) override {
    EVO_TRY(checkWorkspace(bytes));
    context->setWorkspace(start);
    return {};
  }

  Status upload(std::byte *device, const void *host, int64_t bytes) override {
    return transfer(device, host, bytes, cudaMemcpyHostToDevice);
  }
  Status download(void *host, const std::byte *device, int64_t bytes) override {
    return transfer(host, device, bytes, cudaMemcpyDeviceToHost);
  }

  Status launch(const KernelCall &call) override {
    const plan::KernelInfo &info = plan::kernelInfo(call.kernel);
    Status status = enqueue(call, info);
    if (status.ok()) // a launch has no time for texts that nobody reads
      return status;
    return status.withContext("kernel '" + std::string(info.mnemonic) + "' on " + where());
  }

  Status synchronize() override {
    EVO_TRY(context->use());
    return context->checked(cudaStreamSynchronize(context->stream), "cudaStreamSynchronize");
  }

  ProductLibrary *productLibrary() override { return &library; }

  std::optional<int64_t> freeBytes() const override {
    size_t free = 0, all = 0;
    if (cudaSetDevice(context->device) != cudaSuccess || cudaMemGetInfo(&free, &all) != cudaSuccess)
      return std::nullopt;
    return static_cast<int64_t>(free);
  }
  std::optional<int64_t> lostBytes() const override { return context->meter.takenBytes(); }

  bool canRecord() const override { return true; }
  Status beginRecording() override {
    EVO_TRY(context->use());
    return context->checked(
        cudaStreamBeginCapture(context->stream, cudaStreamCaptureModeThreadLocal),
        "cudaStreamBeginCapture");
  }
  Result<std::unique_ptr<Tape>> endRecording() override {
    cudaGraph_t graph = nullptr;
    EVO_TRY(
        context->checked(cudaStreamEndCapture(context->stream, &graph), "cudaStreamEndCapture"));
    size_t nodes = 0;
    cudaError_t counted = cudaGraphGetNodes(graph, nullptr, &nodes);
    auto tape = std::make_unique<CudaTape>(graph, static_cast<int64_t>(nodes));
    EVO_TRY(context->checked(counted, "cudaGraphGetNodes"));
    return std::unique_ptr<Tape>(std::move(tape));
  }
  Result<std::unique_ptr<Recording>> load(const Tape &tape,
                                          std::unique_ptr<Recording> old) override {
    EVO_TRY(context->use());
    cudaGraph_t graph = static_cast<const CudaTape &>(tape).get(); // this backend has made both
    if (auto *changed = static_cast<CudaRecording *>(old.get())) {
      if (changed->update(graph))
        return old;
      EVO_TRY(synchronize()); // it may be running
      old.reset();
    }
    cudaGraphExec_t ready = nullptr;
    EVO_TRY(context->checked(cudaGraphInstantiate(&ready, graph, 0), "cudaGraphInstantiate"));
    auto recording = std::make_unique<CudaRecording>(ready, *context);
    // Its memory is taken here, not in a step.
    EVO_TRY(context->checked(cudaGraphUpload(ready, context->stream), "cudaGraphUpload"));
    return std::unique_ptr<Recording>(std::move(recording));
  }
  Status setDropout(uint32_t seed, uint32_t step) override {
    EVO_TRY(context->use());
    return context->setDropout(seed, step).withContext(where());
  }

private:
  std::string where() const { return context->where(); }

  Status transfer(void *to, const void *from, int64_t bytes, cudaMemcpyKind kind) {
    if (bytes <= 0)
      return {};
    EVO_TRY(context->use());
    EVO_TRY(context->checked(
        cudaMemcpyAsync(to, from, static_cast<size_t>(bytes), kind, context->stream),
        "cudaMemcpyAsync"));
    return synchronize(); // the host's memory is the caller's again
  }

  Status enqueue(const KernelCall &call, const plan::KernelInfo &info) {
    constexpr size_t kMaxOperands = 16;
    cuda::Operand operands[kMaxOperands];
    if (call.operands.size() != info.operands.size() || call.operands.size() > kMaxOperands)
      return Status::error(ErrorCode::InvalidPlan,
                           "expected " + std::to_string(info.operands.size()) + " operands, got " +
                               std::to_string(call.operands.size()));
    if (!supports(call.precision))
      return Status::error(ErrorCode::Unsupported,
                           "expected fp32, tf32, bf16 or fp16, got " +
                               std::string(plan::precisionName(call.precision)) +
                               "; run the plan with --backend=cpu");
    if (!context->scratch)
      return Status::error(ErrorCode::InvalidInput,
                           "expected a workspace before the first launch, got none");
    for (size_t i = 0; i < call.operands.size(); ++i) {
      EVO_TRY(checkOperand(info.operands[i], call.operands[i], call.precision));
      operands[i] = operandOf(call.operands[i]);
    }
    EVO_CUDA_TRY(cudaSetDevice(context->device)); // `launch` names it
    const cuda::KernelFunction *table = cuda::kernelTable(plan::storageType(call.precision));
    EVO_TRY(table[static_cast<size_t>(call.kernel)](
        cuda::Launch{operands, call.attributes, context.get(), call.precision, call.dropout}));
    return cuda::statusOf(cudaGetLastError(), "the launch");
  }

  std::unique_ptr<Context> context;
  CudaProducts library;
};

/// What is free on a device that has no memory for a context.
std::string freeText(std::shared_ptr<const cuda::MemoryStart> start, int device) {
  std::optional<int64_t> used = cuda::MemoryMeter(std::move(start), device).usedBytes();
  cudaDeviceProp properties;
  if (!used || cudaGetDeviceProperties(&properties, device) != cudaSuccess)
    return "";
  return ", of whose " + std::to_string(properties.totalGlobalMem) + " bytes " +
         std::to_string(*used) + " are in use";
}

} // namespace

CudaDevices::CudaDevices() : start(std::make_shared<cuda::MemoryStart>()) {}

int CudaDevices::count() const {
  int devices = 0;
  return cudaGetDeviceCount(&devices) == cudaSuccess ? devices : 0;
}

Result<std::unique_ptr<Backend>> CudaDevices::createBackend(int device, bool library) const {
  Result<std::unique_ptr<Context>> made = Context::create(start, device);
  if (!made) {
    ErrorCode code = made.status().code();
    if (code == ErrorCode::Unsupported || code == ErrorCode::InvalidInput)
      return made.status(); // there is no such device
    return made.status().withContext(
        "set-up of cuda device " + std::to_string(device) +
        (code == ErrorCode::OutOfMemory ? freeText(start, device) : ""));
  }
  std::unique_ptr<Context> context = *std::move(made);
  if (!library)
    context->lt->cublasLtMatmulAlgoGetHeuristic = [](auto...) {
      return CUBLAS_STATUS_NOT_SUPPORTED;
    };
  return std::unique_ptr<Backend>(std::make_unique<CudaBackend>(std::move(context)));
}

} // namespace evo
