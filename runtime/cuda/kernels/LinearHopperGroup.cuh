//===- LinearHopperGroup.cuh - linear layers by tiles on Hopper -*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// The half types' linear layers of many rows, finished with all that follows before they are
// rounded; their limit is memory. A block stays on its multiprocessor, keeps the weight of 128 or
// 64 columns in shared memory, and goes through tiles of 64 rows. Three groups of four warps take
// tiles in turn, so that one's products, another's finish and the copies of all are under way
// together; x comes, and what is read beside the sums, and y goes by copies of boxes that four
// warps more ask for. Blocks of the same rows and other columns run side by side and read x from
// the second-level cache. Of large tensors it reaches nine tenths of what copies do; a launch costs
// some 5 us beside, much of it to fetch code, so what tiles go through is kept short.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/cuda/kernels/DynamicShared.cuh"
#include "runtime/cuda/kernels/LinearHopperTiles.cuh"
#include "runtime/cuda/kernels/ProductMma.cuh"
#include "runtime/cuda/kernels/Wgmma.cuh"

namespace evo::cuda {

/// x sigmoid(gate), to a few units in the last place.
__device__ inline float gatedBy(float gate, float x) {
  return __fdividef(x, 1.0f + exp2Fast(-1.4426950408889634f * gate));
}

/// The larger of both; x where that is none.
__device__ inline float atLeast(float least, float x) {
  float y;
  asm("max.NaN.f32 %0, %1, %2;" : "=f"(y) : "f"(x), "f"(least));
  return y;
}

template <class S>
__device__ inline float2 loadPair(const std::byte *data, int64_t at, bool isStatistic) {
  if (isStatistic)
    return *reinterpret_cast<const float2 *>(data + at * 4);
  return unpacked<S>(*reinterpret_cast<const uint32_t *>(data + at * 2));
}

/// What a lane knows of its two rows of a tile. Scales are asked for before the products and are
/// not looked at before they are done.
struct LinearRows {
  uint32_t scaleBits[2] = {};
  int64_t dropout[2] = {};

  __device__ void find(const LinearHopperCall &call, int outer, int inner) {
    if (!call.rowScale && !call.dropout)
      return;
    int first = inner + static_cast<int>(threadIdx.x % 128 / 32 * 16 + threadIdx.x % 32 / 4);
    for (int i = 0; i < 2; ++i) {
      int64_t row = smaller(first + 8 * i, call.inner - 1);
      int64_t at = outer * call.scaleStride[0] + row * call.scaleStride[1];
      if (call.rowScale)
        scaleBits[i] = call.scaleIsStatistic
                           ? reinterpret_cast<const uint32_t *>(call.rowScale)[at]
                           : reinterpret_cast<const uint16_t *>(call.rowScale)[at];
      dropout[i] = outer * call.dropoutStride[0] + row * call.dropoutStride[1];
    }
  }
  template <class S> __device__ float scale(const LinearHopperCall &call, int i) const {
    if (!call.rowScale)
      return 1;
    return call.scaleIsStatistic ? __uint_as_float(scaleBits[i]) : unpacked<S>(scaleBits[i]).x;
  }
};

/// One group of four warps.
template <class S, int kCols, bool kIsTurned, bool kGated> class LinearGroup {
  using Space = LinearHopperSpace<kCols, kGated>;
  const LinearHopperCall &call;
  const Space &space;
  float sum[kCols / 8][4];

public:
  __device__ LinearGroup(const LinearHopperCall &call, const Space &space)
      : call(call), space(space) {}

  /// The products of the group's tile number `round`, whose depths begin at `place`; leaves it
  /// behind them. Groups wait for x in its order: a barrier tells a round from the one before only.
  __device__ void multiply(RingPlace &place, int group, int round) {
    auto &head = space.head();
    int before = 0;
    if (group > 0 || round > 0)
      head.turn[group].wait(group > 0 ? round : round - 1);
    for (int d = 0; d < call.depths; ++d) {
      if (round == 0)
        head.weight[d].wait(0);
      head.full[place.stage].wait(place.round);
      if (d + 1 == call.depths) // all lanes have seen their own turn's phase
        head.turn[(group + 1) % kHopperGroups].arriveAsWarp(threadIdx.x % 32);
      beginProducts();
      startDepths(space.stage(place.stage), space.weight(d), d > 0);
      endProducts();
      if (d > 0) {
        waitForProducts<1>();
        release(before);
      }
      before = place.stage;
      place.skip(1, call.stages);
    }
    waitForProducts();
    holdSums(sum);
    release(before);
  }

  /// Finishes sums in the group's tile, where the gate and residual are. What a call has decides
  /// once which code does: sums are many.
  __device__ void finish(unsigned char *tile, const LinearRows &rows, int n0) {
    if (call.dropout)
      finishAs<true, true, true, true>(tile, rows, n0);
    else if (call.hasGate)
      finishAs<true, true, true, false>(tile, rows, n0);
    else if (call.rowScale)
      finishAs<false, true, true, false>(tile, rows, n0);
    else if (call.hasResidual)
      finishAs<false, false, true, false>(tile, rows, n0);
    else
      finishAs<false, false, false, false>(tile, rows, n0);
  }

  /// Finishes sums of a gated pair, and turns them.
  __device__ void open(unsigned char *tile, const LinearRows &rows) {
    int lane = threadIdx.x % 32, chunk = threadIdx.x % 128 / 32 * 2 + lane / 8 % 2;
    int channel = lane / 16 * 8 + lane % 8;
    const float *bias = space.head().bias + lane % 4 * 2;
    const float scale[] = {rows.scale<S>(call, 0), rows.scale<S>(call, 1)};
#pragma unroll
    for (int q = 0; q < 4; ++q) {
      uint32_t y[4];
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        int j = 2 * q + i / 2, low = i % 2; // rows 8 low on
        float2 offset = *reinterpret_cast<const float2 *>(bias + 8 * j);
        float2 gate = *reinterpret_cast<const float2 *>(bias + 64 + 8 * j);
        float first = scale[low] * (sum[j][2 * low] + offset.x);
        float second = scale[low] * (sum[j][2 * low + 1] + offset.y);
        y[i] = packed<S>(gatedBy(sum[j + 8][2 * low] + gate.x, first),
                         gatedBy(sum[j + 8][2 * low + 1] + gate.y, second));
      }
      storeTransposed(tile + (16 * q + channel) * 128 + ((chunk ^ (channel & 7)) << 4), y);
    }
  }

private:
  /// Tells who copies to it that a warp has read a stage.
  __device__ void release(int stage) { space.head().empty[stage].arriveAsWarp(threadIdx.x % 32); }
  __device__ void startDepths(const unsigned char *x, const unsigned char *weight, bool add) {
#pragma unroll
    for (int k = 0; k < kHopperDepth; k += 16) {
      uint64_t factor =
          kIsTurned ? wideFactorAt(weight + k * 128, kHopperPiece) : wideFactorAt(weight + k * 2);
      startWideProduct<S, kIsTurned>(sum, wideFactorAt(x + k * 2), factor, add || k > 0);
    }
  }
  template <bool kGate, bool kScale, bool kResidual, bool kDropout>
  __device__ void finishAs(unsigned char *tile, const LinearRows &rows, int n0) {
    int lane = threadIdx.x % 32, row = threadIdx.x % 128 / 32 * 16 + lane % 16;
    const float *bias = space.head().bias + lane % 4 * 2;
    bool hasGate = kGate && (!kDropout || call.hasGate);
    const float scale[] = {rows.scale<S>(call, 0), rows.scale<S>(call, 1)};
    asm volatile("" ::: "memory"); // else all variants' loads are made before it is known which
#pragma unroll
    for (int q = 0; q < kCols / 16; ++q) {
      unsigned char *at =
          tile + q / 4 * kHopperPiece + row * 128 + (((q % 4 * 2 + lane / 16) ^ (row & 7)) << 4);
      uint32_t gate[4] = {}, residual[4] = {}, y[4];
      if (hasGate)
        loadMatrices(gate, at + Space::kTileBytes);
      if (kResidual && (!kScale || call.hasResidual))
        loadMatrices(residual, at);
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        int j = 2 * q + i / 2, low = i % 2; // rows 8 low on
        float2 value = biased(j, low, *reinterpret_cast<const float2 *>(bias + 8 * j));
        if (hasGate) {
          float2 opening = unpacked<S>(gate[i]);
          value = {gatedBy(opening.x, value.x), gatedBy(opening.y, value.y)};
        }
        if (kScale)
          value.x *= scale[low], value.y *= scale[low];
        if (int col = n0 + 8 * j; kDropout && col < call.n) {
          float2 kept = loadPair<S>(call.dropout, rows.dropout[low] + col + lane % 4 * 2,
                                    call.dropoutIsStatistic);
          value.x *= kept.x, value.y *= kept.y;
        }
        if (kResidual) {
          float2 beside = unpacked<S>(residual[i]);
          value.x += beside.x, value.y += beside.y;
        }
        y[i] = packed<S>(value.x, value.y);
      }
      storeMatrices(at, y);
    }
  }
  __device__ float2 biased(int j, int low, float2 bias) const {
    return {atLeast(call.least, fmaf(call.factor, sum[j][2 * low], bias.x)),
            atLeast(call.least, fmaf(call.factor, sum[j][2 * low + 1], bias.y))};
  }
};

/// By all groups, while the first copies are under way.
template <int kCols, bool kGated, class S>
__device__ void loadBias(const LinearHopperCall &call, float (&bias)[kCols], int n0) {
  constexpr int kThreads = 128 * kHopperGroups;
  for (int i = threadIdx.x; i < kCols; i += kThreads) {
    int pair = kGated && i >= 64, n = n0 + i - 64 * pair;
    bias[i] =
        call.bias[pair] && n < call.n ? load<S>(call.bias[pair], n * call.biasStride[pair]) : 0.0f;
  }
  asm volatile("bar.sync 1, %0;" ::"n"(kThreads) : "memory");
}

/// What a group does.
template <class S, int kCols, bool kIsTurned, bool kGated>
__device__ void computeTiles(const LinearHopperCall &call, const LinearTiles &tiles,
                             const LinearHopperSpace<kCols, kGated> &space, int group) {
  using Space = LinearHopperSpace<kCols, kGated>;
  auto &head = space.head();
  LinearGroup<S, kCols, kIsTurned, kGated> worker(call, space);
  loadBias<kCols, kGated, S>(call, head.bias, tiles.slice * Space::kTileCols);
  RingPlace place;
  place.skip(group * call.depths, call.stages);
  for (int i = group, round = 0; i < tiles.count; i += kHopperGroups, ++round) {
    int outer, inner;
    tiles.locate(call, i, outer, inner);
    LinearRows rows;
    rows.find(call, outer, inner);
    worker.multiply(place, group, round);
    place.skip((kHopperGroups - 1) * call.depths, call.stages);
    head.beside[group].wait(round);
    if constexpr (kGated)
      worker.open(space.tile(group), rows);
    else
      worker.finish(space.tile(group), rows, tiles.slice * kCols);
    publishToCopies();
    head.finished[group].arriveAsWarp(threadIdx.x % 32);
  }
}

template <class S, int kCols, bool kIsTurned, bool kGated>
__global__ void __launch_bounds__(kHopperThreads, 1)
    linearHopperKernel(const __grid_constant__ LinearHopperCall call) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  extern __shared__ __align__(1024) unsigned char linearHopperSpace[];
  LinearHopperSpace<kCols, kGated> space{linearHopperSpace, call.depths, call.hasGate};
  LinearTiles tiles(call);
  auto &head = space.head();
  if (int i = threadIdx.x; i < 32) {
    if (i < call.stages)
      head.full[i].init(1), head.empty[i].init(4);
    if (i < call.depths)
      head.weight[i].init(1);
    if (i < kHopperGroups)
      head.turn[i].init(4), head.beside[i].init(1), head.finished[i].init(4);
    publishBarriers();
  }
  __syncthreads();
  int group = threadIdx.x / 128, helper = threadIdx.x / 32 - 4 * kHopperGroups;
  if (group < kHopperGroups)
    computeTiles<S, kCols, kIsTurned, kGated>(call, tiles, space, group);
  else if (threadIdx.x % 32 == 0 && helper == kHopperGroups)
    copyFactors<kCols, kIsTurned, kGated>(call, tiles, space);
  else if (threadIdx.x % 32 == 0)
    copyTiles(call, tiles, space, helper);
#endif
}

/// Rows (outer, inner) of 64 columns and 64 rows at a time.
template <class S>
bool describeRows(const Context &context, CUtensorMap &map, const void *data, int64_t columns,
                  const MmaAxis &rows) {
  TensorOfBoxes<S, 3> tensor{data,
                             {columns, rows.inner, rows.extent / rows.inner},
                             {rows.innerStride, rows.outerStride},
                             {64, kHopperRows, 1}};
  return tensor.describe(context, map, CU_TENSOR_MAP_SWIZZLE_128B);
}

/// A weight of n rows of k, of which one or, turned, the other lies together.
template <class S>
bool describeWeight(const Context &context, CUtensorMap &map, const void *data, int64_t n,
                    int64_t k, int64_t stride, bool isTurned) {
  TensorOfBoxes<S, 3> tensor{
      data, {isTurned ? n : k, isTurned ? k : n, 1}, {stride, 0}, {64, 64, 1}};
  return tensor.describe(context, map, CU_TENSOR_MAP_SWIZZLE_128B);
}

/// Divides the work, where tiles of 64 rows are mostly of rows and all is counted in 32 bits.
inline bool divideTiles(LinearHopperCall &call, int64_t n, int64_t k, const MmaAxis &rows,
                        int64_t columns) {
  constexpr int64_t kMost = int64_t{1} << 30;
  RowTiles tiles;
  if (n > kMost || k > kMostHopperDepths * kHopperDepth ||
      !tiles.cut(rows.extent / rows.inner, rows.inner, kHopperRows))
    return false;
  call.inner = rows.inner, call.innerTiles = tiles.ofInner;
  call.tiles = tiles.all, call.n = static_cast<int>(n);
  call.slices = static_cast<int>(ceilDiv(n, columns));
  call.depths = static_cast<int>(ceilDiv(k, kHopperDepth));
  return true;
}

/// Launches the kernel where shared memory has room for the weight and some of x.
template <class S, int kCols, bool kIsTurned, bool kGated>
Status launchHopperTiles(const Launch &launch, LinearHopperCall &call, bool &launched) {
  constexpr int kMostBytes = 227 << 10, kFewestStages = 4;
  int fixed = LinearHopperSpace<kCols, kGated>::fixedBytes(call.depths, call.hasGate);
  call.stages = std::min(kMostHopperStages, (kMostBytes - fixed) / kHopperPiece);
  int bytes = fixed + call.stages * kHopperPiece;
  auto *kernel = linearHopperKernel<S, kCols, kIsTurned, kGated>;
  if (call.stages < kFewestStages || call.slices > launch.context->processors ||
      !admitsShared(kernel, bytes))
    return {};
  int stripes = std::min(call.tiles, launch.context->processors / call.slices);
  kernel<<<gridOf(int64_t{stripes} * call.slices), kHopperThreads, bytes, launch.context->stream>>>(
      call);
  launched = true;
  return statusOf(cudaGetLastError(), "the launch of a linear layer on Hopper");
}

} // namespace evo::cuda
