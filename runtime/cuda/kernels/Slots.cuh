//===- Slots.cuh ---------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// Sums of many rows in two stages: blocks leave partial sums in slots of the scratch, and the slots
// of each column are added in a fixed order, whichever block comes when. Where the slots of some
// columns are few enough for one block, the last block to leave its slot adds them (`isLast`);
// else a second kernel does.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/cuda/kernels/Storage.cuh"

namespace evo::cuda {

namespace {

struct SlotCall {
  const float *slots = nullptr; ///< [count][width]
  int64_t count = 0, width = 0, first = 0, cols = 0;
  const float *accumulator = nullptr; ///< null: none
  float *out = nullptr;
  int64_t accumulatorStride = 0, outStride = 0;

  SlotCall() = default;
  /// Columns [first, first + cols) of the slots, `width` columns each, are added to a vector.
  SlotCall(const float *slots, int64_t count, int64_t width, int64_t first,
           const Operand &accumulator, const Operand &out)
      : slots(slots), count(count), width(width), first(first), cols(out.shape[0]),
        accumulator(elements<float>(accumulator.data)), out(elements<float>(out.data)),
        accumulatorStride(accumulator.strides[0]), outStride(out.strides[0]) {}

  bool takesFours() const {
    return width % 4 == 0 && first % 4 == 0 && cols % 4 == 0 &&
           reinterpret_cast<uint64_t>(slots) % 16 == 0;
  }
};

/// out[c] = accumulator[c] + sum of slots[i][first + c] for `cols` columns c from `start` on, at
/// most kThreads, by a block of kThreads threads; of several calls whose columns follow each other,
/// `each` of one. A thread has V neighbours of every so many slots, kBatch of which it reads
/// together. `space` is of kThreads * V floats, aligned to V.
template <int V, int kThreads, int kBatch>
__device__ void addSlots(const SlotCall *calls, int64_t count, int64_t start, int cols, int each,
                         float *space) {
  int lanes = (cols + V - 1) / V, parts = kThreads / lanes;
  int part = static_cast<int>(threadIdx.x) / lanes;
  int lane = static_cast<int>(threadIdx.x) - part * lanes, own = static_cast<int>(threadIdx.x);
  const SlotCall &call = calls[own < cols ? own / each : 0];
  int64_t col = start + own % each, width = calls->width;
  float before = 0, sum[V] = {};
  if (own < cols && call.accumulator)
    before = call.accumulator[col * call.accumulatorStride];
  const float *from = calls->slots + calls->first + start + lane * V;
  for (int64_t i = part; part < parts && i < count; i += kBatch * parts) {
    float4 x[kBatch] = {};
#pragma unroll
    for (int b = 0; b < kBatch; ++b)
      if (int64_t at = i + b * parts; at < count) {
        if constexpr (V == 4)
          x[b] = __ldcg(reinterpret_cast<const float4 *>(from + at * width));
        else
          x[b].x = __ldcg(from + at * width);
      }
#pragma unroll
    for (int b = 0; b < kBatch; ++b) {
      sum[0] += x[b].x;
      if constexpr (V == 4)
        sum[1] += x[b].y, sum[2] += x[b].z, sum[3] += x[b].w;
    }
  }
  if (part < parts) {
    if constexpr (V == 4)
      reinterpret_cast<float4 *>(space)[own] = make_float4(sum[0], sum[1], sum[2], sum[3]);
    else
      space[own] = sum[0];
  }
  __syncthreads();
  if (own >= cols)
    return;
  float total = 0;
#pragma unroll 8
  for (int i = 0; i < parts; ++i)
    total += space[i * lanes * V + own];
  call.out[col * call.outStride] = total + before;
}

/// Whether the calling block is the last of `blocks` to come here; it then sees what the threads of
/// all wrote before. `arrivals` is 0 before and after.
__device__ inline bool isLast(uint32_t *arrivals, uint32_t blocks) {
  __shared__ bool last;
  __syncthreads();
  if (threadIdx.x == 0) {
    __threadfence(); // what the barrier has ordered before it, too
    last = atomicInc(arrivals, blocks - 1) == blocks - 1;
    __threadfence();
  }
  __syncthreads();
  return last;
}

constexpr int kSlotThreads = 512;

struct SlotCalls {
  SlotCall call[2];
};

/// A block has kLanes * V columns of the call that its y names.
template <int V, int kLanes>
__global__ void __launch_bounds__(kSlotThreads, 2)
    slotKernel(const __grid_constant__ SlotCalls calls) {
  __shared__ float4 space[kSlotThreads * V / 4];
  const SlotCall &call = calls.call[blockIdx.y];
  int64_t start = blockIdx.x * int64_t{kLanes * V};
  auto cols = static_cast<int>(smaller(kLanes * V, call.cols - start));
  addSlots<V, kSlotThreads, 8>(&call, call.count, start, cols, cols,
                               reinterpret_cast<float *>(space));
}

/// Adds one or two columns of slots to vectors of one length. Blocks read whole lines of a slot,
/// several where there are columns for as many blocks as a device has room for.
Status sumSlots(const Launch &launch, const SlotCall &one, const SlotCall *other = nullptr) {
  SlotCalls calls{{one, other ? *other : one}};
  auto grid = [&](int cols) { return dim3(gridOf(ceilDiv(one.cols, cols)), other ? 2 : 1); };
  cudaStream_t stream = launch.context->stream;
  if (one.cols == 0)
    return {};
  if (!one.takesFours() || (other && !other->takesFours()))
    slotKernel<1, 32><<<grid(32), kSlotThreads, 0, stream>>>(calls);
  else if (one.cols < 128 * launch.context->processors)
    slotKernel<4, 8><<<grid(32), kSlotThreads, 0, stream>>>(calls);
  else
    slotKernel<4, 32><<<grid(128), kSlotThreads, 0, stream>>>(calls);
  return statusOf(cudaGetLastError(), "the launch of a sum of slots");
}

} // namespace

} // namespace evo::cuda
