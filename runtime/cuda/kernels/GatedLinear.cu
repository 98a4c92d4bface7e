//===- GatedLinear.cu ----------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// y[*,n] = row_scale[*] * sigmoid(sum_k x[*,k] gate_weight[n,k] + gate_bias[n]) *
//          (sum_k x[*,k] weight[n,k] + bias[n]).
//
// Half types have kernels that do everything at once on tensor cores, two for a y by channel, on
// Hopper (GatedLinearHopper.cu) and elsewhere (GatedLinearMma.cuh), and one for any other
// (LinearMma.cuh), where the operands lie as they need it. Else both products go to scratch, a box
// of rows at a time; they are one where the weights lie together.
//===----------------------------------------------------------------------===//
#include "runtime/cuda/Product.h"
#include "runtime/cuda/kernels/LinearHopper.h"
#include "runtime/cuda/kernels/RowPieces.cuh"

namespace evo::cuda {

namespace {

struct GatedLinearOp {
  bool hasScale;
  /// x: product, bias, gate, gate_bias, row_scale.
  __device__ void operator()(const float *x, float *y) const {
    float value = sigmoid(x[2] + x[3]) * (x[0] + x[1]);
    y[0] = hasScale ? value * x[4] : value;
  }
};

/// Whether the gate's weight follows the other in memory, so that both are one of 2 n rows.
bool liesTogether(const Operand &weight, const Operand &gateWeight) {
  int64_t bytes = weight.shape[0] * weight.strides[0] * plan::elementBytes(weight.type);
  return gateWeight.data == weight.data + bytes && gateWeight.strides[0] == weight.strides[0] &&
         gateWeight.strides[1] == weight.strides[1];
}

/// Both products of a box, beside each other in the 2 n columns of a matrix in scratch.
Status multiplyBox(const Launch &launch, const AxisSpace<3> &rows, const Box &box,
                   const ScratchMatrix &scratch) {
  const Operand *o = launch.operands;
  const Operand &x = o[0];
  int leading = x.rank - 1;
  int64_t n = o[1].shape[0];
  bool together = liesTogether(o[1], o[3]);
  for (int i = 0; i < (together ? 1 : 2); ++i) {
    const Operand &weight = o[i == 0 ? 1 : 3];
    Product product;
    product.set(Product::B, weight);
    product.operand[Product::A] = {atBox(rows, 0, x, box), x.type};
    product.operand[Product::Y] = {launch.context->scratch + 4 * i * n * scratch.colStride,
                                   plan::DType::F32};
    for (int d = 0; d < rows.rank; ++d)
      Product::addAxis(product.m, box.extent[d], rows.stride[0][d], 0, scratch.rowStride[d]);
    Product::addAxis(product.n, together ? 2 * n : n, 0, weight.strides[0], scratch.colStride);
    Product::addAxis(product.k, x.shape[leading], x.strides[leading], weight.strides[1], 0);
    EVO_TRY(multiply(*launch.context, launch.precision, product));
  }
  return {};
}

/// On tensor cores, where the operands lie as they need it; else `done` stays false.
template <class S> Status gatedOnTensorCores(const Launch &launch, bool &done) {
  const Operand *o = launch.operands, none;
  if (GatedMmaCall byChannel{}; describeGated<S>(byChannel, o)) {
    EVO_TRY(launchGatedHopper<S>(launch, byChannel, done));
    if (!done)
      EVO_TRY(launchGatedMma<S>(launch, byChannel, done));
    if (done)
      return {};
  }
  LinearMmaCall call{};
  for (int i : {0, 1}) {
    const Operand &weight = o[1 + 2 * i], &bias = o[2 + 2 * i];
    call.weight[i] = weight.data, call.weightStride[i] = weight.strides[0];
    call.bias[i] = bias.data, call.biasStride[i] = bias.strides[0];
  }
  call.factor = 1;
  const Operand *const byRow[] = {&o[0], &o[5], &none, &none, &none, &o[6]};
  done = o[1].strides[1] == 1 && o[3].strides[1] == 1 && describeLinear<S>(call, byRow);
  return done ? launchLinearMma<S, true>(launch, call) : Status::success();
}

} // namespace

template <class S> Status launchGatedLinear(const Launch &launch) {
  if constexpr (kIsHalf<S>) {
    bool done = false;
    EVO_TRY(gatedOnTensorCores<S>(launch, done));
    if (done)
      return {};
  }
  const Operand *o = launch.operands;
  const Operand &x = o[0], &rowScale = o[5], &y = o[6];
  int leading = x.rank - 1;
  int64_t n = y.shape[leading];
  AxisSpace<3> rows; // x, row_scale, y
  for (int d = 0; d < leading; ++d) {
    rows.stride[0][d] = x.strides[d], rows.stride[1][d] = rowScale.strides[d];
    rows.stride[2][d] = y.strides[d];
    rows.push(x.shape[d]);
  }
  rows.merge();
  return forEachBox(rows, n, 2, [&](const Box &box) -> Status {
    ScratchMatrix scratch(rows.rank, box.extent, 2 * n, rows.stride[2], y.strides[leading]);
    EVO_TRY(multiplyBox(launch, rows, box, scratch));
    Elements<5, 1> elements(rows.rank, box.extent);
    elements.axes.push(n);
    int col = rows.rank;
    for (int i : {0, 1}) {
      elements.data[2 * i] = launch.context->scratch + 4 * i * n * scratch.colStride;
      for (int d = 0; d < rows.rank; ++d)
        elements.axes.stride[2 * i][d] = scratch.rowStride[d];
      elements.axes.stride[2 * i][col] = scratch.colStride;
      elements.setColumns(2 * i + 1, o[i == 0 ? 2 : 4]);
    }
    elements.data[4] = atBox(rows, 1, rowScale, box), elements.type[4] = rowScale.type;
    elements.data[5] = atBox(rows, 2, y, box), elements.type[5] = y.type;
    elements.axes.stride[5][col] = y.strides[leading];
    for (int d = 0; d < rows.rank; ++d) {
      elements.axes.stride[4][d] = rows.stride[1][d];
      elements.axes.stride[5][d] = rows.stride[2][d];
    }
    return elementwise<S>(launch, elements, GatedLinearOp{bool(rowScale)});
  });
}

EVO_CUDA_INSTANTIATE(GatedLinear)

} // namespace evo::cuda
