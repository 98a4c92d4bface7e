//===- Backends.h ---------------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// Which backends the suite runs. A backend adds itself to the list in Backends.cpp, under its own
// macro where it is not built everywhere.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/core/Backend.h"

#include <algorithm>
#include <functional>
#include <string>
#include <vector>

namespace evo::conformance {

/// A kernel and precision that a backend is excused from, and why.
struct Exclusion {
  plan::Kernel kernel;
  plan::Precision precision;
  std::string reason;
};

/// Fused kernels that round to a half type, once, what their plain counterparts store (the outer
/// product, the weights of attention): tensor cores multiply nothing else.
inline bool mayRoundBetween(plan::Kernel kernel) {
  return kernel == plan::Kernel::OuterProductMean || kernel == plan::Kernel::Attention ||
         kernel == plan::Kernel::AttentionGrad;
}

struct BackendFactory {
  std::string name; ///< letters, digits and underscores
  std::function<Result<std::unique_ptr<Backend>>()> create;
  std::vector<plan::Precision> precisions;
  std::vector<Exclusion> exclusions;
  bool hasTensorCores = false; ///< so `mayRoundBetween` holds for it

  bool rounds(plan::Kernel kernel) const { return hasTensorCores && mayRoundBetween(kernel); }
  bool has(plan::Precision precision) const {
    return std::find(precisions.begin(), precisions.end(), precision) != precisions.end();
  }
};

/// Fills with NaNs what the kernels of a backend that a factory created last use while they run:
/// what an earlier call has left there must not pass for a later one's. EVO_CONFORMANCE_UNWRITTEN
/// leaves it as the device gave it, for checkers that see reads of what nothing wrote.
Status poisonWorkspace(Backend &backend);

/// Those that this build has and this machine can run. EVO_CONFORMANCE_BACKEND names the only one,
/// and the suite fails where it is not among them; EVO_CONFORMANCE_LIBRARY=0 keeps products on a
/// GPU from cuBLASLt.
std::vector<BackendFactory> conformanceBackends();

} // namespace evo::conformance
