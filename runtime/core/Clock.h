//===- Clock.h - the clock of runs and traces -------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#pragma once

#include <chrono>
#include <cstdint>

namespace evo {

/// Nanoseconds of a steady clock, from some fixed moment.
inline int64_t nowNs() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

/// The same in milliseconds.
inline double nowMs() { return static_cast<double>(nowNs()) / 1e6; }

} // namespace evo
