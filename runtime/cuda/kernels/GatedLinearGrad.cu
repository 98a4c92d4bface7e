//===- GatedLinearGrad.cu ------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// The element-wise part of `gated_linear` backwards, u = x weight^T + bias and
// g = x gate_weight^T + gate_bias: du = row_scale * sigmoid(g) * dy; dg = row_scale * u *
// sigmoid'(g) * dy. du may be u and dg may be g.
//
// A dy by channel, which is how triangle products leave it, has a kernel of half types. A block has
// 64 rows of 64 channels of dy in shared memory, the channels shuffled on their way there such that
// what the tensor cores' transposing load hands to a lane are eight neighbouring channels of one
// row; the other operands lie by row and go from and to memory sixteen bytes at a time.
//===----------------------------------------------------------------------===//
#include "runtime/cuda/kernels/Elementwise.cuh"
#include "runtime/cuda/kernels/Mma.cuh"

namespace evo::cuda {

namespace {

struct GatedLinearGradOp {
  bool hasScale;
  /// x: dy, u, g, row_scale; y: du, dg.
  __device__ void operator()(const float *x, float *y) const {
    float slope = hasScale ? x[0] * x[3] : x[0];
    Opening opening = openingOf(x[2]);
    y[0] = slope * opening.value;
    y[1] = slope * x[1] * opening.slope;
  }
};

struct GatedGradCall {
  enum { Dy, U, G, RowScale, Du, Dg, kOperands };
  AxisSpace<kOperands> rows;                ///< in the order of dy
  int64_t rowCount, n, colTiles, colStride; ///< the last: of dy
  std::byte *data[kOperands];
  bool statisticScale;
};

constexpr int kGradThreads = 256, kGradTile = 64;

/// Begins to copy a tile of dy. Of 32 channels, 8 t + 2 j + i becomes row 8 j + 2 t + i.
template <class S>
__device__ void fetchSlopes(S (&to)[kGradTile][kGradTile + 8], const GatedGradCall &call,
                            int64_t row0, int64_t col0) {
  int row = threadIdx.x % 8 * 8;
  bool hasRows = row0 + row < call.rowCount;
  int64_t at = hasRows ? call.rows.offsetOf(GatedGradCall::Dy, row0 + row) : 0;
  for (int col = threadIdx.x / 8; col < kGradTile; col += kGradThreads / 8) {
    bool inside = hasRows && col0 + col < call.n;
    int shuffled = col / 32 * 32 + col % 8 / 2 * 8 + col % 32 / 8 * 2 + col % 2;
    const S *from = reinterpret_cast<const S *>(call.data[GatedGradCall::Dy]);
    copyAsync(&to[shuffled][row], from + (inside ? at + (col0 + col) * call.colStride : 0), inside);
  }
  commitCopies();
}

/// Eight channels of a row, two a word.
template <class S>
__device__ void slopesOf(const uint32_t (&dy)[4], float scale, const uint4 &u, const uint4 &g,
                         uint4 &du, uint4 &dg) {
  const uint32_t us[] = {u.x, u.y, u.z, u.w}, gs[] = {g.x, g.y, g.z, g.w};
  uint32_t dus[4], dgs[4];
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    float2 value = unpacked<S>(us[i]), gate = unpacked<S>(gs[i]), slope = unpacked<S>(dy[i]);
    Opening first = openingOf(gate.x), second = openingOf(gate.y);
    slope.x *= scale, slope.y *= scale;
    dus[i] = packed<S>(slope.x * first.value, slope.y * second.value);
    dgs[i] = packed<S>(slope.x * value.x * first.slope, slope.y * value.y * second.slope);
  }
  du = make_uint4(dus[0], dus[1], dus[2], dus[3]), dg = make_uint4(dgs[0], dgs[1], dgs[2], dgs[3]);
}

template <class S>
__global__ void __launch_bounds__(kGradThreads, 3)
    gatedGradKernel(const __grid_constant__ GatedGradCall call) {
  using C = GatedGradCall;
  __shared__ __align__(16) S slopes[kGradTile][kGradTile + 8];
  int64_t rowTile = quotient(blockIdx.x, call.colTiles), row0 = rowTile * kGradTile;
  int64_t col0 = (blockIdx.x - rowTile * call.colTiles) * kGradTile;
  fetchSlopes(slopes, call, row0, col0);
  int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  int64_t row = row0 + warp * 8 + lane / 4, col = col0 + lane % 4 * 8;
  bool hasRow = row < call.rowCount, has[2] = {hasRow && col < call.n, hasRow && col + 32 < call.n};
  int64_t at[C::kOperands] = {};
  if (hasRow)
    call.rows.locate(row, at);
  auto piece = [&](int o, int half) {
    return reinterpret_cast<uint4 *>(call.data[o] + (at[o] + col + 32 * half) * sizeof(S));
  };
  uint4 u[2] = {}, g[2] = {};
#pragma unroll
  for (int half = 0; half < 2; ++half)
    if (has[half])
      u[half] = *piece(C::U, half), g[half] = *piece(C::G, half);
  float scale = hasRow && call.data[C::RowScale]
                    ? load<S>(call.data[C::RowScale], at[C::RowScale], call.statisticScale)
                    : 1.0f;
  waitForCopies<0>();
  __syncthreads();
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    uint32_t dy[4];
    loadTransposed(dy, &slopes[32 * half + lane][8 * warp]);
    uint4 du, dg;
    slopesOf<S>(dy, scale, u[half], g[half], du, dg);
    if (has[half])
      *piece(C::Du, half) = du, *piece(C::Dg, half) = dg;
  }
}

/// False: the operands do not lie as the kernel reads and writes them.
template <class S> bool describeGrad(GatedGradCall &call, const Operand *o) {
  using C = GatedGradCall;
  int leading = o[C::Dy].rank - 1;
  for (int d = 0; d < leading; ++d) {
    for (int i = 0; i < C::kOperands; ++i)
      call.rows.stride[i][d] = o[i] ? o[i].strides[d] : 0;
    call.rows.push(o[C::Dy].shape[d]);
  }
  call.rows.sortLike(C::Dy);
  call.rows.merge();
  call.rowCount = call.rows.count(), call.n = o[C::Dy].shape[leading];
  call.colTiles = ceilDiv(call.n, kGradTile), call.colStride = o[C::Dy].strides[leading];
  call.statisticScale = isStatistic<S>(o[C::RowScale].type);
  int last = call.rows.rank - 1;
  bool fits = last >= 0 && call.rows.extent[last] % 8 == 0 && call.rows.stride[C::Dy][last] == 1 &&
              call.colStride % 8 == 0 && call.n % 8 == 0;
  for (int i = 0; i < C::kOperands; ++i) {
    call.data[i] = o[i].data;
    if (i == C::RowScale)
      continue;
    fits &= reinterpret_cast<uint64_t>(o[i].data) % 16 == 0;
    fits &= i == C::Dy || o[i].strides[leading] == 1;
    for (int d = 0; d <= last; ++d)
      fits &= (i == C::Dy && d == last) || call.rows.stride[i][d] % 8 == 0;
  }
  return fits && ceilDiv(call.rowCount, kGradTile) * call.colTiles <= kMostBlocks;
}

template <class S> Status launchByChannel(const Launch &launch, const GatedGradCall &call) {
  int64_t tiles = ceilDiv(call.rowCount, kGradTile) * call.colTiles;
  if (tiles > 0)
    gatedGradKernel<S><<<gridOf(tiles), kGradThreads, 0, launch.context->stream>>>(call);
  return statusOf(cudaGetLastError(), "the launch of a gated linear layer's gradient by channel");
}

} // namespace

template <class S> Status launchGatedLinearGrad(const Launch &launch) {
  if constexpr (kIsHalf<S>) {
    if (GatedGradCall call{}; describeGrad<S>(call, launch.operands))
      return launchByChannel<S>(launch, call);
  }
  Elements<4, 2> elements(launch.operands[4]);
  for (int i = 0; i < 6; ++i)
    elements.set(i, launch.operands[i]);
  return elementwise<S>(launch, elements, GatedLinearGradOp{bool(launch.operands[3])});
}

EVO_CUDA_INSTANTIATE(GatedLinearGrad)

} // namespace evo::cuda
