//===- GatedLinearMma.cuh - gated linear layers stored by channel -*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// `gated_linear` of half types into a y whose rows follow each other in memory, as triangle
// products read it. A block keeps both weights of 128 channels in shared memory and takes tiles of
// 64 rows, each fetched while the one before is computed. Channels are the rows of the tensor
// cores' products, so sums lie along y; a tile's rows are shuffled on their way to shared memory
// such that a lane's sums of a channel are eight neighbours, which go to y without another detour.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/cuda/kernels/DynamicShared.cuh"
#include "runtime/cuda/kernels/Mma.cuh"

namespace evo::cuda {

/// sigmoid(x) to a few units in the last place.
__device__ inline float sigmoidFast(float x) {
  return __fdividef(1.0f, 1.0f + exp2Fast(-1.4426950408889634f * x));
}

struct GatedMmaCall {
  enum { X, RowScale, Y, kOperands };
  AxisSpace<kOperands> rows; ///< in the order of y
  int64_t rowCount, n, k;
  const std::byte *x, *rowScale, *weight[2], *bias[2]; ///< the second: the gate's
  std::byte *y;
  int64_t weightStride[2], biasStride[2], colStride; ///< the last: of y
  int64_t colTiles;
  bool statisticScale;
  bool eights; ///< eight rows from a multiple of eight on are one piece of y
};

inline constexpr int kGatedThreads = 256, kGatedRows = 64, kGatedCols = 128;

/// Where a tile's rows lie.
struct GatedTile {
  int64_t x[kGatedRows], y[kGatedRows]; ///< x < 0: beyond the last row
  float scale[kGatedRows];
};

/// Three tiles are known at a time: in work, on its way, and the one after.
template <class S, int kSteps> struct GatedSpace {
  S weight[2][kGatedCols][16 * kSteps + 8];
  S x[2][kGatedRows][16 * kSteps + 8];
  GatedTile tiles[3];
};

template <class S>
__device__ inline void findRows(GatedTile &tile, const GatedMmaCall &call, int64_t row0) {
  int i = threadIdx.x;
  if (i >= kGatedRows)
    return;
  int64_t at[GatedMmaCall::kOperands] = {-1, 0, 0};
  float scale = 0;
  if (row0 + i < call.rowCount) {
    call.rows.locate(row0 + i, at);
    scale = call.rowScale ? load<S>(call.rowScale, at[GatedMmaCall::RowScale], call.statisticScale)
                          : 1.0f;
  }
  tile.x[i] = at[GatedMmaCall::X], tile.y[i] = at[GatedMmaCall::Y], tile.scale[i] = scale;
}

/// Begins to copy a tile of x. Of 32 rows, row 8 t + 2 j + i becomes row 8 j + 2 t + i, which the
/// tensor cores hand to lane t as sums i of column tile j.
template <class S, int kSteps>
__device__ inline void fetchRows(S (&to)[kGatedRows][16 * kSteps + 8], const GatedTile &tile,
                                 const GatedMmaCall &call) {
  constexpr int kPieces = 2 * kSteps, kStep = kGatedThreads / kPieces;
  int col = threadIdx.x % kPieces * 8;
  for (int row = threadIdx.x / kPieces; row < kGatedRows; row += kStep) {
    bool inside = tile.x[row] >= 0 && col < call.k;
    int shuffled = row / 32 * 32 + row % 8 / 2 * 8 + row % 32 / 8 * 2 + row % 2;
    const S *from = reinterpret_cast<const S *>(call.x) + (inside ? tile.x[row] + col : 0);
    copyAsync(&to[shuffled][col], from, inside);
  }
}

template <class S, int kSteps>
__device__ inline void fetchWeights(GatedSpace<S, kSteps> &space, const GatedMmaCall &call,
                                    int64_t n0) {
  constexpr int kPieces = 2 * kSteps, kStep = kGatedThreads / kPieces;
  int col = threadIdx.x % kPieces * 8;
  for (int part = 0; part < 2; ++part)
    for (int row = threadIdx.x / kPieces; row < kGatedCols; row += kStep) {
      bool inside = n0 + row < call.n && col < call.k;
      const S *from = reinterpret_cast<const S *>(call.weight[part]) +
                      (inside ? (n0 + row) * call.weightStride[part] + col : 0);
      copyAsync(&space.weight[part][row][col], from, inside);
    }
}

/// Both products of a warp's 16 channels and all rows of a tile.
template <class S, int kSteps>
__device__ inline void multiplyGated(float (&sum)[2][8][4], const GatedSpace<S, kSteps> &space,
                                     const S (&x)[kGatedRows][16 * kSteps + 8]) {
  int lane = threadIdx.x % 32, channel = threadIdx.x / 32 * 16 + lane % 16;
#pragma unroll
  for (int k = 0; k < 16 * kSteps; k += 16) {
    uint32_t a[2][4], b[4];
    for (int part = 0; part < 2; ++part)
      loadMatrices(a[part], &space.weight[part][channel][k + lane / 16 * 8]);
#pragma unroll
    for (int p = 0; p < 4; ++p) {
      loadMatrices(b, &x[16 * p + lane % 8 + lane / 16 * 8][k + lane / 8 % 2 * 8]);
      for (int part = 0; part < 2; ++part) {
        multiplyTiles<S>(sum[part][2 * p], a[part], b[0], b[1]);
        multiplyTiles<S>(sum[part][2 * p + 1], a[part], b[2], b[3]);
      }
    }
  }
}

/// Stores eight rows of a channel.
template <class S>
__device__ inline void storeRows(const GatedMmaCall &call, const GatedTile &tile, int row,
                                 int64_t col, const float (&value)[8]) {
  S *y = reinterpret_cast<S *>(call.y) + col * call.colStride;
  if (call.eights) {
    if (tile.x[row] >= 0)
      *reinterpret_cast<uint4 *>(y + tile.y[row]) =
          make_uint4(packed<S>(value[0], value[1]), packed<S>(value[2], value[3]),
                     packed<S>(value[4], value[5]), packed<S>(value[6], value[7]));
    return;
  }
  for (int i = 0; i < 8; ++i)
    if (tile.x[row + i] >= 0)
      y[tile.y[row + i]] = rounded<S>(value[i]);
}

template <class S>
__device__ inline void openGates(const GatedMmaCall &call, const GatedTile &tile, int64_t n0,
                                 const float (&sum)[2][8][4], const float (&bias)[2][2]) {
  int lane = threadIdx.x % 32;
  for (int half = 0; half < 2; ++half) {
    int row = 32 * half + lane % 4 * 8;
    float scale[8];
    for (int i = 0; i < 8; i += 4) {
      float4 four = *reinterpret_cast<const float4 *>(&tile.scale[row + i]);
      scale[i] = four.x, scale[i + 1] = four.y, scale[i + 2] = four.z, scale[i + 3] = four.w;
    }
    for (int c = 0; c < 2; ++c) {
      int64_t col = n0 + threadIdx.x / 32 * 16 + lane / 4 + 8 * c;
      float value[8];
      for (int i = 0; i < 8; ++i) {
        float gate = sum[1][4 * half + i / 2][2 * c + i % 2] + bias[1][c];
        value[i] =
            scale[i] * sigmoidFast(gate) * (sum[0][4 * half + i / 2][2 * c + i % 2] + bias[0][c]);
      }
      if (col < call.n)
        storeRows<S>(call, tile, row, col, value);
    }
  }
}

template <class S, int kSteps>
__global__ void __launch_bounds__(kGatedThreads, 2)
    gatedMmaKernel(const __grid_constant__ GatedMmaCall call) {
  extern __shared__ __align__(16) std::byte memory[];
  auto &space = *reinterpret_cast<GatedSpace<S, kSteps> *>(memory);
  int64_t first = blockIdx.x / call.colTiles, step = gridDim.x / call.colTiles * kGatedRows;
  int64_t n0 = (blockIdx.x - first * call.colTiles) * kGatedCols, row0 = first * kGatedRows;
  findRows<S>(space.tiles[0], call, row0);
  findRows<S>(space.tiles[1], call, row0 + step);
  fetchWeights(space, call, n0);
  float bias[2][2];
  for (int part = 0; part < 2; ++part)
    for (int c = 0; c < 2; ++c) {
      int64_t col = n0 + threadIdx.x / 32 * 16 + threadIdx.x % 32 / 4 + 8 * c;
      bias[part][c] = load<S>(call.bias[part], smaller(col, call.n - 1) * call.biasStride[part]);
    }
  __syncthreads();
  fetchRows<S, kSteps>(space.x[0], space.tiles[0], call);
  commitCopies();
  int now = 0, tile = 0;
  for (; row0 < call.rowCount; row0 += step, now ^= 1, tile = tile == 2 ? 0 : tile + 1) {
    waitForCopies<0>();
    __syncthreads(); // all have the tile, and are done with the one before
    if (row0 + step < call.rowCount) {
      fetchRows<S, kSteps>(space.x[now ^ 1], space.tiles[tile == 2 ? 0 : tile + 1], call);
      commitCopies();
      findRows<S>(space.tiles[tile == 0 ? 2 : tile - 1], call, row0 + 2 * step);
    }
    float sum[2][8][4] = {};
    multiplyGated<S, kSteps>(sum, space, space.x[now]);
    openGates<S>(call, space.tiles[tile], n0, sum, bias);
  }
}

/// x, weight, bias, gate_weight, gate_bias, row_scale, y, as Kernels.def has them. False: they do
/// not lie as the kernel reads and writes them.
template <class S> bool describeGated(GatedMmaCall &call, const Operand *o) {
  using C = GatedMmaCall;
  const Operand &x = o[0], &rowScale = o[5], &y = o[6];
  int leading = x.rank - 1;
  auto isAligned = [](const void *data) { return reinterpret_cast<uint64_t>(data) % 16 == 0; };
  for (int d = 0; d < leading; ++d) {
    const Operand *const byRow[] = {&x, &rowScale, &y};
    for (int i = 0; i < C::kOperands; ++i)
      call.rows.stride[i][d] = *byRow[i] ? byRow[i]->strides[d] : 0;
    call.rows.push(x.shape[d]);
  }
  call.rows.sortLike(C::Y);
  call.rows.merge();
  call.rowCount = call.rows.count(), call.n = y.shape[leading], call.k = x.shape[leading];
  call.x = x.data, call.rowScale = rowScale.data, call.y = y.data;
  call.statisticScale = isStatistic<S>(rowScale.type), call.colStride = y.strides[leading];
  call.colTiles = ceilDiv(call.n, kGatedCols);
  int last = call.rows.rank - 1;
  bool fits = last >= 0 && call.rows.stride[C::Y][last] == 1 && call.colStride != 1 &&
              x.strides[leading] == 1 && isAligned(x.data) && call.k > 0 && call.k % 8 == 0 &&
              call.k <= 128 && call.colTiles <= 64;
  call.eights =
      last >= 0 && call.rows.extent[last] % 8 == 0 && call.colStride % 8 == 0 && isAligned(y.data);
  for (int d = 0; d <= last; ++d) {
    fits &= call.rows.stride[C::X][d] % 8 == 0;
    call.eights &= d == last || call.rows.stride[C::Y][d] % 8 == 0;
  }
  for (int i = 0; i < 2; ++i) {
    const Operand &weight = o[1 + 2 * i], &bias = o[2 + 2 * i];
    call.weight[i] = weight.data, call.weightStride[i] = weight.strides[0];
    call.bias[i] = bias.data, call.biasStride[i] = bias.strides[0];
    fits &= isAligned(weight.data) && weight.strides[0] % 8 == 0 && weight.strides[1] == 1;
  }
  return fits;
}

/// `done` stays false on devices whose blocks have too little shared memory.
template <class S, int kSteps>
Status launchGatedSteps(const Launch &launch, const GatedMmaCall &call, bool &done) {
  constexpr int kBytes = sizeof(GatedSpace<S, kSteps>);
  int64_t rowTiles = ceilDiv(call.rowCount, kGatedRows);
  int64_t blocks = larger(1, smaller(rowTiles, 2 * launch.context->processors / call.colTiles));
  done = admitsShared(gatedMmaKernel<S, kSteps>, kBytes);
  if (!done || rowTiles * call.n == 0)
    return {};
  gatedMmaKernel<S, kSteps>
      <<<gridOf(blocks * call.colTiles), kGatedThreads, kBytes, launch.context->stream>>>(call);
  return statusOf(cudaGetLastError(), "the launch of a gated linear layer by channel");
}

template <class S>
Status launchGatedMma(const Launch &launch, const GatedMmaCall &call, bool &done) {
  return call.k <= 64 ? launchGatedSteps<S, 4>(launch, call, done)
                      : launchGatedSteps<S, 8>(launch, call, done);
}

} // namespace evo::cuda
