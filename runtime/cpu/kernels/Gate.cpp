//===- Gate.cpp -----------------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// y[b,q,x] = sigmoid(gate[b,q,x] + gate_bias[x]) * o[b,u,x]; u is q, or 1 and o is broadcast over
// q. y may be the gate.
//===----------------------------------------------------------------------===//
#include "runtime/cpu/kernels/Rows.h"

namespace evo::cpu::EVO_CPU_ISA {

template <class S> void launchGate(const Launch &launch) {
  using T = Compute<S>;
  const Operand &gate = launch.operands[1], &bias = launch.operands[2], &y = launch.operands[3];
  Operand o = launch.operands[0];
  if (o.shape[1] != y.shape[1])
    o.strides[1] = 0;
  RowSpace space(y, 2);
  int os = space.add(o), gates = space.add(gate), ys = space.add(y);
  space.merge();
  constexpr int64_t kCols = 1024;
  forEachTile(launch, space, y.shape[2], 64, kCols,
              [&](const Tile &tile, const Workspace &workspace) {
                ScratchSpace scratch(workspace);
                T *values = scratch.take<T>(kCols), *opening = scratch.take<T>(kCols);
                Matrix<S> in = space.matrix<S>(o, os, tile.outer, o.strides[2]);
                Matrix<S> gateIn = space.matrix<S>(gate, gates, tile.outer, gate.strides[2]);
                Matrix<S> out = space.matrix<S>(y, ys, tile.outer, y.strides[2]);
                const S *biasRow = elements<S>(bias) + tile.col * bias.strides[0];
                for (int64_t i = tile.row; i < tile.row + tile.rows; ++i) {
                  loadLine(opening, gateIn.at(i, tile.col), gateIn.colStride, tile.cols);
                  addLine(opening, biasRow, bias.strides[0], tile.cols);
                  loadLine(values, in.at(i, tile.col), in.colStride, tile.cols);
                  gateLine(values, opening, 1, tile.cols);
                  storeLine(out.at(i, tile.col), out.colStride, values, tile.cols);
                }
              });
}

EVO_CPU_INSTANTIATE(Gate)

} // namespace evo::cpu::EVO_CPU_ISA
