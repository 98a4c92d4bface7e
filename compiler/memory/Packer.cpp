//===- Packer.cpp -----------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "compiler/memory/Packer.h"

#include "compiler/memory/Greedy.h"
#include "compiler/memory/Reduction.h"
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

} // namespace

Result<Bytes> maxLoad(std::span<const Lifetime> buffers, Bytes alignment) {
  EVO_ASSIGN(const std::vector<Lifetime> aligned, alignedBuffers(buffers, alignment));
  std::optional<Bytes> load = largestLoad(aligned);
  if (!load)
    return loadOverflow();
  return *load;
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

namespace {
/// The search for one group of buffers that overlap in time.
class GroupSearch {
public:
  GroupSearch(std::vector<Lifetime> members, const SearchOptions &options, int64_t nodesLeft)
      : buffers(std::move(members)), options(options), nodesLeft(nodesLeft),
        unit(commonUnit(buffers)), least(*largestLoad(buffers)) {}

  /// Lowers the packing until it is no higher than the goal, or the limit is reached; false where
  /// no packing stays below 2^63 bytes.
  bool run(Bytes goal);

  Packing packing;
  int64_t nodesRemaining() const { return nodesLeft; }
  Bytes leastHeight() const { return least; }

private:
  Verdict attempt(Bytes height, int64_t nodeLimit);

  std::vector<Lifetime> buffers;
  const SearchOptions &options;
  int64_t nodesLeft;
  Bytes unit;
  Bytes least; ///< proven
};

/// One height; a packing that fits replaces the one so far. Descents are short at first and differ
/// in their guides: a bad start costs more than many new ones.
Verdict GroupSearch::attempt(Bytes height, int64_t nodeLimit) {
  const Reduction reduction(buffers, height);
  // Beyond these the sums of the search could pass 2^63, or its states fill the memory.
  constexpr size_t kMostItems = 1500;
  if (reduction.capacity() >= kMaxBytes / 4 || reduction.problem().items.size() > kMostItems)
    return Verdict::LimitReached;
  FitSearch search(reduction.problem(), reduction.capacity(), options.pruning);
  Verdict verdict = Verdict::LimitReached;
  int64_t descent = 1000;
  for (uint64_t i = 0; verdict == Verdict::LimitReached && search.nodes() < nodeLimit; ++i) {
    Guide guide;
    guide.preorder = static_cast<Preorder>(i % 4);
    guide.weighted = i / 4 % 2 == 1;
    guide.tight = true;
    guide.noise = i < 4 ? 0 : 300;
    guide.seed = i;
    verdict = search.run(guide, std::min(descent, nodeLimit - search.nodes()));
    if (i % 4 == 3)
      descent += descent / 2;
  }
  nodesLeft -= search.nodes();
  if (verdict != Verdict::Fits)
    return verdict;
  packing.offsets = reduction.expand(search.offsets());
  packing.height = 0;
  for (size_t i = 0; i < buffers.size(); ++i)
    packing.height = std::max(packing.height, packing.offsets[i] + buffers[i].size);
  return verdict;
}

bool GroupSearch::run(Bytes goal) {
  std::optional<Packing> greedy = packGreedily(buffers, least);
  if (!greedy)
    return false;
  packing = std::move(*greedy);
  Bytes low = std::max(goal, least); // nothing lower is sought; or found, so far
  for (Bytes height = low; packing.height > low && nodesLeft > 0;
       height = low + (packing.height - low) / unit / 2 * unit) {
    const Verdict verdict = attempt(height, std::max<int64_t>(nodesLeft / 2, 1));
    if (verdict == Verdict::Fits)
      continue;
    low = height / unit * unit + unit;
    if (verdict == Verdict::DoesNotFit)
      least = std::max(least, low);
  }
  return true;
}
} // namespace

Result<SearchedPacking> searchPacking(std::span<const Lifetime> buffers, Bytes alignment,
                                      const SearchOptions &options) {
  EVO_ASSIGN(const std::vector<Lifetime> aligned, alignedBuffers(buffers, alignment));
  std::optional<Bytes> bound = largestLoad(aligned);
  if (!bound)
    return loadOverflow();
  SearchedPacking result;
  result.packing.offsets.resize(aligned.size());
  result.packing.lowerBound = result.leastHeight = *bound;
  // No group has to be lower than the highest load, the capacity or a group before it.
  Bytes goal = std::max(*bound, options.capacity.value_or(0));
  for (std::vector<size_t> &group : overlapGroups(aligned)) {
    std::erase_if(group, [&](size_t index) { return aligned[index].size == 0; });
    std::vector<Lifetime> members;
    for (size_t index : group)
      members.push_back(aligned[index]);
    GroupSearch search(std::move(members), options, options.nodeLimit - result.nodes);
    if (!search.run(goal))
      return invalid("buffers: expected a packing below 2^63 bytes, got none");
    for (size_t i = 0; i < group.size(); ++i)
      result.packing.offsets[group[i]] = search.packing.offsets[i];
    result.nodes = options.nodeLimit - search.nodesRemaining();
    result.packing.height = std::max(result.packing.height, search.packing.height);
    result.leastHeight = std::max(result.leastHeight, search.leastHeight());
    goal = std::max(goal, result.packing.height);
  }
  EVO_TRY(validatePacking(buffers, alignment, result.packing));
  return result;
}

Result<Packing> pack(std::span<const Lifetime> buffers, Bytes alignment) {
  SearchOptions options;
  options.nodeLimit = 1000;
  EVO_ASSIGN(SearchedPacking result, searchPacking(buffers, alignment, options));
  return std::move(result.packing);
}

} // namespace evo::memory
