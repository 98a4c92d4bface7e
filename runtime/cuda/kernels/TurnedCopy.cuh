//===- TurnedCopy.cuh - copies whose sides lie along other axes -*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// Copies of half types from where one axis is contiguous to where another is, sixteen bytes at a
// time on both sides. A block turns 64 x 64 or 64 x 128 elements in shared memory; lines are
// shuffled on their way there such that what the transposing load hands to a lane are eight
// neighbours of the output.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/cuda/kernels/Elementwise.cuh"
#include "runtime/cuda/kernels/Neighbours.cuh"

namespace evo::cuda {

/// Strides of the copied (0) and of the copy (1).
struct TurnCall {
  AxisSpace<2> outer; ///< the axes but the two below
  int64_t extent[2];  ///< of the axis that is contiguous in the copied, and in the copy
  int64_t tiles[2];   ///< along them
  int64_t stride[2];  ///< of each, along the other's axis
  int lines;          ///< of a tile: kTurnTile or 128
  const std::byte *from;
  std::byte *to;
};

inline constexpr int kTurnThreads = 256, kTurnTile = 64;

/// kTurnTile elements of kLines lines, which are as many neighbours of the copy.
template <class S, int kLines>
__global__ void __launch_bounds__(kTurnThreads) turnKernel(const __grid_constant__ TurnCall call) {
  __shared__ __align__(16) S tile[kLines][kTurnTile + 8];
  OuterPlace place = tilePlace(blockIdx.x, call.tiles[0], call.tiles[1], kTurnTile, kLines);
  int64_t row0 = place.row, col0 = place.col;
  int64_t at[2];
  call.outer.locate(place.outer, at);
  const S *from = reinterpret_cast<const S *>(call.from) + at[0];
  int64_t row = row0 + threadIdx.x % 8 * 8;
#pragma unroll
  for (int i = threadIdx.x / 8; i < kLines; i += kTurnThreads / 8) {
    bool inside = row < call.extent[0] && col0 + i < call.extent[1];
    int shuffled = i / 32 * 32 + i % 8 / 2 * 8 + i % 32 / 8 * 2 + i % 2;
    copyAsync(&tile[shuffled][threadIdx.x % 8 * 8],
              from + (inside ? (col0 + i) * call.stride[0] + row : 0), inside);
  }
  commitCopies();
  waitForCopies<0>();
  __syncthreads();
  int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  row = row0 + warp * 8 + lane / 4;
  S *to = reinterpret_cast<S *>(call.to) + at[1] + row * call.stride[1];
#pragma unroll
  for (int first = 0; first < kLines; first += 32) {
    uint32_t x[4];
    loadTransposed(x, &tile[first + lane][8 * warp]);
    int64_t col = col0 + first + lane % 4 * 8;
    if (row < call.extent[0] && col < call.extent[1])
      *reinterpret_cast<uint4 *>(to + col) = make_uint4(x[0], x[1], x[2], x[3]);
  }
}

/// Input and output of a copy within one type. False: it is none that the kernel makes.
template <class S> bool describeTurn(TurnCall &call, const Elements<1, 1> &copy) {
  if (!kIsHalf<S> || copy.type[0] != copy.type[1] || isStatistic<S>(copy.type[0]))
    return false;
  call.outer = copy.axes, call.from = copy.data[0], call.to = copy.data[1];
  call.outer.sortLike(1);
  call.outer.merge();
  int last = call.outer.rank - 1, across = -1;
  for (int d = 0; d < last; ++d)
    if (call.outer.stride[0][d] == 1)
      across = d;
  if (across < 0 || call.outer.stride[1][last] != 1)
    return false;
  const int axis[] = {across, last};
  bool fits = reinterpret_cast<uint64_t>(call.from) % 16 == 0 &&
              reinterpret_cast<uint64_t>(call.to) % 16 == 0;
  for (int side : {0, 1}) {
    call.extent[side] = call.outer.extent[axis[side]];
    call.lines = side && call.extent[side] >= 128 ? 128 : kTurnTile;
    call.tiles[side] = ceilDiv(call.extent[side], side ? call.lines : kTurnTile);
    call.stride[side] = call.outer.stride[side][axis[1 - side]];
    fits &= call.extent[side] % 8 == 0;
    for (int d = 0; d <= last; ++d)
      fits &= d == axis[side] || call.outer.stride[side][d] % 8 == 0;
  }
  call.outer.removeAxis(last);
  call.outer.removeAxis(across);
  return fits && call.outer.count() * call.tiles[0] * call.tiles[1] <= kMostBlocks;
}

template <class S> Status launchTurn(const Context &context, const TurnCall &call) {
  int64_t tiles = call.outer.count() * call.tiles[0] * call.tiles[1];
  if (tiles > 0)
    (call.lines == 128
         ? turnKernel<S, 128>
         : turnKernel<S, kTurnTile>)<<<gridOf(tiles), kTurnThreads, 0, context.stream>>>(call);
  return statusOf(cudaGetLastError(), "the launch of a copy along other axes");
}

/// Rows of a few columns, which a thread gathers.
struct NarrowCall {
  AxisSpace<2> rows; ///< of the copied (0) and of the copy (1)
  int64_t rowCount, colStride;
  const std::byte *from;
  std::byte *to;
  bool statistic; ///< the copied
};

template <class S, int kCols>
__global__ void __launch_bounds__(256) narrowKernel(const __grid_constant__ NarrowCall call) {
  int64_t row = blockIdx.x * int64_t{256} + threadIdx.x;
  if (row >= call.rowCount)
    return;
  int64_t at[2];
  call.rows.locate(row, at);
  float x[kCols];
#pragma unroll
  for (int c = 0; c < kCols; ++c)
    x[c] = load<S>(call.from, at[0] + c * call.colStride, call.statistic);
  Neighbours<S, kCols> out;
  out.round(x);
  out.store(call.to, at[1]);
}

/// Copies four or eight columns, which lie together in the copy, of rows that do in the copied.
/// False: it is no such copy.
template <class S> bool launchNarrow(const Context &context, const Elements<1, 1> &copy) {
  if (isStatistic<S>(copy.type[1]))
    return false;
  NarrowCall call{copy.axes, 0, 0, copy.data[0], copy.data[1], isStatistic<S>(copy.type[0])};
  call.rows.sortLike(1);
  call.rows.merge();
  int last = call.rows.rank - 1;
  if (last < 1 || call.rows.stride[1][last] != 1 || call.rows.stride[0][last - 1] != 1 ||
      reinterpret_cast<uint64_t>(call.to) % 16 != 0)
    return false;
  int64_t cols = call.rows.extent[last];
  call.colStride = call.rows.stride[0][last];
  call.rows.removeAxis(last);
  for (int d = 0; d < last; ++d)
    if (call.rows.stride[1][d] % 8 != 0 && (cols != 4 || call.rows.stride[1][d] % 4 != 0))
      return false;
  call.rowCount = call.rows.count();
  if ((cols != 4 && cols != 8) || ceilDiv(call.rowCount, 256) > kMostBlocks)
    return false;
  auto *kernel = cols == 4 ? narrowKernel<S, 4> : narrowKernel<S, 8>;
  if (call.rowCount > 0)
    kernel<<<gridOf(ceilDiv(call.rowCount, 256)), 256, 0, context.stream>>>(call);
  return true;
}

/// y[*] = x[*].
struct CopyOp {
  __device__ void operator()(const float *x, float *y) const { y[0] = x[0]; }
};

template <class S> Status copyElements(const Launch &launch, const Elements<1, 1> &copy) {
  if constexpr (kIsHalf<S>) {
    if (TurnCall call{}; describeTurn<S>(call, copy))
      return launchTurn<S>(*launch.context, call);
    if (launchNarrow<S>(*launch.context, copy))
      return statusOf(cudaGetLastError(), "the launch of a copy of few columns");
  }
  return elementwise<S>(launch, copy, CopyOp{});
}

} // namespace evo::cuda
