//===- Quickest.h - which of several was quickest ---------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

namespace evo::cuda {

/// The middle one, of an even count the higher of the two; infinite of none.
inline double middleOf(std::vector<double> times) {
  if (times.empty())
    return 1e300;
  auto middle = times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2);
  std::nth_element(times.begin(), middle, times.end());
  return *middle;
}

/// The index of the quickest by its middle time where it beats the first by more than noise: by 2 %
/// at least, and by its slowest time the first's quickest. Else 0. Who has no times failed.
inline size_t quickestOf(const std::vector<std::vector<double>> &times) {
  constexpr double kLeastGain = 0.02;
  size_t best = 0;
  for (size_t i = 1; i < times.size(); ++i)
    if (middleOf(times[i]) < middleOf(times[best]))
      best = i;
  if (best == 0 || times[0].empty())
    return best;
  bool apart = *std::max_element(times[best].begin(), times[best].end()) <
               *std::min_element(times[0].begin(), times[0].end());
  return apart && middleOf(times[best]) <= (1 - kLeastGain) * middleOf(times[0]) ? best : 0;
}

} // namespace evo::cuda
