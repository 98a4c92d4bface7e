//===- DropoutTest.cpp ----------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// What the masks of dropout promise beyond the formula: which of their elements are 0 is the same
// on every backend and for any number of threads, depends on each part of the key, and is as
// frequent as the rate says.
//===----------------------------------------------------------------------===//
#include "runtime/cpu/CpuBackend.h"
#include "test/conformance/Backends.h"
#include "test/conformance/CaseBuilder.h"
#include "test/conformance/Runner.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

namespace evo::conformance {

namespace {

using plan::Precision;

KernelCase maskCase(std::vector<int64_t> shape, double rate, int64_t module, plan::DropoutKey key) {
  plan::KernelAttributes attributes;
  attributes.rate = rate;
  attributes.module = module;
  KernelCase mask =
      CaseBuilder().make(plan::Kernel::DropoutMask, attributes, {std::move(shape), {}});
  mask.dropout = key;
  return mask;
}

/// The mask as the backend leaves it in memory, space around included.
std::vector<std::byte> bytesOf(Backend &backend, const KernelCase &mask,
                               Precision precision = Precision::Fp32) {
  auto after = runCase(backend, mask, place(mask, precision), precision);
  return after.ok() ? (*after)[0] : std::vector<std::byte>();
}

/// A mask of 3 * 7 * 5 elements as launches make it that the backend has recorded, replayed with
/// the seed and step of `key`; they were recorded with others.
std::vector<std::byte> replayedMask(Backend &backend, const KernelCase &mask) {
  const std::vector<int64_t> &shape = mask.operands[0].shape;
  TensorRef y;
  y.rank = static_cast<int>(shape.size());
  int64_t count = 1;
  for (size_t d = shape.size(); d-- > 0; count *= shape[d]) {
    y.shape[d] = shape[d];
    y.strides[d] = count;
  }
  std::vector<std::byte> bytes(static_cast<size_t>(count) * sizeof(float));
  auto memory = *backend.allocate(static_cast<int64_t>(bytes.size()));
  y.data = memory->data();
  KernelCall call{mask.kernel, Precision::Fp32, &mask.attributes, {&y, 1}, mask.dropout};
  call.dropout.seed += 17;
  call.dropout.step += 3;
  // The first launch is not recorded: a kernel may be loaded by it.
  bool ok = backend.launch(call).ok() && backend.synchronize().ok() &&
            backend.beginRecording().ok() && backend.launch(call).ok();
  auto tape = backend.endRecording();
  if (!ok || !tape.ok())
    return {};
  auto recording = backend.load(**tape, nullptr);
  ok = recording.ok() && backend.setDropout(mask.dropout.seed, mask.dropout.step).ok() &&
       (*recording)->replay().ok() && backend.synchronize().ok() &&
       backend.download(bytes.data(), y.data, static_cast<int64_t>(bytes.size())).ok();
  return ok ? bytes : std::vector<std::byte>();
}

TEST(DropoutTest, TheReferenceGivesThePublishedWords) {
  using Four = std::array<uint32_t, 4>;
  EXPECT_EQ(referencePhilox({0, 0, 0, 0}, {0, 0}),
            (Four{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(
      referencePhilox({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}),
      (Four{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(
      referencePhilox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
      (Four{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(DropoutTest, TheFirstElementsAreThoseOfThePublishedWords) {
  // Key and counter 0: 0x6627e8d5 / 2^32 = 0.39904, 0xe169c58d: 0.88052, 0xbc57ac4c: 0.73571,
  // 0x9b00dbd8: 0.60548. A rate between two of them drops the smaller.
  for (auto [rate, expected] : std::vector<std::pair<double, std::vector<double>>>{
           {0.39, {1, 1, 1, 1}}, {0.4, {0, 1, 1, 1}}, {0.7, {0, 1, 1, 0}}, {0.75, {0, 1, 0, 0}}}) {
    KernelCase mask = maskCase({4}, rate, 0, {});
    std::vector<DenseTensor> operands = place(mask, Precision::Fp64).operands;
    runReference(mask.kernel, mask.attributes, operands, mask.dropout);
    for (size_t i = 0; i < 4; ++i)
      EXPECT_DOUBLE_EQ(operands[0].data[i], expected[i] / (1 - rate)) << rate << " " << i;
  }
  // The word of element 0 is kept by the rate that it is itself: 0x6627e8d5 / 2^32 is exact.
  KernelCase border = maskCase({1}, 0x6627e8d5p-32, 0, {});
  std::vector<DenseTensor> operands = place(border, Precision::Fp64).operands;
  runReference(border.kernel, border.attributes, operands);
  EXPECT_GT(operands[0].data[0], 0);
  border.attributes.rate = 0x6627e8d6p-32;
  runReference(border.kernel, border.attributes, operands);
  EXPECT_EQ(operands[0].data[0], 0);
}

TEST(DropoutTest, DependsOnEachPartOfTheKeyAndOnNothingElse) {
  auto one = *createCpuBackend(1), several = *createCpuBackend(3);
  std::vector<std::byte> mask = bytesOf(*one, maskCase({1, 70, 64}, 0.25, 3, {1, 2, 4}));
  ASSERT_FALSE(mask.empty());
  EXPECT_EQ(bytesOf(*several, maskCase({1, 70, 64}, 0.25, 3, {1, 2, 4})), mask);
  EXPECT_EQ(bytesOf(*one, maskCase({70, 1, 64}, 0.25, 3, {1, 2, 4})),
            mask); // dense, like [1,70,64]
  EXPECT_NE(bytesOf(*one, maskCase({1, 70, 64}, 0.25, 4, {1, 2, 4})), mask);
  EXPECT_NE(bytesOf(*one, maskCase({1, 70, 64}, 0.25, 3, {2, 2, 4})), mask);
  EXPECT_NE(bytesOf(*one, maskCase({1, 70, 64}, 0.25, 3, {1, 3, 4})), mask);
  EXPECT_NE(bytesOf(*one, maskCase({1, 70, 64}, 0.25, 3, {1, 2, 5})), mask);
}

TEST(DropoutTest, EveryBackendMakesTheSameBits) {
  struct Mask {
    std::vector<int64_t> shape;
    double rate;
    int64_t module;
    plan::DropoutKey key;
  };
  // Counts that no four divide, one element, and masks of a row or a column of the pair stack.
  const std::vector<Mask> masks = {{{1}, 0.5, 0, {}},
                                   {{7, 5, 3}, 0.15, 2, {1, 2, 3}},
                                   {{1, 257, 256}, 0.15, 1, {0xffffffff, 0xffffffff, 47}},
                                   {{256, 1, 128}, 0.25, 8, {0x9e3779b9, 1000000, 0xffffffff}},
                                   {{33, 31}, 1e-9, 5, {3, 1, 4}},
                                   {{1031}, 0.999, 3, {7, 7, 7}}};
  auto cpu = *createCpuBackend(2);
  for (const BackendFactory &factory : conformanceBackends()) {
    auto backend = *factory.create();
    for (Precision precision : factory.precisions)
      for (const Mask &one : masks) {
        KernelCase mask = maskCase(one.shape, one.rate, one.module, one.key);
        std::vector<std::byte> expected = bytesOf(*cpu, mask, precision);
        ASSERT_FALSE(expected.empty());
        EXPECT_TRUE(bytesOf(*backend, mask, precision) == expected)
            << factory.name << ", " << plan::precisionName(precision) << ", module " << one.module;
      }
  }
}

TEST(DropoutTest, RecordedMasksFollowTheKeyOfTheirReplay) {
  KernelCase mask = maskCase({3, 7, 5}, 0.25, 6, {11, 22, 33});
  Placement placement = place(mask, Precision::Fp32);
  for (const BackendFactory &factory : conformanceBackends()) {
    auto backend = *factory.create();
    if (!backend->canRecord())
      continue;
    std::vector<std::byte> replayed = replayedMask(*backend, mask);
    std::vector<std::byte> launched = bytesOf(**createCpuBackend(1), mask);
    ASSERT_EQ(replayed.size(), 3 * 7 * 5 * sizeof(float)) << factory.name;
    const std::byte *dense = launched.data() + placement.buffers[0].start;
    EXPECT_TRUE(std::equal(replayed.begin(), replayed.end(), dense)) << factory.name;
  }
}

TEST(DropoutTest, KeepsAsOftenAsTheRateSays) {
  constexpr int64_t kRows = 512, kChannels = 128;
  for (const BackendFactory &factory : conformanceBackends()) {
    auto backend = *factory.create();
    for (double rate : {0.15, 0.25})
      for (uint32_t seed : {0u, 1u, 0xffffffffu}) {
        KernelCase mask = maskCase({1, kRows, kChannels}, rate, 3, {seed, 0, 0});
        Placement placement = place(mask, Precision::Fp32);
        auto after = runCase(*backend, mask, placement, Precision::Fp32);
        ASSERT_TRUE(after.ok()) << factory.name << ": " << after.status().message();
        const auto *values =
            reinterpret_cast<const float *>((*after)[0].data() + placement.buffers[0].start);
        double kept = 0;
        for (int64_t i = 0; i < kRows * kChannels; ++i)
          kept += values[i] != 0;
        // Binomial: the deviation of the fraction is sqrt(rate (1 - rate) / n).
        constexpr double kCount = kRows * kChannels;
        EXPECT_NEAR(kept / kCount, 1 - rate, 5 * std::sqrt(rate * (1 - rate) / kCount))
            << factory.name << ", seed " << seed;
      }
  }
}

} // namespace

} // namespace evo::conformance
