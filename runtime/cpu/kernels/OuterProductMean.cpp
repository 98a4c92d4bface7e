//===- OuterProductMean.cpp -----------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// y[i,j,n] = residual[i,j,n] + row_scale[i,j] * (sum_{c,d} weight[n,(c,d)] sum_s a[s,i,c] b[s,j,d]
// + bias[n]); y may be the residual.
//
// The outer product exists one tile of (i, j, c, d) at a time, in scratch, and is multiplied by its
// part of the weight at once; where c times d takes several tiles, their products are summed in
// scratch.
//===----------------------------------------------------------------------===//
#include "runtime/cpu/kernels/Epilogue.h"
#include "runtime/cpu/kernels/OuterTile.h"

namespace evo::cpu::EVO_CPU_ISA {

namespace {

constexpr int64_t kTileCols = 128;

/// sums[(i,j), n] (+)= tile[(i,j), (c,d)] weight[n, (c,d)]^T; weightT is [(c,d), n] of all c and d.
template <class S, class T>
void projectTile(int64_t rows, int64_t cols, Range c, Range d, int64_t allD, const T *tile,
                 Matrix<const S> weightT, bool first, T *sums, const Workspace &workspace) {
  Matrix<const T> outer{tile, c.count * d.count, 1};
  Matrix<T> out{sums, cols, 1};
  if (d.count == allD) {
    gemm(rows, cols, c.count * allD, T(1), outer, weightT.block(c.first * allD, 0),
         first ? T(0) : T(1), out, workspace);
    return;
  }
  for (int64_t k = 0; k < c.count; ++k)
    gemm(rows, cols, d.count, T(1), outer.block(0, k * d.count),
         weightT.block((c.first + k) * allD + d.first, 0), first && k == 0 ? T(0) : T(1), out,
         workspace);
}

} // namespace

template <class S> void launchOuterProductMean(const Launch &launch) {
  using T = Compute<S>;
  const Operand &a = launch.operands[0], &b = launch.operands[1], &weight = launch.operands[2];
  const Operand &bias = launch.operands[3], &rowScale = launch.operands[4];
  const Operand &residual = launch.operands[5], &y = launch.operands[6];
  int64_t allI = y.shape[0], allJ = y.shape[1], allN = y.shape[2];
  int64_t allC = a.shape[2], allD = b.shape[2];
  if (allI == 0 || allJ == 0 || allC == 0 || allD == 0)
    return;
  OuterTiling tiling(allI, allJ, allC, allD, sizeof(T));
  int64_t jTiles = ceilDiv(allJ, tiling.j);
  Matrix<const S> weightT{elements<S>(weight), weight.strides[1], weight.strides[0]};
  auto rowOf = [](const Operand &operand, int64_t i, int64_t j) {
    return operand
               ? Matrix<S>{elements<S>(operand) + i * operand.strides[0] + j * operand.strides[1],
                           operand.strides[1], operand.strides[2]}
               : Matrix<S>{};
  };
  auto scaleOf = [&rowScale](int64_t i, int64_t j) {
    int64_t at = i * rowScale.strides[0] + j * rowScale.strides[1], stride = rowScale.strides[1];
    if (isStatistic<S>(rowScale))
      return EitherMatrix<S>{{}, {elements<T>(rowScale) + at, stride, 0}};
    return EitherMatrix<S>{{elements<S>(rowScale) + at, stride, 0}, {}};
  };
  forEachTask(
      launch, ceilDiv(allI, tiling.i) * jTiles, [&](int64_t task, const Workspace &workspace) {
        Range i{task / jTiles * tiling.i, tiling.i}, j{task % jTiles * tiling.j, tiling.j};
        i.count = smaller(i.count, allI - i.first), j.count = smaller(j.count, allJ - j.first);
        ScratchSpace space(workspace);
        OuterScratch<T> scratch(space, tiling);
        T *sums = space.take<T>(tiling.i * tiling.j * kTileCols);
        int64_t rows = i.count * j.count;
        bool oneTile = tiling.c == allC && tiling.d == allD;
        for (int64_t n = 0; n < allN; n += kTileCols) {
          int64_t cols = smaller(kTileCols, allN - n);
          for (int64_t c = 0; c < allC; c += tiling.c)
            for (int64_t d = 0; d < allD; d += tiling.d) {
              Range cs{c, smaller(tiling.c, allC - c)}, ds{d, smaller(tiling.d, allD - d)};
              if (!oneTile || n == 0)
                outerTile<S>(T(1), a, b, i, j, cs, ds, scratch, workspace);
              projectTile(rows, cols, cs, ds, allD, scratch.tile, weightT.block(0, n),
                          c == 0 && d == 0, sums, workspace);
            }
          for (int64_t ii = 0; ii < i.count; ++ii) {
            Epilogue<S> epilogue{{elements<S>(bias), 0, bias.strides[0]},
                                 {},
                                 scaleOf(i.first + ii, j.first),
                                 rowOf(residual, i.first + ii, j.first).asConst()};
            epilogue.block(0, n).apply(Matrix<T>{sums + ii * j.count * cols, cols, 1},
                                       rowOf(y, i.first + ii, j.first).block(0, n), j.count, cols);
          }
        }
      });
}

EVO_CPU_INSTANTIATE(OuterProductMean)

} // namespace evo::cpu::EVO_CPU_ISA
