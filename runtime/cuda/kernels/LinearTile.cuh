//===- LinearTile.cuh - linear layers in tiles of units ---------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// The half types' linear layers whose operands lie in units of eight columns: products as
// ProductMma.cuh makes them, finished with all that follows before they are rounded. What is read
// beside the sums is asked for while they are computed.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/cuda/kernels/LinearMma.cuh"
#include "runtime/cuda/kernels/ProductMma.cuh"

namespace evo::cuda {

struct LinearTileCall {
  MmaMatrix x, weight;
  LinearMmaCall linear;                   ///< without its rows
  MmaAxis rows[LinearMmaCall::kOperands]; ///< by operand
  bool isTurned;                          ///< the weight, whose rows lie beside each other
};

/// Asks for a block's rows and columns of what is read beside the sums.
template <class S>
__device__ inline void askFor(const LinearMmaCall &call,
                              const int64_t (*rowAt)[LinearMmaCall::kOperands], int64_t n0,
                              int rows) {
  using C = LinearMmaCall;
#pragma unroll
  for (int o = C::Gate; o <= C::Residual; o += C::Residual - C::Gate)
    for (int line = threadIdx.x; call.data[o] && line < 2 * rows; line += kTileThreads) {
      int64_t col = n0 + line % 2 * 64;
      if (col < call.n)
        asm volatile(
            "prefetch.global.L2 [%0];" ::"l"(call.data[o] + (rowAt[line / 2][o] + col) * 2));
    }
}

/// What stands beside eight sums, as it is stored.
struct LinearUnit {
  uint4 gate, residual;
  float scale;
};

/// `at`: of the row, by operand.
template <class S>
__device__ inline LinearUnit readUnit(const LinearMmaCall &call, const int64_t *at, int64_t col) {
  using C = LinearMmaCall;
  auto read = [&](int o) {
    return call.data[o] ? *reinterpret_cast<const uint4 *>(call.data[o] + (at[o] + col) * 2)
                        : make_uint4(0, 0, 0, 0);
  };
  LinearUnit unit{read(C::Gate), read(C::Residual), 1};
  if (call.data[C::RowScale])
    unit.scale = load<S>(call.data[C::RowScale], at[C::RowScale], call.statistic[C::RowScale]);
  return unit;
}

template <class S>
__device__ inline void storeUnit(const LinearMmaCall &call, const int64_t *at, int64_t col,
                                 float (&x)[8], const float (&bias)[8], const LinearUnit &unit) {
  using C = LinearMmaCall;
  float gate[8], residual[8], dropout[8] = {1, 1, 1, 1, 1, 1, 1, 1};
  widen8<S>(gate, unit.gate);
  widen8<S>(residual, unit.residual);
  if (call.data[C::Dropout])
    load8<S>(dropout, call.data[C::Dropout], at[C::Dropout] + col, call.statistic[C::Dropout]);
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    float sum = fmaf(call.factor, x[i], bias[i]);
    if (call.relu)
      sum = fmaxf(sum, 0.0f);
    if (call.data[C::Gate])
      sum *= sigmoid(gate[i]);
    x[i] = fmaf(sum * unit.scale, dropout[i], residual[i]);
  }
  store8<S>(call.data[C::Y], at[C::Y] + col, false, x);
}

template <class S, int kRowTiles, bool kIsTurned>
__global__ void __launch_bounds__(kTileThreads, 8 / kRowTiles)
    linearTileKernel(const __grid_constant__ LinearTileCall call) {
  using Tile = TileProduct<S, false, kIsTurned, kRowTiles>;
  extern __shared__ uint4 linearSpace[];
  __shared__ int64_t rowAt[Tile::kRows][LinearMmaCall::kOperands];
  int64_t nTiles = ceilDiv(call.linear.n, kTileCols), mTile = quotient(blockIdx.x, nTiles);
  int64_t m0 = mTile * Tile::kRows, n0 = (blockIdx.x - mTile * nTiles) * kTileCols;
  int count = static_cast<int>(smaller(Tile::kRows, call.linear.rowCount - m0));
  for (int o = 0; o < LinearMmaCall::kOperands && threadIdx.x < count; ++o)
    rowAt[threadIdx.x][o] = call.rows[o].offsetOf(m0 + threadIdx.x);
  __syncthreads();
  askFor<S>(call.linear, rowAt, n0, count);
  float sum[kRowTiles][8][4] = {};
  Tile::multiply(sum, linearSpace, call.x, call.weight, m0, n0, 0, static_cast<int>(call.linear.k));
  const float *sums = Tile::collect(sum, linearSpace);
  int unit = threadIdx.x % 16 * 8;
  int64_t col = n0 + unit;
  if (col >= call.linear.n)
    return;
  float bias[8] = {};
#pragma unroll
  for (int i = 0; i < 8; ++i)
    if (call.linear.bias[0])
      bias[i] = load<S>(call.linear.bias[0], (col + i) * call.linear.biasStride[0]);
  constexpr int kStep = kTileThreads / 16, kBatch = 4;
  for (int first = threadIdx.x / 16; first < count; first += kStep * kBatch) {
    LinearUnit beside[kBatch];
#pragma unroll
    for (int i = 0; i < kBatch; ++i)
      if (int row = first + i * kStep; row < count)
        beside[i] = readUnit<S>(call.linear, rowAt[row], col);
#pragma unroll
    for (int i = 0; i < kBatch; ++i)
      if (int row = first + i * kStep; row < count) {
        float x[8];
        load8(x, sums + row * kTilePitch + unit);
        storeUnit<S>(call.linear, rowAt[row], col, x, bias, beside[i]);
      }
  }
}

/// Fills the rest of a call from its description for the other kernel. False: some operand does not
/// lie in units.
template <class S> bool describeTile(LinearTileCall &call, const Operand &weight) {
  using C = LinearMmaCall;
  const LinearMmaCall &linear = call.linear;
  const AxisSpace<C::kOperands> &rows = linear.rows;
  if (rows.rank > 2 || linear.n % 8 != 0 || linear.rowCount == 0 || linear.n == 0)
    return false;
  bool fits = true;
  for (int o = 0; o < C::kOperands; ++o) {
    int64_t strides[2] = {}, inner = rows.rank > 0 ? rows.extent[rows.rank - 1] : 1;
    for (int d = 0; d < rows.rank; ++d)
      strides[d + 2 - rows.rank] = rows.stride[o][d];
    call.rows[o] = {linear.rowCount, inner, strides[0], strides[1]};
    if (!linear.data[o] || o == C::X || o == C::RowScale)
      continue;
    fits &= linear.colStride[o] == 1 && strides[0] % 8 == 0 && strides[1] % 8 == 0 &&
            reinterpret_cast<uint64_t>(linear.data[o]) % 16 == 0 &&
            (o == C::Dropout || !linear.statistic[o]);
  }
  call.x = {linear.data[C::X], call.rows[C::X], MmaAxis::of(linear.k, 1)};
  call.weight = {weight.data, MmaAxis::of(linear.n, weight.strides[0]),
                 MmaAxis::of(linear.k, weight.strides[1])};
  call.isTurned = weight.strides[1] != 1;
  return fits && call.x.describe(false) && call.weight.describe(call.isTurned);
}

template <class S, int kRowTiles, bool kIsTurned>
Status launchLinearTile(const Launch &launch, const LinearTileCall &call, bool &done) {
  using Tile = TileProduct<S, false, kIsTurned, kRowTiles>;
  auto *kernel = linearTileKernel<S, kRowTiles, kIsTurned>;
  int64_t tiles = ceilDiv(call.linear.rowCount, Tile::kRows) * ceilDiv(call.linear.n, kTileCols);
  done = tiles <= kMostBlocks && admitsShared(kernel, Tile::kBytes);
  if (!done)
    return {};
  kernel<<<gridOf(tiles), kTileThreads, Tile::kBytes, launch.context->stream>>>(call);
  return statusOf(cudaGetLastError(), "the launch of a linear layer in tiles");
}

/// Smaller tiles, of which more are under way, but where few blocks would read x again.
template <class S>
Status launchLinearTile(const Launch &launch, const LinearTileCall &call, bool &done) {
  if (call.isTurned)
    return launchLinearTile<S, 2, true>(launch, call, done);
  if (call.linear.n > kTileCols && call.linear.k >= 512)
    return launchLinearTile<S, 4, false>(launch, call, done);
  return launchLinearTile<S, 2, false>(launch, call, done);
}

} // namespace evo::cuda
