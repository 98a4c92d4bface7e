//===- OuterMeanMma.cuh - outer product mean on tensor cores ----*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// The half types' outer product and its projection in one kernel: the outer product of a pair never
// leaves registers. A block of eight warps has 16 i x 16 j and all columns n of a tile of 128; a
// warp has 8 i x 4 j. It goes through chunks of 8 c x 8 d: sums over s of a chunk are products of
// rows (c, i) and columns (j, d), in which a lane holds for one i and j two neighbours of d. That
// is how the left factor of a tensor-core product has its rows (i, j) and depths (c, d), so the
// sums, rounded to the storage type, are at once multiplied by the weight's chunk.
//
// Before that, a, b and the weight are packed in scratch: in units of 16 bytes a lane, as lanes
// have factors, and in blocks of 16 KiB as the kernel reads them; what lies beyond the ends is 0.
// So operands may lie in any way.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/cuda/kernels/Mma.cuh"

namespace evo::cuda {

/// An operand [s, i, c] or, with s as rows of one i, the weight [n, c, d].
struct MeanSource {
  const std::byte *data;
  int64_t stride[3], extent[3];
};

struct MeanMmaCall {
  MeanSource source[3]; ///< a: s, i, c; b: s, j, d; weight: n, c, d
  uint4 *packed[3];
  int64_t blocks[3];             ///< of 16 KiB
  int cChunks, dChunks, sBlocks; ///< of 8, 8 and 64
  int lastDepths;                ///< 16 rows of s each, of the last block
  int64_t iTiles, jTiles, nTiles, i, j, n;
  const std::byte *bias, *rowScale, *residual;
  std::byte *y;
  int64_t biasStride, scaleStride[2], residualStride[3], yStride[3];
  bool scaleIsStatistic, fours;
  float factor;    ///< of outer products as they are rounded
  bool isResident; ///< blocks of a stay in shared memory while all d of a chunk are gone through
  int leftSlots;   ///< of blocks of a in shared memory; where they stay, of two chunks
};

inline constexpr int kMeanThreads = 256, kMeanPairs = 16, kMeanCols = 128;
inline constexpr int kMeanUnits = 1024; ///< of 16 bytes, in a block
inline constexpr int kMeanStages = 6, kMeanAhead = 4, kMeanLeft = 8, kMeanPitch = kMeanCols + 8;
inline constexpr int kMeanBytes = (kMeanStages + kMeanLeft) * kMeanUnits * 16;
static_assert(kMeanThreads / 32 * 32 * kMeanPitch * 4 <= kMeanBytes);

/// Steps along the axes of a source.
struct MeanStep {
  int x, y, z;
};

/// A lane's unit from x, y, z on: four pairs of elements, 0 beyond the ends. stepOf(r, h): to half
/// h of pair r.
template <class S, class StepOf>
__device__ inline uint4 gather(const MeanSource &m, int x, int y, int z, const StepOf &stepOf) {
  const S *from =
      reinterpret_cast<const S *>(m.data) + x * m.stride[0] + y * m.stride[1] + z * m.stride[2];
  uint32_t pairs[4];
#pragma unroll
  for (int r = 0; r < 4; ++r) {
    float half[2] = {};
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      MeanStep step = stepOf(r, h);
      if (x + step.x < m.extent[0] && y + step.y < m.extent[1] && z + step.z < m.extent[2])
        half[h] = widen(from[step.x * m.stride[0] + step.y * m.stride[1] + step.z * m.stride[2]]);
    }
    pairs[r] = packed<S>(half[0], half[1]);
  }
  return make_uint4(pairs[0], pairs[1], pairs[2], pairs[3]);
}

/// Four blocks of threads a block of units. Those of a are [tile of i][chunk of c][s block], each
/// [16 s][half][c pair]; of b [tile of j][chunk of d][s block], each [16 s][quarter][pair of j]; of
/// the weight [tile of n][chunk of c][chunk of d], each [c pair][pair of 8 n].
template <class S>
__global__ void __launch_bounds__(256) packMeanKernel(const __grid_constant__ MeanMmaCall call) {
  int block = blockIdx.x / 4, in = blockIdx.x % 4 * 256 + threadIdx.x, part = 0;
  for (; part < 2 && block >= call.blocks[part]; ++part)
    block -= static_cast<int>(call.blocks[part]);
  int g = in % 32 / 4, t = in % 4, inner = part == 2 ? call.dChunks : call.sBlocks;
  int middle = part == 1 ? call.dChunks : call.cChunks;
  int first = block / inner, last = block - first * inner, tile = first / middle;
  int chunk = first - tile * middle;
  const MeanSource &m = call.source[part];
  uint4 unit;
  if (part == 0)
    unit = gather<S>(m, last * 64 + in / 256 * 16 + 2 * t, tile * kMeanPairs + in / 128 % 2 * 8 + g,
                     chunk * 8 + in / 32 % 4 * 2, [](int r, int h) {
                       return MeanStep{r / 2 * 8 + h, 0, r % 2};
                     });
  else if (part == 1)
    unit = gather<S>(m, last * 64 + in / 256 * 16 + 2 * t, tile * kMeanPairs + in / 32 % 8 * 2,
                     chunk * 8 + g, [](int r, int h) {
                       return MeanStep{r % 2 * 8 + h, r / 2, 0};
                     });
  else
    unit = gather<S>(m, tile * kMeanCols + in / 32 % 8 * 16 + g, chunk * 8 + in / 256 * 2,
                     last * 8 + 2 * t, [](int r, int h) {
                       return MeanStep{r / 2 * 8, r % 2, h};
                     });
  call.packed[part][block * int64_t{kMeanUnits} + in] = unit;
}

/// The blocks that a thread block reads, one after the other: of each chunk those of s, then that
/// of the weight.
struct MeanFetch {
  const uint4 *left, *right, *weight;  ///< the next units of a thread
  const uint4 *leftStart, *rightStart; ///< of the present chunk of c, of all d
  uint4 *slots;                        ///< a thread's units of the first slot
  int row = 0, d = 0, chunk = 0;       ///< of the next block
  int slot = 0, stage = 0;             ///< of those for a; of the ring
  bool takesLeft = true;

  __device__ static void copy(uint4 *to, const uint4 *from) {
#pragma unroll
    for (int u = 0; u < kMeanUnits; u += kMeanThreads)
      copyAsync(to + u, from + u, true);
  }
  __device__ void next(const MeanMmaCall &call) {
    if (chunk < call.cChunks)
      begin(call);
    commitCopies(); // of a stage, even of nothing
  }

private:
  __device__ void begin(const MeanMmaCall &call) {
    uint4 *to = slots + (kMeanLeft + stage) * kMeanUnits;
    if (row < call.sBlocks) {
      copy(to, right);
      right += kMeanUnits, ++row;
      if (takesLeft) {
        copy(slots + slot * kMeanUnits, left);
        left += kMeanUnits, slot = slot + 1 == call.leftSlots ? 0 : slot + 1;
      }
    } else {
      copy(to, weight);
      weight += kMeanUnits, row = 0, ++d;
      if (d == call.dChunks)
        d = 0, ++chunk, right = rightStart, leftStart = left;
      else
        left = call.isResident ? left : leftStart;
      takesLeft = !call.isResident || d == 0;
    }
    stage = stage + 1 == kMeanStages ? 0 : stage + 1;
  }
};

__device__ inline void loadUnit(uint32_t (&x)[4], const uint4 *unit) {
  uint4 bits = *unit;
  x[0] = bits.x, x[1] = bits.y, x[2] = bits.z, x[3] = bits.w;
}

/// sum[c pair][j] += of 16 rows of s.
template <class S>
__device__ inline void addDepths(float (&sum)[4][4][4], const uint4 *left, const uint4 *right) {
  uint32_t a[4][4], b[2][4];
#pragma unroll
  for (int m = 0; m < 4; ++m)
    loadUnit(a[m], left + m * 32);
#pragma unroll
  for (int p = 0; p < 2; ++p)
    loadUnit(b[p], right + p * 32);
#pragma unroll
  for (int m = 0; m < 4; ++m)
#pragma unroll
    for (int p = 0; p < 2; ++p) {
      multiplyTiles<S>(sum[m][2 * p], a[m], b[p][0], b[p][1]);
      multiplyTiles<S>(sum[m][2 * p + 1], a[m], b[p][2], b[p][3]);
    }
}

/// y[pair of j][8 n] += the rounded sums times the weight's chunk.
template <class S>
__device__ inline void project(float (&y)[2][16][4], const float (&sum)[4][4][4],
                               const uint4 *weight, float factor) {
  uint32_t a[4][2][4];
#pragma unroll
  for (int m = 0; m < 4; ++m)
#pragma unroll
    for (int p = 0; p < 2; ++p)
#pragma unroll
      for (int r = 0; r < 4; ++r) {
        const float(&from)[4] = sum[m][2 * p + r % 2];
        float low = from[r / 2 * 2], high = from[r / 2 * 2 + 1];
        if constexpr (std::is_same_v<S, __half>) // else the factor is 1
          low *= factor, high *= factor;
        a[m][p][r] = packed<S>(low, high);
      }
#pragma unroll
  for (int m = 0; m < 4; ++m)
#pragma unroll
    for (int q = 0; q < 8; ++q) {
      uint32_t b[4];
      loadUnit(b, weight + (m * 8 + q) * 32);
#pragma unroll
      for (int p = 0; p < 2; ++p) {
        multiplyTiles<S>(y[p][2 * q], a[m][p], b[0], b[1]);
        multiplyTiles<S>(y[p][2 * q + 1], a[m][p], b[2], b[3]);
      }
    }
}

/// Where the rows of one j begin, of the first i.
struct MeanRows {
  int count; ///< of i, at most 8
  int64_t scale, residual, y;
};

/// Four columns a lane from `col` on: what is read beside the sums is asked for at once.
template <class S>
__device__ inline void storeFours(const MeanMmaCall &call, const float *sums, const MeanRows &rows,
                                  int64_t col, const float (&bias)[4]) {
  float scale[8], base[8][4] = {};
#pragma unroll
  for (int i = 0; i < 8; ++i)
    if (i < rows.count) {
      scale[i] =
          load<S>(call.rowScale, rows.scale + i * call.scaleStride[0], call.scaleIsStatistic);
      if (call.residual)
        load4<S>(call.residual, rows.residual + i * call.residualStride[0] + col, false, base[i]);
    }
#pragma unroll
  for (int i = 0; i < 8; ++i)
    if (i < rows.count) {
      float4 product = *reinterpret_cast<const float4 *>(sums + i * kMeanPitch);
      float value[4] = {product.x, product.y, product.z, product.w};
      for (int v = 0; v < 4; ++v)
        value[v] = fmaf(scale[i], value[v] + bias[v], base[i][v]);
      store4<S>(call.y, rows.y + i * call.yStride[0] + col, false, value);
    }
}

/// Bias, row scale and residual for a warp's pairs, whose products are in shared memory, a row each
/// of 8 i of one j after the other.
template <class S>
__device__ inline void storeMean(const MeanMmaCall &call, const float *sums, int64_t i0, int64_t j0,
                                 int64_t n0) {
  int lane = threadIdx.x % 32;
  int step = call.fours ? 1 : 32, first = call.fours ? lane * 4 : lane; // of a lane's columns
  float bias[4] = {};
  for (int v = 0; v < 4; ++v)
    if (n0 + first + v * step < call.n)
      bias[v] = load<S>(call.bias, (n0 + first + v * step) * call.biasStride);
  for (int part = 0; part < 4 && j0 + part < call.j; ++part) {
    auto at = [&](const int64_t *stride) { return i0 * stride[0] + (j0 + part) * stride[1]; };
    MeanRows rows{static_cast<int>(smaller(8, call.i - i0)), at(call.scaleStride),
                  at(call.residualStride), at(call.yStride)};
    const float *own = sums + part * 8 * kMeanPitch + first;
    if (call.fours) {
      if (n0 + first < call.n)
        storeFours<S>(call, own, rows, n0 + first, bias);
      continue;
    }
    for (int i = 0; i < rows.count; ++i) {
      float scale =
          load<S>(call.rowScale, rows.scale + i * call.scaleStride[0], call.scaleIsStatistic);
      for (int v = 0; v < 4; ++v) {
        int64_t n = n0 + first + v * step;
        if (n >= call.n)
          continue;
        int64_t residual = rows.residual + i * call.residualStride[0] + n * call.residualStride[2];
        float base = call.residual ? load<S>(call.residual, residual) : 0.0f;
        store<S>(call.y, rows.y + i * call.yStride[0] + n * call.yStride[2],
                 fmaf(scale, own[i * kMeanPitch + v * step] + bias[v], base));
      }
    }
  }
}

/// Asks for the block's residual, which is read when everything else is done.
template <class S>
__device__ inline void askForResidual(const MeanMmaCall &call, int64_t i0, int64_t j0, int64_t n0) {
  constexpr int kLines = kMeanPairs * kMeanPairs * 2; // of 64 columns
  for (int line = threadIdx.x; call.residual && call.fours && line < kLines; line += kMeanThreads) {
    int64_t i = i0 + line / 2 / kMeanPairs, j = j0 + line / 2 % kMeanPairs, n = n0 + line % 2 * 64;
    if (i < call.i && j < call.j && n < call.n)
      asm volatile("prefetch.global.L2 [%0];" ::"l"(
          call.residual + (i * call.residualStride[0] + j * call.residualStride[1] + n) * 2));
  }
}

template <class S>
__global__ void __launch_bounds__(kMeanThreads, 1)
    meanMmaKernel(const __grid_constant__ MeanMmaCall call) {
  extern __shared__ uint4 meanSpace[];
  int64_t nTile = blockIdx.x % call.nTiles, pair = blockIdx.x / call.nTiles;
  int64_t jTile = pair % call.jTiles, iTile = pair / call.jTiles;
  int warp = threadIdx.x / 32, lane = threadIdx.x % 32, half = warp / 4, quarter = warp % 4;
  MeanFetch fetch;
  int64_t cBlocks = call.cChunks, dBlocks = call.dChunks, sBlocks = call.sBlocks;
  fetch.left = call.packed[0] + iTile * cBlocks * sBlocks * kMeanUnits + threadIdx.x;
  fetch.right = call.packed[1] + jTile * dBlocks * sBlocks * kMeanUnits + threadIdx.x;
  fetch.weight = call.packed[2] + nTile * cBlocks * dBlocks * kMeanUnits + threadIdx.x;
  fetch.leftStart = fetch.left, fetch.rightStart = fetch.right;
  fetch.slots = meanSpace + threadIdx.x;
  for (int i = 0; i < kMeanAhead; ++i)
    fetch.next(call);
  askForResidual<S>(call, iTile * kMeanPairs, jTile * kMeanPairs, nTile * kMeanCols);
  float y[2][16][4] = {};
  int slot = 0, stage = 0;
  // Warps meet every other stage: then two are there, and all are done with those before, which
  // are what is copied to until they meet again.
  static_assert(kMeanStages % 2 == 0 && kMeanAhead + 2 <= kMeanStages);
  auto begin = [&] {
    if (stage % 2 == 0) {
      waitForCopies<kMeanAhead - 2>();
      __syncthreads();
    }
    const uint4 *own = meanSpace + (kMeanLeft + stage) * kMeanUnits + lane;
    stage = stage + 1 == kMeanStages ? 0 : stage + 1;
    return own;
  };
  for (int chunk = 0; chunk < call.cChunks; ++chunk) {
    int firstSlot = slot;
    for (int d = 0; d < call.dChunks; ++d) {
      float sum[4][4][4] = {};
      slot = call.isResident ? firstSlot : slot;
      for (int row = 0; row < call.sBlocks; ++row) {
        const uint4 *right = begin() + quarter * 64;
        const uint4 *left = meanSpace + slot * kMeanUnits + half * 128 + lane;
        slot = slot + 1 == call.leftSlots ? 0 : slot + 1;
        addDepths<S>(sum, left, right);
        fetch.next(call);
        if (row + 1 < call.sBlocks || call.lastDepths == 4) {
#pragma unroll
          for (int k = 1; k < 4; ++k)
            addDepths<S>(sum, left + k * 256, right + k * 256);
        } else {
#pragma unroll 1
          for (int k = 1; k < call.lastDepths; ++k)
            addDepths<S>(sum, left + k * 256, right + k * 256);
        }
      }
      const uint4 *weight = begin();
      fetch.next(call);
      project<S>(y, sum, weight, call.factor);
    }
  }
  waitForCopies<0>();
  __syncthreads(); // the space is free
  float *sums = reinterpret_cast<float *>(meanSpace) + warp * 32 * kMeanPitch;
  float unscaled = 1 / call.factor;
#pragma unroll
  for (int p = 0; p < 2; ++p)
#pragma unroll
    for (int q = 0; q < 16; ++q)
#pragma unroll
      for (int e = 0; e < 4; e += 2) {
        int row = (2 * p + e / 2) * 8 + lane / 4;
        *reinterpret_cast<float2 *>(sums + row * kMeanPitch + 8 * q + lane % 4 * 2) =
            std::is_same_v<S, __half>
                ? make_float2(unscaled * y[p][q][e], unscaled * y[p][q][e + 1])
                : make_float2(y[p][q][e], y[p][q][e + 1]);
      }
  __syncwarp();
  storeMean<S>(call, sums, iTile * kMeanPairs + half * 8, jTile * kMeanPairs + quarter * 4,
               nTile * kMeanCols);
}

} // namespace evo::cuda
