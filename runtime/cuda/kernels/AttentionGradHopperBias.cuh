//===- AttentionGradHopperBias.cuh - the pair bias' gradient ----*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// As AttentionGradBias.cuh: blocks have tiles of the pair bias with the sums of its gradient in
// registers and go through batches. Here four groups of four warps have 64 keys and 64 queries
// each, whose products p^T and dl^T have keys as rows and come from shared memory, 32 queries at a
// time, of batches that are copied as those before were used.
//
// A score takes a power of two, at 16 a cycle of a multiprocessor 0.06 cycles, and six instructions
// of 128 lanes, 0.05. The kernel takes 0.14 on an H100, as its four warps a scheduler wait.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/cuda/kernels/AttentionGradBias.cuh"
#include "runtime/cuda/kernels/AttentionGradHopperCall.cuh"
#include "runtime/cuda/kernels/Wgmma.cuh"

namespace evo::cuda {

template <class S, int kWidth> class HopperBiasGrad {
public:
  static constexpr int kThreads = 512, kRows = 128, kKeys = kGradKeys;
  static constexpr int kStages = 6, kAhead = kStages - 2; ///< batches that are copied ahead
  static constexpr int kCopies = 4; ///< query, dout, keys and numbers: one a group
  static constexpr int kSums = 32, kPieces = kSums / 4; ///< of a thread
  using Tiles = BiasTiles<kRows>;

  /// Chunks of 16 bytes lie permuted within rows.
  struct Batch {
    S query[kRows][kWidth], dout[kRows][kWidth], keys[kKeys][kWidth], values[kKeys][kWidth];
  };
  struct Memory {
    Batch batches[kStages];
    float numbers[kStages][3][kRows]; ///< starts, deltas and terms
    PhaseBarrier full[kStages], empty[kStages];
  };

  __device__ HopperBiasGrad(const MmaGradCall &grad, const HopperGradCall *hopper = nullptr)
      : grad(grad), call(grad.call), hopper(hopper) {}

  /// Sums of batches [first, end).
  __device__ void run(Memory &memory, const BiasTile &tile, int first, int end) {
    int same = __shfl_sync(0xffffffffu, group, 0); // which the compiler keeps as one of a warp
    Batch &one = memory.batches[0];
    keys = factorAt<kWidth>(one.keys[same % 2 * 64]);
    values = factorAt<kWidth>(one.values[same % 2 * 64]);
    query = factorAt<kWidth>(one.query[same / 2 * 64]);
    dout = factorAt<kWidth>(one.dout[same / 2 * 64]);
    if (threadIdx.x == 0) {
      for (int i = 0; i < kStages; ++i)
        memory.full[i].init(kCopies), memory.empty[i].init(kThreads);
      publishBarriers();
      for (int i = 0; i < kAhead && first + i < end; ++i)
        for (int one = 0; one < kCopies; ++one)
          copy(memory, i, tile, first + i, one);
    }
    loadBias(tile);
    __syncthreads();
    for (int i = 0; i < end - first; ++i) {
      int stage = i % kStages;
      memory.full[stage].wait(i / kStages);
      // The groups share the work, which keeps their other warps waiting.
      if (warp == 0 && lane == 0 && first + i + kAhead < end) {
        if (i > 1) // until all have used the last batch but one
          memory.empty[(i - 2) % kStages].wait((i - 2) / kStages);
        copy(memory, (i + kAhead) % kStages, tile, first + i + kAhead, group);
      }
      __syncwarp();
      addBatch(stage, memory.numbers[stage]);
      memory.empty[stage].arrive(); // each lane for what it has read (PhaseBarrier)
    }
  }

  /// dbias = accumulator + sum, of 16 keys and 8 queries.
  __device__ void storePiece(const BiasTile &tile, int piece, const float (&four)[4]) const {
    const HeadMatrix &base = call.accumulator, &out = call.dbias;
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      int64_t row = tile.query + queryOf(0) + piece * 8 + lane % 4 * 2 + e % 2;
      int64_t col = tile.key + keyOf() + lane / 4 + e / 2 * 8;
      if (row >= call.queries || col >= call.keys)
        continue;
      float value = four[e];
      if (base.data)
        value += at<float>(base, 0, tile.head)[row * base.row + col * base.col];
      const_cast<float *>(at<float>(out, 0, tile.head))[row * out.row + col * out.col] = value;
    }
  }
  /// Everything, to the gradient or as a part of it.
  __device__ void store(const BiasTile &tile, float4 *part) const {
#pragma unroll
    for (int j = 0; j < kPieces; ++j)
      if (part)
        part[j * kThreads + threadIdx.x] = make_float4(sum[j][0], sum[j][1], sum[j][2], sum[j][3]);
      else
        storePiece(tile, j, sum[j]);
  }
  /// Where a block leaves a part.
  __device__ float4 *partOf(int64_t block) const {
    return reinterpret_cast<float4 *>(grad.sums) + block * kPieces * kThreads;
  }

private:
  /// The warp's first key, and the group's first query of a half.
  __device__ int keyOf() const { return group % 2 * 64 + warp * 16; }
  __device__ int queryOf(int half) const { return group / 2 * 64 + half * 32; }

  /// Has one of what a batch needs copied.
  __device__ void copy(Memory &memory, int to, const BiasTile &tile, int b, int one) const {
    static_assert(kKeys == kKeyRows);
    Batch &batch = memory.batches[to];
    PhaseBarrier &full = memory.full[to];
    int h = tile.head, rows = static_cast<int>(smaller(kRows, grad.paddedQueries - tile.query));
    constexpr int kBytes = static_cast<int>(sizeof(batch.query));
    full.arriveExpecting(one < 2 ? kBytes : one == 2 ? 2 * kBytes : (2 * rows + kKeys) * 4);
    if (one == 0) {
      for (int row = 0; row < kRows; row += kQueryRows)
        copyBox(batch.query[row], hopper->query, full, 0, h, tile.query + row, b);
    } else if (one == 1) {
      for (int row = 0; row < kRows; row += kQueryRows)
        copyBox(batch.dout[row], hopper->dout, full, 0, h, tile.query + row, b);
    } else if (one == 2) {
      copyBox(batch.keys, hopper->key, full, 0, h, tile.key, b);
      copyBox(batch.values, hopper->value, full, 0, h, tile.key, b);
    } else {
      int64_t from = (b * call.heads + h) * grad.paddedQueries + tile.query;
      copyBytes(memory.numbers[to][0], grad.start + from, rows * 4, full);
      copyBytes(memory.numbers[to][1], grad.delta + from, rows * 4, full);
      copyBytes(memory.numbers[to][2], grad.terms + b * grad.paddedKeys + tile.key, kKeys * 4,
                full);
    }
  }

  /// The pair bias as packBias left it. What lies beyond the ends is not stored: any number does
  /// there.
  __device__ void loadBias(const BiasTile &tile) {
    int64_t qTiles = grad.paddedQueries / 16, kTiles = grad.paddedKeys / 16;
    int64_t row = tile.head * kTiles + (tile.key + keyOf()) / 16;
    int64_t col = (tile.query + queryOf(0)) / 16;
#pragma unroll
    for (int j = 0; j < kSums / 8; ++j)
      bias[j] = call.bias.data && col + j < qTiles ? grad.bias[(row * qTiles + col + j) * 32 + lane]
                                                   : uint4{};
#pragma unroll
    for (int j = 0; j < kSums / 4; ++j)
#pragma unroll
      for (int e = 0; e < 4; ++e)
        sum[j][e] = 0;
  }

  __device__ void addBatch(int batch, const float (&numbers)[3][kRows]) {
    float scale = call.scale * kLog2E;
    const float term[2] = {numbers[2][keyOf() + lane / 4], numbers[2][keyOf() + lane / 4 + 8]};
    bool masked = __any_sync(0xffffffffu, term[0] != 0 || term[1] != 0);
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      startProducts(batch, half);
      waitForProducts();
      holdSums(p), holdSums(dp);
      if (masked)
        addTerms(term);
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        int col = queryOf(half) + 8 * j + lane % 4 * 2;
        float2 start = *reinterpret_cast<const float2 *>(&numbers[0][col]);
        float2 delta = *reinterpret_cast<const float2 *>(&numbers[1][col]);
        const uint4 &four = bias[2 * half + j / 2];
        const uint32_t words[2] = {j % 2 ? four.z : four.x, j % 2 ? four.w : four.y};
#pragma unroll
        for (int row = 0; row < 2; ++row) {
          float2 pair = widenPair<S>(words[row]);
          const float *ofP = &p[j][2 * row], *ofDp = &dp[j][2 * row];
          float *to = &sum[4 * half + j][2 * row];
          float x = exp2Fast(fmaf(ofP[0], scale, fmaf(pair.x, kLog2E, start.x)));
          float y = exp2Fast(fmaf(ofP[1], scale, fmaf(pair.y, kLog2E, start.y)));
          to[0] = fmaf(x, ofDp[0] + delta.x, to[0]);
          to[1] = fmaf(y, ofDp[1] + delta.y, to[1]);
        }
      }
    }
  }

  /// Begins the products of 64 keys and 32 queries, and of values and dout.
  __device__ void startProducts(int batch, int half) {
    int first = batch * static_cast<int>(sizeof(Batch) / sizeof(S)), row = half * 32 * kWidth;
    beginProducts();
#pragma unroll
    for (int c = 0; c < kWidth; c += 16) {
      startSharedProduct<S, false>(p, further(keys, first + c), further(query, first + row + c),
                                   c > 0);
      startSharedProduct<S, false>(dp, further(values, first + c), further(dout, first + row + c),
                                   c > 0);
    }
    endProducts();
  }

  /// Keys without weight have no slope, whatever they and their values are.
  __device__ void addTerms(const float (&term)[2]) {
    float factor = 1 / (call.scale * kLog2E);
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      bool none = term[e / 2] == -INFINITY;
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        p[j][e] = none ? -INFINITY : fmaf(term[e / 2], factor, p[j][e]);
        dp[j][e] = none ? 0 : dp[j][e];
      }
    }
  }

  const MmaGradCall &grad;
  const AttentionCall &call;
  const HopperGradCall *hopper;
  int lane = threadIdx.x % 32, warp = threadIdx.x / 32 % 4;
  int group = threadIdx.x / 128;
  uint64_t keys, values, query, dout; ///< of the group, in the first batch's place
  float sum[kSums / 4][4];
  uint4 bias[kSums / 8];
  float p[4][4] = {}, dp[4][4] = {};
};

/// Blocks have tiles of a part of the batches before those of the next part, so that blocks that
/// run at once read the same batches, which then lie in the cache.
template <class S, int kWidth>
__global__ void __launch_bounds__(HopperBiasGrad<S, kWidth>::kThreads, 1)
    hopperBiasGradKernel(const __grid_constant__ HopperGradCall hopper) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  using Grad = HopperBiasGrad<S, kWidth>;
  extern __shared__ __align__(1024) unsigned char space[];
  const MmaGradCall &grad = hopper.grad;
  Grad one(grad, &hopper);
  typename Grad::Tiles tiles(grad.call);
  int64_t parts = grad.biasBlocks / tiles.all, part = blockIdx.x / tiles.all;
  BiasTile tile = tiles.at(blockIdx.x - part * tiles.all);
  one.run(*reinterpret_cast<typename Grad::Memory *>(space), tile,
          static_cast<int>(part * tiles.batches / parts),
          static_cast<int>((part + 1) * tiles.batches / parts));
  one.store(tile, parts > 1 ? one.partOf(blockIdx.x) : nullptr);
#endif
}

/// Adds the parts of a piece of a tile.
template <class S, int kWidth>
__global__ void __launch_bounds__(HopperBiasGrad<S, kWidth>::kThreads)
    addBiasPartsKernel(const __grid_constant__ MmaGradCall grad) {
  using Grad = HopperBiasGrad<S, kWidth>;
  Grad one(grad);
  typename Grad::Tiles tiles(grad.call);
  int64_t tile = blockIdx.x / Grad::kPieces;
  int piece = static_cast<int>(blockIdx.x % Grad::kPieces);
  float sum[4] = {};
  for (int64_t block = tile; block < grad.biasBlocks; block += tiles.all) {
    float4 four = one.partOf(block)[piece * Grad::kThreads + threadIdx.x];
    sum[0] += four.x, sum[1] += four.y, sum[2] += four.z, sum[3] += four.w;
  }
  one.storePiece(tiles.at(tile), piece, sum);
}

} // namespace evo::cuda
