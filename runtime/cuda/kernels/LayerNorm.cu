//===- LayerNorm.cu ------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// y[*,c] = (factor x[*,c] - mean) * rstd * weight[c] + bias[c], rstd = 1 / sqrt(var + eps), mean
// and variance those of factor x, the variance biased and taken about the mean. mean and rstd are
// stored where they are asked for. x is normalised as it lies, with eps / factor^2.
//
// Rows whose channels lie together are held in the registers of a warp. Others (a transposed x or
// y) go through tiles of 32 rows in shared memory, read and written along whichever axis is
// contiguous; rows that are too long for either are gone through three times by a block.
//===----------------------------------------------------------------------===//
#include "runtime/cuda/kernels/Storage.cuh"

namespace evo::cuda {

namespace {

struct NormCall {
  AxisSpace<4> rows; ///< x, y, mean, rstd
  int64_t rowCount, channels, xStride, yStride, weightStride, biasStride;
  const std::byte *x, *weight, *bias;
  std::byte *y;
  float *mean, *rstd;
  float eps, factor; ///< eps is that of x as it lies
};

__device__ void storeMoments(const NormCall &call, const int64_t (&at)[4], float mean, float rstd) {
  if (call.mean)
    call.mean[at[2]] = mean * call.factor;
  if (call.rstd)
    call.rstd[at[3]] = rstd / call.factor;
}

/// A warp has a row of at most kGroups * 128 channels, a multiple of 4.
template <class S, int kGroups> __global__ void __launch_bounds__(256) warpKernel(NormCall call) {
  int lane = threadIdx.x % 32;
  int64_t step = gridDim.x * int64_t{8};
  for (int64_t row = blockIdx.x * int64_t{8} + threadIdx.x / 32; row < call.rowCount; row += step) {
    int64_t at[4];
    call.rows.locate(row, at);
    float x[kGroups][4], sum = 0, squares = 0;
    for (int g = 0; g < kGroups; ++g) {
      int c = (g * 32 + lane) * 4;
      for (int i = 0; i < 4; ++i)
        x[g][i] = 0;
      if (c < call.channels)
        load4<S>(call.x, at[0] + c, false, x[g]);
      sum += (x[g][0] + x[g][1]) + (x[g][2] + x[g][3]);
    }
    float mean = warpSum(sum) / static_cast<float>(call.channels);
    for (int g = 0; g < kGroups; ++g)
      for (int i = 0; i < 4; ++i) {
        float difference = x[g][i] - mean;
        if ((g * 32 + lane) * 4 < call.channels)
          squares = fmaf(difference, difference, squares);
      }
    float rstd = 1.0f / sqrtf(warpSum(squares) / static_cast<float>(call.channels) + call.eps);
    for (int g = 0; g < kGroups; ++g) {
      int c = (g * 32 + lane) * 4;
      if (c >= call.channels)
        continue;
      float weight[4], bias[4];
      load4<S>(call.weight, c, false, weight);
      load4<S>(call.bias, c, false, bias);
      for (int i = 0; i < 4; ++i)
        x[g][i] = fmaf((x[g][i] - mean) * rstd, weight[i], bias[i]);
      store4<S>(call.y, at[1] + c, false, x[g]);
    }
    if (lane == 0)
      storeMoments(call, at, mean, rstd);
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

/// Whether a warp may read and write the rows four channels at a time.
template <class S> bool takesFours(const NormCall &call) {
  if (call.channels % 4 != 0 || call.channels > 512 || call.xStride != 1 || call.yStride != 1 ||
      call.weightStride != 1 || call.biasStride != 1)
    return false;
  for (const std::byte *data : {call.x, call.weight, call.bias, (const std::byte *)call.y})
    if (reinterpret_cast<uint64_t>(data) % (4 * sizeof(S)) != 0)
      return false;
  for (int d = 0; d < call.rows.rank; ++d)
    if (call.rows.stride[0][d] % 4 != 0 || call.rows.stride[1][d] % 4 != 0)
      return false;
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
  call.rows.sortLike(call.xStride == 1 ? 1 : 0);
  call.rows.merge();
  call.rowCount = call.rows.count();
  cudaStream_t stream = launch.context->stream;
  int64_t most = int64_t{32} * launch.context->processors;
  unsigned grid = gridOf(std::min(ceilDiv(call.rowCount, 8), most));
  if (takesFours<S>(call) && call.channels <= 128)
    warpKernel<S, 1><<<grid, 256, 0, stream>>>(call);
  else if (takesFours<S>(call) && call.channels <= 256)
    warpKernel<S, 2><<<grid, 256, 0, stream>>>(call);
  else if (takesFours<S>(call))
    warpKernel<S, 4><<<grid, 256, 0, stream>>>(call);
  else if (call.channels <= kMostTileChannels)
    tileKernel<S><<<gridOf(ceilDiv(call.rowCount, kTileRows)), 256,
                    static_cast<size_t>(call.channels) * kTilePitch * 4, stream>>>(call);
  else
    blockKernel<S><<<gridOf(call.rowCount), 256, 0, stream>>>(call);
  return {};
}

EVO_CUDA_INSTANTIATE(LayerNorm)

} // namespace evo::cuda
