//===- BiasGrad.cu -------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// dbias[n] = accumulator[n] + sum_* du[*,n]; dbias may be the accumulator.
//
// A block sums a chunk of the rows for 32, 128 or, where they lie in eights, up to 2048 columns, so
// that it reads memory on end; where
// the rows are contiguous and the columns are not, its lanes run along the rows.
//===----------------------------------------------------------------------===//
#include "runtime/cuda/kernels/Mma.cuh"
#include "runtime/cuda/kernels/Slots.cuh"

namespace evo::cuda {

namespace {

struct BiasCall {
  AxisSpace<1> rows;
  int64_t rowCount, cols, colStride, chunk, chunks;
  int lanes; ///< of a row that is read in eights
  const std::byte *du;
  float *slots; ///< [chunks][cols]
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

/// Eight columns a lane, call.lanes lanes a row; rows are read eight at a time.
template <class S> __global__ void __launch_bounds__(256) eightsKernel(BiasCall call) {
  __shared__ float sums[256][9];
  constexpr int kBatch = 8;
  int lanes = call.lanes, parts = 256 / lanes, part = threadIdx.x / lanes;
  int lane = threadIdx.x - part * lanes;
  int64_t colTiles = ceilDiv(call.cols, lanes * 8);
  int64_t chunk = quotient(blockIdx.x, colTiles),
          first = (blockIdx.x - chunk * colTiles) * lanes * 8;
  int64_t col = first + lane * 8, end = smaller(call.rowCount, (chunk + 1) * call.chunk);
  float sum[8] = {};
  for (int64_t row = chunk * call.chunk + part; part < parts && col < call.cols && row < end;
       row += kBatch * parts) {
    uint4 bits[kBatch] = {};
#pragma unroll
    for (int i = 0; i < kBatch; ++i)
      if (int64_t at = row + i * parts; at < end)
        bits[i] = *reinterpret_cast<const uint4 *>(reinterpret_cast<const S *>(call.du) + col +
                                                   call.rows.offsetOf(0, at));
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
  for (int v = 0; v < 8; ++v)
    sums[threadIdx.x][v] = sum[v];
  __syncthreads();
  for (int c = threadIdx.x; c < lanes * 8 && first + c < call.cols; c += 256) {
    float total = 0;
    for (int i = 0; i < parts; ++i)
      total += sums[i * lanes + c / 8][c % 8];
    call.slots[chunk * call.cols + first + c] = total;
  }
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
  call.lanes = static_cast<int>(smaller(call.cols / 8, 256));
  int64_t colsOfTile = down ? 1 : eights ? call.lanes * 8 : fours ? 128 : 32;
  int64_t colTiles = ceilDiv(call.cols, colsOfTile);
  int64_t wanted = ceilDiv(int64_t{eights ? 4 : 8} * launch.context->processors, colTiles);
  call.chunks = std::max<int64_t>(1, std::min({wanted, room, ceilDiv(call.rowCount, 64)}));
  call.chunk = ceilDiv(call.rowCount, call.chunks);
  call.du = du.data, call.slots = elements<float>(launch.context->scratch);
  cudaStream_t stream = launch.context->stream;
  if constexpr (kIsHalf<S>)
    if (eights) {
      eightsKernel<S><<<gridOf(colTiles * call.chunks), 256, 0, stream>>>(call);
      return sumSlots(launch,
                      SlotCall(call.slots, call.chunks, call.cols, 0, launch.operands[1], dbias));
    }
  if (down)
    rowKernel<S><<<gridOf(call.cols * call.chunks), 256, 0, stream>>>(call);
  else if (fours)
    columnKernel<S, 4><<<gridOf(colTiles * call.chunks), 256, 0, stream>>>(call);
  else
    columnKernel<S, 1><<<gridOf(colTiles * call.chunks), 256, 0, stream>>>(call);
  return sumSlots(launch,
                  SlotCall(call.slots, call.chunks, call.cols, 0, launch.operands[1], dbias));
}

EVO_CUDA_INSTANTIATE(BiasGrad)

} // namespace evo::cuda
