//===- Product.cpp ----------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "runtime/cuda/Product.h"

#include "runtime/cuda/ProductSplit.h"

#include <algorithm>
#include <array>

namespace evo::cuda {

namespace {

using Space = AxisSpace<Product::kOperands>;
constexpr int kA = Product::A, kB = Product::B, kY = Product::Y, kAddend = Product::Addend;

/// Calls of the library for one product beyond which the kernel of our own is quicker.
constexpr int64_t kMostCalls = 256;
/// Calls beyond which copies of the operands are tried first.
constexpr int64_t kFewCalls = 8;

using Axis = ProductAxis;
static_assert(Axis::kOperands == Product::kOperands);

Axis axisOf(const Space &space, int d) {
  Axis axis;
  if (d < 0)
    return axis;
  axis.extent = space.extent[d];
  for (int o = 0; o < Product::kOperands; ++o)
    axis.stride[o] = space.stride[o][d];
  return axis;
}

/// A product whose axes are one each, and the axes that are looped over.
struct Plain {
  Axis m, n, k, batch;
  std::vector<Axis> loops; ///< those of k last
  int64_t sums = 1;        ///< iterations that add to the same y

  ProductPieces pieces() const { return {m, n, k, batch}; }
};

/// How the library would read a column-major matrix of rows x cols.
struct Layout {
  bool readable = false, transposed = false;
  int64_t leading = 1;
};

Layout layoutOf(int64_t rows, int64_t rowStride, int64_t cols, int64_t colStride) {
  auto fits = [](int64_t unit, int64_t unitStride, int64_t other, int64_t otherStride) {
    return (unit == 1 || unitStride == 1) && (other == 1 || otherStride >= unit);
  };
  auto leading = [](int64_t unit, int64_t other, int64_t otherStride) {
    return other == 1 ? std::max<int64_t>(unit, 1) : otherStride;
  };
  if (fits(rows, rowStride, cols, colStride))
    return {true, false, leading(rows, cols, colStride)};
  if (fits(cols, colStride, rows, rowStride))
    return {true, true, leading(cols, rows, rowStride)};
  return {};
}

/// The four matrices as the library sees them; `swapped`: y^T = b a^T, since the library stores
/// columns and y has rows.
struct Reading {
  bool readable = false, swapped = false;
  Layout a, b, d, c;
};

Reading readingOf(const Product &product, const Plain &plain) {
  const Axis &m = plain.m, &n = plain.n, &k = plain.k;
  for (bool swapped : {true, false}) {
    const Axis &rows = swapped ? n : m, &cols = swapped ? m : n;
    int left = swapped ? kB : kA, right = swapped ? kA : kB;
    Reading reading{false,
                    swapped,
                    layoutOf(rows.extent, rows.stride[left], k.extent, k.stride[left]),
                    layoutOf(k.extent, k.stride[right], cols.extent, cols.stride[right]),
                    layoutOf(rows.extent, rows.stride[kY], cols.extent, cols.stride[kY]),
                    layoutOf(rows.extent, rows.stride[kAddend], cols.extent, cols.stride[kAddend])};
    reading.readable =
        reading.a.readable && reading.b.readable && reading.d.readable && !reading.d.transposed;
    if (product.operand[kAddend])
      reading.readable &= reading.c.readable && !reading.c.transposed;
    else
      reading.c = reading.d;
    if (product.bias)
      reading.readable &= swapped && (product.biasStride == 1 || n.extent == 1);
    if (reading.readable)
      return reading;
  }
  return {};
}

/// Takes axis `kept` of a space; the others become loops.
void takeAxes(const Space &space, int kept, Axis &one, std::vector<Axis> &loops) {
  one = axisOf(space, kept);
  for (int d = 0; d < space.rank; ++d)
    if (d != kept)
      loops.push_back(axisOf(space, d));
}

/// Of the ways to choose one axis of each kind, the readable one with the largest products. More
/// than `mostCalls` are none.
bool choosePlain(const Product &product, int64_t mostCalls, Plain &best) {
  int64_t most = 0;
  auto count = [](const Space &space) { return std::max(space.rank, 1); };
  for (int i = 0; i < count(product.m); ++i)
    for (int j = 0; j < count(product.n); ++j)
      for (int l = 0; l < count(product.k); ++l) {
        Plain plain;
        takeAxes(product.m, product.m.rank ? i : -1, plain.m, plain.loops);
        takeAxes(product.n, product.n.rank ? j : -1, plain.n, plain.loops);
        for (int d = 0; d < product.batch.rank; ++d)
          plain.loops.push_back(axisOf(product.batch, d));
        size_t longest = plain.loops.size();
        for (size_t d = 0; d < plain.loops.size(); ++d)
          if (longest == plain.loops.size() || plain.loops[d].extent > plain.loops[longest].extent)
            longest = d;
        if (longest < plain.loops.size()) {
          plain.batch = plain.loops[longest];
          plain.loops.erase(plain.loops.begin() + static_cast<std::ptrdiff_t>(longest));
        }
        takeAxes(product.k, product.k.rank ? l : -1, plain.k, plain.loops);
        for (int d = 0; d < product.k.rank; ++d)
          plain.sums *= d == l ? 1 : product.k.extent[d];
        int64_t calls = 1;
        for (const Axis &loop : plain.loops)
          calls *= std::min(loop.extent, mostCalls + 1);
        bool sumsFit =
            plain.sums * plain.pieces().sums() == 1 ||
            (product.operand[kY].type == plan::DType::F32 && !product.relu && !product.bias);
        int64_t size = plain.m.extent * plain.n.extent;
        if (size > most && sumsFit && calls <= mostCalls && readingOf(product, plain).readable) {
          most = size;
          best = plain;
        }
      }
  return most > 0;
}

cudaDataType_t dataType(plan::DType type) {
  return type == plan::DType::BF16  ? CUDA_R_16BF
         : type == plan::DType::F16 ? CUDA_R_16F
                                    : CUDA_R_32F;
}

/// The power of two, at most 256, that a pointer and its steps are multiples of.
int64_t alignmentOf(const std::byte *data, uint64_t steps) {
  uint64_t bits = reinterpret_cast<uint64_t>(data) | steps | 256;
  return static_cast<int64_t>(bits & (~bits + 1));
}

/// Runs plain products in the library.
class LtProduct {
public:
  /// All calls of the loops have the alignment of the least aligned.
  LtProduct(Context &context, plan::Precision precision, const Product &product,
            const std::vector<Axis> &loops)
      : context(context), precision(precision), product(product) {
    for (const Axis &loop : loops)
      for (size_t o = 0; o < 4; ++o)
        steps[o] |= static_cast<uint64_t>(loop.stride[o] * elementBytes(o));
  }

  /// False: the library cannot; nothing has been enqueued then. `adds`: to what y has.
  Result<bool> run(const Plain &plain, const std::array<std::byte *, 4> &data, bool adds) {
    ProductPieces pieces = plain.pieces();
    for (int64_t i = 0; i < pieces.count(); ++i) {
      ProductPiece piece = pieces.at(i);
      Plain part = plain;
      part.m.extent = piece.m.count, part.n.extent = piece.n.count;
      part.k.extent = piece.k.count, part.batch.extent = piece.batch.count;
      std::array<std::byte *, 4> from = data;
      for (size_t o = 0; o < 4; ++o)
        if (from[o])
          from[o] += piece.offset[o] * elementBytes(o);
      EVO_ASSIGN(bool done, one(part, from, piece.n.first, adds || piece.adds));
      if (!done && i > 0)
        return Status::error(ErrorCode::Internal,
                             "expected cuBLASLt to take every piece of a product, got a refusal of "
                             "piece " +
                                 std::to_string(i));
      if (!done)
        return false;
    }
    return true;
  }

private:
  int64_t elementBytes(size_t o) const { return plan::elementBytes(product.operand[o].type); }

  /// The columns from n0 on; what is added is y itself, or the addend where there is one.
  Result<bool> one(const Plain &plain, const std::array<std::byte *, 4> &data, int64_t n0,
                   bool adds) {
    Reading reading = readingOf(product, plain);
    if (!reading.readable)
      return false;
    const int addend = adds || !data[kAddend] ? kY : kAddend;
    const int order[] = {reading.swapped ? kB : kA, reading.swapped ? kA : kB, kY, addend};
    LtPlan::Key key{};
    key.input = dataType(product.operand[kA].type);
    key.output = dataType(product.operand[kY].type);
    key.compute =
        precision == plan::Precision::Tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F;
    key.transposeA = reading.a.transposed, key.transposeB = reading.b.transposed;
    key.relu = product.relu, key.bias = bool(product.bias), key.addend = adds || data[kAddend];
    key.m = reading.swapped ? plain.n.extent : plain.m.extent;
    key.n = reading.swapped ? plain.m.extent : plain.n.extent;
    key.k = plain.k.extent, key.batches = plain.batch.extent;
    const Layout *layouts[] = {&reading.a, &reading.b, &reading.d,
                               addend == kY ? &reading.d : &reading.c};
    for (int o = 0; o < 4; ++o) {
      auto operand = static_cast<size_t>(order[o]);
      key.leading[o] = layouts[o]->leading;
      key.batchStride[o] = plain.batch.extent > 1 ? plain.batch.stride[operand] : 0;
      auto batchBytes = static_cast<uint64_t>(key.batchStride[o] * elementBytes(operand));
      key.alignment[o] = alignmentOf(data[operand], steps[operand] | batchBytes);
    }
    std::unique_ptr<LtPlan> &found = context.products[key.words()];
    if (!found) {
      EVO_ASSIGN(found, LtPlan::create(context, key));
    }
    if (!found->found())
      return false;
    const std::byte *bias =
        product.bias
            ? product.bias.data + n0 * product.biasStride * plan::elementBytes(product.bias.type)
            : nullptr;
    Status status =
        found->run(context, static_cast<float>(product.factor), data[static_cast<size_t>(order[0])],
                   data[static_cast<size_t>(order[1])],
                   key.addend ? data[static_cast<size_t>(addend)] : nullptr, data[kY], bias);
    if (!status.ok() && status.code() == ErrorCode::Unsupported)
      return false; // what was proposed does not take these pointers
    EVO_TRY(status);
    return true;
  }

  Context &context;
  plan::Precision precision;
  const Product &product;
  uint64_t steps[4] = {}; ///< of the loops, in bytes, or-ed together
};

/// Nothing has been enqueued where the result is false.
Result<bool> multiplyInLibrary(Context &context, plan::Precision precision, const Product &product,
                               int64_t mostCalls) {
  Plain plain;
  if (!choosePlain(product, mostCalls, plain))
    return false;
  int64_t calls = 1;
  for (const Axis &loop : plain.loops)
    calls *= loop.extent;
  for (int64_t call = 0; call < calls; ++call) {
    std::array<std::byte *, 4> data;
    for (size_t o = 0; o < 4; ++o)
      data[o] = product.operand[o].data;
    int64_t rest = call;
    for (size_t d = plain.loops.size(); d-- > 0;) {
      const Axis &loop = plain.loops[d];
      int64_t position = rest % loop.extent;
      rest /= loop.extent;
      for (size_t o = 0; o < 4; ++o)
        if (data[o])
          data[o] += position * loop.stride[o] * plan::elementBytes(product.operand[o].type);
    }
    // Loops of k are the innermost: their calls add to what the first has stored.
    bool adds = call % plain.sums > 0;
    EVO_ASSIGN(bool done,
               LtProduct(context, precision, product, plain.loops).run(plain, data, adds));
    if (!done && call > 0)
      return Status::error(ErrorCode::Internal,
                           "expected cuBLASLt to take every part of a product, got a refusal of "
                           "part " +
                               std::to_string(call));
    if (!done)
      return false;
  }
  return true;
}

/// The spaces that an operand has axes of, as they follow each other in its copy.
std::array<Space Product::*, 3> spacesOf(int operand) {
  return {&Product::batch, operand == kA ? &Product::m : &Product::n, &Product::k};
}

/// Puts `operand` (A or B) at `to`, dense, and lists the axes of its elements. What is broadcast
/// over the batch stays so. False: it has too many axes.
bool describeCopy(Product &product, int operand, std::byte *to, AxisSpace<1> &axes) {
  for (Space Product::*space : spacesOf(operand))
    for (int d = 0; d < (product.*space).rank; ++d) {
      int64_t stride = (product.*space).stride[operand][d];
      if (space == &Product::batch && stride == 0)
        continue;
      if (axes.rank == kMaxAxes)
        return false;
      axes.stride[0][axes.rank] = stride;
      axes.push((product.*space).extent[d]);
    }
  int64_t step = 1;
  auto spaces = spacesOf(operand);
  for (size_t s = spaces.size(); s-- > 0;)
    for (int d = (product.*spaces[s]).rank - 1; d >= 0; --d) {
      int64_t &stride = (product.*spaces[s]).stride[operand][d];
      if (spaces[s] == &Product::batch && stride == 0)
        continue;
      stride = step;
      step *= (product.*spaces[s]).extent[d];
    }
  product.operand[operand].data = to;
  return true;
}

void mergeAxes(Product &product) {
  for (Space *space : {&product.batch, &product.m, &product.n, &product.k})
    space->merge();
}

enum class Copied : uint8_t { Done, TooLarge, Impossible };

/// From dense copies of one operand or both. Nothing has been stored in y where that is not done.
Result<Copied> multiplyCopies(Context &context, plan::Precision precision, const Product &product) {
  Copied result = Copied::Impossible;
  for (auto [copiesA, copiesB] : {std::pair{true, false}, {false, true}, {true, true}}) {
    Product dense = product;
    AxisSpace<1> axes[2];
    if ((copiesA && !describeCopy(dense, kA, context.packed, axes[kA])) ||
        (copiesB && !describeCopy(dense, kB, context.packed + kPackedBytes / 2, axes[kB])))
      continue;
    mergeAxes(dense);
    Plain plain;
    if (!choosePlain(dense, kFewCalls, plain))
      continue;
    int64_t elements = std::max(copiesA ? axes[kA].count() : 0, copiesB ? axes[kB].count() : 0);
    if (elements > kPackedBytes / 2 / plan::elementBytes(product.operand[kA].type)) {
      result = Copied::TooLarge;
      continue;
    }
    for (int o : {kA, kB})
      if (o == kA ? copiesA : copiesB)
        EVO_TRY(packMatrix(context, product.operand[o].type, axes[o], product.operand[o].data,
                           dense.operand[o].data));
    EVO_ASSIGN(bool done, multiplyInLibrary(context, precision, dense, kFewCalls));
    if (done)
      return Copied::Done;
  }
  return result;
}

/// The longest axis that a product can be cut along such that its parts are products that add to
/// nothing of each other but, where y keeps sums, along k.
bool longestAxis(const Product &product, Space Product::*&longest, int &axis) {
  int64_t most = 1;
  for (Space Product::*space : {&Product::batch, &Product::m, &Product::n, &Product::k}) {
    bool sums = space == &Product::k;
    if ((sums && (product.operand[kY].type != plan::DType::F32 || product.relu || product.bias)) ||
        (space == &Product::n && product.bias))
      continue;
    for (int d = 0; d < (product.*space).rank; ++d)
      if ((product.*space).extent[d] > most) {
        most = (product.*space).extent[d];
        longest = space, axis = d;
      }
  }
  return most > 1;
}

/// Whether copies are worth while: the kernel for any strides computes in fp32.
bool isWorthCopies(const Product &product) {
  return static_cast<double>(product.batch.count()) * static_cast<double>(product.m.count()) *
             static_cast<double>(product.n.count()) * static_cast<double>(product.k.count()) >
         1e6;
}

Status multiplyMerged(Context &context, plan::Precision precision, const Product &product);

/// Two parts, one after the other.
Status multiplyHalves(Context &context, plan::Precision precision, const Product &product,
                      Space Product::*space, int axis) {
  Product first = product, second = product;
  int64_t whole = (product.*space).extent[axis], half = whole / 2;
  (first.*space).extent[axis] = half;
  (second.*space).extent[axis] = whole - half;
  for (int o = 0; o < Product::kOperands; ++o)
    if (second.operand[o])
      second.operand[o].data +=
          half * (product.*space).stride[o][axis] * plan::elementBytes(second.operand[o].type);
  if (space == &Product::k) {
    second.operand[kAddend] = second.operand[kY];
    for (Space *each : {&second.batch, &second.m, &second.n})
      std::copy(each->stride[kY], each->stride[kY] + kMaxAxes, each->stride[kAddend]);
  }
  EVO_TRY(multiplyMerged(context, precision, first));
  return multiplyMerged(context, precision, second);
}

Status multiplyMerged(Context &context, plan::Precision precision, const Product &product) {
  if (product.k.count() == 0)
    return multiplyStrided(context, product);
  EVO_ASSIGN(bool done, multiplyInLibrary(context, precision, product, kFewCalls));
  if (done)
    return {};
  if (isWorthCopies(product)) {
    EVO_ASSIGN(Copied copied, multiplyCopies(context, precision, product));
    Space Product::*space = nullptr;
    int axis = 0;
    if (copied == Copied::Done)
      return {};
    if (copied == Copied::TooLarge && longestAxis(product, space, axis))
      return multiplyHalves(context, precision, product, space, axis);
  }
  EVO_ASSIGN(done, multiplyInLibrary(context, precision, product, kMostCalls));
  return done ? Status::success() : multiplyStrided(context, product);
}

} // namespace

Status multiply(Context &context, plan::Precision precision, Product product) {
  for (Space *space : {&product.batch, &product.m, &product.n, &product.k}) {
    for (int o = 0; o < Product::kOperands; ++o)
      if (!product.operand[o])
        for (int64_t &stride : space->stride[o])
          stride = 0;
  }
  mergeAxes(product);
  if (product.batch.count() * product.m.count() * product.n.count() == 0)
    return {};
  return multiplyMerged(context, precision, product);
}

Status multiplyBatches(const Launch &launch, const Operand &a, const Operand &b,
                       const Operand &accumulator, const Operand &y) {
  Product product;
  product.set(Product::A, a);
  product.set(Product::B, b);
  product.set(Product::Addend, accumulator);
  product.set(Product::Y, y);
  product.factor = launch.attributes->factor;
  Product::addAxis(product.batch, y.shape[0], a.strides[0], b.strides[0], y.strides[0],
                   accumulator.strides[0]);
  Product::addAxis(product.m, y.shape[1], a.strides[1], 0, y.strides[1], accumulator.strides[1]);
  Product::addAxis(product.n, y.shape[2], 0, b.strides[1], y.strides[2], accumulator.strides[2]);
  Product::addAxis(product.k, a.shape[2], a.strides[2], b.strides[2], 0);
  return multiply(*launch.context, launch.precision, product);
}

} // namespace evo::cuda
