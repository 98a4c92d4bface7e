//===- GatedLinear.cpp ----------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// y[*,n] = row_scale[*] * sigmoid(sum_k x[*,k] gate_weight[n,k] + gate_bias[n]) *
//          (sum_k x[*,k] weight[n,k] + bias[n]).
//
// Two products a tile, the gate's into scratch, the other into y where y has a unit stride.
//===----------------------------------------------------------------------===//
#include "runtime/cpu/kernels/Epilogue.h"
#include "runtime/cpu/kernels/Rows.h"

namespace evo::cpu::EVO_CPU_ISA {

namespace {
constexpr int64_t kTileRows = 256, kTileCols = 256;
} // namespace

template <class T> void launchGatedLinear(const Launch &launch) {
  const Operand &x = launch.operands[0], &weight = launch.operands[1], &bias = launch.operands[2];
  const Operand &gateWeight = launch.operands[3], &gateBias = launch.operands[4];
  const Operand &rowScale = launch.operands[5], &y = launch.operands[6];
  static_assert(2 * kTileRows * kTileCols * sizeof(T) <= kKernelScratchBytes);
  int leading = x.rank - 1;
  int64_t k = x.shape[leading], n = y.shape[leading];
  RowSpace space(x, leading);
  int xs = space.add(x), scales = space.add(rowScale), ys = space.add(y);
  space.merge();
  Matrix<const T> weightT{elements<T>(weight), weight.strides[1], weight.strides[0]};
  Matrix<const T> gateWeightT{elements<T>(gateWeight), gateWeight.strides[1],
                              gateWeight.strides[0]};
  Matrix<const T> biasRow{elements<T>(bias), 0, bias.strides[0]};
  Matrix<const T> gateBiasRow{elements<T>(gateBias), 0, gateBias.strides[0]};
  forEachTile(
      launch, space, n, kTileRows, kTileCols, [&](const Tile &tile, const Workspace &workspace) {
        Matrix<const T> in =
            space.matrix<T>(x, xs, tile.outer, x.strides[leading]).asConst().block(tile.row, 0);
        Matrix<T> out =
            space.matrix<T>(y, ys, tile.outer, y.strides[leading]).block(tile.row, tile.col);
        ScratchSpace scratch(workspace);
        int64_t size = tile.rows * tile.cols;
        Matrix<T> gate = scratchLike(scratch.take<T>(size), out, tile.rows, tile.cols);
        Matrix<T> product = out;
        if (!takesProducts(out, tile.rows, tile.cols))
          product = scratchLike(scratch.take<T>(size), out, tile.rows, tile.cols);
        gemm(tile.rows, tile.cols, k, T(1), in, gateWeightT.block(0, tile.col), T(0), gate,
             workspace);
        Epilogue<T>{gateBiasRow.block(0, tile.col), {}, {}, {}}.apply(gate, gate, tile.rows,
                                                                      tile.cols);
        gemm(tile.rows, tile.cols, k, T(1), in, weightT.block(0, tile.col), T(0), product,
             workspace);
        Epilogue<T> epilogue{
            biasRow.block(0, tile.col),
            gate.asConst(),
            space.matrix<T>(rowScale, scales, tile.outer, 0).asConst().block(tile.row, 0),
            {}};
        epilogue.apply(product, out, tile.rows, tile.cols);
      });
}

EVO_CPU_INSTANTIATE(GatedLinear)

} // namespace evo::cpu::EVO_CPU_ISA
