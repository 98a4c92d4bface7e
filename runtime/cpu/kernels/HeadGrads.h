//===- HeadGrads.h - sums over the heads of a key head ----------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/cpu/kernels/Heads.h"

namespace evo::cpu::EVO_CPU_ISA {

/// out[b,k,(g,c)] = scale * sum over q and the heads h of g of scores[b,h,q,k] rows[b,q,(h,c)]. A
/// task owns some keys of one (batch, key head).
template <class S>
void sumOverQueries(const Launch &launch, const HeadGeometry &geometry, Compute<S> scale,
                    const Operand &scores, const Operand &rows, const Operand &out) {
  using T = Compute<S>;
  HeadStrides ss = geometry.weights(scores), rs = geometry.channelsByHead(rows);
  HeadStrides os = geometry.keysByHead(out);
  constexpr int64_t kKeys = 128, kCols = 512;
  int64_t keyTiles = ceilDiv(geometry.keys, kKeys), perBatch = geometry.groups * keyTiles;
  forEachTask(launch, geometry.batches * perBatch, [&](int64_t task, const Workspace &workspace) {
    int64_t b = task / perBatch, g = task / keyTiles % geometry.groups;
    int64_t k = task % keyTiles * kKeys;
    int64_t keys = smaller(kKeys, geometry.keys - k);
    for (int64_t c = 0; c < geometry.width; c += kCols) {
      int64_t cols = smaller(kCols, geometry.width - c);
      auto sumInto = [&](Matrix<T> sums) {
        for (int64_t h = g; h < geometry.heads; h += geometry.groups)
          gemm(keys, cols, geometry.queries, scale,
               ss.matrix<S>(scores, b, h).asConst().block(0, k).transposed(),
               rs.matrix<S>(rows, b, h).asConst().block(0, c), h == g ? T(0) : T(1), sums,
               workspace);
      };
      Matrix<S> target = os.matrix<S>(out, b, g).block(k, c);
      if constexpr (kRounds<S>) {
        T *space = ScratchSpace(workspace).take<T>(kKeys * kCols);
        Matrix<T> sums = scratchLike(space, target, keys, cols);
        sumInto(sums);
        copyMatrix(target, sums.asConst(), keys, cols);
      } else {
        sumInto(target);
      }
    }
  });
}

} // namespace evo::cpu::EVO_CPU_ISA
