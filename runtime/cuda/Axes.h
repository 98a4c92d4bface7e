//===- Axes.h - index arithmetic of strided operands ------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// Which elements of its operands an index of a kernel means, in 64 bits: a pair tensor may have
// more than 2^31 elements. Plain C++ for host and device, without CUDA's headers, so that it is
// tested where there is no device.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/plan/HostDevice.h"

#include <cstdint>

namespace evo::cuda {

/// As many axes as an operand may have (plan::kMaxRank).
inline constexpr int kMaxAxes = 6;

EVO_HOST_DEVICE constexpr int64_t ceilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }
EVO_HOST_DEVICE constexpr int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
EVO_HOST_DEVICE constexpr int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

/// a / b of numbers >= 0; devices divide 32 bits several times as fast as 64.
EVO_HOST_DEVICE constexpr int64_t quotient(int64_t a, int64_t b) {
  if (((a | b) >> 32) == 0)
    return static_cast<int64_t>(static_cast<uint32_t>(a) / static_cast<uint32_t>(b));
  return a / b;
}

/// Of a grid, along x.
inline constexpr int64_t kMostBlocks = INT32_MAX;

/// A grid for `blocks` blocks of work that kernels step through. Those that do not are launched
/// where the blocks are kMostBlocks at most.
constexpr unsigned gridOf(int64_t blocks) {
  return static_cast<unsigned>(larger(1, smaller(blocks, kMostBlocks)));
}

/// Axes that N operands share, with the strides of each, in elements.
template <int N> struct AxisSpace {
  int rank = 0;
  int64_t extent[kMaxAxes] = {};
  int64_t stride[N][kMaxAxes] = {};

  EVO_HOST_DEVICE constexpr int64_t count() const {
    int64_t product = 1;
    for (int d = 0; d < rank; ++d)
      product *= extent[d];
    return product;
  }

  /// Where element `index`, in row-major order, lies in each operand.
  EVO_HOST_DEVICE constexpr void locate(int64_t index, int64_t (&offset)[N]) const {
    for (int o = 0; o < N; ++o)
      offset[o] = 0;
    for (int d = rank - 1; d >= 0; --d) {
      int64_t rest = d > 0 ? quotient(index, extent[d]) : 0;
      int64_t position = index - rest * extent[d];
      for (int o = 0; o < N; ++o)
        offset[o] += position * stride[o][d];
      index = rest;
    }
  }

  /// Where it lies in operand `o` alone.
  EVO_HOST_DEVICE constexpr int64_t offsetOf(int o, int64_t index) const {
    int64_t offset = 0;
    for (int d = rank - 1; d >= 0; --d) {
      int64_t rest = d > 0 ? quotient(index, extent[d]) : 0;
      offset += (index - rest * extent[d]) * stride[o][d];
      index = rest;
    }
    return offset;
  }

  /// Adds an axis behind the others, with strides of 0.
  constexpr void push(int64_t length) { extent[rank++] = length; }

  constexpr void removeAxis(int axis) {
    for (int d = axis; d + 1 < rank; ++d)
      moveAxis(d + 1, d);
    --rank;
  }

  /// Orders the axes as operand `like` lies in memory, the one of the smallest stride last.
  constexpr void sortLike(int like) {
    for (int d = 1; d < rank; ++d)
      for (int e = d; e > 0 && comesAfter(like, e - 1, e); --e)
        swapAxes(e - 1, e);
  }

  /// Removes axes of one element and joins neighbours that every operand steps through evenly.
  constexpr void merge() {
    int kept = 0;
    for (int d = 0; d < rank; ++d) {
      if (extent[d] == 1)
        continue;
      if (kept > 0 && isEven(kept - 1, d)) {
        int64_t joined = extent[kept - 1] * extent[d];
        moveAxis(d, kept - 1);
        extent[kept - 1] = joined;
        continue;
      }
      moveAxis(d, kept++);
    }
    rank = kept;
  }

private:
  constexpr bool isEven(int outer, int inner) const {
    for (int o = 0; o < N; ++o)
      if (stride[o][outer] != stride[o][inner] * extent[inner])
        return false;
    return true;
  }
  /// Axes of one element have no place in memory: they are let through.
  constexpr bool comesAfter(int like, int first, int second) const {
    return stride[like][first] < stride[like][second] && extent[second] != 1;
  }
  constexpr void moveAxis(int from, int to) {
    extent[to] = extent[from];
    for (int o = 0; o < N; ++o)
      stride[o][to] = stride[o][from];
  }
  constexpr void swapAxes(int a, int b) {
    int64_t length = extent[a];
    extent[a] = extent[b], extent[b] = length;
    for (int o = 0; o < N; ++o) {
      int64_t step = stride[o][a];
      stride[o][a] = stride[o][b], stride[o][b] = step;
    }
  }
};

/// A box of an index space: where it begins and its lengths, by axis.
struct Box {
  int64_t start[kMaxAxes] = {};
  int64_t extent[kMaxAxes] = {};
};

/// Cuts a space of `rank` axes into boxes of at most `most` elements (at least 1), as few axes as
/// possible, the longest first. They are numbered; every element is in exactly one. `longest`,
/// where it is given, bounds the boxes by axis.
class Boxes {
public:
  constexpr Boxes(int rank, const int64_t *extents, int64_t most, const int64_t *longest = nullptr)
      : rank(rank) {
    int64_t size = 1;
    for (int d = 0; d < rank; ++d) {
      extent[d] = extents[d];
      step[d] = longest ? smaller(extents[d], longest[d]) : extents[d];
      size *= step[d];
    }
    while (size > most) {
      int axis = 0;
      for (int d = 1; d < rank; ++d)
        if (step[d] > step[axis])
          axis = d;
      int64_t others = size / step[axis];
      step[axis] = larger(1, most / others);
      size = others * step[axis];
    }
    for (int d = 0; d < rank; ++d)
      total *= step[d] > 0 ? ceilDiv(extent[d], step[d]) : 0;
  }

  constexpr int64_t count() const { return total; }
  /// Elements of the largest box.
  constexpr int64_t mostElements() const {
    int64_t size = 1;
    for (int d = 0; d < rank; ++d)
      size *= step[d];
    return size;
  }
  constexpr Box at(int64_t index) const {
    Box box;
    for (int d = rank - 1; d >= 0; --d) {
      int64_t steps = ceilDiv(extent[d], step[d]), position = index % steps;
      index /= steps;
      box.start[d] = position * step[d];
      box.extent[d] = smaller(step[d], extent[d] - box.start[d]);
    }
    return box;
  }

private:
  int rank;
  int64_t extent[kMaxAxes] = {}, step[kMaxAxes] = {};
  int64_t total = 1;
};

} // namespace evo::cuda
