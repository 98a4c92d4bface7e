//===- DType.cpp ------------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "runtime/plan/DType.h"

#include <array>

namespace evo::plan {

namespace {
constexpr std::array<std::string_view, 4> kDTypeNames = {"f64", "f32", "f16", "bf16"};
constexpr std::array<std::string_view, 5> kPrecisionNames = {"fp64", "fp32", "tf32", "bf16",
                                                             "fp16"};

template <class Enum, size_t N>
std::optional<Enum> parseName(const std::array<std::string_view, N> &names, std::string_view name) {
  for (size_t i = 0; i < N; ++i)
    if (names[i] == name)
      return static_cast<Enum>(i);
  return std::nullopt;
}
} // namespace

std::string_view dtypeName(DType type) { return kDTypeNames[static_cast<size_t>(type)]; }
std::string_view precisionName(Precision p) { return kPrecisionNames[static_cast<size_t>(p)]; }
std::optional<DType> parseDType(std::string_view name) {
  return parseName<DType>(kDTypeNames, name);
}
std::optional<Precision> parsePrecision(std::string_view name) {
  return parseName<Precision>(kPrecisionNames, name);
}

DType storageType(Precision p) {
  switch (p) {
  case Precision::Fp64:
    return DType::F64;
  case Precision::Fp32:
  case Precision::Tf32:
    return DType::F32;
  case Precision::Bf16:
    return DType::BF16;
  case Precision::Fp16:
    return DType::F16;
  }
  return DType::F32;
}

DType statisticType(Precision p) { return p == Precision::Fp64 ? DType::F64 : DType::F32; }

int64_t elementBytes(DType type) {
  switch (type) {
  case DType::F64:
    return 8;
  case DType::F32:
    return 4;
  case DType::F16:
  case DType::BF16:
    return 2;
  }
  return 0;
}

std::optional<int64_t> byteSize(std::span<const int64_t> shape, DType type) {
  int64_t bytes = elementBytes(type);
  for (int64_t size : shape)
    if (size < 0 || __builtin_mul_overflow(bytes, size, &bytes))
      return std::nullopt;
  return bytes;
}

} // namespace evo::plan
