//===- WeightGrad.cu -----------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// dweight[n,k] = accumulator[n,k] + factor sum_* du[*,n] x[*,k]; dweight may be the accumulator.
//
// Half types have a kernel for a du of few columns (WeightGradNarrow.cuh), one for Hopper
// (WeightGradHopper.cu), and one for rows that the library does not take as they lie
// (WeightGradMma.cuh); everything else is a product of the library.
//===----------------------------------------------------------------------===//
#include "runtime/cuda/Product.h"
#include "runtime/cuda/kernels/WeightGradHopper.h"
#include "runtime/cuda/kernels/WeightGradMma.cuh"

namespace evo::cuda {

template <class S> Status launchWeightGrad(const Launch &launch) {
  if constexpr (kIsHalf<S>) {
    bool done = false;
    EVO_TRY(launchWeightHopper<S>(launch, done));
    if (done)
      return {};
    if (NarrowGradCall call{}; describeNarrowGrad<S>(call, launch))
      return launchNarrowGrad<S>(launch, call);
    if (WeightMmaCall call{}; describeWeight<S>(call, launch))
      EVO_TRY(launchWeightMma<S>(launch, call, done));
    if (done)
      return {};
  }
  const Operand &du = launch.operands[0], &x = launch.operands[1];
  const Operand &accumulator = launch.operands[2], &dweight = launch.operands[3];
  int leading = du.rank - 1;
  Product product;
  product.set(Product::A, du);
  product.set(Product::B, x);
  product.set(Product::Addend, accumulator);
  product.set(Product::Y, dweight);
  product.factor = launch.attributes->factor;
  Product::addAxis(product.m, dweight.shape[0], du.strides[leading], 0, dweight.strides[0],
                   accumulator.strides[0]);
  Product::addAxis(product.n, dweight.shape[1], 0, x.strides[leading], dweight.strides[1],
                   accumulator.strides[1]);
  for (int d = 0; d < leading; ++d)
    Product::addAxis(product.k, du.shape[d], du.strides[d], x.strides[d], 0);
  return multiply(*launch.context, launch.precision, product);
}

EVO_CUDA_INSTANTIATE(WeightGrad)

} // namespace evo::cuda
