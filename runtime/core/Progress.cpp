//===- Progress.cpp ---------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "runtime/core/Progress.h"

#include <algorithm>

namespace evo {

namespace {
constexpr int64_t kTerminalNs = 100'000'000;
constexpr int64_t kLogNs = 10'000'000'000;
} // namespace

Progress::Progress(std::function<void(std::string_view)> sink, bool terminal, std::string unit)
    : sink(std::move(sink)), terminal(terminal), unit(std::move(unit)) {}

void Progress::report(std::string_view what, int64_t done, int64_t all, int64_t nowNs) {
  if (!started) {
    started = true;
    lastNs = terminal ? nowNs - kTerminalNs : nowNs;
  }
  bool due = nowNs - lastNs >= (terminal ? kTerminalNs : kLogNs);
  if (!due)
    return;
  lastNs = nowNs;
  std::string line(terminal ? "\r" : "evo-run: ");
  line.append(what).append(": ").append(unit).append(" ").append(std::to_string(done));
  line.append(" of ").append(std::to_string(all));
  if (!terminal) {
    sink(line.append("\n"));
    return;
  }
  size_t shown = line.size() - 1;
  line.append(width > shown ? width - shown : 0, ' ');
  width = std::max(width, shown);
  sink(line);
}

void Progress::finish() {
  if (width > 0)
    sink(std::string("\r").append(width, ' ').append("\r"));
  width = 0;
}

} // namespace evo
