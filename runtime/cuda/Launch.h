//===- Launch.h - a kernel call as the CUDA kernels take it -----*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/cuda/Axes.h"
#include "runtime/cuda/Context.h"
#include "runtime/plan/Kernel.h"

namespace evo::cuda {

static_assert(kMaxAxes == plan::kMaxRank);

/// An operand whose element type has been checked.
struct Operand {
  std::byte *data = nullptr; ///< null: an absent optional operand
  plan::DType type = plan::DType::F32;
  int rank = 0;
  int64_t shape[plan::kMaxRank] = {};
  int64_t strides[plan::kMaxRank] = {}; ///< elements
  explicit operator bool() const { return data != nullptr; }
};

inline bool isEmpty(const Operand &operand) {
  for (int d = 0; d < operand.rank; ++d)
    if (operand.shape[d] == 0)
      return true;
  return false;
}

/// One kernel call; operands in the order of Kernels.def.
struct Launch {
  const Operand *operands;
  const plan::KernelAttributes *attributes;
  Context *context;
  plan::Precision precision;
  plan::DropoutKey dropout;
};

/// Enqueues a kernel on the context's stream.
using KernelFunction = Status (*)(const Launch &);

/// The kernels for a storage type, indexed by plan::Kernel; null for F64.
const KernelFunction *kernelTable(plan::DType storage);

} // namespace evo::cuda
