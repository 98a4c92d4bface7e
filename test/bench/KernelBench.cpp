//===- KernelBench.cpp - CPU kernels beside their products ------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// Times every kernel of one Evoformer block at AlphaFold's channels, forwards and backwards (the
// gradient kernels alone: input gradients are plain `linear`s), and beside it the bare matrix
// products that it contains, both on one thread, so that their ratio says what the rest of the
// kernel costs.
//   evo-bench-kernels [s r]
//===----------------------------------------------------------------------===//
#include "runtime/cpu/Blas.h"
#include "runtime/cpu/CpuBackend.h"
#include "test/bench/BenchRows.h"

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>

using namespace evo;
using namespace evo::bench;
using plan::Kernel;

plan::KernelAttributes bench::attentionAttributes(int64_t heads) {
  plan::KernelAttributes attributes;
  attributes.heads = heads, attributes.scale = 0.17, attributes.inf = 1e9;
  return attributes;
}

namespace {

/// Attention of `heads` x 32 over q, k, v that lie in one buffer [b, q, 4 h c].
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
  return {name,
          count,
          Kernel::Attention,
          attentionAttributes(heads),
          {part(0),
           part(1),
           part(2),
           bias ? buffers.dense({heads, q, q}) : TensorRef{},
           buffers.dense({b, q}),
           o,
           {}},
          {{b * heads, q, q, 32}, {b * heads, q, 32, q}}};
}

Row linearRow(Buffers &buffers, std::string name, int64_t count, int64_t rows, int64_t k,
              int64_t n) {
  return {name,
          count,
          Kernel::Linear,
          {},
          {buffers.dense({rows, k}),
           buffers.dense({n, k}),
           buffers.dense({n}),
           {},
           {},
           {},
           {},
           buffers.dense({rows, n})},
          {{1, rows, n, k}}};
}

Row normRow(Buffers &buffers, std::string name, int64_t count, TensorRef x,
            std::vector<int64_t> shape) {
  plan::KernelAttributes attributes;
  attributes.eps = 1e-5;
  int64_t c = shape.back();
  return {name,
          count,
          Kernel::LayerNorm,
          attributes,
          {x, buffers.dense({c}), buffers.dense({c}), buffers.dense(shape), {}, {}},
          {}};
}

void msaRows(Buffers &buffers, int64_t s, int64_t r, std::vector<Row> &rows) {
  int64_t n = s * r;
  rows.push_back(normRow(buffers, "layer norm m", 4, buffers.dense({n, 256}), {n, 256}));
  rows.push_back(linearRow(buffers, "q|k|v|g of m", 2, n, 256, 1024));
  rows.push_back(attentionRow(buffers, "row attention", 1, s, r, 8, true, false));
  rows.push_back(attentionRow(buffers, "column attention", 1, r, s, 8, false, true));
  TensorRef g = buffers.slice({n, 256}, 1024, 768);
  g.rank = 3, g.shape = {1, n, 256}, g.strides = {0, 1024, 1};
  rows.push_back({"gate m",
                  2,
                  Kernel::Gate,
                  {},
                  {buffers.dense({1, n, 256}), g, buffers.dense({256}), buffers.dense({1, n, 256})},
                  {}});
  Row out = linearRow(buffers, "output of m, residual", 2, n, 256, 256);
  out.operands[6] = out.operands[7];
  rows.push_back(out);
  Row first = linearRow(buffers, "msa transition 1, relu", 1, n, 256, 1024);
  first.attributes.activation = plan::Activation::Relu;
  rows.push_back(first);
  Row second = linearRow(buffers, "msa transition 2, mask, residual", 1, n, 1024, 256);
  second.operands[3] = buffers.dense({n});
  second.operands[6] = second.operands[7];
  rows.push_back(second);
  rows.push_back(linearRow(buffers, "outer product a|b", 1, n, 256, 64));
  TensorRef y = buffers.dense({r, r, 128});
  rows.push_back({"outer product mean",
                  1,
                  Kernel::OuterProductMean,
                  {},
                  {buffers.slice({s, r, 32}, 64, 0), buffers.slice({s, r, 32}, 64, 32),
                   buffers.dense({128, 1024}), buffers.dense({128}), buffers.dense({r, r}), y, y},
                  {{1, r * 32, r * 32, s}, {1, r * r, 128, 1024}}});
}

void pairRows(Buffers &buffers, int64_t r, std::vector<Row> &rows) {
  int64_t p = r * r;
  rows.push_back(normRow(buffers, "layer norm z", 5, buffers.dense({p, 128}), {p, 128}));
  rows.push_back(normRow(buffers, "layer norm z transposed", 1,
                         Buffers::permuted(buffers.dense({r, r, 128}), {1, 0, 2}), {r, r, 128}));
  for (int64_t heads : {8, 4}) {
    Row bias = linearRow(buffers, "pair bias, " + std::to_string(heads) + " heads",
                         heads == 8 ? 1 : 2, p, 128, heads);
    bias.operands[7] = Buffers::permuted(buffers.dense({heads, p}), {1, 0});
    rows.push_back(bias);
  }
  TensorRef channelFirst = Buffers::permuted(buffers.dense({128, p}), {1, 0});
  rows.push_back(
      {"triangle a, b",
       4,
       Kernel::GatedLinear,
       {},
       {buffers.dense({p, 128}), buffers.dense({128, 128}), buffers.dense({128}),
        buffers.dense({128, 128}), buffers.dense({128}), buffers.dense({p}), channelFirst},
       {{2, p, 128, 128}}});
  TensorRef a = buffers.dense({128, r, r}), b = buffers.dense({128, r, r});
  rows.push_back({"triangle product, outgoing",
                  1,
                  Kernel::BatchMatmul,
                  {},
                  {a, b, buffers.dense({128, r, r})},
                  {{128, r, r, r}}});
  rows.push_back({"triangle product, incoming",
                  1,
                  Kernel::BatchMatmul,
                  {},
                  {Buffers::permuted(a, {0, 2, 1}), Buffers::permuted(b, {0, 2, 1}),
                   buffers.dense({128, r, r})},
                  {{128, r, r, r}}});
  rows.push_back(normRow(buffers, "layer norm of channel-first", 2, channelFirst, {p, 128}));
  rows.push_back(linearRow(buffers, "triangle gate", 2, p, 128, 128));
  Row gated = linearRow(buffers, "triangle output, gate, residual", 2, p, 128, 128);
  gated.operands[4] = buffers.dense({p, 128});
  gated.operands[6] = gated.operands[7];
  rows.push_back(gated);
  rows.push_back(linearRow(buffers, "q|k|v|g of z", 2, p, 128, 512));
  rows.push_back(attentionRow(buffers, "triangle attention", 2, r, r, 4, true, false));
  TensorRef g = buffers.slice({p, 128}, 512, 384);
  g.rank = 3, g.shape = {1, p, 128}, g.strides = {0, 512, 1};
  rows.push_back({"gate z",
                  2,
                  Kernel::Gate,
                  {},
                  {buffers.dense({1, p, 128}), g, buffers.dense({128}), buffers.dense({1, p, 128})},
                  {}});
  Row out = linearRow(buffers, "output of z, residual", 1, p, 128, 128);
  out.operands[6] = out.operands[7];
  rows.push_back(out);
  Row turned = linearRow(buffers, "output of z, residual transposed", 1, p, 128, 128);
  turned.operands[0] = buffers.dense({r, r, 128});
  turned.operands[7] = turned.operands[6] =
      Buffers::permuted(buffers.dense({r, r, 128}), {1, 0, 2});
  rows.push_back(turned);
  Row first = linearRow(buffers, "pair transition 1, relu", 1, p, 128, 512);
  first.attributes.activation = plan::Activation::Relu;
  rows.push_back(first);
  Row second = linearRow(buffers, "pair transition 2, mask, residual", 1, p, 512, 128);
  second.operands[3] = buffers.dense({p});
  second.operands[6] = second.operands[7];
  rows.push_back(second);
}

/// Median milliseconds of a few runs.
double timed(const std::function<void()> &body) {
  std::vector<double> times;
  body();
  for (int i = 0; i < 5; ++i) {
    auto start = std::chrono::steady_clock::now();
    body();
    times.push_back(
        std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start)
            .count());
  }
  std::sort(times.begin(), times.end());
  return times[times.size() / 2];
}

double timedProduct(const Product &p) {
  std::vector<float> a(size_t(p.batch * p.m * p.k), 0.5f), b(size_t(p.batch * p.n * p.k), 0.25f),
      c(size_t(p.batch * p.m * p.n));
  return timed([&] {
    for (int64_t i = 0; i < p.batch; ++i)
      cpu::blasGemm(false, true, int(p.m), int(p.n), int(p.k), 1.0f, a.data() + i * p.m * p.k,
                    int(p.k), b.data() + i * p.n * p.k, int(p.k), 0.0f, c.data() + i * p.m * p.n,
                    int(p.n));
  });
}

/// Prints a line a row and their sum; false where a backend refused.
bool timeRows(const char *title, const std::vector<Row> &rows, Backend &single, Backend &parallel) {
  std::printf("%-36s %5s %10s %10s %7s %11s\n", title, "calls", "ms a call", "products", "ratio",
              "all threads");
  double total = 0, products = 0, totalParallel = 0;
  for (const Row &row : rows) {
    bool ok = true;
    auto launch = [&](Backend &device) {
      return timed([&] {
        ok &=
            device.launch({row.kernel, plan::Precision::Fp32, &row.attributes, row.operands}).ok();
      });
    };
    double ms = launch(single), parallelMs = launch(parallel), bare = 0;
    if (!ok) {
      std::fprintf(stderr, "%s: the backend refused\n", row.name.c_str());
      return false;
    }
    for (const Product &product : row.products)
      bare += timedProduct(product);
    auto count = static_cast<double>(row.count);
    total += count * ms, products += count * bare, totalParallel += count * parallelMs;
    std::printf("%-36s %5lld %10.3f %10.3f ", row.name.c_str(), (long long)row.count, ms, bare);
    bare > 0 ? std::printf("%7.2f", ms / bare) : std::printf("%7s", "-");
    std::printf(" %11.3f\n", parallelMs);
  }
  std::printf("%-36s %5s %10.3f %10.3f %7.2f %11.3f\n", "block", "", total, products,
              total / products, totalParallel);
  return true;
}

} // namespace

int main(int argc, char **argv) {
  int64_t s = argc == 3 ? std::atoll(argv[1]) : 64, r = argc == 3 ? std::atoll(argv[2]) : 128;
  auto backend = evo::createCpuBackend(1), parallel = evo::createCpuBackend(0);
  if (!backend.ok() || !parallel.ok() || s < 1 || r < 1) {
    std::fprintf(stderr, "usage: evo-bench-kernels [s r]\n");
    return 2;
  }
  std::printf("%s; s = %lld, r = %lld\n", (*backend)->description().c_str(), (long long)s,
              (long long)r);
  Buffers buffers;
  std::vector<Row> forward, backward;
  msaRows(buffers, s, r, forward);
  pairRows(buffers, r, forward);
  gradientRows(buffers, s, r, backward);
  bool ok = timeRows("forward", forward, **backend, **parallel) &&
            timeRows("gradients", backward, **backend, **parallel);
  return ok ? 0 : 1;
}
