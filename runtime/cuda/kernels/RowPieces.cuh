//===- RowPieces.cuh -----------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// Products that are followed by more than a product can store at once: they go to scratch as fp32,
// a box of rows at a time, and an elementwise kernel makes the output of them.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/cuda/kernels/Elementwise.cuh"

namespace evo::cuda {

/// Where a product of rows x cols lies in scratch: as `like` lies in memory.
struct ScratchMatrix {
  int64_t rowStride[kMaxAxes] = {};
  int64_t colStride = 1;

  /// `rowLikes` are like's strides of the rows' axes.
  ScratchMatrix(int rank, const int64_t *extent, int64_t cols, const int64_t *rowLikes,
                int64_t colLike) {
    bool down = false;
    for (int d = 0; d < rank; ++d)
      down |= rowLikes[d] == 1 && extent[d] > 1;
    down &= colLike != 1 && cols > 1;
    int64_t step = down ? 1 : cols;
    for (int d = rank - 1; d >= 0; --d)
      rowStride[d] = step, step *= extent[d];
    colStride = down ? step : 1;
  }
};

/// body(box) for boxes of rows whose `products` products of `cols` columns fit the scratch, half of
/// it where several boxes can do.
template <int N, class Body>
Status forEachBox(const AxisSpace<N> &rows, int64_t cols, int64_t products, const Body &body) {
  int64_t most = kScratchBytes / 2 / 4 / std::max<int64_t>(1, cols * products);
  if (most < 1)
    return Status::error(ErrorCode::Unsupported, "expected rows of at most " +
                                                     std::to_string(kScratchBytes / 8 / products) +
                                                     " columns, got " + std::to_string(cols));
  Boxes boxes(rows.rank, rows.extent, most);
  for (int64_t i = 0; i < boxes.count(); ++i)
    EVO_TRY(body(boxes.at(i)));
  return {};
}

/// An operand's memory at the start of a box, and its strides along the rows.
template <int N>
std::byte *atBox(const AxisSpace<N> &rows, int operand, const Operand &o, const Box &box) {
  if (!o)
    return nullptr;
  int64_t offset = 0;
  for (int d = 0; d < rows.rank; ++d)
    offset += box.start[d] * rows.stride[operand][d];
  return o.data + offset * plan::elementBytes(o.type);
}

} // namespace evo::cuda
