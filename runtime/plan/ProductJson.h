//===- ProductJson.h - tables of products as JSON ---------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// The same form in plans and in profiles; SCHEMA.md documents it.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/plan/JsonCursor.h"
#include "runtime/plan/ProductTable.h"

#include <string>
#include <string_view>

namespace evo::plan {

/// Entries of a table's list "series", in order.
nlohmann::ordered_json seriesJson(const ProductSeries &series);
ProductTable readProducts(const JsonCursor &cursor);

/// A table by itself, on one line.
std::string printProducts(const ProductTable &table);
/// Errors name the place in the table, below `name`, expected and got.
Result<ProductTable> parseProducts(std::string_view text, std::string_view name);

} // namespace evo::plan
