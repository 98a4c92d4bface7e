//===- AttentionGradHead.cuh - dquery, dkey and dvalue ----------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// A block of four warps has a batch and head of the keys, and makes dquery, dkey and dvalue of it
// with p and dl computed once. It goes through blocks of keys, of which a warp has up to 32, as
// rows, with their sums dkey and dvalue in registers; and for each through the queries 64 at a
// time, of all heads that share the keys, which are copied while the ones before are multiplied. p
// and dl leave the products as the left factors of dvalue and dkey. dl also goes through shared
// memory, for dquery, of which a warp has 16 rows: its sums over the blocks of keys before lie in
// scratch, where each thread finds what it wrote.
//
// p and dl are rounded to the storage type. Of few queries, which attend alone or in a group of
// heads, the slopes are large and cancel in dquery: what rounding takes from dl is multiplied too,
// which costs nothing beside the memory that is read, and lies in the tile's unused queries.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/cuda/kernels/AttentionGradMma.cuh"

namespace evo::cuda {

template <class S, int kWidth> struct alignas(16) HeadGradSpace {
  /// Tiles of 16 keys a warp: what the registers hold.
  static constexpr int kTiles = kWidth <= 32 ? 2 : 1, kKeys = kTiles * 64;
  HeadTile<S, kWidth, kKeys> keys;
  HeadTile<S, kWidth, kGradQueries> query[2], dout[2];
  S slopes[2][kKeys][kGradQueries + 8];
  float start[2][kGradQueries], delta[2][kGradQueries];
  uint4 bias[2][4][kTiles][32]; ///< of 16 queries, by warp and lane

  /// Batch and group that the block has: not in registers, which are for what the loops need, and
  /// in what pads a row, since the rest is as large as three blocks may be.
  __device__ volatile int &batch() { return *reinterpret_cast<int *>(&keys.rows[0][kWidth]); }
  __device__ volatile int &group() { return *reinterpret_cast<int *>(&keys.rows[1][kWidth]); }

  /// Where values are before the second tile's slopes.
  __device__ HeadTile<S, kWidth, kKeys> &values() {
    static_assert(kWidth <= kGradQueries);
    return reinterpret_cast<HeadTile<S, kWidth, kKeys> &>(slopes[1]);
  }
};

/// A step of a block of keys: 64 queries of a head.
struct GradTurn {
  int head, query;

  /// The next, which is of the next head of the group after the last queries.
  __device__ GradTurn after(const MmaGradCall &grad) const {
    if (query + kGradQueries < static_cast<int>(grad.paddedQueries))
      return {head, query + kGradQueries};
    return {head + static_cast<int>(grad.call.groups), 0};
  }
  __device__ bool exists(const MmaGradCall &grad) const {
    return head < static_cast<int>(grad.call.heads);
  }
};

/// Few queries are 16 at most, with a pair bias or without.
enum class HeadGradKind { Plain, Biased, Few };

template <class S, int kWidth, HeadGradKind kKind> class HeadGrad {
  using Space = HeadGradSpace<S, kWidth>;
  static constexpr bool kBias = kKind != HeadGradKind::Plain, kFew = kKind == HeadGradKind::Few;
  static constexpr int kTiles = Space::kTiles, kSteps = kWidth / 16;

public:
  __device__ HeadGrad(const MmaGradCall &grad, Space &space)
      : grad(grad), call(grad.call), space(space) {}

  __device__ void run() {
    for (k0 = 0; k0 < call.keys; k0 += Space::kKeys) {
      begin();
      int now = 0;
      float4 *sums = reinterpret_cast<float4 *>(grad.sums) +
                     sumsOfTurn() * 4 * turns() * blockIdx.x + sumsOfTurn() * warp + lane;
      for (GradTurn turn{space.group(), 0}; turn.exists(grad); turn = turn.after(grad), now ^= 1) {
        multiply(now, turn);
        float dquery[kWidth / 8][4] = {};
        bool adds = turn.query + warp * 16 < call.queries;
        if (k0 > 0 && adds)
          loadSums(dquery, sums);
        waitForCopies<kBias ? 1 : 0>();
        __syncthreads(); // of the slopes, and of the next tile
        fetch(now, turn.after(grad).after(grad));
        if (adds)
          addQueries(dquery, now, turn, sums);
        sums += 4 * sumsOfTurn();
      }
      int first = k0 + warp * 16 * kTiles;
#pragma unroll
      for (int i = 0; i < kTiles; ++i) {
        storeSums(call.dkey, space.group(), first + 16 * i, call.keys, call.scale, dkey[i]);
        storeSums(call.dvalue, space.group(), first + 16 * i, call.keys, 1, dvalue[i]);
      }
    }
  }

private:
  /// Sums of a warp's queries, in fours.
  static __device__ constexpr int64_t sumsOfTurn() { return kWidth / 8 * 32; }
  __device__ int64_t turns() const {
    return grad.paddedQueries / kGradQueries * (call.heads / call.groups);
  }

  /// Begins to copy a turn's queries, where there are some; always a group of copies.
  __device__ void fetch(int to, GradTurn turn) {
    if (turn.exists(grad)) {
      int b = space.batch(), h = turn.head, q0 = turn.query;
      auto width = static_cast<int>(call.width);
      TileCopy<S, kWidth> copies(warp * 32 + lane);
      copies.copy(space.query[to], at<S>(call.query, b, h) + q0 * call.query.row, call.query.row,
                  width, call.queries - q0);
      copies.copy(space.dout[to], at<S>(call.dout, b, h) + q0 * call.dout.row, call.dout.row, width,
                  call.queries - q0);
      // Both numbers of each row, by the threads of the first warp.
      if (warp == 0) {
        int64_t from = (b * call.heads + h) * grad.paddedQueries + q0 + lane % 16 * 4;
        float *to4 = lane < 16 ? space.start[to] : space.delta[to];
        copyAsync(to4 + lane % 16 * 4, (lane < 16 ? grad.start : grad.delta) + from, true);
      }
    }
    commitCopies();
  }

  /// The same of the pair bias of the next 16 queries, which a lane reads where it wrote.
  __device__ void fetchBias(int to) {
    if (ahead.exists(grad) && (!kFew || call.bias.data)) {
      int64_t row = ahead.head * (grad.paddedKeys / 16) + k0 / 16 + warp * kTiles;
      int64_t tiles = grad.paddedQueries / 16;
      const uint4 *from = grad.bias + (row * tiles + ahead.query / 16) * 32 + lane;
#pragma unroll
      for (int i = 0; i < kTiles; ++i)
        copyAsync(&space.bias[to][warp][i][lane], from + i * tiles * 32, true);
      ahead.query += 16;
      if (ahead.query >= call.queries)
        ahead = {ahead.head + static_cast<int>(call.groups), 0};
    }
    commitCopies();
  }

  /// Keys and values of the warp, and the first tiles of queries.
  __device__ void begin() {
    __syncthreads(); // of the tiles before
    int64_t b = space.batch();
    int g = space.group();
    auto width = static_cast<int>(call.width);
    TileCopy<S, kWidth> copies(warp * 32 + lane);
    copies.copy(space.keys, at<S>(call.key, b, g) + k0 * call.key.row, call.key.row, width,
                call.keys - k0);
    copies.copy(space.values(), at<S>(call.value, b, g) + k0 * call.value.row, call.value.row,
                width, call.keys - k0);
    GradTurn first{g, 0};
    fetch(0, first);
    if constexpr (kBias) {
      ahead = first, slot = 0;
      fetchBias(0);
      fetchBias(1);
    }
    fetch(1, first.after(grad));
    const float *from = grad.terms + b * grad.paddedKeys + k0 + warp * 16 * kTiles + lane / 4;
#pragma unroll
    for (int i = 0; i < kTiles; ++i) {
      terms[i][0] = from[16 * i], terms[i][1] = from[16 * i + 8];
#pragma unroll
      for (int c = 0; c < kWidth / 8; ++c)
#pragma unroll
        for (int e = 0; e < 4; ++e)
          dkey[i][c][e] = dvalue[i][c][e] = 0;
    }
    waitForCopies<kBias ? 3 : 1>();
    __syncthreads();
    loadFactors(key, space.keys);
    loadFactors(value, space.values());
  }

  /// A warp's keys or values; a key without weight has no slope either, whatever its value.
  __device__ void loadFactors(RowFragments<S, kWidth> (&to)[kTiles],
                              const HeadTile<S, kWidth, Space::kKeys> &tile) const {
#pragma unroll
    for (int i = 0; i < kTiles; ++i)
#pragma unroll
      for (int c = 0; c < kSteps; ++c) {
        int row = (warp * kTiles + i) * 16 + lane % 16;
        loadMatrices(to[i].part[c], &tile.rows[row][c * 16 + lane / 16 * 8]);
#pragma unroll
        for (int e = 0; e < 4; ++e)
          to[i].part[c][e] = terms[i][e % 2] == -INFINITY ? 0 : to[i].part[c][e];
      }
  }

  /// From products, p: one multiplication and addition without a pair bias, whose pair is `word`.
  __device__ float2 weightsOf(float x, float y, float term, uint32_t word) const {
    float2 add = make_float2(term, term);
    if constexpr (kBias) {
      float2 pair = unpacked<S>(word);
      add.x = fmaf(pair.x, kLog2E, term), add.y = fmaf(pair.y, kLog2E, term);
    }
    float scale = call.scale * kLog2E;
    return make_float2(exp2Fast(fmaf(x, scale, add.x)), exp2Fast(fmaf(y, scale, add.y)));
  }

  /// What products with 8 queries begin with.
  __device__ void loadStarts(float (&start)[4], const float *of8) const {
    float2 pair = *reinterpret_cast<const float2 *>(of8 + 2 * (lane % 4));
    start[0] = start[2] = pair.x, start[1] = start[3] = pair.y;
  }

  /// p and dl of 16 queries as left factors, and what rounding took from dl.
  struct Factors {
    uint32_t weights[kTiles][4], slopes[kTiles][4], rests[kFew ? kTiles : 1][4];
  };

  /// What products with 8 queries of a tile need.
  struct Queries {
    uint32_t query[kSteps][2], dout[kSteps][2];
    float start[4], delta[4];
  };
  __device__ void load(Queries &to, int now, int row) const {
    loadRows(to.query, space.query[now], row);
    loadRows(to.dout, space.dout[now], row);
    loadStarts(to.start, space.start[now] + row);
    loadStarts(to.delta, space.delta[now] + row);
  }

  /// From products of 16 keys and 8 queries, two words of each factor.
  __device__ void gradOfProducts(Factors &to, const float (&p)[4], const float (&dp)[4],
                                 const uint4 &pairs, int now, int i, int n, int row) {
    const uint32_t words[4] = {pairs.x, pairs.y, pairs.z, pairs.w};
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      int e = 2 * half, from = (warp * kTiles + i) * 16 + half * 8 + lane / 4;
      float2 w = weightsOf(p[e], p[e + 1], terms[i][half], words[2 * n + half]);
      to.weights[i][2 * n + half] = packed<S>(w.x, w.y);
      uint32_t pair = packed<S>(w.x * dp[e], w.y * dp[e + 1]);
      to.slopes[i][2 * n + half] = pair;
      S *line = &space.slopes[now][from][row + 8 * n + 2 * (lane % 4)];
      *reinterpret_cast<uint32_t *>(line) = pair;
      if constexpr (kFew) {
        float2 less = unpacked<S>(pair);
        pair = packed<S>(w.x * dp[e] - less.x, w.y * dp[e + 1] - less.y);
        to.rests[i][2 * n + half] = pair;
        *reinterpret_cast<uint32_t *>(line + 16) = pair;
      }
    }
  }

  /// p and dl of the warp's keys and 16 queries; products are ahead of what is made of them.
  __device__ void gradOfQueries(Factors &to, int now, int row) {
    uint4 pairs[kTiles] = {};
    if constexpr (kBias) {
      // Groups of copies are older by the one of a tile in the first two steps of it.
      if (row < 32)
        waitForCopies<2>();
      else
        waitForCopies<1>();
#pragma unroll
      for (int i = 0; i < kTiles; ++i)
        if (!kFew || call.bias.data)
          loadFour(pairs[i], &space.bias[slot][warp][i][lane]);
    }
    Queries queries[2];
    float p[2][4], dp[2][4];
    auto multiply = [&](int step) {
      Queries &now8 = queries[step / kTiles];
      int i = step % kTiles;
      if (i == 0)
        load(now8, now, row + 8 * (step / kTiles));
      multiplyRows<S>(p[step % 2], key[i].part, now8.query, now8.start);
      multiplyRows<S>(dp[step % 2], value[i].part, now8.dout, now8.delta);
    };
    multiply(0);
#pragma unroll
    for (int step = 0; step < 2 * kTiles; ++step) {
      if (step + 1 < 2 * kTiles)
        multiply(step + 1);
      int i = step % kTiles;
      gradOfProducts(to, p[step % 2], dp[step % 2], pairs[i], now, i, step / kTiles, row);
    }
    if constexpr (kBias)
      fetchBias(slot), slot ^= 1;
  }

  /// sum[i] += left[i] times 16 rows of the tile.
  __device__ void addRows(float (&sum)[kTiles][kWidth / 8][4], const uint32_t (&left)[kTiles][4],
                          const HeadTile<S, kWidth, kGradQueries> &tile, int row) const {
#pragma unroll
    for (int c = 0; c < kSteps; ++c) {
      uint32_t x[4];
      loadTransposed(x, &tile.rows[row + lane % 16][c * 16 + lane / 16 * 8]);
#pragma unroll
      for (int i = 0; i < kTiles; ++i) {
        multiplyTiles<S>(sum[i][2 * c], left[i], x[0], x[1]);
        multiplyTiles<S>(sum[i][2 * c + 1], left[i], x[2], x[3]);
      }
    }
  }

  /// p and dl of the warp's keys and a tile's queries; dkey and dvalue.
  __device__ void multiply(int now, GradTurn turn) {
    int rows = static_cast<int>(smaller(kGradQueries, call.queries - turn.query));
#pragma unroll 1
    for (int row = 0; row < rows; row += 16) {
      Factors factors;
      gradOfQueries(factors, now, row);
      addRows(dvalue, factors.weights, space.dout[now], row);
      addRows(dkey, factors.slopes, space.query[now], row);
      if constexpr (kFew)
        addRows(dkey, factors.rests, space.query[now], row);
    }
  }

  __device__ void loadSums(float (&sum)[kWidth / 8][4], const float4 *sums) const {
#pragma unroll
    for (int c = 0; c < kWidth / 8; ++c) {
      float4 four = sums[c * 32];
      sum[c][0] = four.x, sum[c][1] = four.y, sum[c][2] = four.z, sum[c][3] = four.w;
    }
  }

  /// dquery of the warp's 16 queries of a tile, which begins with those of the keys before.
  __device__ void addQueries(float (&sum)[kWidth / 8][4], int now, GradTurn turn, float4 *sums) {
    struct Step {
      uint32_t slopes[4], rests[4], keys[kSteps][4];
    } steps[2];
    auto load = [&](int k) {
      Step &to = steps[k % 2];
      const S *line =
          &space.slopes[now][k * 16 + lane % 8 + lane / 16 * 8][warp * 16 + lane / 8 % 2 * 8];
      loadTransposed(to.slopes, line);
      if constexpr (kFew)
        loadTransposed(to.rests, line + 16);
#pragma unroll
      for (int c = 0; c < kSteps; ++c)
        loadTransposed(to.keys[c], &space.keys.rows[k * 16 + lane % 16][c * 16 + lane / 16 * 8]);
    };
    load(0);
#pragma unroll
    for (int k = 0; k < Space::kKeys / 16; ++k) {
      if (k + 1 < Space::kKeys / 16)
        load(k + 1);
      const Step &step = steps[k % 2];
#pragma unroll
      for (int c = 0; c < kSteps; ++c) {
        const uint32_t(&x)[4] = step.keys[c];
        multiplyTiles<S>(sum[2 * c], step.slopes, x[0], x[1]);
        multiplyTiles<S>(sum[2 * c + 1], step.slopes, x[2], x[3]);
        if constexpr (kFew) {
          multiplyTiles<S>(sum[2 * c], step.rests, x[0], x[1]);
          multiplyTiles<S>(sum[2 * c + 1], step.rests, x[2], x[3]);
        }
      }
    }
    if (k0 + Space::kKeys >= call.keys) {
      storeSums(call.dquery, turn.head, turn.query + warp * 16, call.queries, call.scale, sum);
      return;
    }
#pragma unroll
    for (int c = 0; c < kWidth / 8; ++c)
      sums[c * 32] = make_float4(sum[c][0], sum[c][1], sum[c][2], sum[c][3]);
  }

  __device__ void storeSums(const HeadMatrix &m, int h, int first, int64_t rows, float factor,
                            const float (&sum)[kWidth / 8][4]) const {
    S *out =
        const_cast<S *>(at<S>(m, space.batch(), h)) + (first + lane / 4) * m.row + 2 * (lane % 4);
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      if (first + lane / 4 + half * 8 >= rows)
        return;
#pragma unroll
      for (int c = 0; c < kWidth / 8; ++c) {
        uint32_t pair = packed<S>(factor * sum[c][2 * half], factor * sum[c][2 * half + 1]);
        if (8 * c < call.width)
          *reinterpret_cast<uint32_t *>(out + 8 * c) = pair;
      }
      out += 8 * m.row;
    }
  }

  const MmaGradCall &grad;
  const AttentionCall &call;
  Space &space;
  int k0 = 0;
  int lane = kept(threadIdx.x % 32), warp = kept(threadIdx.x / 32);
  GradTurn ahead; ///< whose pair bias is copied next
  int slot = 0;   ///< where that of the present 16 queries is
  RowFragments<S, kWidth> key[kTiles], value[kTiles];
  float terms[kTiles][2];
  float dkey[kTiles][kWidth / 8][4], dvalue[kTiles][kWidth / 8][4];
};

/// Blocks of a multiprocessor: what registers and shared memory hold.
inline constexpr int kHeadGradBlocks = 3;

template <class S, int kWidth, HeadGradKind kKind>
__global__ void __launch_bounds__(kMmaThreads, kHeadGradBlocks)
    headGradKernel(const __grid_constant__ MmaGradCall grad) {
  extern __shared__ __align__(16) std::byte memory[];
  auto &space = *reinterpret_cast<HeadGradSpace<S, kWidth> *>(memory);
  auto groups = static_cast<int>(grad.call.groups);
  int64_t all = grad.call.batches * groups;
  for (int64_t task = blockIdx.x; task < all;) {
    __syncthreads(); // of the last task's sums
    if (threadIdx.x == 0) {
      space.batch() = static_cast<int>(quotient(task, groups));
      space.group() = static_cast<int>(task - quotient(task, groups) * groups);
    }
    HeadGrad<S, kWidth, kKind>(grad, space).run();
    task = static_cast<int64_t>(space.batch()) * groups + space.group() + gridDim.x;
  }
}

} // namespace evo::cuda
