//===- AdamwStep.cpp ------------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// Moving means of the gradient and of its square, a step along their ratio, and weight decay that
// is no part of the gradient. What depends on the step's number is the same for all elements and
// computed once, in double.
//===----------------------------------------------------------------------===//
#include "runtime/cpu/kernels/Optimizer.h"

namespace evo::cpu::EVO_CPU_ISA {

namespace {
[[gnu::always_inline]] inline float rootOf(float x) { return __builtin_sqrtf(x); }
[[gnu::always_inline]] inline double rootOf(double x) { return __builtin_sqrt(x); }
} // namespace

template <class S> void launchAdamwStep(const Launch &launch) {
  using T = Compute<S>;
  const Operand *o = launch.operands;
  const plan::KernelAttributes &attributes = *launch.attributes;
  Scalars<T> scalars(o[1]);
  StepOperands<2> step{o[0], o[4], o[5], o[6], o[9], {o[2], o[3]}, {o[7], o[8]}};
  double number = double(scalars.steps) + 1;
  double firstCorrection = 1 - __builtin_pow(attributes.beta1, number);
  double secondCorrection = 1 - __builtin_pow(attributes.beta2, number);
  T rate = T(attributes.learningRate / firstCorrection), eps = T(attributes.eps);
  T correction = T(1 / secondCorrection);
  T decay = T(1 - attributes.learningRate * attributes.weightDecay);
  T beta1 = T(attributes.beta1), rest1 = T(1 - attributes.beta1);
  T beta2 = T(attributes.beta2), rest2 = T(1 - attributes.beta2);
  T scale = scalars.lossScale;
  stepWeights<S>(launch, step, scalars.nonfinite > T(0),
                 [&](T *__restrict w, T *__restrict g, T *const *states, int64_t n) {
                   T *__restrict first = states[0], *__restrict second = states[1];
#pragma omp simd
                   for (int64_t i = 0; i < n; ++i) {
                     T slope = g[i] / scale;
                     first[i] = beta1 * first[i] + rest1 * slope;
                     second[i] = beta2 * second[i] + rest2 * slope * slope;
                     w[i] = decay * w[i] - rate * first[i] / (rootOf(second[i] * correction) + eps);
                   }
                 });
}

EVO_CPU_INSTANTIATE(AdamwStep)

} // namespace evo::cpu::EVO_CPU_ISA
