//===- MaskedMeanGrad.cu -------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// dx[b,q,x] = residual[b,q,x] + mask[b,q] dy[b,u,x] / (eps + sum_q mask[b,q]); u is 1; an absent
// mask is all ones; dx may be the residual.
//===----------------------------------------------------------------------===//
#include "runtime/cuda/kernels/Elementwise.cuh"

namespace evo::cuda {

namespace {

/// totals[b] = eps + sum_q mask[b,q]; one warp a batch.
template <class S>
__global__ void totalKernel(const std::byte *mask, int64_t maskBatch, int64_t maskRow,
                            int64_t batches, int64_t queries, float eps, float *totals) {
  for (int64_t b = blockIdx.x; b < batches; b += gridDim.x) {
    float sum = 0;
    for (int64_t q = threadIdx.x; q < queries; q += 32)
      sum += mask ? load<S>(mask, b * maskBatch + q * maskRow) : 1.0f;
    sum = warpSum(sum);
    if (threadIdx.x == 0)
      totals[b] = eps + sum;
  }
}

struct MaskedMeanGradOp {
  static constexpr uint32_t kOnes = 0b1010;
  bool hasMask;
  /// x: dy, mask, residual, total.
  __device__ void operator()(const float *x, float *y) const {
    y[0] = x[2] + (hasMask ? x[1] : 1.0f) / x[3] * x[0];
  }
};

} // namespace

template <class S> Status launchMaskedMeanGrad(const Launch &launch) {
  const Operand *o = launch.operands;
  const Operand &mask = o[1], &dx = o[3];
  if (isEmpty(dx))
    return {};
  constexpr int64_t kMostBatches = kScratchBytes / 4;
  if (dx.shape[0] > kMostBatches)
    return Status::error(ErrorCode::Unsupported,
                         "expected at most " + std::to_string(kMostBatches) + " batches, got " +
                             std::to_string(dx.shape[0]));
  totalKernel<S><<<gridOf(dx.shape[0]), 32, 0, launch.context->stream>>>(
      mask.data, mask.strides[0], mask.strides[1], dx.shape[0], dx.shape[1],
      static_cast<float>(launch.attributes->eps), elements<float>(launch.context->scratch));
  Operand totals{launch.context->scratch, plan::DType::F32, 1, {dx.shape[0]}, {1}};
  Elements<4, 1> elements(dx);
  elements.setBroadcast(0, o[0]);
  elements.set(1, mask);
  elements.set(2, o[2]);
  elements.set(3, totals);
  elements.set(4, dx);
  return elementwise<S>(launch, elements, MaskedMeanGradOp{bool(mask)});
}

EVO_CUDA_INSTANTIATE(MaskedMeanGrad)

} // namespace evo::cuda
