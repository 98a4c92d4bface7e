//===- OuterProduct.cu ---------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// o[i,j,(c,d)] = factor sum_s a[s,i,c] b[s,j,d]; x is c times d.
//
// Half types whose c and d lie together in eights are multiplied and stored in one kernel
// (OuterHopper.cu, OuterMma.cuh). Everything else is one product of (i, c) x (j, d) a box of i and
// j, rounded once, whose result is brought to (i, j, c, d) by a copy.
//===----------------------------------------------------------------------===//
#include "runtime/cuda/kernels/OuterBox.cuh"
#include "runtime/cuda/kernels/OuterHopper.h"

namespace evo::cuda {

namespace {

/// On tensor cores, where the operands lie as they need it; else `done` stays false.
template <class S> Status outerOnTensorCores(const Launch &launch, bool &done) {
  const Operand &a = launch.operands[0], &b = launch.operands[1], &o = launch.operands[2];
  int64_t c = a.shape[2], d = b.shape[2];
  OuterMmaCall call{};
  call.a = {a.data, channelsOf(a), rowsOf(a)}, call.b = {b.data, channelsOf(b), rowsOf(b)};
  call.y = o.data;
  call.rows[0] = MmaAxis::of(a.shape[1], o.strides[0], c, d * o.strides[2]);
  call.cols[0] = MmaAxis::of(b.shape[1], o.strides[1], d, o.strides[2]);
  call.factor = static_cast<float>(launch.attributes->factor);
  call.parts = 1, call.depths = static_cast<int>(smaller(a.shape[0], INT32_MAX));
  if (!describeOuter(call, true, true))
    return {};
  EVO_TRY((launchOuterHopper<S, OuterKind::Product>(launch, call, a, b, o, done)));
  if (done)
    return {};
  // Where there is little to sum, more blocks with less to store; else more sums of what is read.
  if (a.shape[0] <= 256)
    return launchOuterMma<S, 2>(launch, call, done);
  return launchOuterMma<S, 4>(launch, call, done);
}

} // namespace

template <class S> Status launchOuterProduct(const Launch &launch) {
  const Operand &a = launch.operands[0], &b = launch.operands[1], &o = launch.operands[2];
  if (isEmpty(o))
    return {};
  if constexpr (kIsHalf<S>) {
    bool done = false;
    EVO_TRY(outerOnTensorCores<S>(launch, done));
    if (done)
      return {};
  }
  AxisSpace<1> pairs = pairsOf(o);
  int64_t c = a.shape[2], d = b.shape[2];
  int64_t most = (kScratchBytes - 2 * kPackBytes) / (c * d * static_cast<int64_t>(sizeof(S)));
  if (most < 1)
    return Status::error(ErrorCode::Unsupported,
                         "expected an outer product of a pair within " +
                             std::to_string(kScratchBytes - 2 * kPackBytes) + " bytes, got " +
                             std::to_string(c * d) + " elements");
  Boxes boxes = boxesOfPairs(a, b, most);
  for (int64_t i = 0; i < boxes.count(); ++i) {
    Box box = boxes.at(i);
    Operand left = a, right = b;
    EVO_TRY(packPart<S>(launch, left, 0, a.shape[0], box.start[0], box.extent[0], 0));
    EVO_TRY(packPart<S>(launch, right, 0, b.shape[0], box.start[1], box.extent[1], 1));
    Product::Matrix sums{launch.context->scratch, o.type};
    EVO_TRY(outerProductOf(launch, left, right, launch.attributes->factor, sums));
    EVO_TRY(copyOuter<S>(launch, {box.extent[0], box.extent[1], c, d}, sums.data,
                         OuterStrides::matrix(box.extent[1], c, d), atBox(pairs, 0, o, box),
                         OuterStrides::tensor(o, d)));
  }
  return {};
}

EVO_CUDA_INSTANTIATE(OuterProduct)

} // namespace evo::cuda
