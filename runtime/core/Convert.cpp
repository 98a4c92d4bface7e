//===- Convert.cpp ----------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "runtime/core/Convert.h"

#include <bit>
#include <cassert>
#include <cmath>
#include <cstring>

namespace evo {

namespace {

/// The bits of `value` in a 16-bit format of `kMantissa` stored mantissa bits, sign on top.
template <int kMantissa> uint16_t roundTo16(double value) {
  constexpr int kExponent = 15 - kMantissa;
  constexpr int64_t kBias = (1 << (kExponent - 1)) - 1;
  constexpr uint64_t kInfinity = ((uint64_t{1} << kExponent) - 1) << kMantissa;
  uint64_t bits = std::bit_cast<uint64_t>(value);
  uint64_t sign = bits >> 63 << 15;
  uint64_t mantissa = bits & ((uint64_t{1} << 52) - 1);
  int64_t exponent = static_cast<int64_t>(bits >> 52 & 0x7ff);
  if (exponent == 0x7ff)
    return static_cast<uint16_t>(sign | kInfinity |
                                 (mantissa ? uint64_t{1} << (kMantissa - 1) : 0));
  if (exponent == 0)
    return static_cast<uint16_t>(sign); // far below half of the least subnormal
  int64_t target = exponent - 1023 + kBias;
  // Bits that fall off: more of them for what is subnormal in the narrow format.
  int64_t shift = 52 - kMantissa;
  mantissa |= uint64_t{1} << 52;
  if (target < 1) {
    shift += 1 - target;
    target = 1;
  }
  if (shift > 54)
    return static_cast<uint16_t>(sign);
  uint64_t kept = mantissa >> shift;
  uint64_t rest = mantissa & ((uint64_t{1} << shift) - 1);
  uint64_t tie = uint64_t{1} << (shift - 1);
  if (rest > tie || (rest == tie && (kept & 1)))
    ++kept;
  // `kept` still has its leading one where normal, which adds the last 1 to the exponent.
  uint64_t result = (static_cast<uint64_t>(target - 1) << kMantissa) + kept;
  return static_cast<uint16_t>(sign | std::min(result, kInfinity));
}

template <class Stored, class Load>
void toDoubles(const std::byte *source, double *out, int64_t count, Load load) {
  for (int64_t i = 0; i < count; ++i) {
    Stored value;
    std::memcpy(&value, source + i * static_cast<int64_t>(sizeof(Stored)), sizeof(Stored));
    out[i] = load(value);
  }
}

void loadDoubles(HostType from, const std::byte *source, double *out, int64_t count) {
  switch (from) {
  case HostType::F64:
    return toDoubles<double>(source, out, count, [](double v) { return v; });
  case HostType::F32:
    return toDoubles<float>(source, out, count, [](float v) { return static_cast<double>(v); });
  case HostType::F16:
    return toDoubles<uint16_t>(source, out, count, halfToDouble);
  case HostType::BF16:
    return toDoubles<uint16_t>(source, out, count, bfloat16ToDouble);
  case HostType::U8:
    return toDoubles<uint8_t>(source, out, count, [](uint8_t v) { return double(v); });
  case HostType::Bool:
    return toDoubles<uint8_t>(source, out, count, [](uint8_t v) { return v ? 1.0 : 0.0; });
  default:
    assert(false && "the type is not convertible");
  }
}

template <class Stored, class Store>
void fromDoubles(std::span<const double> values, std::byte *target, Store store) {
  for (size_t i = 0; i < values.size(); ++i) {
    Stored value = store(values[i]);
    std::memcpy(target + i * sizeof(Stored), &value, sizeof(Stored));
  }
}

constexpr int64_t kChunk = 1024;

} // namespace

uint16_t roundToHalf(double value) { return roundTo16<10>(value); }
uint16_t roundToBFloat16(double value) { return roundTo16<7>(value); }

double bfloat16ToDouble(uint16_t bits) {
  return static_cast<double>(std::bit_cast<float>(static_cast<uint32_t>(bits) << 16));
}

double halfToDouble(uint16_t bits) {
  int exponent = bits >> 10 & 0x1f;
  int mantissa = bits & 0x3ff;
  double magnitude;
  if (exponent == 0x1f)
    magnitude = mantissa ? NAN : INFINITY;
  else if (exponent == 0)
    magnitude = std::ldexp(mantissa, -24);
  else
    magnitude = std::ldexp(mantissa + 1024, exponent - 25);
  return bits & 0x8000 ? -magnitude : magnitude;
}

bool isFloating(HostType type) {
  return type == HostType::F64 || type == HostType::F32 || type == HostType::F16 ||
         type == HostType::BF16;
}

bool isConvertible(HostType type) {
  return isFloating(type) || type == HostType::U8 || type == HostType::Bool;
}

void storeDoubles(std::span<const double> values, plan::DType to, std::byte *target) {
  switch (to) {
  case plan::DType::F64:
    return fromDoubles<double>(values, target, [](double v) { return v; });
  case plan::DType::F32:
    return fromDoubles<float>(values, target, [](double v) { return static_cast<float>(v); });
  case plan::DType::F16:
    return fromDoubles<uint16_t>(values, target, roundToHalf);
  case plan::DType::BF16:
    return fromDoubles<uint16_t>(values, target, roundToBFloat16);
  }
}

void convertElements(HostType from, const std::byte *source, plan::DType to, std::byte *target,
                     int64_t count) {
  if (count <= 0)
    return;
  if (from == hostTypeOf(to)) {
    std::memcpy(target, source, static_cast<size_t>(count * hostTypeBytes(from)));
    return;
  }
  double values[kChunk];
  for (int64_t first = 0; first < count; first += kChunk) {
    int64_t length = std::min(kChunk, count - first);
    loadDoubles(from, source + first * hostTypeBytes(from), values, length);
    storeDoubles({values, static_cast<size_t>(length)}, to, target + first * elementBytes(to));
  }
}

std::optional<int64_t> firstNotFinite(plan::DType type, const std::byte *data, int64_t count) {
  double values[kChunk];
  for (int64_t first = 0; first < count; first += kChunk) {
    int64_t length = std::min(kChunk, count - first);
    loadDoubles(hostTypeOf(type), data + first * plan::elementBytes(type), values, length);
    for (int64_t i = 0; i < length; ++i)
      if (!std::isfinite(values[i]))
        return first + i;
  }
  return std::nullopt;
}

} // namespace evo
