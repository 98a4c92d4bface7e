//===- Math.h - vectorisable exponential ------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// e^x for loops that the compiler vectorises: x = n ln 2 + r with |r| <= ln 2 / 2, a Taylor
// polynomial in r (its remainder is below a unit in the last place) and 2^n put together from bits.
// The rounding to n is the addition of 1.5 * 2^(mantissa bits), which leaves n in the low bits of
// the sum.
//===----------------------------------------------------------------------===//
#pragma once

#include <stdint.h>

namespace evo::cpu::EVO_CPU_ISA {

template <class T> struct ExpConstants;

template <> struct ExpConstants<float> {
  using Bits = uint32_t;
  static constexpr float low = -87, high = 88, magic = 12582912;
  static constexpr float ln2High = 0.693145751953125f, ln2Low = 1.42860682030941723e-6f;
  static constexpr Bits bias = 127;
  static constexpr int mantissaBits = 23, degree = 7;
};

template <> struct ExpConstants<double> {
  using Bits = uint64_t;
  static constexpr double low = -708, high = 709, magic = 6755399441055744;
  static constexpr double ln2High = 6.93147180369123816490e-1, ln2Low = 1.90821492927058770002e-10;
  static constexpr Bits bias = 1023;
  static constexpr int mantissaBits = 52, degree = 13;
};

inline constexpr double kInverseFactorials[14] = {1.0,
                                                  1.0,
                                                  1.0 / 2,
                                                  1.0 / 6,
                                                  1.0 / 24,
                                                  1.0 / 120,
                                                  1.0 / 720,
                                                  1.0 / 5040,
                                                  1.0 / 40320,
                                                  1.0 / 362880,
                                                  1.0 / 3628800,
                                                  1.0 / 39916800,
                                                  1.0 / 479001600,
                                                  1.0 / 6227020800};

/// e^x within 2 units in the last place; exactly 0 below `low`; e^high above `high`; NaN stays NaN.
template <class T> [[gnu::always_inline]] inline T fastExp(T x) {
  using C = ExpConstants<T>;
  T clamped = x < C::low ? C::low : x;
  clamped = clamped > C::high ? C::high : clamped;
  T shifted = clamped * T(1.44269504088896340736) + C::magic;
  T n = shifted - C::magic;
  T r = (clamped - n * C::ln2High) - n * C::ln2Low;
  T p = T(kInverseFactorials[C::degree]);
#pragma GCC unroll 16
  for (int i = C::degree - 1; i >= 0; --i)
    p = p * r + T(kInverseFactorials[i]);
  typename C::Bits bits;
  __builtin_memcpy(&bits, &shifted, sizeof(bits));
  bits = (bits + C::bias) << C::mantissaBits;
  T power;
  __builtin_memcpy(&power, &bits, sizeof(power));
  return x < C::low ? T(0) : p * power;
}

template <class T> [[gnu::always_inline]] inline T fastSigmoid(T x) {
  return T(1) / (T(1) + fastExp(-x));
}

/// sigmoid(x) and its derivative, the latter without the cancellation in 1 - sigmoid(x).
template <class T> [[gnu::always_inline]] inline T fastSigmoidSlope(T x, T &sigmoid) {
  T e = fastExp(-x);
  sigmoid = T(1) / (T(1) + e);
  return e * sigmoid * sigmoid;
}

} // namespace evo::cpu::EVO_CPU_ISA
