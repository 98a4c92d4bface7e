//===- BiasGrad.cu -------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// dbias[n] = accumulator[n] + sum_* du[*,n]; dbias may be the accumulator.
//
// A block sums a chunk of the rows for 32, 128 or, where they lie in eights, up to 256 columns;
// where the rows are contiguous and the columns are not, its lanes run along the rows. Eights are
// read at the rate of memory by as many blocks as a device has room for.
//===----------------------------------------------------------------------===//
#include "runtime/cuda/kernels/Mma.cuh"
#include "runtime/cuda/kernels/Slots.cuh"

namespace evo::cuda {

namespace {

struct BiasCall {
  AxisSpace<1> rows;
  int64_t rowCount, cols, rowStride, colStride, chunk, chunks; ///< rowStride: of one axis of rows
  int lanes, colTiles;                                         ///< of rows that are read in eights
  const std::byte *du;
  float *slots;       ///< [chunks][cols]
  SlotCall sum;       ///< of the slots
  uint32_t *arrivals; ///< null: another launch adds up the slots
};

/// V columns a lane, 32 V a block.
template <class S, int V> __global__ void __launch_bounds__(256) columnKernel(BiasCall call) {
  __shared__ float sums[8][32 * V + 1];
  int lane = threadIdx.x % 32, part = threadIdx.x / 32;
  int64_t colTiles = ceilDiv(call.cols, 32 * V);
  for (int64_t tile = blockIdx.x; tile < colTiles * call.chunks; tile += gridDim.x) {
    int64_t chunk = tile / colTiles, first = (tile - chunk * colTiles) * 32 * V;
    int64_t col = first + lane * V, end = smaller(call.rowCount, (chunk + 1) * call.chunk);
    float sum[V] = {};
    for (int64_t row = chunk * call.chunk + part; col < call.cols && row < end; row += 8) {
      int64_t at = call.rows.offsetOf(0, row) + col * call.colStride;
      float x[V];
      if constexpr (V == 4)
        load4<S>(call.du, at, false, x);
      else
        x[0] = load<S>(call.du, at);
      for (int v = 0; v < V; ++v)
        sum[v] += x[v];
    }
    __syncthreads();
    for (int v = 0; v < V; ++v)
      sums[part][lane * V + v] = sum[v];
    __syncthreads();
    for (int c = threadIdx.x; c < 32 * V && first + c < call.cols; c += 256) {
      float total = 0;
      for (int i = 0; i < 8; ++i)
        total += sums[i][c];
      call.slots[chunk * call.cols + first + c] = total;
    }
  }
}

constexpr int kEightsThreads = 1024, kMostLanes = 32;

/// Eight columns a lane, call.lanes lanes a row; a thread reads kBatch rows at once, which lie
/// evenly where kIsEven. The last block of a tile of columns adds what all left of it.
template <class S, bool kIsEven>
__global__ void __launch_bounds__(kEightsThreads, 1)
    eightsKernel(const __grid_constant__ BiasCall call) {
  constexpr int kBatch = 4;
  __shared__ union {
    float sums[kEightsThreads][9];
    float4 space[kEightsThreads];
  } shared;
  int lanes = call.lanes, parts = kEightsThreads / lanes;
  int part = static_cast<int>(threadIdx.x) / lanes;
  int lane = static_cast<int>(threadIdx.x) - part * lanes;
  auto tile = static_cast<int>(blockIdx.x % call.colTiles);
  int64_t chunk = blockIdx.x / call.colTiles, first = int64_t{tile} * lanes * 8;
  int cols = static_cast<int>(smaller(lanes * 8, call.cols - first));
  int64_t begin = chunk * call.chunk;
  auto rows = static_cast<int>(smaller(call.rowCount - begin, call.chunk));
  if (part >= parts || lane * 8 >= cols)
    rows = 0;
  const S *from = reinterpret_cast<const S *>(call.du) + first + lane * 8;
  if (kIsEven)
    from += (begin + part) * call.rowStride;
  float sum[8] = {};
  for (int row = part; row < rows; row += kBatch * parts) {
    uint4 bits[kBatch] = {};
#pragma unroll
    for (int i = 0; i < kBatch; ++i) {
      if (row + i * parts < rows)
        bits[i] = *reinterpret_cast<const uint4 *>(
            kIsEven ? from : from + call.rows.offsetOf(0, begin + row + i * parts));
      if (kIsEven)
        from += parts * call.rowStride;
    }
#pragma unroll
    for (int i = 0; i < kBatch; ++i) {
      const uint32_t words[] = {bits[i].x, bits[i].y, bits[i].z, bits[i].w};
#pragma unroll
      for (int w = 0; w < 4; ++w) {
        float2 two = unpacked<S>(words[w]);
        sum[2 * w] += two.x, sum[2 * w + 1] += two.y;
      }
    }
  }
  // Lanes of the same columns first, where a warp has whole rows.
  bool whole = 32 % lanes == 0;
  for (int step = 16; whole && step >= lanes; step /= 2)
    for (float &one : sum)
      one += __shfl_xor_sync(0xffffffffu, one, step);
  int row = whole ? static_cast<int>(threadIdx.x) / 32 : part;
  if (!whole || threadIdx.x % 32 < lanes)
    for (int v = 0; v < 8; ++v)
      shared.sums[row * lanes + lane][v] = sum[v];
  __syncthreads();
  if (int c = static_cast<int>(threadIdx.x); c < cols) {
    float total = 0;
    int sums = whole ? kEightsThreads / 32 : parts;
#pragma unroll 8
    for (int i = 0; i < sums; ++i)
      total += shared.sums[i * lanes + c / 8][c % 8];
    call.slots[chunk * call.cols + first + c] = total;
  }
  if (call.arrivals && isLast(call.arrivals + tile, static_cast<uint32_t>(call.chunks)))
    addSlots<4, kEightsThreads, 8>(&call.sum, call.chunks, first, cols, cols,
                                   reinterpret_cast<float *>(shared.space));
}

template <class S> __global__ void __launch_bounds__(256) rowKernel(BiasCall call) {
  __shared__ float space[32];
  for (int64_t tile = blockIdx.x; tile < call.cols * call.chunks; tile += gridDim.x) {
    int64_t chunk = tile / call.cols, col = tile - chunk * call.cols;
    int64_t end = smaller(call.rowCount, (chunk + 1) * call.chunk);
    float sum = 0;
    for (int64_t row = chunk * call.chunk + threadIdx.x; row < end; row += 256)
      sum += load<S>(call.du, call.rows.offsetOf(0, row) + col * call.colStride);
    sum = blockSum(sum, space);
    if (threadIdx.x == 0)
      call.slots[chunk * call.cols + col] = sum;
  }
}

} // namespace

template <class S> Status launchBiasGrad(const Launch &launch) {
  const Operand &du = launch.operands[0], &dbias = launch.operands[2];
  int leading = du.rank - 1;
  BiasCall call{};
  for (int d = 0; d < leading; ++d) {
    call.rows.stride[0][d] = du.strides[d];
    call.rows.push(du.shape[d]);
  }
  call.cols = du.shape[leading], call.colStride = du.strides[leading];
  if (call.cols == 0)
    return {};
  int64_t room = kScratchBytes / 4 / call.cols;
  if (room < 1)
    return Status::error(ErrorCode::Unsupported, "expected at most " +
                                                     std::to_string(kScratchBytes / 4) +
                                                     " columns, got " + std::to_string(call.cols));
  bool down = call.colStride != 1 && call.cols > 1;
  call.rows.sortLike(0);
  call.rows.merge();
  down &= call.rows.rank > 0 && call.rows.stride[0][call.rows.rank - 1] == 1;
  call.rowCount = call.rows.count();
  auto liesIn = [&](int64_t neighbours) {
    bool fits = !down && call.colStride == 1 && call.cols % neighbours == 0 &&
                reinterpret_cast<uint64_t>(du.data) % (neighbours * sizeof(S)) == 0;
    for (int d = 0; d < call.rows.rank; ++d)
      fits &= call.rows.stride[0][d] % neighbours == 0;
    return fits;
  };
  bool eights = kIsHalf<S> && liesIn(8), fours = liesIn(4);
  call.lanes = static_cast<int>(smaller(call.cols / 8, kMostLanes));
  int64_t colsOfTile = down ? 1 : eights ? call.lanes * 8 : fours ? 128 : 32;
  int64_t colTiles = ceilDiv(call.cols, colsOfTile);
  int64_t wanted = ceilDiv(int64_t{eights ? 1 : 8} * launch.context->processors, colTiles);
  call.chunks = std::max<int64_t>(1, std::min({wanted, room, ceilDiv(call.rowCount, 64)}));
  call.chunk = ceilDiv(call.rowCount, call.chunks);
  call.chunks = std::max<int64_t>(1, ceilDiv(call.rowCount, std::max<int64_t>(1, call.chunk)));
  call.du = du.data, call.slots = elements<float>(launch.context->scratch);
  call.sum = SlotCall(call.slots, call.chunks, call.cols, 0, launch.operands[1], dbias);
  cudaStream_t stream = launch.context->stream;
  unsigned grid = gridOf(colTiles * call.chunks);
  if constexpr (kIsHalf<S>)
    if (constexpr int64_t kMostRows = 1 << 30; // of a block, which counts them in 32 bits
        eights && grid == colTiles * call.chunks && call.chunk <= kMostRows) {
      call.colTiles = static_cast<int>(colTiles);
      call.rowStride = call.rows.rank > 0 ? call.rows.stride[0][0] : 0;
      call.arrivals = colTiles <= kArrivals ? launch.context->arrivals : nullptr;
      auto *kernel = call.rows.rank <= 1 ? eightsKernel<S, true> : eightsKernel<S, false>;
      kernel<<<grid, kEightsThreads, 0, stream>>>(call);
      return call.arrivals ? statusOf(cudaGetLastError(), "the launch of a bias's gradient")
                           : sumSlots(launch, call.sum);
    }
  if (down)
    rowKernel<S><<<grid, 256, 0, stream>>>(call);
  else if (fours)
    columnKernel<S, 4><<<grid, 256, 0, stream>>>(call);
  else
    columnKernel<S, 1><<<grid, 256, 0, stream>>>(call);
  return sumSlots(launch, call.sum);
}

EVO_CUDA_INSTANTIATE(BiasGrad)

} // namespace evo::cuda
