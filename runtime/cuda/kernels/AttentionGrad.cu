//===- AttentionGrad.cu --------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// `attention` backwards from its lse, heads as there: p = exp(l - lse),
// D[b,h,q] = sum_c dout[b,q,(h,c)] o[b,q,(h,c)],
// dl[b,h,q,k] = p * (sum_c dout[b,q,(h,c)] value[b,k,(g,c)] - D); then
// dquery = scale * sum_k dl key; dkey = scale * sum over q and the heads of g of dl query;
// dvalue = sum over q and the heads of g of p dout; dpair_bias[h,q,k] = accumulator + sum_b dl.
// dpair_bias may be the accumulator.
//
// Half types whose heads fit them go to the tensor cores (AttentionGradLaunch.cuh). The kernels
// here are for fp32 and any strides and head widths: one whose blocks own queries, one whose blocks
// own keys, one whose blocks own a tile of the pair bias and go through the batches, each of which
// computes p and dl of tiles again. No sum has two writers.
//===----------------------------------------------------------------------===//
#include "runtime/cuda/kernels/AttentionGradLaunch.cuh"

namespace evo::cuda {

namespace {

struct GradSpace {
  ColumnTile a, b;
  SquareTile weights, slopes;
};

/// lse and D of the tile's queries, in registers of the threads that have them.
template <class S>
__device__ void loadRows(const AttentionCall &call, int64_t b, int64_t h, int64_t q0,
                         ColumnTile &space, float (&lse)[4], float (&delta)[4]) {
  const S *o = at<S>(call.o, b, h), *dout = at<S>(call.dout, b, h);
  const float *all = at<float>(call.lse, b, h);
  int row = threadIdx.x / 4, part = threadIdx.x % 4;
  float sum = 0;
  if (q0 + row < call.queries)
    for (int64_t c = part; c < call.width; c += 4)
      sum = fmaf(widen(dout[(q0 + row) * call.dout.row + c * call.dout.col]),
                 widen(o[(q0 + row) * call.o.row + c * call.o.col]), sum);
  sum += __shfl_xor_sync(0xffffffffu, sum, 1);
  sum += __shfl_xor_sync(0xffffffffu, sum, 2);
  __syncthreads();
  if (part == 0)
    space[row][0] = sum;
  __syncthreads();
  for (int i = 0; i < 4; ++i) {
    int r = threadIdx.x / 16 * 4 + i;
    delta[i] = space[r][0];
    lse[i] = q0 + r < call.queries ? all[(q0 + r) * call.lse.row] : 0.0f;
  }
}

/// p and dl of a tile; 0 beyond the ends. A key without weight has no slope, whatever its value.
template <class S>
__device__ void gradTile(const AttentionCall &call, int64_t b, int64_t h, int64_t q0, int64_t k0,
                         float largest, const float (&lse)[4], const float (&delta)[4],
                         GradSpace &space, float (&p)[4][4], float (&dl)[4][4]) {
  int64_t g = h % call.groups;
  multiplyRows<S>(p, space.a, space.b, at<S>(call.query, b, h), call.query, q0, call.queries,
                  at<S>(call.key, b, g), call.key, k0, call.keys, call.width);
  makeLogits<S>(p, call, b, h, q0, k0, largest);
  multiplyRows<S>(dl, space.a, space.b, at<S>(call.dout, b, h), call.dout, q0, call.queries,
                  at<S>(call.value, b, g), call.value, k0, call.keys, call.width);
  for (int i = 0; i < 4; ++i) {
    bool inside = q0 + threadIdx.x / 16 * 4 + i < call.queries;
    for (int j = 0; j < 4; ++j) {
      float weight = inside ? expf(p[i][j] - lse[i]) : 0.0f;
      p[i][j] = weight;
      dl[i][j] = weight == 0 ? 0.0f : weight * (dl[i][j] - delta[i]);
    }
  }
}

__device__ void keepTile(SquareTile &tile, const float (&values)[4][4]) {
  int tx = threadIdx.x % 16, ty = threadIdx.x / 16;
  for (int i = 0; i < 4; ++i)
    for (int j = 0; j < 4; ++j)
      tile[ty * 4 + i][tx + 16 * j] = values[i][j];
}

template <class S>
__device__ void storeTile(const HeadMatrix &m, int64_t b, int64_t h, int64_t first, int64_t rows,
                          int64_t col, int64_t cols, float factor, const float (&values)[4][4]) {
  S *out = const_cast<S *>(at<S>(m, b, h));
  int tx = threadIdx.x % 16, ty = threadIdx.x / 16;
  for (int i = 0; i < 4; ++i)
    for (int j = 0; j < 4; ++j)
      if (int64_t r = first + ty * 4 + i, c = col + tx + 16 * j; r < rows && c < cols)
        out[r * m.row + c * m.col] = rounded<S>(factor * values[i][j]);
}

template <class S>
__global__ void __launch_bounds__(kAttentionThreads)
    queryKernel(const __grid_constant__ AttentionCall call) {
  __shared__ GradSpace space;
  __shared__ float reduction[32];
  int64_t tiles = ceilDiv(call.queries, kTile), parts = ceilDiv(call.width, kTile);
  int64_t all = call.batches * call.heads * tiles * parts;
  for (int64_t task = blockIdx.x; task < all; task += gridDim.x) {
    int64_t col = task % parts * kTile, rest = task / parts, q0 = rest % tiles * kTile;
    int64_t h = rest / tiles % call.heads, b = rest / tiles / call.heads;
    float largest = largestMask<S>(call, b, reduction);
    float lse[4], delta[4], dquery[4][4] = {};
    loadRows<S>(call, b, h, q0, space.a, lse, delta);
    for (int64_t k0 = 0; k0 < call.keys; k0 += kTile) {
      float p[4][4], dl[4][4];
      gradTile<S>(call, b, h, q0, k0, largest, lse, delta, space, p, dl);
      keepTile(space.slopes, dl);
      addWeighted<S, false>(dquery, space.slopes, space.a, at<S>(call.key, b, h % call.groups),
                            call.key, k0, call.keys, col, call.width);
    }
    storeTile<S>(call.dquery, b, h, q0, call.queries, col, call.width, call.scale, dquery);
  }
}

template <class S>
__global__ void __launch_bounds__(kAttentionThreads)
    keyKernel(const __grid_constant__ AttentionCall call) {
  __shared__ GradSpace space;
  __shared__ float reduction[32];
  int64_t tiles = ceilDiv(call.keys, kTile), parts = ceilDiv(call.width, kTile);
  int64_t all = call.batches * call.groups * tiles * parts;
  for (int64_t task = blockIdx.x; task < all; task += gridDim.x) {
    int64_t col = task % parts * kTile, rest = task / parts, k0 = rest % tiles * kTile;
    int64_t g = rest / tiles % call.groups, b = rest / tiles / call.groups;
    float largest = largestMask<S>(call, b, reduction);
    float dkey[4][4] = {}, dvalue[4][4] = {};
    for (int64_t h = g; h < call.heads; h += call.groups)
      for (int64_t q0 = 0; q0 < call.queries; q0 += kTile) {
        float lse[4], delta[4], p[4][4], dl[4][4];
        loadRows<S>(call, b, h, q0, space.a, lse, delta);
        gradTile<S>(call, b, h, q0, k0, largest, lse, delta, space, p, dl);
        keepTile(space.weights, p);
        keepTile(space.slopes, dl);
        addWeighted<S, true>(dkey, space.slopes, space.a, at<S>(call.query, b, h), call.query, q0,
                             call.queries, col, call.width);
        addWeighted<S, true>(dvalue, space.weights, space.a, at<S>(call.dout, b, h), call.dout, q0,
                             call.queries, col, call.width);
      }
    storeTile<S>(call.dkey, b, g, k0, call.keys, col, call.width, call.scale, dkey);
    storeTile<S>(call.dvalue, b, g, k0, call.keys, col, call.width, 1, dvalue);
  }
}

template <class S>
__global__ void __launch_bounds__(kAttentionThreads)
    biasKernel(const __grid_constant__ AttentionCall call) {
  __shared__ GradSpace space;
  __shared__ float reduction[32];
  int tx = threadIdx.x % 16, ty = threadIdx.x / 16;
  int64_t qTiles = ceilDiv(call.queries, kTile), kTiles = ceilDiv(call.keys, kTile);
  int64_t all = call.heads * qTiles * kTiles;
  for (int64_t task = blockIdx.x; task < all; task += gridDim.x) {
    int64_t k0 = task % kTiles * kTile, q0 = task / kTiles % qTiles * kTile;
    int64_t h = task / kTiles / qTiles;
    float sum[4][4] = {};
    for (int64_t b = 0; b < call.batches; ++b) {
      float lse[4], delta[4], p[4][4], dl[4][4];
      float largest = largestMask<S>(call, b, reduction);
      loadRows<S>(call, b, h, q0, space.a, lse, delta);
      gradTile<S>(call, b, h, q0, k0, largest, lse, delta, space, p, dl);
      for (int i = 0; i < 4; ++i)
        for (int j = 0; j < 4; ++j)
          sum[i][j] += dl[i][j];
    }
    const float *base = at<float>(call.accumulator, 0, h);
    float *out = const_cast<float *>(at<float>(call.dbias, 0, h));
    for (int i = 0; i < 4; ++i)
      for (int j = 0; j < 4; ++j)
        if (int64_t q = q0 + ty * 4 + i, k = k0 + tx + 16 * j; q < call.queries && k < call.keys) {
          float before = call.accumulator.data
                             ? base[q * call.accumulator.row + k * call.accumulator.col]
                             : 0.0f;
          out[q * call.dbias.row + k * call.dbias.col] = before + sum[i][j];
        }
  }
}

} // namespace

template <class S> Status launchAttentionGrad(const Launch &launch) {
  const Operand *o = launch.operands;
  AttentionCall call(launch);
  call.dout = call.channels(o[7]), call.accumulator = call.pairBias(o[8]);
  call.dquery = call.channels(o[9]), call.dkey = call.keysOf(o[10]),
  call.dvalue = call.keysOf(o[11]);
  call.dbias = call.pairBias(o[12]);
  if constexpr (kIsHalf<S>)
    if (GradParts parts = partsOnTensorCores<S>(call); parts.batches > 0)
      return launchMma<S>(launch, parts);
  int64_t parts = ceilDiv(call.width, kTile);
  int64_t qTiles = ceilDiv(call.queries, kTile), kTiles = ceilDiv(call.keys, kTile);
  int64_t queryTasks = call.batches * call.heads * qTiles * parts;
  int64_t keyTasks = call.batches * call.groups * kTiles * parts;
  int64_t biasTasks = call.dbias.data ? call.heads * qTiles * kTiles : 0;
  cudaStream_t stream = launch.context->stream;
  if (queryTasks > 0)
    queryKernel<S><<<gridOf(queryTasks), kAttentionThreads, 0, stream>>>(call);
  if (keyTasks > 0)
    keyKernel<S><<<gridOf(keyTasks), kAttentionThreads, 0, stream>>>(call);
  if (biasTasks > 0)
    biasKernel<S><<<gridOf(biasTasks), kAttentionThreads, 0, stream>>>(call);
  return {};
}

EVO_CUDA_INSTANTIATE(AttentionGrad)

} // namespace evo::cuda
