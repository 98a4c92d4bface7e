//===- WeightGradSlots.cuh - sums of a matrix's partial sums ----*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// Kernels of `weight_grad` leave fp32 partial sums of the weight in slots of the scratch, each in
// an order of its own; a second kernel adds the slots in a fixed order, and the accumulator. Slots
// lie in fours of 16 bytes. They are in the second-level cache as a rule, so that it takes as long
// as a launch; all its loads are under way at once.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/cuda/kernels/Storage.cuh"

#include <climits>

namespace evo::cuda {

namespace {

struct MatrixSlots {
  const float4 *slots;
  int count, width;   ///< fours of a slot; all are fewer than 2^31
  int fold = 0;       ///< where there is one: to each four the one so far on is added
  int64_t rows, cols; ///< what lies beyond is not stored
  float factor;
  const float *accumulator; ///< null: none
  float *out;
  int64_t accumulatorStride[2], outStride[2];

  MatrixSlots(const Launch &launch, const float *slots, int64_t count, int64_t width)
      : slots(reinterpret_cast<const float4 *>(slots)), count(static_cast<int>(count)),
        width(static_cast<int>(width)), factor(static_cast<float>(launch.attributes->factor)) {
    const Operand &old = launch.operands[2], &dweight = launch.operands[3];
    rows = dweight.shape[0], cols = dweight.shape[1];
    accumulator = elements<float>(old.data), out = elements<float>(dweight.data);
    for (int d : {0, 1})
      accumulatorStride[d] = old.strides[d], outStride[d] = dweight.strides[d];
  }
};

constexpr int kMatrixSlotThreads = 256;

/// Of a launch that begins early, until the kernel before has ended and what it wrote is there.
__device__ inline void waitForKernelBefore() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

__device__ inline void addFour(float4 &sum, const float4 &x) {
  sum.x += x.x, sum.y += x.y, sum.z += x.z, sum.w += x.w;
}

/// A thread's sum of every so-manyth slot, eight of which are on their way at a time.
__device__ inline float4 addSlots(const MatrixSlots &call, int four, int part, int parts) {
  constexpr int kBatch = 8;
  int count = call.fold ? 2 * call.count : call.count;
  float4 sum = make_float4(0, 0, 0, 0);
#pragma unroll 1
  for (; part < count; part += kBatch * parts) {
    float4 x[kBatch];
#pragma unroll
    for (int i = 0; i < kBatch; ++i) {
      int slot = part + i * parts;
      int at = slot < call.count ? slot * call.width : (slot - call.count) * call.width + call.fold;
      x[i] = slot < count ? call.slots[at + four] : make_float4(0, 0, 0, 0);
    }
#pragma unroll
    for (int i = 0; i < kBatch; ++i)
      addFour(sum, x[i]);
  }
  return sum;
}

/// A block has kLanes neighbouring fours; its other threads share the slots of each. `Place` says
/// where the fours of a slot belong, the first of them in the least row and column.
template <int kLanes, class Place>
__global__ void __launch_bounds__(kMatrixSlotThreads)
    matrixSlotKernel(const __grid_constant__ MatrixSlots call,
                     const __grid_constant__ Place place) {
  __shared__ float4 space[kMatrixSlotThreads / 32][32];
  constexpr int kParts = kMatrixSlotThreads / kLanes;
  int thread = static_cast<int>(threadIdx.x), part = thread / kLanes;
  int four = static_cast<int>(blockIdx.x) * kLanes + thread % kLanes;
  int row[4] = {INT_MAX}, col[4];
  if (four < call.width)
    place.locate(four, row, col);
  bool inside = row[0] < call.rows && col[0] < call.cols; // the first of both
  float old[4] = {};
  if (inside && call.accumulator && part == 0)
    for (int i = 0; i < 4; ++i)
      if (row[i] < call.rows && col[i] < call.cols)
        old[i] = call.accumulator[row[i] * call.accumulatorStride[0] +
                                  col[i] * call.accumulatorStride[1]];
  waitForKernelBefore();
  float4 sum = make_float4(0, 0, 0, 0);
  if (inside)
    sum = addSlots(call, four, part, kParts);
  for (int step = kLanes; step < 32; step *= 2) {
    sum.x += __shfl_xor_sync(0xffffffffu, sum.x, step);
    sum.y += __shfl_xor_sync(0xffffffffu, sum.y, step);
    sum.z += __shfl_xor_sync(0xffffffffu, sum.z, step);
    sum.w += __shfl_xor_sync(0xffffffffu, sum.w, step);
  }
  if constexpr (kParts > 1) {
    static_assert(kLanes <= 32);
    space[thread / 32][thread % 32] = sum;
    __syncthreads();
    for (int warp = 1; part == 0 && warp < kMatrixSlotThreads / 32; ++warp)
      addFour(sum, space[warp][thread]);
  }
  const float values[] = {sum.x, sum.y, sum.z, sum.w};
  for (int i = 0; i < 4 && part == 0 && inside; ++i)
    if (row[i] < call.rows && col[i] < call.cols)
      call.out[row[i] * call.outStride[0] + col[i] * call.outStride[1]] =
          fmaf(call.factor, values[i], old[i]);
}

/// Adds slots to the call's accumulator. `early`: blocks may begin while the kernel before runs.
template <class Place>
Status sumMatrixSlots(const Launch &launch, const MatrixSlots &call, const Place &place,
                      bool early = false) {
  int lanes = call.count >= 128 ? 8 : call.count >= 24 ? 32 : kMatrixSlotThreads;
  auto kernel = lanes == 8    ? matrixSlotKernel<8, Place>
                : lanes == 32 ? matrixSlotKernel<32, Place>
                              : matrixSlotKernel<kMatrixSlotThreads, Place>;
  cudaLaunchAttribute attribute{};
  attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attribute.val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(gridOf(ceilDiv(call.width, lanes)));
  config.blockDim = dim3(kMatrixSlotThreads), config.stream = launch.context->stream;
  config.attrs = &attribute, config.numAttrs = early;
  return statusOf(cudaLaunchKernelEx(&config, kernel, call, place),
                  "the launch of the sum of a weight's gradient");
}

} // namespace

} // namespace evo::cuda
