//===- OuterHopper.cuh - tiles of outer products on Hopper ------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// What a block of OuterHopper.cu does. It has tiles of 128 rows and 256 columns: two groups of four
// warps have 64 rows each in registers, and a thread more has the factors copied to a ring in
// shared memory, 64 depths at a time, from one tile to the next without a pause.
//
// Factors are copied as boxes of lines of 16, 32 or 64 elements, those of a c or d: [s, i, c] and
// [i, j, (c, d)] are read where they lie.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/cuda/kernels/OuterHopper.h"
#include "runtime/cuda/kernels/Places.h"
#include "runtime/cuda/kernels/Tma.cuh"
#include "runtime/cuda/kernels/WgmmaWide.cuh"

namespace evo::cuda {

struct OuterHopperCall {
  OuterMmaCall product; ///< `sums`: [part][tile of the rest][128][256]
  CUtensorMap left, right, out;
  int c, d;                    ///< 16, 32 or 64
  int mTiles, nTiles, steps;   ///< of 64 depths
  int whole, rest;             ///< tiles of one block each, and those of which blocks have parts
  int parts, partSteps, units; ///< parts of a tile of the rest; tiles and parts in all
};

inline constexpr int kWideRows = 128, kWideCols = 256, kWideStages = 4;
inline constexpr int kWideGroup = 128, kWideGroups = 2, kWideThreads = kWideGroup * 3;
inline constexpr int kWideRegisters = 240, kFewRegisters = 24, kStoreCols = 64;
inline constexpr int kTilesTogether = 16; ///< of rows, whose blocks run at the same time

template <class S> struct WideStage {
  S left[kWideRows * kWideDepth], right[kWideCols * kWideDepth];
};
template <class S> struct WideMemory {
  WideStage<S> stages[kWideStages];
  S out[kWideGroups][2][64 * kStoreCols]; ///< on their way to memory
  PhaseBarrier full[kWideStages], empty[kWideStages];
};

/// A tile, or a part of its depths.
struct WideUnit {
  int m0, n0, first, end; ///< of steps
  int part = -1;          ///< of the sums that are added later

  __device__ WideUnit(const OuterHopperCall &call, int index) {
    int tile = index;
    first = 0, end = call.steps;
    if (index >= call.whole) {
      int over = (index - call.whole) / call.rest;
      tile = index - over * call.rest;
      if (call.parts > 1) {
        part = index - call.whole;
        first = over * call.partSteps, end = min(first + call.partSteps, call.steps);
      }
    }
    int m, n;
    locateInBands(tile, call.mTiles, call.nTiles, kTilesTogether, m, n);
    m0 = m * kWideRows, n0 = n * kWideCols;
  }
};

template <class S, OuterKind kKind> struct OuterBlock {
  static constexpr bool kLeftAcross = kKind == OuterKind::Product;
  static constexpr bool kRightAcross = kKind != OuterKind::LeftGrad;
  static constexpr int kStageBytes = sizeof(WideStage<S>);
  using Memory = WideMemory<S>;

  const OuterHopperCall &call;
  Memory &memory;
  RingPlace place;

  __device__ OuterBlock(const OuterHopperCall &call, Memory &memory) : call(call), memory(memory) {}

  /// Has all tiles copied as stages become free; of a thread.
  __device__ void fetch() {
    for (int index = blockIdx.x; index < call.units; index += gridDim.x) {
      WideUnit unit(call, index);
      for (int step = unit.first; step < unit.end; ++step) {
        if (place.round > 0)
          memory.empty[place.stage].wait(place.round - 1);
        PhaseBarrier &full = memory.full[place.stage];
        full.arriveExpecting(kStageBytes);
        copy(memory.stages[place.stage], full, unit, step * kWideDepth);
        place.advance(kWideStages);
      }
    }
  }
  /// Multiplies what is copied and stores it; of the groups.
  __device__ void multiply() {
    int group = threadIdx.x / kWideGroup;
    float sum[32][4];
    for (int index = blockIdx.x; index < call.units; index += gridDim.x) {
      WideUnit unit(call, index);
      addSteps(sum, group, unit.end - unit.first);
      if constexpr (kKind == OuterKind::Product)
        storeProduct(sum, group, unit);
      else if (unit.part < 0)
        storeGrad(sum, group, unit);
      else
        storePart(sum, group, unit.part);
    }
    if (threadIdx.x % kWideGroup == 0)
      waitForStoredReads<0>();
  }

private:
  /// The box of a stage. Axes of the factors: (c, s, i, 1) and (d, s, j, 1), of the outer product
  /// (d, c, i, j).
  __device__ void copy(WideStage<S> &stage, PhaseBarrier &full, const WideUnit &unit, int k) {
    int c = call.c, d = call.d;
    if constexpr (kKind == OuterKind::Product) {
      copyBox(stage.left, call.left, full, 0, k, unit.m0 / c, 0);
      copyBox(stage.right, call.right, full, 0, k, unit.n0 / d, 0);
    } else if constexpr (kKind == OuterKind::LeftGrad) {
      copyBox(stage.left, call.left, full, 0, unit.m0, k / d, 0);
      copyBox(stage.right, call.right, full, 0, 0, unit.n0 / c, k / d);
    } else {
      copyBox(stage.left, call.left, full, 0, unit.m0, k / c, 0);
      copyBox(stage.right, call.right, full, 0, 0, k / c, unit.n0 / d);
    }
  }

  __device__ void addSteps(float (&sum)[32][4], int group, int steps) {
    WideFactor<kLeftAcross, kWideRows> left(kKind == OuterKind::LeftGrad ? call.d : call.c);
    WideFactor<kRightAcross, kWideCols> right(call.d);
    PhaseBarrier *used = nullptr;
    for (int step = 0; step < steps; ++step) {
      WideStage<S> &stage = memory.stages[place.stage];
      memory.full[place.stage].wait(place.round);
      uint64_t leftAt = left.at(stage.left, group * 64), rightAt = right.at(stage.right, 0);
      beginProducts();
#pragma unroll
      for (int k = 0; k < 4; ++k)
        startWideProduct<S, kLeftAcross, kRightAcross>(sum, leftAt + left.depth[k],
                                                       rightAt + right.depth[k], step > 0 || k > 0);
      endProducts();
      waitForProducts<1>(); // the last step's
      release(used);
      used = &memory.empty[place.stage];
      place.advance(kWideStages);
    }
    waitForProducts();
    holdSums(sum);
    release(used);
  }
  __device__ static void release(PhaseBarrier *used) {
    if (used && threadIdx.x % 32 == 0)
      used->arrive();
  }

  /// Rounds a group's sums, 64 columns at a time, and has them stored as boxes of (d, c, j, i).
  __device__ void storeProduct(const float (&sum)[32][4], int group, const WideUnit &unit) {
    int lane = threadIdx.x % 32, c = call.c, d = call.d, across = kStoreCols / d;
    int row = threadIdx.x % kWideGroup / 32 * 16 + lane % 16, i = row / c, inC = row - i * c;
    int perJ = __ffs(d) - 1; // of two
    bool isFirst = threadIdx.x % kWideGroup == 0;
    float factor = call.product.factor;
#pragma unroll
    for (int pass = 0; pass < kWideCols / kStoreCols; ++pass) {
      S *out = memory.out[group][pass % 2];
      if (isFirst)
        waitForStoredReads<1>();
      meet(group);
#pragma unroll
      for (int pair = 0; pair < kStoreCols / 16; ++pair) {
        const float(&low)[4] = sum[pass * 8 + pair * 2], (&high)[4] = sum[pass * 8 + pair * 2 + 1];
        const uint32_t x[4] = {packed<S>(factor * low[0], factor * low[1]),
                               packed<S>(factor * low[2], factor * low[3]),
                               packed<S>(factor * high[0], factor * high[1]),
                               packed<S>(factor * high[2], factor * high[3])};
        int n = pair * 16 + lane / 16 * 8, j = n >> perJ, line = (i * across + j) * c + inC;
        int unitOf = (n - j * d) / 8 ^ (line * d / 64 & (d / 8 - 1));
        storeMatrices(out + line * d + unitOf * 8, x);
      }
      publishToCopies();
      meet(group);
      if (isFirst) {
        storeBox(call.out, out, 0, 0, (unit.n0 + pass * kStoreCols) / d,
                 (unit.m0 + group * 64) / c);
        commitStores();
      }
    }
  }
  __device__ static void meet(int group) {
    asm volatile("bar.sync %0, %1;" ::"r"(1 + group), "n"(kWideGroup) : "memory");
  }

  __device__ void storePart(const float (&sum)[32][4], int group, int part) {
    int lane = threadIdx.x % 32, row = group * 64 + threadIdx.x % kWideGroup / 32 * 16 + lane / 4;
    float *sums = call.product.sums + (int64_t{part} * kWideRows + row) * kWideCols + lane % 4 * 2;
#pragma unroll
    for (int half = 0; half < 2; ++half)
#pragma unroll
      for (int j = 0; j < 32; ++j)
        *reinterpret_cast<float2 *>(sums + half * 8 * kWideCols + 8 * j) =
            make_float2(sum[j][2 * half], sum[j][2 * half + 1]);
  }
  /// Brings a group's sums to shared memory, 64 columns at a time, from where each thread finishes
  /// eight of some rows. Four neighbours lie permuted in a row, by its number.
  __device__ void storeGrad(const float (&sum)[32][4], int group, const WideUnit &unit) {
    const OuterMmaCall &to = call.product;
    int64_t rows = to.a.across.extent, cols = to.b.across.extent;
    int thread = threadIdx.x % kWideGroup, lane = threadIdx.x % 32;
    auto *space = reinterpret_cast<float *>(memory.out[group]);
    auto place = [&](int row, int col) { return space + row * kStoreCols + (col ^ (row & 7) * 4); };
#pragma unroll
    for (int pass = 0; pass < kWideCols / kStoreCols; ++pass) {
      meet(group);
#pragma unroll
      for (int j = 0; j < 8; ++j)
#pragma unroll
        for (int half = 0; half < 2; ++half)
          *reinterpret_cast<float2 *>(
              place(thread / 32 * 16 + lane / 4 + 8 * half, 8 * j + lane % 4 * 2)) =
              make_float2(sum[pass * 8 + j][2 * half], sum[pass * 8 + j][2 * half + 1]);
      meet(group);
      int col = thread % 8 * 8;
      int64_t n = unit.n0 + pass * kStoreCols + col;
      if (n >= cols)
        continue;
      int64_t at = to.cols[0].offsetOf(n), addendAt = to.addend ? to.cols[1].offsetOf(n) : 0;
#pragma unroll 1
      for (int row = thread / 8; row < 64; row += kWideGroup / 8) {
        int64_t m = unit.m0 + group * 64 + row;
        if (m >= rows)
          break;
        float4 low = *reinterpret_cast<float4 *>(place(row, col));
        float4 high = *reinterpret_cast<float4 *>(place(row, col + 4));
        float x[8] = {low.x, low.y, low.z, low.w, high.x, high.y, high.z, high.w};
        storeUnit<S>(to, to.rows[0].offsetOf(m) + at,
                     to.addend ? to.rows[1].offsetOf(m) + addendAt : 0, x);
      }
    }
  }
};

template <class S, OuterKind kKind>
__global__ void __launch_bounds__(kWideThreads, 1)
    outerHopperKernel(const __grid_constant__ OuterHopperCall call) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  extern __shared__ __align__(1024) unsigned char space[];
  auto &memory = *reinterpret_cast<WideMemory<S> *>(space);
  if (threadIdx.x == 0) {
    for (int i = 0; i < kWideStages; ++i)
      memory.full[i].init(1), memory.empty[i].init(4 * kWideGroups);
    publishBarriers();
  }
  __syncthreads();
  OuterBlock<S, kKind> block(call, memory);
  if (threadIdx.x >= kWideGroup * kWideGroups) {
    releaseRegisters<kFewRegisters>();
    if (threadIdx.x == kWideGroup * kWideGroups)
      block.fetch();
  } else {
    takeRegisters<kWideRegisters>();
    block.multiply();
  }
#endif
}

/// Adds the parts of the rest's tiles: eight columns a thread.
template <class S>
__global__ void __launch_bounds__(256)
    addTilesKernel(const __grid_constant__ OuterHopperCall call) {
  constexpr int kUnits = kWideCols / 8;
  int e = blockIdx.x * 256 + threadIdx.x, tile = e / (kWideRows * kUnits);
  int row = e / kUnits % kWideRows, n = e % kUnits * 8;
  WideUnit unit(call, call.whole + tile);
  const OuterMmaCall &to = call.product;
  int64_t m = unit.m0 + row, col = unit.n0 + n;
  if (m >= to.a.across.extent || col >= to.b.across.extent)
    return;
  float x[8] = {}, y[8];
  const float *sums = to.sums + (int64_t{tile} * kWideRows + row) * kWideCols + n;
  for (int part = 0; part < call.parts; ++part) {
    load8(y, sums + int64_t{part} * call.rest * kWideRows * kWideCols);
#pragma unroll
    for (int i = 0; i < 8; ++i)
      x[i] += y[i];
  }
  storeUnit<S>(to, to.rows[0].offsetOf(m) + to.cols[0].offsetOf(col),
               to.rows[1].offsetOf(m) + to.cols[1].offsetOf(col), x);
}

} // namespace evo::cuda
