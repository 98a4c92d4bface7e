//===- Cases.cpp ----------------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "test/conformance/CaseBuilder.h"

#include <algorithm>
#include <array>

namespace evo::conformance {

using plan::Kernel;
using plan::KernelAttributes;

namespace {

void rowKernels(CaseBuilder &builder) {
  KernelAttributes norm;
  norm.eps = 1e-5;
  std::vector<Sizes> rows = {{{}, {{'c', 7}}},           {{1}, {{'c', 1}}},
                             {{5}, {{'c', 64}}},         {{3, 7}, {{'c', 33}}},
                             {{65}, {{'c', 130}}},       {{2, 3, 5}, {{'c', 17}}},
                             {{2, 3, 2, 3}, {{'c', 16}}}};
  builder.sweep(Kernel::LayerNorm, norm, rows);
  KernelCase offset = builder.make(Kernel::LayerNorm, norm, {{9}, {{'c', 256}}});
  offset.operands[0].fill = Fill::Offset;
  offset.conditioning = 1000;
  builder.add(offset);
  for (Layout layout : {Layout::Dense, Layout::SwapInner}) {
    KernelCase wide = builder.make(Kernel::LayerNorm, norm, {{2}, {{'c', 500009}}});
    wide.operands[0].layout = layout;
    wide.operands[3].layout = layout;
    builder.add(wide);
    wide = builder.make(Kernel::Softmax, {}, {{2}, {{'k', 500009}}});
    wide.operands[0].layout = layout;
    wide.operands[1].layout = layout;
    builder.add(wide);
  }
  builder.sweep(
      Kernel::Softmax, {},
      {{{}, {{'k', 5}}}, {{1}, {{'k', 1}}}, {{3, 65}, {{'k', 31}}}, {{2, 3, 5}, {{'k', 129}}}});
  KernelCase big = builder.make(Kernel::Softmax, {}, {{11}, {{'k', 100}}});
  big.operands[0].fill = Fill::Large;
  big.conditioning = 100;
  builder.add(big);
  // Turned, aligned: around tiles of 64 x 64.
  for (const std::vector<int64_t> &shape :
       std::vector<std::vector<int64_t>>{{24, 72}, {5, 64, 136}, {16, 3, 8}, {40, 12}})
    for (Layout layout : {Layout::SwapInner, Layout::FirstInner, Layout::LastOuter})
      for (size_t turned : {0, 1}) {
        KernelCase copy = builder.make(Kernel::Copy, {}, {shape, {}});
        copy.aligned = true;
        copy.operands[turned].layout = layout;
        builder.add(copy);
      }
  builder.sweep(Kernel::Copy, {},
                {{{}, {}},
                 {{1}, {}},
                 {{7}, {}},
                 {{5, 9}, {}},
                 {{65, 130}, {}},
                 {{3, 5, 7}, {}},
                 {{17, 3, 33}, {}},
                 {{2, 3, 2, 5}, {}},
                 {{2, 1, 3, 2, 1, 3}, {}}});
}

/// A rank whose shard is empty runs every kernel; a sum over nothing is 0.
void emptyCases(CaseBuilder &builder) {
  KernelAttributes attributes;
  attributes.eps = 1e-5, attributes.heads = 2, attributes.inf = 1e9;
  for (const plan::KernelInfo &info : plan::kernelTable()) {
    if (info.kernel >= Kernel::CountNonfinite)
      break; // among the optimizer's own cases
    Sizes sizes{{0, 3}, {}};
    for (char axis : std::string_view("bcdijkmnqsuxy"))
      sizes.extent[axis] = 4;
    for (char axis : std::string_view("bi"))
      sizes.extent[axis] = 0;
    sizes.extent['x'] = info.name.substr(0, 5) == "Outer" ? 16 : 4;
    sizes.extent['u'] = 1;
    builder.add(builder.make(info.kernel, attributes, sizes));
  }
  builder.add(builder.make(Kernel::Linear, {}, {{5}, {{'k', 0}, {'n', 3}}}));
  builder.add(
      builder.make(Kernel::BatchMatmul, {}, {{}, {{'b', 2}, {'m', 3}, {'n', 5}, {'k', 0}}}));
  builder.add(
      builder.make(Kernel::OuterProductNorm, attributes, {{}, {{'s', 0}, {'i', 3}, {'j', 5}}}));
}

/// What plans have: multiples of 8 channels, aligned, y also channel-first; around tiles of 128
/// rows and of 64 and 128 columns.
void usualLinears(CaseBuilder &builder) {
  const std::vector<std::pair<int64_t, int64_t>> channels = {
      {64, 128}, {256, 8}, {40, 200}, {512, 136}};
  for (auto [k, n] : channels)
    for (Layout layout : {Layout::Dense, Layout::LastOuter}) {
      Sizes sizes{{k > 256 ? 2 : 3, k > 256 ? 65 : 100}, {{'k', k}, {'n', n}}};
      for (unsigned subset = 0; subset < 8; ++subset) {
        KernelAttributes attributes;
        attributes.activation = subset & 1 ? plan::Activation::Relu : plan::Activation::None;
        KernelCase usual = builder.make(Kernel::Linear, attributes, sizes);
        usual.aligned = true;
        for (size_t i : {3, 4, 5})
          usual.operands[i].present = subset & 2;
        usual.operands[6].present = subset & 4;
        usual.operands[7].layout = layout;
        builder.add(usual);
        usual.inPlace = usual.operands[6].present && layout == Layout::Dense;
        if (usual.inPlace)
          builder.add(usual);
        usual.operands[1].layout = Layout::LastOuter; // as in backward
        builder.add(usual);
      }
      KernelCase gated = builder.make(Kernel::GatedLinear, {}, sizes);
      gated.aligned = true;
      gated.operands[6].layout = layout;
      builder.add(gated);
    }
}

/// More rows than a device's blocks hold at a time, so that each goes through several tiles, of two
/// axes the inner of which ends within a tile.
void tallLinears(CaseBuilder &builder) {
  for (auto [k, n] : {std::pair<int64_t, int64_t>{8, 16}, {72, 24}})
    for (unsigned subset = 0; subset < 4; ++subset) {
      KernelCase tall = builder.make(Kernel::Linear, {}, {{301, 200}, {{'k', k}, {'n', n}}});
      tall.aligned = true;
      tall.operands[1].layout = subset & 1 ? Layout::LastOuter : Layout::Dense;
      tall.operands[3].layout = Layout::SwapInner;
      tall.operands[4].present = subset & 1, tall.operands[5].present = false;
      tall.operands[6].present = subset & 2;
      builder.add(tall);
    }
}

/// y by channel in runs that tensor cores store eight rows at a time, and others; a row scale that
/// lies across the rows; around tiles of 64 rows and 128 columns, depths of 64 and 128.
void gatedByChannel(CaseBuilder &builder) {
  const std::vector<std::pair<int64_t, int64_t>> channels = {{128, 136}, {104, 24}, {40, 256}};
  const std::vector<std::vector<int64_t>> shapes = {{3, 104}, {5, 8}, {2, 3, 64}, {9, 20}};
  for (auto [k, n] : channels)
    for (const std::vector<int64_t> &shape : shapes)
      for (Layout scale : {Layout::Dense, Layout::SwapInner}) {
        KernelCase gated = builder.make(Kernel::GatedLinear, {}, {shape, {{'k', k}, {'n', n}}});
        gated.aligned = true;
        gated.operands[5].layout = scale;
        gated.operands[6].layout = Layout::LastOuter;
        builder.add(gated);
        gated.operands[5].present = false;
        builder.add(gated);
      }
  // Several tiles a block where 88 blocks share 64 rows of 3 times 128 columns each, or 26 each of
  // 5 times 64.
  for (int64_t rows : {171, 176, 264}) {
    KernelCase gated = builder.make(Kernel::GatedLinear, {}, {{40, rows}, {{'k', 8}, {'n', 264}}});
    gated.aligned = true;
    gated.operands[6].layout = Layout::LastOuter;
    builder.add(gated);
  }
}

/// Few channels into aligned columns, which may be more than a block's; the weight also turned and
/// x a slice, as backwards from the heads of a pair bias.
void narrowLinears(CaseBuilder &builder) {
  for (auto [k, n] : {std::pair<int64_t, int64_t>{1, 8}, {4, 136}, {8, 1024}, {8, 2056}})
    for (unsigned subset = 0; subset < 8; ++subset) {
      KernelAttributes attributes;
      attributes.activation = subset & 1 ? plan::Activation::Relu : plan::Activation::None;
      attributes.factor = 0.5;
      KernelCase narrow = builder.make(Kernel::Linear, attributes, {{3, 20}, {{'k', k}, {'n', n}}});
      narrow.aligned = true;
      narrow.operands[0].layout = subset & 2 ? Layout::Slice : Layout::Dense;
      narrow.operands[1].layout = subset & 2 ? Layout::SwapInner : Layout::Dense;
      narrow.operands[2].present = subset & 2;
      for (size_t i : {3, 4, 5})
        narrow.operands[i].present = false;
      narrow.operands[6].present = subset & 4;
      builder.add(narrow);
      narrow.inPlace = narrow.operands[6].present;
      if (narrow.inPlace)
        builder.add(narrow);
    }
}

void linearKernels(CaseBuilder &builder) {
  std::vector<Sizes> sizes = {
      {{}, {{'k', 3}, {'n', 2}}},         {{1}, {{'k', 1}, {'n', 1}}},
      {{3, 5}, {{'k', 7}, {'n', 11}}},    {{1, 37}, {{'k', 32}, {'n', 1}}},
      {{2, 3, 2}, {{'k', 16}, {'n', 8}}}, {{4, 65}, {{'k', 33}, {'n', 20}}}};
  for (plan::Activation activation : {plan::Activation::None, plan::Activation::Relu}) {
    KernelAttributes attributes;
    attributes.activation = activation;
    builder.sweep(Kernel::Linear, attributes, sizes);
  }
  builder.sweep(Kernel::GatedLinear, {}, sizes);
  for (int64_t rows : {255, 257, 512})
    for (int64_t cols : {256, 259})
      for (int mixture = 0; mixture < 4; ++mixture)
        for (Kernel kernel : {Kernel::Linear, Kernel::GatedLinear}) {
          KernelCase border =
              CaseBuilder::make(kernel, {}, {{rows}, {{'k', 129}, {'n', cols}}}, uint64_t(mixture));
          if (mixture)
            CaseBuilder::mixLayouts(border, mixture);
          builder.add(border);
        }
  usualLinears(builder);
  tallLinears(builder);
  gatedByChannel(builder);
  narrowLinears(builder);
  builder.sweep(Kernel::Gate, {},
                {{{}, {{'b', 1}, {'u', 1}, {'q', 1}, {'x', 1}}},
                 {{}, {{'b', 3}, {'u', 5}, {'q', 5}, {'x', 32}}},
                 {{}, {{'b', 2}, {'u', 1}, {'q', 7}, {'x', 13}}},
                 {{}, {{'b', 2}, {'u', 66}, {'q', 66}, {'x', 1025}}}});
}

/// The mask of one axis and of several, around the tasks and the groups of four, by each word of
/// the key.
void dropoutKernels(CaseBuilder &builder) {
  for (double rate : {0.0, 0.15, 0.25, 0.9375, 1 - 0x1p-40})
    for (const std::vector<int64_t> &shape :
         std::vector<std::vector<int64_t>>{{1}, {7}, {1, 5, 3}, {33, 1, 129}, {4097}, {2, 3, 1366}})
      for (int mixture = 0; mixture < 3; ++mixture) {
        KernelAttributes attributes;
        attributes.rate = rate;
        attributes.module = mixture == 1 ? 0xfffffffe : 3;
        KernelCase mask = builder.make(Kernel::DropoutMask, attributes, {shape, {}});
        mask.dropout = mixture == 2 ? plan::DropoutKey{0xffffffff, 0xfffffffd, 0x7fffffff}
                                    : plan::DropoutKey{11, 5, 47};
        if (mixture)
          CaseBuilder::mixLayouts(mask, mixture);
        builder.add(mask);
      }
}

void matrixKernels(CaseBuilder &builder) {
  builder.sweep(Kernel::BatchMatmul, {},
                {{{}, {{'b', 1}, {'m', 1}, {'n', 1}, {'k', 1}}},
                 {{}, {{'b', 3}, {'m', 5}, {'n', 7}, {'k', 11}}},
                 {{}, {{'b', 4}, {'m', 16}, {'n', 1}, {'k', 130}}},
                 {{}, {{'b', 2}, {'m', 257}, {'n', 513}, {'k', 9}}},
                 {{}, {{'b', 2}, {'m', 129}, {'n', 131}, {'k', 257}}}});
  builder.sweep(Kernel::OuterProduct, {},
                {{{}, {{'s', 1}, {'i', 1}, {'j', 1}, {'c', 1}, {'d', 1}, {'x', 1}}},
                 {{}, {{'s', 5}, {'i', 3}, {'j', 7}, {'c', 3}, {'d', 5}, {'x', 15}}},
                 {{}, {{'s', 65}, {'i', 17}, {'j', 19}, {'c', 4}, {'d', 3}, {'x', 12}}},
                 {{}, {{'s', 3}, {'i', 2}, {'j', 2}, {'c', 259}, {'d', 2}, {'x', 518}}},
                 {{}, {{'s', 3}, {'i', 2}, {'j', 2}, {'c', 2}, {'d', 515}, {'x', 1030}}},
                 // Around tiles of 64 x 128 and, of many s, of 128 x 128; 32 s. Of 128 x 256 and
                 // 64 s, of lines of 16, 32 and 64.
                 {{}, {{'s', 33}, {'i', 5}, {'j', 9}, {'c', 32}, {'d', 32}, {'x', 1024}}},
                 {{}, {{'s', 65}, {'i', 3}, {'j', 17}, {'c', 64}, {'d', 16}, {'x', 1024}}},
                 {{}, {{'s', 64}, {'i', 9}, {'j', 5}, {'c', 16}, {'d', 64}, {'x', 1024}}},
                 {{}, {{'s', 130}, {'i', 17}, {'j', 3}, {'c', 8}, {'d', 24}, {'x', 192}}},
                 {{}, {{'s', 261}, {'i', 9}, {'j', 4}, {'c', 16}, {'d', 40}, {'x', 640}}}});
  builder.sweep(
      Kernel::OuterProductMean, {},
      {{{}, {{'s', 1}, {'i', 1}, {'j', 1}, {'c', 1}, {'d', 1}, {'x', 1}, {'n', 1}}},
       {{}, {{'s', 5}, {'i', 3}, {'j', 7}, {'c', 3}, {'d', 5}, {'x', 15}, {'n', 11}}},
       {{}, {{'s', 65}, {'i', 9}, {'j', 18}, {'c', 8}, {'d', 8}, {'x', 64}, {'n', 130}}},
       {{}, {{'s', 3}, {'i', 2}, {'j', 3}, {'c', 259}, {'d', 2}, {'x', 518}, {'n', 5}}},
       {{}, {{'s', 3}, {'i', 2}, {'j', 3}, {'c', 3}, {'d', 515}, {'x', 1545}, {'n', 131}}},
       // Around tiles of 16 x 16 pairs, 128 n, chunks of 8 c and 8 d, blocks of 64 s: as many s as
       // a tile keeps, and more.
       {{}, {{'s', 128}, {'i', 3}, {'j', 17}, {'c', 32}, {'d', 32}, {'x', 1024}, {'n', 128}}},
       {{}, {{'s', 81}, {'i', 17}, {'j', 5}, {'c', 13}, {'d', 8}, {'x', 104}, {'n', 132}}},
       // Around tiles of 64 x 4 pairs, 128 n, chunks of 2 c, blocks of 64 s.
       {{}, {{'s', 70}, {'i', 66}, {'j', 6}, {'c', 6}, {'d', 32}, {'x', 192}, {'n', 136}}},
       {{}, {{'s', 257}, {'i', 4}, {'j', 18}, {'c', 16}, {'d', 24}, {'x', 384}, {'n', 17}}}});
  KernelAttributes norm;
  norm.eps = 1e-3;
  builder.sweep(Kernel::OuterProductNorm, norm,
                {{{}, {{'s', 1}, {'i', 1}, {'j', 1}}},
                 {{}, {{'s', 7}, {'i', 5}, {'j', 3}}},
                 {{}, {{'s', 33}, {'i', 129}, {'j', 131}}}});
  KernelAttributes mean;
  mean.eps = 1e-8;
  builder.sweep(Kernel::MaskedMean, mean,
                {{{}, {{'b', 1}, {'q', 1}, {'x', 1}, {'u', 1}}},
                 {{}, {{'b', 4}, {'q', 37}, {'x', 9}, {'u', 1}}},
                 {{}, {{'b', 2}, {'q', 600}, {'x', 259}, {'u', 1}}}});
}

/// Rows, columns and depths around the tiles of 64, 128, 192 and 256 that devices have for aligned
/// operands of whole eights.
void tiledProducts(CaseBuilder &builder) {
  const int64_t rows[] = {63, 64, 65, 127, 128, 129, 191, 192, 193, 255, 257};
  const int64_t channels[] = {56, 64, 72, 120, 128, 136, 184, 200, 248, 256, 264};
  for (Kernel kernel : {Kernel::Linear, Kernel::GatedLinear, Kernel::WeightGrad})
    for (size_t i = 0; i < 11; ++i) {
      Sizes sizes{{rows[i]}, {{'n', channels[(4 * i + 2) % 11]}, {'k', channels[(7 * i) % 11]}}};
      KernelCase tiled = builder.make(kernel, {}, sizes);
      tiled.aligned = true;
      builder.add(tiled);
      sizes.leading = {2, rows[i]};
      tiled = builder.make(kernel, {}, sizes);
      tiled.aligned = true;
      tiled.operands[0].layout = Layout::Slice; // rows of x, or of du, that lie apart
      // The row scale or the accumulator.
      tiled.operands[kernel == Kernel::WeightGrad ? 2
                     : kernel == Kernel::Linear   ? 3
                                                  : 5]
          .present = i % 2;
      builder.add(tiled);
    }
  for (size_t i = 0; i < 11; ++i) {
    int64_t m = rows[(3 * i + 1) % 11];
    KernelCase outer = builder.make(Kernel::OuterProduct, {},
                                    {{},
                                     {{'s', rows[i]},
                                      {'i', m / 32 + 1},
                                      {'j', 1 + int64_t(i) % 9},
                                      {'c', 32},
                                      {'d', 32},
                                      {'x', 1024}}});
    outer.aligned = true;
    builder.add(outer);
    outer = builder.make(
        Kernel::BatchMatmul, {},
        {{},
         {{'b', 2}, {'m', m}, {'n', channels[(4 * i + 2) % 11]}, {'k', channels[(7 * i) % 11]}}});
    outer.aligned = true;
    builder.add(outer);
  }
}

/// What plans have: aligned norms, also of a channel-first x, around tiles of 64 rows, and of as
/// many channels as fit 16 or 32 lanes once or twice and of one pair more.
void usualNorms(CaseBuilder &builder) {
  KernelAttributes norm;
  norm.eps = 1e-5;
  for (Kernel kernel : {Kernel::LayerNorm, Kernel::LayerNormGrad})
    for (int64_t channels : {64, 66, 128, 130, 256, 384})
      for (std::vector<int64_t> rows : {std::vector<int64_t>{3, 72}, {5, 61}})
        for (Layout layout : {Layout::Dense, Layout::LastOuter}) {
          KernelCase usual = builder.make(kernel, norm, {rows, {{'c', channels}}});
          usual.aligned = true;
          usual.operands[0].layout = layout;
          builder.add(usual);
          usual.operands[kernel == Kernel::LayerNorm ? 4 : 3].present = false;
          builder.add(usual);
        }
}

/// So many rows that the warps of a large device have some more than once.
void manyRows(CaseBuilder &builder) {
  KernelAttributes norm;
  norm.eps = 1e-5;
  for (Kernel kernel : {Kernel::LayerNorm, Kernel::LayerNormGrad})
    for (int64_t channels : {8, 72}) {
      KernelCase many = builder.make(kernel, norm, {{601, 80}, {{'c', channels}}});
      many.aligned = true;
      builder.add(many);
    }
}

/// Sums of half in scratch: 63 queries or keys a tile, 512 columns, 1024 columns of a product.
void wideHeads(CaseBuilder &builder) {
  KernelAttributes attributes;
  attributes.inf = 1e9, attributes.scale = 0.03;
  for (Kernel kernel : {Kernel::Attention, Kernel::AttentionGrad, Kernel::AttentionLogitsGrad,
                        Kernel::AttentionValuesGrad})
    builder.add(builder.make(kernel, attributes, attentionSizes(1, 1, 65, 66, 1030, 1)));
}

} // namespace

/// Products with a factor, the power of two that keeps long sums in a half type's range, and layer
/// norms of what has one; their eps is of the size of the variances, so that the factor shows.
static void factorKernels(CaseBuilder &builder) {
  KernelAttributes attributes;
  attributes.factor = 0.125;
  builder.sweep(Kernel::Linear, attributes, {{{3, 5}, {{'k', 7}, {'n', 11}}}});
  builder.sweep(Kernel::WeightGrad, attributes, {{{3, 5}, {{'k', 7}, {'n', 11}}}});
  Sizes product{{}, {{'b', 3}, {'m', 5}, {'n', 7}, {'k', 130}}};
  builder.sweep(Kernel::BatchMatmul, attributes, {product});
  builder.sweep(Kernel::BatchMatmulGrad, attributes, {product});
  Sizes outer{{}, {{'s', 9}, {'i', 3}, {'j', 5}, {'c', 2}, {'d', 4}, {'x', 8}}};
  builder.sweep(Kernel::OuterProduct, attributes, {outer});
  builder.sweep(Kernel::OuterProductGrad, attributes, {outer});
  attributes.eps = 0.5;
  for (double factor : {0.25, 8.0}) {
    attributes.factor = factor;
    builder.sweep(Kernel::LayerNorm, attributes, {{{3, 7}, {{'c', 33}}}});
    builder.sweep(Kernel::LayerNormGrad, attributes, {{{3, 7}, {{'c', 33}}}});
  }
}

const std::vector<KernelCase> &kernelCases() {
  static const std::vector<KernelCase> cases = [] {
    CaseBuilder builder;
    rowKernels(builder);
    emptyCases(builder);
    linearKernels(builder);
    dropoutKernels(builder);
    matrixKernels(builder);
    attentionSweeps(builder);
    gradientKernels(builder);
    attentionTiles(builder);
    tiledProducts(builder);
    usualNorms(builder);
    manyRows(builder);
    wideHeads(builder);
    optimizerKernels(builder);
    factorKernels(builder);
    return std::move(builder.cases);
  }();
  return cases;
}

namespace {

/// The axes whose products of extents are the lengths of a kernel's sums.
std::vector<std::string_view> summedAxes(Kernel kernel) {
  switch (kernel) {
  case Kernel::Copy:
  case Kernel::DropoutMask:
  case Kernel::Gate:
  case Kernel::Add:
  case Kernel::Zero:
  case Kernel::LinearGrad:
  case Kernel::GatedLinearGrad:
  case Kernel::CountNonfinite:
  case Kernel::SgdStep:
  case Kernel::AdamwStep:
  case Kernel::AdvanceOptimizer:
    return {};
  case Kernel::LayerNorm:
    return {"c"};
  case Kernel::LayerNormGrad:
    return {"c", "*"};
  case Kernel::WeightGrad:
  case Kernel::BiasGrad:
    return {"*"};
  case Kernel::MaskedMean:
  case Kernel::MaskedMeanGrad:
  case Kernel::GateGrad:
    return {"q"};
  case Kernel::OuterProduct:
  case Kernel::OuterProductNorm:
    return {"s"};
  case Kernel::OuterProductMean:
    return {"s", "x"};
  case Kernel::OuterProductGrad:
    return {"ic", "jd"};
  case Kernel::Attention:
    return {"x", "k"};
  case Kernel::AttentionGrad:
  case Kernel::AttentionLogitsGrad:
  case Kernel::AttentionValuesGrad:
    return {"x", "k", "hq", "b"};
  case Kernel::AttentionLogits:
    return {"x"};
  default:
    return {"k"};
  }
}

} // namespace

int64_t reductionLength(const KernelCase &testCase) {
  const plan::KernelInfo &info = plan::kernelInfo(testCase.kernel);
  std::map<char, int64_t> extent{{'h', testCase.attributes.heads}};
  for (size_t i = 0; i < info.operands.size(); ++i) {
    std::string_view axes = info.operands[i].axes;
    const std::vector<int64_t> &shape = testCase.operands[i].shape;
    if (axes.front() == '~')
      continue;
    size_t leading = axes.front() == '*' ? shape.size() + 1 - axes.size() : 0;
    if (axes.front() == '*') {
      extent['*'] = 1;
      for (size_t d = 0; d < leading; ++d)
        extent['*'] *= shape[d];
      axes.remove_prefix(1);
    }
    for (size_t d = 0; d < axes.size(); ++d)
      extent[axes[d]] = shape[leading + d];
  }
  int64_t length = 0;
  for (std::string_view axes : summedAxes(testCase.kernel)) {
    int64_t product = 1;
    for (char axis : axes)
      product *= extent[axis];
    length += product;
  }
  return std::max<int64_t>(length, 1);
}

} // namespace evo::conformance
