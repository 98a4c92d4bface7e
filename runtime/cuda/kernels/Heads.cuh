//===- Heads.cuh ---------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// Operands of attention by head. Head h reads key and value head h mod groups: with h = e groups +
// g, the heads of a group, e, are rows of one product beside the queries.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/cuda/Product.h"
#include "runtime/cuda/kernels/Elementwise.cuh"

namespace evo::cuda {

struct HeadGeometry {
  int64_t batches, heads, groups, perGroup, queries, keys, width;

  HeadGeometry(int64_t batches, int64_t heads, int64_t queries, int64_t keys, int64_t channels,
               int64_t keyChannels)
      : batches(batches), heads(heads), groups(keyChannels / (channels / heads)),
        perGroup(heads / groups), queries(queries), keys(keys), width(channels / heads) {}
};

/// Strides of an operand by batch, group of heads, head of a group, and its rows and columns.
struct HeadStrides {
  int64_t batch = 0, group = 0, member = 0, row = 0, col = 0;

  /// [b, q, (h, c)]
  static HeadStrides channels(const HeadGeometry &g, const Operand &o) {
    int64_t head = g.width * o.strides[2];
    return {o.strides[0], head, g.groups * head, o.strides[1], o.strides[2]};
  }
  /// [b, k, (g, c)]
  static HeadStrides keys(const HeadGeometry &g, const Operand &o) {
    return {o.strides[0], g.width * o.strides[2], 0, o.strides[1], o.strides[2]};
  }
  /// [h, q, k]
  static HeadStrides pairBias(const HeadGeometry &g, const Operand &o) {
    return {0, o.strides[0], g.groups * o.strides[0], o.strides[1], o.strides[2]};
  }
  /// [b, h, q, k] or [b, h, q]
  static HeadStrides weights(const HeadGeometry &g, const Operand &o) {
    return {o.strides[0], o.strides[1], g.groups * o.strides[1], o.strides[2], o.strides[3]};
  }
};

/// Adds b and g as the axes of the batch.
inline void addHeadBatch(Product &product, const HeadGeometry &g, const HeadStrides &a,
                         const HeadStrides &b, const HeadStrides &y,
                         const HeadStrides &addend = {}) {
  Product::addAxis(product.batch, g.batches, a.batch, b.batch, y.batch, addend.batch);
  Product::addAxis(product.batch, g.groups, a.group, b.group, y.group, addend.group);
}

/// out[k, c] = factor sum over e and q of weights[(e,q), k] rows[(e,q), c], for each b and g: what
/// keys and values get from the queries.
inline Status sumOverQueries(const Launch &launch, const HeadGeometry &g, double factor,
                             const Operand &weights, const Operand &rows, const Operand &out) {
  HeadStrides w = HeadStrides::weights(g, weights), r = HeadStrides::channels(g, rows);
  HeadStrides y = HeadStrides::keys(g, out);
  Product product;
  product.set(Product::A, weights);
  product.set(Product::B, rows);
  product.set(Product::Y, out);
  product.factor = factor;
  addHeadBatch(product, g, w, r, y);
  Product::addAxis(product.m, g.keys, w.col, 0, y.row);
  Product::addAxis(product.n, g.width, 0, r.col, y.col);
  Product::addAxis(product.k, g.perGroup, w.member, r.member, 0);
  Product::addAxis(product.k, g.queries, w.row, r.row, 0);
  return multiply(*launch.context, launch.precision, product);
}

} // namespace evo::cuda
