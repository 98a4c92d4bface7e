//===- GradientRows.cpp ---------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "test/bench/BenchRows.h"

namespace evo::bench {

using plan::Kernel;

namespace {

/// Gradient of attention of `heads` x 32 over parts of buffers [b, q, 4 h c].
Row attentionRow(Buffers &buffers, std::string name, int64_t count, int64_t b, int64_t q,
                 int64_t heads, bool bias, bool transposed) {
  int64_t width = heads * 32;
  auto part = [&](int64_t index) {
    if (!transposed)
      return buffers.slice({b, q, width}, 4 * width, index * width);
    return Buffers::permuted(buffers.slice({q, b, width}, 4 * width, index * width), {1, 0, 2});
  };
  TensorRef o = transposed ? Buffers::permuted(buffers.dense({q, b, width}), {1, 0, 2})
                           : buffers.dense({b, q, width});
  TensorRef pair = bias ? buffers.dense({heads, q, q}) : TensorRef{};
  TensorRef dpair = bias ? buffers.dense({heads, q, q}) : TensorRef{};
  Row row{name,
          count,
          Kernel::AttentionGrad,
          attentionAttributes(heads),
          {part(0), part(1), part(2), pair, buffers.dense({b, q}), o, buffers.dense({b, heads, q}),
           o, dpair, part(0), part(1), part(2), dpair},
          {{b * heads, q, q, 32},
           {b * heads, q, q, 32},
           {b * heads, q, 32, q},
           {b * heads, q, 32, q},
           {b * heads, q, 32, q}}};
  return row;
}

Row weightRow(Buffers &buffers, std::string name, int64_t count, int64_t rows, int64_t n,
              int64_t k) {
  TensorRef dweight = buffers.dense({n, k});
  return {name,
          count,
          Kernel::WeightGrad,
          {},
          {buffers.dense({rows, n}), buffers.dense({rows, k}), dweight, dweight},
          {{1, n, k, rows}}};
}

Row biasRow(Buffers &buffers, std::string name, int64_t count, int64_t rows, int64_t n) {
  TensorRef dbias = buffers.dense({n});
  return {name, count, Kernel::BiasGrad, {}, {buffers.dense({rows, n}), dbias, dbias}, {}};
}

Row normRow(Buffers &buffers, std::string name, int64_t count, TensorRef x, int64_t rows,
            int64_t c) {
  plan::KernelAttributes attributes;
  attributes.eps = 1e-5;
  TensorRef dx = buffers.dense({rows, c}), dweight = buffers.dense({c}), dbias = buffers.dense({c});
  return {name,
          count,
          Kernel::LayerNormGrad,
          attributes,
          {x, buffers.dense({c}), buffers.dense({rows, c}), dx, dweight, dbias, dx, dweight, dbias},
          {}};
}

Row gateRow(Buffers &buffers, std::string name, int64_t rows, int64_t c) {
  auto part = [&] {
    TensorRef g = buffers.slice({rows, c}, 4 * c, 3 * c);
    g.rank = 3, g.shape = {1, rows, c}, g.strides = {0, 4 * c, 1};
    return g;
  };
  return {name,
          2,
          Kernel::GateGrad,
          {},
          {buffers.dense({1, rows, c}), part(), buffers.dense({c}), buffers.dense({1, rows, c}),
           buffers.dense({1, rows, c}), part()},
          {}};
}

Row reluRow(Buffers &buffers, std::string name, int64_t rows, int64_t n) {
  plan::KernelAttributes relu;
  relu.activation = plan::Activation::Relu;
  TensorRef dy = buffers.dense({rows, n});
  return {name, 1, Kernel::LinearGrad, relu, {dy, buffers.dense({rows, n}), {}, {}, {}, dy, {}},
          {}};
}

void msaRows(Buffers &buffers, int64_t s, int64_t r, std::vector<Row> &rows) {
  int64_t n = s * r;
  rows.push_back(normRow(buffers, "layer norm m", 4, buffers.dense({n, 256}), n, 256));
  rows.push_back(attentionRow(buffers, "row attention", 1, s, r, 8, true, false));
  rows.push_back(attentionRow(buffers, "column attention", 1, r, s, 8, false, true));
  rows.push_back(gateRow(buffers, "gate m", n, 256));
  rows.push_back(weightRow(buffers, "weights of q|k|v|g of m", 2, n, 1024, 256));
  rows.push_back(weightRow(buffers, "weights of output of m", 2, n, 256, 256));
  rows.push_back(weightRow(buffers, "weights of msa transition", 2, n, 1024, 256));
  rows.push_back(weightRow(buffers, "weights of outer product a|b", 1, n, 64, 256));
  rows.push_back(biasRow(buffers, "biases of msa transition 1", 1, n, 1024));
  rows.push_back(biasRow(buffers, "biases of m", 5, n, 256));
  rows.push_back(reluRow(buffers, "msa transition relu", n, 1024));
  rows.push_back({"outer product",
                  1,
                  Kernel::OuterProductGrad,
                  {},
                  {buffers.slice({s, r, 32}, 64, 0),
                   buffers.slice({s, r, 32}, 64, 32),
                   buffers.dense({r, r, 1024}),
                   {},
                   buffers.slice({s, r, 32}, 64, 0),
                   buffers.slice({s, r, 32}, 64, 32)},
                  {{2, s, r * 32, r * 32}}});
}

void pairRows(Buffers &buffers, int64_t r, std::vector<Row> &rows) {
  int64_t p = r * r;
  TensorRef channelFirst = Buffers::permuted(buffers.dense({128, p}), {1, 0});
  rows.push_back(normRow(buffers, "layer norm z", 6, buffers.dense({p, 128}), p, 128));
  rows.push_back(normRow(buffers, "layer norm of channel-first", 2, channelFirst, p, 128));
  rows.push_back(attentionRow(buffers, "triangle attention", 2, r, r, 4, true, false));
  rows.push_back(gateRow(buffers, "gate z", p, 128));
  rows.push_back(weightRow(buffers, "weights of q|k|v|g of z", 2, p, 512, 128));
  rows.push_back(weightRow(buffers, "weights of output of z, triangles", 14, p, 128, 128));
  rows.push_back(weightRow(buffers, "weights of pair transition", 2, p, 512, 128));
  rows.push_back(weightRow(buffers, "weights of pair bias", 3, p, 8, 128));
  rows.push_back(biasRow(buffers, "biases of pair transition 1", 1, p, 512));
  rows.push_back(biasRow(buffers, "biases of z", 17, p, 128));
  rows.push_back(reluRow(buffers, "pair transition relu", p, 512));
  TensorRef u = Buffers::permuted(buffers.dense({128, p}), {1, 0});
  TensorRef g = Buffers::permuted(buffers.dense({128, p}), {1, 0});
  rows.push_back({"triangle a, b, channel-first",
                  4,
                  Kernel::GatedLinearGrad,
                  {},
                  {channelFirst, u, g, buffers.dense({p}), u, g},
                  {}});
  TensorRef dy = buffers.dense({p, 128});
  rows.push_back(
      {"triangle output gate",
       2,
       Kernel::LinearGrad,
       {},
       {dy, buffers.dense({p, 128}), {}, buffers.dense({p, 128}), {}, dy, buffers.dense({p, 128})},
       {}});
  rows.push_back({"add z", 4, Kernel::Add, {}, {dy, buffers.dense({p, 128}), dy}, {}});
}

} // namespace

void gradientRows(Buffers &buffers, int64_t s, int64_t r, std::vector<Row> &rows) {
  msaRows(buffers, s, r, rows);
  pairRows(buffers, r, rows);
}

} // namespace evo::bench
