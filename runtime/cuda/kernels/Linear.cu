//===- Linear.cu ---------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// y[*,n] = residual[*,n] + dropout[~,n] * row_scale[*] * sigmoid(gate[*,n]) * act(sum_k x[*,k]
// weight[n,k] + bias[n]); y may be the residual.
//
// Bias, activation and a residual are stored by the product itself. With a gate, a row scale or
// dropout it goes to scratch, a box of rows at a time; so it does where plans store half and there
// is a residual, since the library would round the product before it adds one. Where operands lie
// as tensor cores need it, half types have kernels that do everything at once: one for few channels
// (NarrowLinear.cuh), two for columns in eights, which also take turned weights, on Hopper
// (LinearHopper.cu) and elsewhere (LinearTile.cuh), and one for others (LinearMma.cuh).
//===----------------------------------------------------------------------===//
#include "runtime/cuda/Product.h"
#include "runtime/cuda/kernels/LinearHopper.h"
#include "runtime/cuda/kernels/NarrowLinear.cuh"
#include "runtime/cuda/kernels/RowPieces.cuh"

namespace evo::cuda {

namespace {

struct LinearOp {
  bool relu, hasScale, hasGate, hasDropout;
  /// x: product, bias, row_scale, gate, dropout, residual.
  __device__ void operator()(const float *x, float *y) const {
    float value = x[0] + x[1];
    if (relu)
      value = fmaxf(value, 0.0f);
    if (hasGate)
      value *= sigmoid(x[3]);
    if (hasScale)
      value *= x[2];
    if (hasDropout)
      value *= x[4];
    y[0] = value + x[5];
  }
};

Product productOf(const Launch &launch) {
  const Operand &x = launch.operands[0], &weight = launch.operands[1];
  int leading = x.rank - 1;
  Product product;
  product.set(Product::A, x);
  product.set(Product::B, weight);
  Product::addAxis(product.k, x.shape[leading], x.strides[leading], weight.strides[1], 0);
  product.factor = launch.attributes->factor;
  return product;
}

template <class S> Status linearInPieces(const Launch &launch) {
  const Operand *o = launch.operands;
  const Operand &x = o[0], &weight = o[1], &y = o[7];
  int leading = x.rank - 1;
  int64_t n = y.shape[leading];
  // x, row_scale, gate, dropout, residual, y
  const Operand *const byRow[] = {&x, &o[3], &o[4], &o[5], &o[6], &y};
  AxisSpace<6> rows;
  for (int d = 0; d < leading; ++d) {
    for (int i = 0; i < 6; ++i)
      rows.stride[i][d] = *byRow[i] && byRow[i]->shape[d] == x.shape[d] ? byRow[i]->strides[d] : 0;
    rows.push(x.shape[d]);
  }
  rows.merge();
  LinearOp op{launch.attributes->activation == plan::Activation::Relu, bool(o[3]), bool(o[4]),
              bool(o[5])};
  return forEachBox(rows, n, 1, [&](const Box &box) -> Status {
    ScratchMatrix scratch(rows.rank, box.extent, n, rows.stride[5], y.strides[leading]);
    Product product = productOf(launch);
    product.operand[Product::A].data = atBox(rows, 0, x, box);
    product.operand[Product::Y] = {launch.context->scratch, plan::DType::F32};
    Elements<6, 1> elements(rows.rank, box.extent);
    elements.axes.push(n);
    int col = rows.rank;
    elements.data[0] = launch.context->scratch;
    elements.axes.stride[0][col] = scratch.colStride;
    elements.setColumns(1, o[2]);
    for (int i = 1; i < 6; ++i) { // row_scale has no columns
      int to = i + 1;
      elements.data[to] = atBox(rows, i, *byRow[i], box), elements.type[to] = byRow[i]->type;
      elements.axes.stride[to][col] = i == 1 || !*byRow[i] ? 0 : byRow[i]->strides[leading];
    }
    for (int d = 0; d < rows.rank; ++d) {
      Product::addAxis(product.m, box.extent[d], rows.stride[0][d], 0, scratch.rowStride[d]);
      elements.axes.stride[0][d] = scratch.rowStride[d];
      for (int i = 1; i < 6; ++i)
        elements.axes.stride[i + 1][d] = rows.stride[i][d];
    }
    Product::addAxis(product.n, n, 0, weight.strides[0], scratch.colStride);
    EVO_TRY(multiply(*launch.context, launch.precision, product));
    return elementwise<S>(launch, elements, op);
  });
}

/// Whether Hopper's kernel, which keeps the weight of a few columns in shared memory, does better
/// than others: of more columns it reads x too often, and long ones leave x too little room.
bool isWorthTiles(const LinearMmaCall &call) {
  return call.n <= 256 && call.n * call.k <= int64_t{1} << 17;
}

/// On tensor cores, where the operands lie as they need it; else `done` stays false. `isProduct`:
/// the library can do it all, and better than kernels other than Hopper's.
template <class S> Status linearOnTensorCores(const Launch &launch, bool isProduct, bool &done) {
  const Operand *o = launch.operands;
  LinearMmaCall call{};
  // All kernels take weights whose rows are contiguous; those of tiles, also turned ones.
  bool isTurned = o[1].strides[1] != 1;
  call.weight[0] = o[1].data, call.weightStride[0] = isTurned ? 0 : o[1].strides[0];
  call.bias[0] = o[2].data, call.biasStride[0] = o[2].strides[0];
  call.factor = static_cast<float>(launch.attributes->factor);
  call.relu = launch.attributes->activation == plan::Activation::Relu;
  const Operand *const byRow[] = {&o[0], &o[3], &o[4], &o[5], &o[6], &o[7]};
  if (!describeLinear<S>(call, byRow))
    return {};
  LinearTileCall tiles{{}, {}, call, {}, false};
  if (describeTile<S>(tiles, o[1])) {
    if (isWorthTiles(call))
      EVO_TRY(launchLinearHopper<S>(launch, tiles, done));
    if (!done && !isProduct)
      EVO_TRY(launchLinearTile<S>(launch, tiles, done));
  }
  if (done || isTurned || isProduct)
    return {};
  done = true;
  return launchLinearMma<S, false>(launch, call);
}

/// Whether the library adds the bias before it rounds, which for shapes off its tiles it does not.
bool takesBiasOf(const Operand &bias, const Operand &weight) {
  return reinterpret_cast<uint64_t>(bias.data) % 16 == 0 &&
         (bias.type == plan::DType::F32 ||
          (weight.shape[0] % 8 == 0 && weight.shape[1] % 8 == 0 && weight.shape[1] > 8));
}

} // namespace

template <class S> Status launchLinear(const Launch &launch) {
  const Operand *o = launch.operands;
  const Operand &x = o[0], &weight = o[1], &residual = o[6], &y = o[7];
  bool relu = launch.attributes->activation == plan::Activation::Relu;
  bool takesBias = !o[2] || takesBiasOf(o[2], weight);
  bool isProduct = !o[3] && !o[4] && !o[5] && !(residual && (relu || kIsHalf<S>)) && takesBias;
  if constexpr (kIsHalf<S>) {
    if (NarrowLinearCall call{}; !isProduct && describeNarrow<S>(call, launch))
      return launchNarrow<S>(launch, call);
    // The library's kernels that add a bias are slower than those that only multiply.
    bool done = false;
    if (!isProduct || o[2])
      EVO_TRY(linearOnTensorCores<S>(launch, isProduct, done));
    if (done)
      return {};
  }
  if (!isProduct)
    return linearInPieces<S>(launch);
  int leading = x.rank - 1;
  Product product = productOf(launch);
  product.set(Product::Y, y);
  product.set(Product::Addend, residual);
  product.bias = {o[2].data, o[2].type};
  product.biasStride = o[2].strides[0];
  product.relu = relu;
  for (int d = 0; d < leading; ++d)
    Product::addAxis(product.m, x.shape[d], x.strides[d], 0, y.strides[d], residual.strides[d]);
  Product::addAxis(product.n, y.shape[leading], 0, weight.strides[0], y.strides[leading],
                   residual.strides[leading]);
  return multiply(*launch.context, launch.precision, product);
}

EVO_CUDA_INSTANTIATE(Linear)

} // namespace evo::cuda
