//===- AttentionCases.cpp -------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "test/conformance/CaseBuilder.h"

#include <algorithm>
#include <array>

namespace evo::conformance {

using plan::Kernel;
using plan::KernelAttributes;

Sizes attentionSizes(int64_t heads, int64_t b, int64_t q, int64_t k, int64_t width,
                     int64_t groups) {
  return {{}, {{'b', b}, {'q', q}, {'k', k}, {'x', heads * width}, {'y', groups * width}}};
}

void maskedAttention(CaseBuilder &builder, Kernel kernel, KernelAttributes attributes) {
  constexpr double kMost = 3e38; // about the most that a specification may say
  for (Fill fill : {Fill::Mask, Fill::RealMask})
    for (double inf : {1e9, 5.0, kMost}) {
      attributes.inf = inf;
      KernelCase masked = builder.make(kernel, attributes, attentionSizes(2, 7, 19, 23, 8, 2));
      masked.operands[4].fill = fill;
      masked.hugeIfMasked = fill == Fill::Mask && inf >= 1e9;
      if (fill == Fill::RealMask)
        masked.conditioning = 100;
      builder.add(masked);
    }
  // More keys than a tile has, of which the first 133 are masked.
  for (double inf : {1e9, kMost}) {
    attributes.inf = inf;
    KernelCase late = builder.make(kernel, attributes, attentionSizes(2, 3, 19, 200, 8, 2));
    late.operands[4].fill = Fill::LateMask;
    late.hugeIfMasked = late.aligned = true;
    builder.add(late);
  }
}

void attentionSweeps(CaseBuilder &builder) {
  KernelAttributes attributes;
  attributes.inf = 1e9;
  attributes.scale = 0.5;
  for (Kernel kernel : {Kernel::Attention, Kernel::AttentionLogits, Kernel::AttentionValues})
    for (int64_t heads : {1, 4}) {
      attributes.heads = heads;
      builder.sweep(kernel, attributes,
                    {attentionSizes(heads, 1, 1, 1, 1, 1), attentionSizes(heads, 3, 5, 7, 8, heads),
                     attentionSizes(heads, 4, 1, 37, 16, 1),
                     attentionSizes(heads, 2, 130, 33, 5, heads == 4 ? 2 : 1)});
    }
  // Key blocks: 4096 keys in fp32, 2048 in fp64, and 64 queries a tile where there are several
  // blocks.
  attributes.heads = 2;
  for (int64_t keys : {4096, 4097, 9001})
    for (Layout layout : {Layout::Dense, Layout::LastOuter, Layout::Spaced}) {
      KernelCase longKeys =
          builder.make(Kernel::Attention, attributes, attentionSizes(2, 2, 3, keys, 4, 2));
      longKeys.operands[0].fill = Fill::Large;
      longKeys.conditioning = 300;
      longKeys.operands[5].layout = layout;
      builder.add(longKeys);
    }
  builder.add(builder.make(Kernel::Attention, attributes, attentionSizes(2, 1, 66, 4100, 3, 1)));
  maskedAttention(builder, Kernel::Attention, attributes);
  for (Kernel kernel : {Kernel::Attention, Kernel::AttentionLogits}) {
    KernelCase big = builder.make(kernel, attributes, attentionSizes(2, 3, 20, 40, 32, 2));
    big.operands[0].fill = Fill::Large;
    big.conditioning = 300;
    builder.add(big);
  }
}

namespace {

/// Operands as plans have them, with pair bias and mask and without.
void addBiasedAndPlain(CaseBuilder &builder, KernelCase one) {
  one.aligned = true;
  builder.add(one);
  one.operands[3].present = one.operands[4].present = false;
  builder.add(one);
}

/// A NaN in a query's row stays in that row, also where tiles sum several at once.
void lostQueries(CaseBuilder &builder) {
  KernelAttributes attributes;
  attributes.inf = 1e9, attributes.scale = 0.3, attributes.heads = 4;
  for (int64_t width : {8, 16, 32, 64})
    for (int64_t keys : {40, 130}) {
      KernelCase lost =
          builder.make(Kernel::Attention, attributes, attentionSizes(4, 3, 70, keys, width, 4));
      lost.operands[0].fill = Fill::NanRows;
      addBiasedAndPlain(builder, lost);
    }
}

/// Heads of the widths that devices have kernels of their own for, around tiles of 64 queries and
/// keys: with their keys to themselves or shared, masked, one query a batch.
void commonHeads(CaseBuilder &builder) {
  KernelAttributes attributes;
  attributes.inf = 1e9, attributes.scale = 0.3, attributes.heads = 4;
  for (Kernel kernel : {Kernel::Attention, Kernel::AttentionGrad})
    for (int64_t width : {4, 8, 12, 16, 24, 32, 36, 40, 48, 56, 64})
      for (int64_t groups : {4, 2}) {
        int64_t keys = groups == 4 ? 130 : 63;
        addBiasedAndPlain(builder, builder.make(kernel, attributes,
                                                attentionSizes(4, 3, 65, keys, width, groups)));
        KernelCase single = builder.make(kernel, attributes, attentionSizes(4, 9, 1, 70, width, 1));
        single.aligned = true;
        builder.add(single);
      }
  // More keys than a tile has rows, whole and broken, of heads with a pair bias and without.
  for (Kernel kernel : {Kernel::Attention, Kernel::AttentionGrad})
    for (int64_t keys : {192, 300, 384, 520})
      addBiasedAndPlain(builder,
                        builder.make(kernel, attributes, attentionSizes(4, 2, 130, keys, 32, 2)));
}

/// Devices have tiles of 128 queries and 64 keys for heads of at most 32: around their ends, with
/// masks, and with references that later keys exceed by far.
void tiledAttention(CaseBuilder &builder) {
  KernelAttributes attributes;
  attributes.inf = 1e9, attributes.scale = 0.3, attributes.heads = 2;
  for (int64_t width : {8, 32})
    for (bool bias : {true, false})
      for (auto [batches, queries, keys] : std::vector<std::array<int64_t, 3>>{
               {1, 64, 1}, {2, 129, 96}, {5, 160, 264}, {3, 70, 257}}) {
        KernelCase tiled = builder.make(Kernel::Attention, attributes,
                                        attentionSizes(2, batches, queries, keys, width, 2));
        tiled.aligned = true;
        tiled.operands[3].present = bias;
        for (Fill fill : {Fill::Mask, Fill::RealMask}) {
          tiled.operands[4].fill = fill;
          tiled.hugeIfMasked = fill == Fill::Mask;
          tiled.conditioning = fill == Fill::RealMask ? 100 : 1;
          builder.add(tiled);
        }
        tiled.operands[4].present = tiled.operands[6].present = false;
        tiled.operands[0].fill = Fill::Large;
        tiled.hugeIfMasked = false;
        tiled.conditioning = 300;
        builder.add(tiled);
      }
}

/// Pair biases as plans lay them out, their rows padded to a multiple of 8 elements: around the
/// tiles of 64 and 128 queries or keys that devices have, and 64 to 384 of the gradient's.
void paddedBiases(CaseBuilder &builder) {
  std::vector<std::array<int64_t, 2>> shapes;
  for (int64_t queries : {64, 127, 128, 129})
    for (int64_t keys : {1, 63, 64, 65, 129})
      shapes.push_back({queries, keys});
  for (const std::array<int64_t, 2> &shape : {std::array<int64_t, 2>{63, 127},
                                              {65, 128},
                                              {64, 191},
                                              {66, 193},
                                              {191, 192},
                                              {193, 65},
                                              {65, 255},
                                              {129, 257},
                                              {65, 383},
                                              {70, 385}})
    shapes.push_back(shape);
  KernelAttributes attributes;
  attributes.inf = 1e9, attributes.scale = 0.3, attributes.heads = 2;
  for (Kernel kernel : {Kernel::Attention, Kernel::AttentionGrad})
    for (size_t i = 0; i < shapes.size(); ++i) {
      // Each width and each count of batches meets each count of keys.
      auto width = static_cast<int64_t>(8 * (1 + (i / 5 + i) % 4));
      auto batches = static_cast<int64_t>(1 + (i / 5 + 2 * i) % 3);
      auto [queries, keys] = shapes[i];
      KernelCase padded = builder.make(
          kernel, attributes, attentionSizes(2, batches, queries, keys, width, i % 7 == 6 ? 1 : 2));
      padded.aligned = true;
      const plan::KernelInfo &info = plan::kernelInfo(kernel);
      for (const char *name : {"pair_bias", "accumulator", "dpair_bias"})
        if (int index = info.operandIndex(name); index >= 0)
          padded.operands[size_t(index)].layout = Layout::Eights;
      builder.add(padded);
      padded.operands[4].present = false; // the mask
      padded.inPlace = kernel == Kernel::AttentionGrad;
      builder.add(padded);
    }
}

} // namespace

void attentionTiles(CaseBuilder &builder) {
  commonHeads(builder);
  tiledAttention(builder);
  lostQueries(builder);
  paddedBiases(builder);
}

} // namespace evo::conformance
