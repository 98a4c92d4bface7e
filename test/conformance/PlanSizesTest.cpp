//===- PlanSizesTest.cpp - what only larger calls come to -------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// The smallest calls that take what those of real plans take and the other cases are too small for:
// kernels whose blocks stay begin the next tile while the last is finished, which shows only where
// there are more tiles than the device runs blocks (132 or 264 of a Hopper); rings of stages are
// gone through again; sums are shared by many blocks; scratch does not hold a call at once. The
// CPU's kernels have little like it and are tried once, so that a machine without a device shows
// that the cases are right.
//===----------------------------------------------------------------------===//
#include "test/conformance/Backends.h"
#include "test/conformance/CaseBuilder.h"
#include "test/conformance/Runner.h"
#include "test/conformance/Selection.h"

#include <gtest/gtest.h>

#include <cmath>

namespace evo::conformance {

namespace {

using plan::Kernel;
using plan::KernelAttributes;
using plan::Precision;

using Names = std::vector<std::string_view>;
struct Laid {
  std::string_view operand;
  Layout layout;
};

/// Of the optional operands those that are named, but for `laid` all dense.
KernelCase caseOf(Kernel kernel, const KernelAttributes &attributes, const Sizes &sizes,
                  const Names &optional, const std::vector<Laid> &laid = {}) {
  KernelCase one = CaseBuilder::make(kernel, attributes, sizes);
  const plan::KernelInfo &info = plan::kernelInfo(kernel);
  for (size_t i = 0; i < info.operands.size(); ++i)
    one.operands[i].present =
        !info.operands[i].isOptional() ||
        std::find(optional.begin(), optional.end(), info.operands[i].name) != optional.end();
  for (const Laid &place : laid)
    one.operands[size_t(info.operandIndex(place.operand))].layout = place.layout;
  return one;
}

struct AttentionShape {
  int64_t heads, batches, queries, keys, width, groups;
};
/// A pair bias' rows lie as plans' do, and its gradient adds to what was there.
KernelCase attentionOf(Kernel kernel, const AttentionShape &shape, bool bias, bool mask) {
  KernelAttributes attributes;
  attributes.inf = 1e9, attributes.scale = 0.3, attributes.heads = shape.heads;
  bool isGrad = kernel == Kernel::AttentionGrad;
  Names optional;
  std::vector<Laid> laid;
  if (bias)
    optional.emplace_back("pair_bias"), laid.push_back({"pair_bias", Layout::Eights});
  if (bias && isGrad)
    for (std::string_view name : {"accumulator", "dpair_bias"})
      optional.push_back(name), laid.push_back({name, Layout::Eights});
  if (mask)
    optional.emplace_back("mask");
  if (!isGrad)
    optional.emplace_back("lse");
  KernelCase one = caseOf(kernel, attributes,
                          attentionSizes(shape.heads, shape.batches, shape.queries, shape.keys,
                                         shape.width, shape.groups),
                          optional, laid);
  one.operands[size_t(plan::kernelInfo(kernel).operandIndex("mask"))].fill = Fill::Mask;
  one.hugeIfMasked = mask && plan::kernelInfo(kernel).operandIndex("value") >= 0;
  return one;
}

/// More tasks than blocks; of the gradient also with several passes of keys, and with a pair bias
/// whose gradient goes through the batches in parts of more than are on their way at once.
void manyHeads(CaseBuilder &builder) {
  for (Kernel kernel : {Kernel::Attention, Kernel::AttentionGrad})
    for (const AttentionShape &shape :
         {AttentionShape{2, 136, 65, 72, 8, 2}, {4, 140, 66, 130, 32, 4}})
      for (bool bias : {true, false})
        builder.add(attentionOf(kernel, shape, bias, true));
  for (bool bias : {true, false}) {
    // Places of tasks are used again from the 17th of a block on; a ring goes on from one to the
    // next.
    builder.add(attentionOf(Kernel::Attention, {8, 600, 64, 40, 8, 8}, bias, true));
    builder.add(attentionOf(Kernel::Attention, {8, 160, 64, 72, 8, 8}, bias, false));
    builder.cases.back().operands[0].fill = Fill::Large;
    builder.cases.back().conditioning = 300;
    builder.add(attentionOf(Kernel::AttentionGrad, {2, 140, 65, 257, 8, 2}, bias, true));
    builder.add(attentionOf(Kernel::AttentionGrad, {2, 80, 65, 385, 8, 2}, bias, true));
  }
  // One query a batch, with keys that all heads share, in several passes.
  for (int64_t width : {8, 32})
    builder.add(attentionOf(Kernel::AttentionGrad, {8, 3, 1, 300, width, 1}, false, true));
  // A tile's batches in one part, 7 and 13, of which 6 are on their way at once.
  builder.add(attentionOf(Kernel::AttentionGrad, {17, 7, 129, 129, 24, 17}, true, true));
  builder.add(attentionOf(Kernel::AttentionGrad, {17, 13, 129, 129, 8, 17}, true, false));
  // Wide heads: several tasks of a block, and its third pass of keys.
  builder.add(attentionOf(Kernel::AttentionGrad, {2, 133, 65, 8, 24, 2}, true, true));
  builder.add(attentionOf(Kernel::AttentionGrad, {1, 1, 65, 641, 24, 1}, true, true));
  // The same of wide heads, and without a mask.
  builder.add(attentionOf(Kernel::Attention, {529, 1, 64, 65, 24, 529}, true, false));
  builder.add(attentionOf(Kernel::Attention, {38, 25, 64, 8, 24, 38}, false, true));
  for (int64_t width : {8, 24})
    builder.add(attentionOf(Kernel::Attention, {2113, 1, 64, 8, width, 2113}, true, false));
  // More sums of batches than scratch holds.
  builder.add(attentionOf(Kernel::AttentionGrad, {4, 12600, 2, 3, 8, 4}, true, true));
}

Sizes outerSizes(int64_t s, int64_t i, int64_t j, int64_t c, int64_t n = 8) {
  return {{}, {{'s', s}, {'i', i}, {'j', j}, {'c', c}, {'d', c}, {'x', c * c}, {'n', n}}};
}
/// Tiles of 128 x 256: of i c x j d, of s x i c and of s x j d; long sums, alone and of several
/// tiles, also of a block; stages of a mean.
void outerProducts(CaseBuilder &builder) {
  for (const Sizes &sizes : {outerSizes(9, 70, 66, 32), outerSizes(257, 3, 5, 32)})
    builder.add(caseOf(Kernel::OuterProduct, {}, sizes, {}));
  for (const Sizes &sizes : {outerSizes(260, 400, 3, 32), outerSizes(260, 3, 400, 32),
                             outerSizes(65, 9, 33, 32), outerSizes(65, 33, 9, 32)})
    builder.add(caseOf(Kernel::OuterProductGrad, {}, sizes, {"accumulator"}));
  const Sizes wide = outerSizes(129, 9, 1057, 16), tall = outerSizes(129, 1057, 9, 16);
  builder.add(caseOf(Kernel::OuterProduct, {}, wide, {}));
  for (const Sizes &sizes : {wide, tall})
    builder.add(caseOf(Kernel::OuterProductGrad, {}, sizes, {"accumulator"}));
  for (int64_t s : {65, 450})
    for (const Names &optional : {Names{"residual"}, Names{}})
      builder.add(caseOf(Kernel::OuterProductMean, {}, outerSizes(s, 33, 5, 32, 136), optional));
  builder.add(caseOf(Kernel::OuterProductMean, {}, outerSizes(1, 36, 36, 64), {"residual"}));
  KernelAttributes norm;
  norm.eps = 1e-3;
  builder.add(caseOf(Kernel::OuterProductNorm, norm, outerSizes(257, 5, 3, 1), {}));
}

Sizes layerSizes(std::vector<int64_t> rows, int64_t k, int64_t n) {
  return {std::move(rows), {{'k', k}, {'n', n}}};
}
/// Layers of n or k in the hundreds, of few k, and of rows that do not join.
void layers(CaseBuilder &builder) {
  const std::vector<Laid> turned = {{"weight", Layout::LastOuter}};
  const Laid apart = {"row_scale", Layout::SwapInner};
  for (const std::vector<Laid> &laid : {std::vector<Laid>{}, turned})
    builder.add(
        caseOf(Kernel::Linear, {}, layerSizes({130}, 512, 264), {"bias", "residual"}, laid));
  builder.add(caseOf(Kernel::Linear, {}, layerSizes({130, 131}, 4, 128), {"residual"}));
  builder.add(caseOf(Kernel::Linear, {}, layerSizes({1100}, 8, 1024), {"residual"}));
  for (const std::vector<Laid> &laid : {std::vector<Laid>{apart}, {apart, turned[0]}})
    builder.add(caseOf(Kernel::Linear, {}, layerSizes({199, 32}, 72, 136),
                       {"bias", "row_scale", "residual"}, laid));
  builder.add(caseOf(Kernel::Linear, {}, layerSizes({397, 32}, 968, 8),
                     {"bias", "row_scale", "gate", "residual"}, {apart}));
  builder.add(caseOf(Kernel::Linear, {}, layerSizes({199, 32}, 456, 72),
                     {"bias", "row_scale", "residual"}, {apart}));
  builder.add(
      caseOf(Kernel::Linear, {}, layerSizes({3, 70}, 72, 72), {"bias", "dropout", "residual"}));
  // Several tiles of a block, each of more depths than are left of the stages; one tile of more.
  for (auto [rows, k, n] : std::vector<std::array<int64_t, 3>>{{199, 200, 136}, {100, 392, 200}})
    builder.add(caseOf(Kernel::Linear, {}, layerSizes({rows, 32}, k, n),
                       {"bias", "row_scale", "gate", "residual"}, {apart}));
  builder.add(caseOf(Kernel::Linear, {}, layerSizes({64}, 776, 8), {"bias", "residual"}));
  builder.add(
      caseOf(Kernel::GatedLinear, {}, layerSizes({392}, 72, 4232), {}, {{"y", Layout::LastOuter}}));
  for (const Sizes &sizes : {layerSizes({40, 130}, 72, 264), layerSizes({41, 139}, 8, 264)})
    builder.add(caseOf(Kernel::GatedLinear, {}, sizes, {"row_scale"}, {{"y", Layout::LastOuter}}));
}

/// Sums over rows that many blocks share, and blocks that have several tiles of rows.
void manyRows(CaseBuilder &builder) {
  for (const Sizes &sizes : {layerSizes({80000}, 128, 4), layerSizes({40000}, 136, 8),
                             layerSizes({155, 200}, 256, 32), layerSizes({155, 200}, 32, 136)})
    builder.add(caseOf(Kernel::WeightGrad, {}, sizes, {"accumulator"}));
  builder.add(caseOf(Kernel::WeightGrad, {}, layerSizes({17000}, 8, 4), {"accumulator"},
                     {{"du", Layout::LastOuter}}));
  // Rings of pieces again, by blocks alone and by neighbours.
  builder.add(caseOf(Kernel::WeightGrad, {}, layerSizes({50689}, 8, 8), {"accumulator"}));
  builder.add(caseOf(Kernel::WeightGrad, {}, layerSizes({28, 64}, 648, 648), {"accumulator"},
                     {{"du", Layout::SwapOuter}}));
  KernelAttributes norm;
  norm.eps = 1e-5;
  struct Rows {
    std::vector<int64_t> rows;
    int64_t channels;
    bool turned;
  };
  for (const Rows &one :
       {Rows{{401, 64}, 8, true}, Rows{{401, 64}, 72, true}, Rows{{270, 64}, 136, true},
        Rows{{70, 64}, 136, false}, Rows{{2200}, 264, false}})
    builder.add(caseOf(Kernel::LayerNormGrad, norm, {one.rows, {{'c', one.channels}}},
                       {"residual", "weight_accumulator", "bias_accumulator"},
                       {{"x", one.turned ? Layout::LastOuter : Layout::Dense}}));
  for (const std::vector<int64_t> &rows : {std::vector<int64_t>{16901}, {4240, 64}})
    builder.add(caseOf(Kernel::LayerNorm, norm, {rows, {{'c', 8}}}, {"mean", "rstd"}));
  builder.add(attentionOf(Kernel::AttentionLogits, {4, 3, 900, 900, 1, 4}, false, true));
}

struct Subject {
  size_t number;
  KernelCase testCase;
  Precision precision;
};

bool tries(const BackendFactory &factory, Precision precision) {
  if (factory.name == "cpu_baseline")
    return precision == Precision::Fp32;
  return factory.name == "cuda" && factory.has(precision);
}

std::vector<Subject> subjects() {
  CaseBuilder builder;
  manyHeads(builder);
  outerProducts(builder);
  layers(builder);
  manyRows(builder);
  std::vector<BackendFactory> backends = conformanceBackends();
  std::vector<Subject> all;
  for (size_t i = 0; i < builder.cases.size(); ++i)
    for (Precision precision :
         {Precision::Fp32, Precision::Tf32, Precision::Bf16, Precision::Fp16}) {
      builder.cases[i].aligned = true;
      if (std::any_of(backends.begin(), backends.end(),
                      [&](const BackendFactory &factory) { return tries(factory, precision); }))
        all.push_back({i, builder.cases[i], precision});
    }
  return all;
}

void PrintTo(const Subject &subject, std::ostream *out) {
  *out << subject.testCase.name << ", 1 cases";
}

/// The outputs, by name, of which `factor` times what is expected would pass, too.
std::string passedScaled(double factor, const KernelCase &testCase, const Placement &placement,
                         const std::vector<DenseTensor> &expected, bool rounds) {
  std::string names;
  const plan::KernelInfo &info = plan::kernelInfo(testCase.kernel);
  for (size_t i = 0; i < expected.size(); ++i) {
    if (!info.operands[i].isOutput() || !testCase.operands[i].present)
      continue;
    if (compareCase(testCase, placement, expected,
                    scaledOutput(testCase, placement, expected, i, factor), rounds)
            .empty())
      names += std::string(names.empty() ? "" : ", ") + std::string(info.operands[i].name);
  }
  return names;
}

class PlanSizesTest : public testing::TestWithParam<Subject> {};

TEST_P(PlanSizesTest, AgreesWithReference) {
  const auto &[number, testCase, precision] = GetParam();
  if (!Selection::read().hasSize(testCase)) {
    Selection::sayLeftOut(1);
    GTEST_SKIP() << "no case was tried";
  }
  Placement placement = place(testCase, precision);
  std::vector<DenseTensor> expected = placement.operands;
  runReference(testCase.kernel, testCase.attributes, expected);
  for (const BackendFactory &factory : conformanceBackends()) {
    if (!tries(factory, precision))
      continue;
    auto backend = factory.create();
    ASSERT_TRUE(backend.ok()) << factory.name << ": " << backend.status().message();
    auto after = runCase(**backend, testCase, placement, precision);
    ASSERT_TRUE(after.ok()) << factory.name << ": " << after.status().message();
    bool rounds = factory.rounds(testCase.kernel);
    EXPECT_EQ(compareCase(testCase, placement, expected, *after, rounds), "") << factory.name;
    for (double factor : {0.0, 0.9})
      EXPECT_EQ(passedScaled(factor, testCase, placement, expected, rounds), "")
          << factory.name << ", " << factor << " times";
  }
}

std::string subjectName(const testing::TestParamInfo<Subject> &info) {
  return std::string(plan::kernelInfo(info.param.testCase.kernel).name) + "_" +
         std::string(plan::precisionName(info.param.precision)) + "_" +
         std::to_string(info.param.number);
}

INSTANTIATE_TEST_SUITE_P(, PlanSizesTest, testing::ValuesIn(subjects()), subjectName);

} // namespace

} // namespace evo::conformance
