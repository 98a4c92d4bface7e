//===- Elementwise.h - kernels that work on one element at a time -*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// Lines run along the columns, or along the rows where it is there that the output has its unit
// stride (a channel-first tensor).
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/cpu/kernels/Rows.h"

namespace evo::cpu::EVO_CPU_ISA {

inline constexpr int64_t kLineLength = 1024;

/// Calls body(lines, n, workspace) with n <= kLineLength for all lines of operands that share their
/// first `leading` axes; those that have one more have columns, `like` among them.
template <class S, int N, class Body>
void forEachLine(const Launch &launch, const Operand *const (&operands)[N], int like, int leading,
                 const Body &body) {
  auto colStride = [&](const Operand &operand) {
    return operand.rank > leading ? operand.strides[leading] : 0;
  };
  RowSpace space(*operands[like], leading);
  int numbers[N];
  for (int i = 0; i < N; ++i)
    numbers[i] = space.add(*operands[i]);
  bool unitCols = colStride(*operands[like]) == 1;
  space.merge(unitCols ? -1 : numbers[like]);
  bool down = !unitCols && space.rowStride(numbers[like]) == 1;
  constexpr int64_t kLines = 64;
  int64_t cols = operands[like]->rank > leading ? operands[like]->shape[leading] : 1;
  forEachTile(launch, space, cols, down ? kLineLength : kLines, down ? kLines : kLineLength,
              [&](const Tile &tile, const Workspace &workspace) {
                EitherMatrix<S> matrices[N];
                for (int i = 0; i < N; ++i) {
                  matrices[i] =
                      space.either<S>(*operands[i], numbers[i], tile.outer, colStride(*operands[i]))
                          .block(tile.row, tile.col);
                  if (down)
                    matrices[i] = matrices[i].transposed();
                }
                int64_t lines = down ? tile.cols : tile.rows, length = down ? tile.rows : tile.cols;
                for (int64_t line = 0; line < lines; ++line) {
                  Line<S> set[N];
                  for (int i = 0; i < N; ++i)
                    set[i] = matrices[i].line(line);
                  body(set, length, workspace);
                }
              });
}

} // namespace evo::cpu::EVO_CPU_ISA
