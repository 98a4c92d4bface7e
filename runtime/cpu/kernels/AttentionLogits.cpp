//===- AttentionLogits.cpp ------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// logits[b,h,q,k] = scale * sum_c query[b,q,(h,c)] key[b,k,(g,c)] + pair_bias[h,q,k]
//                   + inf * (mask[b,k] - max_k mask[b,k]), heads as in `attention`.
//
// Products go to the logits directly where their rows have a unit stride, else through scratch.
//===----------------------------------------------------------------------===//
#include "runtime/cpu/kernels/Epilogue.h"
#include "runtime/cpu/kernels/Heads.h"

namespace evo::cpu::EVO_CPU_ISA {

template <class S> void launchAttentionLogits(const Launch &launch) {
  using T = Compute<S>;
  const Operand &query = launch.operands[0], &key = launch.operands[1];
  const Operand &bias = launch.operands[2], &mask = launch.operands[3];
  const Operand &logits = launch.operands[4];
  const plan::KernelAttributes &attributes = *launch.attributes;
  HeadGeometry geometry(query.shape[0], attributes.heads, query.shape[1], key.shape[1],
                        query.shape[2], key.shape[2]);
  HeadStrides qs = geometry.channelsByHead(query), ks = geometry.keysByHead(key);
  HeadStrides biases = geometry.pairBias(bias), outs = geometry.weights(logits);
  constexpr int64_t kRows = 128, kKeys = 512;
  int64_t rowTiles = ceilDiv(geometry.queries, kRows), keyTiles = ceilDiv(geometry.keys, kKeys);
  int64_t perBatch = geometry.heads * rowTiles * keyTiles;
  forEachTask(launch, geometry.batches * perBatch, [&](int64_t task, const Workspace &workspace) {
    int64_t b = task / perBatch, h = task / keyTiles / rowTiles % geometry.heads;
    int64_t q = task / keyTiles % rowTiles * kRows, k = task % keyTiles * kKeys;
    int64_t rows = smaller(kRows, geometry.queries - q);
    int64_t keys = smaller(kKeys, geometry.keys - k);
    Matrix<S> out = outs.matrix<S>(logits, b, h).block(q, k);
    ScratchSpace scratch(workspace);
    MaskTerm<S> maskOfBatch(mask, b, geometry.keys, attributes.inf);
    T *maskTerm = maskOfBatch ? scratch.take<T>(kKeys) : nullptr;
    if (maskOfBatch)
      maskOfBatch.fill(maskTerm, k, keys);
    bool direct = out.colStride == 1 && takesProducts(out, rows, keys);
    Matrix<T> scores;
    if constexpr (!kRounds<S>)
      scores = out;
    if (!direct)
      scores = {scratch.take<T>(rows * keys), keys, 1};
    logitsTile(rows, keys, geometry.width, T(attributes.scale),
               qs.matrix<S>(query, b, h).asConst().block(q, 0),
               ks.matrix<S>(key, b, h % geometry.groups).asConst().block(k, 0),
               biases.matrix<S>(bias, b, h).asConst().block(q, k), maskTerm, scores, workspace);
    if (!direct)
      copyMatrix(out, scores.asConst(), rows, keys);
  });
}

EVO_CPU_INSTANTIATE(AttentionLogits)

} // namespace evo::cpu::EVO_CPU_ISA
