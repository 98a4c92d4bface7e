//===- Add.cpp ------------------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// y[*] = x[*] + addend[*]; y may be x.
//===----------------------------------------------------------------------===//
#include "runtime/cpu/kernels/Axes.h"
#include "runtime/cpu/kernels/Elementwise.h"

namespace evo::cpu::EVO_CPU_ISA {

template <class S> void launchAdd(const Launch &launch) {
  Operand operands[] = {launch.operands[0], launch.operands[1], launch.operands[2]};
  if (isEmpty(operands[2]))
    return;
  sortAxes(operands, 2);
  int rank = operands[2].rank;
  forEachLine<S, 3>(launch, {&operands[0], &operands[1], &operands[2]}, 2, rank ? rank - 1 : 0,
                    [](const Line<S> *lines, int64_t n, const Workspace &workspace) {
                      auto *values = ScratchSpace(workspace).take<Compute<S>>(kLineLength);
                      lines[0].load(values, n);
                      addLine(values, lines[1], n);
                      lines[2].store(values, n);
                    });
}

EVO_CPU_INSTANTIATE(Add)

} // namespace evo::cpu::EVO_CPU_ISA
