//===- Linear.cpp ---------------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// y[*,n] = residual[*,n] + dropout[~,n] * row_scale[*] * sigmoid(gate[*,n]) * act(sum_k x[*,k]
// weight[n,k] + bias[n]); y may be the residual.
//
// A tile's product goes to y directly where y has a unit stride (rows or columns: a transposed
// store is the transposed product), else to scratch; the rest is applied while the tile is in
// cache. A residual that is all there is to add becomes the product's beta.
//===----------------------------------------------------------------------===//
#include "runtime/cpu/kernels/Epilogue.h"
#include "runtime/cpu/kernels/Rows.h"

namespace evo::cpu::EVO_CPU_ISA {

namespace {

constexpr int64_t kTileRows = 256, kTileCols = 256;

/// x [rows, k], weight^T [k, cols], y [rows, cols], all of one tile.
template <class S>
void linearTile(int64_t rows, int64_t cols, int64_t k, Compute<S> factor, Matrix<const S> x,
                Matrix<const S> weight, Epilogue<S> epilogue, Matrix<S> y,
                const Workspace &workspace) {
  using T = Compute<S>;
  bool direct = takesProducts(y, rows, cols);
  Matrix<const S> residual = epilogue.residual;
  if constexpr (!kRounds<S>)
    if (direct && residual && epilogue.addsOnlyResidual()) {
      if (residual.data != y.data)
        copyMatrix(y, residual, rows, cols);
      gemm(rows, cols, k, factor, x, weight, T(1), y, workspace);
      epilogue.residual = {};
      if (epilogue.bias)
        epilogue.apply(y, y, rows, cols);
      return;
    }
  bool inPlace = residual && residual.data == y.data;
  ScratchSpace scratch(workspace);
  Matrix<T> product = productOf(y, direct && !inPlace, rows, cols, scratch);
  gemm(rows, cols, k, factor, x, weight, T(0), product, workspace);
  epilogue.apply(product, y, rows, cols);
}

} // namespace

template <class S> void launchLinear(const Launch &launch) {
  const Operand &x = launch.operands[0], &weight = launch.operands[1], &bias = launch.operands[2];
  const Operand &rowScale = launch.operands[3], &gate = launch.operands[4];
  const Operand &residual = launch.operands[6], &y = launch.operands[7];
  static_assert(kTileRows * kTileCols * sizeof(Compute<S>) <= kKernelScratchBytes);
  int leading = x.rank - 1;
  Operand dropout = broadcast(launch.operands[5], leading);
  int64_t k = x.shape[leading], n = y.shape[leading];
  RowSpace space(x, leading);
  int xs = space.add(x), scales = space.add(rowScale), gates = space.add(gate);
  int dropouts = space.add(dropout), residuals = space.add(residual), ys = space.add(y);
  space.merge();
  Matrix<const S> weightT{elements<S>(weight), weight.strides[1], weight.strides[0]};
  forEachTile(
      launch, space, n, kTileRows, kTileCols, [&](const Tile &tile, const Workspace &workspace) {
        Epilogue<S> epilogue{
            {elements<S>(bias), 0, bias.strides[0]},
            {space.matrix<S>(gate, gates, tile.outer, gate.strides[leading]), {}},
            space.either<S>(rowScale, scales, tile.outer, 0),
            space.matrix<S>(residual, residuals, tile.outer, residual.strides[leading]).asConst(),
            launch.attributes->activation == plan::Activation::Relu,
            space.either<S>(dropout, dropouts, tile.outer, dropout.strides[leading])};
        linearTile(
            tile.rows, tile.cols, k, Compute<S>(launch.attributes->factor),
            space.matrix<S>(x, xs, tile.outer, x.strides[leading]).asConst().block(tile.row, 0),
            weightT.block(0, tile.col), epilogue.block(tile.row, tile.col),
            space.matrix<S>(y, ys, tile.outer, y.strides[leading]).block(tile.row, tile.col),
            workspace);
      });
}

EVO_CPU_INSTANTIATE(Linear)

} // namespace evo::cpu::EVO_CPU_ISA
