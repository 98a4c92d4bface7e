//===- Table.cu -------------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// The kernels by storage type, from Kernels.def: a row there without a kernel here fails to link.
//===----------------------------------------------------------------------===//
#include "runtime/cuda/kernels/Storage.cuh"

namespace evo::cuda {

#define ATTRIBUTES(...)
#define EVO_KERNEL(Name, mnemonic, attributes, ...)                                                \
  template <class S> Status launch##Name(const Launch &);                                          \
  extern template Status launch##Name<float>(const Launch &);                                      \
  extern template Status launch##Name<__nv_bfloat16>(const Launch &);                              \
  extern template Status launch##Name<__half>(const Launch &);
#include "runtime/plan/Kernels.def"

namespace {

const KernelFunction fp32Kernels[] = {
#define ATTRIBUTES(...)
#define EVO_KERNEL(Name, mnemonic, attributes, ...) launch##Name<float>,
#include "runtime/plan/Kernels.def"
};

const KernelFunction bf16Kernels[] = {
#define ATTRIBUTES(...)
#define EVO_KERNEL(Name, mnemonic, attributes, ...) launch##Name<__nv_bfloat16>,
#include "runtime/plan/Kernels.def"
};

const KernelFunction fp16Kernels[] = {
#define ATTRIBUTES(...)
#define EVO_KERNEL(Name, mnemonic, attributes, ...) launch##Name<__half>,
#include "runtime/plan/Kernels.def"
};

} // namespace

const KernelFunction *kernelTable(plan::DType storage) {
  switch (storage) {
  case plan::DType::F32:
    return fp32Kernels;
  case plan::DType::BF16:
    return bf16Kernels;
  case plan::DType::F16:
    return fp16Kernels;
  case plan::DType::F64:
    break;
  }
  return nullptr;
}

} // namespace evo::cuda
