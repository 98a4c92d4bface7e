//===- BoxRange.h - which tensors copies of boxes reach ---------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// Hopper's copies name a box by coordinates of 32 bits and step along axes by less than 2^40 bytes;
// what they add up is an address of 64 bits. Plain C++ without CUDA's headers, so that it is tested
// where there is no device.
//===----------------------------------------------------------------------===//
#pragma once

#include <cstdint>

namespace evo::cuda {

inline constexpr int64_t kMostBoxExtent = 256; ///< of a box, along any axis
/// Of a tensor: boxes begin at most two boxes' lengths behind its end, where nothing is copied.
inline constexpr int64_t kMostBoxedExtent = INT32_MAX - 2 * kMostBoxExtent;
inline constexpr int64_t kBoxStrideBytes = int64_t{1} << 40; ///< strides are shorter

/// Whether boxes of a tensor can be copied, of elements of `bytes`: its innermost axis lies
/// together, `stride`, in elements, is of the other axes. What the driver would refuse, it would
/// have checkers report.
template <int kRank>
constexpr bool reachesBoxes(uint64_t address, int64_t bytes, const int64_t (&extent)[kRank],
                            const int64_t (&stride)[kRank - 1]) {
  bool fits = address % 16 == 0;
  for (int d = 0; d < kRank; ++d)
    fits &= extent[d] >= 1 && extent[d] <= kMostBoxedExtent;
  // An axis of one element is never stepped along.
  for (int d = 1; d < kRank; ++d)
    fits &= extent[d] == 1 || (stride[d - 1] >= 0 && stride[d - 1] < kBoxStrideBytes / bytes &&
                               stride[d - 1] * bytes % 16 == 0);
  return fits;
}

} // namespace evo::cuda
