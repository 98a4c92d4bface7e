//===- Mma.cuh - tensor cores of half types ---------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// Products of 16 x 16 by 16 x 8, accumulated in fp32, by a warp. With g = lane / 4 and t = lane %
// 4, a lane has of the left factor the pairs (g, 2t), (g + 8, 2t), (g, 2t + 8), (g + 8, 2t + 8), of
// the right one the pairs of rows 2t and 2t + 8 in column g, and of the sums (g, 2t), (g, 2t + 1),
// (g + 8, 2t), (g + 8, 2t + 1).
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/cuda/kernels/Storage.cuh"

namespace evo::cuda {

template <class S>
__device__ inline void multiplyTiles(float (&sum)[4], const uint32_t (&a)[4], uint32_t b0,
                                     uint32_t b1) {
  if constexpr (std::is_same_v<S, __nv_bfloat16>)
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
                 "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
  else
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
                 "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

/// Two values rounded to S, the first in the lower half.
template <class S> __device__ inline uint32_t packed(float low, float high) {
  if constexpr (std::is_same_v<S, __nv_bfloat16>) {
    __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
    return *reinterpret_cast<uint32_t *>(&pair);
  } else {
    __half2 pair = __floats2half2_rn(low, high);
    return *reinterpret_cast<uint32_t *>(&pair);
  }
}
template <class S> __device__ inline float2 unpacked(uint32_t bits) {
  if constexpr (std::is_same_v<S, __nv_bfloat16>)
    return __bfloat1622float2(*reinterpret_cast<__nv_bfloat162 *>(&bits));
  else
    return __half22float2(*reinterpret_cast<__half2 *>(&bits));
}

/// The same; `unpacked` takes an instruction more for bf16.
template <class S> __device__ inline float2 widenPair(uint32_t bits) {
  if constexpr (std::is_same_v<S, __nv_bfloat16>)
    return {__uint_as_float(bits << 16), __uint_as_float(bits & 0xffff0000)};
  else
    return unpacked<S>(bits);
}

__device__ inline uint32_t sharedAddress(const void *x) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(x));
}

/// Four 8 x 8 matrices, whose rows the lanes' addresses name eight by eight.
__device__ inline void loadMatrices(uint32_t (&x)[4], uint32_t address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3])
               : "r"(address));
}
__device__ inline void loadMatrices(uint32_t (&x)[4], const void *row) {
  loadMatrices(x, sharedAddress(row));
}
/// The same, each transposed.
__device__ inline void loadTransposed(uint32_t (&x)[4], const void *row) {
  auto address = static_cast<uint32_t>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3])
               : "r"(address));
}

/// Stores them so; for devices from 9.0 on.
__device__ inline void storeMatrices(uint32_t address, const uint32_t (&x)[4]) {
  asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1,%2,%3,%4};" ::"r"(address),
               "r"(x[0]), "r"(x[1]), "r"(x[2]), "r"(x[3])
               : "memory");
}
__device__ inline void storeMatrices(void *row, const uint32_t (&x)[4]) {
  storeMatrices(sharedAddress(row), x);
}
/// The same, each transposed.
__device__ inline void storeTransposed(void *row, const uint32_t (&x)[4]) {
  auto address = static_cast<uint32_t>(__cvta_generic_to_shared(row));
  asm volatile("stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%0], {%1,%2,%3,%4};" ::"r"(address),
               "r"(x[0]), "r"(x[1]), "r"(x[2]), "r"(x[3])
               : "memory");
}

/// Copies 16 bytes to shared memory behind the thread's back, or zeros where not `inside`.
__device__ inline void copyAsync(void *to, const void *from, bool inside) {
  auto address = static_cast<uint32_t>(__cvta_generic_to_shared(to));
  int bytes = inside ? 16 : 0;
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address), "l"(from),
               "r"(bytes));
}
__device__ inline void commitCopies() { asm volatile("cp.async.commit_group;"); }
/// Until at most kPending groups of copies are under way.
template <int kPending> __device__ inline void waitForCopies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending));
}

/// 2^x.
__device__ inline float exp2Fast(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

/// Over the four lanes that have a row of sums.
__device__ inline float rowMax(float x) {
  x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, 1));
  return fmaxf(x, __shfl_xor_sync(0xffffffffu, x, 2));
}
__device__ inline float rowSum(float x) {
  x += __shfl_xor_sync(0xffffffffu, x, 1);
  return x + __shfl_xor_sync(0xffffffffu, x, 2);
}

} // namespace evo::cuda
