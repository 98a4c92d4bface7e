//===- Reduction.cpp --------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "compiler/memory/Reduction.h"

#include <algorithm>
#include <numeric>
#include <utility>

namespace evo::memory {

namespace {
bool meet(const Lifetime &a, const Lifetime &b) { return a.lower < b.upper && b.lower < a.upper; }
} // namespace

Bytes commonUnit(std::span<const Lifetime> buffers) {
  Bytes unit = 0;
  for (const Lifetime &buffer : buffers)
    unit = std::gcd(unit, buffer.size);
  return std::max<Bytes>(unit, 1);
}

Reduction::Reduction(std::span<const Lifetime> given, Bytes height)
    : buffers(given.begin(), given.end()), unit(commonUnit(given)) {
  stackThroughout();
  units = (height - ground) / unit;
  leaveOutEasy();
  compressTime();
}

void Reduction::stackThroughout() {
  TimeStep first = 0, last = 0;
  for (size_t i = 0; i < buffers.size(); ++i) {
    first = i == 0 ? buffers[i].lower : std::min(first, buffers[i].lower);
    last = i == 0 ? buffers[i].upper : std::max(last, buffers[i].upper);
  }
  // Of the buffers alive at the first end and at the last start, those are alive throughout all
  // that other buffers see: their own margins do not count.
  TimeStep firstEnd = last, lastStart = first;
  for (const Lifetime &buffer : buffers) {
    firstEnd = std::min(firstEnd, buffer.upper);
    lastStart = std::max(lastStart, buffer.lower);
  }
  for (size_t i = 0; i < buffers.size(); ++i) {
    if (buffers[i].lower < firstEnd && lastStart < buffers[i].upper) {
      throughout.push_back(i);
      ground += buffers[i].size;
    } else {
      kept.push_back(i);
    }
  }
}

void Reduction::leaveOutEasy() {
  // A buffer of `size` units has units - size + 1 places; another one takes size + other - 1 of
  // them at most.
  for (bool changed = true; changed;) {
    changed = false;
    for (size_t at = 0; at < kept.size(); ++at) {
      const Lifetime &buffer = buffers[kept[at]];
      const int64_t size = buffer.size / unit;
      __int128 places = static_cast<__int128>(units) - size + 1;
      for (size_t other : kept)
        if (other != kept[at] && meet(buffer, buffers[other]))
          places -= static_cast<__int128>(size) + buffers[other].size / unit - 1;
      if (places <= 0)
        continue;
      easy.push_back(kept[at]);
      kept.erase(kept.begin() + static_cast<ptrdiff_t>(at));
      --at;
      changed = true;
    }
  }
}

void Reduction::compressTime() {
  std::vector<TimeStep> starts, ends;
  for (size_t index : kept) {
    starts.push_back(buffers[index].lower);
    ends.push_back(buffers[index].upper);
  }
  std::sort(starts.begin(), starts.end());
  starts.erase(std::unique(starts.begin(), starts.end()), starts.end());
  std::sort(ends.begin(), ends.end());
  // What is alive at a start is a largest set where something ends before or at the next start.
  std::vector<TimeStep> moments;
  for (size_t i = 0; i < starts.size(); ++i) {
    auto end = std::upper_bound(ends.begin(), ends.end(), starts[i]);
    if (i + 1 == starts.size() || (end != ends.end() && *end <= starts[i + 1]))
      moments.push_back(starts[i]);
  }
  auto momentsBefore = [&](TimeStep time) {
    return static_cast<int32_t>(std::lower_bound(moments.begin(), moments.end(), time) -
                                moments.begin());
  };
  fit.sections = static_cast<int32_t>(moments.size());
  for (size_t index : kept)
    fit.items.push_back({momentsBefore(buffers[index].lower), momentsBefore(buffers[index].upper),
                         buffers[index].size / unit});
}

/// The lowest room above the ground beside the buffers already placed.
Bytes Reduction::lowestGap(size_t buffer, std::span<const Bytes> offsets,
                           const std::vector<bool> &isPlaced) const {
  std::vector<std::pair<Bytes, Bytes>> taken;
  for (size_t other = 0; other < buffers.size(); ++other)
    if (isPlaced[other] && meet(buffers[buffer], buffers[other]))
      taken.emplace_back(offsets[other], offsets[other] + buffers[other].size);
  std::sort(taken.begin(), taken.end());
  Bytes offset = ground;
  for (const auto &[from, to] : taken) {
    if (from >= offset && from - offset >= buffers[buffer].size)
      break;
    offset = std::max(offset, to);
  }
  return offset;
}

std::vector<Bytes> Reduction::expand(std::span<const int64_t> offsets) const {
  std::vector<Bytes> all(buffers.size(), 0);
  std::vector<bool> isPlaced(buffers.size(), false);
  Bytes top = 0;
  for (size_t index : throughout) {
    all[index] = top;
    top += buffers[index].size;
    isPlaced[index] = true;
  }
  for (size_t i = 0; i < kept.size(); ++i) {
    all[kept[i]] = ground + offsets[i] * unit;
    isPlaced[kept[i]] = true;
  }
  // The last one left out reckoned with the fewest others.
  for (size_t i = easy.size(); i-- > 0;) {
    all[easy[i]] = lowestGap(easy[i], all, isPlaced);
    isPlaced[easy[i]] = true;
  }
  return all;
}

} // namespace evo::memory
