//===- Slots.cuh ---------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// Sums of many rows in two stages without atomics: blocks leave partial sums in slots of the
// scratch, and a second kernel adds the slots of each column in a fixed order.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/cuda/kernels/Storage.cuh"

namespace evo::cuda {

namespace {

struct SlotCall {
  const float *slots; ///< [count][width]
  int64_t count, width, first, cols;
  const float *accumulator; ///< null: none
  float *out;
  int64_t accumulatorStride, outStride;
};

/// out[c] = accumulator[c] + sum of slots[i][first + c]
__global__ void __launch_bounds__(256) slotKernel(SlotCall call) {
  __shared__ float sums[8][33];
  int lane = threadIdx.x % 32, part = threadIdx.x / 32;
  for (int64_t tile = blockIdx.x; tile < ceilDiv(call.cols, 32); tile += gridDim.x) {
    int64_t col = tile * 32 + lane;
    float sum = 0;
    for (int64_t i = part; col < call.cols && i < call.count; i += 8)
      sum += call.slots[i * call.width + call.first + col];
    __syncthreads();
    sums[part][lane] = sum;
    __syncthreads();
    if (part == 0 && col < call.cols) {
      sum = 0;
      for (int i = 0; i < 8; ++i)
        sum += sums[i][lane];
      if (call.accumulator)
        sum += call.accumulator[col * call.accumulatorStride];
      call.out[col * call.outStride] = sum;
    }
  }
}

/// Adds columns [first, first + cols) of the slots, `width` columns each, to a vector.
Status sumSlots(const Launch &launch, const float *slots, int64_t count, int64_t width,
                int64_t first, const Operand &accumulator, const Operand &out) {
  SlotCall call{slots,
                count,
                width,
                first,
                out.shape[0],
                elements<float>(accumulator.data),
                elements<float>(out.data),
                accumulator.strides[0],
                out.strides[0]};
  if (call.cols > 0)
    slotKernel<<<gridOf(ceilDiv(call.cols, 32)), 256, 0, launch.context->stream>>>(call);
  return statusOf(cudaGetLastError(), "the launch of a sum of slots");
}

} // namespace

} // namespace evo::cuda
