//===- AttentionGradMma.cuh - attention's gradient on tensor cores -*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// The kernels of `attention_grad` for the half types' heads that AttentionMma.cuh takes, each of
// which computes the weights p and their slopes dl of 64 queries and 64 keys again from the lse:
//   queryMmaKernel owns queries and goes through the keys, for dquery;
//   keyMmaKernel owns keys and goes through the queries of the heads that share them, for dkey and
//     dvalue; its tiles are transposed, so that keys are rows;
//   biasMmaKernel owns a tile of the pair bias and goes through the batches of a slice; the slices
//   are
//     added by another kernel.
// D and the masks' maxima are computed before, into scratch. p and dl are rounded to the storage
// type for their products.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/cuda/kernels/AttentionMma.cuh"

namespace evo::cuda {

/// A call of some batches, and what was computed before for them.
struct MmaGradCall {
  AttentionCall call;
  const float *delta;   ///< D[b, h, q], dense
  const float *largest; ///< max_k mask[b, k]
  float *slices;        ///< [slice, h, q, k], dense; none where there is one slice
  int64_t sliceCount, batchesOfSlice;
  bool alignedBias; ///< rows of 16 bytes
};

template <class S>
__global__ void __launch_bounds__(256)
    deltaKernel(const __grid_constant__ AttentionCall call, float *delta, float *largest) {
  int lane = threadIdx.x % 32;
  int64_t warp = (blockIdx.x * int64_t{256} + threadIdx.x) / 32, warps = gridDim.x * int64_t{8};
  int64_t rows = call.batches * call.heads * call.queries;
  for (int64_t row = warp; row < rows; row += warps) {
    int64_t head = quotient(row, call.queries), q = row - head * call.queries;
    int64_t b = quotient(head, call.heads), h = head - b * call.heads;
    const S *o = at<S>(call.o, b, h) + q * call.o.row;
    const S *dout = at<S>(call.dout, b, h) + q * call.dout.row;
    float sum = 0;
    for (int64_t c = lane; c < call.width; c += 32)
      sum = fmaf(widen(o[c]), widen(dout[c]), sum);
    sum = warpSum(sum);
    if (lane == 0)
      delta[row] = sum;
  }
  for (int64_t b = warp; call.mask.data && b < call.batches; b += warps) {
    const S *mask = at<S>(call.mask, b, 0);
    float most = -INFINITY;
    for (int64_t k = lane; k < call.keys; k += 32)
      most = fmaxf(most, widen(mask[k * call.mask.col]));
    most = warpMax(most);
    if (lane == 0)
      largest[b] = most;
  }
}

/// lse in powers of two and D of a row; p is 0 beyond the last.
struct RowGrad {
  float lse = INFINITY, delta = 0;
  __device__ RowGrad() = default;
  __device__ RowGrad(const MmaGradCall &grad, int64_t b, int64_t h, int64_t q) {
    const AttentionCall &call = grad.call;
    if (q >= call.queries)
      return;
    lse = at<float>(call.lse, b, h)[q * call.lse.row] * kLog2E;
    delta = grad.delta[(b * call.heads + h) * call.queries + q];
  }
};

/// From scores, p; from p and dout value^T, dl. A key without weight has no slope, whatever its
/// value.
__device__ inline void makeSlope(float &score, float &slope, float lse, float delta) {
  float weight = exp2Fast(score - lse);
  slope = weight == 0 ? 0.0f : weight * (slope - delta);
  score = weight;
}

/// p and dl of a warp's 16 queries and the 64 keys of a tile.
template <class S, int kWidth>
__device__ inline void
gradOfTile(float (&p)[kMmaKeys / 8][4], float (&dl)[kMmaKeys / 8][4], const AttentionCall &call,
           const RowFragments<S, kWidth> &query, const RowFragments<S, kWidth> &dout,
           const HeadTile<S, kWidth, kMmaKeys> &keys, const HeadTile<S, kWidth, kMmaKeys> &values,
           const BiasFragments<S> &bias, const float *terms, const RowGrad (&rows)[2]) {
  multiplyByRows(p, query, keys);
  makeScores(p, call, bias, terms);
  multiplyByRows(dl, dout, values);
  for (int j = 0; j < kMmaKeys / 8; ++j)
    for (int i = 0; i < 4; ++i)
      makeSlope(p[j][i], dl[j][i], rows[i / 2].lse, rows[i / 2].delta);
}

template <class S, int kWidth>
__device__ inline void storeSums(const HeadMatrix &m, int64_t b, int64_t h, int64_t first,
                                 int64_t rows, int64_t width, float factor,
                                 const float (&sum)[kWidth / 8][4]) {
  int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
  S *out = const_cast<S *>(at<S>(m, b, h));
  for (int half = 0; half < 2; ++half) {
    int64_t row = first + g + half * 8;
    for (int c = 0; c < kWidth / 8 && row < rows; ++c)
      if (8 * c < width)
        *reinterpret_cast<uint32_t *>(out + row * m.row + 8 * c + 2 * t) =
            packed<S>(factor * sum[c][2 * half], factor * sum[c][2 * half + 1]);
  }
}

template <class S, int kWidth>
__global__ void __launch_bounds__(kMmaThreads)
    queryMmaKernel(const __grid_constant__ MmaGradCall grad) {
  __shared__ __align__(16) HeadTile<S, kWidth, kMmaKeys> keys[2], values[2];
  __shared__ __align__(16) float terms[2][kMmaKeys];
  const AttentionCall &call = grad.call;
  int64_t tiles = ceilDiv(call.queries, 64), all = call.batches * call.heads * tiles;
  auto width = static_cast<int>(call.width);
  for (int64_t task = blockIdx.x; task < all; task += gridDim.x) {
    int64_t rest = task / tiles, q = (task - rest * tiles) * 64 + threadIdx.x / 32 * 16;
    int64_t b = rest / call.heads, h = rest - b * call.heads, g = h % call.groups;
    auto fetch = [&](int to, int64_t k0) {
      keys[to].copy(at<S>(call.key, b, g), call.key.row, k0, call.keys, width);
      values[to].copy(at<S>(call.value, b, g), call.value.row, k0, call.keys, width);
      commitCopies();
    };
    __syncthreads(); // of the last task's tiles
    fetch(0, 0);
    RowFragments<S, kWidth> query, dout;
    query.load(at<S>(call.query, b, h), call.query.row, q, call.queries, width);
    dout.load(at<S>(call.dout, b, h), call.dout.row, q, call.queries, width);
    int row = threadIdx.x % 32 / 4;
    const RowGrad rows[2] = {{grad, b, h, q + row}, {grad, b, h, q + row + 8}};
    float largest = call.mask.data ? grad.largest[b] : 0.0f, dquery[kWidth / 8][4] = {};
    int now = 0;
    for (int64_t k0 = 0; k0 < call.keys; k0 += kMmaKeys, now ^= 1) {
      BiasFragments<S> bias;
      bias.load(call, h, q, k0, grad.alignedBias);
      fillTerms<S>(terms[now], call, b, k0, largest);
      if (k0 + kMmaKeys < call.keys) {
        fetch(now ^ 1, k0 + kMmaKeys);
        waitForCopies<1>();
      } else {
        waitForCopies<0>();
      }
      __syncthreads();
      float p[kMmaKeys / 8][4], dl[kMmaKeys / 8][4];
      gradOfTile(p, dl, call, query, dout, keys[now], values[now], bias, terms[now], rows);
      addWeightedRows(dquery, dl, keys[now]);
      __syncthreads();
    }
    storeSums<S, kWidth>(call.dquery, b, h, q, call.queries, call.width, call.scale, dquery);
  }
}

/// The queries of a tile and what belongs to them.
template <class S, int kWidth> struct QueryTile {
  HeadTile<S, kWidth, 64> query, dout;
  float lse[64], delta[64];

  __device__ void fetch(const MmaGradCall &grad, int64_t b, int64_t h, int64_t q0) {
    const AttentionCall &call = grad.call;
    auto width = static_cast<int>(call.width);
    query.copy(at<S>(call.query, b, h), call.query.row, q0, call.queries, width);
    dout.copy(at<S>(call.dout, b, h), call.dout.row, q0, call.queries, width);
    commitCopies();
    if (threadIdx.x < 64) {
      RowGrad row(grad, b, h, q0 + threadIdx.x);
      lse[threadIdx.x] = row.lse, delta[threadIdx.x] = row.delta;
    }
  }
};

/// The pair bias of 64 queries and 64 keys.
template <class S> struct BiasTile {
  S rows[64][kMmaKeys + 8];

  __device__ void fetch(const AttentionCall &call, int64_t h, int64_t q0, int64_t k0) {
    const S *bias = at<S>(call.bias, 0, h);
    for (int e = threadIdx.x; e < 64 * kMmaKeys; e += kMmaThreads) {
      int row = e / kMmaKeys, col = e % kMmaKeys;
      int64_t q = smaller(q0 + row, call.queries - 1), k = smaller(k0 + col, call.keys - 1);
      rows[row][col] = bias[q * call.bias.row + k * call.bias.col];
    }
  }
};

/// p and dl of a warp's 16 keys, which are rows here, and the 64 queries of a tile.
template <class S, int kWidth>
__device__ inline void
gradOfKeys(float (&p)[8][4], float (&dl)[8][4], const AttentionCall &call,
           const RowFragments<S, kWidth> &key, const RowFragments<S, kWidth> &value,
           const QueryTile<S, kWidth> &tile, const BiasTile<S> &bias, const float (&terms)[2]) {
  int lane = threadIdx.x % 32, t = threadIdx.x % 4, warp = threadIdx.x / 32;
  multiplyByRows(p, key, tile.query);
  multiplyByRows(dl, value, tile.dout);
  float scale = call.scale * kLog2E;
  for (int j = 0; j < 8; j += 2) {
    uint32_t pairs[4] = {}; // of queries 8 j and 8 j + 8, keys g and g + 8
    if (call.bias.data)
      loadTransposed(pairs,
                     &bias.rows[8 * j + lane % 8 + lane / 16 * 8][warp * 16 + lane / 8 % 2 * 8]);
    for (int next = 0; next < 2; ++next)
      for (int half = 0; half < 2; ++half) {
        float2 pair = call.bias.data ? unpacked<S>(pairs[2 * next + half]) : make_float2(0, 0);
        int query = 8 * (j + next) + 2 * t;
        for (int i = 0; i < 2; ++i) {
          float &score = p[j + next][2 * half + i];
          score = fmaf(score, scale, fmaf(i ? pair.y : pair.x, kLog2E, terms[half]));
          makeSlope(score, dl[j + next][2 * half + i], tile.lse[query + i], tile.delta[query + i]);
        }
      }
  }
}

template <class S, int kWidth>
__global__ void __launch_bounds__(kMmaThreads)
    keyMmaKernel(const __grid_constant__ MmaGradCall grad) {
  __shared__ __align__(16) QueryTile<S, kWidth> tiles[2];
  __shared__ __align__(16) BiasTile<S> bias;
  const AttentionCall &call = grad.call;
  int64_t keyTiles = ceilDiv(call.keys, 64), all = call.batches * call.groups * keyTiles;
  int64_t queryTiles = ceilDiv(call.queries, 64), turns = call.heads / call.groups * queryTiles;
  auto width = static_cast<int>(call.width);
  for (int64_t task = blockIdx.x; task < all; task += gridDim.x) {
    int64_t rest = task / keyTiles, k0 = (task - rest * keyTiles) * 64;
    int64_t b = rest / call.groups, g = rest - b * call.groups, k = k0 + threadIdx.x / 32 * 16;
    auto headOf = [&](int64_t turn) { return g + turn / queryTiles * call.groups; };
    auto queryOf = [&](int64_t turn) { return turn % queryTiles * 64; };
    __syncthreads(); // of the last task's tiles
    tiles[0].fetch(grad, b, g, 0);
    RowFragments<S, kWidth> key, value;
    key.load(at<S>(call.key, b, g), call.key.row, k, call.keys, width);
    value.load(at<S>(call.value, b, g), call.value.row, k, call.keys, width);
    float terms[2], dkey[kWidth / 8][4] = {}, dvalue[kWidth / 8][4] = {};
    for (int half = 0; half < 2; ++half) {
      int64_t row = k + threadIdx.x % 32 / 4 + half * 8;
      terms[half] = row < call.keys ? 0.0f : -INFINITY;
      if (call.mask.data && row < call.keys)
        terms[half] = call.inf * kLog2E *
                      (widen(at<S>(call.mask, b, 0)[row * call.mask.col]) - grad.largest[b]);
    }
    int now = 0;
    for (int64_t turn = 0; turn < turns; ++turn, now ^= 1) {
      if (call.bias.data)
        bias.fetch(call, headOf(turn), queryOf(turn), k0);
      if (turn + 1 < turns) {
        tiles[now ^ 1].fetch(grad, b, headOf(turn + 1), queryOf(turn + 1));
        waitForCopies<1>();
      } else {
        waitForCopies<0>();
      }
      __syncthreads();
      float p[8][4], dl[8][4];
      gradOfKeys(p, dl, call, key, value, tiles[now], bias, terms);
      addWeightedRows(dvalue, p, tiles[now].dout);
      addWeightedRows(dkey, dl, tiles[now].query);
      __syncthreads();
    }
    storeSums<S, kWidth>(call.dkey, b, g, k, call.keys, call.width, call.scale, dkey);
    storeSums<S, kWidth>(call.dvalue, b, g, k, call.keys, call.width, 1, dvalue);
  }
}

/// dbias = accumulator + sum
__device__ inline void storeBias(const AttentionCall &call, int64_t h, int64_t q, int64_t k,
                                 float sum) {
  const HeadMatrix &base = call.accumulator, &out = call.dbias;
  if (base.data)
    sum += at<float>(base, 0, h)[q * base.row + k * base.col];
  const_cast<float *>(at<float>(out, 0, h))[q * out.row + k * out.col] = sum;
}

template <class S, int kWidth>
__global__ void __launch_bounds__(kMmaThreads)
    biasMmaKernel(const __grid_constant__ MmaGradCall grad) {
  __shared__ __align__(16) HeadTile<S, kWidth, kMmaKeys> keys[2], values[2];
  __shared__ __align__(16) float terms[2][kMmaKeys];
  const AttentionCall &call = grad.call;
  int64_t qTiles = ceilDiv(call.queries, 64), kTiles = ceilDiv(call.keys, 64);
  int64_t all = grad.sliceCount * call.heads * qTiles * kTiles;
  auto width = static_cast<int>(call.width);
  for (int64_t task = blockIdx.x; task < all; task += gridDim.x) {
    int64_t k0 = task % kTiles * 64, q = task / kTiles % qTiles * 64 + threadIdx.x / 32 * 16;
    int64_t rest = task / kTiles / qTiles, slice = rest / call.heads, h = rest % call.heads;
    int64_t first = slice * grad.batchesOfSlice, g = h % call.groups;
    int64_t end = smaller(call.batches, first + grad.batchesOfSlice);
    auto fetch = [&](int to, int64_t b) {
      keys[to].copy(at<S>(call.key, b, g), call.key.row, k0, call.keys, width);
      values[to].copy(at<S>(call.value, b, g), call.value.row, k0, call.keys, width);
      commitCopies();
    };
    __syncthreads(); // of the last task's tiles
    if (first < end)
      fetch(0, first);
    BiasFragments<S> bias;
    bias.load(call, h, q, k0, grad.alignedBias);
    float sum[kMmaKeys / 8][4] = {};
    int now = 0, row = threadIdx.x % 32 / 4;
    for (int64_t b = first; b < end; ++b, now ^= 1) {
      RowFragments<S, kWidth> query, dout;
      query.load(at<S>(call.query, b, h), call.query.row, q, call.queries, width);
      dout.load(at<S>(call.dout, b, h), call.dout.row, q, call.queries, width);
      const RowGrad rows[2] = {{grad, b, h, q + row}, {grad, b, h, q + row + 8}};
      fillTerms<S>(terms[now], call, b, k0, call.mask.data ? grad.largest[b] : 0.0f);
      if (b + 1 < end) {
        fetch(now ^ 1, b + 1);
        waitForCopies<1>();
      } else {
        waitForCopies<0>();
      }
      __syncthreads();
      float p[kMmaKeys / 8][4], dl[kMmaKeys / 8][4];
      gradOfTile(p, dl, call, query, dout, keys[now], values[now], bias, terms[now], rows);
      for (int j = 0; j < kMmaKeys / 8; ++j)
        for (int i = 0; i < 4; ++i)
          sum[j][i] += dl[j][i];
      __syncthreads();
    }
    float *part = grad.slices + (slice * call.heads + h) * call.queries * call.keys;
    for (int j = 0; j < kMmaKeys / 8; ++j)
      for (int i = 0; i < 4; ++i) {
        int64_t to = q + row + i / 2 * 8, k = k0 + 8 * j + threadIdx.x % 4 * 2 + i % 2;
        if (to >= call.queries || k >= call.keys)
          continue;
        if (grad.sliceCount == 1)
          storeBias(call, h, to, k, sum[j][i]);
        else
          part[to * call.keys + k] = sum[j][i];
      }
  }
}

/// The same of the slices.
__global__ inline void __launch_bounds__(256)
    sliceKernel(const __grid_constant__ MmaGradCall grad) {
  const AttentionCall &call = grad.call;
  int64_t all = call.heads * call.queries * call.keys, step = gridDim.x * int64_t{256};
  for (int64_t i = blockIdx.x * int64_t{256} + threadIdx.x; i < all; i += step) {
    int64_t row = quotient(i, call.keys), k = i - row * call.keys;
    int64_t h = quotient(row, call.queries), q = row - h * call.queries;
    float sum = 0;
    for (int64_t slice = 0; slice < grad.sliceCount; ++slice)
      sum += grad.slices[slice * all + i];
    storeBias(call, h, q, k, sum);
  }
}

} // namespace evo::cuda
