//===- OuterMeanHopper.cu - outer product mean on Hopper --------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// The half types' outer product and its projection in one kernel, as OuterMeanMma.cuh has it, of 32
// d, an even number of c and up to 512 s. A block has 64 i x 4 j and 128 columns n; two groups of
// four warps have 32 i each, a warp 8. For two c at a time a group multiplies rows (i, c), 8 i of
// one c after those of the other, by columns (j, d). So a lane has sums of one i, and its sums of
// two j, rounded, are rows (i, j) of a left factor with depths d, which it multiplies by the
// weight's lines where they lie. b stays in shared memory; a, packed in that order of rows before,
// and the weight come through a ring. The limit is the tensor cores'.
//===----------------------------------------------------------------------===//
#include "runtime/cuda/kernels/OuterMeanHopper.h"

#include "runtime/cuda/kernels/DynamicShared.cuh"
#include "runtime/cuda/kernels/Tma.cuh"
#include "runtime/cuda/kernels/WgmmaWide.cuh"

namespace evo::cuda {

namespace {

constexpr int kGroup = 128, kGroups = 2, kThreads = kGroup * (kGroups + 1);
constexpr int kTileI = 64, kTileJ = 4, kWidth = 32; ///< of a block; of d
constexpr int kRegisters = 240, kFewRegisters = 24;
/// Stages have 64 s of a's rows of two c, or the weight's lines of them; b takes as much as a stage
/// for each 64 s.
constexpr int kStageBytes = 16384, kRoom = 14, kMostStages = 12, kMostDepths = 8;
constexpr int kSumBytes = kGroups * 4 * 32 * kMeanPitch * 4;

struct MeanHopperCall {
  MeanMmaCall mean;
  CUtensorMap right, weight;
  const std::byte *left; ///< [tile of i][pair of c][64 s]: stages
  int stages, depths, pairs;
};

/// Packs a: a thread has 8 i of one c and s, of all c one after the other.
template <class S>
__global__ void __launch_bounds__(256) packLeftKernel(const __grid_constant__ MeanHopperCall call) {
  const MeanSource &a = call.mean.source[0];
  int unit = blockIdx.x % 4 * 256 + threadIdx.x, block = blockIdx.x / 4;
  int depth = block % call.depths, tile = block / call.depths, line = unit / 8 % 64;
  int chunk = unit % 8 ^ (line & 7);
  int64_t s = depth * 64 + line, i = tile * int64_t{kTileI} + unit / 512 * 32 + chunk / 2 * 8;
  auto *to = reinterpret_cast<uint4 *>(const_cast<std::byte *>(call.left)) +
             (int64_t{tile} * call.pairs * call.depths + depth) * (kStageBytes / 16) + unit;
  for (int pair = 0; pair < call.pairs; ++pair) {
    int64_t c = 2 * pair + chunk % 2;
    const S *from =
        reinterpret_cast<const S *>(a.data) + s * a.stride[0] + i * a.stride[1] + c * a.stride[2];
    uint32_t two[4];
#pragma unroll
    for (int g = 0; g < 4; ++g) {
      auto value = [&](int in) {
        return s < a.extent[0] && i + in < a.extent[1] ? widen(from[in * a.stride[1]]) : 0.0f;
      };
      two[g] = packed<S>(value(2 * g), value(2 * g + 1));
    }
    to[int64_t{pair} * call.depths * (kStageBytes / 16)] =
        make_uint4(two[0], two[1], two[2], two[3]);
  }
}

struct MeanTile {
  int i, j, n;
  __device__ explicit MeanTile(const MeanMmaCall &call) {
    int tile = blockIdx.x, iTiles = static_cast<int>(call.iTiles);
    int nTiles = static_cast<int>(call.nTiles), above = tile / iTiles;
    i = (tile - above * iTiles) * kTileI;
    j = above / nTiles * kTileJ, n = above % nTiles * kMeanCols;
  }
};

struct MeanRing {
  PhaseBarrier full[kMostStages], empty[kMostStages], right;
};

/// Has all that a block reads copied; of a thread.
__device__ void fetchMean(const MeanHopperCall &call, MeanRing &ring, unsigned char *space) {
  MeanTile tile(call.mean);
  ring.right.arriveExpecting(call.depths * kStageBytes);
  for (int depth = 0; depth < call.depths; ++depth)
    copyBox(space + (call.stages + depth) * kStageBytes, call.right, ring.right, 0, depth * 64,
            tile.j, 0);
  const std::byte *left =
      call.left + int64_t{tile.i / kTileI} * call.pairs * call.depths * kStageBytes;
  RingPlace place;
  for (int pair = 0; pair < call.pairs; ++pair)
    for (int step = 0; step <= call.depths; ++step) {
      if (place.round > 0)
        ring.empty[place.stage].wait(place.round - 1);
      PhaseBarrier &full = ring.full[place.stage];
      full.arriveExpecting(kStageBytes);
      unsigned char *to = space + place.stage * kStageBytes;
      if (step < call.depths) {
        copyBytes(to, left, kStageBytes, full);
        left += kStageBytes;
      } else {
        copyBox(to, call.weight, full, pair * 64, tile.n, 0, 0);
      }
      place.advance(call.stages);
    }
}

/// What a group does until its sums y are complete: [pair of j][8 n].
template <class S> class MeanGroup {
  const MeanHopperCall &call;
  MeanRing &ring;
  unsigned char *space;
  RingPlace place;
  int group, used = -1; ///< a stage

public:
  __device__ MeanGroup(const MeanHopperCall &call, MeanRing &ring, unsigned char *space)
      : call(call), ring(ring), space(space),
        group(__shfl_sync(0xffffffffu, threadIdx.x / kGroup, 0)) {}

  __device__ void multiply(float (&y)[2][16][4]) {
    ring.right.wait(0);
    float sum[16][4];
    for (int pair = 0; pair < call.pairs; ++pair) {
      addDepths(sum);
      if constexpr (std::is_same_v<S, __half>) // else the factor is 1
        scale(sum);
      project(y, sum, pair > 0);
    }
    waitForProducts();
    holdSums(y[0]);
    holdSums(y[1]);
  }

private:
  /// Until the last stage's products are done but not those of this one, which the other warps of
  /// the group may still be asking for.
  __device__ void release() {
    waitForProducts<1>();
    if (used >= 0 && threadIdx.x % 32 == 0)
      ring.empty[used].arrive();
    used = place.stage;
    place.advance(call.stages);
  }
  __device__ void addDepths(float (&sum)[16][4]) {
    WideFactor<true, 64> left(64);
    WideFactor<true, kTileJ * kWidth> right(kWidth);
    for (int depth = 0; depth < call.depths; ++depth) {
      ring.full[place.stage].wait(place.round);
      uint64_t a = left.at(space + place.stage * kStageBytes + group * 8192, 0);
      uint64_t b = right.at(space + (call.stages + depth) * kStageBytes, 0);
      beginProducts();
#pragma unroll
      for (int k = 0; k < 4; ++k)
        startWideProduct<S, true, true>(sum, a + left.depth[k], b + right.depth[k],
                                        depth > 0 || k > 0);
      endProducts();
      release();
    }
    waitForProducts();
    holdSums(sum);
  }
  /// Sums by the mean's factor, all before the next products begin: in between, the compiler would
  /// have each product waited for.
  __device__ void scale(float (&sum)[16][4]) const {
    for (int j = 0; j < 16; ++j)
      for (int e = 0; e < 4; ++e)
        sum[j][e] *= call.mean.factor;
    holdSums(sum);
  }
  /// The factors of a pair of j: [c and half of d].
  __device__ void round(uint32_t (&a)[4][4], const float (&sum)[16][4], int pair) const {
#pragma unroll
    for (int k = 0; k < 4; ++k)
#pragma unroll
      for (int r = 0; r < 4; ++r) {
        const float(&from)[4] = sum[(2 * pair + r % 2) * 4 + k % 2 * 2 + r / 2];
        a[k][r] = packed<S>(from[k / 2 * 2], from[k / 2 * 2 + 1]);
      }
  }
  /// Waits in the end, for there are no registers for the next sums beside the factors; the other
  /// group goes on.
  __device__ void project(float (&y)[2][16][4], const float (&sum)[16][4], bool add) {
    WideFactor<false, kMeanCols> weight(64);
    ring.full[place.stage].wait(place.round);
    uint64_t lines = weight.at(space + place.stage * kStageBytes, 0);
    uint32_t a[4][4];
#pragma unroll
    for (int p = 0; p < 2; ++p) {
      round(a, sum, p);
      holdSums(y[p]);
      beginProducts();
#pragma unroll
      for (int k = 0; k < 4; ++k)
        startWideProduct<S>(y[p], a[k], lines + weight.depth[k], add || k > 0);
      endProducts();
      waitForProducts();
      holdSums(y[p]);
    }
    release();
  }
};

/// Brings a warp's sums to shared memory and stores them.
template <class S>
__device__ void finishMean(const MeanMmaCall &call, const float (&y)[2][16][4],
                           unsigned char *space) {
  asm volatile("bar.sync 1, %0;" ::"n"(kGroup * kGroups) : "memory"); // the space is free
  int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  float *sums = reinterpret_cast<float *>(space) + warp * 32 * kMeanPitch;
  float unscaled = std::is_same_v<S, __half> ? 1 / call.factor : 1;
#pragma unroll
  for (int p = 0; p < 2; ++p)
#pragma unroll
    for (int q = 0; q < 16; ++q)
#pragma unroll
      for (int e = 0; e < 4; e += 2)
        *reinterpret_cast<float2 *>(sums + ((2 * p + e / 2) * 8 + lane / 4) * kMeanPitch + 8 * q +
                                    lane % 4 * 2) =
            make_float2(unscaled * y[p][q][e], unscaled * y[p][q][e + 1]);
  __syncwarp();
  MeanTile tile(call);
  storeMean<S>(call, sums, tile.i + warp * 8, tile.j, tile.n);
}

/// Asks for the block's residual, which is read when everything else is done; of a warp.
__device__ void askForMeanResidual(const MeanMmaCall &call) {
  MeanTile tile(call);
  for (int line = threadIdx.x % 32; call.residual && call.fours && line < kTileI * kTileJ * 2;
       line += 32) {
    int64_t i = tile.i + line / 2 / kTileJ, j = tile.j + line / 2 % kTileJ;
    int64_t n = tile.n + line % 2 * 64;
    if (i < call.i && j < call.j && n < call.n)
      asm volatile("prefetch.global.L2 [%0];" ::"l"(
          call.residual + (i * call.residualStride[0] + j * call.residualStride[1] + n) * 2));
  }
}

template <class S>
__global__ void __launch_bounds__(kThreads, 1)
    meanHopperKernel(const __grid_constant__ MeanHopperCall call) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  extern __shared__ __align__(1024) unsigned char space[];
  __shared__ MeanRing ring;
  if (threadIdx.x == 0) {
    for (int i = 0; i < kMostStages; ++i)
      ring.full[i].init(1), ring.empty[i].init(4 * kGroups);
    ring.right.init(1);
    publishBarriers();
  }
  __syncthreads();
  if (threadIdx.x >= kGroup * kGroups) {
    releaseRegisters<kFewRegisters>();
    if (threadIdx.x == kGroup * kGroups)
      fetchMean(call, ring, space);
    else if (threadIdx.x >= kThreads - 32)
      askForMeanResidual(call.mean);
  } else {
    takeRegisters<kRegisters>();
    float y[2][16][4];
    MeanGroup<S>(call, ring, space).multiply(y);
    finishMean<S>(call.mean, y, space);
  }
#endif
}

/// Describes b as (d, s, j, 1) and the weight as lines (c, d) of n.
template <class S> bool describeFactors(const Context &context, MeanHopperCall &call) {
  const MeanSource &b = call.mean.source[1], &weight = call.mean.source[2];
  TensorOfBoxes<S, 4> right{b.data,
                            {kWidth, b.extent[0], b.extent[1], 1},
                            {b.stride[0], b.stride[1], 0},
                            {kWidth, 64, kTileJ, 1}};
  TensorOfBoxes<S, 4> lines{weight.data,
                            {weight.extent[1] * kWidth, weight.extent[0], 1, 1},
                            {weight.stride[0], 0, 0},
                            {2 * kWidth, kMeanCols, 1, 1}};
  return b.stride[2] == 1 && weight.stride[2] == 1 && weight.stride[1] == kWidth &&
         right.describe(context, call.right, CU_TENSOR_MAP_SWIZZLE_64B) &&
         lines.describe(context, call.weight, CU_TENSOR_MAP_SWIZZLE_128B);
}

} // namespace

template <class S>
Status launchMeanHopper(const Launch &launch, const MeanMmaCall &mean, bool &done) {
  done = false;
  const MeanSource &a = mean.source[0], &b = mean.source[1];
  int64_t s = a.extent[0], c = a.extent[2];
  if (!launch.context->isHopper || b.extent[2] != kWidth || c % 2 != 0 || c > (1 << 12) ||
      s > 64 * kMostDepths || 2 * a.extent[1] <= kTileI || mean.n > kMostBoxedExtent)
    return {};
  MeanHopperCall call{};
  call.mean = mean, call.pairs = static_cast<int>(c / 2);
  call.depths = static_cast<int>(ceilDiv(s, 64));
  call.stages = std::min(kMostStages, kRoom - call.depths);
  call.left = launch.context->scratch;
  MeanMmaCall &to = call.mean;
  to.i = a.extent[1], to.j = b.extent[1];
  to.iTiles = ceilDiv(to.i, kTileI), to.jTiles = ceilDiv(to.j, kTileJ);
  int64_t blocks = to.iTiles * call.depths, tiles = to.iTiles * to.jTiles * to.nTiles;
  int bytes = std::max((call.stages + call.depths) * kStageBytes, kSumBytes);
  auto *kernel = meanHopperKernel<S>;
  if (blocks * call.pairs * kStageBytes > kScratchBytes || tiles > kMostBlocks ||
      !hasRegisters(kernel, kGroups, kFewRegisters, kRegisters) ||
      !describeFactors<S>(*launch.context, call) || !admitsShared(kernel, bytes))
    return {};
  done = true;
  cudaStream_t stream = launch.context->stream;
  packLeftKernel<S><<<gridOf(blocks * 4), 256, 0, stream>>>(call);
  kernel<<<gridOf(tiles), kThreads, bytes, stream>>>(call);
  return statusOf(cudaGetLastError(), "the launch of an outer product mean on Hopper");
}

template Status launchMeanHopper<__nv_bfloat16>(const Launch &, const MeanMmaCall &, bool &);
template Status launchMeanHopper<__half>(const Launch &, const MeanMmaCall &, bool &);

} // namespace evo::cuda
