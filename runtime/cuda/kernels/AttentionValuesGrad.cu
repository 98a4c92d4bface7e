//===- AttentionValuesGrad.cu --------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// dweights[b,h,q,k] = sum_c dout[b,q,(h,c)] value[b,k,(g,c)];
// dvalue[b,k,(g,c)] = sum over q and the heads h of g of weights[b,h,q,k] dout[b,q,(h,c)].
//===----------------------------------------------------------------------===//
#include "runtime/cuda/kernels/Heads.cuh"

namespace evo::cuda {

template <class S> Status launchAttentionValuesGrad(const Launch &launch) {
  const Operand &weights = launch.operands[0], &value = launch.operands[1];
  const Operand &dout = launch.operands[2], &dweights = launch.operands[3];
  HeadGeometry g(dout.shape[0], launch.attributes->heads, dout.shape[1], value.shape[1],
                 dout.shape[2], value.shape[2]);
  HeadStrides d = HeadStrides::channels(g, dout), v = HeadStrides::keys(g, value);
  HeadStrides y = HeadStrides::weights(g, dweights);
  Product product;
  product.set(Product::A, dout);
  product.set(Product::B, value);
  product.set(Product::Y, dweights);
  addHeadBatch(product, g, d, v, y);
  Product::addAxis(product.m, g.perGroup, d.member, 0, y.member);
  Product::addAxis(product.m, g.queries, d.row, 0, y.row);
  Product::addAxis(product.n, g.keys, 0, v.row, y.col);
  Product::addAxis(product.k, g.width, d.col, v.col, 0);
  EVO_TRY(multiply(*launch.context, launch.precision, product));
  return sumOverQueries(launch, g, 1, weights, dout, launch.operands[4]);
}

EVO_CUDA_INSTANTIATE(AttentionValuesGrad)

} // namespace evo::cuda
