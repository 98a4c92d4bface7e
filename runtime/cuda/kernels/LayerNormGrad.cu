//===- LayerNormGrad.cu --------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// With xhat = (factor x - mean) * rstd, mean and rstd those of factor x, and e = dy * weight:
// dx = residual + rstd * (e - mean_c(e) - xhat * mean_c(e * xhat));
// dweight[c] = weight_accumulator[c] + sum_* dy * xhat; dbias[c] = bias_accumulator[c] + sum_* dy.
// Each output may be what is added to it. x is normalised as it lies, with eps / factor^2; its rstd
// is then that of factor x, times factor.
//
// A fixed number of blocks goes through the rows and leaves sums of dweight and dbias in slots
// (Slots.cuh).
// Where channels lie together a warp has rows in registers; half-type rows of a channel-first x
// become such rows in tiles of 64 (TurnedTile.cuh). Other rows that are not too long go through
// tiles of 32 rows in shared memory, else a block goes through each.
//===----------------------------------------------------------------------===//
#include "runtime/cuda/kernels/LayerNormGradRows.cuh"

namespace evo::cuda {

namespace {

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

/// Whether lanes may read and write the rows `wide` channels at a time.
template <class S> bool takesGroups(const NormGradCall &call, int wide) {
  uint64_t bytes = static_cast<uint64_t>(wide) * sizeof(S);
  if (call.channels % wide != 0 || call.channels > 512 || call.weightStride != 1 ||
      reinterpret_cast<uint64_t>(call.weight) % bytes != 0)
    return false;
  const std::byte *data[] = {call.x, call.dy, call.residual, call.dx};
  for (int o = 0; o < 4; ++o) {
    if (!data[o])
      continue;
    if (call.stride[o] != 1 || reinterpret_cast<uint64_t>(data[o]) % bytes != 0)
      return false;
    for (int d = 0; d < call.rows.rank; ++d)
      if (call.rows.stride[o][d] % wide != 0)
        return false;
  }
  return true;
}

/// Launches `kernel` with as many blocks as there are tasks, at most a number for each
/// multiprocessor; returns the blocks.
template <class Kernel, class... Arguments>
int64_t launchBlocks(const Launch &launch, int64_t tasks, int64_t perProcessor, int64_t room,
                     unsigned threads, size_t shared, Kernel *kernel,
                     const Arguments &...arguments) {
  int64_t blocks =
      std::max<int64_t>(1, std::min({perProcessor * launch.context->processors, room, tasks}));
  kernel<<<static_cast<unsigned>(blocks), threads, shared, launch.context->stream>>>(arguments...);
  return blocks;
}

/// Where x is channel-first as tiles take it, runs on them; the blocks, or 0.
template <class S>
int64_t launchTurned(const Launch &launch, const NormGradCall &call, int64_t room) {
  const std::byte *const data[4] = {call.x, call.dy, call.residual, call.dx};
  if (call.stride[0] == 1 ||
      !takesTurnedTiles<S>(call.rows, call.channels, 0, data, call.stride, 4))
    return 0;
  TurnedRows<4> rows(call.rows);
  auto run = [&](auto *kernel, int64_t perProcessor) {
    return launchBlocks(launch, rows.tasks, perProcessor, room, kTurnedThreads, 0, kernel, call,
                        rows);
  };
  if (call.channels <= 64)
    return run(turnedKernel<S, 1>, 3);
  return call.channels <= 128 ? run(turnedKernel<S, 2>, 3) : run(turnedKernel<S, 4>, 2);
}

/// Where channels lie together as lanes take them, runs on rows in registers; the blocks, or 0.
template <class S>
int64_t launchWarps(const Launch &launch, const NormGradCall &call, int64_t room) {
  constexpr int kWide = kWidest<S>, kRows = kIsHalf<S> ? 2 : 1, kGroups = 8 / kWide;
  auto run = [&](auto *kernel, int64_t rowsOfWarp) {
    int64_t rowsOfBlock = kNormThreads / 32 * rowsOfWarp;
    return launchBlocks(launch, ceilDiv(call.rowCount, rowsOfBlock), 1, room, kNormThreads, 0,
                        kernel, call);
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
  return takesGroups<S>(call, 4) ? run(warpKernel<S, 32, 4, 4, 1>, 1) : 0;
}

/// Runs the kernel for the call's layout; how many blocks left sums in slots. What lanes have is
/// added up by the last block, where slots are read in fours.
template <class S> int64_t launchNormGrad(const Launch &launch, NormGradCall &call, int64_t room) {
  call.arrivals = call.channels % 4 == 0 ? launch.context->arrivals : nullptr;
  if constexpr (kIsHalf<S>)
    if (int64_t blocks = launchTurned<S>(launch, call, room))
      return blocks;
  if (int64_t blocks = launchWarps<S>(launch, call, room))
    return blocks;
  call.arrivals = nullptr;
  if (call.channels <= kMostTileChannels)
    return launchBlocks(launch, ceilDiv(call.rowCount, kTileRows), 4, room, 256,
                        static_cast<size_t>(call.channels) * 2 * kTilePitch * 4, tileKernel<S>,
                        call);
  return launchBlocks(launch, call.rowCount, 4, room, 256, 0, blockKernel<S>, call);
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
  for (int i = 0; i < 4; ++i) {
    call.stride[i] = byRow[i]->strides[leading];
    call.next[i] = call.rows.rank ? call.rows.stride[i][call.rows.rank - 1] : 0;
  }
  call.weightStride = o[1].strides[0];
  call.x = o[0].data, call.weight = o[1].data, call.dy = o[2].data, call.residual = o[3].data;
  call.dx = o[6].data, call.slots = elements<float>(launch.context->scratch);
  double factor = launch.attributes->factor;
  call.eps = static_cast<float>(launch.attributes->eps / (factor * factor));
  call.factor = static_cast<float>(factor);
  call.inverse = 1.0f / static_cast<float>(call.channels);
  call.inverseFactor = static_cast<float>(1 / factor);
  int64_t room = kScratchBytes / 8 / call.channels;
  if (room < 1)
    return Status::error(ErrorCode::Unsupported,
                         "expected at most " + std::to_string(kScratchBytes / 8) +
                             " channels, got " + std::to_string(call.channels));
  for (int part : {0, 1})
    call.sums[part] =
        SlotCall(call.slots, 0, 2 * call.channels, part * call.channels, o[4 + part], o[7 + part]);
  int64_t blocks = launchNormGrad<S>(launch, call, room);
  if (call.arrivals)
    return statusOf(cudaGetLastError(), "the launch of a normalisation's gradient");
  call.sums[0].count = call.sums[1].count = blocks;
  return sumSlots(launch, call.sums[0], &call.sums[1]);
}

EVO_CUDA_INSTANTIATE(LayerNormGrad)

} // namespace evo::cuda
