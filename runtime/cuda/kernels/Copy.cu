//===- Copy.cu -----------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// y[*] = x[*].
//===----------------------------------------------------------------------===//
#include "runtime/cuda/kernels/TurnedCopy.cuh"

namespace evo::cuda {

template <class S> Status launchCopy(const Launch &launch) {
  const Operand &x = launch.operands[0], &y = launch.operands[1];
  Elements<1, 1> elements(y);
  elements.set(0, x);
  elements.set(1, y);
  return copyElements<S>(launch, elements);
}

EVO_CUDA_INSTANTIATE(Copy)

} // namespace evo::cuda
