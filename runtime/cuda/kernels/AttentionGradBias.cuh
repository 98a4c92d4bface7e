//===- AttentionGradBias.cuh - the pair bias' gradient ----------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// A block of eight warps has a tile of the pair bias in registers, with the sums of its gradient,
// and goes through batches: those of the next are copied while the present ones are multiplied.
// Products begin with the bias and with -D, so a slope takes an addition, a multiplication and
// addition, a power of two, and the one that adds it to the sum. Nothing is rounded.
//
// Tiles times batches are cut evenly among the blocks. What a block has of a tile that it does not
// have all batches of goes to scratch, and joinKernel adds the parts in their order.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/cuda/kernels/AttentionGradMma.cuh"
#include "runtime/cuda/kernels/Places.h"

namespace evo::cuda {

template <class S, int kWidth> struct BiasGradSpace {
  /// Warps that share keys, as the shared memory of all devices holds their queries, and tiles of
  /// 16 queries of each, as the registers hold their sums.
  static constexpr int kWarpRows = kWidth <= 48 ? 4 : 2, kTiles = kWidth <= 32 ? 2 : 1;
  static constexpr int kThreads = kWarpRows * 64, kBlocks = 256 / kThreads;
  static constexpr int kRows = kTiles * kWarpRows * 16, kKeys = kGradKeys;
  struct Stage {
    HeadTile<S, kWidth, kRows> query, dout;
    HeadTile<S, kWidth, kKeys> keys, values;
    float start[kRows], delta[kRows], terms[kKeys];
    alignas(16) uint32_t nextWeighted[kKeys / 32]; ///< of the next batch
  };
  Stage stages[2];
  /// The present tile, and the batch of a tile that is next: not in registers, which are for sums.
  volatile int head, group, query, key, isPart, begins;
  volatile int64_t next;
};

/// The tiles of a call.
template <int kRows> struct BiasTiles : BiasCut<kRows, kGradKeys> {
  __host__ __device__ explicit BiasTiles(const AttentionCall &call, int64_t blocks = 1)
      : BiasCut<kRows, kGradKeys>(call.heads, call.queries, call.keys, call.batches, blocks) {}
};

template <class S, int kWidth> class BiasGrad {
  using Space = BiasGradSpace<S, kWidth>;
  using Stage = typename Space::Stage;
  static constexpr int kTiles = Space::kTiles, kSteps = kWidth / 16;

public:
  static constexpr int kSums = kTiles * 32; ///< of a thread
  using Tiles = BiasTiles<Space::kRows>;

  __device__ explicit BiasGrad(const MmaGradCall &grad) : grad(grad), call(grad.call) {}

  /// Sums of batches [first, end).
  __device__ void run(Space &space, const BiasTile &tile, int first, int end) {
    __syncthreads(); // of the stages before
    if (threadIdx.x == 0) {
      space.head = tile.head, space.group = tile.head % static_cast<int>(call.groups);
      space.query = tile.query, space.key = tile.key;
    }
    __syncthreads();
    fetch(space, space.stages[0], first, end,
          grad.weighted + (first * grad.paddedKeys + tile.key) / 32);
    loadBias(tile);
    int now = 0;
    for (int b = first; b < end; ++b, now ^= 1) {
      waitForCopies<0>();
      __syncthreads();
      if (b + 1 < end)
        fetch(space, space.stages[now ^ 1], b + 1, end, space.stages[now].nextWeighted);
      addBatch(space.stages[now]);
    }
  }

  /// dbias = accumulator + sum, of piece j of row tile i.
  __device__ void storePiece(const BiasTile &tile, int i, int j, const float (&four)[4]) const {
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      int64_t row = rowOf(tile, i, e), col = colOf(tile, j, e);
      if (row >= call.queries || col >= call.keys)
        continue;
      const HeadMatrix &base = call.accumulator, &out = call.dbias;
      float value = four[e];
      if (base.data)
        value += at<float>(base, 0, tile.head)[row * base.row + col * base.col];
      const_cast<float *>(at<float>(out, 0, tile.head))[row * out.row + col * out.col] = value;
    }
  }
  /// Everything, to the gradient or as a part of it.
  __device__ void store(const BiasTile &tile, float4 *part) const {
#pragma unroll
    for (int i = 0; i < kTiles; ++i)
#pragma unroll
      for (int j = 0; j < 8; ++j)
        if (part)
          part[(i * 8 + j) * Space::kThreads + threadIdx.x] =
              make_float4(sum[i][j][0], sum[i][j][1], sum[i][j][2], sum[i][j][3]);
        else
          storePiece(tile, i, j, sum[i][j]);
  }

private:
  /// Where sum[i][j] of the warp lies in the pair bias; e of four is one of two rows and columns.
  __device__ int64_t rowOf(const BiasTile &tile, int i, int e) const {
    return tile.query + (warp / 2 * kTiles + i) * 16 + lane / 4 + e / 2 * 8;
  }
  __device__ int64_t colOf(const BiasTile &tile, int j, int e) const {
    return tile.key + warp % 2 * 64 + j * 8 + lane % 4 * 2 + e % 2;
  }

  /// A batch; the values of keys without weight are left out, since they may be huge.
  __device__ void fetch(Space &space, Stage &to, int64_t b, int64_t end,
                        const uint32_t *weighted) const {
    int h = space.head, g = space.group, q0 = space.query, k0 = space.key;
    auto width = static_cast<int>(call.width);
    TileCopy<S, kWidth, Space::kThreads> copies(warp * 32 + lane);
    // All bits are read at once, so that the copies do not wait for each.
    const uint4 four = *reinterpret_cast<const uint4 *>(weighted);
    const uint32_t words[Space::kKeys / 32] = {four.x, four.y, four.z, four.w};
    copies.copy(to.query, at<S>(call.query, b, h) + q0 * call.query.row, call.query.row, width,
                call.queries - q0);
    copies.copy(to.dout, at<S>(call.dout, b, h) + q0 * call.dout.row, call.dout.row, width,
                call.queries - q0);
    copies.copy(to.keys, at<S>(call.key, b, g) + k0 * call.key.row, call.key.row, width,
                call.keys - k0);
    copies.copy(to.values, at<S>(call.value, b, g) + k0 * call.value.row, call.value.row, width,
                [&](int row) {
                  // The first is known at compile time.
                  int word = (row - copies.row) / 32 + copies.row / 32;
                  uint32_t bits = words[0];
#pragma unroll
                  for (int i = 1; i < Space::kKeys / 32; ++i)
                    bits = word == i ? words[i] : bits;
                  return (bits >> row % 32 & 1) != 0;
                });
    int64_t rows = (b * call.heads + h) * grad.paddedQueries + q0;
    int part = lane * 4;
    if (warp == 0)
      copyAsync(&to.terms[part], grad.terms + b * grad.paddedKeys + k0 + part, true);
    else if (warp == 1 && part < Space::kRows)
      copyAsync(&to.start[part], grad.start + rows + part, q0 + part < grad.paddedQueries);
    else if (warp == 2 && part < Space::kRows)
      copyAsync(&to.delta[part], grad.delta + rows + part, q0 + part < grad.paddedQueries);
    else if (warp == 3 && lane == 0 && b + 1 < end)
      copyAsync(to.nextWeighted, grad.weighted + ((b + 1) * grad.paddedKeys + k0) / 32, true);
    commitCopies();
  }

  /// Where products of query and key begin: the pair bias / scale. What lies beyond the ends has no
  /// weight: any number does there, and no load waits for a test.
  __device__ void loadBias(const BiasTile &tile) {
    bool has = call.bias.data;
    const S *from = has ? at<S>(call.bias, 0, tile.head) : at<S>(call.query, 0, 0);
    int64_t last = has ? call.queries - 1 : 0, right = has ? call.keys - 1 : 0;
    float factor = 1 / call.scale;
#pragma unroll
    for (int i = 0; i < kTiles; ++i)
#pragma unroll
      for (int j = 0; j < 8; ++j)
#pragma unroll
        for (int e = 0; e < 4; ++e) {
          int64_t row = smaller(rowOf(tile, i, e), last);
          int64_t col = smaller(colOf(tile, j, e), right);
          bias[i][j][e] = widen(from[row * call.bias.row + col * call.bias.col]);
        }
#pragma unroll
    for (int i = 0; i < kTiles; ++i)
#pragma unroll
      for (int j = 0; j < 8; ++j)
#pragma unroll
        for (int e = 0; e < 4; ++e)
          bias[i][j][e] = has ? bias[i][j][e] * factor : 0, sum[i][j][e] = 0;
  }

  __device__ void addBatch(const Stage &now) {
    int row = warp / 2 * (16 * kTiles), key = warp % 2 * 64;
    float scale = call.scale * kLog2E, start[kTiles][2], delta[kTiles][4];
    float startScale = kLog2E / grad.startFactor;
    uint32_t query[kTiles][kSteps][4], dout[kTiles][kSteps][4];
#pragma unroll
    for (int i = 0; i < kTiles; ++i) {
#pragma unroll
      for (int c = 0; c < kSteps; ++c) {
        int from = row + 16 * i + lane % 16, col = c * 16 + lane / 16 * 8;
        loadMatrices(query[i][c], &now.query.rows[from][col]);
        loadMatrices(dout[i][c], &now.dout.rows[from][col]);
      }
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        start[i][half] = now.start[row + 16 * i + 8 * half + lane / 4] * startScale;
        delta[i][2 * half] = delta[i][2 * half + 1] = now.delta[row + 16 * i + 8 * half + lane / 4];
      }
    }
    // Products are ahead of what is made of them.
    struct Keys {
      uint32_t keys[kSteps][2], values[kSteps][2];
      float2 term;
    } of8[2];
    float p[2][4], dp[2][4];
    auto multiply = [&](int step) {
      int i = step % kTiles, j = step / kTiles;
      Keys &to = of8[j % 2];
      if (i == 0) {
        loadRows(to.keys, now.keys, key + 8 * j);
        loadRows(to.values, now.values, key + 8 * j);
        to.term = *reinterpret_cast<const float2 *>(&now.terms[key + 8 * j + 2 * (lane % 4)]);
      }
      multiplyRows<S>(p[step % 2], query[i], to.keys, bias[i][j]);
      multiplyRows<S>(dp[step % 2], dout[i], to.values, delta[i]);
    };
    multiply(0);
#pragma unroll
    for (int step = 0; step < 8 * kTiles; ++step) {
      if (step + 1 < 8 * kTiles)
        multiply(step + 1);
      int i = step % kTiles, j = step / kTiles;
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        float add = (e % 2 ? of8[j % 2].term.y : of8[j % 2].term.x) + start[i][e / 2];
        float weight = exp2Fast(fmaf(p[step % 2][e], scale, add));
        sum[i][j][e] = fmaf(weight, dp[step % 2][e], sum[i][j][e]);
      }
    }
  }

  const MmaGradCall &grad;
  const AttentionCall &call;
  int lane = kept(threadIdx.x % 32), warp = kept(threadIdx.x / 32);
  float sum[kTiles][8][4], bias[kTiles][8][4];
};

/// A block has parts of two tiles at most: its first, which another began, and its last.
template <class S, int kWidth>
__device__ inline float4 *partOfTile(const MmaGradCall &grad, int64_t block, bool begins) {
  constexpr int64_t kFours = BiasGrad<S, kWidth>::kSums * BiasGradSpace<S, kWidth>::kThreads / 4;
  return reinterpret_cast<float4 *>(grad.sums) + (2 * block + begins) * kFours;
}

template <class S, int kWidth>
__global__ void __launch_bounds__(BiasGradSpace<S, kWidth>::kThreads,
                                  BiasGradSpace<S, kWidth>::kBlocks)
    biasGradKernel(const __grid_constant__ MmaGradCall grad) {
  extern __shared__ __align__(16) std::byte memory[];
  auto &space = *reinterpret_cast<BiasGradSpace<S, kWidth> *>(memory);
  typename BiasGrad<S, kWidth>::Tiles tiles(grad.call, gridDim.x);
  BiasGrad<S, kWidth> one(grad);
  for (int64_t unit = tiles.partOf(blockIdx.x); unit < tiles.partOf(blockIdx.x + 1);) {
    int64_t tile = quotient(unit, tiles.batches), first = unit - tile * tiles.batches;
    int64_t end = smaller(tiles.batches, first + tiles.partOf(blockIdx.x + 1) - unit);
    __syncthreads(); // of the last tile's numbers
    if (threadIdx.x == 0) {
      space.isPart = end - first < tiles.batches, space.begins = first == 0;
      space.next = unit + end - first;
    }
    one.run(space, tiles.at(tile), static_cast<int>(first), static_cast<int>(end));
    one.store({space.head, space.query, space.key},
              space.isPart ? partOfTile<S, kWidth>(grad, blockIdx.x, space.begins) : nullptr);
    unit = space.next;
  }
}

/// A piece of the tiles that biasGradKernel left in parts.
template <class S, int kWidth>
__global__ void __launch_bounds__(BiasGradSpace<S, kWidth>::kThreads)
    joinKernel(const __grid_constant__ MmaGradCall grad) {
  constexpr int kPieces = BiasGrad<S, kWidth>::kSums / 4;
  constexpr int kThreads = BiasGradSpace<S, kWidth>::kThreads;
  typename BiasGrad<S, kWidth>::Tiles tiles(grad.call, grad.biasBlocks);
  int64_t tile = blockIdx.x / kPieces;
  int piece = blockIdx.x % kPieces;
  int64_t first = tiles.blockOf(tile * tiles.batches);
  int64_t last = tiles.blockOf((tile + 1) * tiles.batches - 1);
  if (first == last)
    return;
  float sum[4] = {};
  for (int64_t block = first; block <= last; ++block) {
    float4 four =
        partOfTile<S, kWidth>(grad, block, block == first)[piece * kThreads + threadIdx.x];
    sum[0] += four.x, sum[1] += four.y, sum[2] += four.z, sum[3] += four.w;
  }
  BiasGrad<S, kWidth>(grad).storePiece(tiles.at(tile), piece / 8, piece % 8, sum);
}

} // namespace evo::cuda
