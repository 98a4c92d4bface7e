//===- ConvertTest.cpp ------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "runtime/core/Convert.h"
#include "test/core/CoreTest.h"

#include <bit>
#include <cmath>
#include <limits>
#include <random>

namespace evo {
namespace {

using namespace evo::test;

TEST(Convert, HalfOfKnownValues) {
  EXPECT_EQ(roundToHalf(1.0), 0x3c00);
  EXPECT_EQ(roundToHalf(-2.0), 0xc000);
  EXPECT_EQ(roundToHalf(65504.0), 0x7bff);
  EXPECT_EQ(roundToHalf(65519.9), 0x7bff);
  EXPECT_EQ(roundToHalf(65520.0), 0x7c00); // half way to 65536: to even, which is infinity
  EXPECT_EQ(roundToHalf(1e300), 0x7c00);
  EXPECT_EQ(roundToHalf(-INFINITY), 0xfc00);
  EXPECT_EQ(roundToHalf(NAN) & 0x7fff, 0x7e00);
  EXPECT_EQ(roundToHalf(std::ldexp(1.0, -24)), 0x0001); // the least subnormal
  EXPECT_EQ(roundToHalf(std::ldexp(1.0, -25)), 0x0000); // half of it: to even
  EXPECT_EQ(roundToHalf(std::ldexp(1.5, -25)), 0x0001);
  EXPECT_EQ(roundToHalf(std::ldexp(3.0, -25)), 0x0002); // 1.5 units: to even
  EXPECT_EQ(roundToHalf(-0.0), 0x8000);
  EXPECT_EQ(roundToHalf(1.0 + std::ldexp(1.0, -11)), 0x3c00); // tie
  EXPECT_EQ(roundToHalf(1.0 + std::ldexp(3.0, -11)), 0x3c02); // tie
  // Just above a tie: rounding by way of float first would lose the bit.
  EXPECT_EQ(roundToHalf(1.0 + std::ldexp(1.0, -11) + std::ldexp(1.0, -40)), 0x3c01);
}

TEST(Convert, BFloat16OfKnownValues) {
  EXPECT_EQ(roundToBFloat16(1.0), 0x3f80);
  EXPECT_EQ(roundToBFloat16(-3.0), 0xc040);
  EXPECT_EQ(roundToBFloat16(1.0 + std::ldexp(1.0, -8)), 0x3f80);
  EXPECT_EQ(roundToBFloat16(1.0 + std::ldexp(3.0, -8)), 0x3f82);
  EXPECT_EQ(roundToBFloat16(std::numeric_limits<float>::max()), 0x7f80);
  EXPECT_EQ(roundToBFloat16(std::ldexp(1.0, -133)), 0x0001); // the least subnormal
  EXPECT_EQ(roundToBFloat16(std::ldexp(1.0, -140)), 0x0000);
}

/// Every 16-bit pattern survives the way to double and back.
TEST(Convert, NarrowTypesRoundTrip) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    auto pattern = static_cast<uint16_t>(bits);
    double half = halfToDouble(pattern), brain = bfloat16ToDouble(pattern);
    if (!std::isnan(half)) {
      ASSERT_EQ(roundToHalf(half), pattern);
    }
    if (!std::isnan(brain)) {
      ASSERT_EQ(roundToBFloat16(brain), pattern);
    }
  }
}

/// The nearest of the two neighbours, found by searching all patterns' order.
TEST(Convert, RoundsToTheNearest) {
  std::mt19937_64 random(7);
  std::uniform_real_distribution<double> exponents(-26, 16);
  for (int i = 0; i < 20000; ++i) {
    double value = std::exp2(exponents(random));
    uint16_t rounded = roundToHalf(value);
    double error = std::abs(halfToDouble(rounded) - value);
    for (int step : {-1, 1}) {
      auto neighbour = static_cast<uint16_t>(rounded + step);
      if (rounded == 0 && step < 0)
        continue;
      double other = halfToDouble(neighbour);
      if (std::isfinite(other)) {
        ASSERT_LE(error, std::abs(other - value)) << value;
      }
    }
  }
}

TEST(Convert, BetweenTypes) {
  std::vector<double> values = {0.5, -1.25, 3e5, 1e-9};
  HostTensor source = hostTensor<double>("x", HostType::F64, {4}, values);
  std::vector<float> singles(4);
  convertElements(HostType::F64, source.bytes.data(), plan::DType::F32,
                  reinterpret_cast<std::byte *>(singles.data()), 4);
  EXPECT_EQ(singles, (std::vector<float>{0.5f, -1.25f, 3e5f, 1e-9f}));
  std::vector<uint16_t> halves(4);
  convertElements(HostType::F64, source.bytes.data(), plan::DType::F16,
                  reinterpret_cast<std::byte *>(halves.data()), 4);
  EXPECT_EQ(halves, (std::vector<uint16_t>{0x3800, 0xbd00, 0x7c00, 0}));
  std::vector<uint8_t> flags = {0, 1, 255};
  std::vector<float> ones(3);
  convertElements(HostType::Bool, reinterpret_cast<const std::byte *>(flags.data()),
                  plan::DType::F32, reinterpret_cast<std::byte *>(ones.data()), 3);
  EXPECT_EQ(ones, (std::vector<float>{0, 1, 1}));
  convertElements(HostType::U8, reinterpret_cast<const std::byte *>(flags.data()), plan::DType::F32,
                  reinterpret_cast<std::byte *>(ones.data()), 3);
  EXPECT_EQ(ones, (std::vector<float>{0, 1, 255}));
}

TEST(Convert, FindsTheFirstThatIsNotFinite) {
  std::vector<float> values(5000, 1.0f);
  auto first = [&] {
    return firstNotFinite(plan::DType::F32, reinterpret_cast<const std::byte *>(values.data()),
                          5000);
  };
  EXPECT_EQ(first(), std::nullopt);
  values[4999] = NAN;
  EXPECT_EQ(first(), 4999);
  values[1024] = -INFINITY;
  EXPECT_EQ(first(), 1024);
}

} // namespace
} // namespace evo
