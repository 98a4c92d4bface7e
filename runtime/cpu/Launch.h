//===- Launch.h - a kernel call without the standard library ----*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// The border between the backend and the kernels. Kernel files are compiled once an instruction
// set, each time into its own namespace EVO_CPU_ISA, and the backend picks one set when it is made.
// They use plain structs and no inline function of the standard library: the linker keeps one copy
// of such a function for the whole program, and that copy could hold instructions that the machine
// lacks.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/cpu/ThreadPool.h"
#include "runtime/plan/Kernel.h"

namespace evo::cpu {

/// An operand whose element type has been checked.
struct Operand {
  std::byte *data = nullptr; ///< null: an absent optional operand
  plan::DType type = plan::DType::F32;
  int rank = 0;
  int64_t shape[plan::kMaxRank] = {};
  int64_t strides[plan::kMaxRank] = {}; ///< elements
  explicit operator bool() const { return data != nullptr; }
};

/// One kernel call; operands in the order of Kernels.def.
struct Launch {
  const Operand *operands;
  const plan::KernelAttributes *attributes;
  ThreadPool *pool;
  plan::DropoutKey dropout;
};

using KernelFunction = void (*)(const Launch &);

/// The kernels of one instruction set, indexed by plan::Kernel.
struct KernelSet {
  const KernelFunction *fp32;
  const KernelFunction *fp64;
  const KernelFunction *bf16;
  const KernelFunction *fp16;
};

/// Scratch that each worker owns: a part for strided matrix products, the rest for the kernel
/// itself.
inline constexpr int64_t kGemmScratchBytes = int64_t{384} << 10;
inline constexpr int64_t kScratchBytes = int64_t{2} << 20;

/// Sums of attention take 256 KiB of scratch an output where plans store half.
inline constexpr int64_t kMostHalfHeadWidth = (int64_t{256} << 10) / int64_t(sizeof(float));

#define EVO_CPU_DECLARE_SET(isa)                                                                   \
  namespace isa {                                                                                  \
  KernelSet kernelSet();                                                                           \
  }
EVO_CPU_DECLARE_SET(baseline)
EVO_CPU_DECLARE_SET(v3)
EVO_CPU_DECLARE_SET(v4)
#undef EVO_CPU_DECLARE_SET

} // namespace evo::cpu
