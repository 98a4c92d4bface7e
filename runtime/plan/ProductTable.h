//===- ProductTable.h - how a library computes products ---------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// A library of matrix products proposes several ways to compute one, the one that it takes for the
// quickest first. A calibration measures them; a profile keeps which were quickest, a plan carries
// those of its type, and a backend follows them. So what is computed is a function of the plan and
// the library's version, not of the library's guesses at run time.
//
// Values only: what the numbers of a way mean is the backend's affair.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/plan/DType.h"

#include <array>
#include <compare>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace evo::plan {

/// What products have in common that one kernel of the library computes, in the library's own
/// terms: column-major, d = act(op(a) op(b) + bias) + c.
struct ProductClass {
  DType input = DType::F32, output = DType::F32; ///< of a and b; of c and d
  bool tf32 = false;                             ///< f32 is multiplied as tf32
  bool transposeA = false, transposeB = false;
  bool bias = false, relu = false, addend = false;
  auto operator<=>(const ProductClass &) const = default;
};

/// `batches` products of [m, k] by [k, n].
struct ProductShape {
  int64_t m = 1, n = 1, k = 1, batches = 1;
  auto operator<=>(const ProductShape &) const = default;
};

/// A way to compute a product: the numbers by which the library tells its ways apart.
inline constexpr size_t kWayNumbers = 9;
using ProductWay = std::array<int64_t, kWayNumbers>;

struct MeasuredProduct {
  ProductShape shape;
  int32_t way = -1; ///< index into ProductTable::ways; -1: the library's first was as quick as any
  auto operator<=>(const MeasuredProduct &) const = default;
};

struct ProductSeries {
  ProductClass products;
  std::vector<MeasuredProduct> measured;
  bool operator==(const ProductSeries &) const = default;
};

struct ProductTable {
  std::string library;          ///< with its version: "cuBLASLt 13.0.2"
  std::vector<ProductWay> ways; ///< each once
  std::vector<ProductSeries> series;
  bool empty() const { return series.empty(); }
  bool operator==(const ProductTable &) const = default;
};

/// The way of the nearest shape that was measured in the class: by the sum of the absolute binary
/// logarithms of the extents' ratios, of equals the first. Null: the library's first.
const ProductWay *nearestWay(const ProductTable &table, const ProductClass &products,
                             const ProductShape &shape);

/// The part that plans of a precision need: the classes of its storage type in which some shape has
/// another way than the library's first, and the ways that these name. Without such a class empty.
ProductTable productsOf(const ProductTable &table, Precision precision);

/// Ways of another version of the library are not this one's: what the report says then; empty: the
/// table is followed.
std::string whyNotFollowed(const ProductTable &table, std::string_view library);

} // namespace evo::plan
