//===- Lines.cuh - the axes of an elementwise call --------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/cuda/kernels/Mma.cuh"
#include "runtime/cuda/kernels/Places.h"

namespace evo::cuda {

/// I inputs and O outputs over the same axes; inputs may be broadcast along any of them.
template <int I, int O> struct Elements {
  static constexpr int kOperands = I + O;
  AxisSpace<I + O> axes;
  std::byte *data[I + O] = {}; ///< null: absent
  plan::DType type[I + O];

  /// The axes of `shape`; operands are added by `set`.
  Elements(int rank, const int64_t *shape) {
    for (plan::DType &one : type)
      one = plan::DType::F32;
    for (int d = 0; d < rank; ++d)
      axes.push(shape[d]);
  }
  explicit Elements(const Operand &like) : Elements(like.rank, like.shape) {}

  /// An operand of the first axes of the call, as many as it has; broadcast along the others.
  void set(int index, const Operand &operand) {
    data[index] = operand.data, type[index] = operand.type;
    for (int d = 0; operand && d < operand.rank; ++d)
      axes.stride[index][d] = operand.strides[d];
  }
  /// An operand of the last axis alone.
  void setColumns(int index, const Operand &operand) {
    data[index] = operand.data, type[index] = operand.type;
    if (operand)
      axes.stride[index][axes.rank - 1] = operand.strides[0];
  }
  /// An operand with an axis for each of the call, of its extent or 1.
  void setBroadcast(int index, const Operand &operand) {
    set(index, operand);
    for (int d = 0; operand && d < operand.rank; ++d)
      if (operand.shape[d] == 1)
        axes.stride[index][d] = 0;
  }
};

/// As the kernel takes it.
template <int N> struct Lines {
  AxisSpace<N> rows;
  int64_t rowCount, cols;
  int64_t colStride[N];
  std::byte *data[N];
  int64_t batchStride[N]; ///< between the rows of a thread of a stripe
  bool statistic[N];
  int rowShift; ///< a row has 2^rowShift threads
};

/// Threads of a row, of at most a block: a power of two.
template <int N> void setRowShift(Lines<N> &lines, int64_t groups) {
  for (lines.rowShift = 0; lines.rowShift < 8 && int64_t{1} << lines.rowShift < groups;)
    ++lines.rowShift;
}

} // namespace evo::cuda
