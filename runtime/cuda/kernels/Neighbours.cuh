//===- Neighbours.cuh - elements that are read together ---------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/cuda/kernels/Mma.cuh"

namespace evo::cuda {

/// As many neighbours as a thread can read at once, for sixteen bytes of S.
template <class S> inline constexpr int kWidest = 16 / sizeof(S);

/// kWide neighbours as they are stored, aligned together, for what is not needed at once: eight or
/// sixteen bytes.
template <class S, int kWide> struct Neighbours {
  static constexpr int kWords = kWide * static_cast<int>(sizeof(S)) / 4;
  static_assert(kWords == 2 || kWords == 4);
  uint32_t word[kWords] = {};

  __device__ void load(const std::byte *data, int64_t at) {
    const std::byte *from = data + at * int64_t{sizeof(S)};
    if constexpr (kWords == 4) {
      uint4 bits = *reinterpret_cast<const uint4 *>(from);
      word[0] = bits.x, word[1] = bits.y, word[2] = bits.z, word[3] = bits.w;
    } else {
      uint2 bits = *reinterpret_cast<const uint2 *>(from);
      word[0] = bits.x, word[1] = bits.y;
    }
  }
  __device__ void widenTo(float *x) const {
#pragma unroll
    for (int i = 0; i < kWords; ++i) {
      if constexpr (kIsHalf<S>) {
        float2 two = unpacked<S>(word[i]);
        x[2 * i] = two.x, x[2 * i + 1] = two.y;
      } else {
        x[i] = __uint_as_float(word[i]);
      }
    }
  }
  /// Keeps a compiler from widening what a loop does not change before the loop, at the price of
  /// registers.
  __device__ void keepAsStored() {
    for (uint32_t &one : word)
      asm volatile("" : "+r"(one));
  }
  __device__ void round(const float *x) {
#pragma unroll
    for (int i = 0; i < kWords; ++i) {
      if constexpr (kIsHalf<S>)
        word[i] = packed<S>(x[2 * i], x[2 * i + 1]);
      else
        word[i] = __float_as_uint(x[i]);
    }
  }
  __device__ void store(std::byte *data, int64_t at) const {
    std::byte *to = data + at * int64_t{sizeof(S)};
    if constexpr (kWords == 4)
      *reinterpret_cast<uint4 *>(to) = make_uint4(word[0], word[1], word[2], word[3]);
    else
      *reinterpret_cast<uint2 *>(to) = make_uint2(word[0], word[1]);
  }
};

} // namespace evo::cuda
