//===- SgdStep.cu --------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// velocity = momentum velocity + gradient / loss scale; w -= learning rate times velocity.
//===----------------------------------------------------------------------===//
#include "runtime/cuda/kernels/Elementwise.cuh"
#include "runtime/cuda/kernels/Optimizer.cuh"

namespace evo::cuda {

namespace {

struct SgdOp {
  Scalars scalars;
  float rate, momentum;
  bool hasMaster;
  /// x: gradient, velocity, master, weight; y: weight, velocity, master.
  __device__ void operator()(const float *x, float *y) const {
    if (scalars.skips()) {
      y[0] = x[3], y[1] = x[1], y[2] = x[2];
      return;
    }
    y[1] = momentum * x[1] + x[0] / scalars.lossScale();
    y[2] = y[0] = (hasMaster ? x[2] : x[3]) - rate * y[1];
  }
};

} // namespace

template <class S> Status launchSgdStep(const Launch &launch) {
  const Operand *o = launch.operands;
  Elements<4, 3> elements(o[5]);
  const int order[] = {0, 2, 3, 4, 5, 6, 7};
  for (int i = 0; i < 7; ++i)
    elements.set(i, o[order[i]]);
  SgdOp op{Scalars(o[1]), static_cast<float>(launch.attributes->learningRate),
           static_cast<float>(launch.attributes->momentum), bool(o[3])};
  return elementwise<S>(launch, elements, op);
}

EVO_CUDA_INSTANTIATE(SgdStep)

} // namespace evo::cuda
