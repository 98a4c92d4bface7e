//===- CpuBackendTest.cpp -------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// What only the CPU backend promises: the same bits for every thread count, messages, 64-bit
// strides.
//===----------------------------------------------------------------------===//
#include "runtime/cpu/CpuBackend.h"
#include "runtime/core/Convert.h"
#include "test/conformance/Runner.h"

#include <gtest/gtest.h>

#include <sys/mman.h>

#include <atomic>
#include <bit>
#include <cfloat>
#include <cmath>

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
  for (Precision precision : {Precision::Fp32, Precision::Fp64, Precision::Bf16, Precision::Fp16})
    for (const KernelCase &testCase : kernelCases()) {
      // The kernels of bf16 and fp16 are the same but for the conversions.
      if (precision == Precision::Fp16 && testCase.seed % 5 != 0)
        continue;
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
  EXPECT_EQ(launchError(Kernel::Copy, Precision::Bf16, {good, tensor(data, {2}, {1}, DType::F64)}),
            "kernel 'copy' operand 'y' on cpu: expected element type bf16 or f32, got f64");
  EXPECT_EQ(launchError(Kernel::Copy, Precision::Fp16, {tensor(data, {2}, {1}, DType::BF16), good}),
            "kernel 'copy' operand 'x' on cpu: expected element type f16 or f32, got bf16");
}

TEST(CpuBackendTest, StatisticsAreF32WherePlansStoreHalf) {
  float data[4] = {};
  TensorRef half = tensor(data, {1, 2}, {2, 1}, DType::F16);
  TensorRef vector = tensor(data, {2}, {1}, DType::F16), mean = tensor(data, {1}, {1}, DType::F16);
  EXPECT_EQ(launchError(Kernel::LayerNorm, Precision::Fp16, {half, vector, vector, half, mean, {}}),
            "kernel 'layer_norm' operand 'mean' on cpu: expected element type f32, got f16");
  mean.dtype = DType::F32;
  EXPECT_EQ(launchError(Kernel::LayerNorm, Precision::Fp16,
                        {half, tensor(data, {2}, {1}), vector, half, mean, {}}),
            "kernel 'layer_norm' operand 'weight' on cpu: expected element type f16, got f32");
}

TEST(CpuBackendTest, HeadsOfHalfHaveAWidthThatScratchHolds) {
  // 256 KiB of scratch, 4 bytes an element.
  std::byte data[8] = {};
  for (int64_t width : {65536, 65537}) {
    TensorRef wide = tensor(data, {0, 1, width}, {width, width, 1}, DType::BF16);
    EXPECT_EQ(launchError(Kernel::Attention, Precision::Bf16, {wide, wide, wide, {}, {}, wide, {}}),
              width == 65536 ? ""
                             : "kernel 'attention' on cpu: expected a head width of at most 65536 "
                               "in bf16 and fp16, got 65537; compile the plan with --dtype=fp32");
  }
}

/// The instruction sets that this machine has.
std::vector<CpuIsa> isas() {
  std::vector<CpuIsa> all;
  for (CpuIsa isa : {CpuIsa::Baseline, CpuIsa::V3, CpuIsa::V4})
    if (cpuIsaAvailable(isa))
      all.push_back(isa);
  return all;
}

/// `kernel copy` from one type to another.
template <class To, class From>
std::vector<To> copied(CpuIsa isa, Precision precision, std::vector<From> values, DType from,
                       DType to) {
  std::vector<To> result(values.size());
  auto count = static_cast<int64_t>(values.size());
  std::vector<TensorRef> operands = {tensor(values.data(), {count}, {1}, from),
                                     tensor(result.data(), {count}, {1}, to)};
  plan::KernelAttributes attributes;
  auto backend = createCpuBackend(1, isa);
  Status status = (*backend)->launch(KernelCall{Kernel::Copy, precision, &attributes, operands});
  EXPECT_TRUE(status.ok()) << status.message();
  return result;
}

TEST(CpuBackendTest, EveryHalfIsWidenedExactly) {
  std::vector<uint16_t> all(65536);
  for (size_t i = 0; i < all.size(); ++i)
    all[i] = static_cast<uint16_t>(i);
  for (CpuIsa isa : isas()) {
    auto bf16 = copied<float>(isa, Precision::Bf16, all, DType::BF16, DType::F32);
    auto fp16 = copied<float>(isa, Precision::Fp16, all, DType::F16, DType::F32);
    for (uint16_t bits : all) {
      // Signs of zeros among the bits; NaNs are not equal to themselves.
      double wantBf16 = bfloat16ToDouble(bits), wantFp16 = halfToDouble(bits);
      if (std::isnan(wantBf16))
        ASSERT_TRUE(std::isnan(bf16[bits])) << bits;
      else
        ASSERT_EQ(std::bit_cast<uint32_t>(bf16[bits]), std::bit_cast<uint32_t>(float(wantBf16)));
      if (std::isnan(wantFp16))
        ASSERT_TRUE(std::isnan(fp16[bits])) << bits;
      else
        ASSERT_EQ(std::bit_cast<uint32_t>(fp16[bits]), std::bit_cast<uint32_t>(float(wantFp16)));
    }
  }
}

/// Every value of a half type, the middle between it and the next, and the floats beside these.
std::vector<float> valuesAroundHalves(double (*widened)(uint16_t)) {
  std::vector<float> values = {INFINITY, -INFINITY, NAN, FLT_MAX, -FLT_MAX, FLT_MIN, 1e-45f};
  for (uint32_t bits = 0; bits < 65535; ++bits) {
    double value = widened(uint16_t(bits)), next = widened(uint16_t(bits + 1));
    if (!std::isfinite(value))
      continue;
    // The largest finite value and the power of two that follows it.
    if (!std::isfinite(next))
      next = value + (value - widened(uint16_t(bits - 1)));
    for (float middle : {float(value), float((value + next) / 2)})
      for (float around :
           {std::nextafter(middle, -INFINITY), middle, std::nextafter(middle, INFINITY)})
        values.push_back(around);
  }
  return values;
}

TEST(CpuBackendTest, HalvesAreRoundedToNearestTiesToEven) {
  for (CpuIsa isa : isas())
    for (Precision precision : {Precision::Bf16, Precision::Fp16}) {
      bool bf16 = precision == Precision::Bf16;
      std::vector<float> values = valuesAroundHalves(bf16 ? bfloat16ToDouble : halfToDouble);
      auto got = copied<uint16_t>(isa, precision, values, DType::F32, plan::storageType(precision));
      for (size_t i = 0; i < values.size(); ++i) {
        uint16_t want = bf16 ? roundToBFloat16(values[i]) : roundToHalf(values[i]);
        if (std::isnan(values[i]))
          ASSERT_TRUE(std::isnan(bf16 ? bfloat16ToDouble(got[i]) : halfToDouble(got[i])));
        else
          ASSERT_EQ(got[i], want) << values[i] << " in " << plan::precisionName(precision);
      }
    }
}

TEST(CpuBackendTest, FactoryChecksItsArguments) {
  auto negative = createCpuBackend(-1);
  ASSERT_FALSE(negative.ok());
  EXPECT_EQ(negative.status().message(), "expected threads in [0, 512], got -1");
  auto all = createCpuBackend(0);
  ASSERT_TRUE(all.ok());
  EXPECT_EQ((*all)->name(), "cpu");
  EXPECT_TRUE((*all)->supports(Precision::Tf32));
  EXPECT_TRUE((*all)->supports(Precision::Fp16));
  EXPECT_FALSE((*all)->allocate(-1).ok());
  EXPECT_EQ((*all)->allocate(int64_t{1} << 62).status().code(), ErrorCode::OutOfMemory);
}

TEST(CpuBackendTest, DescriptionNamesScratch) {
  CpuBackend backend(3, CpuIsa::Baseline);
  EXPECT_EQ(backend.scratchBytes(), 3 * 2097152);
  EXPECT_NE(backend.description().find("cpu, 3 threads, baseline kernels, "), std::string::npos);
  EXPECT_NE(backend.description().find("6291456 bytes of scratch"), std::string::npos);
}

TEST(CpuBackendTest, IdentityTellsDevicesApart) {
  CpuBackend one(1, CpuIsa::Baseline), three(3, CpuIsa::Baseline);
  EXPECT_NE(one.identity().text().find(", baseline, "), std::string::npos);
  EXPECT_TRUE(one.identity().text().ends_with(", kernels 1, 1 thread")) << one.identity().text();
  EXPECT_TRUE(three.identity().text().ends_with(", kernels 1, 3 threads"));
  EXPECT_EQ(one.identity().name, three.identity().name);
  EXPECT_GT(one.identity().memoryBytes, int64_t{1} << 28);
  EXPECT_EQ(one.identity().libraryBytes, 0);
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
