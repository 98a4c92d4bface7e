//===- Table.cpp ----------------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// The kernels of this instruction set, from Kernels.def: a row there without a kernel here fails to
// link.
//===----------------------------------------------------------------------===//
#include "runtime/cpu/Launch.h"
#include "runtime/cpu/kernels/Storage.h"

namespace evo::cpu::EVO_CPU_ISA {

#define ATTRIBUTES(...)
#define EVO_KERNEL(Name, mnemonic, attributes, ...)                                                \
  template <class T> void launch##Name(const Launch &);                                            \
  extern template void launch##Name<float>(const Launch &);                                        \
  extern template void launch##Name<double>(const Launch &);                                       \
  extern template void launch##Name<Bf16>(const Launch &);                                         \
  extern template void launch##Name<Fp16>(const Launch &);
#include "runtime/plan/Kernels.def"

namespace {

const KernelFunction fp32Kernels[] = {
#define ATTRIBUTES(...)
#define EVO_KERNEL(Name, mnemonic, attributes, ...) launch##Name<float>,
#include "runtime/plan/Kernels.def"
};

const KernelFunction fp64Kernels[] = {
#define ATTRIBUTES(...)
#define EVO_KERNEL(Name, mnemonic, attributes, ...) launch##Name<double>,
#include "runtime/plan/Kernels.def"
};

const KernelFunction bf16Kernels[] = {
#define ATTRIBUTES(...)
#define EVO_KERNEL(Name, mnemonic, attributes, ...) launch##Name<Bf16>,
#include "runtime/plan/Kernels.def"
};

const KernelFunction fp16Kernels[] = {
#define ATTRIBUTES(...)
#define EVO_KERNEL(Name, mnemonic, attributes, ...) launch##Name<Fp16>,
#include "runtime/plan/Kernels.def"
};

} // namespace

KernelSet kernelSet() { return {fp32Kernels, fp64Kernels, bf16Kernels, fp16Kernels}; }

} // namespace evo::cpu::EVO_CPU_ISA
