//===- AttentionGrad.cpp --------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// `attention` backwards from its lse, heads as there: p = exp(l - lse),
// D[b,h,q] = sum_c dout[b,q,(h,c)] o[b,q,(h,c)],
// dl[b,h,q,k] = p * (sum_c dout[b,q,(h,c)] value[b,k,(g,c)] - D); then
// dquery = scale * sum_k dl key; dkey = scale * sum over q and the heads of g of dl query;
// dvalue = sum over q and the heads of g of p dout; dpair_bias[h,q,k] = accumulator + sum_b dl.
// dpair_bias may be the accumulator.
//
// p and dl exist for a tile of queries and a block of keys at a time, in scratch, and are computed
// twice: once by the task that owns a (batch, key head), for dquery, dkey and dvalue, which are
// summed where they lie; and once by the task that owns a (head, tile, block), for dpair_bias.
// Where plans store half, sums live in scratch: those of dkey and dvalue for a block of keys, and
// where there are several blocks, those of dquery for a tile of queries in a pass of their own.
//===----------------------------------------------------------------------===//
#include "runtime/cpu/kernels/Heads.h"

namespace evo::cpu::EVO_CPU_ISA {

namespace {

/// Queries a tile and keys a block, by shape alone.
struct GradTiling {
  int64_t queries, keys;
  /// `sumWidth`: of the sums in scratch; 0: none.
  GradTiling(int64_t allQueries, int64_t allKeys, int64_t sumWidth, int64_t elementBytes) {
    constexpr int64_t kScoreBytes = int64_t{256} << 10, kMaxQueries = 128, kMinQueries = 64;
    int64_t budget = kScoreBytes / elementBytes;
    int64_t mostRows = sumWidth > 0 ? budget / sumWidth : budget;
    keys = larger<int64_t>(1, smaller(allKeys, smaller(budget / kMinQueries, mostRows)));
    queries = smaller(allQueries, smaller(smaller(kMaxQueries, mostRows), budget / keys));
    queries = larger<int64_t>(1, queries);
  }
};

/// The operands of a call, one matrix a (batch, head).
template <class S> struct AttentionViews {
  const Operand *operands;
  const plan::KernelAttributes &attributes;
  HeadGeometry geometry;
  HeadStrides query, key, value, bias, o, lse, dout;

  explicit AttentionViews(const Launch &launch)
      : operands(launch.operands), attributes(*launch.attributes),
        geometry(operands[0].shape[0], attributes.heads, operands[0].shape[1], operands[1].shape[1],
                 operands[0].shape[2], operands[1].shape[2]),
        query(geometry.channelsByHead(operands[0])), key(geometry.keysByHead(operands[1])),
        value(geometry.keysByHead(operands[2])), bias(geometry.pairBias(operands[3])),
        o(geometry.channelsByHead(operands[5])), lse(geometry.weights(operands[6])),
        dout(geometry.channelsByHead(operands[7])) {}
};

/// A tile of queries of one (batch, head), and all its keys.
template <class S> struct QueryTile {
  using T = Compute<S>;
  int64_t rows, width;
  T scale;
  Matrix<const S> query, key, value, bias, o;
  Matrix<const T> lse;
  Matrix<const S> dout;
  T *delta; ///< D, one a row

  QueryTile(const AttentionViews<S> &views, int64_t b, int64_t h, int64_t q, int64_t rows, T *delta)
      : rows(rows), width(views.geometry.width), scale(T(views.attributes.scale)),
        query(at<S>(views.query, views.operands[0], b, h, q)),
        key(at<S>(views.key, views.operands[1], b, h % views.geometry.groups, 0)),
        value(at<S>(views.value, views.operands[2], b, h % views.geometry.groups, 0)),
        bias(at<S>(views.bias, views.operands[3], b, h, q)),
        o(at<S>(views.o, views.operands[5], b, h, q)),
        lse(at<T>(views.lse, views.operands[6], b, h, q)),
        dout(at<S>(views.dout, views.operands[7], b, h, q)), delta(delta) {
    for (int64_t i = 0; i < rows; ++i) {
      T sum = 0;
      for (int64_t c = 0; c < width; ++c)
        sum += widen(*dout.at(i, c)) * widen(*o.at(i, c));
      delta[i] = sum;
    }
  }

  /// p and dl of keys [k, k + keys); both have rows of unit stride.
  void scores(int64_t k, int64_t keys, const T *maskTerm, Matrix<T> p, Matrix<T> dl,
              const Workspace &workspace) const {
    logitsTile(rows, keys, width, scale, query, key.block(k, 0), bias.block(0, k), maskTerm, p,
               workspace);
    gemm(rows, keys, width, T(1), dout, value.block(k, 0).transposed(), T(0), dl, workspace);
    for (int64_t i = 0; i < rows; ++i)
      gradOfRow(p.at(i, 0), dl.at(i, 0), *lse.at(i, 0), delta[i], keys);
  }

private:
  template <class E>
  static Matrix<const E> at(const HeadStrides &strides, const Operand &operand, int64_t b,
                            int64_t h, int64_t q) {
    return strides.matrix<E>(operand, b, h).asConst().block(q, 0);
  }
  /// A key without weight has no slope, whatever its value.
  static void gradOfRow(T *__restrict p, T *__restrict dl, T lse, T delta, int64_t keys) {
#pragma omp simd
    for (int64_t k = 0; k < keys; ++k) {
      T weight = fastExp(p[k] - lse);
      p[k] = weight;
      dl[k] = weight == T(0) ? T(0) : weight * (dl[k] - delta);
    }
  }
};

/// Scratch of a task, and `rest` for its sums.
template <class T> struct GradScratch {
  T *delta, *maskTerm, *p, *dl;
  ScratchSpace rest;
  GradScratch(const Workspace &workspace, const GradTiling &tiling) : rest(workspace) {
    delta = rest.take<T>(tiling.queries);
    maskTerm = rest.take<T>(tiling.keys);
    p = rest.take<T>(tiling.queries * tiling.keys);
    dl = rest.take<T>(tiling.queries * tiling.keys);
  }
};

/// dquery, dkey and dvalue of one (batch, key head). An empty axis still has one turn, whose
/// products store zeros.
template <class S>
void gradOfGroup(const AttentionViews<S> &views, int64_t b, int64_t g, const GradTiling &tiling,
                 const Workspace &workspace) {
  using T = Compute<S>;
  const HeadGeometry &geometry = views.geometry;
  const Operand &dquery = views.operands[9], &dkey = views.operands[10];
  const Operand &dvalue = views.operands[11];
  GradScratch<T> scratch(workspace, tiling);
  MaskTerm<S> mask(views.operands[4], b, geometry.keys, views.attributes.inf);
  Matrix<S> keyOut = geometry.keysByHead(dkey).matrix<S>(dkey, b, g);
  Matrix<S> valueOut = geometry.keysByHead(dvalue).matrix<S>(dvalue, b, g);
  for (int64_t h = g; h < geometry.heads; h += geometry.groups)
    for (int64_t q = 0; q < larger<int64_t>(geometry.queries, 1); q += tiling.queries) {
      QueryTile<S> tile(views, b, h, q, smaller(tiling.queries, geometry.queries - q),
                        scratch.delta);
      Matrix<S> queryOut = geometry.channelsByHead(dquery).matrix<S>(dquery, b, h).block(q, 0);
      T beta = h == g && q == 0 ? T(0) : T(1);
      for (int64_t k = 0; k < larger<int64_t>(geometry.keys, 1); k += tiling.keys) {
        int64_t keys = smaller(tiling.keys, geometry.keys - k);
        Matrix<T> p{scratch.p, keys, 1}, dl{scratch.dl, keys, 1};
        if (mask)
          mask.fill(scratch.maskTerm, k, keys);
        tile.scores(k, keys, mask ? scratch.maskTerm : nullptr, p, dl, workspace);
        gemm(tile.rows, tile.width, keys, tile.scale, dl.asConst(), tile.key.block(k, 0),
             k ? T(1) : T(0), queryOut, workspace);
        gemm(keys, tile.width, tile.rows, tile.scale, dl.asConst().transposed(), tile.query, beta,
             keyOut.block(k, 0), workspace);
        gemm(keys, tile.width, tile.rows, T(1), p.asConst().transposed(), tile.dout, beta,
             valueOut.block(k, 0), workspace);
      }
    }
}

/// The same where plans store half.
template <class S> class HalfGroup {
  using T = Compute<S>;

public:
  HalfGroup(const AttentionViews<S> &views, int64_t b, int64_t g, const GradTiling &tiling,
            const Workspace &workspace)
      : views(views), geometry(views.geometry), b(b), g(g), tiling(tiling), workspace(workspace),
        scratch(workspace, tiling),
        mask(views.operands[4], b, geometry.keys, views.attributes.inf) {
    queryData = scratch.rest.template take<T>(tiling.queries * geometry.width);
    keyData = scratch.rest.template take<T>(tiling.keys * geometry.width);
    valueData = scratch.rest.template take<T>(tiling.keys * geometry.width);
  }

  void run() {
    bool oneBlock = geometry.keys <= tiling.keys;
    for (int64_t k = 0; k < larger<int64_t>(geometry.keys, 1); k += tiling.keys)
      gradOfKeys(k, smaller(tiling.keys, geometry.keys - k), oneBlock);
    if (!oneBlock)
      forEachQueryTile([&](const QueryTile<S> &tile, int64_t h, int64_t q) {
        for (int64_t k = 0; k < geometry.keys; k += tiling.keys) {
          int64_t keys = smaller(tiling.keys, geometry.keys - k);
          scoresOf(tile, k, keys);
          addToQuery(tile, k, keys);
        }
        storeQuery(tile, h, q);
      });
  }

private:
  template <class Body> void forEachQueryTile(const Body &body) {
    for (int64_t h = g; h < geometry.heads; h += geometry.groups)
      for (int64_t q = 0; q < larger<int64_t>(geometry.queries, 1); q += tiling.queries)
        body(QueryTile<S>(views, b, h, q, smaller(tiling.queries, geometry.queries - q),
                          scratch.delta),
             h, q);
  }
  void scoresOf(const QueryTile<S> &tile, int64_t k, int64_t keys) {
    if (mask)
      mask.fill(scratch.maskTerm, k, keys);
    tile.scores(k, keys, mask ? scratch.maskTerm : nullptr, Matrix<T>{scratch.p, keys, 1},
                Matrix<T>{scratch.dl, keys, 1}, workspace);
  }
  /// dkey and dvalue of a block of keys; also dquery if these are all keys.
  void gradOfKeys(int64_t k, int64_t keys, bool alsoQuery) {
    int64_t width = geometry.width;
    Matrix<T> keySums{keyData, width, 1}, valueSums{valueData, width, 1};
    T beta = 0;
    forEachQueryTile([&](const QueryTile<S> &tile, int64_t h, int64_t q) {
      scoresOf(tile, k, keys);
      Matrix<const T> p{scratch.p, keys, 1}, dl{scratch.dl, keys, 1};
      gemm(keys, width, tile.rows, tile.scale, dl.transposed(), tile.query, beta, keySums,
           workspace);
      gemm(keys, width, tile.rows, T(1), p.transposed(), tile.dout, beta, valueSums, workspace);
      beta = 1;
      if (alsoQuery) {
        addToQuery(tile, k, keys);
        storeQuery(tile, h, q);
      }
    });
    store(keySums, geometry.keysByHead(views.operands[10]), views.operands[10], k, keys);
    store(valueSums, geometry.keysByHead(views.operands[11]), views.operands[11], k, keys);
  }
  void store(Matrix<T> sums, HeadStrides strides, const Operand &out, int64_t k, int64_t keys) {
    copyMatrix(strides.matrix<S>(out, b, g).block(k, 0), sums.asConst(), keys, geometry.width);
  }
  void addToQuery(const QueryTile<S> &tile, int64_t k, int64_t keys) {
    gemm(tile.rows, tile.width, keys, tile.scale, Matrix<const T>{scratch.dl, keys, 1},
         tile.key.block(k, 0), k ? T(1) : T(0), Matrix<T>{queryData, tile.width, 1}, workspace);
  }
  void storeQuery(const QueryTile<S> &tile, int64_t h, int64_t q) {
    const Operand &dquery = views.operands[9];
    copyMatrix(geometry.channelsByHead(dquery).template matrix<S>(dquery, b, h).block(q, 0),
               Matrix<const T>{queryData, tile.width, 1}, tile.rows, tile.width);
  }

  const AttentionViews<S> &views;
  const HeadGeometry &geometry;
  int64_t b, g;
  const GradTiling &tiling;
  const Workspace &workspace;
  GradScratch<T> scratch;
  MaskTerm<S> mask;
  T *queryData, *keyData, *valueData;
};

/// dpair_bias of queries [q, q + rows) and keys [k, k + keys) of head h.
template <class S>
void gradOfPairBias(const AttentionViews<S> &views, int64_t h, int64_t q, int64_t rows, int64_t k,
                    int64_t keys, const GradTiling &tiling, const Workspace &workspace) {
  using T = Compute<S>;
  const HeadGeometry &geometry = views.geometry;
  const Operand &accumulator = views.operands[8], &out = views.operands[12];
  GradScratch<T> scratch(workspace, tiling);
  Matrix<T> sums{scratch.rest.template take<T>(tiling.queries * tiling.keys), keys, 1};
  Matrix<T> p{scratch.p, keys, 1}, dl{scratch.dl, keys, 1};
  if (accumulator)
    copyMatrix(sums,
               geometry.pairBias(accumulator).matrix<T>(accumulator, 0, h).asConst().block(q, k),
               rows, keys);
  for (int64_t i = 0; !accumulator && i < rows * keys; ++i)
    sums.data[i] = 0;
  for (int64_t b = 0; b < geometry.batches; ++b) {
    MaskTerm<S> mask(views.operands[4], b, geometry.keys, views.attributes.inf);
    if (mask)
      mask.fill(scratch.maskTerm, k, keys);
    QueryTile<S>(views, b, h, q, rows, scratch.delta)
        .scores(k, keys, mask ? scratch.maskTerm : nullptr, p, dl, workspace);
    addLine(sums.data, dl.data, 1, rows * keys);
  }
  copyMatrix(geometry.pairBias(out).matrix<T>(out, 0, h).block(q, k), sums.asConst(), rows, keys);
}

} // namespace

template <class S> void launchAttentionGrad(const Launch &launch) {
  AttentionViews<S> views(launch);
  const HeadGeometry &geometry = views.geometry;
  GradTiling tiling(geometry.queries, geometry.keys, kRounds<S> ? geometry.width : 0,
                    sizeof(Compute<S>));
  forEachTask(launch, geometry.batches * geometry.groups,
              [&](int64_t task, const Workspace &workspace) {
                int64_t b = task / geometry.groups, g = task % geometry.groups;
                if constexpr (kRounds<S>)
                  HalfGroup<S>(views, b, g, tiling, workspace).run();
                else
                  gradOfGroup(views, b, g, tiling, workspace);
              });
  if (!launch.operands[12])
    return;
  int64_t queryTiles = ceilDiv(geometry.queries, tiling.queries);
  int64_t keyTiles = ceilDiv(geometry.keys, tiling.keys);
  forEachTask(launch, geometry.heads * queryTiles * keyTiles,
              [&](int64_t task, const Workspace &workspace) {
                int64_t h = task / keyTiles / queryTiles;
                int64_t q = task / keyTiles % queryTiles * tiling.queries;
                int64_t k = task % keyTiles * tiling.keys;
                gradOfPairBias(views, h, q, smaller(tiling.queries, geometry.queries - q), k,
                               smaller(tiling.keys, geometry.keys - k), tiling, workspace);
              });
}

EVO_CPU_INSTANTIATE(AttentionGrad)

} // namespace evo::cpu::EVO_CPU_ISA
