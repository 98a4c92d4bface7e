//===- Cases.h ------------------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// The calls that every backend is tried with: sizes (odd, prime, 1, around tile borders) x optional
// operands x memory layouts x in place or not. Shapes come from the axes of Kernels.def.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/plan/Kernel.h"

#include <map>
#include <string>
#include <vector>

namespace evo::conformance {

/// How an operand lies in its buffer.
enum class Layout : uint8_t {
  Dense,      ///< row-major
  Padded,     ///< rows padded at their end
  Slice,      ///< columns of wider rows
  SwapInner,  ///< the last two axes swapped
  FirstInner, ///< the first axis innermost
  LastOuter,  ///< the last axis outermost (channel-first)
  Spaced,     ///< every second element of a row
  Broadcast,  ///< inputs only: the first axis has a stride of 0
  SwapOuter,  ///< the first two axes swapped; in no mixture
  Eights,     ///< rows padded to a multiple of 8 elements, as plans have them; in no mixture
};
inline constexpr int kLayouts = 8; ///< of mixtures

/// What an input holds.
enum class Fill : uint8_t {
  Normal,   ///< N(0, 1)
  Large,    ///< N(0, 1) times 30
  Offset,   ///< N(0, 1) + 1000
  Mask,     ///< 0 or 1, every third row all 0
  RealMask, ///< uniform in [0, 1)
  LateMask, ///< 1 in the last third of a row, 0 before
  Weight,   ///< N(0, 1 / columns)
  Square,   ///< N(0, 1)^2
  Wild,     ///< N(0, 1), every seventh NaN and some infinite
  NanRows,  ///< N(0, 1), every fifth row NaN
  Scalars,  ///< of an optimizer: 8, 1999, 5, 0
  Overflow, ///< of an optimizer whose step is skipped: 8, 7, 5, 3
};

struct OperandCase {
  bool present = true;
  std::vector<int64_t> shape;
  Layout layout = Layout::Dense;
  Fill fill = Fill::Normal;
};

struct KernelCase {
  std::string name; ///< unique within the kernel
  plan::Kernel kernel;
  plan::KernelAttributes attributes;
  std::vector<OperandCase> operands;
  bool aligned = false;      ///< operands begin as plans' buffers do, else at odd elements
  bool inPlace = false;      ///< outputs coincide with the inputs that they may alias
  bool hugeIfMasked = false; ///< attention: values of masked keys are 1e38 and must weigh exactly 0
  plan::DropoutKey dropout;  ///< of the call
  double conditioning = 1;   ///< by how much the data enlarges rounding errors
  double magnitude = 0; ///< of terms that may cancel: what errors are measured by where it is more
                        ///< than the outputs' own
  uint64_t seed = 0;
};

/// EVO_CONFORMANCE_SEED, a number that what cases draw depends on, or "random", which draws one for
/// this run and prints it; 0 without it.
uint64_t runSeed();

/// All cases of all kernels; the same ones each time that `runSeed` is.
const std::vector<KernelCase> &kernelCases();

/// Terms in the longest sum of the call, for tolerances.
int64_t reductionLength(const KernelCase &testCase);

} // namespace evo::conformance
