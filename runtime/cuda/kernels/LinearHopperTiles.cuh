//===- LinearHopperTiles.cuh - tiles of linear layers on Hopper -*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// What a block of LinearHopper.cu has in shared memory, and the warps that fill and empty it: the
// weight of the block's columns, a ring of 64 depths of 64 rows of x, and for each group of warps
// that computes, a tile of what is read beside its sums, which becomes y's. In a gated pair half of
// the weight's columns are the gate's, and y lies by channel.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/cuda/kernels/Places.h"
#include "runtime/cuda/kernels/Tma.cuh"

namespace evo::cuda {

inline constexpr int kHopperRows = 64, kHopperDepth = 64, kHopperGroups = 3;
inline constexpr int kHopperThreads = 128 * (kHopperGroups + 1);
inline constexpr int kHopperPiece = kHopperRows * 64 * 2; ///< bytes of 64 columns of a tile
inline constexpr int kMostHopperStages = 12, kMostHopperDepths = 16;

/// Rows are (outer, inner); tiles are of one outer row. The second bias is a gated pair's, as is
/// the weight in place of a gate.
struct LinearHopperCall {
  CUtensorMap x, weight, gate, residual, y;
  const std::byte *bias[2], *rowScale, *dropout;
  int64_t biasStride[2], scaleStride[2], dropoutStride[2];
  int64_t inner;
  int n, innerTiles, tiles, slices, depths, stages; ///< depths: in 64s
  float factor;
  float least; ///< of sums before they are gated: 0 or -inf
  bool hasGate, hasResidual, scaleIsStatistic, dropoutIsStatistic;
};

/// How a block's shared memory is divided. What copies permute begins at multiples of 1024 bytes.
template <int kCols, bool kGated> struct LinearHopperSpace {
  static constexpr int kPieces = kCols / 64, kTilePieces = kGated ? 1 : kPieces;
  static constexpr int kTileCols = 64 * kTilePieces; ///< of y
  static constexpr int kTileBytes = kTilePieces * kHopperPiece;
  struct Head {
    float bias[kCols];
    PhaseBarrier weight[kMostHopperDepths]; ///< 64 depths each
    PhaseBarrier full[kMostHopperStages], empty[kMostHopperStages];
    PhaseBarrier turn[kHopperGroups];     ///< all of x before the group's next tile has come
    PhaseBarrier beside[kHopperGroups];   ///< what is read beside sums is there; y may be written
    PhaseBarrier finished[kHopperGroups]; ///< y's tile is
  };
  static constexpr int kHeadBytes = 1024;
  static_assert(sizeof(Head) <= kHeadBytes);

  static constexpr int fixedBytes(int depths, bool hasGate) {
    return kHeadBytes + depths * kPieces * kHopperPiece +
           kHopperGroups * kTileBytes * (hasGate ? 2 : 1);
  }

  unsigned char *start;
  int depths;
  bool hasGate;

  __device__ Head &head() const { return *reinterpret_cast<Head *>(start); }
  __device__ unsigned char *weight(int depth) const {
    return start + kHeadBytes + depth * kPieces * kHopperPiece;
  }
  __device__ unsigned char *tile(int group) const {
    return weight(depths) + group * kTileBytes * (hasGate ? 2 : 1);
  }
  __device__ unsigned char *stage(int index) const {
    return tile(kHopperGroups) + index * kHopperPiece;
  }
};

/// The tiles of a block; the blocks beside it have the same rows' other columns.
struct LinearTiles {
  int slice, first, step, count;
  __device__ explicit LinearTiles(const LinearHopperCall &call) {
    int block = static_cast<int>(blockIdx.x);
    first = block / call.slices, slice = block - first * call.slices;
    step = static_cast<int>(gridDim.x) / call.slices;
    count = first < call.tiles ? (call.tiles - first + step - 1) / step : 0;
  }
  /// Where the index-th begins.
  __device__ void locate(const LinearHopperCall &call, int index, int &outer, int &inner) const {
    locateTile(first + index * step, call.innerTiles, kHopperRows, outer, inner);
  }
};

/// Has 64 depths of the weight copied.
template <int kCols, bool kIsTurned, bool kGated>
__device__ void copyWeight(const LinearHopperCall &call, const LinearTiles &tiles,
                           const LinearHopperSpace<kCols, kGated> &space, int depth) {
  using Space = LinearHopperSpace<kCols, kGated>;
  PhaseBarrier &full = space.head().weight[depth];
  full.arriveExpecting(Space::kPieces * kHopperPiece);
  for (int piece = 0; piece < Space::kPieces; ++piece) {
    const CUtensorMap &weight = kGated && piece == 1 ? call.gate : call.weight;
    int n = tiles.slice * Space::kTileCols + (kGated ? 0 : 64 * piece), k = depth * kHopperDepth;
    copyBox(space.weight(depth) + piece * kHopperPiece, weight, full, kIsTurned ? n : k,
            kIsTurned ? k : n, 0);
  }
}

/// A thread has the weight and all tiles of x copied.
template <int kCols, bool kIsTurned, bool kGated>
__device__ void copyFactors(const LinearHopperCall &call, const LinearTiles &tiles,
                            const LinearHopperSpace<kCols, kGated> &space) {
  auto &head = space.head();
  RingPlace place;
  for (int i = 0; i < tiles.count; ++i) {
    int outer, inner;
    tiles.locate(call, i, outer, inner);
    for (int d = 0; d < call.depths; ++d, place.skip(1, call.stages)) {
      if (i == 0)
        copyWeight<kCols, kIsTurned>(call, tiles, space, d);
      if (place.round > 0)
        head.empty[place.stage].wait(place.round - 1);
      PhaseBarrier &full = head.full[place.stage];
      full.arriveExpecting(kHopperPiece);
      copyBox(space.stage(place.stage), call.x, full, d * kHopperDepth, inner, outer);
    }
  }
}

/// A thread has what is read beside a group's sums copied, and its tiles of y stored.
template <int kCols, bool kGated>
__device__ void copyTiles(const LinearHopperCall &call, const LinearTiles &tiles,
                          const LinearHopperSpace<kCols, kGated> &space, int group) {
  using Space = LinearHopperSpace<kCols, kGated>;
  auto &head = space.head();
  unsigned char *tile = space.tile(group);
  int n0 = tiles.slice * Space::kTileCols,
      pieces = min(Space::kTilePieces, (call.n - n0 + 63) / 64);
  int bytes = pieces * kHopperPiece * (int(call.hasResidual) + int(call.hasGate));
  for (int i = group, phase = 0; i < tiles.count; i += kHopperGroups, ++phase) {
    int outer, inner;
    tiles.locate(call, i, outer, inner);
    if (bytes == 0)
      head.beside[group].arrive();
    else
      head.beside[group].arriveExpecting(bytes);
    for (int piece = 0; piece < pieces; ++piece) {
      unsigned char *to = tile + piece * kHopperPiece;
      if (call.hasResidual)
        copyBox(to, call.residual, head.beside[group], n0 + 64 * piece, inner, outer);
      if (call.hasGate)
        copyBox(to + Space::kTileBytes, call.gate, head.beside[group], n0 + 64 * piece, inner,
                outer);
    }
    head.finished[group].wait(phase);
    for (int piece = 0; piece < pieces; ++piece)
      if constexpr (kGated)
        storeBox(call.y, tile, inner, outer, n0);
      else
        storeBox(call.y, tile + piece * kHopperPiece, n0 + 64 * piece, inner, outer);
    commitStores();
    waitForStoredReads<0>();
  }
}

} // namespace evo::cuda
