//===- HeadGrads.h - sums over the heads of a key head ----------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/cpu/kernels/Heads.h"

namespace evo::cpu::EVO_CPU_ISA {

/// out[b,k,(g,c)] = scale * sum over q and the heads h of g of scores[b,h,q,k] rows[b,q,(h,c)]. A
/// task owns some keys of one (batch, key head).
template <class T>
void sumOverQueries(const Launch &launch, const HeadGeometry &geometry, T scale,
                    const Operand &scores, const Operand &rows, const Operand &out) {
  HeadStrides ss = geometry.weights(scores), rs = geometry.channelsByHead(rows);
  HeadStrides os = geometry.keysByHead(out);
  constexpr int64_t kKeys = 128;
  int64_t keyTiles = ceilDiv(geometry.keys, kKeys), perBatch = geometry.groups * keyTiles;
  forEachTask(launch, geometry.batches * perBatch, [&](int64_t task, const Workspace &workspace) {
    int64_t b = task / perBatch, g = task / keyTiles % geometry.groups;
    int64_t k = task % keyTiles * kKeys;
    for (int64_t h = g; h < geometry.heads; h += geometry.groups)
      gemm(smaller(kKeys, geometry.keys - k), geometry.width, geometry.queries, scale,
           ss.matrix<T>(scores, b, h).asConst().block(0, k).transposed(),
           rs.matrix<T>(rows, b, h).asConst(), h == g ? T(0) : T(1),
           os.matrix<T>(out, b, g).block(k, 0), workspace);
  });
}

} // namespace evo::cpu::EVO_CPU_ISA
