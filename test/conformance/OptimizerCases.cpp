//===- OptimizerCases.cpp -------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "test/conformance/CaseBuilder.h"

namespace evo::conformance {

using plan::Kernel;
using plan::KernelAttributes;

namespace {

const std::vector<Sizes> &weightSizes() {
  // Lines of 1024.
  static const std::vector<Sizes> sizes = {{{}, {{'e', 4}}},         {{1}, {{'e', 4}}},
                                           {{7}, {{'e', 4}}},        {{5, 9}, {{'e', 4}}},
                                           {{33, 130}, {{'e', 4}}},  {{3, 1025}, {{'e', 4}}},
                                           {{1030, 17}, {{'e', 4}}}, {{0}, {{'e', 4}}}};
  return sizes;
}

void setFill(KernelCase &testCase, std::string_view operand, Fill fill) {
  int index = plan::kernelInfo(testCase.kernel).operandIndex(operand);
  testCase.operands[size_t(index)].fill = fill;
}

/// A step that an overflow makes skip, apart and in place.
void trySkipped(CaseBuilder &builder, Kernel kernel, const KernelAttributes &attributes) {
  for (bool inPlace : {false, true}) {
    KernelCase skipped = builder.make(kernel, attributes, {{7, 11}, {{'e', 4}}});
    setFill(skipped, "scalars", Fill::Overflow);
    setFill(skipped, "gradient", Fill::Wild);
    skipped.inPlace = inPlace;
    builder.add(skipped);
  }
}

} // namespace

void optimizerKernels(CaseBuilder &builder) {
  KernelAttributes sgd;
  sgd.learningRate = 0.01;
  builder.sweep(Kernel::SgdStep, sgd, weightSizes());
  sgd.momentum = 0.9;
  builder.sweep(Kernel::SgdStep, sgd, weightSizes());
  trySkipped(builder, Kernel::SgdStep, sgd);
  KernelAttributes adamw;
  adamw.learningRate = 0.01, adamw.beta1 = 0.9, adamw.beta2 = 0.999;
  adamw.eps = 1e-8, adamw.weightDecay = 0.1;
  builder.sweep(Kernel::AdamwStep, adamw, weightSizes());
  trySkipped(builder, Kernel::AdamwStep, adamw);
  for (const Sizes &sizes : weightSizes())
    for (Fill fill : {Fill::Normal, Fill::Wild}) {
      KernelCase count = builder.make(Kernel::CountNonfinite, {}, sizes);
      setFill(count, "x", fill);
      setFill(count, "scalars", Fill::Overflow);
      builder.add(count);
      CaseBuilder::mixLayouts(count, 1);
      count.inPlace = true;
      builder.add(count);
    }
  for (int64_t interval : {0, 2000, 3000})
    for (Fill fill : {Fill::Scalars, Fill::Overflow}) {
      KernelAttributes growth;
      growth.growthInterval = interval;
      KernelCase advance = builder.make(Kernel::AdvanceOptimizer, growth, {{}, {{'e', 4}}});
      setFill(advance, "scalars", fill);
      builder.add(advance);
      CaseBuilder::mixLayouts(advance, 1);
      advance.inPlace = true;
      builder.add(advance);
    }
}

} // namespace evo::conformance
