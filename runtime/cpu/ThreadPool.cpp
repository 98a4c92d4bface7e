//===- ThreadPool.cpp -------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "runtime/cpu/ThreadPool.h"

#include <new>

namespace evo::cpu {

namespace {

constexpr std::align_val_t kScratchAlignment{4096};

/// Kernels follow each other within microseconds, far less than a sleep and a wake-up take; longer
/// waits leave the core to others.
constexpr int kSpins = 2000;

void relax() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#else
  std::this_thread::yield();
#endif
}

} // namespace

void ThreadPool::AlignedDelete::operator()(std::byte *data) const {
  ::operator delete[](data, kScratchAlignment);
}

ThreadPool::ThreadPool(int threads, int64_t scratchBytesPerWorker)
    : bytesPerWorker(scratchBytesPerWorker) {
  for (int i = 0; i < threads; ++i)
    scratch.emplace_back(static_cast<std::byte *>(
        ::operator new[](static_cast<size_t>(bytesPerWorker), kScratchAlignment)));
  workers.reserve(static_cast<size_t>(threads - 1));
  try {
    for (int i = 1; i < threads; ++i)
      workers.emplace_back([this, i] { workerLoop(i); });
  } catch (...) {
    stop();
    throw;
  }
}

ThreadPool::~ThreadPool() { stop(); }

void ThreadPool::stop() {
  {
    std::lock_guard lock(mutex);
    stopping = true;
    ++epoch;
  }
  wake.notify_all();
  for (std::thread &worker : workers)
    worker.join();
}

void ThreadPool::drain(int worker) {
  Workspace workspace{scratch[static_cast<size_t>(worker)].get(), bytesPerWorker};
  for (int64_t i = next.fetch_add(1); i < jobCount; i = next.fetch_add(1))
    jobTask(jobContext, i, workspace);
}

bool ThreadPool::waitForJob(uint64_t seen) {
  for (int spin = 0; spin < kSpins && epoch.load(std::memory_order_acquire) == seen; ++spin)
    relax();
  std::unique_lock lock(mutex);
  wake.wait(lock, [&] { return epoch.load() != seen; });
  return !stopping;
}

void ThreadPool::workerLoop(int worker) {
  for (uint64_t seen = 0; waitForJob(seen); ++seen) {
    drain(worker);
    if (busy.fetch_sub(1) == 1) {
      std::lock_guard lock(mutex);
      done.notify_one();
    }
  }
}

std::byte *ThreadPool::firstScratch() const { return scratch[0].get(); }

void ThreadPool::run(int64_t count, Task task, const void *context) {
  if (workers.empty() || count <= 1) {
    Workspace workspace{scratch[0].get(), bytesPerWorker};
    for (int64_t i = 0; i < count; ++i)
      task(context, i, workspace);
    return;
  }
  {
    std::lock_guard lock(mutex);
    jobTask = task;
    jobContext = context;
    jobCount = count;
    next = 0;
    busy = static_cast<int>(workers.size());
    ++epoch;
  }
  wake.notify_all();
  drain(0);
  for (int spin = 0; spin < kSpins && busy.load(std::memory_order_acquire) != 0; ++spin)
    relax();
  std::unique_lock lock(mutex);
  done.wait(lock, [&] { return busy.load() == 0; });
}

} // namespace evo::cpu
