//===- SgdStep.cpp --------------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// velocity = momentum velocity + gradient / loss scale; w -= learning rate times velocity.
//===----------------------------------------------------------------------===//
#include "runtime/cpu/kernels/Optimizer.h"

namespace evo::cpu::EVO_CPU_ISA {

template <class S> void launchSgdStep(const Launch &launch) {
  using T = Compute<S>;
  const Operand *o = launch.operands;
  Scalars<T> scalars(o[1]);
  StepOperands<1> step{o[0], o[3], o[4], o[5], o[7], {o[2]}, {o[6]}};
  T rate = T(launch.attributes->learningRate), momentum = T(launch.attributes->momentum);
  T scale = scalars.lossScale;
  bool hasVelocity = bool(o[2]);
  stepWeights<S>(launch, step, scalars.nonfinite > T(0),
                 [&](T *__restrict w, T *__restrict g, T *const *states, int64_t n) {
                   T *__restrict velocity = states[0];
                   if (!hasVelocity)
                     for (int64_t i = 0; i < n; ++i)
                       velocity[i] = T(0);
#pragma omp simd
                   for (int64_t i = 0; i < n; ++i) {
                     velocity[i] = momentum * velocity[i] + g[i] / scale;
                     w[i] -= rate * velocity[i];
                   }
                 });
}

EVO_CPU_INSTANTIATE(SgdStep)

} // namespace evo::cpu::EVO_CPU_ISA
