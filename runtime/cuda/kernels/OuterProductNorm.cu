//===- OuterProductNorm.cu -----------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// y[i,j] = 1 / (eps + sum_s mask_i[s,i] mask_j[s,j]): one launch for as many sums as it takes no
// longer for, else a product.
//===----------------------------------------------------------------------===//
#include "runtime/cuda/Product.h"
#include "runtime/cuda/kernels/Elementwise.cuh"

namespace evo::cuda {

namespace {

struct NormOp {
  float eps;
  __device__ void operator()(const float *x, float *y) const { y[0] = 1.0f / (eps + x[0]); }
};

constexpr int kNormTile = 32, kNormDepth = 64;

struct MaskCall {
  const std::byte *mask[2]; ///< [s][i], [s][j]
  int64_t sStride[2], stride[2], extent[2], sequences, jTiles;
  std::byte *y;
  int64_t yStride[2];
  bool yStatistic;
  float eps;
};

/// A block has 32 x 32 outputs, a thread four of them, and goes through 64 sequences at a time; the
/// next lie in registers meanwhile.
template <class S>
__global__ void __launch_bounds__(256) maskKernel(const __grid_constant__ MaskCall call) {
  __shared__ __align__(16) float tile[2][kNormDepth][kNormTile + 4];
  int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  int64_t iTile = quotient(blockIdx.x, call.jTiles);
  int64_t first[2] = {iTile * kNormTile, (blockIdx.x - iTile * call.jTiles) * kNormTile};
  S ahead[2][kNormDepth / 8];
  float sum[4] = {};
  auto fetch = [&](int64_t s0) {
#pragma unroll
    for (int side = 0; side < 2; ++side)
#pragma unroll
      for (int n = 0; n < kNormDepth / 8; ++n) {
        int64_t s = s0 + warp + 8 * n, at = first[side] + lane;
        bool inside = s < call.sequences && at < call.extent[side];
        ahead[side][n] = inside
                             ? reinterpret_cast<const S *>(
                                   call.mask[side])[s * call.sStride[side] + at * call.stride[side]]
                             : rounded<S>(0.0f);
      }
  };
  fetch(0);
  for (int64_t s0 = 0; s0 < call.sequences; s0 += kNormDepth) {
    __syncthreads();
#pragma unroll
    for (int side = 0; side < 2; ++side)
#pragma unroll
      for (int n = 0; n < kNormDepth / 8; ++n)
        tile[side][warp + 8 * n][lane] = widen(ahead[side][n]);
    __syncthreads();
    fetch(s0 + kNormDepth);
#pragma unroll 8
    for (int s = 0; s < kNormDepth; ++s) {
      float right = tile[1][s][lane];
      float4 left = *reinterpret_cast<const float4 *>(&tile[0][s][4 * warp]);
      sum[0] = fmaf(left.x, right, sum[0]), sum[1] = fmaf(left.y, right, sum[1]);
      sum[2] = fmaf(left.z, right, sum[2]), sum[3] = fmaf(left.w, right, sum[3]);
    }
  }
  for (int n = 0; n < 4; ++n) {
    int64_t i = first[0] + 4 * warp + n, j = first[1] + lane;
    if (i < call.extent[0] && j < call.extent[1])
      store<S>(call.y, i * call.yStride[0] + j * call.yStride[1], 1.0f / (call.eps + sum[n]),
               call.yStatistic);
  }
}

/// Where sums are so short and few that the launches of a product would take longer.
template <class S> bool launchMasks(const Launch &launch) {
  const Operand *o = launch.operands;
  int64_t tiles = ceilDiv(o[2].shape[0], kNormTile) * ceilDiv(o[2].shape[1], kNormTile);
  if (o[0].shape[0] > 256 || tiles > 1024)
    return false;
  MaskCall call{};
  for (int side = 0; side < 2; ++side) {
    call.mask[side] = o[side].data;
    call.sStride[side] = o[side].strides[0], call.stride[side] = o[side].strides[1];
    call.extent[side] = o[2].shape[side], call.yStride[side] = o[2].strides[side];
  }
  call.sequences = o[0].shape[0], call.jTiles = ceilDiv(call.extent[1], kNormTile);
  call.y = o[2].data, call.yStatistic = isStatistic<S>(o[2].type);
  call.eps = static_cast<float>(launch.attributes->eps);
  if (tiles > 0)
    maskKernel<S><<<gridOf(tiles), 256, 0, launch.context->stream>>>(call);
  return true;
}

} // namespace

template <class S> Status launchOuterProductNorm(const Launch &launch) {
  if (launchMasks<S>(launch))
    return statusOf(cudaGetLastError(), "the launch of a normalisation of masks");
  const Operand &maskI = launch.operands[0], &maskJ = launch.operands[1], &y = launch.operands[2];
  Product product;
  product.set(Product::A, maskI);
  product.set(Product::B, maskJ);
  product.set(Product::Y, y);
  Product::addAxis(product.m, y.shape[0], maskI.strides[1], 0, y.strides[0]);
  Product::addAxis(product.n, y.shape[1], 0, maskJ.strides[1], y.strides[1]);
  Product::addAxis(product.k, maskI.shape[0], maskI.strides[0], maskJ.strides[0], 0);
  EVO_TRY(multiply(*launch.context, launch.precision, product));
  Elements<1, 1> elements(y);
  elements.set(0, y);
  elements.set(1, y);
  return elementwise<S>(launch, elements, NormOp{static_cast<float>(launch.attributes->eps)});
}

EVO_CUDA_INSTANTIATE(OuterProductNorm)

} // namespace evo::cuda
