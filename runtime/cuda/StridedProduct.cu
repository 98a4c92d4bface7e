//===- StridedProduct.cu - products of operands with any strides -*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// What cuBLASLt does not read: a block computes 64 x 64 elements of y from tiles of a and b that it
// gathers into shared memory, in fp32.
//===----------------------------------------------------------------------===//
#include "runtime/cuda/Product.h"
#include "runtime/cuda/kernels/TurnedCopy.cuh"

namespace evo::cuda {

namespace {

constexpr int kTile = 64, kDepth = 16, kThreads = 256;
constexpr int kA = Product::A, kB = Product::B, kY = Product::Y, kAddend = Product::Addend;

struct StridedCall {
  Product product;
  int64_t batches, m, n, k;
  bool statisticY, statisticAddend;
  bool fastK[2]; ///< of a and b: the depth is the axis of the smaller stride
};

/// Where the rows of a tile begin in an operand; rows beyond the end repeat the last.
__device__ void locateRows(const AxisSpace<Product::kOperands> &axis, int operand, int64_t first,
                           int64_t count, int64_t *offsets, int length) {
  for (int i = threadIdx.x; i < length; i += kThreads)
    offsets[i] = axis.offsetOf(operand, smaller(first + i, count - 1));
}

template <class S>
__device__ void gather(float (&tile)[kTile][kDepth + 1], const std::byte *data, const int64_t *rows,
                       const int64_t *depths, bool fastK, int64_t rowsLeft, int64_t depthLeft) {
  for (int e = threadIdx.x; e < kTile * kDepth; e += kThreads) {
    int row = fastK ? e / kDepth : e % kTile, depth = fastK ? e % kDepth : e / kTile;
    bool inside = row < rowsLeft && depth < depthLeft;
    tile[row][depth] = inside ? load<S>(data, rows[row] + depths[depth]) : 0.0f;
  }
}

template <class S>
__global__ void __launch_bounds__(kThreads)
    stridedKernel(const __grid_constant__ StridedCall call) {
  __shared__ float a[kTile][kDepth + 1], b[kTile][kDepth + 1];
  __shared__ int64_t rowsA[kTile], rowsB[kTile], depthsA[kDepth], depthsB[kDepth];
  const Product &p = call.product;
  int64_t mTiles = ceilDiv(call.m, kTile), nTiles = ceilDiv(call.n, kTile);
  int64_t tiles = call.batches * mTiles * nTiles;
  int tx = threadIdx.x % 16, ty = threadIdx.x / 16;
  for (int64_t tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
    int64_t batch = tile / (mTiles * nTiles), rest = tile - batch * mTiles * nTiles;
    int64_t m0 = rest / nTiles * kTile, n0 = rest % nTiles * kTile;
    int64_t at[Product::kOperands];
    p.batch.locate(batch, at);
    __syncthreads(); // of the last tile's rows
    locateRows(p.m, kA, m0, call.m, rowsA, kTile);
    locateRows(p.n, kB, n0, call.n, rowsB, kTile);
    float sum[4][4] = {};
    for (int64_t k0 = 0; k0 < call.k; k0 += kDepth) {
      __syncthreads();
      locateRows(p.k, kA, k0, call.k, depthsA, kDepth);
      locateRows(p.k, kB, k0, call.k, depthsB, kDepth);
      __syncthreads();
      const auto bytes = static_cast<int64_t>(sizeof(S));
      gather<S>(a, p.operand[kA].data + at[kA] * bytes, rowsA, depthsA, call.fastK[0], call.m - m0,
                call.k - k0);
      gather<S>(b, p.operand[kB].data + at[kB] * bytes, rowsB, depthsB, call.fastK[1], call.n - n0,
                call.k - k0);
      __syncthreads();
      for (int depth = 0; depth < kDepth; ++depth) {
        float left[4], right[4];
        for (int i = 0; i < 4; ++i)
          left[i] = a[ty + 16 * i][depth], right[i] = b[tx + 16 * i][depth];
        for (int i = 0; i < 4; ++i)
          for (int j = 0; j < 4; ++j)
            sum[i][j] = fmaf(left[i], right[j], sum[i][j]);
      }
    }
    for (int i = 0; i < 4; ++i)
      for (int j = 0; j < 4; ++j) {
        int64_t row = m0 + ty + 16 * i, col = n0 + tx + 16 * j;
        if (row >= call.m || col >= call.n)
          continue;
        float value = static_cast<float>(p.factor) * sum[i][j];
        if (p.bias.data)
          value += load<S>(p.bias.data, col * p.biasStride);
        if (p.relu)
          value = fmaxf(value, 0.0f);
        if (p.operand[kAddend].data)
          value += load<S>(p.operand[kAddend].data,
                           at[kAddend] + p.m.offsetOf(kAddend, row) + p.n.offsetOf(kAddend, col),
                           call.statisticAddend);
        store<S>(p.operand[kY].data, at[kY] + p.m.offsetOf(kY, row) + p.n.offsetOf(kY, col), value,
                 call.statisticY);
      }
  }
}

template <class S>
Status launchPack(Context &context, plan::DType type, const AxisSpace<1> &axes, std::byte *from,
                  std::byte *to) {
  Elements<1, 1> elements(axes.rank, axes.extent);
  elements.data[0] = from, elements.data[1] = to;
  elements.type[0] = elements.type[1] = type;
  int64_t step = 1;
  for (int d = axes.rank - 1; d >= 0; --d) {
    elements.axes.stride[0][d] = axes.stride[0][d], elements.axes.stride[1][d] = step;
    step *= axes.extent[d];
  }
  return copyElements<S>(Launch{nullptr, nullptr, &context, plan::Precision::Fp32, {}}, elements);
}

template <class S> Status launchStrided(Context &context, const Product &product) {
  StridedCall call{product,
                   product.batch.count(),
                   product.m.count(),
                   product.n.count(),
                   product.k.count(),
                   isStatistic<S>(product.operand[kY].type),
                   isStatistic<S>(product.operand[kAddend].type),
                   {}};
  auto smallest = [](const AxisSpace<Product::kOperands> &space, int operand) {
    return space.rank ? space.stride[operand][space.rank - 1] : INT64_MAX;
  };
  call.fastK[0] = smallest(product.k, kA) <= smallest(product.m, kA);
  call.fastK[1] = smallest(product.k, kB) <= smallest(product.n, kB);
  int64_t tiles = call.batches * ceilDiv(call.m, kTile) * ceilDiv(call.n, kTile);
  stridedKernel<S><<<gridOf(tiles), kThreads, 0, context.stream>>>(call);
  return statusOf(cudaGetLastError(), "the launch of a strided product");
}

} // namespace

Status multiplyStrided(Context &context, const Product &product) {
  switch (product.operand[kA].type) {
  case plan::DType::BF16:
    return launchStrided<__nv_bfloat16>(context, product);
  case plan::DType::F16:
    return launchStrided<__half>(context, product);
  default:
    return launchStrided<float>(context, product);
  }
}

Status packMatrix(Context &context, plan::DType type, const AxisSpace<1> &axes, std::byte *from,
                  std::byte *to) {
  switch (type) {
  case plan::DType::BF16:
    return launchPack<__nv_bfloat16>(context, type, axes, from, to);
  case plan::DType::F16:
    return launchPack<__half>(context, type, axes, from, to);
  default:
    return launchPack<float>(context, type, axes, from, to);
  }
}

} // namespace evo::cuda
