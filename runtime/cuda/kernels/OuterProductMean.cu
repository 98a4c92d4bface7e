//===- OuterProductMean.cu -----------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// y[i,j,n] = residual[i,j,n] + row_scale[i,j] * (sum_{c,d} weight[n,(c,d)] sum_s a[s,i,c] b[s,j,d]
// + bias[n]); y may be the residual.
//
// The outer product is rounded as the plan stores, as `outer_product` would, and in fp16 in a scale
// that sums over s cannot leave. Half types have kernels that keep it in registers
// (OuterMeanMma.cuh and OuterMeanHopper.cu). Otherwise, and where there are so many s that what the
// kernel reads would not fit the scratch, it exists for a box of (i, j) at a time, in scratch, from
// where it is multiplied by the weight.
//===----------------------------------------------------------------------===//
#include "runtime/cuda/kernels/DynamicShared.cuh"
#include "runtime/cuda/kernels/OuterBox.cuh"
#include "runtime/cuda/kernels/OuterMeanHopper.h"

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

/// What the boxes of a call have in common, with the steps of i and j that fit the scratch; none:
/// the kernel is not for this call.
template <class S> bool describeMean(const Launch &launch, MeanMmaCall &call, int64_t (&steps)[2]) {
  const Operand *o = launch.operands;
  const Operand &a = o[0], &b = o[1], &weight = o[2], &rowScale = o[4], &residual = o[5], &y = o[6];
  int64_t c = a.shape[2], d = b.shape[2], s = a.shape[0];
  call.n = y.shape[2], call.nTiles = ceilDiv(call.n, kMeanCols);
  int64_t cChunks = ceilDiv(c, 8), dChunks = ceilDiv(d, 8), sBlocks = ceilDiv(s, 64);
  // Chunks that are mostly padding are not worth it, and blocks are counted in 32 bits.
  if (s == 0 || cChunks * dChunks * 64 > 2 * c * d || cChunks * dChunks > 4096 || sBlocks > 4096)
    return false;
  call.cChunks = static_cast<int>(cChunks), call.dChunks = static_cast<int>(dChunks);
  call.sBlocks = static_cast<int>(sBlocks);
  call.lastDepths = static_cast<int>(ceilDiv(s - (sBlocks - 1) * 64, 16));
  // Of two chunks, since the next is under way before all warps are done with one; where a chunk
  // has few stages, that after the next is, too.
  call.isResident =
      2 * sBlocks <= kMeanLeft && dChunks * (sBlocks + 1) + sBlocks + 1 >= kMeanStages;
  call.leftSlots = call.isResident ? static_cast<int>(2 * sBlocks) : kMeanLeft;
  call.factor = static_cast<float>(storedFactor(a.type, s));
  call.blocks[2] = call.nTiles * cChunks * dChunks;
  call.source[0] = {a.data, {a.strides[0], a.strides[1], a.strides[2]}, {s, a.shape[1], c}};
  call.source[1] = {b.data, {b.strides[0], b.strides[1], b.strides[2]}, {s, b.shape[1], d}};
  call.source[2] = {
      weight.data, {weight.strides[0], d * weight.strides[1], weight.strides[1]}, {call.n, c, d}};
  call.bias = o[3].data, call.biasStride = o[3].strides[0];
  call.scaleIsStatistic = isStatistic<S>(rowScale.type);
  call.fours = call.n % 4 == 0;
  for (const Operand *operand : {&residual, &y}) {
    if (!*operand)
      continue;
    call.fours &= operand->strides[2] == 1 && operand->strides[0] % 4 == 0 &&
                  operand->strides[1] % 4 == 0 &&
                  reinterpret_cast<uint64_t>(operand->data) % (4 * sizeof(S)) == 0;
  }
  for (int axis : {0, 1, 2}) {
    call.scaleStride[axis % 2] = rowScale.strides[axis % 2];
    call.residualStride[axis] = residual ? residual.strides[axis] : 0;
    call.yStride[axis] = y.strides[axis];
  }
  // Halves of the scratch beside the weight; boxes of few tiles would leave processors idle.
  constexpr int64_t kBlock = int64_t{kMeanUnits} * 16;
  int64_t room = (kScratchBytes / kBlock - call.blocks[2]) / 2;
  const int64_t perTile[] = {cChunks * sBlocks, dChunks * sBlocks};
  if (room < std::max(perTile[0], perTile[1]))
    return false;
  int64_t tiles = 1;
  for (int side : {0, 1}) {
    int64_t all = ceilDiv(y.shape[side], kMeanPairs);
    steps[side] = ceilDiv(all, ceilDiv(all, room / perTile[side])); // boxes of much the same size
    tiles *= steps[side];
    steps[side] *= kMeanPairs;
  }
  bool isWhole = steps[0] >= y.shape[0] && steps[1] >= y.shape[1];
  return isWhole || tiles >= 2 * launch.context->processors;
}

/// Packs a, b and the weight of a box and multiplies.
template <class S> Status meanOfTiles(const Launch &launch, MeanMmaCall call, const Box &box) {
  const Operand &rowScale = launch.operands[4];
  constexpr auto kBytes = static_cast<int64_t>(sizeof(S));
  call.i = box.extent[0], call.j = box.extent[1];
  call.iTiles = ceilDiv(call.i, kMeanPairs), call.jTiles = ceilDiv(call.j, kMeanPairs);
  call.blocks[0] = call.iTiles * call.cChunks * call.sBlocks;
  call.blocks[1] = call.jTiles * call.dChunks * call.sBlocks;
  auto *space = elements<uint4>(launch.context->scratch);
  int64_t all = 0;
  for (int part = 0; part < 3; ++part) {
    call.packed[part] = space + all * kMeanUnits;
    all += call.blocks[part];
  }
  for (int side : {0, 1}) {
    call.source[side].data += box.start[side] * call.source[side].stride[1] * kBytes;
    call.source[side].extent[1] = box.extent[side];
    call.rowScale += box.start[side] * call.scaleStride[side] * plan::elementBytes(rowScale.type);
    if (call.residual)
      call.residual += box.start[side] * call.residualStride[side] * kBytes;
    call.y += box.start[side] * call.yStride[side] * kBytes;
  }
  cudaStream_t stream = launch.context->stream;
  packMeanKernel<S><<<gridOf(all * 4), 256, 0, stream>>>(call);
  meanMmaKernel<S>
      <<<gridOf(call.iTiles * call.jTiles * call.nTiles), kMeanThreads, kMeanBytes, stream>>>(call);
  return statusOf(cudaGetLastError(), "the launch of an outer product mean on tensor cores");
}

/// On tensor cores, where the shapes and the device have room for it; else `done` stays false.
template <class S> Status meanOnTensorCores(const Launch &launch, bool &done) {
  const Operand *o = launch.operands;
  MeanMmaCall call{};
  int64_t steps[2];
  if (!describeMean<S>(launch, call, steps))
    return {};
  call.rowScale = o[4].data, call.residual = o[5].data, call.y = o[6].data;
  EVO_TRY(launchMeanHopper<S>(launch, call, done));
  if (done)
    return {};
  done = admitsShared(meanMmaKernel<S>, kMeanBytes);
  if (!done)
    return {};
  const int64_t extents[] = {o[6].shape[0], o[6].shape[1]};
  Boxes boxes(2, extents, extents[0] * extents[1], steps);
  for (int64_t i = 0; i < boxes.count(); ++i) {
    call.rowScale = o[4].data, call.residual = o[5].data, call.y = o[6].data;
    EVO_TRY(meanOfTiles<S>(launch, call, boxes.at(i)));
  }
  return {};
}

} // namespace

template <class S> Status launchOuterProductMean(const Launch &launch) {
  const Operand *o = launch.operands;
  const Operand &a = o[0], &b = o[1], &rowScale = o[4], &residual = o[5], &y = o[6];
  if (isEmpty(y))
    return {};
  if constexpr (kIsHalf<S>) {
    bool done = false;
    EVO_TRY(meanOnTensorCores<S>(launch, done));
    if (done)
      return {};
  }
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
