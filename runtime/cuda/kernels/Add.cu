//===- Add.cu ------------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// y[*] = x[*] + addend[*]; y may be x.
//===----------------------------------------------------------------------===//
#include "runtime/cuda/kernels/Elementwise.cuh"

namespace evo::cuda {

namespace {

struct AddOp {
  __device__ void operator()(const float *x, float *y) const { y[0] = x[0] + x[1]; }
};

} // namespace

template <class S> Status launchAdd(const Launch &launch) {
  Elements<2, 1> elements(launch.operands[2]);
  for (int i = 0; i < 3; ++i)
    elements.set(i, launch.operands[i]);
  return elementwise<S>(launch, elements, AddOp{});
}

EVO_CUDA_INSTANTIATE(Add)

} // namespace evo::cuda
