//===- BatchMatmulGrad.cu ------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// dx[b,m,n] = accumulator[b,m,n] + factor sum_k a[b,m,k] b[b,n,k]; dx may be the accumulator.
//===----------------------------------------------------------------------===//
#include "runtime/cuda/Product.h"
#include "runtime/cuda/kernels/Storage.cuh"

namespace evo::cuda {

template <class S> Status launchBatchMatmulGrad(const Launch &launch) {
  const Operand *o = launch.operands;
  return multiplyBatches(launch, o[0], o[1], o[2], o[3]);
}

EVO_CUDA_INSTANTIATE(BatchMatmulGrad)

} // namespace evo::cuda
