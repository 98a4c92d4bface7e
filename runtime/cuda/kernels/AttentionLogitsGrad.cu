//===- AttentionLogitsGrad.cu --------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// dquery[b,q,(h,c)] = scale * sum_k dl[b,h,q,k] key[b,k,(g,c)];
// dkey[b,k,(g,c)] = scale * sum over q and the heads h of g of dl[b,h,q,k] query[b,q,(h,c)];
// dpair_bias[h,q,k] = accumulator[h,q,k] + sum_b dl[b,h,q,k]; it may be the accumulator.
//===----------------------------------------------------------------------===//
#include "runtime/cuda/kernels/Heads.cuh"

namespace evo::cuda {

namespace {

struct BiasCall {
  AxisSpace<3> axes; ///< h, q, k of dl, the accumulator and the output
  int64_t count, batches, batchStride;
  const std::byte *dl;
  const float *accumulator;
  float *out;
};

template <class S> __global__ void __launch_bounds__(256) biasKernel(BiasCall call) {
  int64_t step = gridDim.x * int64_t{256};
  for (int64_t i = blockIdx.x * int64_t{256} + threadIdx.x; i < call.count; i += step) {
    int64_t at[3];
    call.axes.locate(i, at);
    float sum = 0;
    for (int64_t b = 0; b < call.batches; ++b)
      sum += load<S>(call.dl, at[0] + b * call.batchStride);
    call.out[at[2]] = call.accumulator ? call.accumulator[at[1]] + sum : sum;
  }
}

template <class S> Status gradOfPairBias(const Launch &launch) {
  const Operand &dl = launch.operands[2], &accumulator = launch.operands[3];
  const Operand &out = launch.operands[6];
  BiasCall call{};
  for (int d = 0; d < 3; ++d) {
    call.axes.stride[0][d] = dl.strides[d + 1];
    call.axes.stride[1][d] = accumulator.strides[d], call.axes.stride[2][d] = out.strides[d];
    call.axes.push(out.shape[d]);
  }
  call.axes.sortLike(2);
  call.axes.merge();
  call.count = call.axes.count(), call.batches = dl.shape[0], call.batchStride = dl.strides[0];
  call.dl = dl.data, call.accumulator = elements<float>(accumulator.data);
  call.out = elements<float>(out.data);
  if (call.count > 0)
    biasKernel<S><<<gridOf(ceilDiv(call.count, 256)), 256, 0, launch.context->stream>>>(call);
  return {};
}

} // namespace

template <class S> Status launchAttentionLogitsGrad(const Launch &launch) {
  const Operand &query = launch.operands[0], &key = launch.operands[1], &dl = launch.operands[2];
  const Operand &dquery = launch.operands[4];
  double scale = launch.attributes->scale;
  HeadGeometry g(query.shape[0], launch.attributes->heads, query.shape[1], key.shape[1],
                 query.shape[2], key.shape[2]);
  HeadStrides w = HeadStrides::weights(g, dl), k = HeadStrides::keys(g, key);
  HeadStrides y = HeadStrides::channels(g, dquery);
  Product product;
  product.set(Product::A, dl);
  product.set(Product::B, key);
  product.set(Product::Y, dquery);
  product.factor = scale;
  addHeadBatch(product, g, w, k, y);
  Product::addAxis(product.m, g.perGroup, w.member, 0, y.member);
  Product::addAxis(product.m, g.queries, w.row, 0, y.row);
  Product::addAxis(product.n, g.width, 0, k.col, y.col);
  Product::addAxis(product.k, g.keys, w.col, k.row, 0);
  EVO_TRY(multiply(*launch.context, launch.precision, product));
  EVO_TRY(sumOverQueries(launch, g, scale, dl, query, launch.operands[5]));
  return launch.operands[6] ? gradOfPairBias<S>(launch) : Status::success();
}

EVO_CUDA_INSTANTIATE(AttentionLogitsGrad)

} // namespace evo::cuda
