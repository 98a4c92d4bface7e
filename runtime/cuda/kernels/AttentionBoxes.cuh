//===- AttentionBoxes.cuh - what copies take of attention -------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/cuda/kernels/AttentionMma.cuh"
#include "runtime/cuda/kernels/Tma.cuh"

namespace evo::cuda {

/// Channels of a head as Hopper's kernels hold them in shared memory, for heads of 8 to 32.
inline int heldWidth(const AttentionCall &call) { return call.width <= 16 ? 16 : 32; }

/// Describes a matrix [batches, rows, heads, width] to copies that take `boxRows` rows of a head at
/// a time and fill heldWidth channels; false where copies do not take it.
template <class S>
bool describeHeads(const Context &context, CUtensorMap &map, const AttentionCall &call,
                   const HeadMatrix &m, int64_t heads, int64_t rows, int boxRows) {
  int width = heldWidth(call);
  TensorOfBoxes<S, 4> tensor{m.data,
                             {call.width, heads, rows, call.batches},
                             {m.head, m.row, m.batch},
                             {width, 1, boxRows, 1}};
  return tensor.describe(context, map,
                         width == 32 ? CU_TENSOR_MAP_SWIZZLE_64B : CU_TENSOR_MAP_SWIZZLE_32B);
}

} // namespace evo::cuda
