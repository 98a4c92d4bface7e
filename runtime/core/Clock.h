//===- Clock.h - the clock of runs and traces -------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#pragma once

#include <chrono>
#include <cstdint>
#include <ctime>

namespace evo {

/// Nanoseconds of a steady clock, from some fixed moment.
inline int64_t nowNs() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

/// Nanoseconds that the calling thread has spent on a processor.
inline int64_t threadNs() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

/// The time of a run in milliseconds.
inline double nowMs() { return static_cast<double>(nowNs()) / 1e6; }

} // namespace evo
