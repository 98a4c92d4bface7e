//===- OuterProductGrad.cpp -----------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// da[s,i,c] = factor sum_{j,d} dout[i,j,(c,d)] b[s,j,d];
// db[s,j,d] = accumulator[s,j,d] + factor sum_{i,c} dout[i,j,(c,d)] a[s,i,c]; db may be the
// accumulator.
//
// Both are one contraction with the roles of i, c and j, d changed: a box of dout is laid out as
// rows (i,c) and columns (j,d), and the product with b as rows s is a tile of da, which is summed
// in scratch.
//===----------------------------------------------------------------------===//
#include "runtime/cpu/kernels/OuterTile.h"

namespace evo::cpu::EVO_CPU_ISA {

namespace {

/// dout with the axes of one side first: [i, j, c, d] or [j, i, d, c].
template <class S> struct OuterView {
  const S *data;
  int64_t i, j, c, d; ///< strides
};

/// out[s,i,c] = accumulator[s,i,c] + sum_{j,d} dout[i,j,c,d] other[s,j,d], of element type Out.
template <class Out, class S>
void contract(const Launch &launch, OuterView<S> dout, const Operand &other,
              const Operand &accumulator, const Operand &out) {
  using T = Compute<S>;
  constexpr int64_t kDepth = 128; // rows of s a task
  int64_t depth = out.shape[0], allI = out.shape[1], allC = out.shape[2];
  int64_t allJ = other.shape[1], allD = other.shape[2];
  if (allI == 0 || allC == 0 || depth == 0)
    return;
  OuterTiling tiling(allI, larger<int64_t>(allJ, 1), allC, larger<int64_t>(allD, 1), sizeof(T));
  int64_t iTiles = ceilDiv(allI, tiling.i), cTiles = ceilDiv(allC, tiling.c);
  int64_t sTiles = ceilDiv(depth, kDepth);
  forEachTask(launch, iTiles * cTiles * sTiles, [&](int64_t task, const Workspace &workspace) {
    auto range = [](int64_t first, int64_t size, int64_t all) {
      return Range{first, smaller(size, all - first)};
    };
    Range s = range(task % sTiles * kDepth, kDepth, depth);
    Range c = range(task / sTiles % cTiles * tiling.c, tiling.c, allC);
    Range i = range(task / sTiles / cTiles * tiling.i, tiling.i, allI);
    int64_t rows = i.count * c.count;
    ScratchSpace scratch(workspace);
    T *sums = scratch.take<T>(kDepth * tiling.i * tiling.c);
    T *right = scratch.take<T>(kDepth * tiling.j * tiling.d);
    T *box = scratch.take<T>(tiling.i * tiling.c * tiling.j * tiling.d);
    for (int64_t l = 0; l < s.count * rows; ++l)
      sums[l] = 0;
    if (accumulator)
      packOuter<Out>(sums, accumulator, s, i, c);
    for (int64_t jFirst = 0; jFirst < allJ; jFirst += tiling.j)
      for (int64_t dFirst = 0; dFirst < allD; dFirst += tiling.d) {
        Range j = range(jFirst, tiling.j, allJ), d = range(dFirst, tiling.d, allD);
        int64_t cols = j.count * d.count;
        packOuter<S>(right, other, s, j, d);
        for (int64_t ii = 0; ii < i.count; ++ii)
          for (int64_t jj = 0; jj < j.count; ++jj)
            copyMatrix(Matrix<T>{box + ii * c.count * cols + jj * d.count, cols, 1},
                       Matrix<const S>{dout.data + (i.first + ii) * dout.i +
                                           (j.first + jj) * dout.j + c.first * dout.c +
                                           d.first * dout.d,
                                       dout.c, dout.d},
                       c.count, d.count);
        gemm(s.count, rows, cols, T(launch.attributes->factor), Matrix<const T>{right, cols, 1},
             Matrix<const T>{box, 1, cols}, T(1), Matrix<T>{sums, rows, 1}, workspace);
      }
    for (int64_t row = 0; row < s.count; ++row)
      copyMatrix(Matrix<Out>{elements<Out>(out) + (s.first + row) * out.strides[0] +
                                 i.first * out.strides[1] + c.first * out.strides[2],
                             out.strides[1], out.strides[2]},
                 Matrix<const T>{sums + row * rows, c.count, 1}, i.count, c.count);
  });
}

} // namespace

template <class S> void launchOuterProductGrad(const Launch &launch) {
  const Operand &a = launch.operands[0], &b = launch.operands[1], &dout = launch.operands[2];
  const int64_t *stride = dout.strides;
  const S *data = elements<S>(dout);
  int64_t d = b.shape[2];
  contract<S>(launch, OuterView<S>{data, stride[0], stride[1], d * stride[2], stride[2]}, b, {},
              launch.operands[4]);
  contract<Compute<S>>(launch, OuterView<S>{data, stride[1], stride[0], stride[2], d * stride[2]},
                       a, launch.operands[3], launch.operands[5]);
}

EVO_CPU_INSTANTIATE(OuterProductGrad)

} // namespace evo::cpu::EVO_CPU_ISA
