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
  struct Shared {
    float lossScale;
    bool skips;
  };
  __device__ Shared read() const { return {scalars.lossScale(), scalars.skips()}; }
  /// x: gradient, velocity, master, weight; y: weight, velocity, master.
  __device__ void apply(const Shared &shared, const float *x, float *y) const {
    if (shared.skips) {
      y[0] = x[3], y[1] = x[1], y[2] = x[2];
      return;
    }
    y[1] = momentum * x[1] + x[0] / shared.lossScale;
    y[2] = y[0] = (hasMaster ? x[2] : x[3]) - rate * y[1];
  }
  __device__ void operator()(const float *x, float *y) const { apply(read(), x, y); }
};

} // namespace

template <class S> Status launchSgdStep(const Launch &launch) {
  const Operand *o = launch.operands;
  SgdOp op{Scalars(o[1]), static_cast<float>(launch.attributes->learningRate),
           static_cast<float>(launch.attributes->momentum), bool(o[3])};
  const Operand *const operands[] = {&o[0], &o[2], &o[3], &o[4], &o[5], &o[6], &o[7]};
  if (launchStep<S, 4, 3>(launch, operands, op))
    return statusOf(cudaGetLastError(), "the launch of a step");
  Elements<4, 3> elements(o[5]);
  for (int i = 0; i < 7; ++i)
    elements.set(i, *operands[i]);
  return elementwise<S>(launch, elements, op);
}

EVO_CUDA_INSTANTIATE(SgdStep)

} // namespace evo::cuda
