//===- Axes.h - axes in the order of memory ---------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// For kernels whose axes all mean the same: they are worked on in the order in which the output
// lies in memory.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/cpu/kernels/Rows.h"

namespace evo::cpu::EVO_CPU_ISA {

inline bool isEmpty(const Operand &operand) {
  for (int d = 0; d < operand.rank; ++d)
    if (operand.shape[d] == 0)
      return true;
  return false;
}

inline void swapAxes(Operand &operand, int a, int b) {
  int64_t extent = operand.shape[a], stride = operand.strides[a];
  operand.shape[a] = operand.shape[b], operand.strides[a] = operand.strides[b];
  operand.shape[b] = extent, operand.strides[b] = stride;
}

/// Drops axes of extent 1 and brings those of operand `like` to descending strides; the others, of
/// the same shape, go along.
template <int N> void sortAxes(Operand (&operands)[N], int like) {
  auto swapAll = [&](int a, int b) {
    for (Operand &operand : operands)
      swapAxes(operand, a, b);
  };
  const Operand &first = operands[like];
  int kept = 0;
  for (int d = 0; d < first.rank; ++d)
    if (first.shape[d] != 1)
      swapAll(kept++, d);
  for (Operand &operand : operands)
    operand.rank = kept;
  for (int i = 1; i < kept; ++i)
    for (int j = i; j > 0 && first.strides[j] > first.strides[j - 1]; --j)
      swapAll(j, j - 1);
}

} // namespace evo::cpu::EVO_CPU_ISA
