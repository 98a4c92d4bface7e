//===- KernelWorkTest.cpp ---------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "runtime/plan/KernelWork.h"

#include <gtest/gtest.h>

namespace evo::plan {

namespace {

using Shapes = std::vector<std::optional<std::vector<int64_t>>>;

KernelWork workOf(Kernel kernel, const KernelAttributes &attributes, const Shapes &shapes) {
  Result<AxisExtents> axes = bindKernelAxes(kernel, attributes, shapes);
  EXPECT_TRUE(axes.ok()) << axes.status().message();
  uint32_t present = 0;
  for (size_t i = 0; i < shapes.size(); ++i)
    present |= shapes[i] ? 1u << i : 0;
  return kernelWork(kernel, *axes, present);
}

TEST(KernelWork, LinearCountsItsGate) {
  // x [5, 3], weight [2, 3], gate [5, 2], y [5, 2].
  Shapes shapes = {{{5, 3}}, {{2, 3}}, {}, {}, {{5, 2}}, {}, {}, {{5, 2}}};
  KernelWork work = workOf(Kernel::Linear, {}, shapes);
  EXPECT_EQ(work.workClass, WorkClass::Matmul);
  EXPECT_EQ(work.flops, 60); // 2 * 5 * 2 * 3
  EXPECT_EQ(work.exps, 10);  // 5 * 2
  EXPECT_EQ(work.kernel, Kernel::Linear);
  EXPECT_EQ(work.shape, (std::vector<int64_t>{3, 2})); // k, n: in the order of the row's operands
  EXPECT_EQ(work.optional, 1u << 4);
  shapes[4].reset();
  work = workOf(Kernel::Linear, {}, shapes);
  EXPECT_EQ(work.exps, 0);
  EXPECT_EQ(work.optional, 0u);
}

TEST(KernelWork, AttentionHasTheWidthOfAHead) {
  KernelAttributes attributes;
  attributes.heads = 2;
  // query [3, 5, 8], key and value [3, 7, 8].
  const KernelWork work = workOf(Kernel::Attention, attributes,
                                 {{{3, 5, 8}}, {{3, 7, 8}}, {{3, 7, 8}}, {}, {}, {{3, 5, 8}}, {}});
  EXPECT_EQ(work.flops, 3360);                            // 4 * 3 * 5 * 7 * 8
  EXPECT_EQ(work.exps, 210);                              // 3 * 2 * 5 * 7
  EXPECT_EQ(work.shape, (std::vector<int64_t>{5, 4, 7})); // q, 8 / 2, k
}

TEST(KernelWork, ShapeAxesLeaveOutRowsAndWhatFollows) {
  EXPECT_EQ(shapeAxes(Kernel::LayerNorm), "c");
  EXPECT_EQ(shapeAxes(Kernel::Linear), "kn");
  EXPECT_EQ(shapeAxes(Kernel::AttentionGrad), "qxk");
  EXPECT_EQ(shapeAxes(Kernel::BatchMatmul), "mkn");
  EXPECT_EQ(shapeAxes(Kernel::OuterProductMean), "scjdn");
  EXPECT_EQ(shapeAxes(Kernel::OuterProductNorm), "sj");
  EXPECT_EQ(shapeAxes(Kernel::Gate), "xq");
  EXPECT_EQ(shapeAxes(Kernel::AdamwStep), "");
}

TEST(KernelWork, TheSetOfKernelsHasOneHash) {
  EXPECT_EQ(kernelSetHash().size(), 16u);
  EXPECT_EQ(kernelSetHash(), kernelSetHash());
}

} // namespace
} // namespace evo::plan
