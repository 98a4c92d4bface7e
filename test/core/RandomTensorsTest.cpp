//===- RandomTensorsTest.cpp ------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "runtime/core/RandomTensors.h"
#include "runtime/plan/Philox.h"
#include "test/core/CoreTest.h"

#include <cmath>

namespace evo {
namespace {

using Four = plan::PhiloxWords;

constexpr bool operator==(const Four &a, const Four &b) {
  return a.word[0] == b.word[0] && a.word[1] == b.word[1] && a.word[2] == b.word[2] &&
         a.word[3] == b.word[3];
}

// The known answers that the authors of the generator publish.
static_assert(plan::philox4x32({{0, 0, 0, 0}}, 0, 0) ==
              Four{{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}});
static_assert(plan::philox4x32({{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}}, 0xffffffff,
                               0xffffffff) ==
              Four{{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}});
static_assert(plan::philox4x32({{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}}, 0xa4093822,
                               0x299f31d0) ==
              Four{{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}});

TEST(RandomTensors, NameHashIsFnv1a) {
  EXPECT_EQ(nameHash(""), 0xcbf29ce484222325u);
  EXPECT_EQ(nameHash("a"), 0xaf63dc4c8601ec8cu);
  EXPECT_EQ(nameHash("foobar"), 0x85944171f73967e8u);
}

/// The definition, written out once more for one element at a time.
double normalByDefinition(uint64_t seed, uint64_t hash, uint64_t index) {
  uint64_t group = index / 4;
  Four x = plan::philox4x32(
      {{uint32_t(group), uint32_t(group >> 32), uint32_t(seed >> 32), uint32_t(hash >> 32)}},
      uint32_t(seed), uint32_t(hash));
  size_t lane = index % 4 < 2 ? 0 : 2;
  double radius = std::sqrt(-2 * std::log((double(x.word[lane]) + 1) / 4294967296.0));
  double angle = 2 * M_PI * (double(x.word[lane + 1]) / 4294967296.0);
  return index % 2 == 0 ? radius * std::cos(angle) : radius * std::sin(angle);
}

TEST(RandomTensors, AnyPartIsTheSame) {
  uint64_t seed = 0x123456789abcdef0, hash = nameHash("z");
  std::vector<double> whole(1000);
  randomNormals(seed, hash, 0, whole);
  for (int64_t first : {0, 1, 2, 3, 501})
    for (size_t size : {1u, 2u, 5u, 400u}) {
      std::vector<double> part(size);
      randomNormals(seed, hash, first, part);
      for (size_t i = 0; i < size; ++i) {
        ASSERT_EQ(part[i], whole[static_cast<size_t>(first) + i]);
        ASSERT_NEAR(part[i], normalByDefinition(seed, hash, static_cast<uint64_t>(first) + i),
                    1e-12);
      }
    }
  std::vector<double> far(3);
  randomNormals(seed, hash, int64_t{1} << 40, far);
  EXPECT_NEAR(far[2], normalByDefinition(seed, hash, (uint64_t{1} << 40) + 2), 1e-12);
}

TEST(RandomTensors, IsNormal) {
  std::vector<double> values(200000);
  randomNormals(0, nameHash("m"), 0, values);
  double sum = 0, squares = 0, fourths = 0, neighbours = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    double v = values[i];
    sum += v;
    squares += v * v;
    fourths += v * v * v * v;
    neighbours += v * values[(i + 1) % values.size()];
  }
  double n = static_cast<double>(values.size());
  // Five standard errors: 1 / sqrt(n) = 0.0022, sqrt(2 / n), sqrt(96 / n).
  EXPECT_NEAR(sum / n, 0, 0.012);
  EXPECT_NEAR(squares / n, 1, 0.016);
  EXPECT_NEAR(fourths / n, 3, 0.11);
  EXPECT_NEAR(neighbours / n, 0, 0.012);
}

TEST(RandomTensors, SeedAndNameMatter) {
  std::vector<double> a(4), b(4), c(4), d(4);
  randomNormals(0, nameHash("m"), 0, a);
  randomNormals(1, nameHash("m"), 0, b);
  randomNormals(uint64_t{1} << 32, nameHash("m"), 0, c);
  randomNormals(0, nameHash("z"), 0, d);
  EXPECT_NE(a, b);
  EXPECT_NE(a, c);
  EXPECT_NE(b, c);
  EXPECT_NE(a, d);
}

TEST(RandomTensors, ParametersByKind) {
  auto check = [](const char *name, std::vector<int64_t> shape, double shift, double scale) {
    NormalDistribution found = parameterDistribution(name, shape);
    EXPECT_EQ(found.shift, shift) << name;
    EXPECT_EQ(found.scale, scale) << name;
  };
  check("msa_transition.linear_1.weight", {64, 16}, 0, 0.25); // 1 / sqrt(16)
  check("msa_transition.linear_1.bias", {64}, 0, 0.2);
  check("msa_transition.layer_norm.weight", {16}, 1, 0.2);
  check("msa_transition.layer_norm.bias", {16}, 0, 0.2);
  check("pair_stack.tri_mul_out.layer_norm_in.weight", {16}, 1, 0.2);
}

TEST(RandomTensors, ReadersStoreTheType) {
  std::vector<double> normals(1500);
  randomNormals(5, nameHash("w"), 7, normals);
  std::vector<float> stored(1500);
  ElementReader read = randomReader(5, "w", {1, 0.2}, plan::DType::F32);
  ASSERT_TRUE(read(7, 1500, reinterpret_cast<std::byte *>(stored.data())).ok());
  for (size_t i = 0; i < stored.size(); ++i)
    ASSERT_EQ(stored[i], static_cast<float>(1 + 0.2 * normals[i]));
  std::vector<uint16_t> ones(3);
  ASSERT_TRUE(onesReader(plan::DType::BF16)(0, 3, reinterpret_cast<std::byte *>(ones.data())).ok());
  EXPECT_EQ(ones, (std::vector<uint16_t>{0x3f80, 0x3f80, 0x3f80}));
}

} // namespace
} // namespace evo
