//===- WeightGradTiles.cuh - tiles of weights on Hopper ---------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// The kernel of WeightGradHopper.cu: a block has 128 columns of one operand by 128 of the other and
// a share of the rows, 64 of which are copied at a time to a ring in shared memory by a warp of its
// own; two groups of four warps multiply them as they lie, rows being what is summed over. Two
// blocks of a cluster, whose tiles have columns in common, each copy a half of their rows to both.
// A block leaves its sums in a slot of the scratch, in the order of the products' registers
// (WeightGradSlots.cuh).
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/cuda/kernels/Cluster.cuh"
#include "runtime/cuda/kernels/Places.h"
#include "runtime/cuda/kernels/WgmmaColumns.cuh"

namespace evo::cuda {

namespace {

constexpr int kTileCols = 128, kTilePanels = kTileCols / kPanelCols;
constexpr int kPieceRows = 64, kFactorThreads = 256;
constexpr int kWeightThreads = kFactorThreads + 32;   ///< and the warp that copies
constexpr int kTileFours = kTileCols * kTileCols / 4; ///< of its sums
constexpr int kMostNeighbours = 2;                    ///< tiles of a cluster

/// The grid: blocks of a cluster, whose tiles have columns of one operand in common; sets of such
/// tiles; and groups, each with a share of the rows.
struct WeightHopperCall {
  CUtensorMap left, right;
  int innerPieces; ///< of rows, of one index of the outer axis
  int tiles, rightTiles;
  int across;           ///< sets of a row of tiles
  int pieces, leftOver; ///< of each share of the rows; of the first shares one more
  bool sharesRight;
  int leftPanels, rightPanels; ///< of a tile that have columns
  float4 *slots;               ///< [groups][tiles][kTileFours]
};

/// A block's shape and its shared memory.
template <class S> struct WeightBlock {
  static constexpr int kStages = 6;
  struct Stage {
    S left[kTilePanels][kPieceRows][kPanelCols];
    S right[kTilePanels][kPieceRows][kPanelCols];
  };
  struct Memory {
    Stage stages[kStages];
    PhaseBarrier full[kStages], empty[kStages];
  };
  static_assert(sizeof(Stage) % 1024 == 0);
  static constexpr int kBytes = sizeof(Memory);
};

/// Which part of the product a block has.
struct WeightShare {
  int leftTile, rightTile, group;
  int neighbour;  ///< in the cluster
  int first, end; ///< of pieces

  __device__ WeightShare(const WeightHopperCall &call) {
    int set = static_cast<int>(blockIdx.y), neighbours = static_cast<int>(gridDim.x);
    neighbour = static_cast<int>(blockIdx.x), group = static_cast<int>(blockIdx.z);
    leftTile = set / call.across, rightTile = set - leftTile * call.across;
    leftTile = call.sharesRight ? leftTile * neighbours + neighbour : leftTile;
    rightTile = call.sharesRight ? rightTile : rightTile * neighbours + neighbour;
    first = group * call.pieces + min(group, call.leftOver);
    end = first + call.pieces + (group < call.leftOver);
  }
};

/// What one thread does for all: it has pieces copied as places in the ring become free. Of columns
/// that the cluster's tiles share, each block copies some of the rows to both.
template <class S>
__device__ void fetchPieces(const WeightHopperCall &call, const WeightShare &share,
                            typename WeightBlock<S>::Memory &memory) {
  RingPlace place;
  int outer, row;
  locateTile(share.first, call.innerPieces, kPieceRows, outer, row);
  int panels = call.leftPanels + call.rightPanels;
  int bytes = panels * static_cast<int>(sizeof(S[kPieceRows][kPanelCols]));
  int part = share.neighbour * (kPieceRows / kMostNeighbours);
  int leftCol = share.leftTile * kTileCols, rightCol = share.rightTile * kTileCols;
  bool sharesLeft = gridDim.x > 1 && !call.sharesRight;
  bool sharesRight = gridDim.x > 1 && call.sharesRight;
#pragma unroll 1
  for (int piece = share.first; piece < share.end; ++piece) {
    auto &stage = memory.stages[place.stage];
    PhaseBarrier &full = memory.full[place.stage];
    if (place.round > 0)
      memory.empty[place.stage].wait(place.round - 1);
    full.arriveExpecting(bytes);
#pragma unroll
    for (int i = 0; i < 2 * kTilePanels; ++i) {
      bool left = i < kTilePanels;
      int p = i % kTilePanels, col = (left ? leftCol : rightCol) + p * kPanelCols;
      if (p >= (left ? call.leftPanels : call.rightPanels))
        continue;
      const CUtensorMap &map = left ? call.left : call.right;
      auto &panel = left ? stage.left[p] : stage.right[p];
      if (left ? sharesLeft : sharesRight)
        copyBoxToBlocks(panel[part], map, full, col, row + part, outer, (1 << kMostNeighbours) - 1);
      else
        copyBox(panel, map, full, col, row, outer);
    }
    place.advance(WeightBlock<S>::kStages);
    row += kPieceRows;
    if (row == call.innerPieces * kPieceRows)
      row = 0, ++outer;
  }
}

/// What four warps do: 64 columns of the left operand by all of the tile's right ones.
template <class S>
__device__ inline void multiplyPieces(float (&sum)[kTileCols / 8][4], const WeightShare &share,
                                      typename WeightBlock<S>::Memory &memory) {
  RingPlace place;
  int lane = threadIdx.x % 32;
  PhaseBarrier *used = nullptr;
#pragma unroll 1
  for (int piece = share.first; piece < share.end; ++piece) {
    const auto &stage = memory.stages[place.stage];
    memory.full[place.stage].wait(place.round);
    beginProducts();
#pragma unroll
    for (int row = 0; row < kPieceRows; row += 16)
      addColumnProducts<S>(sum, panelsAt(stage.left[threadIdx.x / 128], kPieceRows, row),
                           panelsAt(stage.right, kPieceRows, row));
    endProducts();
    waitForProductsBut<1>();
    // All that copy to this block's ring, where they wait for it: arrivals that nobody waits for
    // could come when the other block has ended.
    bool isAwaited = used && piece - 1 + WeightBlock<S>::kStages < share.end;
    if (isAwaited && lane < static_cast<int>(gridDim.x))
      arriveAt(*used, lane);
    used = &memory.empty[place.stage];
    place.advance(WeightBlock<S>::kStages);
  }
  waitForProducts();
  holdSums(sum);
}

template <class S>
__global__ void __launch_bounds__(kWeightThreads, 1)
    weightHopperKernel(const __grid_constant__ WeightHopperCall call) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  using Shape = WeightBlock<S>;
  extern __shared__ __align__(1024) unsigned char space[];
  auto &memory = *reinterpret_cast<typename Shape::Memory *>(space);
  if (threadIdx.x == kFactorThreads) {
    fetchMap(call.left), fetchMap(call.right);
    for (int i = 0; i < Shape::kStages; ++i)
      memory.full[i].init(1), memory.empty[i].init(4 * call.leftPanels * gridDim.x);
    publishBarriers();
  }
  if (gridDim.x > 1)
    meetCluster();
  else
    __syncthreads();
  asm volatile("griddepcontrol.launch_dependents;"); // the sum of the slots may wait beside this
  WeightShare share(call);
  bool adds = threadIdx.x < 128 * call.leftPanels;
  int columns = call.rightPanels * (kPanelCols / 8); // in eights
  int tile = share.leftTile * call.rightTiles + share.rightTile;
  float4 *slot = call.slots + (int64_t{share.group} * call.tiles + tile) * kTileFours;
  float sum[kTileCols / 8][4] = {};
  if (adds)
    multiplyPieces<S>(sum, share, memory);
  else if (threadIdx.x == kFactorThreads)
    fetchPieces<S>(call, share, memory);
  if (adds)
#pragma unroll
    for (int j = 0; j < kTileCols / 8; ++j)
      if (j < columns)
        slot[j * kFactorThreads + threadIdx.x] =
            make_float4(sum[j][0], sum[j][1], sum[j][2], sum[j][3]);
  if (gridDim.x > 1)
    meetCluster(); // nothing is on its way to this block's memory, which may be another's now
#endif
}

/// Where the fours of a slot belong in the weight.
struct TileFours {
  int rightTiles;
  bool swapped; ///< the left operand is x

  __device__ void locate(int four, int (&row)[4], int (&col)[4]) const {
    int tile = four / kTileFours, at = four % kTileFours;
    int leftTile = tile / rightTiles, thread = at % kFactorThreads, lane = thread % 32;
    int left = leftTile * kTileCols + thread / 32 * 16 + lane / 4;
    int right = (tile - leftTile * rightTiles) * kTileCols + at / kFactorThreads * 8 + lane % 4 * 2;
    for (int i = 0; i < 4; ++i) {
      int l = left + i / 2 * 8, r = right + i % 2;
      row[i] = swapped ? r : l, col[i] = swapped ? l : r;
    }
  }
};

} // namespace

} // namespace evo::cuda
