//===- AttentionLogitsGrad.cpp --------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// dquery[b,q,(h,c)] = scale * sum_k dl[b,h,q,k] key[b,k,(g,c)];
// dkey[b,k,(g,c)] = scale * sum over q and the heads h of g of dl[b,h,q,k] query[b,q,(h,c)];
// dpair_bias[h,q,k] = accumulator[h,q,k] + sum_b dl[b,h,q,k]; it may be the accumulator.
//===----------------------------------------------------------------------===//
#include "runtime/cpu/kernels/HeadGrads.h"

namespace evo::cpu::EVO_CPU_ISA {

namespace {

template <class S>
void gradOfQuery(const Launch &launch, const HeadGeometry &geometry, const Operand &key,
                 const Operand &dl, const Operand &dquery) {
  HeadStrides dls = geometry.weights(dl), ks = geometry.keysByHead(key);
  HeadStrides outs = geometry.channelsByHead(dquery);
  constexpr int64_t kRows = 128;
  int64_t rowTiles = ceilDiv(geometry.queries, kRows), perBatch = geometry.heads * rowTiles;
  forEachTask(launch, geometry.batches * perBatch, [&](int64_t task, const Workspace &workspace) {
    int64_t b = task / perBatch, h = task / rowTiles % geometry.heads;
    int64_t q = task % rowTiles * kRows;
    storeProduct(smaller(kRows, geometry.queries - q), geometry.width, geometry.keys,
                 Compute<S>(launch.attributes->scale),
                 dls.matrix<S>(dl, b, h).asConst().block(q, 0),
                 ks.matrix<S>(key, b, h % geometry.groups).asConst(),
                 outs.matrix<S>(dquery, b, h).block(q, 0), workspace);
  });
}

template <class S>
void gradOfPairBias(const Launch &launch, const HeadGeometry &geometry, const Operand &dl,
                    const Operand &accumulator, const Operand &out) {
  using T = Compute<S>;
  HeadStrides dls = geometry.weights(dl), bases = geometry.pairBias(accumulator);
  HeadStrides outs = geometry.pairBias(out);
  constexpr int64_t kRows = 64, kKeys = 256;
  int64_t rowTiles = ceilDiv(geometry.queries, kRows), keyTiles = ceilDiv(geometry.keys, kKeys);
  forEachTask(launch, geometry.heads * rowTiles * keyTiles,
              [&](int64_t task, const Workspace &workspace) {
                int64_t h = task / keyTiles / rowTiles, q = task / keyTiles % rowTiles * kRows;
                int64_t k = task % keyTiles * kKeys;
                int64_t rows = smaller(kRows, geometry.queries - q);
                int64_t keys = smaller(kKeys, geometry.keys - k);
                Matrix<T> sums{ScratchSpace(workspace).take<T>(kRows * kKeys), keys, 1};
                Matrix<const T> base = bases.matrix<T>(accumulator, 0, h).asConst().block(q, k);
                if (base)
                  copyMatrix(sums, base, rows, keys);
                for (int64_t i = 0; !base && i < rows * keys; ++i)
                  sums.data[i] = 0;
                for (int64_t b = 0; b < geometry.batches; ++b) {
                  Matrix<S> slopes = dls.matrix<S>(dl, b, h).block(q, k);
                  for (int64_t i = 0; i < rows; ++i)
                    addLine(sums.at(i, 0), slopes.at(i, 0), slopes.colStride, keys);
                }
                copyMatrix(outs.matrix<T>(out, 0, h).block(q, k), sums.asConst(), rows, keys);
              });
}

} // namespace

template <class S> void launchAttentionLogitsGrad(const Launch &launch) {
  const Operand &query = launch.operands[0], &key = launch.operands[1], &dl = launch.operands[2];
  const Operand &dpairBias = launch.operands[6];
  HeadGeometry geometry(query.shape[0], launch.attributes->heads, query.shape[1], key.shape[1],
                        query.shape[2], key.shape[2]);
  gradOfQuery<S>(launch, geometry, key, dl, launch.operands[4]);
  sumOverQueries<S>(launch, geometry, Compute<S>(launch.attributes->scale), dl, query,
                    launch.operands[5]);
  if (dpairBias)
    gradOfPairBias<S>(launch, geometry, dl, launch.operands[3], dpairBias);
}

EVO_CPU_INSTANTIATE(AttentionLogitsGrad)

} // namespace evo::cpu::EVO_CPU_ISA
