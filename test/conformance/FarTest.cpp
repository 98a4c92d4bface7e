//===- FarTest.cpp --------------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// Operands whose first axis steps over more than 2^31 elements, as a pair tensor of some thousands
// of residues has them: an index that a kernel keeps in 32 bits shows. All operands lie in one
// buffer, of which no more is touched than is read or written. Skipped where 9 GiB are not free.
//===----------------------------------------------------------------------===//
#include "test/conformance/Backends.h"
#include "test/conformance/CaseBuilder.h"
#include "test/conformance/Runner.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <iostream>

namespace evo::conformance {

namespace {

using plan::Kernel;
using plan::KernelAttributes;
using plan::Precision;

constexpr int64_t kFar = (int64_t{1} << 31) + 8; // elements
constexpr int64_t kRoom = int64_t{16} << 20;     // bytes of an operand beside the others
constexpr int64_t kSpan =
    2 * kFar * 2 + 16 * kRoom; // three slices of bf16 or two of fp32, of 16 operands

/// A view of a case's operand in the buffer: its slices along the first axis, each dense.
struct FarView {
  TensorRef ref;
  int64_t start, slices, sliceBytes, step; ///< bytes

  FarView(const Placement::Buffer &buffer, size_t operand) : ref(buffer.view) {
    int64_t bytes = plan::elementBytes(ref.dtype), count = 1;
    for (int d = 0; d < ref.rank; ++d)
      count *= ref.shape[size_t(d)];
    slices =
        ref.rank > 1 && (ref.shape[0] - 1) * kFar * bytes <= kSpan - 16 * kRoom ? ref.shape[0] : 1;
    if (slices > 1)
      ref.strides[0] = kFar;
    start = static_cast<int64_t>(operand) * kRoom;
    sliceBytes = count / slices * bytes, step = kFar * bytes;
  }
};

/// The case's buffers after a call with far views of their operands.
Result<std::vector<std::vector<std::byte>>> runFar(Backend &backend, const DeviceMemory &memory,
                                                   const KernelCase &testCase,
                                                   const Placement &placement) {
  std::vector<FarView> views;
  std::vector<TensorRef> refs;
  for (size_t i = 0; i < placement.buffers.size(); ++i) {
    const Placement::Buffer &buffer = placement.buffers[i];
    FarView view(buffer, i);
    view.ref.data = testCase.operands[i].present ? memory.data() + view.start : nullptr;
    for (int64_t s = 0; view.ref && s < view.slices; ++s)
      EVO_TRY(backend.upload(view.ref.data + s * view.step,
                             buffer.bytes.data() + buffer.start + s * view.sliceBytes,
                             view.sliceBytes));
    views.push_back(view);
    refs.push_back(view.ref);
  }
  EVO_TRY(launchCase(backend, testCase, placement.precision, refs));
  std::vector<std::vector<std::byte>> after;
  for (size_t i = 0; i < views.size(); ++i) {
    after.push_back(placement.buffers[i].bytes);
    for (int64_t s = 0; views[i].ref && s < views[i].slices; ++s)
      EVO_TRY(
          backend.download(after[i].data() + placement.buffers[i].start + s * views[i].sliceBytes,
                           views[i].ref.data + s * views[i].step, views[i].sliceBytes));
  }
  return after;
}

/// Products, by rows that lie far apart, also with whole tiles of rows between.
void farProducts(CaseBuilder &builder) {
  for (Kernel kernel : {Kernel::Linear, Kernel::GatedLinear, Kernel::WeightGrad, Kernel::BiasGrad,
                        Kernel::LinearGrad, Kernel::GatedLinearGrad})
    for (const std::vector<int64_t> &rows :
         std::vector<std::vector<int64_t>>{{3}, {3, 5}, {3, 130}, {2, 3, 70}})
      for (auto [n, k] : {std::pair<int64_t, int64_t>{128, 64}, {8, 136}, {7, 5}})
        builder.add(builder.make(kernel, {}, {rows, {{'n', n}, {'k', k}}}));
  for (Kernel kernel : {Kernel::BatchMatmul, Kernel::BatchMatmulGrad})
    for (const std::map<char, int64_t> &extents :
         std::vector<std::map<char, int64_t>>{{{'b', 3}, {'m', 72}, {'n', 136}, {'k', 64}},
                                              {{'b', 3}, {'m', 5}, {'n', 7}, {'k', 9}}})
      builder.add(builder.make(kernel, {}, {{}, extents}));
  for (Kernel kernel : {Kernel::OuterProduct, Kernel::OuterProductGrad})
    for (auto [s, i, c] : {std::array<int64_t, 3>{3, 9, 32}, {70, 3, 32}, {3, 3, 8}, {5, 3, 3}})
      builder.add(builder.make(
          kernel, {}, {{}, {{'s', s}, {'i', i}, {'j', 9}, {'c', c}, {'d', c}, {'x', c * c}}}));
}

void farRows(CaseBuilder &builder) {
  KernelAttributes norm;
  norm.eps = 1e-5;
  for (Kernel kernel : {Kernel::LayerNorm, Kernel::LayerNormGrad, Kernel::Softmax, Kernel::Copy,
                        Kernel::Add, Kernel::Zero})
    for (const std::vector<int64_t> &rows :
         std::vector<std::vector<int64_t>>{{3}, {3, 70}, {2, 3, 20}})
      for (int64_t channels : {128, 72, 7}) {
        std::vector<int64_t> all = rows; // of kernels without a last axis of their own
        all.push_back(channels);
        bool hasAxis = plan::kernelInfo(kernel).operands[0].axes.size() > 1;
        builder.add(
            builder.make(kernel, norm, {hasAxis ? rows : all, {{'c', channels}, {'k', channels}}}));
      }
}

/// Batches, and heads of a pair bias, that lie far apart.
void farAttention(CaseBuilder &builder, int64_t batches, const std::vector<int64_t> &headCounts) {
  KernelAttributes attributes;
  attributes.inf = 1e9, attributes.scale = 0.3;
  for (Kernel kernel : {Kernel::Attention, Kernel::AttentionGrad})
    for (int64_t heads : headCounts)
      for (auto [queries, keys, width] : {std::array<int64_t, 3>{130, 136, 32},
                                          {70, 72, 16},
                                          {65, 65, 8},
                                          {5, 7, 24},
                                          {20, 30, 5},
                                          {1, 40, 8}}) {
        attributes.heads = heads;
        builder.add(builder.make(
            kernel, attributes,
            attentionSizes(heads, batches, queries, keys, width, queries == 1 ? 1 : heads)));
      }
}

/// Attention whose logits and weights are stored, its gradients, and the softmax between.
void farStoredAttention(CaseBuilder &builder) {
  KernelAttributes attributes;
  attributes.inf = 1e9, attributes.scale = 0.3;
  for (Kernel kernel : {Kernel::AttentionLogits, Kernel::AttentionValues,
                        Kernel::AttentionLogitsGrad, Kernel::AttentionValuesGrad})
    for (auto [queries, keys, width] :
         {std::array<int64_t, 3>{66, 72, 32}, {20, 30, 5}, {1, 40, 8}})
      for (int64_t heads : {2, 3}) {
        attributes.heads = heads;
        builder.add(
            builder.make(kernel, attributes,
                         attentionSizes(heads, 3, queries, keys, width, queries == 1 ? 1 : heads)));
      }
  for (const std::vector<int64_t> &rows : std::vector<std::vector<int64_t>>{{3, 20}, {2, 3, 5}})
    for (int64_t keys : {72, 7, 1025})
      builder.add(builder.make(Kernel::SoftmaxGrad, {}, {rows, {{'k', keys}}}));
}

/// Rows of a mean by sequences, pairs of residues, and what is elementwise between.
void farMeansAndGates(CaseBuilder &builder) {
  KernelAttributes attributes;
  attributes.eps = 1e-3, attributes.rate = 0.25;
  for (auto [s, i, c, n] : {std::array<int64_t, 4>{3, 3, 32, 128},
                            {70, 3, 32, 128},
                            {300, 2, 32, 128},
                            {3, 40, 32, 128},
                            {3, 3, 16, 8},
                            {5, 3, 3, 5}})
    builder.add(builder.make(
        Kernel::OuterProductMean, attributes,
        {{}, {{'s', s}, {'i', i}, {'j', 9}, {'c', c}, {'d', c}, {'x', c * c}, {'n', n}}}));
  for (int64_t s : {3, 70})
    builder.add(
        builder.make(Kernel::OuterProductNorm, attributes, {{}, {{'s', s}, {'i', 2}, {'j', 70}}}));
  for (Kernel kernel : {Kernel::Gate, Kernel::GateGrad, Kernel::MaskedMean, Kernel::MaskedMeanGrad})
    for (int64_t x : {64, 13})
      for (int64_t q : {5, 70})
        for (int64_t u : {int64_t{1}, q})
          if (u == 1 || kernel == Kernel::Gate || kernel == Kernel::GateGrad)
            builder.add(
                builder.make(kernel, attributes, {{}, {{'b', 3}, {'q', q}, {'u', u}, {'x', x}}}));
  for (const std::vector<int64_t> &shape : std::vector<std::vector<int64_t>>{{2, 70}, {2, 3, 64}})
    builder.add(builder.make(Kernel::DropoutMask, attributes, {shape, {}}));
}

CaseBuilder farCases() {
  CaseBuilder builder;
  farProducts(builder);
  farRows(builder);
  farAttention(builder, 3, {2, 3});
  farStoredAttention(builder);
  farMeansAndGates(builder);
  return builder;
}

/// Of kernels that devices have for fp32 alone, in two slices, which are twice as long.
CaseBuilder farCasesOfFloats() {
  CaseBuilder builder;
  farAttention(builder, 2, {2});
  return builder;
}

void expectFar(const BackendFactory &factory, Backend &backend, const DeviceMemory &memory,
               KernelCase testCase, Precision precision) {
  testCase.aligned = true;
  Placement placement = place(testCase, precision);
  std::vector<DenseTensor> expected = placement.operands;
  runReference(testCase.kernel, testCase.attributes, expected);
  auto after = runFar(backend, memory, testCase, placement);
  ASSERT_TRUE(after.ok()) << factory.name << ", " << testCase.name << ": "
                          << after.status().message();
  EXPECT_EQ(compareCase(testCase, placement, expected, *after, factory.rounds(testCase.kernel)), "")
      << factory.name << ", " << testCase.name;
}

/// The kernels of the optimizer are excepted: they run over blocks of weights, which are dense.
TEST(FarTest, HasCasesForEveryKernelOfTheModel) {
  CaseBuilder builder = farCases();
  for (const plan::KernelInfo &info : plan::kernelTable())
    if (info.kernel < Kernel::CountNonfinite) {
      EXPECT_TRUE(std::any_of(builder.cases.begin(), builder.cases.end(),
                              [&](const KernelCase &one) { return one.kernel == info.kernel; }))
          << info.name;
    }
}

TEST(FarTest, SlicesFartherApartThan32BitsCountAgreeWithReference) {
  CaseBuilder halves = farCases(), floats = farCasesOfFloats();
  int ran = 0;
  for (const BackendFactory &factory : conformanceBackends()) {
    if (factory.name != "cuda" && factory.name != "cpu_baseline")
      continue;
    auto backend = factory.create();
    ASSERT_TRUE(backend.ok()) << backend.status().message();
    auto memory = (*backend)->allocate(kSpan);
    if (!memory.ok()) {
      ASSERT_EQ(memory.status().code(), ErrorCode::OutOfMemory) << memory.status().message();
      std::cout << factory.name << " is left out: expected 9 GiB to be free, got "
                << memory.status().message() << "\n";
      continue;
    }
    for (KernelCase &testCase : halves.cases)
      expectFar(factory, **backend, **memory, testCase, Precision::Bf16);
    for (KernelCase &testCase : floats.cases)
      expectFar(factory, **backend, **memory, testCase, Precision::Fp32);
    ++ran;
  }
  if (ran == 0)
    GTEST_SKIP() << "no backend had the memory";
}

} // namespace

} // namespace evo::conformance
