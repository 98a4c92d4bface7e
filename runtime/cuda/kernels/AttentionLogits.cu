//===- AttentionLogits.cu ------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// logits[b,h,q,k] = scale * sum_c query[b,q,(h,c)] key[b,k,(g,c)] + pair_bias[h,q,k]
//                   + inf * (mask[b,k] - max_k mask[b,k]), heads as in `attention`.
//
// The product itself adds the pair bias in fp32; with a mask, and where plans store half, it goes
// to scratch, a box of rows at a time.
//===----------------------------------------------------------------------===//
#include "runtime/cuda/kernels/Heads.cuh"
#include "runtime/cuda/kernels/RowPieces.cuh"

namespace evo::cuda {

namespace {

/// largest[b] = max_k mask[b,k]; one warp a batch.
template <class S>
__global__ void largestKernel(const std::byte *mask, int64_t batchStride, int64_t keyStride,
                              int64_t batches, int64_t keys, float *largest) {
  for (int64_t b = blockIdx.x; b < batches; b += gridDim.x) {
    float most = -INFINITY;
    for (int64_t k = threadIdx.x; k < keys; k += 32)
      most = fmaxf(most, load<S>(mask, b * batchStride + k * keyStride));
    most = warpMax(most);
    if (threadIdx.x == 0)
      largest[b] = most;
  }
}

struct LogitsOp {
  float inf; ///< 0: no mask
  /// x: product, pair_bias, mask, largest.
  __device__ void operator()(const float *x, float *y) const {
    y[0] = x[0] + x[1] + inf * (x[2] - x[3]);
  }
};

template <class S>
Status logitsInPieces(const Launch &launch, const HeadGeometry &g, const Product &whole) {
  const Operand &bias = launch.operands[2], &mask = launch.operands[3],
                &logits = launch.operands[4];
  if (g.batches > kScratchBytes / 8)
    return Status::error(ErrorCode::Unsupported, "expected at most " +
                                                     std::to_string(kScratchBytes / 8) +
                                                     " batches, got " + std::to_string(g.batches));
  auto *largest = elements<float>(launch.context->scratch + kScratchBytes / 2);
  if (mask)
    largestKernel<S><<<gridOf(g.batches), 32, 0, launch.context->stream>>>(
        mask.data, mask.strides[0], mask.strides[1], g.batches, g.keys, largest);
  // b, g, e and q, with the strides of a, b and the logits, of the bias, and of the batch.
  AxisSpace<5> rows;
  const AxisSpace<Product::kOperands> *const spaces[] = {&whole.batch, &whole.m};
  for (int s : {0, 1})
    for (int d = 0; d < 2; ++d) {
      for (int i = 0; i < 4; ++i)
        rows.stride[i][rows.rank] = spaces[s]->stride[i][d];
      rows.stride[4][rows.rank] = s == 0 && d == 0;
      rows.push(spaces[s]->extent[d]);
    }
  return forEachBox(rows, g.keys, 1, [&](const Box &box) -> Status {
    Product product = whole;
    product.batch = product.m = {};
    product.operand[Product::Addend] = {};
    Elements<4, 1> elements(4, box.extent);
    elements.axes.push(g.keys);
    int64_t step = g.keys, offset[5] = {};
    for (int d = 3; d >= 0; --d) {
      elements.axes.stride[0][d] = step;
      for (int i = 0; i < 5; ++i)
        offset[i] += box.start[d] * rows.stride[i][d];
      elements.axes.stride[1][d] = rows.stride[3][d];
      elements.axes.stride[2][d] = rows.stride[4][d] * mask.strides[0];
      elements.axes.stride[3][d] = rows.stride[4][d];
      elements.axes.stride[4][d] = rows.stride[2][d];
      step *= box.extent[d];
    }
    for (int d = 0; d < 4; ++d)
      Product::addAxis(d < 2 ? product.batch : product.m, box.extent[d], rows.stride[0][d],
                       rows.stride[1][d], elements.axes.stride[0][d]);
    product.n.stride[Product::Y][0] = 1;
    auto at = [](const Operand &o, int64_t elements) {
      return o ? o.data + elements * plan::elementBytes(o.type) : nullptr;
    };
    product.operand[Product::A].data += offset[0] * static_cast<int64_t>(sizeof(S));
    product.operand[Product::B].data += offset[1] * static_cast<int64_t>(sizeof(S));
    product.operand[Product::Y] = {launch.context->scratch, plan::DType::F32};
    std::byte *const data[] = {
        launch.context->scratch, at(bias, offset[3]), at(mask, offset[4] * mask.strides[0]),
        mask ? reinterpret_cast<std::byte *>(largest + offset[4]) : nullptr, at(logits, offset[2])};
    const plan::DType types[] = {plan::DType::F32, bias.type, mask.type, plan::DType::F32,
                                 logits.type};
    const int64_t cols[] = {1, bias.strides[2], mask.strides[1], 0, logits.strides[3]};
    for (int i = 0; i < 5; ++i) {
      elements.data[i] = data[i], elements.type[i] = types[i];
      elements.axes.stride[i][4] = cols[i];
    }
    EVO_TRY(multiply(*launch.context, launch.precision, product));
    return elementwise<S>(launch, elements,
                          LogitsOp{mask ? static_cast<float>(launch.attributes->inf) : 0.0f});
  });
}

} // namespace

template <class S> Status launchAttentionLogits(const Launch &launch) {
  const Operand &query = launch.operands[0], &key = launch.operands[1];
  const Operand &bias = launch.operands[2], &logits = launch.operands[4];
  if (isEmpty(logits))
    return {};
  HeadGeometry g(query.shape[0], launch.attributes->heads, query.shape[1], key.shape[1],
                 query.shape[2], key.shape[2]);
  HeadStrides q = HeadStrides::channels(g, query), k = HeadStrides::keys(g, key);
  HeadStrides p = HeadStrides::pairBias(g, bias), y = HeadStrides::weights(g, logits);
  Product product;
  product.set(Product::A, query);
  product.set(Product::B, key);
  product.set(Product::Addend, bias);
  product.set(Product::Y, logits);
  product.factor = launch.attributes->scale;
  addHeadBatch(product, g, q, k, y, p);
  Product::addAxis(product.m, g.perGroup, q.member, 0, y.member, p.member);
  Product::addAxis(product.m, g.queries, q.row, 0, y.row, p.row);
  Product::addAxis(product.n, g.keys, 0, k.row, y.col, p.col);
  Product::addAxis(product.k, g.width, q.col, k.col, 0);
  if (launch.operands[3] || (bias && kIsHalf<S>))
    return logitsInPieces<S>(launch, g, product);
  return multiply(*launch.context, launch.precision, product);
}

EVO_CUDA_INSTANTIATE(AttentionLogits)

} // namespace evo::cuda
