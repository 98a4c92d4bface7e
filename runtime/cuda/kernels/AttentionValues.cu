//===- AttentionValues.cu ------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// o[b,q,(h,c)] = sum_k weights[b,h,q,k] value[b,k,(g,c)], heads as in `attention`.
//===----------------------------------------------------------------------===//
#include "runtime/cuda/kernels/Heads.cuh"

namespace evo::cuda {

template <class S> Status launchAttentionValues(const Launch &launch) {
  const Operand &weights = launch.operands[0], &value = launch.operands[1], &o = launch.operands[2];
  HeadGeometry g(o.shape[0], launch.attributes->heads, o.shape[1], value.shape[1], o.shape[2],
                 value.shape[2]);
  HeadStrides w = HeadStrides::weights(g, weights), v = HeadStrides::keys(g, value);
  HeadStrides y = HeadStrides::channels(g, o);
  Product product;
  product.set(Product::A, weights);
  product.set(Product::B, value);
  product.set(Product::Y, o);
  addHeadBatch(product, g, w, v, y);
  Product::addAxis(product.m, g.perGroup, w.member, 0, y.member);
  Product::addAxis(product.m, g.queries, w.row, 0, y.row);
  Product::addAxis(product.n, g.width, 0, v.col, y.col);
  Product::addAxis(product.k, g.keys, w.col, v.row, 0);
  return multiply(*launch.context, launch.precision, product);
}

EVO_CUDA_INSTANTIATE(AttentionValues)

} // namespace evo::cuda
