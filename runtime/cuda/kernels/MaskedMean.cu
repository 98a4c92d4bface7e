//===- MaskedMean.cu -----------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// y[b,u,x] = sum_q mask[b,q] x[b,q,x] / (eps + sum_q mask[b,q]); u is 1; an absent mask is all
// ones.
//
// A block has 32 channels of one batch and goes through all q.
//===----------------------------------------------------------------------===//
#include "runtime/cuda/kernels/Storage.cuh"

namespace evo::cuda {

namespace {

struct MeanCall {
  int64_t batches, queries, channels;
  const std::byte *x, *mask;
  std::byte *y;
  int64_t xBatch, xRow, xCol, maskBatch, maskRow, yBatch, yCol;
  float eps;
};

template <class S> __global__ void __launch_bounds__(256) meanKernel(MeanCall call) {
  __shared__ float sums[8][33], weights[8];
  int lane = threadIdx.x % 32, part = threadIdx.x / 32;
  int64_t tiles = ceilDiv(call.channels, 32);
  for (int64_t tile = blockIdx.x; tile < call.batches * tiles; tile += gridDim.x) {
    int64_t b = tile / tiles, x = (tile - b * tiles) * 32 + lane;
    bool inside = x < call.channels;
    float sum = 0, total = 0;
    for (int64_t q = part; q < call.queries; q += 8) {
      float weight = call.mask ? load<S>(call.mask, b * call.maskBatch + q * call.maskRow) : 1.0f;
      total += weight;
      if (inside)
        sum = fmaf(weight, load<S>(call.x, b * call.xBatch + q * call.xRow + x * call.xCol), sum);
    }
    __syncthreads();
    sums[part][lane] = sum;
    if (lane == 0)
      weights[part] = total;
    __syncthreads();
    if (part == 0 && inside) {
      sum = 0, total = call.eps;
      for (int i = 0; i < 8; ++i)
        sum += sums[i][lane], total += weights[i];
      store<S>(call.y, b * call.yBatch + x * call.yCol, sum / total);
    }
  }
}

} // namespace

template <class S> Status launchMaskedMean(const Launch &launch) {
  const Operand &x = launch.operands[0], &mask = launch.operands[1], &y = launch.operands[2];
  MeanCall call{x.shape[0],      x.shape[1],
                x.shape[2],      x.data,
                mask.data,       y.data,
                x.strides[0],    x.strides[1],
                x.strides[2],    mask.strides[0],
                mask.strides[1], y.strides[0],
                y.strides[2],    static_cast<float>(launch.attributes->eps)};
  int64_t blocks = call.batches * ceilDiv(call.channels, 32);
  if (blocks > 0)
    meanKernel<S><<<gridOf(blocks), 256, 0, launch.context->stream>>>(call);
  return {};
}

EVO_CUDA_INSTANTIATE(MaskedMean)

} // namespace evo::cuda
