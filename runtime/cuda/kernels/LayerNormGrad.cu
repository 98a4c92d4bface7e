//===- LayerNormGrad.cu --------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// With xhat = (factor x - mean) * rstd, mean and rstd those of factor x, and e = dy * weight:
// dx = residual + rstd * (e - mean_c(e) - xhat * mean_c(e * xhat));
// dweight[c] = weight_accumulator[c] + sum_* dy * xhat; dbias[c] = bias_accumulator[c] + sum_* dy.
// Each output may be what is added to it. x is normalised as it lies, with eps / factor^2; its rstd
// is then that of factor x, times factor.
//
// A fixed number of blocks goes through the rows and leaves sums of dweight and dbias in slots.
// Where channels lie together a warp has a row in registers, else a block goes through it.
//===----------------------------------------------------------------------===//
#include "runtime/cuda/kernels/Slots.cuh"

namespace evo::cuda {

namespace {

struct NormGradCall {
  AxisSpace<4> rows; ///< x, dy, residual, dx
  int64_t rowCount, channels, stride[4], weightStride;
  const std::byte *x, *weight, *dy, *residual;
  std::byte *dx;
  float *slots;      ///< [blocks][2 * channels]
  float eps, factor; ///< eps is that of x as it lies
};

template <class S, int kGroups>
__global__ void __launch_bounds__(256) warpKernel(NormGradCall call) {
  __shared__ float sums[8][kGroups * 128];
  int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  float weight[kGroups][4], weightSum[kGroups][4] = {}, biasSum[kGroups][4] = {};
  for (int g = 0; g < kGroups; ++g) {
    for (int i = 0; i < 4; ++i)
      weight[g][i] = 0;
    if ((g * 32 + lane) * 4 < call.channels)
      load4<S>(call.weight, (g * 32 + lane) * 4, false, weight[g]);
  }
  float channels = static_cast<float>(call.channels);
  int64_t step = gridDim.x * int64_t{8};
  for (int64_t row = blockIdx.x * int64_t{8} + warp; row < call.rowCount; row += step) {
    int64_t at[4];
    call.rows.locate(row, at);
    float x[kGroups][4], dy[kGroups][4], sum = 0, squares = 0;
    for (int g = 0; g < kGroups; ++g) {
      int c = (g * 32 + lane) * 4;
      for (int i = 0; i < 4; ++i)
        x[g][i] = dy[g][i] = 0;
      if (c < call.channels) {
        load4<S>(call.x, at[0] + c, false, x[g]);
        load4<S>(call.dy, at[1] + c, false, dy[g]);
      }
      sum += (x[g][0] + x[g][1]) + (x[g][2] + x[g][3]);
    }
    float mean = warpSum(sum) / channels;
    for (int g = 0; g < kGroups; ++g)
      for (int i = 0; i < 4; ++i) {
        x[g][i] = (g * 32 + lane) * 4 < call.channels ? x[g][i] - mean : 0.0f;
        squares = fmaf(x[g][i], x[g][i], squares);
      }
    float rstd = 1.0f / sqrtf(warpSum(squares) / channels + call.eps);
    float meanE = 0, meanProduct = 0;
    for (int g = 0; g < kGroups; ++g)
      for (int i = 0; i < 4; ++i) {
        x[g][i] *= rstd;
        weightSum[g][i] = fmaf(dy[g][i], x[g][i], weightSum[g][i]);
        biasSum[g][i] += dy[g][i];
        float e = dy[g][i] * weight[g][i];
        meanE += e, meanProduct = fmaf(e, x[g][i], meanProduct);
      }
    meanE = warpSum(meanE) / channels, meanProduct = warpSum(meanProduct) / channels;
    for (int g = 0; g < kGroups; ++g) {
      int c = (g * 32 + lane) * 4;
      if (c >= call.channels)
        continue;
      float residual[4] = {};
      if (call.residual)
        load4<S>(call.residual, at[2] + c, false, residual);
      for (int i = 0; i < 4; ++i)
        residual[i] +=
            rstd / call.factor * (dy[g][i] * weight[g][i] - meanE - x[g][i] * meanProduct);
      store4<S>(call.dx, at[3] + c, false, residual);
    }
  }
  for (int part : {0, 1}) {
    __syncthreads();
    for (int g = 0; g < kGroups; ++g)
      for (int i = 0; i < 4; ++i)
        sums[warp][(g * 32 + lane) * 4 + i] = part ? biasSum[g][i] : weightSum[g][i];
    __syncthreads();
    for (int c = threadIdx.x; c < call.channels; c += 256) {
      float sum = 0;
      for (int i = 0; i < 8; ++i)
        sum += sums[i][c];
      call.slots[(blockIdx.x * int64_t{2} + part) * call.channels + c] = sum;
    }
  }
}

constexpr int kTileRows = 32, kTilePitch = 33;
/// Channels whose two tiles fit the shared memory that every device gives without being asked.
constexpr int64_t kMostTileChannels = (44 << 10) / (2 * kTilePitch * 4);
static_assert(kMostTileChannels <= 256); // a thread has the sums of a channel

/// rstd of factor x of the rows, and their means of e and e * xhat.
struct RowMoments {
  float rstd[kTileRows], e[kTileRows], product[kTileRows];
};

/// Fills a tile [channels][kTilePitch] along whichever axis lies together.
template <class S>
__device__ void loadTile(float *tile, const std::byte *data, const int64_t *at, int64_t stride,
                         int channels, int rows) {
  bool along = stride == 1;
  for (int e = threadIdx.x; e < channels * kTileRows; e += 256) {
    int row = along ? e / channels : e % kTileRows, c = along ? e % channels : e / kTileRows;
    if (row < rows)
      tile[c * kTilePitch + row] = load<S>(data, at[row] + c * stride);
  }
}

template <class S>
__device__ void momentsOfRow(const NormGradCall &call, float *x, const float *dy, int row,
                             RowMoments &moments) {
  int lane = threadIdx.x % 32, channels = static_cast<int>(call.channels);
  float sum = 0, squares = 0, sumE = 0, sumProduct = 0, n = static_cast<float>(channels);
  for (int c = lane; c < channels; c += 32)
    sum += x[c * kTilePitch + row];
  float mean = warpSum(sum) / n;
  for (int c = lane; c < channels; c += 32) {
    float difference = x[c * kTilePitch + row] - mean;
    squares = fmaf(difference, difference, squares);
  }
  float rstd = 1.0f / sqrtf(warpSum(squares) / n + call.eps);
  for (int c = lane; c < channels; c += 32) {
    float &value = x[c * kTilePitch + row];
    value = (value - mean) * rstd; // xhat from here on
    float e = dy[c * kTilePitch + row] * load<S>(call.weight, c * call.weightStride);
    sumE += e, sumProduct = fmaf(e, value, sumProduct);
  }
  sumE = warpSum(sumE) / n, sumProduct = warpSum(sumProduct) / n;
  if (lane == 0)
    moments.rstd[row] = rstd / call.factor, moments.e[row] = sumE,
    moments.product[row] = sumProduct;
}

template <class S> __global__ void __launch_bounds__(256) tileKernel(NormGradCall call) {
  extern __shared__ float x[]; // [channels][kTilePitch], and as much for dy
  __shared__ int64_t at[4][kTileRows];
  __shared__ RowMoments moments;
  int channels = static_cast<int>(call.channels), warp = threadIdx.x / 32;
  float *dy = x + channels * kTilePitch, weightSum = 0, biasSum = 0;
  int own = static_cast<int>(threadIdx.x);
  for (int64_t first = blockIdx.x * int64_t{kTileRows}; first < call.rowCount;
       first += gridDim.x * int64_t{kTileRows}) {
    int rows = static_cast<int>(smaller(kTileRows, call.rowCount - first));
    __syncthreads();
    if (own < rows) {
      int64_t offsets[4];
      call.rows.locate(first + own, offsets);
      for (int o = 0; o < 4; ++o)
        at[o][own] = offsets[o];
    }
    __syncthreads();
    loadTile<S>(x, call.x, at[0], call.stride[0], channels, rows);
    loadTile<S>(dy, call.dy, at[1], call.stride[1], channels, rows);
    __syncthreads();
    for (int row = warp; row < rows; row += 8)
      momentsOfRow<S>(call, x, dy, row, moments);
    __syncthreads();
    for (int row = 0; own < channels && row < rows; ++row) {
      float slope = dy[own * kTilePitch + row];
      weightSum = fmaf(slope, x[own * kTilePitch + row], weightSum);
      biasSum += slope;
    }
    bool along = call.stride[3] == 1;
    for (int e = own; e < channels * kTileRows; e += 256) {
      int row = along ? e / channels : e % kTileRows, c = along ? e % channels : e / kTileRows;
      if (row >= rows)
        continue;
      float slope = dy[c * kTilePitch + row] * load<S>(call.weight, c * call.weightStride);
      float value = moments.rstd[row] *
                    (slope - moments.e[row] - x[c * kTilePitch + row] * moments.product[row]);
      if (call.residual)
        value += load<S>(call.residual, at[2][row] + c * call.stride[2]);
      store<S>(call.dx, at[3][row] + c * call.stride[3], value);
    }
  }
  if (own < channels) {
    call.slots[blockIdx.x * int64_t{2} * channels + own] = weightSum;
    call.slots[(blockIdx.x * int64_t{2} + 1) * channels + own] = biasSum;
  }
}

template <class S> __global__ void __launch_bounds__(256) blockKernel(NormGradCall call) {
  __shared__ float space[32];
  float *weightSums = call.slots + blockIdx.x * 2 * call.channels;
  float *biasSums = weightSums + call.channels, channels = static_cast<float>(call.channels);
  for (int64_t c = threadIdx.x; c < call.channels; c += 256)
    weightSums[c] = biasSums[c] = 0;
  for (int64_t row = blockIdx.x; row < call.rowCount; row += gridDim.x) {
    int64_t at[4];
    call.rows.locate(row, at);
    auto xOf = [&](int64_t c) { return load<S>(call.x, at[0] + c * call.stride[0]); };
    auto dyOf = [&](int64_t c) { return load<S>(call.dy, at[1] + c * call.stride[1]); };
    auto weightOf = [&](int64_t c) { return load<S>(call.weight, c * call.weightStride); };
    float sum = 0, squares = 0, sumE = 0, sumProduct = 0;
    for (int64_t c = threadIdx.x; c < call.channels; c += 256)
      sum += xOf(c);
    float mean = blockSum(sum, space) / channels;
    for (int64_t c = threadIdx.x; c < call.channels; c += 256)
      squares = fmaf(xOf(c) - mean, xOf(c) - mean, squares);
    float rstd = 1.0f / sqrtf(blockSum(squares, space) / channels + call.eps);
    for (int64_t c = threadIdx.x; c < call.channels; c += 256) {
      float xhat = (xOf(c) - mean) * rstd, e = dyOf(c) * weightOf(c);
      sumE += e, sumProduct = fmaf(e, xhat, sumProduct);
    }
    float meanE = blockSum(sumE, space) / channels;
    float meanProduct = blockSum(sumProduct, space) / channels;
    for (int64_t c = threadIdx.x; c < call.channels; c += 256) {
      float xhat = (xOf(c) - mean) * rstd, dy = dyOf(c);
      weightSums[c] = fmaf(dy, xhat, weightSums[c]);
      biasSums[c] += dy;
      float value = rstd / call.factor * (dy * weightOf(c) - meanE - xhat * meanProduct);
      if (call.residual)
        value += load<S>(call.residual, at[2] + c * call.stride[2]);
      store<S>(call.dx, at[3] + c * call.stride[3], value);
    }
  }
}

template <class S> bool takesFours(const NormGradCall &call) {
  if (call.channels % 4 != 0 || call.channels > 512 || call.weightStride != 1 ||
      reinterpret_cast<uint64_t>(call.weight) % (4 * sizeof(S)) != 0)
    return false;
  const std::byte *data[] = {call.x, call.dy, call.residual, call.dx};
  for (int o = 0; o < 4; ++o) {
    if (!data[o])
      continue;
    if (call.stride[o] != 1 || reinterpret_cast<uint64_t>(data[o]) % (4 * sizeof(S)) != 0)
      return false;
    for (int d = 0; d < call.rows.rank; ++d)
      if (call.rows.stride[o][d] % 4 != 0)
        return false;
  }
  return true;
}

} // namespace

template <class S> Status launchLayerNormGrad(const Launch &launch) {
  const Operand *o = launch.operands;
  const Operand *const byRow[] = {&o[0], &o[2], &o[3], &o[6]};
  int leading = o[0].rank - 1;
  NormGradCall call{};
  for (int d = 0; d < leading; ++d) {
    for (int i = 0; i < 4; ++i)
      call.rows.stride[i][d] = byRow[i]->strides[d];
    call.rows.push(o[0].shape[d]);
  }
  call.rows.sortLike(3);
  call.rows.merge();
  call.rowCount = call.rows.count(), call.channels = o[0].shape[leading];
  if (call.channels == 0)
    return {};
  for (int i = 0; i < 4; ++i)
    call.stride[i] = byRow[i]->strides[leading];
  call.weightStride = o[1].strides[0];
  call.x = o[0].data, call.weight = o[1].data, call.dy = o[2].data, call.residual = o[3].data;
  call.dx = o[6].data, call.slots = elements<float>(launch.context->scratch);
  double factor = launch.attributes->factor;
  call.eps = static_cast<float>(launch.attributes->eps / (factor * factor));
  call.factor = static_cast<float>(factor);
  int64_t room = kScratchBytes / 8 / call.channels;
  if (room < 1)
    return Status::error(ErrorCode::Unsupported,
                         "expected at most " + std::to_string(kScratchBytes / 8) +
                             " channels, got " + std::to_string(call.channels));
  bool fours = takesFours<S>(call), tiles = !fours && call.channels <= kMostTileChannels;
  int64_t blocks =
      std::max<int64_t>(1, std::min({int64_t{fours ? 2 : 4} * launch.context->processors, room,
                                     fours   ? ceilDiv(call.rowCount, 8)
                                     : tiles ? ceilDiv(call.rowCount, kTileRows)
                                             : call.rowCount}));
  auto grid = static_cast<unsigned>(blocks);
  cudaStream_t stream = launch.context->stream;
  if (fours && call.channels <= 128)
    warpKernel<S, 1><<<grid, 256, 0, stream>>>(call);
  else if (fours && call.channels <= 256)
    warpKernel<S, 2><<<grid, 256, 0, stream>>>(call);
  else if (fours)
    warpKernel<S, 4><<<grid, 256, 0, stream>>>(call);
  else if (tiles)
    tileKernel<S>
        <<<grid, 256, static_cast<size_t>(call.channels) * 2 * kTilePitch * 4, stream>>>(call);
  else
    blockKernel<S><<<grid, 256, 0, stream>>>(call);
  EVO_TRY(sumSlots(launch, call.slots, blocks, 2 * call.channels, 0, o[4], o[7]));
  return sumSlots(launch, call.slots, blocks, 2 * call.channels, call.channels, o[5], o[8]);
}

EVO_CUDA_INSTANTIATE(LayerNormGrad)

} // namespace evo::cuda
