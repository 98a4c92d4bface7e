//===- WgmmaWide.cuh - Hopper's products of many columns --------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// Products of four warps as in Wgmma.cuh, of 128 or 256 columns. Factors in shared memory have
// lines of 16, 32 or 64 elements, eight of which are 256, 512 or 1024 bytes that begin at a
// multiple of as much; chunks of 16 bytes lie permuted in them as Tma.cuh's copies leave them.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/cuda/kernels/Wgmma.cuh"

namespace evo::cuda {

inline constexpr int kWideDepth = 64; ///< of a stage

/// How kRows rows of a factor lie in a stage: lines of `run` elements are depths of a row or, where
/// kIsAcross, rows of a depth; those of some depths (rows) follow those of others.
template <bool kIsAcross, int kRows> struct WideFactor {
  uint64_t pattern;  ///< all of a descriptor but the address
  uint32_t depth[4]; ///< from the first 16 depths to others, in units of 16 bytes
  int run, slab;     ///< bytes of the lines of all rows (depths)

  __device__ explicit WideFactor(int run)
      : run(run), slab((kIsAcross ? kWideDepth : kRows) * run * 2) {
    uint64_t permuted = run == 64 ? 1 : run == 32 ? 2 : 3;
    uint64_t between = kIsAcross ? static_cast<uint64_t>(slab) / 16 : 1;
    pattern = permuted << 62 | static_cast<uint64_t>(run) << 32 | between << 16;
    for (int k = 0; k < 4; ++k)
      depth[k] =
          static_cast<uint32_t>(kIsAcross ? 32 * k * run : 16 * k / run * slab + 16 * k % run * 2) /
          16;
  }
  /// Of rows from `row` on.
  __device__ uint64_t at(const void *stage, int row) const {
    int bytes = kIsAcross ? row / run * slab : row * run * 2;
    uint32_t address = static_cast<uint32_t>(__cvta_generic_to_shared(stage)) + bytes;
    return pattern | (address & 0x3ffff) >> 4;
  }
};

#define EVO_WGMMA_TILE(sum, j) "+f"(sum[j][0]), "+f"(sum[j][1]), "+f"(sum[j][2]), "+f"(sum[j][3])

#define EVO_WGMMA_256(type)                                                                        \
  asm volatile("{ .reg .pred p; setp.ne.b32 p, %130, 0;\n"                                         \
               "wgmma.mma_async.sync.aligned.m64n256k16.f32." type "." type                        \
               " {%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,"                          \
               "%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31,"                  \
               "%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47,"                  \
               "%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63,"                  \
               "%64,%65,%66,%67,%68,%69,%70,%71,%72,%73,%74,%75,%76,%77,%78,%79,"                  \
               "%80,%81,%82,%83,%84,%85,%86,%87,%88,%89,%90,%91,%92,%93,%94,%95,"                  \
               "%96,%97,%98,%99,%100,%101,%102,%103,%104,%105,%106,%107,%108,%109,%110,%111,"      \
               "%112,%113,%114,%115,%116,%117,%118,%119,%120,%121,%122,%123,%124,%125,%126,%127}," \
               " %128, %129, p, 1, 1, %131, %132; }"                                               \
               : EVO_WGMMA_TILE(sum, 0), EVO_WGMMA_TILE(sum, 1), EVO_WGMMA_TILE(sum, 2),           \
                 EVO_WGMMA_TILE(sum, 3), EVO_WGMMA_TILE(sum, 4), EVO_WGMMA_TILE(sum, 5),           \
                 EVO_WGMMA_TILE(sum, 6), EVO_WGMMA_TILE(sum, 7), EVO_WGMMA_TILE(sum, 8),           \
                 EVO_WGMMA_TILE(sum, 9), EVO_WGMMA_TILE(sum, 10), EVO_WGMMA_TILE(sum, 11),         \
                 EVO_WGMMA_TILE(sum, 12), EVO_WGMMA_TILE(sum, 13), EVO_WGMMA_TILE(sum, 14),        \
                 EVO_WGMMA_TILE(sum, 15), EVO_WGMMA_TILE(sum, 16), EVO_WGMMA_TILE(sum, 17),        \
                 EVO_WGMMA_TILE(sum, 18), EVO_WGMMA_TILE(sum, 19), EVO_WGMMA_TILE(sum, 20),        \
                 EVO_WGMMA_TILE(sum, 21), EVO_WGMMA_TILE(sum, 22), EVO_WGMMA_TILE(sum, 23),        \
                 EVO_WGMMA_TILE(sum, 24), EVO_WGMMA_TILE(sum, 25), EVO_WGMMA_TILE(sum, 26),        \
                 EVO_WGMMA_TILE(sum, 27), EVO_WGMMA_TILE(sum, 28), EVO_WGMMA_TILE(sum, 29),        \
                 EVO_WGMMA_TILE(sum, 30), EVO_WGMMA_TILE(sum, 31)                                  \
               : "l"(left), "l"(right), "r"(static_cast<int>(add)), "n"(kLeftAcross),              \
                 "n"(kRightAcross))

/// sum = 64 rows times 256 columns of 16 depths of factors in shared memory, or that much more. The
/// lines of a factor are rows (columns) along the depths, or where it is `across`, depths along the
/// rows.
template <class S, bool kLeftAcross, bool kRightAcross>
__device__ inline void startWideProduct(float (&sum)[32][4], uint64_t left, uint64_t right,
                                        bool add) {
  if constexpr (std::is_same_v<S, __nv_bfloat16>)
    EVO_WGMMA_256("bf16");
  else
    EVO_WGMMA_256("f16");
}

#define EVO_WGMMA_128(type)                                                                        \
  asm volatile("{ .reg .pred p; setp.ne.b32 p, %66, 0;\n"                                          \
               "wgmma.mma_async.sync.aligned.m64n128k16.f32." type "." type                        \
               " {%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,"                          \
               "%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31,"                  \
               "%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47,"                  \
               "%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63},"                 \
               " %64, %65, p, 1, 1, %67, %68; }"                                                   \
               : EVO_WGMMA_TILE(sum, 0), EVO_WGMMA_TILE(sum, 1), EVO_WGMMA_TILE(sum, 2),           \
                 EVO_WGMMA_TILE(sum, 3), EVO_WGMMA_TILE(sum, 4), EVO_WGMMA_TILE(sum, 5),           \
                 EVO_WGMMA_TILE(sum, 6), EVO_WGMMA_TILE(sum, 7), EVO_WGMMA_TILE(sum, 8),           \
                 EVO_WGMMA_TILE(sum, 9), EVO_WGMMA_TILE(sum, 10), EVO_WGMMA_TILE(sum, 11),         \
                 EVO_WGMMA_TILE(sum, 12), EVO_WGMMA_TILE(sum, 13), EVO_WGMMA_TILE(sum, 14),        \
                 EVO_WGMMA_TILE(sum, 15)                                                           \
               : "l"(left), "l"(right), "r"(static_cast<int>(add)), "n"(kLeftAcross),              \
                 "n"(kRightAcross))

/// The same of 128 columns.
template <class S, bool kLeftAcross, bool kRightAcross>
__device__ inline void startWideProduct(float (&sum)[16][4], uint64_t left, uint64_t right,
                                        bool add) {
  if constexpr (std::is_same_v<S, __nv_bfloat16>)
    EVO_WGMMA_128("bf16");
  else
    EVO_WGMMA_128("f16");
}

#define EVO_WGMMA_LEFT_128(type)                                                                   \
  asm volatile("{ .reg .pred p; setp.ne.b32 p, %69, 0;\n"                                          \
               "wgmma.mma_async.sync.aligned.m64n128k16.f32." type "." type                        \
               " {%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,"                          \
               "%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31,"                  \
               "%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47,"                  \
               "%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63},"                 \
               " {%64,%65,%66,%67}, %68, p, 1, 1, 0; }"                                            \
               : EVO_WGMMA_TILE(sum, 0), EVO_WGMMA_TILE(sum, 1), EVO_WGMMA_TILE(sum, 2),           \
                 EVO_WGMMA_TILE(sum, 3), EVO_WGMMA_TILE(sum, 4), EVO_WGMMA_TILE(sum, 5),           \
                 EVO_WGMMA_TILE(sum, 6), EVO_WGMMA_TILE(sum, 7), EVO_WGMMA_TILE(sum, 8),           \
                 EVO_WGMMA_TILE(sum, 9), EVO_WGMMA_TILE(sum, 10), EVO_WGMMA_TILE(sum, 11),         \
                 EVO_WGMMA_TILE(sum, 12), EVO_WGMMA_TILE(sum, 13), EVO_WGMMA_TILE(sum, 14),        \
                 EVO_WGMMA_TILE(sum, 15)                                                           \
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(right),                           \
                 "r"(static_cast<int>(add)))

/// The same of a left factor in registers.
template <class S>
__device__ inline void startWideProduct(float (&sum)[16][4], const uint32_t (&a)[4], uint64_t right,
                                        bool add) {
  if constexpr (std::is_same_v<S, __nv_bfloat16>)
    EVO_WGMMA_LEFT_128("bf16");
  else
    EVO_WGMMA_LEFT_128("f16");
}

#undef EVO_WGMMA_LEFT_128
#undef EVO_WGMMA_128
#undef EVO_WGMMA_256
#undef EVO_WGMMA_TILE

} // namespace evo::cuda
