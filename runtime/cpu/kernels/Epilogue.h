//===- Epilogue.h - what follows a matrix product ---------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/cpu/kernels/Matrix.h"

namespace evo::cpu::EVO_CPU_ISA {

/// y[i,j] = residual[i,j] + dropout[i,j] * rowScale[i] * sigmoid(gate[i,j]) * act(product[i,j] +
/// bias[j]); what is absent drops out. A vector over columns has a row stride of 0, one over rows a
/// column stride of 0.
template <class T> struct Epilogue {
  Matrix<const T> bias, gate, rowScale, residual;
  bool relu = false;
  Matrix<const T> dropout = {};

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
  void apply(Matrix<T> product, Matrix<T> y, int64_t rows, int64_t cols) const {
    bool byRows = product.colStride == 1;
    int64_t lines = byRows ? rows : cols, length = byRows ? cols : rows;
    auto start = [&](const auto &matrix, int64_t line) {
      return byRows ? matrix.at(line, 0) : matrix.at(0, line);
    };
    auto stride = [&](const auto &matrix) { return byRows ? matrix.colStride : matrix.rowStride; };
    for (int64_t line = 0; line < lines; ++line) {
      T *values = start(product, line);
      if (bias)
        addLine(values, start(bias, line), stride(bias), length);
      if (relu)
        reluLine(values, length);
      if (gate)
        gateLine(values, start(gate, line), stride(gate), length);
      if (rowScale)
        multiplyLine(values, start(rowScale, line), stride(rowScale), length);
      if (dropout)
        multiplyLine(values, start(dropout, line), stride(dropout), length);
      if (residual)
        addLine(values, start(residual, line), stride(residual), length);
      if (product.data != y.data)
        storeLine(start(y, line), stride(y), values, length);
    }
  }
};

/// A dense scratch matrix whose unit stride lies as that of `like`, so that lines go over as lines.
template <class T> Matrix<T> scratchLike(T *data, Matrix<T> like, int64_t rows, int64_t cols) {
  return like.rowStride == 1 && like.colStride != 1 ? Matrix<T>{data, 1, rows}
                                                    : Matrix<T>{data, cols, 1};
}

/// Whether a product can be written to `y` directly.
template <class T> bool takesProducts(Matrix<T> y, int64_t rows, int64_t cols) {
  return (y.rowStride == 1 || y.colStride == 1) && blasLayout(y, rows, cols).readable;
}

} // namespace evo::cpu::EVO_CPU_ISA
