//===- OuterBox.cuh ------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// The outer product of a box of (i, j), as one matrix product of the rows (i, c) and (j, d), and
// the change between this order of the axes and that of tensors, (i, j, c, d).
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/cuda/Product.h"
#include "runtime/cuda/kernels/RowPieces.cuh"

namespace evo::cuda {

/// The axes i and j of an operand [i, j, ..].
inline AxisSpace<1> pairsOf(const Operand &o) {
  AxisSpace<1> pairs;
  for (int d : {0, 1}) {
    pairs.stride[0][d] = o.strides[d];
    pairs.push(o.shape[d]);
  }
  return pairs;
}

/// Four axes in memory, by name.
struct OuterStrides {
  int64_t i, j, c, d;
  /// As a matrix of the rows (i, c), whose columns are (j, d).
  static OuterStrides matrix(int64_t allJ, int64_t allC, int64_t allD) {
    return {allC * allJ * allD, allD, allJ * allD, 1};
  }
  /// An operand [i, j, (c, d)].
  static OuterStrides tensor(const Operand &o, int64_t allD) {
    return {o.strides[0], o.strides[1], allD * o.strides[2], o.strides[2]};
  }
};

/// sums[(i,c), (j,d)] = factor sum_s a[s,i,c] b[s,j,d], all of a and b.
inline Status outerProductOf(const Launch &launch, const Operand &a, const Operand &b,
                             double factor, Product::Matrix sums) {
  int64_t c = a.shape[2], d = b.shape[2];
  OuterStrides y = OuterStrides::matrix(b.shape[1], c, d);
  Product product;
  product.set(Product::A, a);
  product.set(Product::B, b);
  product.operand[Product::Y] = sums;
  product.factor = factor;
  Product::addAxis(product.m, a.shape[1], a.strides[1], 0, y.i);
  Product::addAxis(product.m, c, a.strides[2], 0, y.c);
  Product::addAxis(product.n, b.shape[1], 0, b.strides[1], y.j);
  Product::addAxis(product.n, d, 0, b.strides[2], y.d);
  Product::addAxis(product.k, a.shape[0], a.strides[0], b.strides[0], 0);
  return multiply(*launch.context, launch.precision, product);
}

namespace {

/// Room for a part of a or b that is packed, of which the scratch has two at its end.
constexpr int64_t kPackBytes = int64_t{8} << 20;

struct PackOp {
  __device__ void operator()(const float *x, float *y) const { y[0] = x[0]; }
};

/// Whether the last two axes of [s, i, c] are one to a matrix product.
inline bool isPacked(const Operand &o) {
  return o.shape[1] == 1 || o.shape[2] == 1 || o.strides[1] == o.shape[2] * o.strides[2];
}

/// [s, i, c] of some s and some i; dense in the `room`-th room where it would not be one matrix.
template <class S>
Status packPart(const Launch &launch, Operand &o, int64_t firstS, int64_t countS, int64_t first,
                int64_t count, int room) {
  o.data += (firstS * o.strides[0] + first * o.strides[1]) * static_cast<int64_t>(sizeof(S));
  o.shape[0] = countS, o.shape[1] = count;
  int64_t bytes = countS * count * o.shape[2] * static_cast<int64_t>(sizeof(S));
  if (isPacked(o) || bytes > kPackBytes)
    return {};
  Operand dense = o;
  dense.data = launch.context->scratch + kScratchBytes - (room + 1) * kPackBytes;
  dense.strides[0] = count * o.shape[2], dense.strides[1] = o.shape[2], dense.strides[2] = 1;
  Elements<1, 1> elements(o);
  elements.set(0, o);
  elements.set(1, dense);
  o = dense;
  return elementwise<S>(launch, elements, PackOp{});
}

/// Boxes of i and j whose parts of a and b fit their rooms, and that have at most `most` pairs.
inline Boxes boxesOfPairs(const Operand &a, const Operand &b, int64_t most) {
  auto mostOf = [](const Operand &o) {
    int64_t row = std::max<int64_t>(1, o.shape[0] * o.shape[2] * plan::elementBytes(o.type));
    return isPacked(o) ? o.shape[1] : std::max<int64_t>(1, kPackBytes / row);
  };
  const int64_t extents[] = {a.shape[1], b.shape[1]}, steps[] = {mostOf(a), mostOf(b)};
  return Boxes(2, extents, most, steps);
}

/// Rows of d in units of 16 bytes.
struct UnitCall {
  const uint4 *from;
  uint4 *to;
  int64_t fromI, fromJ, fromC, toI, toJ, toC; ///< strides
  int64_t allI;
  int allJ, allC, units;
};

constexpr int kUnitJ = 8; ///< of j in a block, so that both sides have runs of memory

__global__ void __launch_bounds__(256) unitKernel(UnitCall call) {
  int tiles = static_cast<int>(ceilDiv(call.allJ, kUnitJ)), perC = kUnitJ * call.units;
  for (int64_t task = blockIdx.x; task < call.allI * tiles; task += gridDim.x) {
    int64_t i = task / tiles;
    int j0 = static_cast<int>(task - i * tiles) * kUnitJ;
    for (int e = threadIdx.x; e < call.allC * perC; e += 256) {
      int c = e / perC, rest = e - c * perC, j = j0 + rest / call.units, unit = rest % call.units;
      if (j < call.allJ)
        call.to[i * call.toI + j * call.toJ + c * call.toC + unit] =
            call.from[i * call.fromI + j * call.fromJ + c * call.fromC + unit];
    }
  }
}

struct CopyOuterOp {
  __device__ void operator()(const float *x, float *y) const { y[0] = x[0]; }
};

/// to[i,j,c,d] = from[i,j,c,d], both of type S.
template <class S>
Status copyOuter(const Launch &launch, const int64_t (&shape)[4], const std::byte *from,
                 const OuterStrides &f, std::byte *to, const OuterStrides &t) {
  constexpr auto kPerUnit = static_cast<int64_t>(16 / sizeof(S));
  bool fits = f.d == 1 && t.d == 1 && shape[3] % kPerUnit == 0 && shape[1] < INT32_MAX &&
              shape[2] * shape[3] < (1 << 24) && reinterpret_cast<uint64_t>(from) % 16 == 0 &&
              reinterpret_cast<uint64_t>(to) % 16 == 0;
  for (int64_t stride : {f.i, f.j, f.c, t.i, t.j, t.c})
    fits &= stride % kPerUnit == 0;
  if (fits) {
    UnitCall call{reinterpret_cast<const uint4 *>(from),
                  reinterpret_cast<uint4 *>(to),
                  f.i / kPerUnit,
                  f.j / kPerUnit,
                  f.c / kPerUnit,
                  t.i / kPerUnit,
                  t.j / kPerUnit,
                  t.c / kPerUnit,
                  shape[0],
                  static_cast<int>(shape[1]),
                  static_cast<int>(shape[2]),
                  static_cast<int>(shape[3] / kPerUnit)};
    unitKernel<<<gridOf(shape[0] * ceilDiv(shape[1], kUnitJ)), 256, 0, launch.context->stream>>>(
        call);
    return statusOf(cudaGetLastError(), "the launch of a copy");
  }
  Elements<1, 1> elements(4, shape);
  elements.data[0] = const_cast<std::byte *>(from), elements.data[1] = to;
  const OuterStrides *const strides[] = {&f, &t};
  for (int o : {0, 1}) {
    elements.type[o] = launch.operands[0].type;
    const int64_t by[] = {strides[o]->i, strides[o]->j, strides[o]->c, strides[o]->d};
    std::copy(by, by + 4, elements.axes.stride[o]);
  }
  return elementwise<S>(launch, elements, CopyOuterOp{});
}

} // namespace

} // namespace evo::cuda
