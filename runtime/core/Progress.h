//===- Progress.h - a line that says how far --------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace evo {

/// On a terminal one line that rewrites itself, ten times a second at most; elsewhere a line every
/// ten seconds, so that a log stays short and a short run is silent.
class Progress {
public:
  /// `unit` is what is counted.
  Progress(std::function<void(std::string_view)> sink, bool terminal, std::string unit = "block");
  /// `what` is "warm-up 1/1", "iteration 2/5" or "step 7/100, loss 0.123, 4.5 steps/s"; `nowNs` is
  /// any steady clock.
  void report(std::string_view what, int64_t done, int64_t all, int64_t nowNs);
  /// Clears the terminal's line.
  void finish();

private:
  std::function<void(std::string_view)> sink;
  bool terminal;
  std::string unit;
  bool started = false;
  int64_t lastNs = 0;
  size_t width = 0; ///< of the line on the terminal
};

} // namespace evo
