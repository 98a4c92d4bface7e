//===- ProductTable.cpp -----------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "runtime/plan/ProductTable.h"

#include <algorithm>
#include <cmath>
#include <map>

namespace evo::plan {

static double distanceOf(const ProductShape &a, const ProductShape &b) {
  auto apart = [](int64_t x, int64_t y) {
    return std::abs(std::log2(static_cast<double>(x)) - std::log2(static_cast<double>(y)));
  };
  return apart(a.m, b.m) + apart(a.n, b.n) + apart(a.k, b.k) + apart(a.batches, b.batches);
}

const ProductWay *nearestWay(const ProductTable &table, const ProductClass &products,
                             const ProductShape &shape) {
  const MeasuredProduct *nearest = nullptr;
  double least = 0;
  for (const ProductSeries &series : table.series) {
    if (series.products != products)
      continue;
    for (const MeasuredProduct &measured : series.measured) {
      double distance = distanceOf(measured.shape, shape);
      if (!nearest || distance < least) {
        nearest = &measured;
        least = distance;
      }
    }
  }
  return nearest && nearest->way >= 0 ? &table.ways[static_cast<size_t>(nearest->way)] : nullptr;
}

ProductTable productsOf(const ProductTable &table, Precision precision) {
  ProductTable part;
  std::map<int32_t, int32_t> kept; // ways of the part by those of the table
  for (const ProductSeries &series : table.series) {
    bool differs = std::any_of(series.measured.begin(), series.measured.end(),
                               [](const MeasuredProduct &each) { return each.way >= 0; });
    if (!differs || series.products.input != storageType(precision) ||
        series.products.tf32 != (precision == Precision::Tf32))
      continue;
    part.series.push_back(series);
    for (MeasuredProduct &measured : part.series.back().measured) {
      if (measured.way < 0)
        continue;
      auto [entry, isNew] = kept.try_emplace(measured.way, static_cast<int32_t>(part.ways.size()));
      if (isNew)
        part.ways.push_back(table.ways[static_cast<size_t>(measured.way)]);
      measured.way = entry->second;
    }
  }
  if (!part.empty())
    part.library = table.library;
  return part;
}

std::string whyNotFollowed(const ProductTable &table, std::string_view library) {
  if (table.empty() || table.library == library)
    return "";
  return "products as " + std::string(library) + " proposes: the plan's table is of " +
         table.library;
}

} // namespace evo::plan
