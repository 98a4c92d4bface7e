//===- HeadMatrix.h - where heads lie ---------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// Plain C++ for host and device, without CUDA's headers, so that it is tested where there is no
// device.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/plan/HostDevice.h"

#include <cstddef>
#include <cstdint>

namespace evo::cuda {

/// An operand as a matrix a batch and head.
struct HeadMatrix {
  std::byte *data = nullptr; ///< null: absent
  int64_t batch = 0, head = 0, row = 0, col = 0;

  /// Where the matrix of a batch and head begins, in elements.
  EVO_HOST_DEVICE constexpr int64_t offsetOf(int64_t b, int64_t h) const {
    return b * batch + h * head;
  }
  /// Where a row of it begins, behind that.
  EVO_HOST_DEVICE constexpr int64_t rowOffset(int64_t r) const { return r * row; }
};

} // namespace evo::cuda
