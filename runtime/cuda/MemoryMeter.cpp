//===- MemoryMeter.cpp ------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "runtime/cuda/MemoryMeter.h"

#include <cuda_runtime_api.h>

#include <dlfcn.h>

namespace evo::cuda {

namespace {

/// nvmlMemory_t. The library's header is not part of every toolkit.
struct ManagedMemory {
  unsigned long long total, free, used;
};

/// A function of the management library, which the driver brings; null where there is none.
template <class Function> Function *managementFunction(const char *name) {
  static void *const library = dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  return library ? reinterpret_cast<Function *>(dlsym(library, name)) : nullptr;
}

/// The management library's handle of a CUDA device, found by its place on the bus.
void *managedDevice(int number) {
  auto *start = managementFunction<int()>("nvmlInit_v2");
  auto *find = managementFunction<int(const char *, void **)>("nvmlDeviceGetHandleByPciBusId_v2");
  char place[32] = {};
  void *device = nullptr;
  if (!start || !find || start() != 0 ||
      cudaDeviceGetPCIBusId(place, sizeof place, number) != cudaSuccess ||
      find(place, &device) != 0)
    return nullptr;
  return device;
}

} // namespace

MemoryMeter::MemoryMeter(int device) : device(managedDevice(device)), number(device) {
  if (this->device)
    atStart = usedBytes();
}

std::optional<int64_t> MemoryMeter::usedBytes() const {
  if (device) {
    auto *ask = managementFunction<int(void *, ManagedMemory *)>("nvmlDeviceGetMemoryInfo");
    ManagedMemory memory{};
    if (ask && ask(device, &memory) == 0)
      return static_cast<int64_t>(memory.total - memory.free);
    return std::nullopt;
  }
  size_t free = 0, total = 0;
  if (cudaSetDevice(number) != cudaSuccess || cudaMemGetInfo(&free, &total) != cudaSuccess)
    return std::nullopt;
  return static_cast<int64_t>(total - free);
}

std::optional<int64_t> MemoryMeter::takenBytes() const {
  std::optional<int64_t> now = usedBytes();
  if (!now || !atStart)
    return std::nullopt;
  return *now - *atStart;
}

void MemoryMeter::contextIsMade() {
  if (!atStart)
    atStart = usedBytes();
}

} // namespace evo::cuda
