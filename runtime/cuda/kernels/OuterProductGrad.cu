//===- OuterProductGrad.cu -----------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// da[s,i,c] = factor sum_{j,d} dout[i,j,(c,d)] b[s,j,d];
// db[s,j,d] = accumulator[s,j,d] + factor sum_{i,c} dout[i,j,(c,d)] a[s,i,c]; db may be the
// accumulator.
//
// Half types whose c and d lie together in eights are multiplied where they lie (OuterHopper.cu,
// OuterMma.cuh). Otherwise dout is brought to (i, c) x (j, d) in scratch, some i at a time, for
// which both are one product. Where the rows of one i do not fit, it is read where it lies.
//===----------------------------------------------------------------------===//
#include "runtime/cuda/kernels/OuterBox.cuh"
#include "runtime/cuda/kernels/OuterHopper.h"

namespace evo::cuda {

namespace {

/// dout of some i, with the strides of its axes.
struct Slopes {
  Product::Matrix matrix;
  int64_t first, count; ///< of i
  int64_t i, j, c, d;   ///< strides
};

/// An operand [s, i, c] from a row s and an i on.
Product::Matrix from(const Operand &o, int64_t s, int64_t i) {
  return {o ? o.data + (s * o.strides[0] + i * o.strides[1]) * plan::elementBytes(o.type) : nullptr,
          o.type};
}

/// Some rows of da, of the rows of b.
Status gradOfA(const Launch &launch, const Slopes &slopes, const Operand &b, int64_t firstS) {
  const Operand &da = launch.operands[4];
  Product product;
  product.set(Product::A, b);
  product.operand[Product::B] = slopes.matrix;
  product.operand[Product::Y] = from(da, firstS, slopes.first);
  product.factor = launch.attributes->factor;
  Product::addAxis(product.m, b.shape[0], b.strides[0], 0, da.strides[0]);
  Product::addAxis(product.n, slopes.count, 0, slopes.i, da.strides[1]);
  Product::addAxis(product.n, da.shape[2], 0, slopes.c, da.strides[2]);
  Product::addAxis(product.k, b.shape[1], b.strides[1], slopes.j, 0);
  Product::addAxis(product.k, b.shape[2], b.strides[2], slopes.d, 0);
  return multiply(*launch.context, launch.precision, product);
}

/// Some rows of db, of the rows of a, which has the i of the slopes.
Status gradOfB(const Launch &launch, const Slopes &slopes, const Operand &a, const Operand &base,
               int64_t firstS) {
  const Operand &db = launch.operands[5];
  Product product;
  product.set(Product::A, a);
  product.operand[Product::B] = slopes.matrix;
  product.operand[Product::Y] = from(db, firstS, 0);
  product.operand[Product::Addend] = from(base, firstS, 0);
  product.factor = launch.attributes->factor;
  Product::addAxis(product.m, a.shape[0], a.strides[0], 0, db.strides[0], base.strides[0]);
  Product::addAxis(product.n, db.shape[1], 0, slopes.j, db.strides[1], base.strides[1]);
  Product::addAxis(product.n, db.shape[2], 0, slopes.d, db.strides[2], base.strides[2]);
  Product::addAxis(product.k, slopes.count, a.strides[1], slopes.i, 0);
  Product::addAxis(product.k, a.shape[2], a.strides[2], slopes.c, 0);
  return multiply(*launch.context, launch.precision, product);
}

/// Both of all rows s, as many at a time as can be packed.
template <class S>
Status gradOfSlopes(const Launch &launch, const Slopes &slopes, const Operand &base) {
  const Operand &a = launch.operands[0], &b = launch.operands[1];
  int64_t width = std::max(slopes.count * a.shape[2], b.shape[1] * b.shape[2]), rows = a.shape[0];
  int64_t most = kPackBytes / std::max<int64_t>(1, width * static_cast<int64_t>(sizeof(S)));
  if (most < 1 || (isPacked(a) && isPacked(b)))
    most = std::max<int64_t>(1, rows);
  for (int64_t s = 0; s < std::max<int64_t>(1, rows); s += most) {
    int64_t count = std::min(most, rows - s);
    Operand left = a, right = b;
    EVO_TRY(packPart<S>(launch, left, s, count, slopes.first, slopes.count, 0));
    EVO_TRY(packPart<S>(launch, right, s, count, 0, b.shape[1], 1));
    EVO_TRY(gradOfA(launch, slopes, right, s));
    EVO_TRY(gradOfB(launch, slopes, left, base, s));
  }
  return {};
}

/// On tensor cores, where the operands lie as they need it; else `done` stays false.
template <class S> Status gradOnTensorCores(const Launch &launch, bool &done) {
  const Operand &a = launch.operands[0], &b = launch.operands[1], &dout = launch.operands[2];
  const Operand &accumulator = launch.operands[3], &da = launch.operands[4];
  const Operand &db = launch.operands[5];
  int64_t c = a.shape[2], d = b.shape[2];
  MmaAxis slopeRows = MmaAxis::of(a.shape[1], dout.strides[0], c, d * dout.strides[2]);
  MmaAxis slopeCols = MmaAxis::of(b.shape[1], dout.strides[1], d, dout.strides[2]);
  OuterMmaCall ofA{}, ofB{};
  ofA.a = {b.data, rowsOf(b), channelsOf(b)}, ofA.b = {dout.data, slopeRows, slopeCols};
  ofA.y = da.data, ofA.rows[0] = rowsOf(da), ofA.cols[0] = channelsOf(da);
  ofB.a = {a.data, rowsOf(a), channelsOf(a)}, ofB.b = {dout.data, slopeCols, slopeRows};
  ofB.isStatistic = isStatistic<S>(db.type);
  ofB.y = db.data, ofB.rows[0] = rowsOf(db), ofB.cols[0] = channelsOf(db);
  if (accumulator) {
    ofB.addend = accumulator.data;
    ofB.rows[1] = rowsOf(accumulator), ofB.cols[1] = channelsOf(accumulator);
  }
  ofA.factor = ofB.factor = static_cast<float>(launch.attributes->factor);
  if (!describeOuter(ofA, false, false) || !describeOuter(ofB, false, true))
    return {};
  EVO_TRY((launchOuterHopper<S, OuterKind::LeftGrad>(launch, ofA, a, b, dout, done)));
  if (!done) {
    sharePart(launch, ofA);
    EVO_TRY((launchOuterGradMma<S, false>(launch, ofA, done)));
  }
  if (!done)
    return {};
  EVO_TRY((launchOuterHopper<S, OuterKind::RightGrad>(launch, ofB, a, b, dout, done)));
  if (!done) {
    sharePart(launch, ofB);
    EVO_TRY((launchOuterGradMma<S, true>(launch, ofB, done)));
  }
  return {};
}

} // namespace

template <class S> Status launchOuterProductGrad(const Launch &launch) {
  const Operand &a = launch.operands[0], &b = launch.operands[1], &dout = launch.operands[2];
  const Operand &accumulator = launch.operands[3], &db = launch.operands[5];
  if constexpr (kIsHalf<S>) {
    bool done = false;
    EVO_TRY(gradOnTensorCores<S>(launch, done));
    if (done)
      return {};
  }
  int64_t c = a.shape[2], d = b.shape[2], width = b.shape[1] * d, all = a.shape[1];
  int64_t most =
      kScratchBytes / 2 / static_cast<int64_t>(sizeof(S)) / std::max<int64_t>(1, c * width);
  if (most < 1 || isEmpty(dout)) {
    OuterStrides own = OuterStrides::tensor(dout, d);
    Slopes slopes{{dout.data, dout.type}, 0, all, own.i, own.j, own.c, own.d};
    return gradOfSlopes<S>(launch, slopes, accumulator);
  }
  for (int64_t first = 0; first < all; first += most) {
    int64_t count = std::min(most, all - first);
    const std::byte *own = dout.data + first * dout.strides[0] * plan::elementBytes(dout.type);
    OuterStrides to = OuterStrides::matrix(b.shape[1], c, d);
    EVO_TRY(copyOuter<S>(launch, {count, b.shape[1], c, d}, own, OuterStrides::tensor(dout, d),
                         launch.context->scratch, to));
    Slopes slopes{{launch.context->scratch, dout.type}, first, count, to.i, to.j, to.c, to.d};
    EVO_TRY(gradOfSlopes<S>(launch, slopes, first == 0 ? accumulator : db));
  }
  return {};
}

EVO_CUDA_INSTANTIATE(OuterProductGrad)

} // namespace evo::cuda
