//===- BatchMatmul.cu ----------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// y[b,m,n] = factor sum_k a[b,m,k] b[b,n,k].
//===----------------------------------------------------------------------===//
#include "runtime/cuda/Product.h"
#include "runtime/cuda/kernels/Storage.cuh"

namespace evo::cuda {

template <class S> Status launchBatchMatmul(const Launch &launch) {
  const Operand &a = launch.operands[0], &b = launch.operands[1], &y = launch.operands[2];
  const Operand accumulator;
  Product product;
  product.set(Product::A, a);
  product.set(Product::B, b);
  product.set(Product::Addend, accumulator);
  product.set(Product::Y, y);
  product.factor = launch.attributes->factor;
  Product::addAxis(product.batch, y.shape[0], a.strides[0], b.strides[0], y.strides[0],
                   accumulator.strides[0]);
  Product::addAxis(product.m, y.shape[1], a.strides[1], 0, y.strides[1], accumulator.strides[1]);
  Product::addAxis(product.n, y.shape[2], 0, b.strides[1], y.strides[2], accumulator.strides[2]);
  Product::addAxis(product.k, a.shape[2], a.strides[2], b.strides[2], 0);
  return multiply(*launch.context, launch.precision, product);
}

EVO_CUDA_INSTANTIATE(BatchMatmul)

} // namespace evo::cuda
