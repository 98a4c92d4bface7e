//===- Gate.cu -----------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// y[b,q,x] = sigmoid(gate[b,q,x] + gate_bias[x]) * o[b,u,x]; u is q, or 1 and o is broadcast over
// q. y may be the gate.
//===----------------------------------------------------------------------===//
#include "runtime/cuda/kernels/Elementwise.cuh"

namespace evo::cuda {

namespace {

struct GateOp {
  /// x: o, gate, gate_bias.
  __device__ void operator()(const float *x, float *y) const { y[0] = sigmoid(x[1] + x[2]) * x[0]; }
};

} // namespace

template <class S> Status launchGate(const Launch &launch) {
  const Operand *o = launch.operands;
  Elements<3, 1> elements(o[3]);
  elements.setBroadcast(0, o[0]);
  elements.set(1, o[1]);
  elements.setColumns(2, o[2]);
  elements.set(3, o[3]);
  return elementwise<S>(launch, elements, GateOp{});
}

EVO_CUDA_INSTANTIATE(Gate)

} // namespace evo::cuda
