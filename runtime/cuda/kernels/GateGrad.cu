//===- GateGrad.cu -------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// dout[b,u,x] = sum over q of sigmoid(gate + gate_bias) dy (u is 1; no sum where u is q);
// dgate = o sigmoid'(gate + gate_bias) dy; dgate may be dy.
//
// Where u is 1, a block has 32 channels of one batch and goes through all q.
//===----------------------------------------------------------------------===//
#include "runtime/cuda/kernels/Elementwise.cuh"

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
  int64_t blocks = call.batches * ceilDiv(call.channels, 32);
  if (blocks > 0)
    broadcastKernel<S><<<gridOf(blocks), 256, 0, launch.context->stream>>>(call);
  return {};
}

EVO_CUDA_INSTANTIATE(GateGrad)

} // namespace evo::cuda
