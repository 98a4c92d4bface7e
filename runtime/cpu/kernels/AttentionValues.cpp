//===- AttentionValues.cpp ------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// o[b,q,(h,c)] = sum_k weights[b,h,q,k] value[b,k,(g,c)], heads as in `attention`.
//===----------------------------------------------------------------------===//
#include "runtime/cpu/kernels/Heads.h"

namespace evo::cpu::EVO_CPU_ISA {

template <class S> void launchAttentionValues(const Launch &launch) {
  const Operand &weights = launch.operands[0], &value = launch.operands[1];
  const Operand &o = launch.operands[2];
  HeadGeometry geometry(o.shape[0], launch.attributes->heads, o.shape[1], value.shape[1],
                        o.shape[2], value.shape[2]);
  HeadStrides ws = geometry.weights(weights), vs = geometry.keysByHead(value);
  HeadStrides os = geometry.channelsByHead(o);
  constexpr int64_t kRows = 128, kCols = 512;
  int64_t rowTiles = ceilDiv(geometry.queries, kRows), colTiles = ceilDiv(geometry.width, kCols);
  int64_t perBatch = geometry.heads * rowTiles * colTiles;
  forEachTask(launch, geometry.batches * perBatch, [&](int64_t task, const Workspace &workspace) {
    int64_t b = task / perBatch, h = task / colTiles / rowTiles % geometry.heads;
    int64_t q = task / colTiles % rowTiles * kRows, c = task % colTiles * kCols;
    storeProduct(smaller(kRows, geometry.queries - q), smaller(kCols, geometry.width - c),
                 geometry.keys, Compute<S>(1), ws.matrix<S>(weights, b, h).asConst().block(q, 0),
                 vs.matrix<S>(value, b, h % geometry.groups).asConst().block(0, c),
                 os.matrix<S>(o, b, h).block(q, c), workspace);
  });
}

EVO_CPU_INSTANTIATE(AttentionValues)

} // namespace evo::cpu::EVO_CPU_ISA
