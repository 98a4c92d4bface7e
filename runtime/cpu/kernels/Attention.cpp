//===- Attention.cpp ------------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// For head h of `heads`, width c = x / heads, and key/value head g = h mod (y / c):
// l[b,h,q,k] = scale * sum_c query[b,q,(h,c)] key[b,k,(g,c)] + pair_bias[h,q,k]
//              + inf * (mask[b,k] - max_k mask[b,k])
// o[b,q,(h,c)] = sum_k softmax_k(l)[b,h,q,k] value[b,k,(g,c)]; lse[b,h,q] = log sum_k exp l.
//
// A task is a tile of queries of one (batch, head). Its logits live in scratch: all keys at once
// where they fit, else block after block with the running maximum m and sum of the online softmax;
// when m rises, what has been summed so far is scaled by e^(old m - new m). o itself holds the
// running sum; where it is stored in half, scratch does.
//===----------------------------------------------------------------------===//
#include "runtime/cpu/kernels/Heads.h"

#include <math.h>

namespace evo::cpu::EVO_CPU_ISA {

namespace {

/// Queries a tile and keys a block, by shape alone.
struct AttentionTiling {
  int64_t queries, keys;
  /// `sumWidth`: of the sums in scratch; 0: none.
  AttentionTiling(int64_t allQueries, int64_t allKeys, int64_t sumWidth, int64_t elementBytes) {
    constexpr int64_t kScoreBytes = int64_t{1} << 20, kMaxQueries = 128, kMinQueries = 64;
    constexpr int64_t kSumBytes = int64_t{256} << 10;
    int64_t budget = kScoreBytes / elementBytes;
    keys = larger<int64_t>(1, smaller(allKeys, budget / kMinQueries));
    queries = smaller(allQueries, smaller(kMaxQueries, budget / keys));
    if (sumWidth > 0)
      queries = smaller(queries, kSumBytes / elementBytes / sumWidth);
    queries = larger<int64_t>(1, queries);
  }
};

template <class S> struct AttentionTile {
  int64_t rows, keys, width;
  Compute<S> scale;
  Matrix<const S> query, key, value, bias;
  Matrix<S> o;
  Matrix<Compute<S>> lse;
};

/// Turns the scores of one key block into weights relative to the running maximum.
template <class T>
void blockSoftmax(int64_t rows, int64_t width, Matrix<T> o, Matrix<T> scores, int64_t count,
                  bool first, T *maximum, T *sum) {
  for (int64_t i = 0; i < rows; ++i) {
    T *line = scores.at(i, 0);
    T blockMaximum = maxLine(line, count);
    if (first) {
      maximum[i] = blockMaximum;
      sum[i] = expLine(line, blockMaximum, count);
      continue;
    }
    T newMaximum = larger(maximum[i], blockMaximum);
    T decay = fastExp(maximum[i] - newMaximum);
    maximum[i] = newMaximum;
    sum[i] = sum[i] * decay + expLine(line, newMaximum, count);
    if (decay != T(1))
      for (int64_t c = 0; c < width; ++c)
        *o.at(i, c) *= decay;
  }
}

template <class S>
void attend(const AttentionTile<S> &tile, int64_t blockKeys, const MaskTerm<S> &mask,
            const Workspace &workspace) {
  using T = Compute<S>;
  ScratchSpace scratch(workspace);
  T *maximum = scratch.take<T>(tile.rows), *sum = scratch.take<T>(tile.rows);
  T *maskTerm = mask ? scratch.take<T>(blockKeys) : nullptr;
  Matrix<T> scores{scratch.take<T>(tile.rows * blockKeys), blockKeys, 1};
  Matrix<T> o;
  if constexpr (kRounds<S>)
    o = scratchLike(scratch.take<T>(tile.rows * tile.width), tile.o, tile.rows, tile.width);
  else
    o = tile.o;
  for (int64_t k = 0; k < tile.keys; k += blockKeys) {
    int64_t count = smaller(blockKeys, tile.keys - k);
    if (mask)
      mask.fill(maskTerm, k, count);
    logitsTile(tile.rows, count, tile.width, tile.scale, tile.query, tile.key.block(k, 0),
               tile.bias.block(0, k), maskTerm, scores, workspace);
    blockSoftmax(tile.rows, tile.width, o, scores, count, k == 0, maximum, sum);
    gemm(tile.rows, tile.width, count, T(1), scores.asConst(), tile.value.block(k, 0),
         k ? T(1) : T(0), o, workspace);
  }
  for (int64_t i = 0; i < tile.rows; ++i) {
    T factor = T(1) / sum[i];
    if (o.colStride == 1)
      scaleLine(o.at(i, 0), factor, tile.width);
    else
      for (int64_t c = 0; c < tile.width; ++c)
        *o.at(i, c) *= factor;
    if (tile.lse)
      *tile.lse.at(i, 0) = maximum[i] + T(log(sum[i]));
  }
  if constexpr (kRounds<S>)
    copyMatrix(tile.o, o.asConst(), tile.rows, tile.width);
}

} // namespace

template <class S> void launchAttention(const Launch &launch) {
  using T = Compute<S>;
  const Operand &query = launch.operands[0], &key = launch.operands[1];
  const Operand &value = launch.operands[2], &bias = launch.operands[3];
  const Operand &mask = launch.operands[4], &o = launch.operands[5], &lse = launch.operands[6];
  const plan::KernelAttributes &attributes = *launch.attributes;
  HeadGeometry geometry(query.shape[0], attributes.heads, query.shape[1], key.shape[1],
                        query.shape[2], key.shape[2]);
  HeadStrides qs = geometry.channelsByHead(query), os = geometry.channelsByHead(o);
  HeadStrides ks = geometry.keysByHead(key), vs = geometry.keysByHead(value);
  HeadStrides biases = geometry.pairBias(bias), lses = geometry.weights(lse);
  AttentionTiling tiling(geometry.queries, geometry.keys, kRounds<S> ? geometry.width : 0,
                         sizeof(T));
  int64_t queryTiles = ceilDiv(geometry.queries, tiling.queries);
  forEachTask(launch, geometry.batches * geometry.heads * queryTiles,
              [&](int64_t task, const Workspace &workspace) {
                int64_t q = task % queryTiles * tiling.queries;
                int64_t h = task / queryTiles % geometry.heads,
                        b = task / queryTiles / geometry.heads;
                int64_t g = h % geometry.groups;
                AttentionTile<S> tile{smaller(tiling.queries, geometry.queries - q),
                                      geometry.keys,
                                      geometry.width,
                                      T(attributes.scale),
                                      qs.matrix<S>(query, b, h).asConst().block(q, 0),
                                      ks.matrix<S>(key, b, g).asConst(),
                                      vs.matrix<S>(value, b, g).asConst(),
                                      biases.matrix<S>(bias, b, h).asConst().block(q, 0),
                                      os.matrix<S>(o, b, h).block(q, 0),
                                      lses.matrix<T>(lse, b, h).block(q, 0)};
                MaskTerm<S> maskTerm(mask, b, geometry.keys, attributes.inf);
                attend(tile, tiling.keys, maskTerm, workspace);
              });
}

EVO_CPU_INSTANTIATE(Attention)

} // namespace evo::cpu::EVO_CPU_ISA
