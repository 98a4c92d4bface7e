//===- LinearGrad.cpp -----------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// The element-wise part of `linear` backwards, h = act(x weight^T + bias):
// du = dropout * row_scale * sigmoid(gate) * [h > 0 where act is relu] * dy; du may be dy.
// dgate = dropout * row_scale * h * sigmoid'(gate) * dy.
//===----------------------------------------------------------------------===//
#include "runtime/cpu/kernels/Elementwise.h"

namespace evo::cpu::EVO_CPU_ISA {

template <class S> void launchLinearGrad(const Launch &launch) {
  using T = Compute<S>;
  const Operand *o = launch.operands;
  bool relu = launch.attributes->activation == plan::Activation::Relu;
  Operand dropouts = broadcast(o[4], o[0].rank - 1);
  forEachLine<S, 7>(
      launch, {&o[0], &o[1], &o[2], &o[3], &dropouts, &o[5], &o[6]}, 5, o[0].rank - 1,
      [&](const Line<S> *lines, int64_t n, const Workspace &workspace) {
        const Line<S> &dy = lines[0], &h = lines[1], &rowScale = lines[2], &gate = lines[3];
        const Line<S> &dropout = lines[4], &du = lines[5], &dgate = lines[6];
        ScratchSpace scratch(workspace);
        T *values = scratch.take<T>(kLineLength), *slope = scratch.take<T>(kLineLength);
        dy.load(values, n);
        if (rowScale)
          multiplyLine(values, rowScale, n);
        if (dropout)
          multiplyLine(values, dropout, n);
        if (dgate) {
          loadLine(slope, values, 1, n);
          multiplyLine(slope, h, n);
          gateSlopeLine(slope, gate.stored, gate.stride, n);
          dgate.store(slope, n);
        }
        if (gate)
          gateLine(values, gate, n);
        if (relu)
          zipLine(values, h.stored, h.stride, n, [](T a, T b) { return b > T(0) ? a : T(0); });
        du.store(values, n);
      });
}

EVO_CPU_INSTANTIATE(LinearGrad)

} // namespace evo::cpu::EVO_CPU_ISA
