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

template <class S> void launchGatedLinear(const Launch &launch) {
  using T = Compute<S>;
  const Operand &x = launch.operands[0], &weight = launch.operands[1], &bias = launch.operands[2];
  const Operand &gateWeight = launch.operands[3], &gateBias = launch.operands[4];
  const Operand &rowScale = launch.operands[5], &y = launch.operands[6];
  static_assert(2 * kTileRows * kTileCols * sizeof(T) <= kKernelScratchBytes);
  int leading = x.rank - 1;
  int64_t k = x.shape[leading], n = y.shape[leading];
  RowSpace space(x, leading);
  int xs = space.add(x), scales = space.add(rowScale), ys = space.add(y);
  space.merge();
  Matrix<const S> weightT{elements<S>(weight), weight.strides[1], weight.strides[0]};
  Matrix<const S> gateWeightT{elements<S>(gateWeight), gateWeight.strides[1],
                              gateWeight.strides[0]};
  Matrix<const S> biasRow{elements<S>(bias), 0, bias.strides[0]};
  Matrix<const S> gateBiasRow{elements<S>(gateBias), 0, gateBias.strides[0]};
  forEachTile(
      launch, space, n, kTileRows, kTileCols, [&](const Tile &tile, const Workspace &workspace) {
        Matrix<const S> in =
            space.matrix<S>(x, xs, tile.outer, x.strides[leading]).asConst().block(tile.row, 0);
        Matrix<S> out =
            space.matrix<S>(y, ys, tile.outer, y.strides[leading]).block(tile.row, tile.col);
        ScratchSpace scratch(workspace);
        Matrix<T> gate =
            scratchLike(scratch.take<T>(tile.rows * tile.cols), out, tile.rows, tile.cols);
        Matrix<T> product =
            productOf(out, takesProducts(out, tile.rows, tile.cols), tile.rows, tile.cols, scratch);
        gemm(tile.rows, tile.cols, k, T(1), in, gateWeightT.block(0, tile.col), T(0), gate,
             workspace);
        Epilogue<S>{gateBiasRow.block(0, tile.col), {}, {}, {}}.apply(gate, gate, tile.rows,
                                                                      tile.cols);
        gemm(tile.rows, tile.cols, k, T(1), in, weightT.block(0, tile.col), T(0), product,
             workspace);
        Epilogue<S> epilogue{biasRow.block(0, tile.col),
                             {{}, gate},
                             space.either<S>(rowScale, scales, tile.outer, 0).block(tile.row, 0),
                             {}};
        epilogue.apply(product, out, tile.rows, tile.cols);
      });
}

EVO_CPU_INSTANTIATE(GatedLinear)

} // namespace evo::cpu::EVO_CPU_ISA
