//===- MemoryMeter.cpp ------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "runtime/cuda/MemoryMeter.h"

#include <cuda_runtime_api.h>

#include <dlfcn.h>
#include <vector>

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

std::optional<int64_t> usedBytesOf(void *device) {
  auto *ask = managementFunction<int(void *, ManagedMemory *)>("nvmlDeviceGetMemoryInfo");
  ManagedMemory memory{};
  if (ask && ask(device, &memory) == 0)
    return static_cast<int64_t>(memory.total - memory.free);
  return std::nullopt;
}

/// A device of the management library, and what it had given when it was first looked at.
struct Start {
  void *device;
  std::optional<int64_t> usedBytes;
};

std::vector<Start> lookAtAll() {
  auto *start = managementFunction<int()>("nvmlInit_v2");
  auto *count = managementFunction<int(unsigned *)>("nvmlDeviceGetCount_v2");
  auto *find = managementFunction<int(unsigned, void **)>("nvmlDeviceGetHandleByIndex_v2");
  std::vector<Start> starts;
  unsigned devices = 0;
  if (!start || !count || !find || start() != 0 || count(&devices) != 0)
    return starts;
  for (unsigned i = 0; i < devices; ++i)
    if (void *device = nullptr; find(i, &device) == 0)
      starts.push_back({device, usedBytesOf(device)});
  return starts;
}

const std::vector<Start> &starts() {
  static const std::vector<Start> all = lookAtAll();
  return all;
}

/// The management library's handle of a CUDA device, found by its place on the bus.
void *managedDevice(int number) {
  auto *find = managementFunction<int(const char *, void **)>("nvmlDeviceGetHandleByPciBusId_v2");
  char place[32] = {};
  void *device = nullptr;
  if (starts().empty() || !find ||
      cudaDeviceGetPCIBusId(place, sizeof place, number) != cudaSuccess ||
      find(place, &device) != 0)
    return nullptr;
  return device;
}

} // namespace

MemoryMeter::MemoryMeter(int device) : device(managedDevice(device)), number(device) {
  for (const Start &start : starts())
    if (this->device && start.device == this->device)
      atStart = start.usedBytes;
}

void MemoryMeter::noteStart() { starts(); }

std::optional<int64_t> MemoryMeter::usedBytes() const {
  if (device)
    return usedBytesOf(device);
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
