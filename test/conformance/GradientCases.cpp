//===- GradientCases.cpp --------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "test/conformance/CaseBuilder.h"

namespace evo::conformance {

using plan::Kernel;
using plan::KernelAttributes;

namespace {

/// Dense, and with mixtures of layouts, all optional operands present.
void tryBorder(CaseBuilder &builder, const KernelCase &base, int mixtures) {
  for (int mixture = 0; mixture <= mixtures; ++mixture) {
    KernelCase varied = base;
    if (mixture)
      CaseBuilder::mixLayouts(varied, mixture);
    builder.add(varied);
    varied.inPlace = true;
    builder.add(varied);
  }
}

/// dy by channel as triangle products leave it, around tiles of 64 rows and channels; a row scale
/// that lies across the rows.
void gatesByChannel(CaseBuilder &builder) {
  const std::vector<std::vector<int64_t>> shapes = {{3, 104}, {5, 8}, {2, 3, 64}, {9, 20}};
  for (const std::vector<int64_t> &shape : shapes)
    for (int64_t n : {8, 72, 128})
      for (Layout scale : {Layout::Dense, Layout::SwapInner}) {
        KernelCase usual = builder.make(Kernel::GatedLinearGrad, {}, {shape, {{'n', n}}});
        usual.aligned = true;
        usual.operands[0].layout = Layout::LastOuter;
        usual.operands[3].layout = scale;
        for (bool inPlace : {false, true}) {
          usual.inPlace = inPlace;
          usual.operands[3].present = true;
          builder.add(usual);
          usual.operands[3].present = false;
          builder.add(usual);
        }
      }
}

/// Rows of half types in eights, of which a device takes two or four at a time: of one axis, of two
/// that do not join and broadcast along one, and a row too few; also what is none such.
void evenRows(CaseBuilder &builder) {
  auto add = [&](KernelCase even, std::initializer_list<int> absent) {
    even.aligned = true;
    for (int operand : absent)
      even.operands[size_t(operand)].present = false;
    for (Layout layout : {Layout::Dense, Layout::Slice, Layout::Padded}) {
      even.operands[0].layout = layout;
      builder.add(even);
    }
  };
  KernelAttributes relu, mean;
  relu.activation = plan::Activation::Relu, mean.eps = 1e-3;
  for (int64_t queries : {64, 63}) {
    for (int64_t u : {queries, int64_t{1}})
      for (Kernel kernel : {Kernel::Gate, Kernel::GateGrad})
        add(builder.make(kernel, {}, {{}, {{'b', 3}, {'u', u}, {'q', queries}, {'x', 128}}}), {});
    Sizes rows{{3, queries}, {{'n', 128}}};
    add(builder.make(Kernel::LinearGrad, relu, rows), {2, 3, 4, 6});
    add(builder.make(Kernel::LinearGrad, {}, rows), {1, 3, 4, 6});
    add(builder.make(Kernel::LinearGrad, {}, rows), {2, 4});
    add(builder.make(Kernel::LinearGrad, relu, rows), {4});
    add(builder.make(Kernel::MaskedMeanGrad, mean,
                     {{}, {{'b', 3}, {'q', queries}, {'x', 128}, {'u', 1}}}),
        {});
    add(builder.make(Kernel::Add, {}, {{3, queries, 128}, {}}), {});
    add(builder.make(Kernel::Copy, {}, {{3, queries, 128}, {}}), {});
  }
  // Channels of one batch in eights, in tiles of 256; few columns that lie apart.
  add(builder.make(Kernel::GateGrad, {}, {{}, {{'b', 2}, {'u', 1}, {'q', 70}, {'x', 264}}}), {});
  for (int64_t cols : {4, 8}) {
    KernelCase few = builder.make(Kernel::Copy, {}, {{30, 11, cols}, {}});
    few.aligned = true, few.operands[0].layout = Layout::LastOuter;
    builder.add(few);
  }
}

void elementKernels(CaseBuilder &builder) {
  evenRows(builder);
  builder.sweep(Kernel::Add, {},
                {{{}, {}},
                 {{1}, {}},
                 {{5, 9}, {}},
                 {{65, 130}, {}},
                 {{17, 3, 33}, {}},
                 {{3, 1025}, {}},
                 {{1030, 3, 2}, {}},
                 {{2, 1, 3, 2, 1, 3}, {}}});
  builder.sweep(Kernel::Zero, {},
                {{{}, {}},
                 {{1}, {}},
                 {{5, 9}, {}},
                 {{0, 3}, {}},
                 {{65, 1025}, {}},
                 {{2, 1, 3, 2, 1, 3}, {}}});
  std::vector<Sizes> sizes = {
      {{}, {{'n', 2}}}, {{3, 5}, {{'n', 11}}}, {{2, 3, 2}, {{'n', 8}}}, {{4, 65}, {{'n', 20}}}};
  KernelAttributes relu;
  relu.activation = plan::Activation::Relu;
  builder.sweep(Kernel::LinearGrad, {}, sizes);
  builder.sweep(Kernel::LinearGrad, relu, sizes);
  builder.sweep(Kernel::GatedLinearGrad, {}, sizes);
  gatesByChannel(builder);
  // Lines of 1024.
  for (int64_t rows : {3, 1025})
    for (Kernel kernel : {Kernel::LinearGrad, Kernel::GatedLinearGrad})
      tryBorder(builder, builder.make(kernel, relu, {{rows}, {{'n', rows == 3 ? 1025 : 5}}}), 3);
  builder.sweep(Kernel::GateGrad, {},
                {{{}, {{'b', 1}, {'u', 1}, {'q', 1}, {'x', 1}}},
                 {{}, {{'b', 3}, {'u', 5}, {'q', 5}, {'x', 32}}},
                 {{}, {{'b', 2}, {'u', 1}, {'q', 7}, {'x', 13}}},
                 {{}, {{'b', 2}, {'u', 1}, {'q', 300}, {'x', 129}}},
                 {{}, {{'b', 2}, {'u', 1}, {'q', 0}, {'x', 3}}},
                 {{}, {{'b', 2}, {'u', 66}, {'q', 66}, {'x', 1025}}}});
  KernelAttributes mean;
  mean.eps = 1e-8;
  builder.sweep(Kernel::MaskedMeanGrad, mean,
                {{{}, {{'b', 1}, {'q', 1}, {'x', 1}, {'u', 1}}},
                 {{}, {{'b', 4}, {'q', 37}, {'x', 9}, {'u', 1}}},
                 {{}, {{'b', 2}, {'q', 60}, {'x', 259}, {'u', 1}}}});
}

void rowKernels(CaseBuilder &builder) {
  KernelAttributes norm;
  norm.eps = 1e-5;
  builder.sweep(
      Kernel::LayerNormGrad, norm,
      {{{}, {{'c', 7}}}, {{3, 7}, {{'c', 33}}}, {{65}, {{'c', 130}}}, {{2, 3, 5}, {{'c', 17}}}});
  // One channel: rstd is 1 / sqrt(eps) = 316 and dx a difference of equals.
  KernelCase one = builder.make(Kernel::LayerNormGrad, norm, {{5}, {{'c', 1}}});
  one.magnitude = 316;
  tryBorder(builder, one, 2);
  // 64 chunks of tiles of 64 rows; sums of 49152 channels a pass.
  tryBorder(builder, builder.make(Kernel::LayerNormGrad, norm, {{8300}, {{'c', 5}}}), 3);
  tryBorder(builder, builder.make(Kernel::LayerNormGrad, norm, {{3}, {{'c', 98311}}}), 1);
  KernelCase offset = builder.make(Kernel::LayerNormGrad, norm, {{9}, {{'c', 256}}});
  offset.operands[0].fill = Fill::Offset;
  offset.conditioning = 1000;
  builder.add(offset);
  builder.sweep(Kernel::SoftmaxGrad, {},
                {{{}, {{'k', 5}}},
                 {{1}, {{'k', 1}}},
                 {{3, 65}, {{'k', 31}}},
                 {{2, 3, 5}, {{'k', 129}}},
                 {{2}, {{'k', 20011}}}});
}

/// Many rows of aligned operands, in place and not, with and without an accumulator.
void tryRows(CaseBuilder &builder, const std::vector<int64_t> &shape, int64_t n, int64_t k,
             size_t turned, Layout layout) {
  KernelAttributes attributes;
  attributes.factor = 0.5;
  KernelCase many = builder.make(Kernel::WeightGrad, attributes, {shape, {{'n', n}, {'k', k}}});
  many.aligned = true;
  many.operands[turned].layout = layout;
  builder.add(many);
  many.inPlace = true;
  builder.add(many);
  many.inPlace = many.operands[2].present = false;
  builder.add(many);
}

/// Rows of two axes that do not join, around pieces of 32 rows and tiles of 128 columns; du of few
/// columns.
void usualWeights(CaseBuilder &builder) {
  for (const std::vector<int64_t> &shape :
       std::vector<std::vector<int64_t>>{{3, 700}, {210, 5}, {40, 32}})
    for (size_t turned : {0, 1}) {
      tryRows(builder, shape, 136, 32, turned, Layout::Broadcast);
      tryRows(builder, shape, 40, 264, turned, Layout::Broadcast);
      tryRows(builder, shape, 3, 136, turned, Layout::Broadcast);
    }
  // Around pieces of 64 rows and tiles of 128 and 256 columns, of rows that join and that do not.
  for (auto [n, k] : {std::pair<int64_t, int64_t>{8, 136}, {264, 40}, {128, 256}, {130, 264}}) {
    tryRows(builder, {1030}, n, k, 0, Layout::Dense);
    for (size_t turned : {0, 1})
      tryRows(builder, {10, 103}, n, k, turned, Layout::SwapOuter);
  }
  // Rows that are read as half as many, and an odd number of them.
  for (auto [rows, k] :
       {std::pair<int64_t, int64_t>{1030, 40}, {1030, 128}, {1026, 256}, {1027, 128}})
    tryRows(builder, {rows}, 4, k, 0, Layout::Dense);
  for (auto [n, k] : {std::pair<int64_t, int64_t>{1, 8}, {4, 128}, {3, 512}, {2, 520}})
    tryRows(builder, {3, 700}, n, k, 0, Layout::Slice);
}

void weightKernels(CaseBuilder &builder) {
  std::vector<Sizes> sizes = {{{}, {{'n', 3}, {'k', 2}}},        {{1}, {{'n', 1}, {'k', 1}}},
                              {{3, 5}, {{'n', 7}, {'k', 11}}},   {{2, 3, 2}, {{'n', 16}, {'k', 8}}},
                              {{4, 65}, {{'n', 33}, {'k', 20}}}, {{9}, {{'n', 129}, {'k', 131}}}};
  builder.sweep(Kernel::WeightGrad, {}, sizes);
  builder.sweep(Kernel::BiasGrad, {}, sizes);
  // Blocks of 2048 and of 256 rows in several chunks; weights of one chunk, too large for two.
  for (int64_t rows : {2047, 4099})
    tryBorder(builder, builder.make(Kernel::WeightGrad, {}, {{rows}, {{'n', 5}, {'k', 9}}}), 3);
  tryBorder(builder, builder.make(Kernel::WeightGrad, {}, {{2, 2050}, {{'n', 1}, {'k', 130}}}), 3);
  tryBorder(builder, builder.make(Kernel::WeightGrad, {}, {{5}, {{'n', 300}, {'k', 701}}}), 2);
  for (int64_t rows : {257, 17000})
    tryBorder(builder, builder.make(Kernel::BiasGrad, {}, {{rows}, {{'n', 3}}}), 3);
  tryBorder(builder, builder.make(Kernel::BiasGrad, {}, {{3}, {{'n', 98311}}}), 2);
  // Columns in eights and fours, which are read together; tiles of 256 columns.
  for (int64_t n : {8, 12, 136, 520})
    for (Layout layout : {Layout::Dense, Layout::Slice, Layout::Padded}) {
      KernelCase together = builder.make(Kernel::BiasGrad, {}, {{3, 333}, {{'n', n}}});
      together.aligned = true;
      together.operands[0].layout = layout;
      builder.add(together);
      together.inPlace = true;
      builder.add(together);
    }
  builder.add(builder.make(Kernel::WeightGrad, {}, {{0}, {{'n', 5}, {'k', 3}}}));
  usualWeights(builder);
}

/// The sizes of `batch_matmul`; a sum over no slices leaves the accumulator.
void batchKernels(CaseBuilder &builder) {
  builder.sweep(Kernel::BatchMatmulGrad, {},
                {{{}, {{'b', 1}, {'m', 1}, {'n', 1}, {'k', 1}}},
                 {{}, {{'b', 3}, {'m', 5}, {'n', 7}, {'k', 11}}},
                 {{}, {{'b', 4}, {'m', 16}, {'n', 1}, {'k', 130}}},
                 {{}, {{'b', 2}, {'m', 5}, {'n', 3}, {'k', 0}}},
                 {{}, {{'b', 2}, {'m', 257}, {'n', 513}, {'k', 9}}},
                 {{}, {{'b', 2}, {'m', 129}, {'n', 131}, {'k', 257}}}});
}

void outerKernels(CaseBuilder &builder) {
  builder.sweep(Kernel::OuterProductGrad, {},
                {{{}, {{'s', 1}, {'i', 1}, {'j', 1}, {'c', 1}, {'d', 1}, {'x', 1}}},
                 {{}, {{'s', 5}, {'i', 3}, {'j', 7}, {'c', 3}, {'d', 5}, {'x', 15}}},
                 {{}, {{'s', 130}, {'i', 17}, {'j', 19}, {'c', 4}, {'d', 3}, {'x', 12}}},
                 {{}, {{'s', 3}, {'i', 2}, {'j', 2}, {'c', 259}, {'d', 2}, {'x', 518}}},
                 {{}, {{'s', 3}, {'i', 2}, {'j', 2}, {'c', 2}, {'d', 515}, {'x', 1030}}},
                 // Around tiles of 128 x 128 and 32 summed elements, or 256 and 64, which are
                 // shared by blocks.
                 {{}, {{'s', 130}, {'i', 5}, {'j', 9}, {'c', 32}, {'d', 32}, {'x', 1024}}},
                 {{}, {{'s', 66}, {'i', 3}, {'j', 66}, {'c', 64}, {'d', 16}, {'x', 1024}}},
                 {{}, {{'s', 66}, {'i', 66}, {'j', 3}, {'c', 16}, {'d', 64}, {'x', 1024}}},
                 {{}, {{'s', 33}, {'i', 70}, {'j', 17}, {'c', 8}, {'d', 24}, {'x', 192}}}});
}

void attentionKernels(CaseBuilder &builder) {
  KernelAttributes attributes;
  attributes.inf = 1e9;
  attributes.scale = 0.5;
  for (Kernel kernel :
       {Kernel::AttentionGrad, Kernel::AttentionLogitsGrad, Kernel::AttentionValuesGrad})
    for (int64_t heads : {1, 4}) {
      attributes.heads = heads;
      builder.sweep(kernel, attributes,
                    {attentionSizes(heads, 1, 1, 1, 1, 1), attentionSizes(heads, 3, 5, 7, 8, heads),
                     attentionSizes(heads, 4, 1, 37, 16, 1)});
      tryBorder(builder,
                builder.make(kernel, attributes,
                             attentionSizes(heads, 2, 130, 33, 5, heads == 4 ? 2 : 1)),
                3);
    }
  // Key blocks: 1024 keys in fp32, 512 in fp64.
  attributes.heads = 2;
  for (int64_t keys : {512, 1025})
    tryBorder(builder,
              builder.make(Kernel::AttentionGrad, attributes, attentionSizes(2, 2, 3, keys, 4, 2)),
              2);
  builder.add(
      builder.make(Kernel::AttentionGrad, attributes, attentionSizes(2, 1, 66, 1030, 3, 1)));
  maskedAttention(builder, Kernel::AttentionGrad, attributes);
  KernelCase big =
      builder.make(Kernel::AttentionGrad, attributes, attentionSizes(2, 3, 20, 40, 32, 2));
  big.operands[0].fill = Fill::Large;
  big.conditioning = 300;
  builder.add(big);
}

/// More than 64 queries of aligned heads that share no keys, which have kernels of their own on
/// some devices: around one, two and three blocks of 128, 256 and 384 keys, with and without pair
/// bias and mask.
void longAttentionKernels(CaseBuilder &builder) {
  KernelAttributes attributes;
  attributes.inf = 1e9;
  attributes.scale = 0.25;
  attributes.heads = 2;
  struct Shape {
    int64_t queries, keys, width;
  };
  for (const Shape &shape : {Shape{70, 100, 32}, Shape{129, 128, 16}, Shape{65, 200, 8},
                             Shape{128, 257, 24}, Shape{200, 400, 32}, Shape{66, 700, 16}})
    for (bool bias : {false, true})
      for (bool mask : {false, true}) {
        KernelCase one = builder.make(
            Kernel::AttentionGrad, attributes,
            attentionSizes(2, 3, shape.queries, shape.keys, shape.width, attributes.heads));
        for (size_t i : {size_t{3}, size_t{8}, size_t{12}})
          one.operands[i].present = bias;
        one.operands[4].present = mask;
        one.operands[4].fill = Fill::Mask;
        one.hugeIfMasked = mask;
        one.aligned = true;
        builder.add(one);
      }
}

} // namespace

void gradientKernels(CaseBuilder &builder) {
  elementKernels(builder);
  rowKernels(builder);
  weightKernels(builder);
  batchKernels(builder);
  outerKernels(builder);
  attentionKernels(builder);
  longAttentionKernels(builder);
}

} // namespace evo::conformance
