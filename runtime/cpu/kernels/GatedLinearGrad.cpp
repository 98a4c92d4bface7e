//===- GatedLinearGrad.cpp ------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// The element-wise part of `gated_linear` backwards, u = x weight^T + bias and
// g = x gate_weight^T + gate_bias:
// du = row_scale * sigmoid(g) * dy; dg = row_scale * u * sigmoid'(g) * dy.
// du may be u and dg may be g: both are computed before either is stored.
//===----------------------------------------------------------------------===//
#include "runtime/cpu/kernels/Elementwise.h"

namespace evo::cpu::EVO_CPU_ISA {

template <class S> void launchGatedLinearGrad(const Launch &launch) {
  using T = Compute<S>;
  const Operand *o = launch.operands;
  forEachLine<S, 6>(launch, {&o[0], &o[1], &o[2], &o[3], &o[4], &o[5]}, 4, o[0].rank - 1,
                    [&](const Line<S> *lines, int64_t n, const Workspace &workspace) {
                      const Line<S> &dy = lines[0], &u = lines[1], &g = lines[2],
                                    &rowScale = lines[3];
                      ScratchSpace scratch(workspace);
                      T *values = scratch.take<T>(kLineLength),
                        *slope = scratch.take<T>(kLineLength);
                      dy.load(values, n);
                      if (rowScale)
                        multiplyLine(values, rowScale, n);
                      loadLine(slope, values, 1, n);
                      multiplyLine(slope, u, n);
                      gateSlopeLine(slope, g.stored, g.stride, n);
                      gateLine(values, g, n);
                      lines[4].store(values, n);
                      lines[5].store(slope, n);
                    });
}

EVO_CPU_INSTANTIATE(GatedLinearGrad)

} // namespace evo::cpu::EVO_CPU_ISA
