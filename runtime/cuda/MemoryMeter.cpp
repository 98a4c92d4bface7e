//===- MemoryMeter.cpp ------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "runtime/cuda/MemoryMeter.h"

#include <cuda_runtime_api.h>

#include <dlfcn.h>
#include <utility>

namespace evo::cuda {

namespace {

/// nvmlMemory_t. The library's header is not part of every toolkit.
struct ManagedMemory {
  unsigned long long total, free, used;
};

} // namespace

/// A function of the library; null where there is none.
template <class Function> Function *MemoryStart::function(const char *name) const {
  return library ? reinterpret_cast<Function *>(dlsym(library, name)) : nullptr;
}

MemoryStart::MemoryStart()
    : library(dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE)) {
  auto *begin = function<int()>("nvmlInit_v2");
  auto *count = function<int(unsigned *)>("nvmlDeviceGetCount_v2");
  auto *find = function<int(unsigned, void **)>("nvmlDeviceGetHandleByIndex_v2");
  isOpen = begin && begin() == 0;
  unsigned devices = 0;
  if (!isOpen || !count || !find || count(&devices) != 0)
    return;
  for (unsigned i = 0; i < devices; ++i)
    if (void *device = nullptr; find(i, &device) == 0)
      seen.push_back({device, usedBytes(device)});
}

MemoryStart::~MemoryStart() {
  auto *end = function<int()>("nvmlShutdown");
  if (isOpen && end)
    end();
  if (library)
    dlclose(library);
}

void *MemoryStart::deviceOf(int number) const {
  auto *find = function<int(const char *, void **)>("nvmlDeviceGetHandleByPciBusId_v2");
  char place[32] = {}; // on the bus
  void *device = nullptr;
  if (seen.empty() || !find || cudaDeviceGetPCIBusId(place, sizeof place, number) != cudaSuccess ||
      find(place, &device) != 0)
    return nullptr;
  return device;
}

std::optional<int64_t> MemoryStart::usedBytes(void *device) const {
  auto *ask = function<int(void *, ManagedMemory *)>("nvmlDeviceGetMemoryInfo");
  ManagedMemory memory{};
  if (ask && ask(device, &memory) == 0)
    return static_cast<int64_t>(memory.total - memory.free);
  return std::nullopt;
}

std::optional<int64_t> MemoryStart::usedAtStart(void *device) const {
  for (const Seen &one : seen)
    if (one.device == device)
      return one.usedBytes;
  return std::nullopt;
}

MemoryMeter::MemoryMeter(std::shared_ptr<const MemoryStart> start, int device)
    : start(std::move(start)), device(this->start->deviceOf(device)), number(device) {
  if (this->device)
    atStart = this->start->usedAtStart(this->device);
}

std::optional<int64_t> MemoryMeter::usedBytes() const {
  if (device)
    return start->usedBytes(device);
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
