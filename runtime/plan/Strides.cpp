//===- Strides.cpp ----------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "runtime/plan/Strides.h"

namespace evo::plan {

std::optional<std::vector<int64_t>> denseStrides(std::span<const int64_t> shape) {
  std::vector<int64_t> strides(shape.size());
  int64_t stride = 1;
  for (size_t axis = shape.size(); axis-- > 0;) {
    strides[axis] = stride;
    if (axis > 0 && __builtin_mul_overflow(stride, shape[axis], &stride))
      return std::nullopt;
  }
  return strides;
}

View wholeView(const Buffer &buffer, int32_t index, int32_t version) {
  View view;
  view.buffer = index;
  view.version = version;
  for (size_t axis = 0; axis < buffer.shape.size(); ++axis) {
    view.start.push_back({0, -1});
    view.extent.push_back({buffer.shape[axis], -1});
    view.order.push_back(static_cast<int32_t>(axis));
  }
  return view;
}

} // namespace evo::plan
