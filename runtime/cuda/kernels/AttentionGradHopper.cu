//===- AttentionGradHopper.cu - attention's gradient on Hopper --*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// The half types' `attention_grad` for heads of 8 to 32 channels with keys of their own and more
// than 64 queries: see AttentionGradHopperHead.cuh and AttentionGradHopperBias.cuh.
//===----------------------------------------------------------------------===//
#include "runtime/cuda/kernels/AttentionGradHopper.h"

#include "runtime/cuda/kernels/AttentionBoxes.cuh"
#include "runtime/cuda/kernels/AttentionGradHopperBias.cuh"
#include "runtime/cuda/kernels/AttentionGradHopperHead.cuh"
#include "runtime/cuda/kernels/DynamicShared.cuh"

namespace evo::cuda {

namespace {

/// Describes the operands to copies; false where they do not take them.
template <class S> bool describe(const Context &context, HopperGradCall &hopper) {
  const AttentionCall &call = hopper.grad.call;
  auto takes = [&](CUtensorMap &map, const HeadMatrix &m, int64_t rows, int boxRows) {
    return describeHeads<S>(context, map, call, m, call.heads, rows, boxRows);
  };
  return takes(hopper.query, call.query, call.queries, kQueryRows) &&
         takes(hopper.dout, call.dout, call.queries, kQueryRows) &&
         takes(hopper.key, call.key, call.keys, kKeyRows) &&
         takes(hopper.value, call.value, call.keys, kKeyRows);
}

template <class S, int kWidth, int kGroups, bool kBias>
Status launchHead(const Launch &launch, const MmaGradCall &grad) {
  using Shape = HopperHeadBlock<S, kWidth, kGroups>;
  auto kernel = hopperHeadGradKernel<S, kWidth, kGroups, kBias>;
  EVO_TRY(allowShared(kernel, Shape::kBytes, "the shared memory of a gradient on Hopper"));
  const AttentionCall &call = grad.call;
  HopperGradCall hopper{grad, {}, {}, {}, {}};
  describe<S>(*launch.context, hopper);
  int64_t blocks = int64_t{Shape::kBlocks} * launch.context->processors;
  if (call.keys > Shape::kKeys) // each has a part of the scratch
    blocks = std::min(blocks, kScratchBytes / 2 / (grad.paddedQueries * kWidth * 4));
  kernel<<<gridOf(std::min(blocks, call.batches * call.heads)), Shape::kThreads, Shape::kBytes,
           launch.context->stream>>>(hopper);
  return statusOf(cudaGetLastError(), "the launch of a gradient on Hopper");
}

template <class S, int kWidth, int kGroups>
Status launchShape(const Launch &launch, const MmaGradCall &grad) {
  return grad.call.bias.data ? launchHead<S, kWidth, kGroups, true>(launch, grad)
                             : launchHead<S, kWidth, kGroups, false>(launch, grad);
}

/// Blocks of 256 keys, or of 128 where the call fills them better.
bool hasSmallBlocks(const AttentionCall &call) { return ceilDiv(call.keys, 128) % 2 == 1; }
template <class S, int kWidth> Status launchWidth(const Launch &launch, const MmaGradCall &grad) {
  return hasSmallBlocks(grad.call) ? launchShape<S, kWidth, 1>(launch, grad)
                                   : launchShape<S, kWidth, 2>(launch, grad);
}

/// Into how many parts the batches are cut: such that the blocks' waves take the least time, if a
/// block takes as long as three batches to begin and to end.
int64_t partsOf(int64_t tiles, int64_t batches, int64_t processors, int64_t most) {
  int64_t best = 1, least = 0;
  for (int64_t parts = 1; parts <= std::min(batches, std::max(most / tiles, int64_t{1})); ++parts) {
    int64_t time = ceilDiv(tiles * parts, processors) * (ceilDiv(batches, parts) + 3);
    if (parts == 1 || time < least)
      best = parts, least = time;
  }
  return best;
}

template <class S, int kWidth> Status launchBias(const Launch &launch, MmaGradCall grad) {
  using Grad = HopperBiasGrad<S, kWidth>;
  constexpr int kBytes = sizeof(typename Grad::Memory);
  constexpr int64_t kPartBytes = int64_t{Grad::kSums} * Grad::kThreads * 4;
  auto kernel = hopperBiasGradKernel<S, kWidth>;
  EVO_TRY(allowShared(kernel, kBytes, "the shared memory of a pair bias' gradient on Hopper"));
  typename Grad::Tiles tiles(grad.call);
  int64_t parts =
      partsOf(tiles.all, tiles.batches, launch.context->processors, kScratchBytes / 2 / kPartBytes);
  grad.biasBlocks = tiles.all * parts;
  cudaStream_t stream = launch.context->stream;
  HopperGradCall hopper{grad, {}, {}, {}, {}};
  describe<S>(*launch.context, hopper);
  kernel<<<gridOf(grad.biasBlocks), Grad::kThreads, kBytes, stream>>>(hopper);
  if (parts > 1)
    addBiasPartsKernel<S, kWidth>
        <<<gridOf(tiles.all * Grad::kPieces), Grad::kThreads, 0, stream>>>(grad);
  return statusOf(cudaGetLastError(), "the launch of a pair bias' gradient on Hopper");
}

/// Whether the blocks of a call begin with the registers that their groups share.
template <class S, int kWidth, int kGroups> bool shapeHasRegisters(const AttentionCall &call) {
  using Shape = HopperHeadBlock<S, kWidth, kGroups>;
  auto kernel = call.bias.data ? hopperHeadGradKernel<S, kWidth, kGroups, true>
                               : hopperHeadGradKernel<S, kWidth, kGroups, false>;
  return hasRegisters(kernel, kGroups, Shape::kFewRegisters, Shape::kRegisters);
}
template <class S, int kWidth> bool callHasRegisters(const AttentionCall &call) {
  return hasSmallBlocks(call) ? shapeHasRegisters<S, kWidth, 1>(call)
                              : shapeHasRegisters<S, kWidth, 2>(call);
}

} // namespace

template <class S> bool takesHopperGrad(const Launch &launch, const AttentionCall &call) {
  HopperGradCall hopper{{call}, {}, {}, {}, {}};
  constexpr int64_t kMost = int64_t{1} << 29;
  if (call.width > 32 || call.queries <= 64 || call.heads != call.groups || call.scale <= 0 ||
      call.keys > kMost || call.queries > kMost || call.batches * call.heads > kMost)
    return false;
  return launch.context->isHopper && describe<S>(*launch.context, hopper) &&
         (heldWidth(call) == 16 ? callHasRegisters<S, 16>(call) : callHasRegisters<S, 32>(call));
}

template <class S> Status launchHopperGrad(const Launch &launch, const MmaGradCall &grad) {
  bool narrow = heldWidth(grad.call) == 16;
  EVO_TRY((narrow ? launchWidth<S, 16>(launch, grad) : launchWidth<S, 32>(launch, grad)));
  if (!grad.call.dbias.data)
    return {};
  return narrow ? launchBias<S, 16>(launch, grad) : launchBias<S, 32>(launch, grad);
}

template bool takesHopperGrad<__nv_bfloat16>(const Launch &, const AttentionCall &);
template bool takesHopperGrad<__half>(const Launch &, const AttentionCall &);
template Status launchHopperGrad<__nv_bfloat16>(const Launch &, const MmaGradCall &);
template Status launchHopperGrad<__half>(const Launch &, const MmaGradCall &);

} // namespace evo::cuda
