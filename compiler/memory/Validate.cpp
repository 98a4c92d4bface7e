//===- Validate.cpp - a packing checked from first principles ---*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// Shares nothing with the packer but the structs: every pair of buffers is compared, and the load
// is summed anew at every buffer's start, where it must have its maximum.
//===----------------------------------------------------------------------===//
#include "compiler/memory/Packer.h"

#include <algorithm>
#include <string>

namespace evo::memory {

namespace {
/// Sums of a few sizes below 2^63 each stay far below 2^127.
using Wide = __int128;

Status broken(std::string message) {
  return Status::error(ErrorCode::InvalidPlan, std::move(message));
}

Wide alignedSize(const Lifetime &buffer, Bytes alignment) {
  return (Wide(buffer.size) + alignment - 1) / alignment * alignment;
}

bool aliveTogether(const Lifetime &a, const Lifetime &b) {
  return a.lower < b.upper && b.lower < a.upper;
}

std::string number(Wide value) {
  if (value > Wide(INT64_MAX))
    return "2^63 or more";
  return std::to_string(static_cast<int64_t>(value));
}

Status checkOffset(size_t index, const Lifetime &buffer, Bytes offset, Bytes alignment) {
  const std::string where = "buffer " + std::to_string(index);
  if (buffer.size < 0 || buffer.lower >= buffer.upper)
    return broken(where + ": expected a size of at least 0 and a lifetime that is not empty, got " +
                  std::to_string(buffer.size) + " and [" + std::to_string(buffer.lower) + ", " +
                  std::to_string(buffer.upper) + ")");
  if (offset < 0 || offset % alignment != 0)
    return broken(where + ": expected an offset that is a multiple of " +
                  std::to_string(alignment) + ", got " + std::to_string(offset));
  return Status::success();
}

Status checkPairs(std::span<const Lifetime> buffers, Bytes alignment, const Packing &packing) {
  for (size_t i = 0; i < buffers.size(); ++i) {
    const Wide endI = packing.offsets[i] + alignedSize(buffers[i], alignment);
    for (size_t j = i + 1; j < buffers.size(); ++j) {
      if (buffers[i].size == 0 || buffers[j].size == 0 || !aliveTogether(buffers[i], buffers[j]))
        continue;
      const Wide endJ = packing.offsets[j] + alignedSize(buffers[j], alignment);
      if (packing.offsets[i] < endJ && packing.offsets[j] < endI)
        return broken("buffers " + std::to_string(i) + " and " + std::to_string(j) +
                      ": expected no overlap while both are alive, got [" +
                      number(packing.offsets[i]) + ", " + number(endI) + ") and [" +
                      number(packing.offsets[j]) + ", " + number(endJ) + ")");
    }
  }
  return Status::success();
}
} // namespace

Status validatePacking(std::span<const Lifetime> buffers, Bytes alignment, const Packing &packing) {
  if (alignment < 1)
    return broken("alignment: expected at least 1, got " + std::to_string(alignment));
  if (packing.offsets.size() != buffers.size())
    return broken("offsets: expected " + std::to_string(buffers.size()) + ", got " +
                  std::to_string(packing.offsets.size()));
  Wide height = 0, bound = 0;
  for (size_t i = 0; i < buffers.size(); ++i) {
    EVO_TRY(checkOffset(i, buffers[i], packing.offsets[i], alignment));
    // A buffer without bytes ends nowhere.
    if (buffers[i].size > 0)
      height = std::max(height, packing.offsets[i] + alignedSize(buffers[i], alignment));
    Wide load = 0;
    for (const Lifetime &other : buffers)
      if (other.lower <= buffers[i].lower && buffers[i].lower < other.upper)
        load += alignedSize(other, alignment);
    bound = std::max(bound, load);
  }
  EVO_TRY(checkPairs(buffers, alignment, packing));
  if (packing.height != height)
    return broken("height: expected " + number(height) + ", got " + number(packing.height));
  if (packing.lowerBound != bound)
    return broken("lower bound: expected " + number(bound) + ", got " + number(packing.lowerBound));
  return Status::success();
}

} // namespace evo::memory
