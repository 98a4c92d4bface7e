//===- WgmmaColumns.cuh - Hopper's products of columns ----------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// Products of four warps (Wgmma.cuh) of two matrices in shared memory that are summed over their
// rows: 64 columns of one by 128 of the other. A matrix is panels of 64 columns, whose rows are 128
// bytes, as Tma.cuh's copies leave them with chunks of 16 bytes permuted.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/cuda/kernels/Wgmma.cuh"

namespace evo::cuda {

inline constexpr int kPanelCols = 64;

/// What the instructions take in place of an address: sixteen rows from `first`, a multiple of
/// eight, of panels of `rows` rows, one after the other from a multiple of 1024 bytes.
__device__ inline uint64_t panelsAt(const void *panels, int rows, int first) {
  constexpr uint64_t kRow = kPanelCols * 2;
  uint64_t start = __cvta_generic_to_shared(panels) + static_cast<uint64_t>(first) * kRow;
  return (start & 0x3ffff) >> 4 | static_cast<uint64_t>(rows) * kRow / 16 << 16 |
         8 * kRow / 16 << 32 | uint64_t{1} << 62;
}

/// Until all groups of products but the last `kLeft` are done.
template <int kLeft> __device__ inline void waitForProductsBut() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kLeft) : "memory");
}

#define EVO_WGMMA_TILE(j) "+f"(sum[j][0]), "+f"(sum[j][1]), "+f"(sum[j][2]), "+f"(sum[j][3])
#define EVO_WGMMA_TILES(j)                                                                         \
  EVO_WGMMA_TILE(j), EVO_WGMMA_TILE(j + 1), EVO_WGMMA_TILE(j + 2), EVO_WGMMA_TILE(j + 3),          \
      EVO_WGMMA_TILE(j + 4), EVO_WGMMA_TILE(j + 5), EVO_WGMMA_TILE(j + 6), EVO_WGMMA_TILE(j + 7)
#define EVO_WGMMA_SUMS                                                                             \
  "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,%23,%24,%25," \
  "%26,%27,%28,%29,%30,%31,%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47,%48,"   \
  "%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63"

#define EVO_WGMMA_COLUMNS(type)                                                                    \
  asm volatile("{ .reg .pred p; setp.eq.u32 p, 0, 0;\n"                                            \
               "wgmma.mma_async.sync.aligned.m64n128k16.f32." type "." type " {" EVO_WGMMA_SUMS    \
               "}, %64, %65, p, 1, 1, 1, 1; }"                                                     \
               : EVO_WGMMA_TILES(0), EVO_WGMMA_TILES(8)                                            \
               : "l"(a), "l"(b))

/// sum += over 16 rows, 64 columns of a by 128 of b: a warp's 16 columns of a, in tiles of 8
/// columns of b that lie as Mma.cuh's sums do.
template <class S>
__device__ inline void addColumnProducts(float (&sum)[16][4], uint64_t a, uint64_t b) {
  if constexpr (std::is_same_v<S, __nv_bfloat16>)
    EVO_WGMMA_COLUMNS("bf16");
  else
    EVO_WGMMA_COLUMNS("f16");
}

#undef EVO_WGMMA_COLUMNS
#undef EVO_WGMMA_SUMS
#undef EVO_WGMMA_TILES
#undef EVO_WGMMA_TILE

} // namespace evo::cuda
