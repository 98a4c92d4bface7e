//===- ManyTilesTest.cpp - more tiles than a device has blocks --*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// Kernels whose blocks stay go from one tile to the next without a pause: they begin the next while
// the last is finished. That shows only where there are more tiles than the device runs blocks,
// 132 or 264 of a Hopper. The CPU's kernels have nothing like it and are tried once, so that a
// machine without a device shows that the cases are right.
//===----------------------------------------------------------------------===//
#include "test/conformance/Backends.h"
#include "test/conformance/CaseBuilder.h"
#include "test/conformance/Runner.h"
#include "test/conformance/Selection.h"

#include <gtest/gtest.h>

namespace evo::conformance {

namespace {

using plan::Kernel;
using plan::KernelAttributes;
using plan::Precision;

/// With and without a pair bias, whose gradient goes through the batches in parts, of several times
/// as many as are on their way at once.
void manyHeads(CaseBuilder &builder) {
  KernelAttributes attributes;
  attributes.inf = 1e9, attributes.scale = 0.3;
  struct Shape {
    int64_t heads, batches, queries, keys, width;
  };
  for (Kernel kernel : {Kernel::Attention, Kernel::AttentionGrad})
    for (const Shape &shape : {Shape{2, 136, 65, 72, 8}, Shape{4, 140, 66, 130, 32}})
      for (bool bias : {true, false}) {
        attributes.heads = shape.heads;
        KernelCase many = builder.make(kernel, attributes,
                                       attentionSizes(shape.heads, shape.batches, shape.queries,
                                                      shape.keys, shape.width, shape.heads));
        const plan::KernelInfo &info = plan::kernelInfo(kernel);
        for (const char *name : {"pair_bias", "accumulator", "dpair_bias"})
          if (int index = info.operandIndex(name); index >= 0) {
            many.operands[size_t(index)].layout = Layout::Eights;
            many.operands[size_t(index)].present &= bias;
          }
        many.operands[4].fill = Fill::Mask;
        many.hugeIfMasked = true;
        builder.add(many);
      }
}

/// Tiles of 128 x 256: of i c x j d, of s x i c and of s x j d.
void manyProducts(CaseBuilder &builder) {
  auto add = [&](Kernel kernel, int64_t s, int64_t i, int64_t j) {
    builder.add(builder.make(
        kernel, {}, {{}, {{'s', s}, {'i', i}, {'j', j}, {'c', 32}, {'d', 32}, {'x', 1024}}}));
  };
  add(Kernel::OuterProduct, 9, 70, 66);
  add(Kernel::OuterProductGrad, 260, 400, 3);
  add(Kernel::OuterProductGrad, 260, 3, 400);
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
  manyProducts(builder);
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

class ManyTilesTest : public testing::TestWithParam<Subject> {};

TEST_P(ManyTilesTest, AgreesWithReference) {
  const auto &[number, testCase, precision] = GetParam();
  if (Selection::elementsOf(testCase) > Selection::read().limit)
    GTEST_SKIP() << "more elements than EVO_CONFORMANCE_LIMIT";
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
    EXPECT_EQ(compareCase(testCase, placement, expected, *after, factory.rounds(testCase.kernel)),
              "")
        << factory.name;
  }
}

std::string subjectName(const testing::TestParamInfo<Subject> &info) {
  return std::string(plan::kernelInfo(info.param.testCase.kernel).name) + "_" +
         std::string(plan::precisionName(info.param.precision)) + "_" +
         std::to_string(info.param.number);
}

INSTANTIATE_TEST_SUITE_P(, ManyTilesTest, testing::ValuesIn(subjects()), subjectName);

} // namespace

} // namespace evo::conformance
