//===- Attention.cu ------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// For head h, width c = x / heads, and key and value head g = h mod groups:
// l[b,h,q,k] = scale * sum_c query[b,q,(h,c)] key[b,k,(g,c)] + pair_bias[h,q,k]
//              + inf * (mask[b,k] - max_k mask[b,k]);
// o[b,q,(h,c)] = sum_k softmax_k(l) value[b,k,(g,c)]; lse[b,h,q] = log sum_k exp l.
//
// A block has 64 queries of a batch and head and up to 64 columns of the output, and goes through
// the keys with running maxima and sums; wider heads compute their logits again for each 64
// columns. Where heads lie as copies of 16 bytes take them, fp32 has a kernel of larger tiles for
// heads of up to 32 channels in AttentionFloat.cuh, and half types use tensor cores, Hopper's own
// ones in AttentionHopper.cu.
//===----------------------------------------------------------------------===//
#include "runtime/cuda/kernels/AttentionFloat.cuh"
#include "runtime/cuda/kernels/AttentionHopper.h"

namespace evo::cuda {

namespace {

/// exp of a row's scores and the update of what was summed so far.
__device__ void softmaxStep(float (&score)[4][4], float (&o)[4][4], float (&maximum)[4],
                            float (&sum)[4]) {
  for (int i = 0; i < 4; ++i) {
    float most = fmaxf(fmaxf(score[i][0], score[i][1]), fmaxf(score[i][2], score[i][3]));
    for (int step = 8; step > 0; step /= 2)
      most = fmaxf(most, __shfl_xor_sync(0xffffffffu, most, step));
    most = fmaxf(most, maximum[i]);
    float decay = expf(maximum[i] - most), part = 0;
    for (int j = 0; j < 4; ++j) {
      score[i][j] = expf(score[i][j] - most);
      part += score[i][j];
      // Huge values of masked keys may have overflowed before a key without mask came.
      o[i][j] = decay == 0 ? 0.0f : o[i][j] * decay;
    }
    for (int step = 8; step > 0; step /= 2)
      part += __shfl_xor_sync(0xffffffffu, part, step);
    sum[i] = sum[i] * decay + part;
    maximum[i] = most;
  }
}

template <class S>
__global__ void __launch_bounds__(kAttentionThreads)
    attentionKernel(const __grid_constant__ AttentionCall call) {
  __shared__ ColumnTile a, b;
  __shared__ SquareTile weights;
  __shared__ float space[32];
  int tx = threadIdx.x % 16, ty = threadIdx.x / 16;
  int64_t tiles = ceilDiv(call.queries, kTile), parts = ceilDiv(call.width, kTile);
  int64_t all = call.batches * call.heads * tiles * parts;
  for (int64_t task = blockIdx.x; task < all; task += gridDim.x) {
    int64_t col = task % parts * kTile, rest = task / parts, q0 = rest % tiles * kTile;
    int64_t h = rest / tiles % call.heads, batch = rest / tiles / call.heads, g = h % call.groups;
    const S *query = at<S>(call.query, batch, h), *key = at<S>(call.key, batch, g);
    const S *value = at<S>(call.value, batch, g);
    float largest = largestMask<S>(call, batch, space);
    float o[4][4] = {}, maximum[4], sum[4] = {};
    for (float &one : maximum)
      one = -INFINITY;
    for (int64_t k0 = 0; k0 < call.keys; k0 += kTile) {
      float score[4][4];
      multiplyRows<S>(score, a, b, query, call.query, q0, call.queries, key, call.key, k0,
                      call.keys, call.width);
      makeLogits<S>(score, call, batch, h, q0, k0, largest);
      softmaxStep(score, o, maximum, sum);
      for (int i = 0; i < 4; ++i)
        for (int j = 0; j < 4; ++j)
          weights[ty * 4 + i][tx + 16 * j] = score[i][j];
      addWeighted<S, false>(o, weights, a, value, call.value, k0, call.keys, col, call.width);
    }
    S *out = const_cast<S *>(at<S>(call.o, batch, h));
    for (int i = 0; i < 4; ++i) {
      int64_t q = q0 + ty * 4 + i;
      if (q >= call.queries)
        continue;
      for (int j = 0; j < 4; ++j)
        if (int64_t c = col + tx + 16 * j; c < call.width)
          out[q * call.o.row + c * call.o.col] = rounded<S>(o[i][j] / sum[i]);
      if (call.lse.data && col == 0 && tx == 0)
        const_cast<float *>(at<float>(call.lse, batch, h))[q * call.lse.row] =
            maximum[i] + logf(sum[i]);
    }
  }
}

/// The same in powers of two, of the sums of a warp's 16 rows.
template <int kWidth>
__device__ void softmaxRows(float (&score)[kMmaKeys / 8][4], float (&o)[kWidth / 8][4],
                            float (&maximum)[2], float (&sum)[2]) {
  for (int half = 0; half < 2; ++half) {
    float most = maximum[half];
    for (int j = 0; j < kMmaKeys / 8; ++j)
      most = fmaxf(most, fmaxf(score[j][2 * half], score[j][2 * half + 1]));
    most = rowMax(most);
    float decay = exp2Fast(maximum[half] - most), part = 0;
    for (int j = 0; j < kMmaKeys / 8; ++j)
      for (int i = 2 * half; i < 2 * half + 2; ++i) {
        score[j][i] = exp2Fast(score[j][i] - most);
        part += score[j][i];
      }
    for (int c = 0; c < kWidth / 8; ++c)
      for (int i = 2 * half; i < 2 * half + 2; ++i)
        o[c][i] = decay == 0 ? 0.0f : o[c][i] * decay;
    sum[half] = sum[half] * decay + part; // of this lane's keys
    maximum[half] = most;
  }
}

template <class S, int kWidth>
__device__ void storeRows(const AttentionCall &call, int64_t b, int64_t h, int64_t q,
                          const float (&o)[kWidth / 8][4], const float (&maximum)[2],
                          const float (&sum)[2]) {
  int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
  S *out = const_cast<S *>(at<S>(call.o, b, h));
  float *lse = const_cast<float *>(at<float>(call.lse, b, h));
  for (int half = 0; half < 2; ++half) {
    float all = rowSum(sum[half]), factor = 1 / all;
    int64_t row = q + g + half * 8;
    if (row >= call.queries)
      continue;
    for (int c = 0; c < kWidth / 8; ++c)
      if (8 * c < call.width)
        *reinterpret_cast<uint32_t *>(out + row * call.o.row + 8 * c + 2 * t) =
            packed<S>(o[c][2 * half] * factor, o[c][2 * half + 1] * factor);
    if (call.lse.data && t == 0)
      lse[row * call.lse.row] = maximum[half] / kLog2E + logf(all);
  }
}

template <class S, int kWidth>
__global__ void __launch_bounds__(kMmaThreads)
    mmaKernel(const __grid_constant__ AttentionCall call, bool alignedBias) {
  __shared__ __align__(16) HeadTile<S, kWidth, kMmaKeys> keys[2], values[2];
  __shared__ __align__(16) float terms[2][kMmaKeys], space[4];
  int64_t tiles = ceilDiv(call.queries, 64), all = call.batches * call.heads * tiles;
  auto width = static_cast<int>(call.width);
  for (int64_t task = blockIdx.x; task < all; task += gridDim.x) {
    int64_t rest = task / tiles, q = (task - rest * tiles) * 64 + threadIdx.x / 32 * 16;
    int64_t b = rest / call.heads, h = rest - b * call.heads, g = h % call.groups;
    const S *key = at<S>(call.key, b, g), *value = at<S>(call.value, b, g);
    auto fetch = [&](int to, int64_t k0) {
      keys[to].copy(key, call.key.row, k0, call.keys, width);
      values[to].copy(value, call.value.row, k0, call.keys, width);
      commitCopies();
    };
    __syncthreads(); // of the last task's tiles
    fetch(0, 0);
    RowFragments<S, kWidth> query;
    query.load(at<S>(call.query, b, h), call.query.row, q, call.queries, width);
    float largest = largestMask<S, kMmaThreads>(call, b, space);
    float o[kWidth / 8][4] = {}, maximum[2] = {-INFINITY, -INFINITY}, sum[2] = {};
    int now = 0;
    for (int64_t k0 = 0; k0 < call.keys; k0 += kMmaKeys, now ^= 1) {
      BiasFragments<S> bias;
      bias.load(call, h, q, k0, alignedBias);
      fillTerms<S>(terms[now], call, b, k0, largest);
      fetchAhead(fetch, now, k0 + kMmaKeys, call.keys);
      float score[kMmaKeys / 8][4];
      multiplyByRows(score, query, keys[now]);
      makeScores(score, call, bias, terms[now]);
      softmaxRows<kWidth>(score, o, maximum, sum);
      addWeightedRows(o, score, values[now]);
      __syncthreads();
    }
    storeRows<S, kWidth>(call, b, h, q, o, maximum, sum);
  }
}

template <class S> Status launchMma(const Launch &launch, const AttentionCall &call) {
  unsigned grid = gridOf(call.batches * call.heads * ceilDiv(call.queries, 64));
  bool aligned = hasAlignedBias(call);
  cudaStream_t stream = launch.context->stream;
  if (call.width <= 16)
    mmaKernel<S, 16><<<grid, kMmaThreads, 0, stream>>>(call, aligned);
  else if (call.width <= 32)
    mmaKernel<S, 32><<<grid, kMmaThreads, 0, stream>>>(call, aligned);
  else if (call.width <= 48)
    mmaKernel<S, 48><<<grid, kMmaThreads, 0, stream>>>(call, aligned);
  else
    mmaKernel<S, 64><<<grid, kMmaThreads, 0, stream>>>(call, aligned);
  return {};
}

} // namespace

template <class S> Status launchAttention(const Launch &launch) {
  AttentionCall call(launch);
  int64_t tasks =
      call.batches * call.heads * ceilDiv(call.queries, kTile) * ceilDiv(call.width, kTile);
  if constexpr (kIsHalf<S>)
    if (tasks > 0 && takesTensorCores<S>(call)) {
      bool launched = false;
      EVO_TRY(launchHopper<S>(launch, call, launched));
      return launched ? Status() : launchMma<S>(launch, call);
    }
  if constexpr (!kIsHalf<S>)
    if (tasks > 0 && launchFloat(launch, call))
      return {};
  if (tasks > 0)
    attentionKernel<S><<<gridOf(tasks), kAttentionThreads, 0, launch.context->stream>>>(call);
  return {};
}

EVO_CUDA_INSTANTIATE(Attention)

} // namespace evo::cuda
