//===- Wgmma.cuh - Hopper's products of four warps --------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// Products of 64 rows, 16 a warp, held in registers as Mma.cuh describes, by a right factor in
// shared memory, accumulated in fp32 while the warps go on: the four warps issue products, close a
// group of them, and wait for it before they touch its registers. Only for code that is compiled
// for compute_90a.
//
// The right factor has rows of 16 or 32 elements, eight of which are 256 or 512 bytes that begin at
// a multiple of as much; chunks of 16 bytes lie permuted in them as Tma.cuh's copies leave them.
// The left factor may lie there too, as rows like those, or turned: rows of 64 elements, whose
// columns are the rows of the factor.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/cuda/kernels/Mma.cuh"

namespace evo::cuda {

/// What the product instructions take in place of an address: where rows of kWidth elements begin,
/// or a chunk of 16 elements in them.
template <int kWidth> __device__ inline uint64_t factorAt(const void *start) {
  static_assert(kWidth == 16 || kWidth == 32);
  constexpr uint64_t kEightRows = 8 * kWidth * 2 / 16, kPermuted = kWidth == 32 ? 2 : 3;
  return (__cvta_generic_to_shared(start) & 0x3ffff) >> 4 | uint64_t{1} << 16 | kEightRows << 32 |
         kPermuted << 62;
}

/// The same of a turned left factor: where 16 rows of 64 elements begin.
__device__ inline uint64_t turnedFactorAt(const void *start) {
  return (__cvta_generic_to_shared(start) & 0x3ffff) >> 4 | uint64_t{1} << 16 | uint64_t{64} << 32 |
         uint64_t{1} << 62;
}
/// What lies so many elements of a half type behind.
__device__ inline uint64_t further(uint64_t factor, int elements) {
  return factor >> 32 << 32 | (static_cast<uint32_t>(factor) + static_cast<uint32_t>(elements / 8));
}
/// Where chunk `chunk` of 16 bytes of row `row` lies among rows of kWidth elements.
template <int kWidth> __device__ inline int permutedChunk(int row, int chunk) {
  static_assert(kWidth == 16 || kWidth == 32 || kWidth == 64);
  return kWidth == 64 ? chunk ^ row % 8 : kWidth == 32 ? chunk ^ row / 2 % 4 : chunk ^ row / 4 % 2;
}

/// Before the first product on registers that were written.
__device__ inline void beginProducts() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
__device__ inline void endProducts() {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
/// Until all groups but the last kPending are done.
template <int kPending = 0> __device__ inline void waitForProducts() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kPending) : "memory");
}
/// Keeps uses of registers that products write behind the wait.
template <int kTiles> __device__ inline void holdSums(float (&sum)[kTiles][4]) {
  for (int j = 0; j < kTiles; ++j)
    for (int i = 0; i < 4; ++i)
      asm volatile("" : "+f"(sum[j][i])::"memory");
}
/// Gives registers of four warps to others of the block, or waits for theirs.
template <int kRegisters> __device__ inline void releaseRegisters() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kRegisters));
}
template <int kRegisters> __device__ inline void takeRegisters() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kRegisters));
}

#define EVO_WGMMA_TILE(sum, j) "+f"(sum[j][0]), "+f"(sum[j][1]), "+f"(sum[j][2]), "+f"(sum[j][3])
#define EVO_WGMMA_LEFT(a) "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3])

#define EVO_WGMMA_64(type)                                                                         \
  asm volatile(                                                                                    \
      "{ .reg .pred p; setp.ne.b32 p, %37, 0;\n"                                                   \
      "wgmma.mma_async.sync.aligned.m64n64k16.f32." type "." type                                  \
      " {%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,%23,"   \
      "%24,%25,%26,%27,%28,%29,%30,%31}, {%32,%33,%34,%35}, %36, p, 1, 1, 0; }"                    \
      : EVO_WGMMA_TILE(sum, 0), EVO_WGMMA_TILE(sum, 1), EVO_WGMMA_TILE(sum, 2),                    \
        EVO_WGMMA_TILE(sum, 3), EVO_WGMMA_TILE(sum, 4), EVO_WGMMA_TILE(sum, 5),                    \
        EVO_WGMMA_TILE(sum, 6), EVO_WGMMA_TILE(sum, 7)                                             \
      : EVO_WGMMA_LEFT(a), "l"(factor), "r"(static_cast<int>(add)))

/// sum = a times the transpose of 64 rows, a chunk of 16 of their elements, or that much more.
template <class S>
__device__ inline void startProduct(float (&sum)[8][4], const uint32_t (&a)[4], uint64_t factor,
                                    bool add) {
  if constexpr (std::is_same_v<S, __nv_bfloat16>)
    EVO_WGMMA_64("bf16");
  else
    EVO_WGMMA_64("f16");
}

#define EVO_WGMMA_32(type)                                                                         \
  asm volatile("{ .reg .pred p; setp.ne.b32 p, %21, 0;\n"                                          \
               "wgmma.mma_async.sync.aligned.m64n32k16.f32." type "." type                         \
               " {%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15}, {%16,%17,%18,%19}, "     \
               "%20, p, 1, 1, 1; }"                                                                \
               : EVO_WGMMA_TILE(sum, 0), EVO_WGMMA_TILE(sum, 1), EVO_WGMMA_TILE(sum, 2),           \
                 EVO_WGMMA_TILE(sum, 3)                                                            \
               : EVO_WGMMA_LEFT(a), "l"(factor), "r"(static_cast<int>(add)))

/// sum = a times 16 rows of 32 elements, or that much more.
template <class S>
__device__ inline void startTurnedProduct(float (&sum)[4][4], const uint32_t (&a)[4],
                                          uint64_t factor, bool add) {
  if constexpr (std::is_same_v<S, __nv_bfloat16>)
    EVO_WGMMA_32("bf16");
  else
    EVO_WGMMA_32("f16");
}

#define EVO_WGMMA_16(type)                                                                         \
  asm volatile("{ .reg .pred p; setp.ne.b32 p, %13, 0;\n"                                          \
               "wgmma.mma_async.sync.aligned.m64n16k16.f32." type "." type                         \
               " {%0,%1,%2,%3,%4,%5,%6,%7}, {%8,%9,%10,%11}, %12, p, 1, 1, 1; }"                   \
               : EVO_WGMMA_TILE(sum, 0), EVO_WGMMA_TILE(sum, 1)                                    \
               : EVO_WGMMA_LEFT(a), "l"(factor), "r"(static_cast<int>(add)))

/// The same of rows of 16.
template <class S>
__device__ inline void startTurnedProduct(float (&sum)[2][4], const uint32_t (&a)[4],
                                          uint64_t factor, bool add) {
  if constexpr (std::is_same_v<S, __nv_bfloat16>)
    EVO_WGMMA_16("bf16");
  else
    EVO_WGMMA_16("f16");
}

#define EVO_WGMMA_ROWS_32(type)                                                                    \
  asm volatile("{ .reg .pred p; setp.ne.b32 p, %21, 0;\n"                                          \
               "wgmma.mma_async.sync.aligned.m64n32k16.f32." type "." type                         \
               " {%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15}, {%16,%17,%18,%19}, "     \
               "%20, p, 1, 1, 0; }"                                                                \
               : EVO_WGMMA_TILE(sum, 0), EVO_WGMMA_TILE(sum, 1), EVO_WGMMA_TILE(sum, 2),           \
                 EVO_WGMMA_TILE(sum, 3)                                                            \
               : EVO_WGMMA_LEFT(a), "l"(factor), "r"(static_cast<int>(add)))

/// sum = a times the transpose of 32 rows, a chunk of 16 of their elements, or that much more.
template <class S>
__device__ inline void startProduct(float (&sum)[4][4], const uint32_t (&a)[4], uint64_t factor,
                                    bool add) {
  if constexpr (std::is_same_v<S, __nv_bfloat16>)
    EVO_WGMMA_ROWS_32("bf16");
  else
    EVO_WGMMA_ROWS_32("f16");
}

#define EVO_WGMMA_SHARED_32(type)                                                                  \
  asm volatile("{ .reg .pred p; setp.ne.b32 p, %18, 0;\n"                                          \
               "wgmma.mma_async.sync.aligned.m64n32k16.f32." type "." type                         \
               " {%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15}, %16, %17, p, 1, 1, "     \
               "%19, %19; }"                                                                       \
               : EVO_WGMMA_TILE(sum, 0), EVO_WGMMA_TILE(sum, 1), EVO_WGMMA_TILE(sum, 2),           \
                 EVO_WGMMA_TILE(sum, 3)                                                            \
               : "l"(left), "l"(factor), "r"(static_cast<int>(add)), "n"(kTurned))

/// The same of a left factor in shared memory; kTurned: of the transpose of 16 rows of 64 elements
/// times 16 rows of 32.
template <class S, bool kTurned>
__device__ inline void startSharedProduct(float (&sum)[4][4], uint64_t left, uint64_t factor,
                                          bool add) {
  if constexpr (std::is_same_v<S, __nv_bfloat16>)
    EVO_WGMMA_SHARED_32("bf16");
  else
    EVO_WGMMA_SHARED_32("f16");
}

#define EVO_WGMMA_SHARED_16(type)                                                                  \
  asm volatile("{ .reg .pred p; setp.ne.b32 p, %10, 0;\n"                                          \
               "wgmma.mma_async.sync.aligned.m64n16k16.f32." type "." type                         \
               " {%0,%1,%2,%3,%4,%5,%6,%7}, %8, %9, p, 1, 1, %11, %11; }"                          \
               : EVO_WGMMA_TILE(sum, 0), EVO_WGMMA_TILE(sum, 1)                                    \
               : "l"(left), "l"(factor), "r"(static_cast<int>(add)), "n"(kTurned))

/// The same of rows of 16.
template <class S, bool kTurned>
__device__ inline void startSharedProduct(float (&sum)[2][4], uint64_t left, uint64_t factor,
                                          bool add) {
  if constexpr (std::is_same_v<S, __nv_bfloat16>)
    EVO_WGMMA_SHARED_16("bf16");
  else
    EVO_WGMMA_SHARED_16("f16");
}

#undef EVO_WGMMA_SHARED_16
#undef EVO_WGMMA_SHARED_32
#undef EVO_WGMMA_ROWS_32
/// What the product instructions take in place of an address of 64 elements of 128 bytes, permuted
/// as copies do in rows of that size: rows, eight of which follow each other, whose elements are
/// summed over; or where turned, 64 rows' elements of one depth, with the next 64 `block` bytes on.
__device__ inline uint64_t wideFactorAt(const void *start, uint64_t block = 16) {
  return (__cvta_generic_to_shared(start) & 0x3ffff) >> 4 | block >> 4 << 16 | uint64_t{64} << 32 |
         uint64_t{1} << 62;
}

#define EVO_WGMMA_WIDE_128(type, turned)                                                           \
  asm volatile("{ .reg .pred p; setp.ne.b32 p, %66, 0;\n"                                          \
               "wgmma.mma_async.sync.aligned.m64n128k16.f32." type "." type " {"                   \
               "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,"    \
               "%22,%23,%24,%25,%26,%27,%28,%29,%30,%31,%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,"  \
               "%42,%43,%44,%45,%46,%47,%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,"  \
               "%62,%63}, %64, %65, p, 1, 1, 0, " turned "; }"                                     \
               : EVO_WGMMA_TILE(sum, 0), EVO_WGMMA_TILE(sum, 1), EVO_WGMMA_TILE(sum, 2),           \
                 EVO_WGMMA_TILE(sum, 3), EVO_WGMMA_TILE(sum, 4), EVO_WGMMA_TILE(sum, 5),           \
                 EVO_WGMMA_TILE(sum, 6), EVO_WGMMA_TILE(sum, 7), EVO_WGMMA_TILE(sum, 8),           \
                 EVO_WGMMA_TILE(sum, 9), EVO_WGMMA_TILE(sum, 10), EVO_WGMMA_TILE(sum, 11),         \
                 EVO_WGMMA_TILE(sum, 12), EVO_WGMMA_TILE(sum, 13), EVO_WGMMA_TILE(sum, 14),        \
                 EVO_WGMMA_TILE(sum, 15)                                                           \
               : "l"(left), "l"(factor), "r"(static_cast<int>(add)))

#define EVO_WGMMA_WIDE_64(type, turned)                                                            \
  asm volatile("{ .reg .pred p; setp.ne.b32 p, %34, 0;\n"                                          \
               "wgmma.mma_async.sync.aligned.m64n64k16.f32." type "." type " {"                    \
               "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,"    \
               "%22,%23,%24,%25,%26,%27,%28,%29,%30,%31}, %32, %33, p, 1, 1, 0, " turned "; }"     \
               : EVO_WGMMA_TILE(sum, 0), EVO_WGMMA_TILE(sum, 1), EVO_WGMMA_TILE(sum, 2),           \
                 EVO_WGMMA_TILE(sum, 3), EVO_WGMMA_TILE(sum, 4), EVO_WGMMA_TILE(sum, 5),           \
                 EVO_WGMMA_TILE(sum, 6), EVO_WGMMA_TILE(sum, 7)                                    \
               : "l"(left), "l"(factor), "r"(static_cast<int>(add)))

/// sum = 64 rows of the left factor, times the transpose of 128 or 64 rows of the right one, 16
/// depths of both, or that much more; `kTurned`: as wideFactorAt says of the right factor.
template <class S, bool kTurned>
__device__ inline void startWideProduct(float (&sum)[16][4], uint64_t left, uint64_t factor,
                                        bool add) {
  if constexpr (std::is_same_v<S, __nv_bfloat16> && kTurned)
    EVO_WGMMA_WIDE_128("bf16", "1");
  else if constexpr (std::is_same_v<S, __nv_bfloat16>)
    EVO_WGMMA_WIDE_128("bf16", "0");
  else if constexpr (kTurned)
    EVO_WGMMA_WIDE_128("f16", "1");
  else
    EVO_WGMMA_WIDE_128("f16", "0");
}
template <class S, bool kTurned>
__device__ inline void startWideProduct(float (&sum)[8][4], uint64_t left, uint64_t factor,
                                        bool add) {
  if constexpr (std::is_same_v<S, __nv_bfloat16> && kTurned)
    EVO_WGMMA_WIDE_64("bf16", "1");
  else if constexpr (std::is_same_v<S, __nv_bfloat16>)
    EVO_WGMMA_WIDE_64("bf16", "0");
  else if constexpr (kTurned)
    EVO_WGMMA_WIDE_64("f16", "1");
  else
    EVO_WGMMA_WIDE_64("f16", "0");
}

#undef EVO_WGMMA_WIDE_64
#undef EVO_WGMMA_WIDE_128
#undef EVO_WGMMA_16
#undef EVO_WGMMA_32
#undef EVO_WGMMA_64
#undef EVO_WGMMA_LEFT
#undef EVO_WGMMA_TILE

} // namespace evo::cuda
