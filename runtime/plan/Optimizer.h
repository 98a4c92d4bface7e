//===- Optimizer.h - when gradients are counted -----------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/plan/Plan.h"

namespace evo::plan {

/// Whether a gradient may pass the largest number of its type, so that an optimizer step has to
/// count those that are not finite and skip its update where there is one. A loss scale of 1 is
/// what nobody scales by; `growthInterval` is the attribute of `advance_optimizer`.
inline bool mayOverflow(Precision precision, const OptimizerInfo &optimizer,
                        int64_t growthInterval) {
  return precision == Precision::Fp16 || optimizer.lossScale != 1 || growthInterval > 0;
}

} // namespace evo::plan
