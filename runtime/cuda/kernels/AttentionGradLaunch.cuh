//===- AttentionGradLaunch.cuh - what goes to the tensor cores --*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// A call of `attention_grad` of a half type as launches of prepareKernel, headGradKernel and, where
// there is a pair bias, biasGradKernel and joinKernel, or of prepareKernel and those of
// AttentionGradHopper.cu: for as many batches and heads at a time as the context's scratch has
// space for.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/cuda/kernels/AttentionGradBias.cuh"
#include "runtime/cuda/kernels/AttentionGradHead.cuh"
#include "runtime/cuda/kernels/AttentionGradHopper.h"
#include "runtime/cuda/kernels/DynamicShared.cuh"

#include <cmath>

namespace evo::cuda {

/// Scratch: what is prepared for each row and key beside the pair bias, then the kernels' sums.
inline constexpr int64_t kPreparedBytes = kScratchBytes / 2, kBiasBytes = kScratchBytes / 4;

template <class S> int64_t packedBiasBytes(const MmaGradCall &grad, int64_t heads) {
  return grad.call.bias.data
             ? heads * grad.paddedQueries * grad.paddedKeys * static_cast<int64_t>(sizeof(S))
             : 0;
}

/// Gives a kernel the shared memory that it needs.
template <class Space, class Kernel> Status allowSpace(Kernel *kernel) {
  return allowShared(kernel, sizeof(Space), "the shared memory of a gradient on tensor cores");
}

template <class S, int kWidth, HeadGradKind kKind>
Status launchHeadGrad(const Launch &launch, const MmaGradCall &grad) {
  using Space = HeadGradSpace<S, kWidth>;
  const AttentionCall &call = grad.call;
  int64_t blocks = call.batches * call.groups;
  int64_t sums = call.heads / call.groups * grad.paddedQueries * kWidth * 4;
  if (call.keys > Space::kKeys) // the blocks that there can be at once
    blocks = std::min(
        {blocks, int64_t{kHeadGradBlocks} * launch.context->processors, kScratchBytes / 2 / sums});
  EVO_TRY(allowSpace<Space>(headGradKernel<S, kWidth, kKind>));
  headGradKernel<S, kWidth, kKind>
      <<<gridOf(blocks), kMmaThreads, sizeof(Space), launch.context->stream>>>(grad);
  return {};
}

template <class S, int kWidth> Status launchBiasGrad(const Launch &launch, MmaGradCall grad) {
  using Space = BiasGradSpace<S, kWidth>;
  cudaStream_t stream = launch.context->stream;
  typename BiasGrad<S, kWidth>::Tiles tiles(grad.call);
  constexpr int kPieces = BiasGrad<S, kWidth>::kSums / 4;
  constexpr int64_t kPartBytes = int64_t{kPieces} * Space::kThreads * 16;
  grad.biasBlocks =
      std::min({tiles.all * tiles.batches, int64_t{Space::kBlocks} * launch.context->processors,
                kScratchBytes / 2 / (2 * kPartBytes)});
  EVO_TRY(allowSpace<Space>(biasGradKernel<S, kWidth>));
  biasGradKernel<S, kWidth>
      <<<gridOf(grad.biasBlocks), Space::kThreads, sizeof(Space), stream>>>(grad);
  if (tiles.all % grad.biasBlocks != 0)
    joinKernel<S, kWidth><<<gridOf(tiles.all * kPieces), Space::kThreads, 0, stream>>>(grad);
  return {};
}

template <class S, int kWidth> Status launchKernels(const Launch &launch, const MmaGradCall &grad) {
  if (grad.call.queries <= 16)
    EVO_TRY((launchHeadGrad<S, kWidth, HeadGradKind::Few>(launch, grad)));
  else if (grad.call.bias.data)
    EVO_TRY((launchHeadGrad<S, kWidth, HeadGradKind::Biased>(launch, grad)));
  else
    EVO_TRY((launchHeadGrad<S, kWidth, HeadGradKind::Plain>(launch, grad)));
  return grad.call.dbias.data ? launchBiasGrad<S, kWidth>(launch, grad) : Status{};
}

/// Some batches and heads of a call.
template <class S> Status launchPart(const Launch &launch, MmaGradCall grad) {
  const AttentionCall &call = grad.call;
  std::byte *scratch = launch.context->scratch;
  auto take = [&](auto *&to, int64_t bytes) {
    to = reinterpret_cast<std::remove_reference_t<decltype(to)>>(scratch);
    scratch += plan::alignTo(bytes);
  };
  int64_t rows = call.batches * call.heads * grad.paddedQueries;
  take(grad.start, rows * 4), take(grad.delta, rows * 4);
  take(grad.terms, call.batches * grad.paddedKeys * 4);
  take(grad.weighted, call.batches * grad.paddedKeys / 8);
  take(grad.bias, packedBiasBytes<S>(grad, call.heads));
  grad.sums = elements<float>(launch.context->scratch + kPreparedBytes);
  bool hopper = takesHopperGrad<S>(launch, call);
  grad.startFactor = hopper ? kLog2E : 1 / call.scale;
  int64_t most = int64_t{8} * launch.context->processors;
  // A few batches' pair bias is packed by more blocks than have keys.
  int64_t packed = call.bias.data ? call.heads * grad.paddedKeys * grad.paddedQueries / 8 : 0;
  grad.keyBlocks = std::min(std::max(call.batches, ceilDiv(packed, 256)), most / 4);
  unsigned blocks = gridOf(std::min(call.batches * RowCut(grad).blocks, most) + grad.keyBlocks);
  prepareKernel<S><<<blocks, 256, 0, launch.context->stream>>>(grad);
  if (hopper)
    return launchHopperGrad<S>(launch, grad);
  if (call.width <= 16)
    return launchKernels<S, 16>(launch, grad);
  if (call.width <= 32)
    return launchKernels<S, 32>(launch, grad);
  if (call.width <= 48)
    return launchKernels<S, 48>(launch, grad);
  return launchKernels<S, 64>(launch, grad);
}

/// Batches [b, b + batches) and heads [h, h + heads) of a call.
template <class S>
AttentionCall partOf(const AttentionCall &call, int64_t b, int64_t batches, int64_t h,
                     int64_t heads) {
  AttentionCall part = call;
  part.batches = batches, part.heads = heads;
  if (heads < call.heads)
    part.groups = heads;
  auto move = [&](HeadMatrix &m, int64_t bytes) {
    if (m.data)
      m.data += (b * m.batch + h * m.head) * bytes;
  };
  for (HeadMatrix *m : {&part.query, &part.key, &part.value, &part.bias, &part.mask, &part.o,
                        &part.dout, &part.dquery, &part.dkey, &part.dvalue})
    move(*m, static_cast<int64_t>(sizeof(S)));
  for (HeadMatrix *m : {&part.lse, &part.accumulator, &part.dbias})
    move(*m, static_cast<int64_t>(sizeof(float)));
  if (b > 0)
    part.accumulator = part.dbias;
  return part;
}

/// What of a call is launched at a time: as much as scratch has space for.
struct GradParts {
  MmaGradCall grad;
  int64_t batches = 0, heads = 0; ///< 0: the kernels for any strides are to be taken
};

template <class S> GradParts partsOnTensorCores(const AttentionCall &call) {
  GradParts parts{{call}};
  if (!takesTensorCores<S>(call) || call.batches == 0 || std::abs(call.scale) < 0x1p-60f)
    return parts;
  for (const HeadMatrix *m : {&call.dout, &call.dquery, &call.dkey, &call.dvalue}) {
    if (m->col != 1 || reinterpret_cast<uint64_t>(m->data) % 16 != 0)
      return parts;
    for (int64_t stride : {m->batch, m->head, m->row})
      if (stride % 8 != 0)
        return parts;
  }
  int64_t queries = ceilDiv(call.queries, kGradQueries) * kGradQueries;
  int64_t keys = ceilDiv(call.keys, kGradKeys) * kGradKeys;
  parts.grad.paddedQueries = queries, parts.grad.paddedKeys = keys;
  int64_t heads = call.heads, ofHead = packedBiasBytes<S>(parts.grad, 1);
  // Heads that share keys stay together.
  if (heads == call.groups && heads * ofHead > kBiasBytes)
    heads = kBiasBytes / ofHead;
  int64_t ofBatch = heads * queries * 8 + keys * 5, sums = call.heads / call.groups * queries * 256;
  if (heads == 0 || heads * ofHead > kBiasBytes || sums > kScratchBytes / 2)
    return parts;
  // Tiles of the pair bias are joined by 32 blocks each at most.
  if (heads * (queries / kGradQueries) * (keys / kGradKeys) > kMostBlocks / 32)
    return parts;
  int64_t room = kPreparedBytes - heads * ofHead - 5 * plan::kAlignment;
  parts.batches = std::min(call.batches, room / ofBatch), parts.heads = heads;
  return parts;
}

template <class S> Status launchMma(const Launch &launch, const GradParts &parts) {
  const AttentionCall &call = parts.grad.call;
  for (int64_t h = 0; h < call.heads; h += parts.heads)
    for (int64_t b = 0; b < call.batches; b += parts.batches) {
      MmaGradCall part = parts.grad;
      part.call = partOf<S>(call, b, std::min(parts.batches, call.batches - b), h,
                            std::min(parts.heads, call.heads - h));
      EVO_TRY(launchPart<S>(launch, part));
      EVO_TRY(statusOf(cudaGetLastError(), "the launch of a gradient on tensor cores"));
    }
  return {};
}

} // namespace evo::cuda
