//===- OuterMma.cuh - outer products and gradients on tensor cores -*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// The half types' products of which one matrix is an outer product [i, j, (c, d)] where it lies in
// memory, (i, c) x (j, d). Where there are too few tiles for the device, blocks share the depths of
// a tile: each stores its sums, which a second kernel adds in a fixed order.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/cuda/kernels/ProductMma.cuh"

namespace evo::cuda {

/// y[m,n] = addend[m,n] + factor sum_k a[m,k] b[n,k]. Columns of y and the addend are contiguous in
/// units of 16 bytes.
struct OuterMmaCall {
  MmaMatrix a, b;
  std::byte *y;
  const std::byte *addend;  ///< null: 0
  MmaAxis rows[2], cols[2]; ///< of y, of the addend
  float factor;
  bool isStatistic;  ///< y and the addend
  int parts, depths; ///< of the sums; of each part
  float *sums;       ///< [parts][m][n], where there are several
};

/// Eight sums become y; `at` of y and of the addend.
template <class S>
__device__ inline void storeUnit(const OuterMmaCall &call, int64_t at, int64_t addendAt,
                                 float (&x)[8]) {
  float base[8] = {};
  if (call.addend)
    load8<S>(base, call.addend, addendAt, call.isStatistic);
#pragma unroll
  for (int i = 0; i < 8; ++i)
    x[i] = fmaf(call.factor, x[i], base[i]);
  store8<S>(call.y, at, call.isStatistic, x);
}

/// Where rows of a block begin in y and in the addend.
template <int kRows>
__device__ inline void locateRows(int64_t (&rowAt)[2][kRows], const OuterMmaCall &call,
                                  int64_t m0) {
  for (int row = threadIdx.x; row < kRows; row += kTileThreads)
    for (int o = 0; o < 2; ++o)
      rowAt[o][row] = call.rows[o].offsetOf(m0 + row);
}

/// y without addend, of the storage type.
template <class S, int kRowTiles>
__global__ void __launch_bounds__(kTileThreads, 8 / kRowTiles)
    outerMmaKernel(const __grid_constant__ OuterMmaCall call) {
  using Tile = TileProduct<S, true, true, kRowTiles>;
  extern __shared__ uint4 outerSpace[];
  __shared__ int64_t rowAt[2][Tile::kRows];
  int64_t rows = call.a.across.extent, cols = call.b.across.extent;
  int64_t nTiles = ceilDiv(cols, kTileCols), mTile = quotient(blockIdx.x, nTiles);
  int64_t m0 = mTile * Tile::kRows, n0 = (blockIdx.x - mTile * nTiles) * kTileCols;
  locateRows(rowAt, call, m0);
  float sum[kRowTiles][8][4] = {};
  Tile::multiply(sum, outerSpace, call.a, call.b, m0, n0, 0, call.depths);
  const S *values = Tile::collectRounded(sum, call.factor, outerSpace);
  int64_t n = n0 + threadIdx.x % 16 * 8;
  if (n >= cols)
    return;
  int count = static_cast<int>(smaller(Tile::kRows, rows - m0));
  S *y = elements<S>(call.y) + call.cols[0].offsetOf(n);
  values += threadIdx.x % 16 * 8;
#pragma unroll 8
  for (int row = threadIdx.x / 16; row < count; row += kTileThreads / 16)
    *reinterpret_cast<uint4 *>(y + rowAt[0][row]) =
        *reinterpret_cast<const uint4 *>(values + row * kTilePitch);
}

template <class S, bool kIsAcross>
__global__ void __launch_bounds__(kTileThreads, 2)
    outerGradMmaKernel(const __grid_constant__ OuterMmaCall call) {
  using Tile = TileProduct<S, false, kIsAcross, 4>;
  extern __shared__ uint4 outerSpace[];
  __shared__ int64_t rowAt[2][Tile::kRows];
  int64_t rows = call.a.across.extent, cols = call.b.across.extent;
  int64_t mTiles = ceilDiv(rows, Tile::kRows), nTiles = ceilDiv(cols, kTileCols);
  int64_t tile = blockIdx.x, other = quotient(tile, mTiles), part = quotient(other, nTiles);
  int64_t m0 = (tile - other * mTiles) * Tile::kRows, n0 = (other - part * nTiles) * kTileCols;
  locateRows(rowAt, call, m0);
  int first = static_cast<int>(part) * call.depths;
  int end = static_cast<int>(smaller(first + call.depths, call.a.deep.extent));
  float sum[4][8][4] = {};
  Tile::multiply(sum, outerSpace, call.a, call.b, m0, n0, first, end);
  const float *sums = Tile::collect(sum, outerSpace);
  int64_t n = n0 + threadIdx.x % 16 * 8, at = call.cols[0].offsetOf(n);
  int64_t addendAt = call.cols[1].offsetOf(n);
  int count = static_cast<int>(smaller(Tile::kRows, rows - m0));
  if (n >= cols)
    return;
#pragma unroll 4
  for (int row = threadIdx.x / 16; row < count; row += kTileThreads / 16) {
    float x[8];
    load8(x, sums + row * kTilePitch + threadIdx.x % 16 * 8);
    if (call.parts == 1)
      storeUnit<S>(call, rowAt[0][row] + at, rowAt[1][row] + addendAt, x);
    else
      store8(call.sums + (part * rows + m0 + row) * cols + n, x);
  }
}

template <class S>
__global__ void __launch_bounds__(256) addPartsKernel(const __grid_constant__ OuterMmaCall call) {
  int64_t cols = call.b.across.extent, units = call.a.across.extent * cols / 8;
  for (int64_t e = blockIdx.x * int64_t{256} + threadIdx.x; e < units;
       e += int64_t{gridDim.x} * 256) {
    float x[8] = {};
    for (int part = 0; part < call.parts; ++part) {
      float more[8];
      load8(more, call.sums + (part * units + e) * 8);
#pragma unroll
      for (int i = 0; i < 8; ++i)
        x[i] += more[i];
    }
    int64_t m = quotient(e * 8, cols), n = e * 8 - m * cols;
    storeUnit<S>(call, call.rows[0].offsetOf(m) + call.cols[0].offsetOf(n),
                 call.rows[1].offsetOf(m) + call.cols[1].offsetOf(n), x);
  }
}

/// Fills the call's parts: as many as keep the device busy and fit the scratch.
inline void sharePart(const Launch &launch, OuterMmaCall &call) {
  int64_t rows = call.a.across.extent, cols = call.b.across.extent, deep = call.a.deep.extent;
  int64_t tiles = ceilDiv(rows, 128) * ceilDiv(cols, kTileCols);
  int64_t slots = int64_t{2} * launch.context->processors, best = 1;
  int64_t most = std::min({int64_t{16}, kScratchBytes / (rows * cols * 4), ceilDiv(deep, 512)});
  // The time of the last wave is that of a whole one; a part costs as much as some depths.
  auto cost = [&](int64_t parts) {
    return static_cast<double>(ceilDiv(tiles * parts, slots)) *
           (static_cast<double>(deep) / static_cast<double>(parts) + 256);
  };
  for (int64_t parts = 2; parts <= most; ++parts)
    if (cost(parts) < cost(best))
      best = parts;
  int64_t depths = ceilDiv(ceilDiv(deep, best), kTileDepth) * kTileDepth;
  call.depths = static_cast<int>(depths);
  call.parts = static_cast<int>(ceilDiv(deep, depths));
  call.sums = elements<float>(launch.context->scratch);
}

/// Whether y and the addend are stored in units, and whether the factors can be read.
inline bool describeOuter(OuterMmaCall &call, bool isAcrossA, bool isAcrossB) {
  bool fits = call.a.describe(isAcrossA) && call.b.describe(isAcrossB) &&
              reinterpret_cast<uint64_t>(call.y) % 16 == 0 &&
              reinterpret_cast<uint64_t>(call.addend) % 16 == 0;
  for (int o = 0; o < (call.addend ? 2 : 1); ++o)
    fits &= call.cols[o].isContiguous() && call.rows[o].takesUnits();
  return fits && call.a.across.extent > 0 && call.b.across.extent > 0 && call.a.deep.extent > 0;
}

template <class S, int kRowTiles>
Status launchOuterMma(const Launch &launch, const OuterMmaCall &call, bool &done) {
  using Tile = TileProduct<S, true, true, kRowTiles>;
  auto *kernel = outerMmaKernel<S, kRowTiles>;
  int64_t rows = call.a.across.extent, cols = call.b.across.extent;
  int64_t tiles = ceilDiv(rows, Tile::kRows) * ceilDiv(cols, kTileCols);
  done = tiles <= kMostBlocks && admitsShared(kernel, Tile::kBytes);
  if (!done)
    return {};
  kernel<<<gridOf(tiles), kTileThreads, Tile::kBytes, launch.context->stream>>>(call);
  return statusOf(cudaGetLastError(), "the launch of an outer product on tensor cores");
}

/// kIsAcross: the outer product's rows lie along the columns of y.
template <class S, bool kIsAcross>
Status launchOuterGradMma(const Launch &launch, const OuterMmaCall &call, bool &done) {
  using Tile = TileProduct<S, false, kIsAcross, 4>;
  auto *kernel = outerGradMmaKernel<S, kIsAcross>;
  int64_t rows = call.a.across.extent, cols = call.b.across.extent;
  int64_t tiles = ceilDiv(rows, Tile::kRows) * ceilDiv(cols, kTileCols) * call.parts;
  done = tiles <= kMostBlocks && admitsShared(kernel, Tile::kBytes);
  if (!done)
    return {};
  cudaStream_t stream = launch.context->stream;
  kernel<<<gridOf(tiles), kTileThreads, Tile::kBytes, stream>>>(call);
  if (call.parts > 1)
    addPartsKernel<S><<<gridOf(ceilDiv(rows * cols, 8 * 256)), 256, 0, stream>>>(call);
  return statusOf(cudaGetLastError(), "the launch of an outer product's gradient");
}

/// The axes (i, c) of an operand [s, i, c].
inline MmaAxis channelsOf(const Operand &o) {
  return MmaAxis::of(o.shape[1], o.strides[1], o.shape[2], o.strides[2]);
}
inline MmaAxis rowsOf(const Operand &o) { return MmaAxis::of(o.shape[0], o.strides[0]); }

} // namespace evo::cuda
