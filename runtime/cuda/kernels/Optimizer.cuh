//===- Optimizer.cuh -----------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// The four numbers of an optimizer's run on the device: the loss scale, steps since it changed,
// steps taken, gradient elements that are not finite. Steps of parameters that lie on end.
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

/// A step of operands on end: inputs, then outputs.
template <int N> struct StepCall {
  int64_t count = 0;
  std::byte *data[N] = {};
  bool statistic[N] = {};
};

inline constexpr int kStepThreads = 128;

/// op.apply(op.read(), x, y) of four elements a thread. Most steps are so small that they take as
/// long as what a thread waits for: it asks for all at once.
template <class S, int I, int O, class Op>
__global__ void __launch_bounds__(kStepThreads)
    stepKernel(const __grid_constant__ StepCall<I + O> call, const __grid_constant__ Op op) {
  int64_t at = (blockIdx.x * int64_t{kStepThreads} + threadIdx.x) * 4;
  bool inside = at < call.count;
  float x[I][4] = {}, y[O][4];
#pragma unroll
  for (int i = 0; i < I; ++i)
    if (inside && call.data[i])
      load4<S>(call.data[i], at, call.statistic[i], x[i]);
  auto shared = op.read();
  for (int v = 0; v < 4; ++v) {
    float in[I], out[O];
    for (int i = 0; i < I; ++i)
      in[i] = x[i][v];
    op.apply(shared, in, out);
    for (int o = 0; o < O; ++o)
      y[o][v] = out[o];
  }
#pragma unroll
  for (int o = 0; o < O; ++o)
    if (inside && call.data[I + o])
      store4<S>(call.data[I + o], at, call.statistic[I + o], y[o]);
}

/// Whether the operands lie so that a step of them was launched: all on end, aligned to four.
template <class S, int I, int O, class Op>
bool launchStep(const Launch &launch, const Operand *const (&operands)[I + O], const Op &op) {
  StepCall<I + O> call;
  for (int i = 0; i < I + O; ++i) {
    const Operand &o = *operands[i];
    call.data[i] = o.data, call.statistic[i] = isStatistic<S>(o.type);
    if (!o)
      continue;
    AxisSpace<1> axes;
    for (int d = 0; d < o.rank; ++d) {
      axes.stride[0][d] = o.strides[d];
      axes.push(o.shape[d]);
    }
    axes.merge();
    uint64_t bytes = call.statistic[i] ? 16 : 4 * sizeof(S);
    call.count = axes.count();
    if (axes.rank != 1 || axes.stride[0][0] != 1 || call.count % 4 != 0 ||
        reinterpret_cast<uint64_t>(o.data) % bytes != 0)
      return false;
  }
  int64_t blocks = ceilDiv(call.count / 4, kStepThreads);
  if (blocks > kMostBlocks)
    return false;
  if (blocks > 0)
    stepKernel<S, I, O><<<gridOf(blocks), kStepThreads, 0, launch.context->stream>>>(call, op);
  return true;
}

} // namespace evo::cuda
