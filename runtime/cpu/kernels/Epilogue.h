//===- Epilogue.h - what follows a matrix product ---------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/cpu/kernels/Matrix.h"

namespace evo::cpu::EVO_CPU_ISA {

/// y[i,j] = residual[i,j] + dropout[i,j] * rowScale[i] * sigmoid(gate[i,j]) * act(product[i,j] +
/// bias[j]); what is absent drops out. A vector over columns has a row stride of 0, one over rows a
/// column stride of 0.
template <class S> struct Epilogue {
  Matrix<const S> bias;
  EitherMatrix<S> gate, rowScale;
  Matrix<const S> residual;
  bool relu = false;
  EitherMatrix<S> dropout = {};

  bool addsOnlyResidual() const { return !gate && !rowScale && !dropout && !relu; }

  Epilogue block(int64_t row, int64_t col) const {
    return {bias.block(row, col),
            gate.block(row, col),
            rowScale.block(row, col),
            residual.block(row, col),
            relu,
            dropout.block(row, col)};
  }

  /// `product` has a unit stride and is overwritten; it may be y itself unless y is the residual.
  template <class Y>
  void apply(Matrix<Compute<S>> product, Matrix<Y> y, int64_t rows, int64_t cols) const {
    if (product.colStride == 1)
      applyByRows(product, y, rows, cols);
    else
      Epilogue{bias.transposed(), gate.transposed(), rowScale.transposed(), residual.transposed(),
               relu, dropout.transposed()}
          .applyByRows(product.transposed(), y.transposed(), cols, rows);
  }

private:
  template <class Y>
  void applyByRows(Matrix<Compute<S>> product, Matrix<Y> y, int64_t rows, int64_t cols) const {
    bool inPlace = static_cast<const void *>(product.data) == static_cast<const void *>(y.data);
    for (int64_t row = 0; row < rows; ++row) {
      Compute<S> *values = product.at(row, 0);
      if (bias)
        addLine(values, bias.at(row, 0), bias.colStride, cols);
      if (relu)
        reluLine(values, cols);
      if (gate)
        gateLine(values, gate.line(row), cols);
      if (rowScale)
        multiplyLine(values, rowScale.line(row), cols);
      if (dropout)
        multiplyLine(values, dropout.line(row), cols);
      if (residual)
        addLine(values, residual.at(row, 0), residual.colStride, cols);
      if (!inPlace)
        storeLine(y.at(row, 0), y.colStride, values, cols);
    }
  }
};

/// Whether a product can be written to `y` directly: sums are not kept in half.
template <class S> bool takesProducts(Matrix<S> y, int64_t rows, int64_t cols) {
  return !kRounds<S> && (y.rowStride == 1 || y.colStride == 1) &&
         blasLayout(y, rows, cols).readable;
}

/// Where a product for `y` is computed: there if `direct`, which only takesProducts allows, else in
/// scratch.
template <class S>
Matrix<Compute<S>> productOf(Matrix<S> y, bool direct, int64_t rows, int64_t cols,
                             ScratchSpace &scratch) {
  if constexpr (!kRounds<S>)
    if (direct)
      return y;
  return scratchLike(scratch.take<Compute<S>>(rows * cols), y, rows, cols);
}

} // namespace evo::cpu::EVO_CPU_ISA
