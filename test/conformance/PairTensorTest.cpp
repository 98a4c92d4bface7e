//===- PairTensorTest.cpp -------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// Kernels of pair tensors of more than 2^31 elements, each of which is there: all rows are 0 but a
// few next to the ends and to the borders of 32 bits, on which the reference, which has those rows
// alone, must agree. Rows of 0 add nothing to a sum over rows. Skipped where a device has no room.
//===----------------------------------------------------------------------===//
#include "test/conformance/Backends.h"
#include "test/conformance/CaseBuilder.h"
#include "test/conformance/Runner.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <iostream>
#include <set>

namespace evo::conformance {

namespace {

using plan::Kernel;
using plan::Precision;

/// Residues, and channels of a pair.
struct PairSize {
  int64_t residues, channels;
  int64_t pairs() const { return residues * residues; }

  /// The pairs that are not 0.
  std::vector<int64_t> filled() const {
    std::set<int64_t> found;
    for (int64_t element : {int64_t{0}, int64_t{1} << 31, int64_t{1} << 32, pairs() * channels})
      for (int64_t step : {-65, -64, -1, 0, 1, 64})
        if (int64_t pair = element / channels + step; pair >= 0 && pair < pairs())
          found.insert(pair);
    found.insert(residues - 1), found.insert(residues);
    return {found.begin(), found.end()};
  }
};

/// 46349^2 = 2148229801 pairs, and 5800^2 x 128 = 4305920000 elements: more than 2^31 and 2^32.
constexpr PairSize kSizes[] = {{46349, 1}, {5800, 128}};

/// An operand of a case of few rows as one of all pairs.
struct PairView {
  TensorRef ref;
  std::vector<int64_t> starts; ///< of the rows that are not 0, in bytes
  int64_t rowBytes, bytes;

  PairView(const Placement::Buffer &buffer, std::string_view axes, const PairSize &size)
      : ref(buffer.view), starts{0}, rowBytes(plan::elementBytes(ref.dtype)), bytes(0) {
    bool hasRows = axes[0] == '*' || axes[0] == '~', isWhole = hasRows && ref.shape[0] != 1;
    for (int d = hasRows ? 1 : 0; d < ref.rank; ++d)
      rowBytes *= ref.shape[size_t(d)];
    bytes = rowBytes * (isWhole ? size.pairs() : 1);
    if (!hasRows)
      return;
    for (int d = ref.rank++; d > 0; --d)
      ref.shape[size_t(d)] = ref.shape[size_t(d - 1)];
    ref.shape[0] = ref.shape[1] = isWhole ? size.residues : 1;
    int64_t step = 1;
    for (int d = ref.rank - 1; d >= 0; --d)
      ref.strides[size_t(d)] = step, step *= ref.shape[size_t(d)];
    if (isWhole) {
      starts = size.filled();
      for (int64_t &start : starts)
        start *= rowBytes;
    }
  }
};

Status zero(Backend &backend, const DeviceMemory &memory) {
  TensorRef all;
  all.rank = 1, all.data = memory.data();
  all.shape[0] = memory.bytes() / plan::elementBytes(plan::DType::F32), all.strides[0] = 1;
  plan::KernelAttributes none;
  const TensorRef operands[] = {all};
  return backend.launch(KernelCall{Kernel::Zero, Precision::Fp32, &none, operands, {}});
}

/// The case's buffers after a call on all pairs; none where the device has no room. The second
/// operand is the first where `isTwice`.
Result<std::vector<std::vector<std::byte>>> runPairs(Backend &backend, const KernelCase &testCase,
                                                     const Placement &placement,
                                                     const PairSize &size, bool isTwice) {
  std::vector<PairView> views;
  int64_t all = 0;
  for (size_t i = 0; i < placement.buffers.size(); ++i) {
    views.emplace_back(placement.buffers[i], plan::kernelInfo(testCase.kernel).operands[i].axes,
                       size);
    if (isTwice && i == 1)
      views[1].bytes = 0;
    if (testCase.operands[i].present)
      all += plan::alignTo(views[i].bytes);
  }
  EVO_ASSIGN(std::unique_ptr<DeviceMemory> memory, backend.allocate(all));
  EVO_TRY(zero(backend, *memory));
  std::vector<TensorRef> refs;
  std::byte *next = memory->data();
  for (size_t i = 0; i < views.size(); ++i) {
    PairView &view = views[i];
    if (testCase.operands[i].present) {
      view.ref.data = isTwice && i == 1 ? views[0].ref.data : next;
      next += plan::alignTo(view.bytes);
      const std::byte *from = placement.buffers[i].bytes.data() + placement.buffers[i].start;
      for (int64_t start : view.starts) {
        EVO_TRY(backend.upload(view.ref.data + start, from, view.rowBytes));
        from += view.rowBytes;
      }
    }
    refs.push_back(view.ref);
  }
  EVO_TRY(launchCase(backend, testCase, placement.precision, refs));
  std::vector<std::vector<std::byte>> after;
  for (size_t i = 0; i < views.size(); ++i) {
    after.push_back(placement.buffers[i].bytes);
    std::byte *to = after[i].data() + placement.buffers[i].start;
    for (int64_t start : views[i].starts)
      if (testCase.operands[i].present) {
        EVO_TRY(backend.download(to, views[i].ref.data + start, views[i].rowBytes));
        to += views[i].rowBytes;
      }
  }
  return after;
}

void pairCases(CaseBuilder &builder, const PairSize &size) {
  auto rows = static_cast<int64_t>(size.filled().size()), c = size.channels;
  plan::KernelAttributes norm;
  norm.eps = 1e-5;
  for (Kernel kernel :
       {Kernel::Linear, Kernel::GatedLinear, Kernel::BiasGrad, Kernel::LinearGrad,
        Kernel::GatedLinearGrad, Kernel::LayerNorm, Kernel::LayerNormGrad, Kernel::Softmax})
    builder.add(builder.make(kernel, norm, {{rows}, {{'n', c}, {'k', c}, {'c', c}}}));
  for (Kernel kernel : {Kernel::Copy, Kernel::Add})
    builder.add(builder.make(kernel, {}, {{rows, c}, {}}));
  // A product and nothing else.
  KernelCase plain = builder.make(Kernel::Linear, {}, {{rows}, {{'n', c}, {'k', c}}});
  for (size_t i = 2; i < 7; ++i)
    plain.operands[i].present = false;
  builder.add(plain);
}

/// False where the device has no room.
bool expectPairs(Backend &backend, KernelCase testCase, const PairSize &size,
                 Precision precision = Precision::Bf16, bool isTwice = false) {
  testCase.aligned = true;
  Placement placement = place(testCase, precision);
  if (isTwice) {
    placement.operands[1] = placement.operands[0];
    placement.buffers[1].bytes = placement.buffers[0].bytes;
  }
  std::vector<DenseTensor> expected = placement.operands;
  runReference(testCase.kernel, testCase.attributes, expected);
  auto after = runPairs(backend, testCase, placement, size, isTwice);
  std::string name = std::string(plan::kernelInfo(testCase.kernel).mnemonic) + ", " +
                     testCase.name + ", " + std::to_string(size.residues) + " residues";
  if (!after && after.status().code() == ErrorCode::OutOfMemory) {
    std::cout << name << " is left out: " << after.status().message() << "\n";
    return false;
  }
  EXPECT_TRUE(after.ok()) << name << ": " << after.status().message();
  EXPECT_EQ(after.ok() ? compareCase(testCase, placement, expected, *after, false) : "", "")
      << name;
  return true;
}

TEST(PairTensorTest, PairTensorsOfMoreThan2To31ElementsAgreeWithReference) {
  int ran = 0;
  for (const BackendFactory &factory : conformanceBackends()) {
    if (factory.name != "cuda") // the reference's machine has no room for them as a rule
      continue;
    auto backend = factory.create();
    ASSERT_TRUE(backend.ok()) << backend.status().message();
    for (const PairSize &size : kSizes) {
      CaseBuilder builder;
      pairCases(builder, size);
      for (const KernelCase &testCase : builder.cases)
        ran += expectPairs(**backend, testCase, size);
    }
    auto gradientOf = [](const PairSize &size) {
      Sizes sizes{{static_cast<int64_t>(size.filled().size())},
                  {{'n', size.channels}, {'k', size.channels}}};
      return CaseBuilder::make(Kernel::WeightGrad, {}, sizes);
    };
    ran += expectPairs(**backend, gradientOf(kSizes[1]), kSizes[1]);
    // By the library, as sums that follow each other.
    ran += expectPairs(**backend, gradientOf(kSizes[1]), kSizes[1], Precision::Fp32);
    // More than 2^31 rows in units of 16 bytes, 2^34 elements: du and x are one.
    constexpr PairSize kUnits{46349, 8};
    ran += expectPairs(**backend, gradientOf(kUnits), kUnits, Precision::Bf16, true);
  }
  if (ran == 0)
    GTEST_SKIP() << "no GPU has room for pair tensors of more than 2^31 elements";
}

} // namespace

} // namespace evo::conformance
