//===- CpuBackendTest.cpp -------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// What only the CPU backend promises: the same bits for every thread count, messages, 64-bit
// strides.
//===----------------------------------------------------------------------===//
#include "runtime/cpu/CpuBackend.h"
#include "test/conformance/Runner.h"

#include <gtest/gtest.h>

#include <sys/mman.h>

#include <atomic>

namespace evo::conformance {

namespace {

using plan::DType;
using plan::Kernel;
using plan::Precision;

TEST(CpuBackendTest, ThreadCountNeverChangesABit) {
  std::vector<std::unique_ptr<Backend>> backends;
  for (int threads : {1, 2, 5}) {
    auto backend = createCpuBackend(threads);
    ASSERT_TRUE(backend.ok()) << backend.status().message();
    backends.push_back(*std::move(backend));
  }
  for (Precision precision : {Precision::Fp32, Precision::Fp64})
    for (const KernelCase &testCase : kernelCases()) {
      Placement placement = place(testCase, precision);
      auto first = runCase(*backends[0], testCase, placement, precision);
      ASSERT_TRUE(first.ok()) << first.status().message();
      for (size_t i = 1; i < backends.size(); ++i) {
        auto other = runCase(*backends[i], testCase, placement, precision);
        ASSERT_TRUE(other.ok()) << other.status().message();
        ASSERT_TRUE(*first == *other) << testCase.name << " on backend " << i;
      }
    }
}

TEST(CpuBackendTest, PoolRunsEveryTaskOnce) {
  cpu::ThreadPool pool(5, 64);
  EXPECT_EQ(pool.threads(), 5);
  EXPECT_EQ(pool.scratchBytes(), 320);
  for (int64_t count : {0, 1, 2, 7, 1000}) {
    std::vector<std::atomic<int>> runs(static_cast<size_t>(count));
    pool.run(
        count,
        [](const void *context, int64_t i, const cpu::Workspace &) {
          ++(*const_cast<std::vector<std::atomic<int>> *>(
              static_cast<const std::vector<std::atomic<int>> *>(context)))[size_t(i)];
        },
        &runs);
    for (std::atomic<int> &run : runs)
      EXPECT_EQ(run.load(), 1);
  }
}

TensorRef tensor(void *data, std::vector<int64_t> shape, std::vector<int64_t> strides,
                 DType type = DType::F32) {
  TensorRef ref;
  ref.data = static_cast<std::byte *>(data);
  ref.dtype = type;
  ref.rank = static_cast<int>(shape.size());
  std::copy(shape.begin(), shape.end(), ref.shape.begin());
  std::copy(strides.begin(), strides.end(), ref.strides.begin());
  return ref;
}

std::string launchError(Kernel kernel, Precision precision, std::vector<TensorRef> operands) {
  auto backend = createCpuBackend(1);
  plan::KernelAttributes attributes;
  Status status = (*backend)->launch(KernelCall{kernel, precision, &attributes, operands});
  return status.ok() ? "" : status.message();
}

TEST(CpuBackendTest, ErrorsSayWhatExpectedAndGot) {
  float data[4] = {};
  TensorRef good = tensor(data, {2}, {1});
  EXPECT_EQ(launchError(Kernel::Copy, Precision::Fp32, {good, tensor(data, {2}, {1}, DType::F64)}),
            "kernel 'copy' operand 'y' on cpu: expected element type f32, got f64");
  EXPECT_EQ(launchError(Kernel::Copy, Precision::Fp64, {good, good}),
            "kernel 'copy' operand 'x' on cpu: expected element type f64, got f32");
  EXPECT_EQ(launchError(Kernel::Copy, Precision::Fp32, {good}),
            "kernel 'copy' on cpu: expected 2 operands, got 1");
  EXPECT_EQ(launchError(Kernel::Copy, Precision::Fp32, {TensorRef{}, good}),
            "kernel 'copy' operand 'x' on cpu: expected a tensor, got none");
  EXPECT_EQ(launchError(Kernel::Copy, Precision::Fp32, {good, tensor(data, {2}, {-1})}),
            "kernel 'copy' operand 'y' on cpu: expected strides of at least 0, got -1 on axis 0");
  EXPECT_EQ(launchError(Kernel::Copy, Precision::Bf16, {good, good}),
            "expected precision fp32, tf32 or fp64 on cpu, got bf16; compile the plan with one of "
            "these");
}

TEST(CpuBackendTest, FactoryChecksItsArguments) {
  auto negative = createCpuBackend(-1);
  ASSERT_FALSE(negative.ok());
  EXPECT_EQ(negative.status().message(), "expected threads in [0, 512], got -1");
  auto all = createCpuBackend(0);
  ASSERT_TRUE(all.ok());
  EXPECT_EQ((*all)->name(), "cpu");
  EXPECT_TRUE((*all)->supports(Precision::Tf32));
  EXPECT_FALSE((*all)->supports(Precision::Fp16));
  EXPECT_FALSE((*all)->allocate(-1).ok());
  EXPECT_EQ((*all)->allocate(int64_t{1} << 62).status().code(), ErrorCode::OutOfMemory);
}

TEST(CpuBackendTest, DescriptionNamesScratch) {
  CpuBackend backend(3, CpuIsa::Baseline);
  EXPECT_EQ(backend.scratchBytes(), 3 * 2097152);
  EXPECT_NE(backend.description().find("cpu, 3 threads, baseline kernels, "), std::string::npos);
  EXPECT_NE(backend.description().find("6291456 bytes of scratch"), std::string::npos);
}

/// Address space of which only the touched pages exist.
class SparseFloats {
public:
  explicit SparseFloats(int64_t count)
      : bytes(size_t(count) * sizeof(float)),
        data(static_cast<float *>(mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0))) {}
  ~SparseFloats() {
    if (valid())
      munmap(data, bytes);
  }
  bool valid() const { return data != MAP_FAILED; }
  float &operator[](int64_t i) { return data[i]; }

private:
  size_t bytes;

public:
  float *data;
};

TEST(CpuBackendTest, StridesMayPassTwoToThe31) {
  constexpr int64_t kStride = (int64_t{1} << 31) + 5;
  SparseFloats x(2 * kStride), y(2 * kStride);
  if (!x.valid() || !y.valid())
    GTEST_SKIP() << "the system gives no sparse 16 GiB mappings";
  float weight[4] = {1, 2, 3, 4}; // [n, k]
  x[0] = 1, x[1] = 10, x[kStride] = 100, x[kStride + 1] = 1000;
  // y = x weight^T: 1 + 20, 3 + 40; 100 + 2000, 300 + 4000.
  EXPECT_EQ(launchError(Kernel::Linear, Precision::Fp32,
                        {tensor(x.data, {2, 2}, {kStride, 1}),
                         tensor(weight, {2, 2}, {2, 1}),
                         {},
                         {},
                         {},
                         {},
                         {},
                         tensor(y.data, {2, 2}, {1, kStride})}),
            "");
  EXPECT_EQ(y[0], 21);
  EXPECT_EQ(y[kStride], 43);
  EXPECT_EQ(y[1], 2100);
  EXPECT_EQ(y[kStride + 1], 4300);
}

} // namespace

} // namespace evo::conformance
