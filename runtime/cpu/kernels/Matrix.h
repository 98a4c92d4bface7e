//===- Matrix.h - strided matrices and their products -----------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// A matrix is a pointer and two strides. `gemm` takes any strides: what the BLAS can read goes to
// it in one call, anything else is packed through scratch block by block.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/cpu/Blas.h"
#include "runtime/cpu/Launch.h"
#include "runtime/cpu/kernels/Lines.h"

namespace evo::cpu::EVO_CPU_ISA {

template <class T> struct Matrix {
  T *data = nullptr;
  int64_t rowStride = 0, colStride = 0; ///< elements

  explicit operator bool() const { return data != nullptr; }
  T *at(int64_t row, int64_t col) const { return data + row * rowStride + col * colStride; }
  Matrix block(int64_t row, int64_t col) const {
    return data ? Matrix{at(row, col), rowStride, colStride} : Matrix{};
  }
  Matrix transposed() const { return {data, colStride, rowStride}; }
  Matrix<const T> asConst() const { return {data, rowStride, colStride}; }
};

/// Hands out pieces of a worker's scratch, each aligned to 64 bytes; the part of `gemm` is left
/// out. The kernels choose their tiles such that the pieces fit.
class ScratchSpace {
public:
  explicit ScratchSpace(const Workspace &workspace) : cursor(workspace.data + kGemmScratchBytes) {}
  template <class T> T *take(int64_t count) {
    T *piece = reinterpret_cast<T *>(cursor);
    cursor += (count * static_cast<int64_t>(sizeof(T)) + 63) / 64 * 64;
    return piece;
  }

private:
  std::byte *cursor;
};
/// What ScratchSpace may hand out in all, rounding included.
inline constexpr int64_t kKernelScratchBytes = kScratchBytes - kGemmScratchBytes;

/// How the BLAS would read a row-major matrix: as it is, transposed, or not at all.
struct BlasLayout {
  bool readable = false, transposed = false;
  int leading = 0;
};

template <class T> BlasLayout blasLayout(const Matrix<T> &matrix, int64_t rows, int64_t cols) {
  constexpr int64_t kLargest = INT32_MAX;
  if (rows > kLargest || cols > kLargest)
    return {};
  auto fits = [](int64_t unitStride, int64_t unitCount, int64_t otherStride, int64_t otherCount) {
    return (unitCount == 1 || unitStride == 1) &&
           (otherCount == 1 || (otherStride >= unitCount && otherStride <= kLargest));
  };
  auto leading = [](int64_t unitCount, int64_t otherStride, int64_t otherCount) {
    return static_cast<int>(otherCount == 1 ? unitCount : otherStride);
  };
  if (fits(matrix.colStride, cols, matrix.rowStride, rows))
    return {true, false, leading(cols, matrix.rowStride, rows)};
  if (fits(matrix.rowStride, rows, matrix.colStride, cols))
    return {true, true, leading(rows, matrix.colStride, cols)};
  return {};
}

/// target = source, [rows, cols], any strides; never overlapping.
template <class T>
void copyMatrix(Matrix<T> target, Matrix<const T> source, int64_t rows, int64_t cols) {
  if (target.colStride != 1 &&
      (target.rowStride == 1 || (source.rowStride == 1 && source.colStride != 1)))
    return copyMatrix(target.transposed(), source.transposed(), cols, rows);
  if (source.rowStride != 1 || source.colStride == 1) {
    for (int64_t i = 0; i < rows; ++i) {
      if (target.colStride == 1)
        loadLine(target.at(i, 0), source.at(i, 0), source.colStride, cols);
      else
        for (int64_t j = 0; j < cols; ++j)
          *target.at(i, j) = *source.at(i, j);
    }
    return;
  }
  // A transposition: narrow column bands, so that both sides stay in the first cache.
  constexpr int64_t kBand = 16;
  for (int64_t j0 = 0; j0 < cols; j0 += kBand) {
    int64_t band = smaller(kBand, cols - j0);
    for (int64_t i = 0; i < rows; ++i)
      for (int64_t j = j0; j < j0 + band; ++j)
        *target.at(i, j) = *source.at(i, j);
  }
}

/// `gemm` where some operand has no unit stride, or one that the BLAS's integers cannot hold.
template <class T>
void gemmPacked(int64_t m, int64_t n, int64_t k, T alpha, Matrix<const T> a, Matrix<const T> b,
                T beta, Matrix<T> c, const Workspace &workspace) {
  constexpr int64_t kBlock = 128;
  static_assert(3 * kBlock * kBlock * sizeof(T) <= kGemmScratchBytes);
  T *packedA = reinterpret_cast<T *>(workspace.data);
  T *packedB = packedA + kBlock * kBlock, *product = packedB + kBlock * kBlock;
  for (int64_t i = 0; i < m; i += kBlock)
    for (int64_t j = 0; j < n; j += kBlock) {
      int64_t mb = smaller(kBlock, m - i), nb = smaller(kBlock, n - j);
      for (int64_t l = 0; l < larger<int64_t>(k, 1); l += kBlock) {
        int64_t kb = smaller(kBlock, k - l);
        copyMatrix<T>({packedA, kBlock, 1}, a.block(i, l), mb, kb);
        copyMatrix<T>({packedB, kBlock, 1}, b.block(l, j), kb, nb);
        blasGemm(false, false, int(mb), int(nb), int(kb), alpha, packedA, int(kBlock), packedB,
                 int(kBlock), l ? T(1) : T(0), product, int(kBlock));
      }
      for (int64_t row = 0; row < mb; ++row)
        for (int64_t col = 0; col < nb; ++col) {
          T *out = c.at(i + row, j + col);
          *out = product[row * kBlock + col] + (beta == T(0) ? T(0) : beta * *out);
        }
    }
}

/// c[m,n] = alpha a[m,k] b[k,n] + beta c; c is not read where beta is 0. Uses the gemm part of the
/// scratch.
template <class T>
void gemm(int64_t m, int64_t n, int64_t k, T alpha, Matrix<const T> a, Matrix<const T> b, T beta,
          Matrix<T> c, const Workspace &workspace) {
  if (m <= 0 || n <= 0)
    return;
  BlasLayout la = blasLayout(a, m, k), lb = blasLayout(b, k, n), lc = blasLayout(c, m, n);
  if (k <= 0 || !la.readable || !lb.readable || !lc.readable)
    return gemmPacked(m, n, k, alpha, a, b, beta, c, workspace);
  if (lc.transposed) // c^T = b^T a^T
    blasGemm(!lb.transposed, !la.transposed, int(n), int(m), int(k), alpha, b.data, lb.leading,
             a.data, la.leading, beta, c.data, lc.leading);
  else
    blasGemm(la.transposed, lb.transposed, int(m), int(n), int(k), alpha, a.data, la.leading,
             b.data, lb.leading, beta, c.data, lc.leading);
}

} // namespace evo::cpu::EVO_CPU_ISA
