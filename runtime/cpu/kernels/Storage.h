//===- Storage.h - element types in memory and in arithmetic ----*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// A kernel is a template on S, the type that a plan stores: float, double, Bf16 or Fp16. It
// computes with Compute<S>, float for the two halves and else S itself, which is also the type of
// statistics: `widen` reads a stored element, and `rounded<S>` stores a result, to nearest, ties to
// even, an overflow to infinity. Both are arithmetic on bits that every instruction set vectorises.
//===----------------------------------------------------------------------===//
#pragma once

#include <stdint.h>

namespace evo::cpu::EVO_CPU_ISA {

/// The upper half of a float.
struct Bf16 {
  uint16_t bits;
};

/// IEEE binary16.
struct Fp16 {
  uint16_t bits;
};

template <class S> struct StorageTraits {
  using Compute = S;
  static constexpr bool rounds = false;
};
template <> struct StorageTraits<Bf16> {
  using Compute = float;
  static constexpr bool rounds = true;
};
template <> struct StorageTraits<Fp16> {
  using Compute = float;
  static constexpr bool rounds = true;
};
template <class S> struct StorageTraits<const S> : StorageTraits<S> {};

/// What a kernel computes with.
template <class S> using Compute = typename StorageTraits<S>::Compute;
/// Whether storing a result loses bits.
template <class S> inline constexpr bool kRounds = StorageTraits<S>::rounds;

[[gnu::always_inline]] inline uint32_t bitsOf(float value) {
  uint32_t bits;
  __builtin_memcpy(&bits, &value, sizeof(bits));
  return bits;
}

[[gnu::always_inline]] inline float floatOf(uint32_t bits) {
  float value;
  __builtin_memcpy(&value, &bits, sizeof(value));
  return value;
}

[[gnu::always_inline]] inline float widen(float value) { return value; }
[[gnu::always_inline]] inline double widen(double value) { return value; }

[[gnu::always_inline]] inline float widen(Bf16 value) {
  return floatOf(uint32_t(value.bits) << 16);
}

[[gnu::always_inline]] inline float widen(Fp16 value) {
  constexpr uint32_t kRebias = (127 - 15) << 23;
  uint32_t magnitude = value.bits & 0x7fffu;
  uint32_t normal = (magnitude << 13) + kRebias;
  // Exponent 31 becomes 255, the infinities and NaNs.
  uint32_t wide = magnitude >= 0x7c00u ? normal + kRebias : normal;
  // A subnormal is a multiple of 2^-24.
  uint32_t small = bitsOf(float(int32_t(magnitude)) * 0x1p-24f);
  return floatOf((magnitude < 0x400u ? small : wide) | uint32_t(value.bits & 0x8000u) << 16);
}

template <class S> struct Rounding {
  [[gnu::always_inline]] static S of(S value) { return value; }
};

template <> struct Rounding<Bf16> {
  [[gnu::always_inline]] static Bf16 of(float value) {
    uint32_t bits = bitsOf(value);
    uint32_t nearest = bits + 0x7fffu + (bits >> 16 & 1u); // a carry may reach infinity
    uint32_t quietNan = bits | 0x400000u;
    return {uint16_t((value != value ? quietNan : nearest) >> 16)};
  }
};

template <> struct Rounding<Fp16> {
  [[gnu::always_inline]] static Fp16 of(float value) {
    constexpr uint32_t kRebias = (127 - 15) << 23, kHalf = 126u << 23;
    uint32_t bits = bitsOf(value), magnitude = bits & 0x7fffffffu;
    uint32_t normal = (magnitude - kRebias + 0xfffu + (magnitude >> 13 & 1u)) >> 13;
    // From 65520 on, halfway to the first power of two that is too large, all is infinite.
    uint32_t large = magnitude > 0x7f800000u ? 0x7e00u : 0x7c00u;
    // Below 2^-14: the sum with 1/2, whose last bit is 2^-24, rounds as wanted.
    uint32_t small = bitsOf(floatOf(magnitude) + 0.5f) - kHalf;
    uint32_t narrow = magnitude >= 0x477ff000u ? large : normal;
    narrow = magnitude < 0x38800000u ? small : narrow;
    return {uint16_t(narrow | (bits >> 16 & 0x8000u))};
  }
};

/// `value` as it is stored.
template <class S> [[gnu::always_inline]] inline S rounded(Compute<S> value) {
  return Rounding<S>::of(value);
}

template <class A, class B> inline constexpr bool kSameType = false;
template <class A> inline constexpr bool kSameType<A, A> = true;

/// `value` as an element of type T.
template <class T, class S> [[gnu::always_inline]] inline T converted(S value) {
  if constexpr (kSameType<T, S>)
    return value;
  else
    return rounded<T>(widen(value));
}

} // namespace evo::cpu::EVO_CPU_ISA

/// Ends a kernel's file: launchName for every type that plans store.
#define EVO_CPU_INSTANTIATE(Name)                                                                  \
  template void launch##Name<float>(const Launch &);                                               \
  template void launch##Name<double>(const Launch &);                                              \
  template void launch##Name<Bf16>(const Launch &);                                                \
  template void launch##Name<Fp16>(const Launch &);
