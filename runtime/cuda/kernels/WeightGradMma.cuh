//===- WeightGradMma.cuh - weights' gradients of strided rows ---*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// The half types' `weight_grad` where the rows of du and x are two axes that do not join, as where
// one of them is transposed: the library would have to be given copies. A block computes 128 x 128
// of a weight from a stretch of the rows, three pieces of 32 of which are on their way at a time,
// and leaves its fp32 sums in a slot of the scratch (WeightGradSlots.cuh).
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/cuda/kernels/DynamicShared.cuh"
#include "runtime/cuda/kernels/Mma.cuh"
#include "runtime/cuda/kernels/WeightGradNarrow.cuh"

namespace evo::cuda {

struct WeightMmaCall {
  enum { Du, X, kOperands };
  AxisSpace<kOperands> rows; ///< of two axes
  int64_t rowCount, cols[kOperands], colTiles[kOperands];
  int64_t stretches, stretch; ///< rows of a block, a multiple of kWeightDepth
  const std::byte *data[kOperands];
  float *slots; ///< [stretches][cols of du][cols of x]
};

inline constexpr int kWeightThreads = 256, kWeightTile = 128, kWeightDepth = 32, kWeightStages = 4;
inline constexpr int64_t kMostWeightRows = int64_t{1} << 35; ///< whose pieces fit 32 bits

template <class S> struct WeightStage {
  S part[WeightMmaCall::kOperands][kWeightDepth][kWeightTile + 8];
};

/// A thread's place: every sixteenth row, eight columns. It steps through the rows without
/// divisions.
template <class S> struct WeightFetch {
  int64_t row, end, inner[2];
  int64_t at[2][2]; ///< by which of the thread's rows, and operand
  int slot, col;
  bool hasCol[2];

  __device__ WeightFetch(const WeightMmaCall &call, int64_t first, int64_t end,
                         const int64_t (&col0)[2])
      : row(first + threadIdx.x / 16), end(end), slot(threadIdx.x / 16), col(threadIdx.x % 16 * 8) {
    for (int o = 0; o < 2; ++o)
      hasCol[o] = col0[o] + col < call.cols[o];
    for (int i = 0; i < 2; ++i) {
      int64_t index = row + 16 * i, outer = quotient(index, call.rows.extent[1]);
      inner[i] = index - outer * call.rows.extent[1];
      for (int o = 0; o < 2; ++o)
        at[i][o] =
            outer * call.rows.stride[o][0] + inner[i] * call.rows.stride[o][1] + col0[o] + col;
    }
  }
  /// Begins to copy the next piece.
  __device__ void copy(WeightStage<S> &stage, const WeightMmaCall &call) {
    for (int i = 0; i < 2; ++i) {
      for (int o = 0; o < 2; ++o) {
        bool inside = row + 16 * i < end && hasCol[o];
        const S *from = reinterpret_cast<const S *>(call.data[o]);
        copyAsync(&stage.part[o][slot + 16 * i][col], from + (inside ? at[i][o] : 0), inside);
        at[i][o] += kWeightDepth * call.rows.stride[o][1];
      }
      inner[i] += kWeightDepth;
      for (; inner[i] >= call.rows.extent[1]; inner[i] -= call.rows.extent[1])
        for (int o = 0; o < 2; ++o)
          at[i][o] += call.rows.stride[o][0] - call.rows.extent[1] * call.rows.stride[o][1];
    }
    row += kWeightDepth;
  }
};

/// A warp's 32 columns of du by 64 of x.
template <class S>
__device__ inline void multiplyPiece(float (&sum)[2][8][4], const WeightStage<S> &stage) {
  int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const auto &du = stage.part[WeightMmaCall::Du], &x = stage.part[WeightMmaCall::X];
#pragma unroll
  for (int k = 0; k < kWeightDepth; k += 16) {
    uint32_t a[2][4], b[4];
    for (int m = 0; m < 2; ++m)
      loadTransposed(a[m],
                     &du[k + lane / 16 * 8 + lane % 8][warp / 2 * 32 + 16 * m + lane / 8 % 2 * 8]);
#pragma unroll
    for (int p = 0; p < 4; ++p) {
      loadTransposed(b,
                     &x[k + lane / 8 % 2 * 8 + lane % 8][warp % 2 * 64 + 16 * p + lane / 16 * 8]);
      for (int m = 0; m < 2; ++m) {
        multiplyTiles<S>(sum[m][2 * p], a[m], b[0], b[1]);
        multiplyTiles<S>(sum[m][2 * p + 1], a[m], b[2], b[3]);
      }
    }
  }
}

template <class S>
__global__ void __launch_bounds__(kWeightThreads, 2)
    weightMmaKernel(const __grid_constant__ WeightMmaCall call) {
  extern __shared__ __align__(16) std::byte memory[];
  auto *stages = reinterpret_cast<WeightStage<S> *>(memory);
  int64_t tiles = call.colTiles[0] * call.colTiles[1], stretch = blockIdx.x / tiles;
  int64_t tile = blockIdx.x - stretch * tiles, tileN = tile / call.colTiles[1];
  int64_t col0[] = {tileN * kWeightTile, (tile - tileN * call.colTiles[1]) * kWeightTile};
  int64_t first = stretch * call.stretch, end = smaller(first + call.stretch, call.rowCount);
  int pieces = static_cast<int>(ceilDiv(end - first, kWeightDepth));
  WeightFetch<S> fetch(call, first, end, col0);
  for (int i = 0; i < kWeightStages - 1; ++i) {
    if (i < pieces)
      fetch.copy(stages[i], call);
    commitCopies();
  }
  float sum[2][8][4] = {};
  for (int i = 0; i < pieces; ++i) {
    waitForCopies<kWeightStages - 2>();
    __syncthreads(); // all have the piece, and are done with the one before
    if (i + kWeightStages - 1 < pieces)
      fetch.copy(stages[(i + kWeightStages - 1) % kWeightStages], call);
    commitCopies();
    multiplyPiece<S>(sum, stages[i % kWeightStages]);
  }
  int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  for (int m = 0; m < 2; ++m)
    for (int j = 0; j < 8; ++j)
      for (int e = 0; e < 4; e += 2) {
        int64_t n = col0[0] + warp / 2 * 32 + 16 * m + lane / 4 + 4 * e;
        int64_t k = col0[1] + warp % 2 * 64 + 8 * j + lane % 4 * 2;
        if (n < call.cols[0] && k < call.cols[1])
          *reinterpret_cast<float2 *>(
              &call.slots[(stretch * call.cols[0] + n) * call.cols[1] + k]) =
              make_float2(sum[m][j][e], sum[m][j][e + 1]);
      }
}

/// du, x, accumulator, dweight. False: the library takes the operands as they lie, or they do not
/// lie as the kernel reads them.
template <class S> bool describeWeight(WeightMmaCall &call, const Launch &launch) {
  const Operand *o = launch.operands, &dweight = o[3];
  int leading = o[0].rank - 1;
  for (int d = 0; d < leading; ++d) {
    for (int i : {0, 1})
      call.rows.stride[i][d] = o[i].strides[d];
    call.rows.push(o[0].shape[d]);
  }
  call.rows.merge();
  call.rowCount = call.rows.count();
  bool fits = call.rows.rank == 2 && call.rowCount >= 1024 && call.rowCount <= kMostWeightRows;
  for (int i : {0, 1}) {
    call.data[i] = o[i].data, call.cols[i] = dweight.shape[i];
    call.colTiles[i] = ceilDiv(call.cols[i], kWeightTile);
    fits &= o[i].strides[leading] == 1 && call.cols[i] >= 32 && call.cols[i] % 8 == 0 &&
            reinterpret_cast<uint64_t>(o[i].data) % 16 == 0;
    for (int d = 0; d < call.rows.rank; ++d)
      fits &= call.rows.stride[i][d] % 8 == 0;
  }
  if (!fits)
    return false;
  int64_t tiles = call.colTiles[0] * call.colTiles[1], size = call.cols[0] * call.cols[1];
  int64_t most = smaller(kScratchBytes / 4 / size, ceilDiv(call.rowCount, 8 * kWeightDepth));
  int64_t wanted = larger(1, 2 * launch.context->processors / tiles);
  call.stretch = ceilDiv(ceilDiv(call.rowCount, larger(1, smaller(wanted, most))), kWeightDepth) *
                 kWeightDepth;
  call.stretches = ceilDiv(call.rowCount, call.stretch);
  call.slots = elements<float>(launch.context->scratch);
  return most >= 1;
}

/// `done` stays false on devices whose blocks have too little shared memory.
template <class S>
Status launchWeightMma(const Launch &launch, const WeightMmaCall &call, bool &done) {
  constexpr int kBytes = kWeightStages * sizeof(WeightStage<S>);
  done = admitsShared(weightMmaKernel<S>, kBytes);
  if (!done)
    return {};
  weightMmaKernel<S><<<gridOf(call.stretches * call.colTiles[0] * call.colTiles[1]), kWeightThreads,
                       kBytes, launch.context->stream>>>(call);
  EVO_TRY(statusOf(cudaGetLastError(), "the launch of a weight's gradient on tensor cores"));
  return sumDenseSlots(launch, call.slots, call.stretches);
}

} // namespace evo::cuda
