//===- CaseBuilder.h - how cases are made -----------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#pragma once

#include "test/conformance/Cases.h"

#include <map>
#include <random>
#include <string>

namespace evo::conformance {

/// Extents of one case: of the leading axes `*` and by axis letter.
struct Sizes {
  std::vector<int64_t> leading;
  std::map<char, int64_t> extent;
};

/// What a case draws, its data and its mixtures of layouts, follows from a hash of its kernel,
/// attributes, shapes, fills and layouts, the data also from `runSeed`: one more case changes none
/// of the others.
class CaseBuilder {
public:
  std::vector<KernelCase> cases;

  /// All subsets of the optional operands that a plan may have, each dense, in place where that is
  /// allowed, and with `mixtures` random mixtures of layouts.
  void sweep(plan::Kernel kernel, const plan::KernelAttributes &attributes,
             const std::vector<Sizes> &sizes, int mixtures = 2);
  /// What may be broadcast is so along leading axis `turn` of them and one more, at which none is.
  static KernelCase make(plan::Kernel kernel, const plan::KernelAttributes &attributes,
                         const Sizes &sizes, uint64_t turn = 0);
  void add(KernelCase testCase);
  /// The same layouts for the same case and `mixture`.
  static void mixLayouts(KernelCase &testCase, int mixture);

private:
  std::map<std::string, int> known; ///< how many cases are alike in all that is hashed
};

/// Sizes of the attention kernels: `width` a head, `groups` key heads.
Sizes attentionSizes(int64_t heads, int64_t b, int64_t q, int64_t k, int64_t width, int64_t groups);

/// Two heads of `attention` or its gradient with masks of 0 and 1 and of reals, which forbid keys
/// or only weigh them less.
void maskedAttention(CaseBuilder &builder, plan::Kernel kernel, plan::KernelAttributes attributes);
/// The cases of the attention kernels: all that an operand may be.
void attentionSweeps(CaseBuilder &builder);
/// Those around what devices have tiles and kernels of their own for, gradients among them.
void attentionTiles(CaseBuilder &builder);
/// The cases of the gradient kernels.
void gradientKernels(CaseBuilder &builder);
/// The cases of the optimizer's kernels.
void optimizerKernels(CaseBuilder &builder);

} // namespace evo::conformance
