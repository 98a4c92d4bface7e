//===- Convert.h - element type conversions ---------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// Between the types of tensor files and the storage types of plans. Every conversion rounds once,
// to nearest, ties to even; what passes the largest finite value becomes an infinity.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/core/HostTensor.h"

namespace evo {

/// F64, F32, F16, BF16.
bool isFloating(HostType type);
/// The floating types, U8 and BOOL (a byte other than 0 is 1).
bool isConvertible(HostType type);

/// `from` must be convertible. Neither side needs alignment; they must not overlap.
void convertElements(HostType from, const std::byte *source, plan::DType to, std::byte *target,
                     int64_t count);
/// Stores doubles as `to`.
void storeDoubles(std::span<const double> values, plan::DType to, std::byte *target);

/// Index of the first infinity or NaN; nothing where all are finite.
std::optional<int64_t> firstNotFinite(plan::DType type, const std::byte *data, int64_t count);

uint16_t roundToHalf(double value);
uint16_t roundToBFloat16(double value);
double halfToDouble(uint16_t bits);
double bfloat16ToDouble(uint16_t bits);

} // namespace evo
