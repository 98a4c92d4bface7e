//===- Stripes.cuh - several rows a thread ----------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// Elementwise calls on half types whose rows lie evenly: a thread has eight columns of two or four
// rows and reads them all before it works on them, which is at the rate of memory.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/cuda/kernels/Lines.cuh"

namespace evo::cuda {

/// Rows of a thread of a stripe: what is under way fills the time that memory takes.
template <int I> inline constexpr int kBatchOf = I <= 2 ? 4 : 2;

/// The inputs of an operation that have one value a row where they have no value a column.
template <class Op> constexpr uint32_t onesOf() {
  if constexpr (requires { Op::kOnes; })
    return Op::kOnes;
  else
    return 0;
}

/// Half types in eights, inputs and outputs all there, those of kOnes one value a row. A thread has
/// kBatch rows, which lie evenly, and reads those of all before it works on them.
template <class S, int I, int O, uint32_t kOnes, class Op>
__global__ void __launch_bounds__(256, I > 4   ? 2
                                       : I > 3 ? 3
                                               : 4)
    stripeKernel(const __grid_constant__ Lines<I + O> lines, const __grid_constant__ Op op) {
  constexpr int kBatch = kBatchOf<I>;
  int64_t colTiles = ceilDiv(lines.cols / 8, 1 << lines.rowShift);
  Place place = linePlace(blockIdx.x, threadIdx.x, colTiles, lines.rowShift, kBatch, 8);
  int64_t row = place.row, col = place.col;
  if (col >= lines.cols)
    return;
  int64_t at[I + O];
  lines.rows.locate(row, at);
  uint4 bits[I][kBatch];
  float one[I][kBatch];
#pragma unroll
  for (int i = 0; i < I; ++i)
#pragma unroll
    for (int b = 0; b < kBatch; ++b) {
      int64_t from = at[i] + b * lines.batchStride[i];
      if (kOnes >> i & 1)
        one[i][b] = load<S>(lines.data[i], from, lines.statistic[i]);
      else
        bits[i][b] = *reinterpret_cast<const uint4 *>(reinterpret_cast<const S *>(lines.data[i]) +
                                                      from + col);
    }
#pragma unroll
  for (int b = 0; b < kBatch; ++b) {
    uint4 out[O];
#pragma unroll
    for (int w = 0; w < 4; ++w) {
      float x[2][I], y[2][O];
      for (int i = 0; i < I; ++i) {
        float2 two = kOnes >> i & 1
                         ? make_float2(one[i][b], one[i][b])
                         : unpacked<S>(reinterpret_cast<const uint32_t *>(&bits[i][b])[w]);
        x[0][i] = two.x, x[1][i] = two.y;
      }
      op(x[0], y[0]), op(x[1], y[1]);
      for (int o = 0; o < O; ++o)
        reinterpret_cast<uint32_t *>(&out[o])[w] = packed<S>(y[0][o], y[1][o]);
    }
#pragma unroll
    for (int o = 0; o < O; ++o)
      *reinterpret_cast<uint4 *>(reinterpret_cast<S *>(lines.data[I + o]) + at[I + o] +
                                 b * lines.batchStride[I + o] + col) = out[o];
  }
}

/// Cuts columns that are all there is into rows of a block, where that comes out even.
template <int N> void cutColumns(Lines<N> &lines, int batch) {
  constexpr int64_t kCols = 256 * 8;
  if (lines.rowCount != 1 || lines.cols % (kCols * batch) != 0)
    return;
  lines.rows = {};
  for (int o = 0; o < N; ++o)
    lines.rows.stride[o][0] = lines.colStride[o] * kCols;
  lines.rows.push(lines.cols / kCols);
  lines.rowCount = lines.cols / kCols, lines.cols = kCols;
}

/// Runs lines that are taken in eights as stripes, where there are enough and they lie so.
template <class S, int I, int O, class Op>
bool launchStripes(const Launch &launch, Lines<I + O> lines, const Op &op) {
  constexpr uint32_t kOnes = onesOf<Op>();
  constexpr int kBatch = kBatchOf<I>;
  for (int o = 0; o < I + O; ++o) {
    bool isOne = o < I && (kOnes >> o & 1);
    if (!lines.data[o] || lines.colStride[o] != !isOne || (lines.statistic[o] && !isOne))
      return false;
  }
  cutColumns(lines, kBatch);
  setRowShift(lines, lines.cols / 8);
  int inner = lines.rows.rank - 1;
  int64_t rowsOfBlock = 256 >> lines.rowShift, rows = rowsOfBlock * kBatch;
  if (inner < 0 || lines.rows.extent[inner] % rows != 0)
    return false;
  int64_t grid = lines.rowCount / rows * ceilDiv(lines.cols / 8, int64_t{1} << lines.rowShift);
  if (grid > kMostBlocks)
    return false;
  for (int o = 0; o < I + O; ++o)
    lines.batchStride[o] = rowsOfBlock * lines.rows.stride[o][inner];
  stripeKernel<S, I, O, kOnes><<<gridOf(grid), 256, 0, launch.context->stream>>>(lines, op);
  return true;
}

} // namespace evo::cuda
