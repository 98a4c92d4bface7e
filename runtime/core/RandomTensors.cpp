//===- RandomTensors.cpp ----------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "runtime/core/RandomTensors.h"

#include "runtime/core/Convert.h"
#include "runtime/plan/Philox.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace evo {

namespace {

uint32_t lowHalf(uint64_t value) { return static_cast<uint32_t>(value); }
uint32_t highHalf(uint64_t value) { return static_cast<uint32_t>(value >> 32); }

/// Elements 4 group .. 4 group + 3.
std::array<double, 4> normalGroup(uint64_t seed, uint64_t hash, uint64_t group) {
  plan::PhiloxWords bits =
      plan::philox4x32({{lowHalf(group), highHalf(group), highHalf(seed), highHalf(hash)}},
                       lowHalf(seed), lowHalf(hash));
  constexpr double kUnit = 1.0 / 4294967296.0;
  std::array<double, 4> normals;
  for (size_t pair = 0; pair < 2; ++pair) {
    double radius = std::sqrt(-2.0 * std::log((bits.word[2 * pair] + 1.0) * kUnit));
    double angle = 2.0 * std::numbers::pi * (bits.word[2 * pair + 1] * kUnit);
    normals[2 * pair] = radius * std::cos(angle);
    normals[2 * pair + 1] = radius * std::sin(angle);
  }
  return normals;
}

constexpr int64_t kChunk = 1024;

} // namespace

uint64_t nameHash(std::string_view name) {
  uint64_t hash = 0xcbf29ce484222325;
  for (char c : name)
    hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  return hash;
}

void randomNormals(uint64_t seed, uint64_t hash, int64_t first, std::span<double> values) {
  std::array<double, 4> group{};
  for (size_t i = 0; i < values.size(); ++i) {
    uint64_t index = static_cast<uint64_t>(first) + i;
    if (i == 0 || index % 4 == 0)
      group = normalGroup(seed, hash, index / 4);
    values[i] = group[index % 4];
  }
}

NormalDistribution parameterDistribution(std::string_view parameter,
                                         std::span<const int64_t> shape) {
  if (shape.size() > 1)
    return {0, 1 / std::sqrt(static_cast<double>(std::max<int64_t>(shape.back(), 1)))};
  if (parameter.find("layer_norm") != std::string_view::npos && parameter.ends_with(".weight"))
    return {1, 0.2};
  return {0, 0.2};
}

ElementReader randomReader(uint64_t seed, std::string_view name, NormalDistribution distribution,
                           plan::DType type) {
  return [=, hash = nameHash(name)](int64_t first, int64_t count, std::byte *out) {
    double values[kChunk];
    for (int64_t done = 0; done < count; done += kChunk) {
      std::span<double> piece(values, static_cast<size_t>(std::min(kChunk, count - done)));
      randomNormals(seed, hash, first + done, piece);
      for (double &value : piece)
        value = distribution.shift + distribution.scale * value;
      storeDoubles(piece, type, out + done * plan::elementBytes(type));
    }
    return Status::success();
  };
}

ElementReader onesReader(plan::DType type) {
  return [type](int64_t, int64_t count, std::byte *out) {
    double values[kChunk];
    std::fill(std::begin(values), std::end(values), 1.0);
    for (int64_t done = 0; done < count; done += kChunk)
      storeDoubles({values, static_cast<size_t>(std::min(kChunk, count - done))}, type,
                   out + done * plan::elementBytes(type));
    return Status::success();
  };
}

} // namespace evo
