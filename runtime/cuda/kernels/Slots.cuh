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

  /// Columns [first, first + cols) of the slots, `width` columns each, are added to a vector.
  SlotCall(const float *slots, int64_t count, int64_t width, int64_t first,
           const Operand &accumulator, const Operand &out)
      : slots(slots), count(count), width(width), first(first), cols(out.shape[0]),
        accumulator(elements<float>(accumulator.data)), out(elements<float>(out.data)),
        accumulatorStride(accumulator.strides[0]), outStride(out.strides[0]) {}
};

constexpr int kSlotThreads = 1024, kSlotCols = 8;

/// out[c] = accumulator[c] + sum of slots[i][first + c], of the call that the block's y names. A
/// block has eight columns, which lie in the sector that a load reads.
__global__ void __launch_bounds__(kSlotThreads) slotKernel(SlotCall one, SlotCall other) {
  __shared__ float sums[kSlotThreads / 32][kSlotCols + 1];
  const SlotCall &call = blockIdx.y ? other : one;
  int lane = threadIdx.x % 32, warp = threadIdx.x / 32, part = threadIdx.x / kSlotCols;
  int64_t col = blockIdx.x * int64_t{kSlotCols} + lane % kSlotCols;
  float sum = 0;
  if (col < call.cols)
#pragma unroll 4
    for (int64_t i = part; i < call.count; i += kSlotThreads / kSlotCols)
      sum += call.slots[i * call.width + call.first + col];
  sum += __shfl_xor_sync(0xffffffffu, sum, 8);
  sum += __shfl_xor_sync(0xffffffffu, sum, 16);
  if (lane < kSlotCols)
    sums[warp][lane] = sum;
  __syncthreads();
  col = blockIdx.x * int64_t{kSlotCols} + warp;
  if (warp >= kSlotCols || col >= call.cols)
    return;
  sum = warpSum(sums[lane][warp]);
  if (lane > 0)
    return;
  if (call.accumulator)
    sum += call.accumulator[col * call.accumulatorStride];
  call.out[col * call.outStride] = sum;
}

/// Adds one or two columns of slots to vectors of one length.
Status sumSlots(const Launch &launch, const SlotCall &one, const SlotCall *other = nullptr) {
  dim3 grid(gridOf(ceilDiv(one.cols, kSlotCols)), other ? 2 : 1);
  if (one.cols > 0)
    slotKernel<<<grid, kSlotThreads, 0, launch.context->stream>>>(one, other ? *other : one);
  return statusOf(cudaGetLastError(), "the launch of a sum of slots");
}

} // namespace

} // namespace evo::cuda
