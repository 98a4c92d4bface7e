//===- Lines.h - operations on one line of elements -------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// The element-wise parts of the kernels: each works on n elements that lie next to each other
// (`line`), with a second operand of any stride (0: one value for the whole line). Lines are short
// enough for the first cache, so several passes cost little and every pass is a loop that
// vectorises.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/cpu/kernels/Math.h"
#include "runtime/cpu/kernels/Storage.h"

namespace evo::cpu::EVO_CPU_ISA {

template <class T> constexpr T smaller(T a, T b) { return b < a ? b : a; }
template <class T> constexpr T larger(T a, T b) { return a < b ? b : a; }
constexpr int64_t ceilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

/// line[i] = f(line[i], other[i * stride]), in the arithmetic of T.
template <class T, class S, class F>
[[gnu::always_inline]] inline void zipLine(T *__restrict line, const S *__restrict other,
                                           int64_t stride, int64_t n, const F &f) {
  if (stride == 1) {
#pragma omp simd
    for (int64_t i = 0; i < n; ++i)
      line[i] = f(line[i], T(widen(other[i])));
  } else if (stride == 0) {
    T value = n ? T(widen(other[0])) : T(0);
#pragma omp simd
    for (int64_t i = 0; i < n; ++i)
      line[i] = f(line[i], value);
  } else {
    for (int64_t i = 0; i < n; ++i)
      line[i] = f(line[i], T(widen(other[i * stride])));
  }
}

template <class T, class S> void addLine(T *line, const S *other, int64_t stride, int64_t n) {
  zipLine(line, other, stride, n, [](T a, T b) { return a + b; });
}

template <class T, class S> void multiplyLine(T *line, const S *other, int64_t stride, int64_t n) {
  zipLine(line, other, stride, n, [](T a, T b) { return a * b; });
}

/// line[i] *= sigmoid(other[i * stride])
template <class T, class S> void gateLine(T *line, const S *other, int64_t stride, int64_t n) {
  if (stride == 0) {
    T factor = n ? fastSigmoid(T(widen(other[0]))) : T(0);
    return multiplyLine(line, &factor, 0, n);
  }
  zipLine(line, other, stride, n, [](T a, T b) { return a * fastSigmoid(b); });
}

/// line[i] *= sigmoid'(other[i * stride])
template <class T, class S> void gateSlopeLine(T *line, const S *other, int64_t stride, int64_t n) {
  zipLine(line, other, stride, n, [](T a, T b) {
    T opening;
    return a * fastSigmoidSlope(b, opening);
  });
}

template <class T> void reluLine(T *line, int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i)
    line[i] = line[i] < T(0) ? T(0) : line[i];
}

template <class T> void scaleLine(T *line, T factor, int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; ++i)
    line[i] *= factor;
}

/// line[i] = source[i * stride]
template <class T, class S>
void loadLine(T *__restrict line, const S *__restrict source, int64_t stride, int64_t n) {
  if (stride != 1) {
    for (int64_t i = 0; i < n; ++i)
      line[i] = converted<T>(source[i * stride]);
  } else if constexpr (kSameType<T, S>) {
    __builtin_memcpy(line, source, static_cast<size_t>(n) * sizeof(T));
  } else {
#pragma omp simd
    for (int64_t i = 0; i < n; ++i)
      line[i] = converted<T>(source[i]);
  }
}

/// target[i * stride] = line[i]
template <class S, class T>
void storeLine(S *__restrict target, int64_t stride, const T *__restrict line, int64_t n) {
  if (stride == 1)
    return loadLine(target, line, 1, n);
  for (int64_t i = 0; i < n; ++i)
    target[i * stride] = converted<S>(line[i]);
}

template <class T> T maxLine(const T *line, int64_t n) {
  // Independent lanes let the compiler vectorise without assuming that no element is NaN.
  constexpr int kLanes = 64 / sizeof(T);
  T lanes[kLanes];
  for (int l = 0; l < kLanes; ++l)
    lanes[l] = line[0];
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes)
    for (int l = 0; l < kLanes; ++l)
      lanes[l] = lanes[l] < line[i + l] ? line[i + l] : lanes[l];
  T best = lanes[0];
  for (int l = 1; l < kLanes; ++l)
    best = best < lanes[l] ? lanes[l] : best;
  for (; i < n; ++i)
    best = best < line[i] ? line[i] : best;
  return best;
}

/// line[i] = e^(line[i] - offset); returns their sum.
template <class T> T expLine(T *line, T offset, int64_t n) {
  T sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < n; ++i) {
    line[i] = fastExp(line[i] - offset);
    sum += line[i];
  }
  return sum;
}

/// n elements of an operand, either as plans store them or statistics; both null where the operand
/// is absent. A stride of 0 where one value serves all.
template <class S> struct Line {
  S *stored = nullptr;
  Compute<S> *statistic = nullptr;
  int64_t stride = 0;

  explicit operator bool() const { return stored || statistic; }
  void load(Compute<S> *target, int64_t n) const {
    stored ? loadLine(target, stored, stride, n) : loadLine(target, statistic, stride, n);
  }
  void store(const Compute<S> *source, int64_t n) const {
    stored ? storeLine(stored, stride, source, n) : storeLine(statistic, stride, source, n);
  }
};

template <class S> void addLine(Compute<S> *line, const Line<S> &other, int64_t n) {
  other.stored ? addLine(line, other.stored, other.stride, n)
               : addLine(line, other.statistic, other.stride, n);
}

template <class S> void multiplyLine(Compute<S> *line, const Line<S> &other, int64_t n) {
  other.stored ? multiplyLine(line, other.stored, other.stride, n)
               : multiplyLine(line, other.statistic, other.stride, n);
}

template <class S> void gateLine(Compute<S> *line, const Line<S> &other, int64_t n) {
  other.stored ? gateLine(line, other.stored, other.stride, n)
               : gateLine(line, other.statistic, other.stride, n);
}

} // namespace evo::cpu::EVO_CPU_ISA
