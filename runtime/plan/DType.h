//===- DType.h - element types and bytes ------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// The one place for element sizes and tensor bytes.
//===----------------------------------------------------------------------===//
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace evo::plan {

/// How an element is stored.
enum class DType : uint8_t { F64, F32, F16, BF16 };

/// What `--dtype` and a specification's "dtype" name: the storage type of streams and weights and
/// how matrix products are computed. tf32 stores F32.
enum class Precision : uint8_t { Fp64, Fp32, Tf32, Bf16, Fp16 };

std::string_view dtypeName(DType type);      ///< "f64" | "f32" | "f16" | "bf16"
std::string_view precisionName(Precision p); ///< "fp64" | "fp32" | "tf32" | "bf16" | "fp16"
std::optional<DType> parseDType(std::string_view name);
std::optional<Precision> parsePrecision(std::string_view name);

/// The storage type of streams and weights.
DType storageType(Precision p);
/// The type of statistics (mean, rstd, log-sum-exp) and other accumulated values: F64 for fp64,
/// else F32.
DType statisticType(Precision p);

/// Bytes of one element.
int64_t elementBytes(DType type);
/// Bytes of a dense tensor; nothing where a size is negative or the product passes 2^63 - 1.
std::optional<int64_t> byteSize(std::span<const int64_t> shape, DType type);

/// Every buffer starts at a multiple of this many bytes (vector loads, cuBLAS, TMA).
inline constexpr int64_t kAlignment = 512;
/// `bytes` rounded up to a multiple of `alignment`; `bytes` at most 2^63 - alignment.
constexpr int64_t alignTo(int64_t bytes, int64_t alignment = kAlignment) {
  return (bytes + alignment - 1) / alignment * alignment;
}

} // namespace evo::plan
