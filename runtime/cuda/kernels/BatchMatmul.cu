//===- BatchMatmul.cu ----------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// y[b,m,n] = factor sum_k a[b,m,k] b[b,n,k].
//===----------------------------------------------------------------------===//
#include "runtime/cuda/Product.h"
#include "runtime/cuda/kernels/Storage.cuh"

namespace evo::cuda {

template <class S> Status launchBatchMatmul(const Launch &launch) {
  const Operand *o = launch.operands;
  return multiplyBatches(launch, o[0], o[1], Operand(), o[2]);
}

EVO_CUDA_INSTANTIATE(BatchMatmul)

} // namespace evo::cuda
