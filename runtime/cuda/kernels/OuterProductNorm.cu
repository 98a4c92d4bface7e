//===- OuterProductNorm.cu -----------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// y[i,j] = 1 / (eps + sum_s mask_i[s,i] mask_j[s,j]).
//===----------------------------------------------------------------------===//
#include "runtime/cuda/Product.h"
#include "runtime/cuda/kernels/Elementwise.cuh"

namespace evo::cuda {

namespace {

struct NormOp {
  float eps;
  __device__ void operator()(const float *x, float *y) const { y[0] = 1.0f / (eps + x[0]); }
};

} // namespace

template <class S> Status launchOuterProductNorm(const Launch &launch) {
  const Operand &maskI = launch.operands[0], &maskJ = launch.operands[1], &y = launch.operands[2];
  Product product;
  product.set(Product::A, maskI);
  product.set(Product::B, maskJ);
  product.set(Product::Y, y);
  Product::addAxis(product.m, y.shape[0], maskI.strides[1], 0, y.strides[0]);
  Product::addAxis(product.n, y.shape[1], 0, maskJ.strides[1], y.strides[1]);
  Product::addAxis(product.k, maskI.shape[0], maskI.strides[0], maskJ.strides[0], 0);
  EVO_TRY(multiply(*launch.context, launch.precision, product));
  Elements<1, 1> elements(y);
  elements.set(0, y);
  elements.set(1, y);
  return elementwise<S>(launch, elements, NormOp{static_cast<float>(launch.attributes->eps)});
}

EVO_CUDA_INSTANTIATE(OuterProductNorm)

} // namespace evo::cuda
