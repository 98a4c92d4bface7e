//===- MmaAxis.h - axes of products on tensor cores -------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// Plain C++ for host and device, without CUDA's headers, so that it is tested where there is no
// device.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/plan/HostDevice.h"

#include <cstdint>

namespace evo::cuda {

/// An axis of a product: x is (x / inner, x % inner) of a tensor. What x is, fits 32 bits; where it
/// lies need not.
struct MmaAxis {
  int64_t extent = 1, inner = 1, outerStride = 0, innerStride = 0;

  /// Kernels that count in 32 bits step over the end by less than as much again.
  static constexpr int64_t kMost = int64_t{1} << 30;

  EVO_HOST_DEVICE constexpr int64_t offsetOf(int64_t x) const {
    if (inner == extent)
      return x * innerStride;
    uint32_t outer = static_cast<uint32_t>(x) / static_cast<uint32_t>(inner);
    return outer * outerStride + (x - outer * inner) * innerStride;
  }
  static constexpr MmaAxis of(int64_t extent, int64_t stride) {
    return {extent, extent, 0, stride};
  }
  /// Of two axes, which are one where they lie so.
  static constexpr MmaAxis of(int64_t outer, int64_t outerStride, int64_t inner,
                              int64_t innerStride) {
    if (outer == 1 || outerStride == inner * innerStride)
      return {outer * inner, outer * inner, 0, innerStride};
    return {outer * inner, inner, outerStride, innerStride};
  }
  constexpr bool isCounted() const { return extent < kMost; }
  constexpr bool isContiguous() const {
    return innerStride == 1 && inner % 8 == 0 && outerStride % 8 == 0;
  }
  constexpr bool takesUnits() const { return innerStride % 8 == 0 && outerStride % 8 == 0; }
};

} // namespace evo::cuda
