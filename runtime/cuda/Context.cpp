//===- Context.cpp ----------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "runtime/cuda/Context.h"

#include "runtime/cuda/Error.h"
#include "runtime/cuda/Product.h"
#include "runtime/cuda/kernels/WeightGradHopper.h"

namespace evo::cuda {

Context::Context(std::shared_ptr<const MemoryStart> start, int device)
    : device(device), meter(std::move(start), device) {}

void Context::prepareHopper() {
  constexpr const char *kName = "cuTensorMapEncodeTiled";
  void *function = nullptr;
  cudaDriverEntryPointQueryResult found{};
#if CUDART_VERSION >= 12050
  cudaError_t error =
      cudaGetDriverEntryPointByVersion(kName, &function, 12000, cudaEnableDefault, &found);
#else
  cudaError_t error = cudaGetDriverEntryPoint(kName, &function, cudaEnableDefault, &found);
#endif
  // Other kernels do without.
  if (statusOf(error, kName).ok() && found == cudaDriverEntryPointSuccess)
    encodeTensorMap = reinterpret_cast<decltype(encodeTensorMap)>(function);
  weightClusters = findWeightClusters();
}

Result<std::unique_ptr<Context>> Context::create(std::shared_ptr<const MemoryStart> start,
                                                 int device) {
  int devices = 0;
  cudaError_t error = cudaGetDeviceCount(&devices);
  if (error != cudaSuccess || devices == 0)
    return Status::error(ErrorCode::Unsupported,
                         std::string("expected a CUDA device on this machine, got none (") +
                             (error == cudaSuccess ? "no device" : cudaGetErrorString(error)) +
                             "); use --backend=cpu");
  if (device < 0 || device >= devices)
    return Status::error(ErrorCode::InvalidInput, "--device: expected a CUDA device in [0, " +
                                                      std::to_string(devices) + "), got " +
                                                      std::to_string(device));
  std::unique_ptr<Context> context(new Context(std::move(start), device));
  cudaDeviceProp properties;
  EVO_CUDA_TRY(cudaGetDeviceProperties(&properties, device));
  context->deviceName = properties.name;
  context->processors = properties.multiProcessorCount;
  context->isHopper = properties.major == 9 && properties.minor == 0;
  context->memoryBytes = static_cast<int64_t>(properties.totalGlobalMem);
  EVO_CUDA_TRY(cudaSetDevice(device));
  EVO_CUDA_TRY(cudaStreamCreateWithFlags(&context->stream, cudaStreamNonBlocking));
  if (context->isHopper)
    context->prepareHopper();
  constexpr size_t kArrivalBytes = kArrivals * sizeof(uint32_t);
  context->meter.contextIsMade();
  EVO_CUDA_TRY(cudaMalloc(reinterpret_cast<void **>(&context->arrivals), kArrivalBytes));
  EVO_CUDA_TRY(cudaMemsetAsync(context->arrivals, 0, kArrivalBytes, context->stream));
  EVO_CUDA_TRY(cudaMalloc(reinterpret_cast<void **>(&context->dropoutKey), 2 * sizeof(uint32_t)));
  EVO_CUDA_TRY(cudaMemsetAsync(context->dropoutKey, 0, 2 * sizeof(uint32_t), context->stream));
  EVO_ASSIGN(context->lt, CublasLt::load());
  EVO_TRY(context->lt->statusOf(context->lt->cublasLtCreate(&context->handle), "cublasLtCreate"));
  return context;
}

Status Context::checked(cudaError_t error, const char *expression) const {
  if (error == cudaSuccess) // replays have no time for texts that nobody reads
    return {};
  return statusOf(error, expression).withContext(where());
}

Status Context::use() const { return checked(cudaSetDevice(device), "cudaSetDevice"); }

std::string Context::where() const {
  return "cuda device " + std::to_string(device) + " (" + deviceName + ")";
}

void Context::setWorkspace(std::byte *start) {
  scratch = start;
  workspace = scratch + kScratchBytes;
  packed = workspace + kLibraryWorkspaceBytes;
}

Context::~Context() {
  products.clear();
  cudaSetDevice(device);
  if (handle)
    lt->cublasLtDestroy(handle);
  if (stream)
    cudaStreamSynchronize(stream);
  cudaFree(dropoutKey);
  cudaFree(arrivals);
  if (stream)
    cudaStreamDestroy(stream);
}

} // namespace evo::cuda
