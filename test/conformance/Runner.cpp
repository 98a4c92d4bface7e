//===- Runner.cpp ---------------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "test/conformance/Runner.h"

#include "runtime/core/Convert.h"
#include "test/conformance/Backends.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <numeric>
#include <random>

namespace evo::conformance {

namespace {

using plan::DType;

/// Elements around each view: an odd number of them, or one that leaves it aligned.
int64_t guardOf(const KernelCase &testCase) { return testCase.aligned ? 256 : 37; }

/// Axes from the outermost in memory to the innermost.
std::vector<size_t> memoryOrder(size_t rank, Layout layout) {
  std::vector<size_t> order(rank);
  std::iota(order.begin(), order.end(), size_t(0));
  if (layout == Layout::SwapInner && rank >= 2)
    std::swap(order[rank - 1], order[rank - 2]);
  if (layout == Layout::SwapOuter && rank >= 2)
    std::swap(order[0], order[1]);
  if (layout == Layout::FirstInner)
    std::rotate(order.begin(), order.begin() + (rank ? 1 : 0), order.end());
  if (layout == Layout::LastOuter && rank)
    std::rotate(order.begin(), order.end() - 1, order.end());
  return order;
}

std::vector<int64_t> stridesOf(const std::vector<int64_t> &shape, Layout layout) {
  std::vector<int64_t> strides(shape.size());
  std::vector<size_t> order = memoryOrder(shape.size(), layout);
  int64_t step = layout == Layout::Spaced ? 2 : 1;
  for (size_t i = order.size(); i-- > 0;) {
    strides[order[i]] = step;
    int64_t extent = shape[order[i]];
    if (i + 1 == order.size() && layout == Layout::Padded)
      extent += 3;
    if (i + 1 == order.size() && layout == Layout::Slice)
      extent = 2 * extent + 1;
    if (i + 1 == order.size() && layout == Layout::Eights)
      extent = (extent + 7) / 8 * 8;
    step *= extent;
  }
  if (layout == Layout::Broadcast && !strides.empty())
    strides[0] = 0;
  return strides;
}

/// Calls body(element offset) for every element of a view in row-major order.
template <class Body> void forEachElement(const TensorRef &view, const Body &body) {
  std::array<int64_t, plan::kMaxRank> index{};
  for (int d = 0; d < view.rank; ++d)
    if (view.shape[size_t(d)] == 0)
      return;
  int64_t offset = 0;
  for (int axis = 0; axis >= 0;) {
    body(offset);
    for (axis = view.rank - 1; axis >= 0; --axis) {
      auto d = size_t(axis);
      offset += view.strides[d];
      if (++index[d] < view.shape[d])
        break;
      offset -= view.strides[d] * view.shape[d];
      index[d] = 0;
    }
  }
}

void store(std::byte *data, DType type, double value) { storeDoubles({&value, 1}, type, data); }

bool isHalf(DType type) { return type == DType::BF16 || type == DType::F16; }

/// What may be of either type is one or the other by case and operand; the same one as the input
/// whose place it takes.
DType operandType(const KernelCase &testCase, size_t index, plan::Precision precision) {
  const plan::KernelInfo &info = plan::kernelInfo(testCase.kernel);
  const plan::OperandInfo &operand = info.operands[index];
  DType storage = plan::storageType(precision), statistic = plan::statisticType(precision);
  if (operand.type != plan::OperandType::Either)
    return operand.type == plan::OperandType::Statistic ? statistic : storage;
  if (testCase.inPlace && !operand.mayAlias.empty())
    return operandType(testCase, size_t(info.operandIndex(operand.mayAlias)), precision);
  return testCase.seed >> index & 1 ? statistic : storage;
}

class Random {
public:
  explicit Random(uint64_t seed) : engine(seed) {}
  double draw(Fill fill, int64_t index, int64_t columns) {
    switch (fill) {
    case Fill::Large:
      return 30 * normal(engine);
    case Fill::Offset:
      return 1000 + normal(engine);
    case Fill::Mask:
      return index / columns % 3 == 2 || uniform(engine) < 0.4 ? 0 : 1;
    case Fill::RealMask:
      return uniform(engine);
    case Fill::LateMask:
      return 3 * (index % columns) >= 2 * columns ? 1 : 0;
    case Fill::Weight:
      return normal(engine) / std::sqrt(double(columns));
    case Fill::Square: {
      double root = normal(engine);
      return root * root;
    }
    case Fill::NanRows:
      return index / columns % 5 == 2 ? std::nan("") : normal(engine);
    case Fill::Wild:
      return wild(index);
    case Fill::Scalars:
      return std::array{8., 1999., 5., 0.}.at(size_t(index));
    case Fill::Overflow:
      return std::array{8., 7., 5., 3.}.at(size_t(index));
    case Fill::Normal:
      break;
    }
    return normal(engine);
  }

private:
  double wild(int64_t index) {
    constexpr double kInfinity = std::numeric_limits<double>::infinity();
    if (index % 7 == 3)
      return std::numeric_limits<double>::quiet_NaN();
    return index % 11 == 5 ? kInfinity : index % 13 == 6 ? -kInfinity : normal(engine);
  }

  std::mt19937_64 engine;
  std::normal_distribution<double> normal;
  std::uniform_real_distribution<double> uniform{0, 1};
};

Placement::Buffer makeBuffer(const OperandCase &operand, DType type, int64_t guard) {
  Placement::Buffer buffer;
  buffer.view.dtype = type;
  buffer.view.rank = static_cast<int>(operand.shape.size());
  std::vector<int64_t> strides = stridesOf(operand.shape, operand.layout);
  std::copy(operand.shape.begin(), operand.shape.end(), buffer.view.shape.begin());
  std::copy(strides.begin(), strides.end(), buffer.view.strides.begin());
  int64_t span = 1;
  for (size_t d = 0; d < strides.size(); ++d)
    span += std::max<int64_t>(operand.shape[d] - 1, 0) * strides[d];
  int64_t bytes = plan::elementBytes(type), elements = span + 2 * guard;
  buffer.start = guard * bytes;
  buffer.bytes.resize(size_t(elements * bytes));
  buffer.inView.resize(size_t(elements));
  std::array<std::byte, sizeof(double)> poison{};
  store(poison.data(), type, std::numeric_limits<double>::quiet_NaN());
  for (int64_t i = 0; i < elements; ++i)
    std::memcpy(buffer.bytes.data() + i * bytes, poison.data(), size_t(bytes));
  forEachElement(buffer.view,
                 [&](int64_t offset) { buffer.inView[size_t(offset + guard)] = true; });
  return buffer;
}

/// Values of keys that are masked, in batches that have others, become huge.
void enlargeMaskedValues(const KernelCase &testCase, DType type,
                         std::vector<DenseTensor> &operands) {
  double huge = rounded(type == DType::F16 ? 6e4 : 1e38, type);
  DenseTensor &value = operands[2];
  const DenseTensor &mask = operands[4];
  if (!mask.present)
    return;
  for (int64_t b = 0; b < mask.shape[0]; ++b) {
    double largest = 0;
    for (int64_t k = 0; k < mask.shape[1]; ++k)
      largest = std::max(largest, mask(b, k));
    for (int64_t k = 0; k < mask.shape[1]; ++k)
      for (int64_t c = 0; largest == 1 && mask(b, k) == 0 && c < value.shape[2]; ++c)
        value(b, k, c) = huge;
  }
}

/// Equal slices where the operand is a broadcast.
void repeatFirst(const OperandCase &operand, DenseTensor &tensor) {
  if (operand.layout != Layout::Broadcast || operand.shape.empty() || operand.shape[0] == 0)
    return;
  int64_t slice = tensor.count() / operand.shape[0];
  for (int64_t i = slice; i < tensor.count(); ++i)
    tensor.data[size_t(i)] = tensor.data[size_t(i % slice)];
}

DenseTensor drawOperand(const OperandCase &operand, DType type, Random &random) {
  DenseTensor tensor;
  tensor.present = operand.present;
  tensor.shape = operand.shape;
  if (!operand.present)
    return tensor;
  tensor.data.resize(size_t(tensor.count()));
  int64_t columns = operand.shape.empty() ? 1 : std::max<int64_t>(operand.shape.back(), 1);
  for (int64_t i = 0; i < tensor.count(); ++i)
    tensor.data[size_t(i)] = rounded(random.draw(operand.fill, i, columns), type);
  repeatFirst(operand, tensor);
  return tensor;
}

/// The o and lse of `attention_grad` are those of `attention`, but for rounding and broadcasts.
void deriveFromForward(const KernelCase &testCase, plan::Precision precision,
                       std::vector<DenseTensor> &operands) {
  if (testCase.kernel != plan::Kernel::AttentionGrad)
    return;
  std::vector<DenseTensor> forward(operands.begin(), operands.begin() + 7);
  runReference(plan::Kernel::Attention, testCase.attributes, forward);
  for (size_t i : {5, 6}) {
    for (size_t e = 0; e < forward[i].data.size(); ++e)
      operands[i].data[e] = rounded(forward[i].data[e], operandType(testCase, i, precision));
    repeatFirst(testCase.operands[i], operands[i]);
  }
}

/// Masked logits are of the order of `inf` and would hide the others.
constexpr double kLarge = 1e6;

/// The scale that an output's errors are measured by, beside the element itself.
double typicalMagnitude(const std::vector<double> &values) {
  double squares = 0;
  int64_t count = 0;
  for (double value : values)
    if (std::abs(value) < kLarge)
      squares += value * value, ++count;
  return count ? std::sqrt(squares / double(count)) : 0;
}

/// Whether `got` is what a kernel may store for `want` with an error of `bound` in its arithmetic.
/// In bf16 and fp16, whose kernels compute in fp32 and round once: one of the values that lie
/// between the two ends of the error rounded, which for an exact sum is one value, and for one past
/// the largest of the type an infinity. Of a NaN a NaN.
bool mayStand(double got, double want, double bound, DType type) {
  if (std::isnan(want))
    return std::isnan(got);
  if (!isHalf(type))
    return std::abs(got - want) <= bound;
  return rounded(want - bound, type) <= got && got <= rounded(want + bound, type);
}

/// The kernels that round factors to 11 bits in tf32 on some device. Fused attention computes in
/// fp32, and the sums of an outer product's norm are of 0 and 1, which stay as they are.
bool multiplies(plan::Kernel kernel) {
  switch (kernel) {
  case plan::Kernel::Linear:
  case plan::Kernel::GatedLinear:
  case plan::Kernel::AttentionLogits:
  case plan::Kernel::AttentionValues:
  case plan::Kernel::AttentionLogitsGrad:
  case plan::Kernel::AttentionValuesGrad:
  case plan::Kernel::OuterProduct:
  case plan::Kernel::OuterProductMean:
  case plan::Kernel::OuterProductGrad:
  case plan::Kernel::BatchMatmul:
  case plan::Kernel::BatchMatmulGrad:
  case plan::Kernel::WeightGrad:
    return true;
  default:
    return false;
  }
}

/// By how much of their size results may be off. The sums' own rounding grows with their length and
/// with what the data makes of it; that of tf32's factors, 2^-10 where it cuts them off, is of the
/// terms by chance and of the sum in the mean: no more for very long sums than for long ones.
double relativeTolerance(const KernelCase &testCase, plan::Precision precision, DType type) {
  if (testCase.kernel == plan::Kernel::Copy)
    return 0;
  // Of the type that is computed with: bf16 and fp16 add no more than the rounding of the result.
  double eps = type == DType::F64 ? std::numeric_limits<double>::epsilon()
                                  : double(std::numeric_limits<float>::epsilon());
  // 1 / (1 - rate) is rounded to the element's type once, and which elements are 0 is exact.
  if (testCase.kernel == plan::Kernel::DropoutMask)
    return eps;
  double length = std::sqrt(double(reductionLength(testCase)));
  double factors = precision == plan::Precision::Tf32 && multiplies(testCase.kernel)
                       ? 6 * 0x1p-11 * std::min(length, 4.0)
                       : 0;
  return factors + 6 * eps * length * testCase.conditioning;
}

/// Half a step of a half type, relative; 0 of other types.
double roundingOf(plan::Precision precision) {
  return precision == plan::Precision::Bf16   ? 0x1p-9
         : precision == plan::Precision::Fp16 ? 0x1p-12
                                              : 0;
}

/// What the rounding of terms makes of their sums, in roundings of the outputs' size. With the
/// weights of attention, their gradients and the outer product rounded in the reference, the worst
/// element of all cases is off by up to 17 of its own and the typical size together, as a few rows
/// are much larger than the typical one, and outputs of many elements by up to 2.6 in the mean;
/// only large logits, which have a conditioning, make more.
constexpr double kWorstRounding = 24, kMeanRounding = 4;
constexpr size_t kManyElements = 64;

std::string compareOutput(const KernelCase &testCase, plan::Precision precision, bool roundsBetween,
                          size_t index, const DenseTensor &expected,
                          const Placement::Buffer &buffer, const std::vector<std::byte> &after) {
  DType type = buffer.view.dtype;
  double tolerance = relativeTolerance(testCase, precision, type);
  // A norm is positive and spans decades, and a mask is exact: each element by itself.
  bool alone = testCase.kernel == plan::Kernel::OuterProductNorm ||
               testCase.kernel == plan::Kernel::DropoutMask;
  double typical = alone ? 0 : typicalMagnitude(expected.data);
  // A row's mean is a sum of terms of the order of 1 that may cancel; there may be no other row.
  double magnitude = testCase.magnitude;
  if (testCase.kernel == plan::Kernel::LayerNorm &&
      plan::kernelInfo(testCase.kernel).operands[index].name == "mean")
    magnitude = 1;
  // So is a result of few elements: no other element tells how large its terms are.
  constexpr size_t kFew = 8;
  double ofTerms = typical;
  if (expected.data.size() < kFew && !alone)
    magnitude = std::max(magnitude, 1.0), ofTerms = std::max(typical, 1.0);
  double rounding = roundsBetween ? roundingOf(precision) : 0, squares = 0;
  double between = kWorstRounding * rounding;
  std::string problems;
  int64_t i = 0, wrong = 0, finite = 0;
  forEachElement(buffer.view, [&](int64_t offset) {
    double want = expected.data[size_t(i)];
    double got = loadElement(after.data() + buffer.start + offset * plan::elementBytes(type), type);
    double bound = tolerance * (std::abs(want) + std::max(typical, magnitude)) +
                   between * (std::abs(want) + ofTerms);
    if (std::abs(want) < kLarge && !std::isinf(got)) // which the bound is for
      squares += (got - want) * (got - want), ++finite;
    if (!mayStand(got, want, bound, type) && wrong++ < 3)
      problems += "operand " + std::to_string(index) + " element " + std::to_string(i) +
                  ": expected " + std::to_string(want) + ", got " + std::to_string(got) +
                  ", off by " + std::to_string(std::abs(got - want) / bound) + " tolerances\n";
    ++i;
  });
  if (wrong > 3)
    problems += "and " + std::to_string(wrong - 3) + " of " + std::to_string(i) + " more\n";
  double mean = std::sqrt(squares / double(std::max<int64_t>(finite, 1)));
  // What is stored is rounded as well, and by half the least step where fp16 has no smaller ones.
  double mostMean = (type == DType::F16 ? 0x1p-25 : 0) + tolerance * std::max(typical, magnitude) +
                    kMeanRounding * rounding * typical;
  if (rounding > 0 && expected.data.size() >= kManyElements && !(mean <= mostMean))
    problems += "operand " + std::to_string(index) + ": off by " + std::to_string(mean) +
                " in the mean (root of squares), expected at most " + std::to_string(mostMean) +
                "\n";
  return problems;
}

/// Stores `factor` times the tensor in the buffer's view of `bytes`.
void storeInView(const Placement::Buffer &buffer, const DenseTensor &tensor, double factor,
                 std::vector<std::byte> &bytes) {
  DType type = buffer.view.dtype;
  size_t at = 0;
  forEachElement(buffer.view, [&](int64_t offset) {
    store(bytes.data() + buffer.start + offset * plan::elementBytes(type), type,
          factor * tensor.data[at++]);
  });
}

} // namespace

double rounded(double value, DType type) {
  switch (type) {
  case DType::F64:
    return value;
  case DType::F32:
    return double(float(value));
  case DType::F16:
    return halfToDouble(roundToHalf(value));
  case DType::BF16:
    break;
  }
  return bfloat16ToDouble(roundToBFloat16(value));
}

double loadElement(const std::byte *data, DType type) {
  double value = 0;
  convertElements(hostTypeOf(type), data, DType::F64, reinterpret_cast<std::byte *>(&value), 1);
  return value;
}

Placement place(const KernelCase &testCase, plan::Precision precision) {
  const plan::KernelInfo &info = plan::kernelInfo(testCase.kernel);
  Random random(testCase.seed * 0x9E3779B97F4A7C15ull);
  Placement placement;
  placement.precision = precision;
  for (size_t i = 0; i < info.operands.size(); ++i)
    placement.operands.push_back(
        drawOperand(testCase.operands[i], operandType(testCase, i, precision), random));
  if (testCase.hugeIfMasked)
    enlargeMaskedValues(testCase, plan::storageType(precision), placement.operands);
  deriveFromForward(testCase, precision, placement.operands);
  for (size_t i = 0; i < info.operands.size(); ++i) {
    Placement::Buffer buffer =
        makeBuffer(testCase.operands[i], operandType(testCase, i, precision), guardOf(testCase));
    buffer.sharedWith = i;
    int alias =
        info.operands[i].mayAlias.empty() ? -1 : info.operandIndex(info.operands[i].mayAlias);
    if (testCase.inPlace && alias >= 0 && testCase.operands[size_t(alias)].present) {
      buffer.view = placement.buffers[size_t(alias)].view;
      buffer.sharedWith = size_t(alias);
    }
    if (!info.operands[i].isOutput() && testCase.operands[i].present)
      storeInView(buffer, placement.operands[i], 1, buffer.bytes);
    placement.buffers.push_back(std::move(buffer));
  }
  return placement;
}

std::vector<std::vector<std::byte>> scaledOutput(const KernelCase &testCase,
                                                 const Placement &placement,
                                                 const std::vector<DenseTensor> &expected,
                                                 size_t scaled, double factor) {
  std::vector<std::vector<std::byte>> after;
  for (const Placement::Buffer &buffer : placement.buffers)
    after.push_back(buffer.bytes);
  for (size_t i = 0; i < placement.buffers.size(); ++i)
    if (plan::kernelInfo(testCase.kernel).operands[i].isOutput() && testCase.operands[i].present)
      storeInView(placement.buffers[i], expected[i], i == scaled ? factor : 1,
                  after[placement.buffers[i].sharedWith]);
  return after;
}

Status launchCase(Backend &backend, const KernelCase &testCase, plan::Precision precision,
                  std::span<const TensorRef> operands) {
  EVO_TRY(poisonWorkspace(backend));
  EVO_TRY(backend.launch(
      KernelCall{testCase.kernel, precision, &testCase.attributes, operands, testCase.dropout}));
  return backend.synchronize();
}

Result<std::vector<std::vector<std::byte>>> runCase(Backend &backend, const KernelCase &testCase,
                                                    const Placement &placement,
                                                    plan::Precision precision) {
  // Where operands lie apart, a checker of memory sees accesses that leave one; where they lie
  // together, as in a plan's arena, a case takes two copies.
  const bool apart = std::getenv("EVO_CONFORMANCE_APART") != nullptr;
  std::vector<std::vector<std::byte>> blobs(apart ? placement.buffers.size() : 1);
  std::vector<std::pair<size_t, int64_t>> places; // of each buffer: its blob, its start in bytes
  for (size_t i = 0; i < placement.buffers.size(); ++i) {
    std::vector<std::byte> &blob = blobs[apart ? i : 0];
    const std::vector<std::byte> &bytes = placement.buffers[i].bytes;
    blob.resize((blob.size() + size_t(plan::kAlignment) - 1) / size_t(plan::kAlignment) *
                size_t(plan::kAlignment));
    places.emplace_back(apart ? i : 0, int64_t(blob.size()));
    blob.insert(blob.end(), bytes.begin(), bytes.end());
  }
  std::vector<std::unique_ptr<DeviceMemory>> memory;
  for (const std::vector<std::byte> &blob : blobs) {
    EVO_ASSIGN(memory.emplace_back(), backend.allocate(int64_t(blob.size())));
    EVO_TRY(backend.upload(memory.back()->data(), blob.data(), int64_t(blob.size())));
  }
  std::vector<TensorRef> refs;
  for (size_t i = 0; i < placement.buffers.size(); ++i) {
    const Placement::Buffer &buffer = placement.buffers[i];
    auto [blob, start] = places[buffer.sharedWith];
    TensorRef ref = buffer.view;
    ref.data = testCase.operands[i].present ? memory[blob]->data() + start + buffer.start : nullptr;
    refs.push_back(ref);
  }
  EVO_TRY(launchCase(backend, testCase, precision, refs));
  for (size_t i = 0; i < blobs.size(); ++i)
    EVO_TRY(backend.download(blobs[i].data(), memory[i]->data(), int64_t(blobs[i].size())));
  std::vector<std::vector<std::byte>> after;
  for (size_t i = 0; i < placement.buffers.size(); ++i) {
    auto [blob, start] = places[i];
    auto first = blobs[blob].begin() + start;
    after.emplace_back(first, first + int64_t(placement.buffers[i].bytes.size()));
  }
  return after;
}

std::string compareCase(const KernelCase &testCase, const Placement &placement,
                        const std::vector<DenseTensor> &expected,
                        const std::vector<std::vector<std::byte>> &after, bool roundsBetween) {
  const plan::KernelInfo &info = plan::kernelInfo(testCase.kernel);
  std::vector<bool> written(placement.buffers.size());
  std::string problems;
  for (size_t i = 0; i < placement.buffers.size(); ++i)
    if (info.operands[i].isOutput() && testCase.operands[i].present) {
      const Placement::Buffer &buffer = placement.buffers[i];
      written[buffer.sharedWith] = true;
      problems += compareOutput(testCase, placement.precision, roundsBetween, i, expected[i],
                                buffer, after[buffer.sharedWith]);
    }
  for (size_t i = 0; i < placement.buffers.size(); ++i) {
    const Placement::Buffer &buffer = placement.buffers[i];
    auto bytes = size_t(plan::elementBytes(buffer.view.dtype));
    bool changed = false;
    for (size_t e = 0; e < buffer.inView.size(); ++e)
      if (!(written[i] && buffer.inView[e]))
        changed |= std::memcmp(&buffer.bytes[e * bytes], &after[i][e * bytes], bytes) != 0;
    if (changed)
      problems +=
          "operand " + std::to_string(i) + ": expected bytes outside the outputs unchanged\n";
  }
  return problems;
}

} // namespace evo::conformance
