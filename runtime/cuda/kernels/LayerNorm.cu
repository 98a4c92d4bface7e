//===- LayerNorm.cu ------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// y[*,c] = (factor x[*,c] - mean) * rstd * weight[c] + bias[c], rstd = 1 / sqrt(var + eps), mean
// and variance those of factor x, the variance biased and taken about the mean. mean and rstd are
// stored where they are asked for. x is normalised as it lies, with eps / factor^2.
//
// Rows whose channels lie together are held in the registers of a warp, several at a time.
// Half-type rows of a channel-first x become such rows in tiles of 64 (TurnedTile.cuh). Others go
// through tiles of 32 rows in shared memory, read and written along whichever axis is contiguous;
// rows that are too long for either are gone through three times by a block.
//===----------------------------------------------------------------------===//
#include "runtime/cuda/kernels/Neighbours.cuh"
#include "runtime/cuda/kernels/TurnedTile.cuh"

namespace evo::cuda {

namespace {

struct NormCall {
  AxisSpace<4> rows; ///< x, y, mean, rstd
  int64_t next[4];   ///< strides of the last axis of the rows
  int64_t rowCount, channels, xStride, yStride, weightStride, biasStride;
  const std::byte *x, *weight, *bias;
  std::byte *y;
  float *mean, *rstd;
  float eps, factor; ///< eps is that of x as it lies
  float inverse;     ///< 1 / channels
};

__device__ void storeMoments(const NormCall &call, const int64_t (&at)[4], float mean, float rstd) {
  if (call.mean)
    call.mean[at[2]] = mean * call.factor;
  if (call.rstd)
    call.rstd[at[3]] = rstd / call.factor;
}

/// Means and inverse deviations of rows that kLanes lanes share, of whose channels a lane has kOwn,
/// `own` of them below the number of channels and the others 0. x is then what it differs from the
/// means.
template <int kLanes, int kRows, int kOwn>
__device__ void centre(float (&x)[kRows][kOwn], int own, const NormCall &call, float (&mean)[kRows],
                       float (&rstd)[kRows]) {
#pragma unroll
  for (int r = 0; r < kRows; ++r) {
    float sum = 0, squares = 0;
#pragma unroll
    for (int i = 0; i < kOwn; ++i)
      sum += x[r][i];
    mean[r] = laneSum<kLanes>(sum) * call.inverse;
#pragma unroll
    for (int i = 0; i < kOwn; ++i) {
      x[r][i] = i < own ? x[r][i] - mean[r] : 0.0f;
      squares = fmaf(x[r][i], x[r][i], squares);
    }
    rstd[r] = rsqrtf(fmaf(laneSum<kLanes>(squares), call.inverse, call.eps));
  }
}

/// What a warp reads of rows, of which it has kRows in each of its parts of kLanes lanes.
template <class S, int kLanes, int kGroups, int kWide, int kRows> struct FetchedRows {
  Neighbours<S, kWide> x[kRows][kGroups];

  __device__ void fetch(const NormCall &call, int64_t row, int own) {
    constexpr int kApart = 32 / kLanes;
    int64_t at = call.rows.offsetOf(0, row) + threadIdx.x % 32 / kLanes * call.next[0];
#pragma unroll
    for (int r = 0; r < kRows; ++r)
#pragma unroll
      for (int g = 0; g < kGroups; ++g)
        if (g * kWide < own)
          x[r][g].load(call.x, at + r * kApart * call.next[0] +
                                   (g * kLanes + threadIdx.x % kLanes) * kWide);
  }
};

/// kLanes lanes share kRows rows of at most kGroups * kLanes * kWide channels, a multiple of kWide;
/// they read all and then work on two at a time. The last axis of the rows is a multiple of the
/// rows that a warp has at a time.
template <class S, int kLanes, int kGroups, int kWide, int kRows>
__global__ void __launch_bounds__(256, kGroups *kWide > 8 ? 3 : 4)
    warpKernel(const __grid_constant__ NormCall call) {
  constexpr int kApart = 32 / kLanes, kTogether = kRows * kApart, kOwn = kGroups * kWide;
  constexpr int kHeld = kRows < 2 ? 1 : 2;
  using Rows = FetchedRows<S, kLanes, kGroups, kWide, kRows>;
  int lane = threadIdx.x % kLanes, channels = static_cast<int>(call.channels);
  int own = (channels + kWide * (kLanes - 1 - lane)) / (kWide * kLanes) * kWide;
  int64_t step = gridDim.x * int64_t{8 * kTogether};
  int64_t row = (blockIdx.x * int64_t{8} + threadIdx.x / 32) * kTogether;
  Neighbours<S, kWide> weights[kGroups], biases[kGroups];
#pragma unroll
  for (int g = 0; g < kGroups; ++g)
    if (g * kWide < own) {
      weights[g].load(call.weight, (g * kLanes + lane) * kWide);
      biases[g].load(call.bias, (g * kLanes + lane) * kWide);
    }
  for (; row < call.rowCount; row += step) {
    Rows rows;
    rows.fetch(call, row, own);
    int64_t at[4];
    call.rows.locate(row, at);
    for (int o = 1; o < 4; ++o)
      at[o] += threadIdx.x % 32 / kLanes * call.next[o] + (o == 1 ? lane * kWide : 0);
#pragma unroll
    for (int first = 0; first < kRows; first += kHeld) {
      float x[kHeld][kOwn], mean[kHeld], rstd[kHeld];
#pragma unroll
      for (int r = 0; r < kHeld; ++r)
#pragma unroll
        for (int g = 0; g < kGroups; ++g)
          rows.x[first + r][g].widenTo(x[r] + g * kWide);
      centre<kLanes>(x, own, call, mean, rstd);
#pragma unroll
      for (int r = 0; r < kHeld; ++r) {
#pragma unroll
        for (int g = 0; g < kGroups; ++g) {
          float y[kWide], weight[kWide], bias[kWide];
          weights[g].keepAsStored(), biases[g].keepAsStored();
          weights[g].widenTo(weight), biases[g].widenTo(bias);
#pragma unroll
          for (int i = 0; i < kWide; ++i)
            y[i] = fmaf(x[r][kWide * g + i] * rstd[r], weight[i], bias[i]);
          Neighbours<S, kWide> out;
          out.round(y);
          if (g * kWide < own)
            out.store(call.y, at[1] + g * kLanes * kWide);
        }
        if (lane == 0)
          storeMoments(call, at, mean[r], rstd[r]);
        for (int o = 1; o < 4; ++o)
          at[o] += kApart * call.next[o];
      }
    }
  }
}

/// x lies channel-first and y by rows.
template <class S, int kPairs>
__global__ void __launch_bounds__(kTurnedThreads, 4)
    turnedKernel(const __grid_constant__ NormCall call,
                 const __grid_constant__ TurnedRows<4> rows) {
  constexpr int kRows = kPairs > 2 ? 2 : 4, kOwn = 2 * kPairs;
  __shared__ TurnedTile<S, kPairs> tile;
  int lane = threadIdx.x % 32, warp = threadIdx.x / 32, channels = static_cast<int>(call.channels);
  int own = (channels - lane * 2 + 63) / 64 * 2;
  float weight[kOwn] = {}, bias[kOwn] = {};
  for (int i = 0; i < own && i < kOwn; ++i) {
    int c = 2 * lane + i / 2 * 64 + i % 2;
    weight[i] = load<S>(call.weight, c * call.weightStride);
    bias[i] = load<S>(call.bias, c * call.biasStride);
  }
  for (int64_t task = blockIdx.x; task < rows.tasks; task += gridDim.x) {
    int64_t at[4];
    int count = rows.locate(task, at);
    __syncthreads(); // of the last tile's rows
    tile.fill(reinterpret_cast<const S *>(call.x) + at[0], call.xStride, count, channels);
    __syncthreads();
#pragma unroll 2
    for (int first = warp * 8; first < warp * 8 + 8 && first < count; first += kRows) {
      float x[kRows][kOwn], mean[kRows], rstd[kRows];
      for (int r = 0; r < kRows; ++r)
        for (int i = 0; i < kPairs; ++i) {
          float2 two = unpacked<S>(tile.pair[first + r][lane + 32 * i]);
          x[r][2 * i] = 2 * i < own ? two.x : 0.0f, x[r][2 * i + 1] = 2 * i < own ? two.y : 0.0f;
        }
      centre<32>(x, own, call, mean, rstd);
      for (int r = 0; r < kRows && first + r < count; ++r) {
        auto *y = reinterpret_cast<uint32_t *>(reinterpret_cast<S *>(call.y) + at[1] +
                                               (first + r) * rows.stride[1]);
        for (int i = 0; i < kPairs; ++i)
          if (2 * i < own)
            y[lane + 32 * i] =
                packed<S>(fmaf(x[r][2 * i] * rstd[r], weight[2 * i], bias[2 * i]),
                          fmaf(x[r][2 * i + 1] * rstd[r], weight[2 * i + 1], bias[2 * i + 1]));
        const int64_t moments[4] = {0, 0, at[2] + (first + r) * rows.stride[2],
                                    at[3] + (first + r) * rows.stride[3]};
        if (lane == 0)
          storeMoments(call, moments, mean[r], rstd[r]);
      }
    }
  }
}

constexpr int kTileRows = 32, kTilePitch = 33;
/// Channels whose tile fits the shared memory that every device gives without being asked.
constexpr int64_t kMostTileChannels = (40 << 10) / (kTilePitch * 4);

template <class S> __global__ void __launch_bounds__(256) tileKernel(NormCall call) {
  extern __shared__ float tile[]; // [channels][kTilePitch]
  __shared__ int64_t xRow[kTileRows], yRow[kTileRows];
  __shared__ float means[kTileRows], rstds[kTileRows];
  int channels = static_cast<int>(call.channels), lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  int all = channels * kTileRows;
  for (int64_t first = blockIdx.x * int64_t{kTileRows}; first < call.rowCount;
       first += gridDim.x * int64_t{kTileRows}) {
    int rows = static_cast<int>(smaller(kTileRows, call.rowCount - first));
    __syncthreads();
    int64_t at[4];
    if (threadIdx.x < rows) {
      call.rows.locate(first + threadIdx.x, at);
      xRow[threadIdx.x] = at[0], yRow[threadIdx.x] = at[1];
    }
    __syncthreads();
    bool along = call.xStride == 1;
    for (int e = threadIdx.x; e < all; e += 256) {
      int row = along ? e / channels : e % kTileRows, c = along ? e % channels : e / kTileRows;
      if (row < rows)
        tile[c * kTilePitch + row] = load<S>(call.x, xRow[row] + c * call.xStride);
    }
    __syncthreads();
    for (int row = warp; row < rows; row += 8) {
      float sum = 0, squares = 0;
      for (int c = lane; c < channels; c += 32)
        sum += tile[c * kTilePitch + row];
      float mean = warpSum(sum) / static_cast<float>(channels);
      for (int c = lane; c < channels; c += 32) {
        float difference = tile[c * kTilePitch + row] - mean;
        squares = fmaf(difference, difference, squares);
      }
      squares = warpSum(squares);
      if (lane == 0) {
        means[row] = mean;
        rstds[row] = 1.0f / sqrtf(squares / static_cast<float>(channels) + call.eps);
      }
    }
    __syncthreads();
    if (threadIdx.x < rows)
      storeMoments(call, at, means[threadIdx.x], rstds[threadIdx.x]);
    along = call.yStride == 1;
    for (int e = threadIdx.x; e < all; e += 256) {
      int row = along ? e / channels : e % kTileRows, c = along ? e % channels : e / kTileRows;
      if (row >= rows)
        continue;
      float normed = (tile[c * kTilePitch + row] - means[row]) * rstds[row];
      store<S>(call.y, yRow[row] + c * call.yStride,
               fmaf(normed, load<S>(call.weight, c * call.weightStride),
                    load<S>(call.bias, c * call.biasStride)));
    }
  }
}

template <class S> __global__ void __launch_bounds__(256) blockKernel(NormCall call) {
  __shared__ float space[32];
  for (int64_t row = blockIdx.x; row < call.rowCount; row += gridDim.x) {
    int64_t at[4];
    call.rows.locate(row, at);
    float sum = 0, squares = 0, channels = static_cast<float>(call.channels);
    for (int64_t c = threadIdx.x; c < call.channels; c += 256)
      sum += load<S>(call.x, at[0] + c * call.xStride);
    float mean = blockSum(sum, space) / channels;
    for (int64_t c = threadIdx.x; c < call.channels; c += 256) {
      float difference = load<S>(call.x, at[0] + c * call.xStride) - mean;
      squares = fmaf(difference, difference, squares);
    }
    float rstd = 1.0f / sqrtf(blockSum(squares, space) / channels + call.eps);
    for (int64_t c = threadIdx.x; c < call.channels; c += 256)
      store<S>(call.y, at[1] + c * call.yStride,
               fmaf((load<S>(call.x, at[0] + c * call.xStride) - mean) * rstd,
                    load<S>(call.weight, c * call.weightStride),
                    load<S>(call.bias, c * call.biasStride)));
    if (threadIdx.x == 0)
      storeMoments(call, at, mean, rstd);
  }
}

/// Whether lanes may read and write the rows `wide` channels at a time.
template <class S> bool takesGroups(const NormCall &call, int wide) {
  if (call.channels % wide != 0 || call.channels > 512 || call.xStride != 1 || call.yStride != 1 ||
      call.weightStride != 1 || call.biasStride != 1)
    return false;
  for (const std::byte *data : {call.x, call.weight, call.bias, (const std::byte *)call.y})
    if (reinterpret_cast<uint64_t>(data) % (static_cast<uint64_t>(wide) * sizeof(S)) != 0)
      return false;
  for (int d = 0; d < call.rows.rank; ++d)
    if (call.rows.stride[0][d] % wide != 0 || call.rows.stride[1][d] % wide != 0)
      return false;
  return true;
}

/// Where channels lie together as lanes take them, runs on rows in registers.
template <class S> bool launchWarps(const Launch &launch, const NormCall &call) {
  constexpr int kWide = kWidest<S>, kRows = 4, kGroups = 8 / kWide;
  auto run = [&](auto *kernel, int64_t rowsOfWarp) {
    unsigned grid = gridOf(
        std::min(ceilDiv(call.rowCount, 8 * rowsOfWarp), int64_t{16} * launch.context->processors));
    kernel<<<grid, 256, 0, launch.context->stream>>>(call);
    return true;
  };
  int inner = call.rows.rank - 1;
  int64_t last = inner >= 0 ? call.rows.extent[inner] : 1;
  if (takesGroups<S>(call, kWide)) {
    if (call.channels <= 64 && last % (4 * kRows) == 0)
      return run(warpKernel<S, 8, kGroups, kWide, kRows>, 4 * kRows);
    if (call.channels <= 128 && last % (2 * kRows) == 0)
      return run(warpKernel<S, 16, kGroups, kWide, kRows>, 2 * kRows);
    if (call.channels <= 256 && last % kRows == 0)
      return run(warpKernel<S, 32, kGroups, kWide, kRows>, kRows);
  }
  return takesGroups<S>(call, 4) && run(warpKernel<S, 32, 4, 4, 1>, 1);
}

/// Where x is channel-first as tiles take it, runs on them.
template <class S> bool launchTurned(const Launch &launch, const NormCall &call) {
  const std::byte *const data[4] = {call.x, call.y};
  const int64_t strides[4] = {call.xStride, call.yStride};
  if (call.xStride == 1 || !takesTurnedTiles<S>(call.rows, call.channels, 0, data, strides, 2))
    return false;
  TurnedRows<4> rows(call.rows);
  unsigned grid = gridOf(rows.tasks);
  if (call.channels <= 64)
    turnedKernel<S, 1><<<grid, kTurnedThreads, 0, launch.context->stream>>>(call, rows);
  else if (call.channels <= 128)
    turnedKernel<S, 2><<<grid, kTurnedThreads, 0, launch.context->stream>>>(call, rows);
  else
    turnedKernel<S, 4><<<grid, kTurnedThreads, 0, launch.context->stream>>>(call, rows);
  return true;
}

} // namespace

template <class S> Status launchLayerNorm(const Launch &launch) {
  const Operand &x = launch.operands[0], &weight = launch.operands[1], &bias = launch.operands[2];
  const Operand &y = launch.operands[3], &mean = launch.operands[4], &rstd = launch.operands[5];
  if (isEmpty(y))
    return {};
  int leading = x.rank - 1;
  NormCall call{};
  for (int d = 0; d < leading; ++d) {
    call.rows.stride[0][d] = x.strides[d], call.rows.stride[1][d] = y.strides[d];
    call.rows.stride[2][d] = mean.strides[d], call.rows.stride[3][d] = rstd.strides[d];
    call.rows.push(x.shape[d]);
  }
  call.channels = x.shape[leading];
  call.xStride = call.channels == 1 ? 1 : x.strides[leading];
  call.yStride = call.channels == 1 ? 1 : y.strides[leading];
  call.weightStride = weight.strides[0], call.biasStride = bias.strides[0];
  call.x = x.data, call.weight = weight.data, call.bias = bias.data, call.y = y.data;
  call.mean = elements<float>(mean.data), call.rstd = elements<float>(rstd.data);
  double factor = launch.attributes->factor;
  call.eps = static_cast<float>(launch.attributes->eps / (factor * factor));
  call.factor = static_cast<float>(factor);
  call.inverse = 1.0f / static_cast<float>(call.channels);
  call.rows.sortLike(call.xStride == 1 ? 1 : 0);
  call.rows.merge();
  call.rowCount = call.rows.count();
  cudaStream_t stream = launch.context->stream;
  if constexpr (kIsHalf<S>)
    if (launchTurned<S>(launch, call))
      return {};
  int inner = call.rows.rank - 1;
  for (int i = 0; i < 4; ++i)
    call.next[i] = inner >= 0 ? call.rows.stride[i][inner] : 0;
  if (launchWarps<S>(launch, call))
    return {};
  if (call.channels <= kMostTileChannels)
    tileKernel<S><<<gridOf(ceilDiv(call.rowCount, kTileRows)), 256,
                    static_cast<size_t>(call.channels) * kTilePitch * 4, stream>>>(call);
  else
    blockKernel<S><<<gridOf(call.rowCount), 256, 0, stream>>>(call);
  return {};
}

EVO_CUDA_INSTANTIATE(LayerNorm)

} // namespace evo::cuda
