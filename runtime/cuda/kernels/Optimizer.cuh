//===- Optimizer.cuh -----------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// The four numbers of an optimizer's run on the device: the loss scale, steps since it changed,
// steps taken, gradient elements that are not finite.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/cuda/kernels/Storage.cuh"

namespace evo::cuda {

struct Scalars {
  const float *data;
  int64_t stride;
  explicit Scalars(const Operand &operand)
      : data(elements<float>(operand.data)), stride(operand.strides[0]) {}
  __device__ float at(int i) const { return data[i * stride]; }
  __device__ float lossScale() const { return at(0); }
  __device__ bool skips() const { return at(3) > 0; }
};

} // namespace evo::cuda
