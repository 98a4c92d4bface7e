//===- Elementwise.cuh - kernels that work on one element at a time -*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// The axes of a call are put in the order of its output in memory and merged; the last one becomes
// the columns. A block has some rows of columns, so that where an element lies is computed once a
// row; columns of unit stride are read and written four at a time, those of half types eight at a
// time; rows that lie evenly are taken several at a time (Stripes.cuh). Operands that lie along
// another axis than the columns go through tiles in shared memory.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/cuda/kernels/Stripes.cuh"

namespace evo::cuda {

/// V neighbours as they lie in memory, aligned together, or one that stands for all. What waits for
/// them is left to `widenTo`, so that the loads of several operands are under way together; but
/// eight statistics, which would take many registers, are read there.
template <class S, int V> struct Group {
  uint4 bits;

  __device__ void load(const std::byte *data, int64_t at, bool statistic, bool isOne) {
    bool wide = !kIsHalf<S> || statistic;
    const std::byte *from = data + at * (wide ? 4 : 2);
    if (isOne) {
      bits.x = wide ? *reinterpret_cast<const uint32_t *>(from)
                    : *reinterpret_cast<const uint16_t *>(from);
    } else if (V == 4 && !wide) {
      uint2 two = *reinterpret_cast<const uint2 *>(from);
      bits.x = two.x, bits.y = two.y;
    } else if (V == 4 || !wide) {
      bits = *reinterpret_cast<const uint4 *>(from);
    }
  }
  __device__ void widenTo(float (&x)[V], const std::byte *data, int64_t at, bool statistic,
                          bool isOne) const {
    bool wide = !kIsHalf<S> || statistic;
    const auto *floats = reinterpret_cast<const float *>(&bits);
    const auto *elements = reinterpret_cast<const S *>(&bits);
    if (isOne) {
      float one = wide ? floats[0] : widen(elements[0]);
      for (int v = 0; v < V; ++v)
        x[v] = one;
      return;
    }
    if constexpr (V == 8) {
      if (wide) {
        for (int i = 0; i < 2; ++i) {
          float4 four = reinterpret_cast<const float4 *>(data + at * 4)[i];
          x[4 * i] = four.x, x[4 * i + 1] = four.y, x[4 * i + 2] = four.z, x[4 * i + 3] = four.w;
        }
        return;
      }
    }
    for (int v = 0; v < V; ++v)
      x[v] = V != 8 && wide ? floats[v % 4] : widen(elements[v]);
  }
};

template <class S, int V>
__device__ inline void storeGroup(std::byte *data, int64_t at, bool statistic,
                                  const float (&x)[V]) {
  if constexpr (V == 1) {
    store<S>(data, at, x[0], statistic);
  } else if constexpr (V == 4) {
    store4<S>(data, at, statistic, x);
  } else if (statistic) {
    for (int v = 0; v < V; v += 4)
      *reinterpret_cast<float4 *>(data + (at + v) * 4) =
          make_float4(x[v], x[v + 1], x[v + 2], x[v + 3]);
  } else {
    uint4 bits;
    S *group = reinterpret_cast<S *>(&bits);
    for (int v = 0; v < V; ++v)
      group[v] = rounded<S>(x[v]);
    *reinterpret_cast<uint4 *>(data + at * 2) = bits;
  }
}

/// op(x, y): the outputs y of the inputs x; those of absent inputs are 0.
template <class S, int I, int O, int V, class Op>
__global__ void __launch_bounds__(256, I > 5 ? 2 : 3)
    lineKernel(const __grid_constant__ Lines<I + O> lines, const __grid_constant__ Op op) {
  int64_t groups = lines.cols / V, colTiles = ceilDiv(groups, 1 << lines.rowShift);
  int64_t tiles = ceilDiv(lines.rowCount, 256 >> lines.rowShift) * colTiles;
  for (int64_t tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
    Place place = linePlace(tile, threadIdx.x, colTiles, lines.rowShift, 1, V);
    int64_t row = place.row, col = place.col;
    if (row >= lines.rowCount || col >= lines.cols)
      continue;
    int64_t at[I + O];
    lines.rows.locate(row, at);
    Group<S, V> group[I > 0 ? I : 1];
    float x[I > 0 ? I : 1][V], y[O][V];
    for (int i = 0; i < I; ++i)
      if (at[i] += col * lines.colStride[i]; lines.data[i])
        group[i].load(lines.data[i], at[i], lines.statistic[i], V == 1 || lines.colStride[i] == 0);
    for (int i = 0; i < I; ++i) {
      for (int v = 0; v < V; ++v)
        x[i][v] = 0;
      if (lines.data[i])
        group[i].widenTo(x[i], lines.data[i], at[i], lines.statistic[i],
                         V == 1 || lines.colStride[i] == 0);
    }
    for (int v = 0; v < V; ++v) {
      float in[I > 0 ? I : 1], out[O];
      for (int i = 0; i < I; ++i)
        in[i] = x[i][v];
      op(in, out);
      for (int o = 0; o < O; ++o)
        y[o][v] = out[o];
    }
    for (int o = 0; o < O; ++o)
      if (lines.data[I + o])
        storeGroup<S>(lines.data[I + o], at[I + o] + col * lines.colStride[I + o],
                      lines.statistic[I + o], y[o]);
  }
}

/// Lines some of whose operands lie along an axis of the rows, `across`, in place of the columns.
template <int N> struct TurnedLines {
  AxisSpace<N> outer; ///< the axes but `across` and the columns
  int64_t outerCount, across, cols;
  int64_t acrossStride[N], colStride[N];
  std::byte *data[N];
  bool statistic[N];
  int tile[N]; ///< of the operands that lie along `across`: their tile; -1: none
};

template <class S, int I, int O, class Op>
__global__ void __launch_bounds__(256) turnedKernel(TurnedLines<I + O> lines, Op op) {
  extern __shared__ float space[][32][33];
  int lane = threadIdx.x % 32, part = threadIdx.x / 32;
  int64_t rowTiles = ceilDiv(lines.across, 32), colTiles = ceilDiv(lines.cols, 32);
  int64_t all = lines.outerCount * rowTiles * colTiles;
  for (int64_t task = blockIdx.x; task < all; task += gridDim.x) {
    OuterPlace place = tilePlace(task, rowTiles, colTiles, 32, 32);
    int64_t row0 = place.row, col0 = place.col;
    int64_t at[I + O];
    lines.outer.locate(place.outer, at);
    auto offset = [&](int o, int64_t row, int64_t col) {
      return at[o] + row * lines.acrossStride[o] + col * lines.colStride[o];
    };
    __syncthreads(); // of the last task's tiles
    for (int i = 0; i < I; ++i)
      for (int j = part; lines.tile[i] >= 0 && j < 32; j += 8)
        if (row0 + lane < lines.across && col0 + j < lines.cols)
          space[lines.tile[i]][j][lane] =
              load<S>(lines.data[i], offset(i, row0 + lane, col0 + j), lines.statistic[i]);
    __syncthreads();
    for (int j = part; j < 32; j += 8) {
      int64_t row = row0 + j, col = col0 + lane;
      if (row >= lines.across || col >= lines.cols)
        continue;
      float x[I > 0 ? I : 1], y[O];
      for (int i = 0; i < I; ++i)
        x[i] = !lines.data[i] ? 0.0f
               : lines.tile[i] >= 0
                   ? space[lines.tile[i]][lane][j]
                   : load<S>(lines.data[i], offset(i, row, col), lines.statistic[i]);
      op(x, y);
      for (int o = I; o < I + O; ++o)
        if (lines.tile[o] >= 0)
          space[lines.tile[o]][lane][j] = y[o - I];
        else if (lines.data[o])
          store<S>(lines.data[o], offset(o, row, col), y[o - I], lines.statistic[o]);
    }
    __syncthreads();
    for (int o = I; o < I + O; ++o)
      for (int j = part; lines.tile[o] >= 0 && j < 32; j += 8)
        if (row0 + lane < lines.across && col0 + j < lines.cols)
          store<S>(lines.data[o], offset(o, row0 + lane, col0 + j), space[lines.tile[o]][j][lane],
                   lines.statistic[o]);
  }
}

/// The axis that operands lie along in place of the columns; -1 where there is none such, or
/// several.
template <int N> int axisAcross(const Lines<N> &lines) {
  int across = -1;
  for (int o = 0; o < N; ++o) {
    if (!lines.data[o] || lines.colStride[o] <= 1)
      continue;
    for (int d = 0; d < lines.rows.rank; ++d)
      if (lines.rows.stride[o][d] == 1 && lines.rows.extent[d] > 1) {
        if (across >= 0 && across != d)
          return -1;
        across = d;
      }
  }
  return across;
}

template <class S, int I, int O, class Op>
Status launchTurned(const Launch &launch, const Lines<I + O> &lines, int across, const Op &op) {
  TurnedLines<I + O> turned{};
  int tiles = 0;
  turned.outer = lines.rows;
  turned.outer.removeAxis(across);
  turned.outerCount = turned.outer.count();
  turned.across = lines.rows.extent[across], turned.cols = lines.cols;
  for (int o = 0; o < I + O; ++o) {
    turned.acrossStride[o] = lines.rows.stride[o][across], turned.colStride[o] = lines.colStride[o];
    turned.data[o] = lines.data[o], turned.statistic[o] = lines.statistic[o];
    bool turns = lines.data[o] && lines.colStride[o] > 1 && turned.acrossStride[o] == 1;
    turned.tile[o] = turns ? tiles++ : -1;
  }
  int64_t all = turned.outerCount * ceilDiv(turned.across, 32) * ceilDiv(turned.cols, 32);
  turnedKernel<S, I, O><<<gridOf(all), 256, static_cast<size_t>(tiles) * 32 * 33 * sizeof(float),
                          launch.context->stream>>>(turned, op);
  return statusOf(cudaGetLastError(), "an elementwise launch with tiles");
}

/// Whether columns can be read and written `group` at a time.
template <class S, int N> bool takesGroups(const Lines<N> &lines, int inputs, int group) {
  if (lines.cols % group != 0)
    return false;
  for (int o = 0; o < N; ++o) {
    if (!lines.data[o] || (o < inputs && lines.colStride[o] == 0))
      continue;
    uint64_t bytes = lines.statistic[o] ? 16 : static_cast<uint64_t>(group) * sizeof(S);
    if (lines.colStride[o] != 1 || reinterpret_cast<uint64_t>(lines.data[o]) % bytes != 0)
      return false;
    for (int d = 0; d < lines.rows.rank; ++d)
      if (lines.rows.stride[o][d] % group != 0)
        return false;
  }
  return true;
}

template <class S, int I, int O, int V, class Op>
Status launchLines(const Launch &launch, Lines<I + O> &lines, const Op &op) {
  int64_t groups = lines.cols / V;
  setRowShift(lines, groups);
  int64_t tiles = ceilDiv(lines.rowCount, 256 >> lines.rowShift) *
                  ceilDiv(groups, int64_t{1} << lines.rowShift);
  unsigned grid = gridOf(std::min<int64_t>(tiles, int64_t{64} * launch.context->processors));
  lineKernel<S, I, O, V><<<grid, 256, 0, launch.context->stream>>>(lines, op);
  return statusOf(cudaGetLastError(), "an elementwise launch");
}

/// Runs op on every element; output `like` says in which order.
template <class S, int I, int O, class Op>
Status elementwise(const Launch &launch, Elements<I, O> elements, const Op &op, int like = 0) {
  constexpr int N = I + O;
  for (int o = 0; o < N; ++o)
    if (!elements.data[o])
      for (int64_t &stride : elements.axes.stride[o])
        stride = 0;
  if (elements.axes.count() == 0)
    return {};
  elements.axes.sortLike(I + like);
  elements.axes.merge();
  Lines<N> lines{};
  lines.rows = elements.axes;
  lines.cols = 1;
  if (int inner = elements.axes.rank - 1; inner >= 0) {
    lines.cols = elements.axes.extent[inner];
    for (int o = 0; o < N; ++o)
      lines.colStride[o] = elements.axes.stride[o][inner];
    lines.rows.removeAxis(inner);
  }
  lines.rowCount = lines.rows.count();
  for (int o = 0; o < N; ++o) {
    lines.data[o] = elements.data[o];
    lines.statistic[o] = isStatistic<S>(elements.type[o]);
  }
  if (int across = axisAcross(lines); across >= 0)
    return launchTurned<S, I, O>(launch, lines, across, op);
  if constexpr (kIsHalf<S>)
    if (takesGroups<S>(lines, I, 8)) {
      if constexpr (I > 0 && I <= 4)
        if (launchStripes<S, I, O>(launch, lines, op))
          return statusOf(cudaGetLastError(), "an elementwise launch of stripes");
      return launchLines<S, I, O, 8>(launch, lines, op);
    }
  return takesGroups<S>(lines, I, 4) ? launchLines<S, I, O, 4>(launch, lines, op)
                                     : launchLines<S, I, O, 1>(launch, lines, op);
}

} // namespace evo::cuda
