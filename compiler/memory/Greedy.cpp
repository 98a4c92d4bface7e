//===- Greedy.cpp - buffers placed one by one -------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "compiler/memory/Greedy.h"

#include <algorithm>
#include <limits>
#include <numeric>
#include <tuple>
#include <utility>

namespace evo::memory {

namespace {
constexpr Bytes kMaxBytes = std::numeric_limits<Bytes>::max();

enum class Order : uint8_t { Size, Area, Duration, Start, Load, End };
enum class Fit : uint8_t { First, Best };

/// The largest sum of live sizes within each lifetime.
std::vector<Bytes> loadsOf(std::span<const Lifetime> aligned) {
  std::vector<Bytes> atStart(aligned.size(), 0), loads(aligned.size(), 0);
  for (size_t i = 0; i < aligned.size(); ++i)
    for (const Lifetime &other : aligned)
      if (other.lower <= aligned[i].lower && aligned[i].lower < other.upper)
        atStart[i] += other.size;
  for (size_t i = 0; i < aligned.size(); ++i)
    for (size_t j = 0; j < aligned.size(); ++j)
      if (aligned[i].lower <= aligned[j].lower && aligned[j].lower < aligned[i].upper)
        loads[i] = std::max(loads[i], atStart[j]);
  return loads;
}

std::vector<size_t> sortedOrder(std::span<const Lifetime> aligned, Order order) {
  // Durations may take all 64 bits, areas 127.
  auto duration = [&](size_t i) {
    return static_cast<uint64_t>(aligned[i].upper) - static_cast<uint64_t>(aligned[i].lower);
  };
  auto area = [&](size_t i) {
    return static_cast<unsigned __int128>(duration(i)) * static_cast<uint64_t>(aligned[i].size);
  };
  std::vector<size_t> indices(aligned.size());
  std::iota(indices.begin(), indices.end(), size_t{0});
  std::vector<Bytes> loads;
  if (order == Order::Load)
    loads = loadsOf(aligned);
  // The index last: a total order, so that ties fall the same way everywhere.
  std::sort(indices.begin(), indices.end(), [&](size_t a, size_t b) {
    const Bytes sizeA = aligned[a].size, sizeB = aligned[b].size;
    switch (order) {
    case Order::Size:
      return std::tuple(sizeB, duration(b), a) < std::tuple(sizeA, duration(a), b);
    case Order::Area:
      return std::tuple(area(b), sizeB, a) < std::tuple(area(a), sizeA, b);
    case Order::Duration:
      return std::tuple(duration(b), sizeB, a) < std::tuple(duration(a), sizeA, b);
    case Order::Start:
      return std::tuple(aligned[a].lower, sizeB, a) < std::tuple(aligned[b].lower, sizeA, b);
    case Order::Load:
      return std::tuple(loads[b], area(b), a) < std::tuple(loads[a], area(a), b);
    case Order::End:
      return std::tuple(aligned[b].upper, sizeB, a) < std::tuple(aligned[a].upper, sizeA, b);
    }
    return false;
  });
  return indices;
}

/// Places buffers one by one beside those already there.
class Placer {
public:
  Placer(std::span<const Lifetime> aligned, Fit fit) : aligned(aligned), fit(fit) {
    placed.reserve(aligned.size());
  }

  /// The offset of a buffer; nothing where it would end behind 2^63 - 1.
  std::optional<Bytes> place(size_t index) {
    const Lifetime &buffer = aligned[index];
    const Bytes offset = findGap(buffer);
    Bytes end = 0;
    if (__builtin_add_overflow(offset, buffer.size, &end))
      return std::nullopt;
    Placed entry{offset, end, buffer.lower, buffer.upper};
    auto at =
        std::upper_bound(placed.begin(), placed.end(), offset,
                         [](Bytes value, const Placed &other) { return value < other.offset; });
    placed.insert(at, entry);
    height = std::max(height, end);
    return offset;
  }

  Bytes height = 0;

private:
  struct Placed {
    Bytes offset, end;
    TimeStep lower, upper;
  };

  /// The lowest gap between the buffers alive with this one that holds it, or the tightest; the
  /// room above them all is the last resort.
  Bytes findGap(const Lifetime &buffer) const {
    Bytes top = 0, best = 0, bestGap = kMaxBytes;
    for (const Placed &other : placed) {
      if (other.lower >= buffer.upper || buffer.lower >= other.upper)
        continue;
      const Bytes gap = other.offset - top;
      if (gap >= buffer.size && gap < bestGap) {
        if (fit == Fit::First)
          return top;
        best = top;
        bestGap = gap;
      }
      top = std::max(top, other.end);
    }
    return bestGap < kMaxBytes ? best : top;
  }

  std::span<const Lifetime> aligned;
  Fit fit;
  std::vector<Placed> placed; ///< by offset
};

/// One greedy pass; nothing where an offset overflows.
std::optional<Packing> packInOrder(std::span<const Lifetime> aligned,
                                   std::span<const size_t> indices, Fit fit) {
  Packing packing;
  packing.offsets.resize(aligned.size());
  Placer placer(aligned, fit);
  for (size_t index : indices) {
    std::optional<Bytes> offset = placer.place(index);
    if (!offset)
      return std::nullopt;
    packing.offsets[index] = *offset;
  }
  packing.height = placer.height;
  return packing;
}
} // namespace

std::optional<Packing> packGreedily(std::span<const Lifetime> aligned, Bytes bound) {
  std::optional<Packing> lowest;
  for (Order order :
       {Order::Size, Order::Area, Order::Duration, Order::Start, Order::Load, Order::End}) {
    const std::vector<size_t> indices = sortedOrder(aligned, order);
    for (Fit fit : {Fit::First, Fit::Best}) {
      std::optional<Packing> candidate = packInOrder(aligned, indices, fit);
      if (candidate && (!lowest || candidate->height < lowest->height))
        lowest = std::move(candidate);
      if (lowest && lowest->height == bound)
        return lowest;
    }
  }
  return lowest;
}

} // namespace evo::memory
