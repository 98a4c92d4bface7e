//===- AdamwStep.cu ------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// Moving means of the gradient and of its square, a step along their ratio, and weight decay that
// is no part of the gradient. What depends on the step's number is the same for all elements: one
// thread computes it before, in double.
//===----------------------------------------------------------------------===//
#include "runtime/cuda/kernels/Elementwise.cuh"
#include "runtime/cuda/kernels/Optimizer.cuh"

namespace evo::cuda {

namespace {

__global__ void correctionKernel(Scalars scalars, double rate, double beta1, double beta2,
                                 float *corrections) {
  double number = double(scalars.at(2)) + 1;
  corrections[0] = static_cast<float>(rate / (1 - pow(beta1, number)));
  corrections[1] = static_cast<float>(1 / (1 - pow(beta2, number)));
}

struct AdamwOp {
  Scalars scalars;
  const float *corrections;
  float beta1, rest1, beta2, rest2, eps, decay;
  bool hasMaster;
  /// x: gradient, first, second, master, weight; y: weight, first, second, master.
  __device__ void operator()(const float *x, float *y) const {
    if (scalars.skips()) {
      y[0] = x[4], y[1] = x[1], y[2] = x[2], y[3] = x[3];
      return;
    }
    float slope = x[0] / scalars.lossScale();
    y[1] = beta1 * x[1] + rest1 * slope;
    y[2] = beta2 * x[2] + rest2 * slope * slope;
    y[3] = y[0] = decay * (hasMaster ? x[3] : x[4]) -
                  corrections[0] * y[1] / (sqrtf(y[2] * corrections[1]) + eps);
  }
};

} // namespace

template <class S> Status launchAdamwStep(const Launch &launch) {
  const Operand *o = launch.operands;
  const plan::KernelAttributes &a = *launch.attributes;
  auto *corrections = elements<float>(launch.context->scratch);
  correctionKernel<<<1, 1, 0, launch.context->stream>>>(Scalars(o[1]), a.learningRate, a.beta1,
                                                        a.beta2, corrections);
  Elements<5, 4> elements(o[6]);
  const int order[] = {0, 2, 3, 4, 5, 6, 7, 8, 9};
  for (int i = 0; i < 9; ++i)
    elements.set(i, o[order[i]]);
  AdamwOp op{Scalars(o[1]),
             corrections,
             static_cast<float>(a.beta1),
             static_cast<float>(1 - a.beta1),
             static_cast<float>(a.beta2),
             static_cast<float>(1 - a.beta2),
             static_cast<float>(a.eps),
             static_cast<float>(1 - a.learningRate * a.weightDecay),
             bool(o[4])};
  return elementwise<S>(launch, elements, op);
}

EVO_CUDA_INSTANTIATE(AdamwStep)

} // namespace evo::cuda
