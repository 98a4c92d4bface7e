//===- Storage.cuh - element types on a device ------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// Kernels are templates on S, the type that plans store: float, __nv_bfloat16, __half. Arithmetic
// and statistics are float. Values are widened where they are read and rounded once, where they
// are written.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/cuda/Error.h"
#include "runtime/cuda/Launch.h"

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <algorithm>
#include <type_traits>

namespace evo::cuda {

template <class S> inline constexpr bool kIsHalf = !std::is_same_v<S, float>;

__device__ inline float widen(float x) { return x; }
__device__ inline float widen(__nv_bfloat16 x) { return __bfloat162float(x); }
__device__ inline float widen(__half x) { return __half2float(x); }

template <class S> __device__ inline S rounded(float x) {
  if constexpr (std::is_same_v<S, __nv_bfloat16>)
    return __float2bfloat16_rn(x);
  else if constexpr (std::is_same_v<S, __half>)
    return __float2half_rn(x);
  else
    return x;
}

template <class T> __host__ __device__ inline T *elements(std::byte *data) {
  return reinterpret_cast<T *>(data);
}

/// Whether what may be of either type has the statistics' and not that of S.
template <class S> bool isStatistic(plan::DType type) {
  return kIsHalf<S> && type == plan::DType::F32;
}

/// An element of S, or of float where `statistic`.
template <class S>
__device__ inline float load(const std::byte *data, int64_t at, bool statistic = false) {
  if (kIsHalf<S> && statistic)
    return reinterpret_cast<const float *>(data)[at];
  return widen(reinterpret_cast<const S *>(data)[at]);
}
template <class S>
__device__ inline void store(std::byte *data, int64_t at, float value, bool statistic = false) {
  if (kIsHalf<S> && statistic)
    reinterpret_cast<float *>(data)[at] = value;
  else
    reinterpret_cast<S *>(data)[at] = rounded<S>(value);
}

/// Four neighbours, aligned to their bytes together.
template <class S>
__device__ inline void load4(const std::byte *data, int64_t at, bool statistic, float (&x)[4]) {
  if (!kIsHalf<S> || statistic) {
    float4 four = *reinterpret_cast<const float4 *>(data + at * 4);
    x[0] = four.x, x[1] = four.y, x[2] = four.z, x[3] = four.w;
    return;
  }
  if constexpr (kIsHalf<S>) {
    uint2 bits = *reinterpret_cast<const uint2 *>(data + at * 2);
    const S *four = reinterpret_cast<const S *>(&bits);
    for (int i = 0; i < 4; ++i)
      x[i] = widen(four[i]);
  }
}
template <class S>
__device__ inline void store4(std::byte *data, int64_t at, bool statistic, const float (&x)[4]) {
  if (!kIsHalf<S> || statistic) {
    *reinterpret_cast<float4 *>(data + at * 4) = make_float4(x[0], x[1], x[2], x[3]);
    return;
  }
  if constexpr (kIsHalf<S>) {
    uint2 bits;
    S *four = reinterpret_cast<S *>(&bits);
    for (int i = 0; i < 4; ++i)
      four[i] = rounded<S>(x[i]);
    *reinterpret_cast<uint2 *>(data + at * 2) = bits;
  }
}

__device__ inline float sigmoid(float x) { return __fdividef(1.0f, 1.0f + expf(-x)); }

/// sigmoid(x), and sigmoid'(x) without the cancellation of s (1 - s) near 1.
struct Opening {
  float value, slope;
};
__device__ inline Opening openingOf(float x) {
  float e = expf(-fabsf(x)), open = __fdividef(1.0f, 1.0f + e);
  return {x < 0 ? e * open : open, e * open * open};
}

/// Sums over a warp; every lane gets the same bits.
__device__ inline float warpSum(float x) {
  for (int step = 16; step > 0; step /= 2)
    x += __shfl_xor_sync(0xffffffffu, x, step);
  return x;
}
__device__ inline float warpMax(float x) {
  for (int step = 16; step > 0; step /= 2)
    x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, step));
  return x;
}

/// Sum over a block of whole warps; `space` has 32 floats. Every thread gets the result.
__device__ inline float blockSum(float x, float *space) {
  x = warpSum(x);
  int warps = static_cast<int>(blockDim.x) / 32;
  __syncthreads(); // of the space's last use
  if (threadIdx.x % 32 == 0)
    space[threadIdx.x / 32] = x;
  __syncthreads();
  float sum = 0;
  for (int i = 0; i < warps; ++i)
    sum += space[i];
  return sum;
}

} // namespace evo::cuda

/// Makes `launch<Name>` for every storage type.
#define EVO_CUDA_INSTANTIATE(Name)                                                                 \
  template Status launch##Name<float>(const Launch &);                                             \
  template Status launch##Name<__nv_bfloat16>(const Launch &);                                     \
  template Status launch##Name<__half>(const Launch &);
