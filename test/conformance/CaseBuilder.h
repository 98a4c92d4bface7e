//===- CaseBuilder.h - how cases are made -----------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#pragma once

#include "test/conformance/Cases.h"

#include <random>

namespace evo::conformance {

/// Extents of one case: of the leading axes `*` and by axis letter.
struct Sizes {
  std::vector<int64_t> leading;
  std::map<char, int64_t> extent;
};

class CaseBuilder {
public:
  std::vector<KernelCase> cases;

  /// All subsets of the optional operands that a plan may have, each dense, in place where that is
  /// allowed, and with `mixtures` random mixtures of layouts.
  void sweep(plan::Kernel kernel, const plan::KernelAttributes &attributes,
             const std::vector<Sizes> &sizes, int mixtures = 2);
  KernelCase make(plan::Kernel kernel, const plan::KernelAttributes &attributes,
                  const Sizes &sizes) const;
  void add(KernelCase testCase);
  void mixLayouts(KernelCase &testCase);

private:
  std::mt19937_64 random{20};
};

/// Sizes of the attention kernels: `width` a head, `groups` key heads.
Sizes attentionSizes(int64_t heads, int64_t b, int64_t q, int64_t k, int64_t width, int64_t groups);

/// The cases of the gradient kernels.
void gradientKernels(CaseBuilder &builder);
/// The cases of the optimizer's kernels.
void optimizerKernels(CaseBuilder &builder);

} // namespace evo::conformance
