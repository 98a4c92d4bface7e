//===- AttentionValuesGrad.cpp --------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// dweights[b,h,q,k] = sum_c dout[b,q,(h,c)] value[b,k,(g,c)];
// dvalue[b,k,(g,c)] = sum over q and the heads h of g of weights[b,h,q,k] dout[b,q,(h,c)].
//===----------------------------------------------------------------------===//
#include "runtime/cpu/kernels/HeadGrads.h"

namespace evo::cpu::EVO_CPU_ISA {

template <class S> void launchAttentionValuesGrad(const Launch &launch) {
  const Operand &weights = launch.operands[0], &value = launch.operands[1];
  const Operand &dout = launch.operands[2], &dweights = launch.operands[3];
  HeadGeometry geometry(dout.shape[0], launch.attributes->heads, dout.shape[1], value.shape[1],
                        dout.shape[2], value.shape[2]);
  HeadStrides ds = geometry.channelsByHead(dout), vs = geometry.keysByHead(value);
  HeadStrides outs = geometry.weights(dweights);
  constexpr int64_t kRows = 128, kKeys = 512;
  int64_t rowTiles = ceilDiv(geometry.queries, kRows), keyTiles = ceilDiv(geometry.keys, kKeys);
  int64_t perBatch = geometry.heads * rowTiles * keyTiles;
  forEachTask(launch, geometry.batches * perBatch, [&](int64_t task, const Workspace &workspace) {
    int64_t b = task / perBatch, h = task / keyTiles / rowTiles % geometry.heads;
    int64_t q = task / keyTiles % rowTiles * kRows, k = task % keyTiles * kKeys;
    storeProduct(smaller(kRows, geometry.queries - q), smaller(kKeys, geometry.keys - k),
                 geometry.width, Compute<S>(1), ds.matrix<S>(dout, b, h).asConst().block(q, 0),
                 vs.matrix<S>(value, b, h % geometry.groups).asConst().block(k, 0).transposed(),
                 outs.matrix<S>(dweights, b, h).block(q, k), workspace);
  });
  sumOverQueries<S>(launch, geometry, Compute<S>(1), weights, dout, launch.operands[4]);
}

EVO_CPU_INSTANTIATE(AttentionValuesGrad)

} // namespace evo::cpu::EVO_CPU_ISA
