//===- Zero.cu -----------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// y[*] = 0.
//===----------------------------------------------------------------------===//
#include "runtime/cuda/kernels/Elementwise.cuh"

namespace evo::cuda {

namespace {

struct ZeroOp {
  __device__ void operator()(const float *, float *y) const { y[0] = 0; }
};

} // namespace

template <class S> Status launchZero(const Launch &launch) {
  Elements<0, 1> elements(launch.operands[0]);
  elements.set(0, launch.operands[0]);
  return elementwise<S>(launch, elements, ZeroOp{});
}

EVO_CUDA_INSTANTIATE(Zero)

} // namespace evo::cuda
