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

/// A matrix of what plans store or of statistics; neither where the operand is absent.
template <class S> struct EitherMatrix {
  Matrix<S> stored;
  Matrix<Compute<S>> statistic;

  explicit operator bool() const { return stored || statistic; }
  EitherMatrix block(int64_t row, int64_t col) const {
    return {stored.block(row, col), statistic.block(row, col)};
  }
  EitherMatrix transposed() const { return {stored.transposed(), statistic.transposed()}; }
  /// A row.
  Line<S> line(int64_t row) const {
    if (stored)
      return {stored.at(row, 0), nullptr, stored.colStride};
    return {nullptr, statistic ? statistic.at(row, 0) : nullptr, statistic.colStride};
  }
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

/// A dense scratch matrix whose unit stride lies as that of `like`, so that lines go over as lines.
template <class T, class L>
Matrix<T> scratchLike(T *data, Matrix<L> like, int64_t rows, int64_t cols) {
  return like.rowStride == 1 && like.colStride != 1 ? Matrix<T>{data, 1, rows}
                                                    : Matrix<T>{data, cols, 1};
}

/// target = source, [rows, cols], any strides; never overlapping. Rounds where the target's type is
/// the narrower one.
template <class T, class S>
void copyMatrix(Matrix<T> target, Matrix<const S> source, int64_t rows, int64_t cols) {
  if (target.colStride != 1 &&
      (target.rowStride == 1 || (source.rowStride == 1 && source.colStride != 1)))
    return copyMatrix(target.transposed(), source.transposed(), cols, rows);
  if (source.rowStride != 1 || source.colStride == 1) {
    for (int64_t i = 0; i < rows; ++i) {
      if (target.colStride == 1)
        loadLine(target.at(i, 0), source.at(i, 0), source.colStride, cols);
      else
        for (int64_t j = 0; j < cols; ++j)
          *target.at(i, j) = converted<T>(*source.at(i, j));
    }
    return;
  }
  // A transposition: narrow column bands, so that both sides stay in the first cache.
  constexpr int64_t kBand = 16;
  for (int64_t j0 = 0; j0 < cols; j0 += kBand) {
    int64_t band = smaller(kBand, cols - j0);
    for (int64_t i = 0; i < rows; ++i)
      for (int64_t j = j0; j < j0 + band; ++j)
        *target.at(i, j) = converted<T>(*source.at(i, j));
  }
}

/// `gemm` where some operand has no unit stride, or one that the BLAS's integers cannot hold.
template <class T, class A, class B>
void gemmPacked(int64_t m, int64_t n, int64_t k, T alpha, Matrix<const A> a, Matrix<const B> b,
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
        copyMatrix(Matrix<T>{packedA, kBlock, 1}, a.block(i, l), mb, kb);
        copyMatrix(Matrix<T>{packedB, kBlock, 1}, b.block(l, j), kb, nb);
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

/// An operand of a product as the BLAS reads it.
template <class T> struct BlasOperand {
  const T *data;
  bool transposed;
  int leading;
};

/// c, which the BLAS can read, by one product of it.
template <class T>
void blasProduct(int64_t m, int64_t n, int64_t k, T alpha, BlasOperand<T> a, BlasOperand<T> b,
                 T beta, T *c, BlasLayout layout) {
  if (layout.transposed) // c^T = b^T a^T
    blasGemm(!b.transposed, !a.transposed, int(n), int(m), int(k), alpha, b.data, b.leading, a.data,
             a.leading, beta, c, layout.leading);
  else
    blasGemm(a.transposed, b.transposed, int(m), int(n), int(k), alpha, a.data, a.leading, b.data,
             b.leading, beta, c, layout.leading);
}

/// The matrix itself where the BLAS can read it, else a copy of it in `space`.
template <class T, class S>
BlasOperand<T> blasOperand(Matrix<const S> matrix, int64_t rows, int64_t cols, T *space) {
  if constexpr (kSameType<T, S>) {
    BlasLayout layout = blasLayout(matrix, rows, cols);
    if (layout.readable)
      return {matrix.data, layout.transposed, layout.leading};
  }
  Matrix<T> copy = scratchLike(space, matrix, rows, cols);
  copyMatrix(copy, matrix, rows, cols);
  bool transposed = copy.colStride != 1;
  return {space, transposed, int(transposed ? rows : cols)};
}

/// `gemm` where an operand is of another type than c, which is of a layout that the BLAS takes:
/// blocks of the operands are widened into scratch, and c holds the sums.
template <class T, class A, class B>
void gemmWidened(int64_t m, int64_t n, int64_t k, T alpha, Matrix<const A> a, Matrix<const B> b,
                 T beta, Matrix<T> c, BlasLayout layout, const Workspace &workspace) {
  constexpr int64_t kSide = 256, kDepth = kGemmScratchBytes / 2 / kSide / int64_t(sizeof(T));
  T *spaceA = reinterpret_cast<T *>(workspace.data), *spaceB = spaceA + kSide * kDepth;
  for (int64_t i = 0; i < m; i += kSide)
    for (int64_t l = 0; l < k; l += kDepth) {
      int64_t mb = smaller(kSide, m - i), kb = smaller(kDepth, k - l);
      BlasOperand<T> left = blasOperand(a.block(i, l), mb, kb, spaceA);
      for (int64_t j = 0; j < n; j += kSide) {
        int64_t nb = smaller(kSide, n - j);
        BlasOperand<T> right = blasOperand(b.block(l, j), kb, nb, spaceB);
        blasProduct(mb, nb, kb, alpha, left, right, l ? T(1) : beta, c.at(i, j), layout);
      }
    }
}

/// c[m,n] = alpha a[m,k] b[k,n] + beta c; c is not read where beta is 0. Sums are of c's type, to
/// which a and b are widened. Uses the gemm part of the scratch.
template <class T, class A, class B>
void gemm(int64_t m, int64_t n, int64_t k, T alpha, Matrix<const A> a, Matrix<const B> b, T beta,
          Matrix<T> c, const Workspace &workspace) {
  if (m <= 0 || n <= 0)
    return;
  BlasLayout layout = blasLayout(c, m, n);
  if constexpr (kSameType<T, A> && kSameType<T, B>) {
    BlasLayout la = blasLayout(a, m, k), lb = blasLayout(b, k, n);
    if (k > 0 && la.readable && lb.readable && layout.readable)
      return blasProduct(m, n, k, alpha, BlasOperand<T>{a.data, la.transposed, la.leading},
                         BlasOperand<T>{b.data, lb.transposed, lb.leading}, beta, c.data, layout);
  } else {
    if (k > 0 && layout.readable)
      return gemmWidened(m, n, k, alpha, a, b, beta, c, layout, workspace);
  }
  gemmPacked(m, n, k, alpha, a, b, beta, c, workspace);
}

/// c = alpha a b, rounded once. m <= 256. Where c is stored in half its sums take the kernel's part
/// of the scratch.
template <class S, class A, class B>
void storeProduct(int64_t m, int64_t n, int64_t k, Compute<S> alpha, Matrix<const A> a,
                  Matrix<const B> b, Matrix<S> c, const Workspace &workspace) {
  using T = Compute<S>;
  if constexpr (!kRounds<S>) {
    gemm(m, n, k, alpha, a, b, T(0), c, workspace);
  } else {
    constexpr int64_t kCols = 1024;
    static_assert(256 * kCols * sizeof(T) <= kKernelScratchBytes);
    T *sums = ScratchSpace(workspace).take<T>(m * smaller(kCols, n));
    for (int64_t j = 0; j < n; j += kCols) {
      int64_t cols = smaller(kCols, n - j);
      Matrix<T> product = scratchLike(sums, c, m, cols);
      gemm(m, cols, k, alpha, a, b.block(0, j), T(0), product, workspace);
      copyMatrix(c.block(0, j), product.asConst(), m, cols);
    }
  }
}

} // namespace evo::cpu::EVO_CPU_ISA
