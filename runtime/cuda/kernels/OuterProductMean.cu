//===- OuterProductMean.cu -----------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// y[i,j,n] = residual[i,j,n] + row_scale[i,j] * (sum_{c,d} weight[n,(c,d)] sum_s a[s,i,c] b[s,j,d]
// + bias[n]); y may be the residual.
//
// The outer product exists for a box of (i, j) at a time, in scratch, from where it is multiplied
// by the weight. It is stored as the plan stores, as `outer_product` would, and in fp16 in a scale
// that sums over s cannot leave.
//===----------------------------------------------------------------------===//
#include "runtime/cuda/kernels/OuterBox.cuh"

namespace evo::cuda {

namespace {

struct MeanOp {
  /// x: product, bias, row_scale, residual.
  __device__ void operator()(const float *x, float *y) const { y[0] = x[3] + x[2] * (x[0] + x[1]); }
};

/// Of stored outer products: a power of two, below 1 / s in fp16.
double storedFactor(plan::DType type, int64_t s) {
  double factor = 1;
  while (type == plan::DType::F16 && factor * static_cast<double>(s) > 1)
    factor /= 2;
  return factor;
}

/// The three parts of the scratch for a box.
struct MeanSpace {
  std::byte *sums, *ordered, *projected;
};

/// pairs: i and j of y, row_scale and residual.
template <class S>
Status meanOfBox(const Launch &launch, const AxisSpace<3> &pairs, const Box &box) {
  const Operand *o = launch.operands;
  const Operand &a = o[0], &b = o[1], &weight = o[2], &bias = o[3], &rowScale = o[4];
  const Operand &residual = o[5], &y = o[6];
  int64_t c = a.shape[2], d = b.shape[2], x = c * d, n = y.shape[2];
  double factor = storedFactor(a.type, a.shape[0]);
  int64_t count = box.extent[0] * box.extent[1];
  int64_t bytes = plan::alignTo(count * x * static_cast<int64_t>(sizeof(S)));
  std::byte *scratch = launch.context->scratch;
  MeanSpace space{scratch, scratch + bytes, scratch + 2 * bytes};
  Operand left = a, right = b;
  EVO_TRY(packPart<S>(launch, left, 0, a.shape[0], box.start[0], box.extent[0], 0));
  EVO_TRY(packPart<S>(launch, right, 0, b.shape[0], box.start[1], box.extent[1], 1));
  EVO_TRY(outerProductOf(launch, left, right, factor, {space.sums, a.type}));
  EVO_TRY(copyOuter<S>(launch, {box.extent[0], box.extent[1], c, d}, space.sums,
                       OuterStrides::matrix(box.extent[1], c, d), space.ordered,
                       {box.extent[1] * x, x, d, 1}));
  Product product;
  product.operand[Product::A] = {space.ordered, a.type};
  product.set(Product::B, weight);
  product.operand[Product::Y] = {space.projected, plan::DType::F32};
  product.factor = 1 / factor;
  Product::addAxis(product.m, count, x, 0, n);
  Product::addAxis(product.n, n, 0, weight.strides[0], 1);
  Product::addAxis(product.k, x, 1, weight.strides[1], 0);
  EVO_TRY(multiply(*launch.context, launch.precision, product));
  const int64_t shape[] = {box.extent[0], box.extent[1], n};
  Elements<4, 1> elements(3, shape);
  elements.data[0] = space.projected;
  elements.setColumns(1, bias);
  const Operand *const byPair[] = {&rowScale, &residual, &y};
  for (int i = 0; i < 3; ++i) {
    int at = i < 2 ? i + 1 : 0; // of pairs
    elements.data[i + 2] = atBox(pairs, at, *byPair[i], box);
    elements.type[i + 2] = byPair[i]->type;
    for (int axis : {0, 1})
      elements.axes.stride[i + 2][axis] = pairs.stride[at][axis];
    elements.axes.stride[i + 2][2] = i == 0 ? 0 : byPair[i]->strides[2];
  }
  const int64_t dense[] = {box.extent[1] * n, n, 1};
  std::copy(dense, dense + 3, elements.axes.stride[0]);
  return elementwise<S>(launch, elements, MeanOp{});
}

} // namespace

template <class S> Status launchOuterProductMean(const Launch &launch) {
  const Operand *o = launch.operands;
  const Operand &a = o[0], &b = o[1], &rowScale = o[4], &residual = o[5], &y = o[6];
  if (isEmpty(y))
    return {};
  int64_t x = a.shape[2] * b.shape[2], n = y.shape[2];
  AxisSpace<3> pairs; // y, row_scale, residual
  for (int axis : {0, 1}) {
    pairs.stride[0][axis] = y.strides[axis], pairs.stride[1][axis] = rowScale.strides[axis];
    pairs.stride[2][axis] = residual.strides[axis];
    pairs.push(y.shape[axis]);
  }
  // Sums, the same in order, and the product; beside each other they stay in the cache.
  constexpr int64_t kBoxBytes = int64_t{40} << 20;
  int64_t most = kBoxBytes / (2 * x * static_cast<int64_t>(sizeof(S)) + 4 * n);
  if (most < 1)
    return Status::error(ErrorCode::Unsupported,
                         "expected an outer product of a pair and its projection within " +
                             std::to_string(kBoxBytes) + " bytes, got " + std::to_string(x) +
                             " and " + std::to_string(n) + " elements");
  static_assert(kBoxBytes + (1 << 20) <= kScratchBytes - 2 * kPackBytes);
  Boxes boxes = boxesOfPairs(a, b, most);
  for (int64_t i = 0; i < boxes.count(); ++i)
    EVO_TRY(meanOfBox<S>(launch, pairs, boxes.at(i)));
  return {};
}

EVO_CUDA_INSTANTIATE(OuterProductMean)

} // namespace evo::cuda
