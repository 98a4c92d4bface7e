//===- Packer.cpp -----------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "compiler/memory/Packer.h"

#include "runtime/plan/DType.h"

#include <boost/graph/adjacency_list.hpp>
#include <boost/graph/connected_components.hpp>

#include <algorithm>
#include <limits>
#include <numeric>
#include <optional>
#include <string>
#include <tuple>
#include <utility>

namespace evo::memory {

namespace {
constexpr Bytes kMaxBytes = std::numeric_limits<Bytes>::max();

enum class Order : uint8_t { Size, Area, Duration, Start };
enum class Fit : uint8_t { First, Best };

Status invalid(std::string message) {
  return Status::error(ErrorCode::InvalidInput, std::move(message));
}

/// The buffers with their sizes rounded up to the alignment.
Result<std::vector<Lifetime>> alignedBuffers(std::span<const Lifetime> buffers, Bytes alignment) {
  if (alignment < 1)
    return invalid("alignment: expected at least 1, got " + std::to_string(alignment));
  std::vector<Lifetime> aligned(buffers.begin(), buffers.end());
  for (size_t i = 0; i < aligned.size(); ++i) {
    Lifetime &buffer = aligned[i];
    const std::string where = "buffer " + std::to_string(i);
    if (buffer.size < 0)
      return invalid(where + ": expected a size of at least 0, got " + std::to_string(buffer.size));
    if (buffer.lower >= buffer.upper)
      return invalid(where + ": expected a lifetime [lower, upper) with lower < upper, got [" +
                     std::to_string(buffer.lower) + ", " + std::to_string(buffer.upper) + ")");
    if (buffer.size > kMaxBytes - alignment)
      return invalid(where + ": expected a size that can be rounded up to " +
                     std::to_string(alignment) + " below 2^63, got " + std::to_string(buffer.size));
    buffer.size = plan::alignTo(buffer.size, alignment);
  }
  return aligned;
}

/// The largest sum of live sizes; nothing where it passes 2^63 - 1.
std::optional<Bytes> largestLoad(std::span<const Lifetime> aligned) {
  std::vector<std::pair<TimeStep, Bytes>> changes;
  changes.reserve(aligned.size() * 2);
  for (const Lifetime &buffer : aligned) {
    changes.emplace_back(buffer.lower, buffer.size);
    changes.emplace_back(buffer.upper, -buffer.size);
  }
  // Within a time the ends, which are negative, come first: intervals are half-open.
  std::sort(changes.begin(), changes.end());
  Bytes load = 0, largest = 0;
  for (const auto &[time, change] : changes) {
    if (__builtin_add_overflow(load, change, &load))
      return std::nullopt;
    largest = std::max(largest, load);
  }
  return largest;
}

Status loadOverflow() {
  return invalid("buffers: expected fewer than 2^63 bytes alive together, got more");
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

Result<Bytes> maxLoad(std::span<const Lifetime> buffers, Bytes alignment) {
  EVO_ASSIGN(const std::vector<Lifetime> aligned, alignedBuffers(buffers, alignment));
  std::optional<Bytes> load = largestLoad(aligned);
  if (!load)
    return loadOverflow();
  return *load;
}

/// The portfolio on buffers with aligned sizes; nothing where no packing stays below 2^63 bytes.
static std::optional<Packing> packPortfolio(std::span<const Lifetime> aligned, Bytes bound) {
  std::optional<Packing> lowest;
  for (Order order : {Order::Size, Order::Area, Order::Duration, Order::Start}) {
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

/// Groups of buffers that overlap in time, directly or through others: nothing is live between two
/// groups, so each is packed alone. Groups and their members are in ascending order.
static std::vector<std::vector<size_t>> overlapGroups(std::span<const Lifetime> buffers) {
  std::vector<size_t> byStart(buffers.size());
  std::iota(byStart.begin(), byStart.end(), size_t{0});
  std::sort(byStart.begin(), byStart.end(), [&](size_t a, size_t b) {
    return std::tie(buffers[a].lower, a) < std::tie(buffers[b].lower, b);
  });
  boost::adjacency_list<boost::vecS, boost::vecS, boost::undirectedS> overlaps(buffers.size());
  size_t longest = 0; // the buffer that has lived longest so far: later ones overlap it or nothing
  for (size_t i = 1; i < byStart.size(); ++i) {
    if (buffers[byStart[i]].lower < buffers[byStart[longest]].upper)
      boost::add_edge(byStart[longest], byStart[i], overlaps);
    if (buffers[byStart[i]].upper > buffers[byStart[longest]].upper)
      longest = i;
  }
  std::vector<size_t> group(buffers.size());
  size_t count = buffers.empty() ? 0 : boost::connected_components(overlaps, group.data());
  std::vector<std::vector<size_t>> groups(count);
  for (size_t i = 0; i < buffers.size(); ++i)
    groups[group[i]].push_back(i);
  return groups;
}

Result<Packing> pack(std::span<const Lifetime> buffers, Bytes alignment) {
  EVO_ASSIGN(const std::vector<Lifetime> aligned, alignedBuffers(buffers, alignment));
  std::optional<Bytes> bound = largestLoad(aligned);
  if (!bound)
    return loadOverflow();
  Packing packing;
  packing.offsets.resize(aligned.size());
  packing.lowerBound = *bound;
  for (const std::vector<size_t> &group : overlapGroups(aligned)) {
    std::vector<Lifetime> members;
    for (size_t index : group)
      members.push_back(aligned[index]);
    std::optional<Packing> part = packPortfolio(members, *largestLoad(members));
    if (!part)
      return invalid("buffers: expected a packing below 2^63 bytes, got none");
    for (size_t i = 0; i < group.size(); ++i)
      packing.offsets[group[i]] = part->offsets[i];
    packing.height = std::max(packing.height, part->height);
  }
  return packing;
}

} // namespace evo::memory
