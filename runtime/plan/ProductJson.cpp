//===- ProductJson.cpp ------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "runtime/plan/ProductJson.h"

#include <algorithm>
#include <exception>

namespace evo::plan {

namespace {

using Json = nlohmann::ordered_json;

/// What may be done to a product besides, in the order of the list "epilogue".
struct Epilogue {
  std::string_view name;
  bool ProductClass::*flag;
};
constexpr Epilogue kEpilogues[] = {{"bias", &ProductClass::bias},
                                   {"relu", &ProductClass::relu},
                                   {"addend", &ProductClass::addend}};

/// Whether a is transposed is the higher bit, whether b is the lower one.
std::string_view transposesName(uint8_t transposes) {
  constexpr std::string_view kNames[] = {"nn", "nt", "tn", "tt"};
  return kNames[transposes & 3u];
}

std::string_view multiplicationName(bool tf32) { return tf32 ? "tf32" : "full"; }

DType readType(const JsonCursor &cursor) { return cursor.enumeration<DType>(4, dtypeName); }

ProductClass readClass(JsonObject &object) {
  ProductClass products;
  products.input = readType(object.at("input"));
  products.output = readType(object.at("output"));
  if (auto multiplied = object.find("multiplied"))
    products.tf32 = multiplied->enumeration<bool>(2, multiplicationName);
  uint8_t transposes = object.at("transposes").enumeration<uint8_t>(4, transposesName);
  products.transposeA = transposes & 2u;
  products.transposeB = transposes & 1u;
  if (auto list = object.find("epilogue"))
    list->elements([&](const JsonCursor &element) {
      size_t chosen = element.enumeration<size_t>(std::size(kEpilogues),
                                                  [](size_t i) { return kEpilogues[i].name; });
      products.*kEpilogues[chosen].flag = true;
    });
  return products;
}

MeasuredProduct readMeasured(const JsonCursor &cursor, int64_t ways) {
  int64_t numbers[5] = {1, 1, 1, 1, 0};
  size_t count = 0;
  cursor.elements([&](const JsonCursor &element) {
    if (count < std::size(numbers))
      numbers[count] = count == 4 ? element.integer(0, ways) : element.integer(1);
    ++count;
  });
  if (count != std::size(numbers))
    cursor.expected("[m, n, k, batches, way]");
  return {{numbers[0], numbers[1], numbers[2], numbers[3]}, static_cast<int32_t>(numbers[4]) - 1};
}

ProductSeries readSeries(const JsonCursor &cursor, int64_t ways) {
  JsonObject object(cursor);
  ProductSeries series;
  series.products = readClass(object);
  object.at("shapes").elements(
      [&](const JsonCursor &element) { series.measured.push_back(readMeasured(element, ways)); });
  object.finish();
  return series;
}

ProductWay readWay(const JsonCursor &cursor) {
  ProductWay way{};
  size_t count = 0;
  cursor.elements([&](const JsonCursor &element) {
    if (count < way.size())
      way[count] = element.integer(-1, UINT32_MAX);
    ++count;
  });
  if (count != way.size())
    cursor.expected("the " + std::to_string(way.size()) + " numbers of a way");
  return way;
}

} // namespace

nlohmann::ordered_json seriesJson(const ProductSeries &series) {
  const ProductClass &products = series.products;
  Json object = {{"input", dtypeName(products.input)}, {"output", dtypeName(products.output)}};
  if (products.tf32)
    object["multiplied"] = multiplicationName(true);
  object["transposes"] =
      transposesName(static_cast<uint8_t>(2 * products.transposeA + products.transposeB));
  Json epilogue = Json::array();
  for (const Epilogue &each : kEpilogues)
    if (products.*each.flag)
      epilogue.push_back(each.name);
  if (!epilogue.empty())
    object["epilogue"] = epilogue;
  Json shapes = Json::array();
  for (const auto &[shape, way] : series.measured)
    shapes.push_back({shape.m, shape.n, shape.k, shape.batches, way + 1});
  object["shapes"] = shapes;
  return object;
}

ProductTable readProducts(const JsonCursor &cursor) {
  JsonObject object(cursor);
  ProductTable table;
  JsonCursor library = object.at("library");
  table.library = library.string();
  if (cursor.ok() && table.library.empty())
    library.expected("the library and its version");
  object.at("ways").elements(
      [&](const JsonCursor &element) { table.ways.push_back(readWay(element)); });
  const auto ways = static_cast<int64_t>(table.ways.size());
  JsonCursor list = object.at("series");
  list.elements(
      [&](const JsonCursor &element) { table.series.push_back(readSeries(element, ways)); });
  if (cursor.ok() && table.series.empty())
    list.expected("at least one class of products");
  object.finish();
  return table;
}

std::string printProducts(const ProductTable &table) {
  Json series = Json::array();
  for (const ProductSeries &each : table.series)
    series.push_back(seriesJson(each));
  Json object = {{"library", table.library}, {"ways", table.ways}, {"series", series}};
  return object.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Result<ProductTable> parseProducts(std::string_view text, std::string_view name) {
  try {
    nlohmann::json root;
    EVO_ASSIGN(root[std::string(name)], parseJsonText(text));
    JsonErrors errors;
    JsonObject object(JsonCursor(root, errors));
    ProductTable table = readProducts(object.at(name));
    EVO_TRY(errors.status);
    return table;
  } catch (const std::exception &error) {
    return Status::error(ErrorCode::Internal,
                         std::string("expected a table of products, got ") + error.what());
  }
}

} // namespace evo::plan
