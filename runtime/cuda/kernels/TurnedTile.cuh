//===- TurnedTile.cuh - rows whose elements lie apart -----------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// Half-type rows of an even number of channels, at most 256, that lie beside each other in memory
// (a channel-first tensor): a block of 256 threads reads 64 of them, eight rows of a channel at a
// time, and keeps them in shared memory as rows of pairs of channels. A warp then has a row with
// pairs lane, lane + 32, ... in its lanes.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/cuda/kernels/Places.h"
#include "runtime/cuda/kernels/Storage.cuh"

namespace evo::cuda {

/// Sums over kLanes neighbouring lanes; each gets the same bits.
template <int kLanes> __device__ inline float laneSum(float x) {
  for (int step = kLanes / 2; step > 0; step /= 2)
    x += __shfl_xor_sync(0xffffffffu, x, step);
  return x;
}

inline constexpr int kTurnedThreads = 256;

/// Of at most kPairs * 64 channels.
template <class S, int kPairs> struct TurnedTile {
  static constexpr int kPitch = 32 * kPairs + 1; // odd: neither rows nor columns share a bank
  uint32_t pair[kTurnedRows][kPitch];

  /// Channel c of the rows is at x + c * stride; there are `rows` of them. Lanes have eight pairs
  /// of channels of 32 rows, which they store without conflicts.
  __device__ void fill(const S *x, int64_t stride, int rows, int channels) {
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    int first = warp % 2 * 32 + lane % 4 * 8, step = warp / 2 * 8 + lane / 4;
    uint4 bits[kPairs][2];
#pragma unroll
    for (int i = 0; i < kPairs; ++i)
      for (int odd = 0; odd < 2; ++odd)
        bits[i][odd] = loadRows(x + (2 * (step + 32 * i) + odd) * stride + first, rows - first,
                                2 * (step + 32 * i) < channels);
#pragma unroll
    for (int i = 0; i < kPairs; ++i) {
      const uint32_t even[4] = {bits[i][0].x, bits[i][0].y, bits[i][0].z, bits[i][0].w};
      const uint32_t odd[4] = {bits[i][1].x, bits[i][1].y, bits[i][1].z, bits[i][1].w};
      for (int r = 0; r < 4; ++r) {
        pair[first + 2 * r][step + 32 * i] = __byte_perm(even[r], odd[r], 0x5410);
        pair[first + 2 * r + 1][step + 32 * i] = __byte_perm(even[r], odd[r], 0x7632);
      }
    }
  }

private:
  /// Eight rows of a channel; 0 beyond the last.
  static __device__ uint4 loadRows(const S *x, int rows, bool inside) {
    uint4 bits = {};
    if (inside && rows >= 8)
      return *reinterpret_cast<const uint4 *>(x);
    const auto *halves = reinterpret_cast<const uint16_t *>(x);
    uint32_t words[4] = {};
#pragma unroll
    for (int i = 0; i < 7; ++i)
      if (inside && i < rows)
        words[i / 2] |= uint32_t{halves[i]} << i % 2 * 16;
    bits.x = words[0], bits.y = words[1], bits.z = words[2], bits.w = words[3];
    return bits;
  }
};

/// Whether operand `turned` of the rows lies as a tile reads it, and `others`, of which those that
/// are absent are null, have pairs of channels side by side.
template <class S, int N>
bool takesTurnedTiles(const AxisSpace<N> &rows, int64_t channels, int turned,
                      const std::byte *const (&data)[N], const int64_t (&channelStride)[N],
                      int operands) {
  if (!kIsHalf<S> || rows.rank == 0 || channels % 2 != 0 || channels > 256)
    return false;
  int inner = rows.rank - 1;
  if (rows.stride[turned][inner] != 1 || rows.extent[inner] < 8)
    return false;
  for (int o = 0; o < operands; ++o) {
    if (!data[o])
      continue;
    int64_t unit = o == turned ? 8 : 2;
    if (reinterpret_cast<uint64_t>(data[o]) % (unit * sizeof(S)) != 0)
      return false;
    if (o == turned ? channelStride[o] % unit != 0 : channelStride[o] != 1)
      return false;
    for (int d = 0; d < rows.rank - (o == turned); ++d)
      if (rows.stride[o][d] % unit != 0)
        return false;
  }
  return true;
}

} // namespace evo::cuda
