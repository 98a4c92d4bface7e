//===- PackerTest.cpp -------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "compiler/memory/Packer.h"

#include <gtest/gtest.h>

#include <cstdint>

using namespace evo;
using namespace evo::memory;

namespace {

using Buffers = std::vector<Lifetime>;
using Offsets = std::vector<Bytes>;

Packing packed(const Buffers &buffers, Bytes alignment) {
  Result<Packing> packing = pack(buffers, alignment);
  EXPECT_TRUE(packing.ok()) << packing.status().message();
  if (!packing.ok())
    return {};
  const Status valid = validatePacking(buffers, alignment, *packing);
  EXPECT_TRUE(valid.ok()) << valid.message();
  return *packing;
}

std::string packError(const Buffers &buffers, Bytes alignment) {
  Result<Packing> packing = pack(buffers, alignment);
  if (packing.ok())
    return "no error";
  EXPECT_EQ(packing.status().code(), ErrorCode::InvalidInput);
  // The bound's own function checks the same things.
  EXPECT_EQ(maxLoad(buffers, alignment).status().message(), packing.status().message());
  return packing.status().message();
}

TEST(Packer, NothingTakesNothing) {
  const Packing packing = packed({}, 512);
  EXPECT_EQ(packing.offsets, Offsets{});
  EXPECT_EQ(packing.height, 0);
  EXPECT_EQ(packing.lowerBound, 0);
}

TEST(Packer, LifetimesAreHalfOpen) {
  // One ends where the other begins, so both lie at 0.
  const Packing packing = packed({{0, 5, 10}, {5, 9, 20}}, 1);
  EXPECT_EQ(packing.offsets, (Offsets{0, 0}));
  EXPECT_EQ(packing.height, 20);
  EXPECT_EQ(packing.lowerBound, 20);
}

TEST(Packer, SizesAreRoundedUpToTheAlignment) {
  // 1 and 513 take 512 and 1024 bytes. By size: the second at 0, the first behind it at 1024.
  const Packing packing = packed({{0, 2, 1}, {0, 2, 513}}, 512);
  EXPECT_EQ(packing.offsets, (Offsets{1024, 0}));
  EXPECT_EQ(packing.height, 1536);
  EXPECT_EQ(packing.lowerBound, 1536);
}

TEST(Packer, FillsGaps) {
  // By size: a (8) at 0, b (6) is alive with a: at 8, c (4) is alive with b alone: at 0, below b;
  // d (3) is alive with b and c: between them, at 4, since 8 - 4 = 4 holds 3.
  const Packing packing = packed({{0, 2, 8}, {0, 6, 6}, {2, 6, 4}, {3, 5, 3}}, 1);
  EXPECT_EQ(packing.offsets, (Offsets{0, 8, 0, 4}));
  EXPECT_EQ(packing.height, 14);
  EXPECT_EQ(packing.lowerBound, 14);
}

TEST(Packer, AGapMayFitExactly) {
  // By size: a (6) at 0, b (5, alive with a) at 6, c (4, alive with both) at 11, d (3, alive with
  // all of them) at 15; e (2) is not alive with c: at 11, and f (2) in all that is left below d,
  // at 13.
  const Packing packing =
      packed({{0, 9, 6}, {0, 9, 5}, {0, 2, 4}, {1, 9, 3}, {3, 9, 2}, {4, 9, 2}}, 1);
  EXPECT_EQ(packing.offsets, (Offsets{0, 6, 11, 15, 11, 13}));
  EXPECT_EQ(packing.height, 18);
  EXPECT_EQ(packing.lowerBound, 18);
}

TEST(Packer, TriesOtherOrdersWhereSizeFails) {
  // a [1,4) 2, b [1,3) 3, c [3,4) 4, d [1,3) 2; the load is 2 + 3 + 2 = 7 at times 1 and 2.
  // By size c and b lie at 0, a (alive with both) at 4, and d does not fit between b and a:
  // height 8. By area b at 0, a at 3, c at 5: height 9. By duration a at 0, b at 2, d at 5, c at 2:
  // height 7, which is the bound.
  const Packing packing = packed({{1, 4, 2}, {1, 3, 3}, {3, 4, 4}, {1, 3, 2}}, 1);
  EXPECT_EQ(packing.offsets, (Offsets{0, 2, 2, 5}));
  EXPECT_EQ(packing.height, 7);
  EXPECT_EQ(packing.lowerBound, 7);
}

TEST(Packer, ABoundMayBeMissed) {
  // a [1,4) 4, b [3,5) 2, c [4,5) 3, d [1,5) 4, e [4,5) 2; the load is 2 + 3 + 4 + 2 = 11 at
  // time 4. Every greedy order leaves a hole of one; the bound says so.
  const Packing packing = packed({{1, 4, 4}, {3, 5, 2}, {4, 5, 3}, {1, 5, 4}, {4, 5, 2}}, 1);
  EXPECT_EQ(packing.lowerBound, 11);
  EXPECT_LE(packing.height, 12);
}

TEST(Packer, EmptyBuffersTakeNoRoom) {
  const Packing packing = packed({{0, 4, 0}, {0, 4, 7}, {1, 2, 0}}, 1);
  EXPECT_EQ(packing.offsets, (Offsets{0, 0, 0}));
  EXPECT_EQ(packing.height, 7);
}

TEST(Packer, TimesMayBeAnyIntegers) {
  const Packing packing =
      packed({{INT64_MIN, INT64_MAX, 5}, {-3, -2, 5}, {INT64_MAX - 1, INT64_MAX, 4}}, 1);
  EXPECT_EQ(packing.offsets, (Offsets{0, 5, 5}));
  EXPECT_EQ(packing.height, 10);
}

TEST(Packer, LoadIsTheLargestSum) {
  // Times 0..1: 10; 1..2: 10 + 20; 2..3: 20 + 5.
  const Buffers buffers = {{0, 2, 10}, {1, 3, 20}, {2, 3, 5}};
  EXPECT_EQ(*maxLoad(buffers, 1), 30);
  EXPECT_EQ(*maxLoad(buffers, 16), 16 + 32);
}

TEST(Packer, RefusesWhatMakesNoSense) {
  EXPECT_EQ(packError({{0, 1, 1}}, 0), "alignment: expected at least 1, got 0");
  EXPECT_EQ(packError({{0, 1, 1}, {0, 1, -5}}, 1),
            "buffer 1: expected a size of at least 0, got -5");
  EXPECT_EQ(packError({{3, 3, 1}}, 1),
            "buffer 0: expected a lifetime [lower, upper) with lower < upper, got [3, 3)");
  EXPECT_EQ(packError({{0, 1, INT64_MAX}}, 512),
            "buffer 0: expected a size that can be rounded up to 512 below 2^63, got "
            "9223372036854775807");
  EXPECT_EQ(packError({{0, 1, INT64_MAX / 2 + 1}, {0, 1, INT64_MAX / 2 + 1}}, 1),
            "buffers: expected fewer than 2^63 bytes alive together, got more");
  // The same sizes one after the other are nobody's overflow.
  EXPECT_EQ(packed({{0, 1, INT64_MAX - 1}, {1, 2, INT64_MAX - 1}}, 1).height, INT64_MAX - 1);
}

TEST(ValidatePacking, FindsEveryFault) {
  const Buffers buffers = {{0, 2, 512}, {1, 3, 512}, {2, 4, 512}};
  const Packing good = {{0, 512, 0}, 1024, 1024};
  ASSERT_TRUE(validatePacking(buffers, 512, good).ok());
  auto broken = [&](auto change) {
    Packing packing = good;
    change(packing);
    const Status status = validatePacking(buffers, 512, packing);
    if (status.ok())
      return std::string("no error");
    EXPECT_EQ(status.code(), ErrorCode::InvalidPlan);
    return status.message();
  };
  EXPECT_EQ(broken([](Packing &p) { p.offsets.pop_back(); }), "offsets: expected 3, got 2");
  EXPECT_EQ(broken([](Packing &p) { p.offsets[1] = 700; }),
            "buffer 1: expected an offset that is a multiple of 512, got 700");
  EXPECT_EQ(broken([](Packing &p) { p.offsets[1] = -512; }),
            "buffer 1: expected an offset that is a multiple of 512, got -512");
  EXPECT_EQ(broken([](Packing &p) { p.offsets[1] = 0; }),
            "buffers 0 and 1: expected no overlap while both are alive, got [0, 512) and [0, 512)");
  EXPECT_EQ(broken([](Packing &p) { p.offsets[2] = 512; }),
            "buffers 1 and 2: expected no overlap while both are alive, got [512, 1024) and [512, "
            "1024)");
  EXPECT_EQ(broken([](Packing &p) { p.height = 1023; }), "height: expected 1024, got 1023");
  EXPECT_EQ(broken([](Packing &p) { p.height = 1025; }), "height: expected 1024, got 1025");
  EXPECT_EQ(broken([](Packing &p) { p.lowerBound = 512; }), "lower bound: expected 1024, got 512");
  EXPECT_EQ(validatePacking(buffers, 0, good).message(), "alignment: expected at least 1, got 0");
  EXPECT_FALSE(validatePacking(Buffers{{2, 1, 4}}, 1, {{0}, 4, 4}).ok());
}

} // namespace
