//===- OuterHopper.cu - outer products on Hopper ----------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// The half types' outer products and their gradients where c and d are 16, 32 or 64 (other calls
// and devices: OuterMma.cuh). One block a multiprocessor goes through tiles of 128 x 256
// (OuterHopper.cuh). A product's tiles are stored while those that follow are copied; what limits
// it is the tensor cores, or memory where there is little to sum. Gradients have few tiles with
// much to sum: those of a last wave that would leave processors idle are shared by blocks, whose
// sums a second kernel adds in a fixed order.
//===----------------------------------------------------------------------===//
#include "runtime/cuda/kernels/OuterHopper.h"

#include "runtime/cuda/kernels/DynamicShared.cuh"
#include "runtime/cuda/kernels/OuterHopper.cuh"

namespace evo::cuda {

namespace {

/// How lines of `run` elements lie permuted.
CUtensorMapSwizzle swizzleOf(int run) {
  return run == 64   ? CU_TENSOR_MAP_SWIZZLE_128B
         : run == 32 ? CU_TENSOR_MAP_SWIZZLE_64B
                     : CU_TENSOR_MAP_SWIZZLE_32B;
}

/// A factor [s, i, c] as (c, s, i, 1), in boxes of some s and i.
template <class S>
bool describeFactor(const Context &context, CUtensorMap &map, const Operand &o, int lines,
                    int outer) {
  int run = static_cast<int>(o.shape[2]);
  TensorOfBoxes<S, 4> tensor{o.data,
                             {run, o.shape[0], o.shape[1], 1},
                             {o.strides[0], o.strides[1], 0},
                             {run, lines, outer, 1}};
  return o.strides[2] == 1 && tensor.describe(context, map, swizzleOf(run));
}

/// An outer product [i, j, (c, d)] as (d, c, i, j), or as (d, c, j, i).
template <class S>
bool describeProduct(const Context &context, CUtensorMap &map, const Operand &o, int c, int d,
                     bool isJFirst, int third, int fourth) {
  int first = isJFirst ? 1 : 0, second = 1 - first;
  TensorOfBoxes<S, 4> tensor{o.data,
                             {d, c, o.shape[first], o.shape[second]},
                             {d, o.strides[first], o.strides[second]},
                             {d, c, third, fourth}};
  return o.strides[2] == 1 && tensor.describe(context, map, swizzleOf(d));
}

template <class S, OuterKind kKind>
bool describeAll(const Context &context, OuterHopperCall &call, const Operand &a, const Operand &b,
                 const Operand &product) {
  int c = call.c, d = call.d;
  if constexpr (kKind == OuterKind::Product)
    return describeFactor<S>(context, call.left, a, kWideDepth, kWideRows / c) &&
           describeFactor<S>(context, call.right, b, kWideDepth, kWideCols / d) &&
           describeProduct<S>(context, call.out, product, c, d, true, kStoreCols / d, 64 / c);
  if constexpr (kKind == OuterKind::LeftGrad)
    return describeFactor<S>(context, call.left, b, kWideRows, kWideDepth / d) &&
           describeProduct<S>(context, call.right, product, c, d, false, kWideCols / c,
                              kWideDepth / d);
  return describeFactor<S>(context, call.left, a, kWideRows, kWideDepth / c) &&
         describeProduct<S>(context, call.right, product, c, d, false, kWideDepth / c,
                            kWideCols / d);
}

/// Parts of the tiles that do not fill the processors: as many as end first.
void shareRest(OuterHopperCall &call, int processors, bool isShared) {
  int tiles = call.mTiles * call.nTiles;
  call.rest = isShared ? tiles % processors : 0;
  call.whole = tiles - call.rest, call.parts = 1, call.partSteps = call.steps;
  if (call.rest == 0) // one part each
    call.rest = 1, call.whole = tiles - 1;
  int most = std::min({16, call.steps / 8,
                       static_cast<int>(kScratchBytes / 4 / kWideRows / kWideCols) / call.rest});
  // In steps; the sums of a part cost as much as some.
  auto cost = [&](int parts) {
    return ceilDiv(int64_t{call.rest} * parts, processors) * (ceilDiv(call.steps, parts) + 4);
  };
  for (int parts = 2; isShared && parts <= most; ++parts)
    if (cost(parts) < cost(call.parts))
      call.parts = parts;
  call.partSteps = static_cast<int>(ceilDiv(call.steps, call.parts));
  call.parts = static_cast<int>(ceilDiv(call.steps, call.partSteps));
  call.units = call.whole + call.rest * call.parts;
}

bool isRun(int64_t width) { return width == 16 || width == 32 || width == 64; }

} // namespace

template <class S, OuterKind kKind>
Status launchOuterHopper(const Launch &launch, const OuterMmaCall &product, const Operand &a,
                         const Operand &b, const Operand &outer, bool &done) {
  done = false;
  int64_t rows = product.a.across.extent, cols = product.b.across.extent;
  int64_t deep = product.a.deep.extent;
  if (!launch.context->isHopper || !isRun(a.shape[2]) || !isRun(b.shape[2]) || rows < 64 ||
      cols < 128)
    return {};
  int64_t tiles = ceilDiv(rows, kWideRows) * ceilDiv(cols, kWideCols);
  if (tiles > (1 << 24))
    return {};
  OuterHopperCall call{};
  call.product = product;
  call.c = static_cast<int>(a.shape[2]), call.d = static_cast<int>(b.shape[2]);
  call.mTiles = static_cast<int>(ceilDiv(rows, kWideRows));
  call.nTiles = static_cast<int>(ceilDiv(cols, kWideCols));
  call.steps = static_cast<int>(ceilDiv(deep, kWideDepth));
  auto *kernel = outerHopperKernel<S, kKind>;
  constexpr int kBytes = sizeof(WideMemory<S>);
  if (!describeAll<S, kKind>(*launch.context, call, a, b, outer) ||
      !hasRegisters(kernel, kWideGroups, kFewRegisters, kWideRegisters) ||
      !admitsShared(kernel, kBytes))
    return {};
  done = true;
  int processors = launch.context->processors;
  shareRest(call, processors, kKind != OuterKind::Product);
  call.product.sums = elements<float>(launch.context->scratch);
  cudaStream_t stream = launch.context->stream;
  kernel<<<gridOf(std::min(call.units, processors)), kWideThreads, kBytes, stream>>>(call);
  if (call.parts > 1)
    addTilesKernel<S>
        <<<gridOf(call.rest * kWideRows * kWideCols / 8 / 256), 256, 0, stream>>>(call);
  return statusOf(cudaGetLastError(), "the launch of an outer product on Hopper");
}

#define EVO_OUTER_HOPPER(S, kind)                                                                  \
  template Status launchOuterHopper<S, OuterKind::kind>(const Launch &, const OuterMmaCall &,      \
                                                        const Operand &, const Operand &,          \
                                                        const Operand &, bool &);
EVO_OUTER_HOPPER(__nv_bfloat16, Product)
EVO_OUTER_HOPPER(__nv_bfloat16, LeftGrad)
EVO_OUTER_HOPPER(__nv_bfloat16, RightGrad)
EVO_OUTER_HOPPER(__half, Product)
EVO_OUTER_HOPPER(__half, LeftGrad)
EVO_OUTER_HOPPER(__half, RightGrad)
#undef EVO_OUTER_HOPPER

} // namespace evo::cuda
