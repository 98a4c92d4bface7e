//===- CalibrateTest.cpp ----------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "runtime/core/Calibrate.h"
#include "test/core/CoreTest.h"
#include "test/core/FakeBackend.h"

#include <map>
#include <set>

using namespace evo;
using namespace evo::test;
using plan::Kernel;

namespace {

CalibrationCall copyCall(int64_t count, bool heldOut = false) {
  return {Kernel::Copy, {}, {{{count}}, {{count}}}, 7, heldOut};
}

class CalibrationGrid : public ::testing::TestWithParam<bool> {};
INSTANTIATE_TEST_SUITE_P(CoarseAndFine, CalibrationGrid, ::testing::Bool());

TEST_P(CalibrationGrid, HasEveryKernelInLegalCallsThatGrow) {
  CalibrationLimits limits;
  limits.isFine = GetParam();
  const std::vector<CalibrationCall> calls = calibrationCalls(limits);
  std::set<Kernel> kernels;
  std::map<int32_t, double> before;
  size_t heldOut = 0;
  for (const CalibrationCall &call : calls) {
    Result<plan::AxisExtents> axes =
        plan::bindKernelAxes(call.kernel, call.attributes, call.shapes);
    ASSERT_TRUE(axes.ok()) << axes.status().message();
    heldOut += call.heldOut;
    if (!call.heldOut)
      kernels.insert(call.kernel);
    double elements = 0;
    for (const auto &shape : call.shapes)
      if (shape)
        elements += static_cast<double>(*plan::byteSize(*shape, plan::DType::F32)) / 4;
    // The first call of a series may be above the limits: there is always one.
    if (auto [at, isFirst] = before.emplace(call.series, elements); !isFirst) {
      EXPECT_GT(elements, at->second);
      EXPECT_LE(4 * elements, limits.mostBytes);
      EXPECT_LE(plan::kernelFlops(call.kernel, *axes), limits.mostFlops);
      at->second = elements;
    }
  }
  EXPECT_EQ(kernels.size(), plan::kernelTable().size());
  EXPECT_GT(static_cast<double>(heldOut), 0.18 * static_cast<double>(calls.size()));
  EXPECT_LT(static_cast<double>(heldOut), 0.25 * static_cast<double>(calls.size()));
}

TEST(CalibrationCalls, TheSameListEachTime) {
  const std::vector<CalibrationCall> a = calibrationCalls({}), b = calibrationCalls({});
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) {
    EXPECT_EQ(a[i].shapes, b[i].shapes);
    EXPECT_EQ(a[i].heldOut, b[i].heldOut);
  }
}

/// A device whose launches take as long as they have elements, on a clock that no one else moves.
class TickingBackend : public FakeBackend {
public:
  Status launch(const KernelCall &call) override {
    int64_t elements = 1;
    const TensorRef &last = call.operands.back();
    for (int d = 0; d < last.rank; ++d)
      elements *= last.shape[static_cast<size_t>(d)];
    pending += 10 * elements;
    return FakeBackend::launch(call);
  }
  /// Launches are there after this only.
  Status synchronize() override {
    now += std::exchange(pending, 0);
    return {};
  }
  int64_t now = 0, pending = 0;
};

TEST(Calibration, TimesLaunchesToTheirEnd) {
  TickingBackend backend;
  CalibrationOptions options;
  options.precisions = {plan::Precision::Fp32};
  options.rounds = 3;
  options.sampleNs = 1000;
  options.clock = [&] { return backend.now; };
  std::vector<std::pair<int64_t, int64_t>> progress;
  options.onCall = [&](int64_t done, int64_t all) { progress.emplace_back(done, all); };
  const std::vector<CalibrationCall> calls = {copyCall(4), copyCall(64, true)};
  Result<std::vector<plan::CalibrationSample>> samples = measureCalls(backend, calls, options);
  ASSERT_TRUE(samples.ok()) << samples.status().message();
  ASSERT_EQ(samples->size(), 2u);
  EXPECT_EQ((*samples)[0].ns, 40);
  EXPECT_EQ((*samples)[1].ns, 640);
  EXPECT_EQ((*samples)[1].series, 7);
  EXPECT_FALSE((*samples)[0].heldOut);
  EXPECT_TRUE((*samples)[1].heldOut);
  EXPECT_EQ((*samples)[1].work.kernel, Kernel::Copy);
  EXPECT_EQ((*samples)[1].work.bytesRead, 256);
  EXPECT_EQ((*samples)[1].work.bytesWritten, 256);
  // Of each call: a warm-up a round, one launch to see how many make 1000 ns, and 3 rounds of them:
  // 25 of 40 ns, and 1 of 640.
  EXPECT_EQ(backend.launches.size(), 3u + 1 + 3 * 25 + 3 + 1 + 3 * 1);
  using Progress = std::vector<std::pair<int64_t, int64_t>>;
  EXPECT_EQ(progress, (Progress{{0, 6}, {1, 6}, {2, 6}, {3, 6}, {4, 6}, {5, 6}}));
}

TEST(Calibration, RepeatsAreRecordedWhereTheBackendCan) {
  TickingBackend backend;
  backend.records = true;
  CalibrationOptions options;
  options.precisions = {plan::Precision::Fp32};
  options.rounds = 1;
  options.sampleNs = 4000;
  options.clock = [&] { return backend.now; };
  Result<std::vector<plan::CalibrationSample>> samples =
      measureCalls(backend, std::vector<CalibrationCall>{copyCall(2), copyCall(400)}, options);
  ASSERT_TRUE(samples.ok()) << samples.status().message();
  EXPECT_EQ((*samples)[0].ns, 20);
  EXPECT_EQ((*samples)[1].ns, 4000);
  // 4000 / 20 = 200 launches are 3 replays of 64; a single one is not recorded.
  EXPECT_EQ(backend.recordings, std::vector<size_t>{64});
  EXPECT_EQ(backend.replays, 3);
}

TEST(Calibration, RepeatsGoThroughMemory) {
  FakeBackend backend;
  CalibrationOptions options;
  options.precisions = {plan::Precision::Fp32};
  options.rounds = 1;
  options.sampleNs = 1000;
  int64_t now = 0;
  options.clock = [&] { return now += 50; }; // 50 ns for each reading: 20 repeats
  options.coldBytes = 3 * 1024;              // of two operands of 512 bytes: 3 places
  ASSERT_TRUE(measureCalls(backend, std::vector<CalibrationCall>{copyCall(4)}, options).ok());
  std::set<const std::byte *> read, written;
  for (const std::vector<TensorRef> &operands : backend.launches) {
    read.insert(operands[0].data);
    written.insert(operands[1].data);
  }
  EXPECT_EQ(read.size(), 3u);
  EXPECT_EQ(written.size(), 3u);
  read.merge(written);
  EXPECT_EQ(read.size(), 6u); // all apart
}

TEST(Calibration, ABurstOfOthersMeetsOneRound) {
  TickingBackend backend;
  CalibrationOptions options;
  options.precisions = {plan::Precision::Fp32};
  options.rounds = 3;
  options.sampleNs = 1;
  int reads = 0;
  options.clock = [&] { return backend.now += ++reads == 6 ? 1'000'000 : 0; };
  Result<std::vector<plan::CalibrationSample>> samples =
      measureCalls(backend, std::vector<CalibrationCall>{copyCall(4)}, options);
  ASSERT_TRUE(samples.ok()) << samples.status().message();
  EXPECT_GT(reads, 6);
  EXPECT_EQ((*samples)[0].ns, 40);
}

TEST(Calibration, LeavesOutWhatTheBackendDoesNotHave) {
  FakeBackend backend;
  CalibrationOptions options;
  options.precisions = {plan::Precision::Fp32};
  options.rounds = 2;
  options.sampleNs = 1;
  CalibrationCall add{Kernel::Add, {}, {{{8}}, {{8}}, {{8}}}};
  Result<std::vector<plan::CalibrationSample>> samples =
      measureCalls(backend, std::vector<CalibrationCall>{add, copyCall(4)}, options);
  ASSERT_TRUE(samples.ok()) << samples.status().message();
  ASSERT_EQ(samples->size(), 1u);
  EXPECT_EQ((*samples)[0].work.kernel, Kernel::Copy);
  EXPECT_GE((*samples)[0].ns, 1);
}

// Each call once, then the library, then the samples: so in each precision.
TEST(Calibration, TheLibraryMeasuresItsProductsFirst) {
  class Watched : public FakeBackend {
  public:
    Status launch(const KernelCall &call) override {
      seen.push_back(library->measured);
      return FakeBackend::launch(call);
    }
    bool supports(plan::Precision) const override { return true; }
    std::vector<int64_t> seen; ///< how often the library had measured before each launch
  } backend;
  backend.library.emplace();
  CalibrationOptions options;
  options.precisions = {plan::Precision::Fp32, plan::Precision::Tf32};
  options.rounds = 1;
  options.sampleNs = 1;
  CalibrationCall add{Kernel::Add, {}, {{{8}}, {{8}}, {{8}}}}; // which it does not have
  Result<std::vector<plan::CalibrationSample>> samples =
      measureCalls(backend, std::vector<CalibrationCall>{add, copyCall(4)}, options);
  ASSERT_TRUE(samples.ok()) << samples.status().message();
  EXPECT_EQ(samples->size(), 2u);
  // The copy is launched three times behind the library's turn: to warm up, to count and to time.
  EXPECT_EQ(backend.seen, (std::vector<int64_t>{0, 0, 1, 1, 1, 1, 1, 2, 2, 2}));
  EXPECT_EQ(backend.library->table().series.front().measured.front().shape.m, 2);
}

TEST(Calibration, ErrorsSayWhatWasMeasured) {
  FakeBackend backend;
  CalibrationOptions options;
  options.precisions = {plan::Precision::Fp32};
  options.sampleNs = 1;
  backend.failAt = 3;
  EXPECT_MESSAGE(measureCalls(backend, std::vector<CalibrationCall>{copyCall(4)}, options),
                 "measuring 'copy' in fp32: the device is gone");
  backend.memoryBytes = 1000;
  options.coldBytes = 0;
  EXPECT_MESSAGE(measureCalls(backend, std::vector<CalibrationCall>{copyCall(4)}, options),
                 "expected at most 1000 bytes, got 1024"); // two operands of 512
}

} // namespace
