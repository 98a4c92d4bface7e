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

inline constexpr int kSlotCols = 8, kSlotParts = 32; ///< of a block: columns and parts of the slots

/// out[c] = accumulator[c] + sum of slots[i][first + c]
__global__ void __launch_bounds__(kSlotCols *kSlotParts) slotKernel(SlotCall call) {
  __shared__ float sums[kSlotParts][kSlotCols + 1];
  int lane = threadIdx.x % kSlotCols, part = threadIdx.x / kSlotCols;
  for (int64_t tile = blockIdx.x; tile < ceilDiv(call.cols, kSlotCols); tile += gridDim.x) {
    int64_t col = tile * kSlotCols + lane;
    float sum = 0;
    if (col < call.cols) {
      const float *slot = call.slots + call.first + col;
#pragma unroll 8
      for (int64_t i = part; i < call.count; i += kSlotParts)
        sum += slot[i * call.width];
    }
    __syncthreads(); // of the last use of the sums
    sums[part][lane] = sum;
    __syncthreads();
    if (part == 0 && col < call.cols) {
      sum = 0;
      for (int i = 0; i < kSlotParts; ++i)
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
    slotKernel<<<gridOf(ceilDiv(call.cols, kSlotCols)), kSlotCols * kSlotParts, 0,
                 launch.context->stream>>>(call);
  return statusOf(cudaGetLastError(), "the launch of a sum of slots");
}

} // namespace

} // namespace evo::cuda
