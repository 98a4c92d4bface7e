//===- GateGrad.cu -------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// dout[b,u,x] = sum over q of sigmoid(gate + gate_bias) dy (u is 1; no sum where u is q);
// dgate = o sigmoid'(gate + gate_bias) dy; dgate may be dy.
//
// Where u is 1, a block has channels of one batch, 32 or, where they lie in eights, up to 256, and
// goes through all q.
//===----------------------------------------------------------------------===//
#include "runtime/cuda/kernels/Elementwise.cuh"
#include "runtime/cuda/kernels/Neighbours.cuh"

namespace evo::cuda {

namespace {

struct GateGradOp {
  /// x: o, gate, gate_bias, dy; y: dout, dgate.
  __device__ void operator()(const float *x, float *y) const {
    Opening opening = openingOf(x[1] + x[2]);
    y[0] = opening.value * x[3];
    y[1] = x[0] * opening.slope * x[3];
  }
};

struct BroadcastCall {
  int64_t batches, queries, channels;
  const std::byte *o, *gate, *bias, *dy;
  std::byte *dout, *dgate;
  int64_t oBatch, oCol, gateBatch, gateRow, gateCol, biasCol, dyBatch, dyRow, dyCol;
  int64_t doutBatch, doutCol, dgateBatch, dgateRow, dgateCol;
};

template <class S> __global__ void __launch_bounds__(256) broadcastKernel(BroadcastCall call) {
  __shared__ float sums[8][33];
  int lane = threadIdx.x % 32, part = threadIdx.x / 32;
  int64_t tiles = ceilDiv(call.channels, 32);
  for (int64_t tile = blockIdx.x; tile < call.batches * tiles; tile += gridDim.x) {
    int64_t b = tile / tiles, x = (tile - b * tiles) * 32 + lane;
    bool inside = x < call.channels;
    float sum = 0, o = 0, bias = 0;
    if (inside) {
      o = load<S>(call.o, b * call.oBatch + x * call.oCol);
      bias = load<S>(call.bias, x * call.biasCol);
    }
    for (int64_t q = part; inside && q < call.queries; q += 8) {
      Opening opening = openingOf(
          bias + load<S>(call.gate, b * call.gateBatch + q * call.gateRow + x * call.gateCol));
      float dy = load<S>(call.dy, b * call.dyBatch + q * call.dyRow + x * call.dyCol);
      sum += opening.value * dy;
      store<S>(call.dgate, b * call.dgateBatch + q * call.dgateRow + x * call.dgateCol,
               o * opening.slope * dy);
    }
    __syncthreads();
    sums[part][lane] = sum;
    __syncthreads();
    if (part == 0 && inside) {
      float total = 0;
      for (int i = 0; i < 8; ++i)
        total += sums[i][lane];
      store<S>(call.dout, b * call.doutBatch + x * call.doutCol, total);
    }
  }
}

/// Eight channels a lane, which lie together and aligned: a block has up to 256 of one batch, and
/// reads some queries at once.
template <class S>
__global__ void __launch_bounds__(256, 2) eightsKernel(const __grid_constant__ BroadcastCall call) {
  constexpr int kBatch = 4;
  __shared__ float sums[256][9];
  int lanes = static_cast<int>(smaller(call.channels / 8, 32)), parts = 256 / lanes;
  int part = static_cast<int>(threadIdx.x) / lanes;
  int lane = static_cast<int>(threadIdx.x) - part * lanes;
  int64_t tiles = ceilDiv(call.channels, lanes * 8), b = quotient(blockIdx.x, tiles);
  int64_t first = (blockIdx.x - b * tiles) * lanes * 8, x = first + lane * 8;
  bool inside = part < parts && x < call.channels;
  float sum[8] = {}, o[8] = {}, bias[8] = {};
  Neighbours<S, 8> of;
  if (inside) {
    of.load(call.o, b * call.oBatch + x), of.widenTo(o);
    of.load(call.bias, x), of.widenTo(bias);
  }
  for (int64_t q = part; inside && q < call.queries; q += kBatch * parts) {
    Neighbours<S, 8> gate[kBatch], dy[kBatch];
#pragma unroll
    for (int i = 0; i < kBatch; ++i)
      if (int64_t at = q + i * parts; at < call.queries) {
        gate[i].load(call.gate, b * call.gateBatch + at * call.gateRow + x);
        dy[i].load(call.dy, b * call.dyBatch + at * call.dyRow + x);
      }
#pragma unroll
    for (int i = 0; i < kBatch; ++i) {
      float gates[8], slopes[8];
      gate[i].widenTo(gates), dy[i].widenTo(slopes);
#pragma unroll
      for (int v = 0; v < 8; ++v) {
        Opening opening = openingOf(bias[v] + gates[v]);
        sum[v] += opening.value * slopes[v]; // 0 where there is no query
        slopes[v] *= o[v] * opening.slope;
      }
      dy[i].round(slopes);
      if (int64_t at = q + i * parts; at < call.queries)
        dy[i].store(call.dgate, b * call.dgateBatch + at * call.dgateRow + x);
    }
  }
  for (int v = 0; v < 8; ++v)
    sums[threadIdx.x][v] = sum[v];
  __syncthreads();
  int c = static_cast<int>(threadIdx.x);
  if (c >= lanes * 8 || first + c >= call.channels)
    return;
  float total = 0;
  for (int i = 0; i < parts; ++i)
    total += sums[i * lanes + c / 8][c % 8];
  store<S>(call.dout, b * call.doutBatch + (first + c) * call.doutCol, total);
}

/// Whether channels can be read and written in eights.
template <class S> bool takesEights(const BroadcastCall &call) {
  const std::byte *const data[] = {call.o, call.gate, call.bias, call.dy, call.dgate};
  for (const std::byte *one : data)
    if (reinterpret_cast<uint64_t>(one) % 16 != 0)
      return false;
  for (int64_t stride : {call.oBatch, call.gateBatch, call.gateRow, call.dyBatch, call.dyRow,
                         call.dgateBatch, call.dgateRow, call.channels})
    if (stride % 8 != 0)
      return false;
  return kIsHalf<S> && call.oCol == 1 && call.gateCol == 1 && call.biasCol == 1 &&
         call.dyCol == 1 && call.dgateCol == 1;
}

} // namespace

template <class S> Status launchGateGrad(const Launch &launch) {
  const Operand *o = launch.operands;
  const Operand &gate = o[1], &dy = o[3], &dout = o[4], &dgate = o[5];
  if (o[0].shape[1] == dy.shape[1]) {
    Elements<4, 2> elements(dgate);
    elements.set(0, o[0]);
    elements.set(1, gate);
    elements.setColumns(2, o[2]);
    for (int i : {3, 4, 5})
      elements.set(i, o[i]);
    return elementwise<S>(launch, elements, GateGradOp{}, 1);
  }
  BroadcastCall call{dy.shape[0],      dy.shape[1],      dy.shape[2],     o[0].data,
                     gate.data,        o[2].data,        dy.data,         dout.data,
                     dgate.data,       o[0].strides[0],  o[0].strides[2], gate.strides[0],
                     gate.strides[1],  gate.strides[2],  o[2].strides[0], dy.strides[0],
                     dy.strides[1],    dy.strides[2],    dout.strides[0], dout.strides[2],
                     dgate.strides[0], dgate.strides[1], dgate.strides[2]};
  if constexpr (kIsHalf<S>)
    if (int64_t lanes = smaller(call.channels / 8, 32); lanes > 0 && takesEights<S>(call)) {
      int64_t blocks = call.batches * ceilDiv(call.channels, lanes * 8);
      if (blocks > 0 && blocks <= kMostBlocks) {
        eightsKernel<S><<<gridOf(blocks), 256, 0, launch.context->stream>>>(call);
        return statusOf(cudaGetLastError(), "the launch of a gate's gradient");
      }
    }
  int64_t blocks = call.batches * ceilDiv(call.channels, 32);
  if (blocks > 0)
    broadcastKernel<S><<<gridOf(blocks), 256, 0, launch.context->stream>>>(call);
  return {};
}

EVO_CUDA_INSTANTIATE(GateGrad)

} // namespace evo::cuda
