//===- AdamwStep.cu ------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// Moving means of the gradient and of its square, a step along their ratio, and weight decay that
// is no part of the gradient. What depends on the step's number is the same for all elements: two
// threads of a block compute it, in double, while the others wait for memory.
//===----------------------------------------------------------------------===//
#include "runtime/cuda/kernels/Elementwise.cuh"
#include "runtime/cuda/kernels/Optimizer.cuh"

#include <cmath>

namespace evo::cuda {

namespace {

struct AdamwOp {
  Scalars scalars;
  double rate, logBeta1, logBeta2;
  float beta1, rest1, beta2, rest2, eps, decay;
  bool hasMaster;

  struct Shared {
    float lossScale, first, second;
    bool skips;
  };
  /// To be called by all threads of a block. Logarithms of 0 are -inf, whose corrections are 1.
  __device__ Shared read() const {
    __shared__ float corrections[2];
    if (threadIdx.x < 2) {
      double number = double(scalars.at(2)) + 1;
      double rest = -expm1(number * (threadIdx.x ? logBeta2 : logBeta1));
      corrections[threadIdx.x] = static_cast<float>((threadIdx.x ? 1 : rate) / rest);
    }
    Shared shared{scalars.lossScale(), 0, 0, scalars.skips()};
    __syncthreads();
    shared.first = corrections[0], shared.second = corrections[1];
    return shared;
  }
  /// x: gradient, first, second, master, weight; y: weight, first, second, master.
  __device__ void apply(const Shared &shared, const float *x, float *y) const {
    if (shared.skips) {
      y[0] = x[4], y[1] = x[1], y[2] = x[2], y[3] = x[3];
      return;
    }
    float slope = x[0] / shared.lossScale;
    y[1] = beta1 * x[1] + rest1 * slope;
    y[2] = beta2 * x[2] + rest2 * slope * slope;
    y[3] = y[0] = decay * (hasMaster ? x[3] : x[4]) -
                  shared.first * y[1] / (sqrtf(y[2] * shared.second) + eps);
  }
};

__global__ void correctionKernel(AdamwOp op, AdamwOp::Shared *shared) {
  AdamwOp::Shared read = op.read();
  if (threadIdx.x == 0)
    *shared = read;
}

/// Where operands lie apart: with what another launch has read.
struct ScatteredOp {
  AdamwOp op;
  const AdamwOp::Shared *shared;
  __device__ void operator()(const float *x, float *y) const { op.apply(*shared, x, y); }
};

} // namespace

template <class S> Status launchAdamwStep(const Launch &launch) {
  const Operand *o = launch.operands;
  const plan::KernelAttributes &a = *launch.attributes;
  AdamwOp op{Scalars(o[1]),
             a.learningRate,
             std::log(a.beta1),
             std::log(a.beta2),
             static_cast<float>(a.beta1),
             static_cast<float>(1 - a.beta1),
             static_cast<float>(a.beta2),
             static_cast<float>(1 - a.beta2),
             static_cast<float>(a.eps),
             static_cast<float>(1 - a.learningRate * a.weightDecay),
             bool(o[4])};
  const Operand *const operands[] = {&o[0], &o[2], &o[3], &o[4], &o[5], &o[6], &o[7], &o[8], &o[9]};
  if (launchStep<S, 5, 4>(launch, operands, op))
    return statusOf(cudaGetLastError(), "the launch of a step");
  auto *shared = reinterpret_cast<AdamwOp::Shared *>(launch.context->scratch);
  correctionKernel<<<1, 2, 0, launch.context->stream>>>(op, shared);
  Elements<5, 4> elements(o[6]);
  for (int i = 0; i < 9; ++i)
    elements.set(i, *operands[i]);
  return elementwise<S>(launch, elements, ScatteredOp{op, shared});
}

EVO_CUDA_INSTANTIATE(AdamwStep)

} // namespace evo::cuda
