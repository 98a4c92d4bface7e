//===- ThreadPool.h - workers with scratch ----------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// Runs numbered tasks on a fixed set of threads. Which worker runs which task is left to chance; a
// task may therefore depend on its number only, and kernels cut their work into tasks by shape
// alone, never by the thread count. Every worker owns one block of scratch, allocated when the pool
// is made.
//===----------------------------------------------------------------------===//
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace evo::cpu {

/// One worker's scratch, aligned to 64 bytes. Contents are undefined when a task begins.
struct Workspace {
  std::byte *data = nullptr;
  int64_t bytes = 0;
};

/// `context` is what the caller of `run` gave.
using Task = void (*)(const void *context, int64_t index, const Workspace &workspace);

class ThreadPool {
public:
  /// `threads` >= 1, the calling thread among them. Throws std::bad_alloc or std::system_error.
  ThreadPool(int threads, int64_t scratchBytesPerWorker);
  ~ThreadPool();
  ThreadPool(const ThreadPool &) = delete;
  ThreadPool &operator=(const ThreadPool &) = delete;

  /// Runs task(context, i) for every i in [0, count) and returns when all have ended. Tasks throw
  /// nothing. One caller at a time.
  void run(int64_t count, Task task, const void *context);

  int threads() const { return static_cast<int>(scratch.size()); }
  int64_t scratchBytes() const { return bytesPerWorker * threads(); }
  /// The first worker's scratch, which is there for every thread count. Tasks that stay out of a
  /// part of their own scratch may leave there what the caller's next `run` reads.
  std::byte *firstScratch() const;

private:
  struct AlignedDelete {
    void operator()(std::byte *data) const;
  };
  void stop();
  void workerLoop(int worker);
  void drain(int worker);
  bool waitForJob(uint64_t seen);

  int64_t bytesPerWorker;
  std::vector<std::unique_ptr<std::byte[], AlignedDelete>> scratch; ///< one a worker
  std::vector<std::thread> workers;                                 ///< all but the caller

  std::mutex mutex;
  std::condition_variable wake, done;
  std::atomic<uint64_t> epoch{0}; ///< number of jobs so far
  std::atomic<int> busy{0};       ///< workers that have not left the current job
  std::atomic<int64_t> next{0};   ///< first task that nobody has taken
  bool stopping = false;
  Task jobTask = nullptr;
  const void *jobContext = nullptr;
  int64_t jobCount = 0;
};

} // namespace evo::cpu
