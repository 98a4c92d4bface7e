//===- Zero.cpp -----------------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// y[*] = 0.
//===----------------------------------------------------------------------===//
#include "runtime/cpu/kernels/Axes.h"
#include "runtime/cpu/kernels/Elementwise.h"

namespace evo::cpu::EVO_CPU_ISA {

namespace {

template <class T> void zeroElements(const Launch &launch) {
  Operand operands[] = {launch.operands[0]};
  if (isEmpty(operands[0]))
    return;
  sortAxes(operands, 0);
  int rank = operands[0].rank;
  forEachLine<T, 1>(launch, {&operands[0]}, 0, rank ? rank - 1 : 0,
                    [](const Line<T> *lines, int64_t n, const Workspace &workspace) {
                      Compute<T> *zeros = ScratchSpace(workspace).take<Compute<T>>(kLineLength);
                      for (int64_t i = 0; i < n; ++i)
                        zeros[i] = 0;
                      lines[0].store(zeros, n);
                    });
}

} // namespace

template <class S> void launchZero(const Launch &launch) {
  if (isStatistic<S>(launch.operands[0]))
    zeroElements<Compute<S>>(launch);
  else
    zeroElements<S>(launch);
}

EVO_CPU_INSTANTIATE(Zero)

} // namespace evo::cpu::EVO_CPU_ISA
