//===- AdvanceOptimizer.cpp -----------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// The scalars of the next step.
//===----------------------------------------------------------------------===//
#include "runtime/cpu/kernels/Optimizer.h"

namespace evo::cpu::EVO_CPU_ISA {

template <class S> void launchAdvanceOptimizer(const Launch &launch) {
  using T = Compute<S>;
  constexpr T kMostScale = T(1 << 24), kLeastScale = T(1);
  Scalars<T> scalars(launch.operands[0]);
  int64_t interval = launch.attributes->growthInterval;
  bool overflow = scalars.nonfinite > T(0);
  scalars.nonfinite = T(0);
  if (!overflow) {
    scalars.steps += T(1);
    scalars.sinceChange += T(1);
  }
  if (interval > 0 && overflow) {
    if (scalars.lossScale > kLeastScale)
      scalars.lossScale = larger(scalars.lossScale / T(2), kLeastScale);
    scalars.sinceChange = T(0);
  } else if (interval > 0 && scalars.sinceChange >= T(interval)) {
    if (scalars.lossScale < kMostScale)
      scalars.lossScale = smaller(scalars.lossScale * T(2), kMostScale);
    scalars.sinceChange = T(0);
  }
  scalars.store(launch.operands[1]);
}

EVO_CPU_INSTANTIATE(AdvanceOptimizer)

} // namespace evo::cpu::EVO_CPU_ISA
