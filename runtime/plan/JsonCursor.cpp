//===- JsonCursor.cpp -------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "runtime/plan/JsonCursor.h"

#include <algorithm>
#include <cmath>

namespace evo::plan {

namespace {
/// What a cursor stands at when the value is missing; the error is recorded already.
const nlohmann::json &nothing() {
  static const nlohmann::json value;
  return value;
}

std::string join(const std::vector<std::string_view> &names) {
  std::string text;
  for (std::string_view name : names)
    text += (text.empty() ? "'" : ", '") + std::string(name) + "'";
  return text;
}
} // namespace

std::string JsonCursor::path() const {
  if (!parent)
    return {};
  std::string before = parent->path();
  if (parent->value->is_array())
    return before + "[" + std::to_string(position) + "]";
  return before + (before.empty() ? "" : ".") + clipText(key);
}

std::string JsonCursor::describe() const {
  if (value->is_object())
    return "an object";
  if (value->is_array())
    return "an array of " + std::to_string(value->size());
  if (value->is_string())
    return "string \"" + clipText(value->get_ref<const std::string &>()) + "\"";
  return value->dump();
}

void JsonCursor::fail(const std::string &message) const {
  if (!ok())
    return;
  std::string where = path();
  errors->status =
      Status::error(ErrorCode::InvalidPlan, where.empty() ? message : where + ": " + message);
}

void JsonCursor::expected(const std::string &what) const {
  if (ok())
    fail("expected " + what + ", got " + describe());
}

bool JsonCursor::expectArray() const {
  if (!value->is_array())
    expected("an array");
  return ok();
}

bool JsonCursor::expectObject() const {
  if (!value->is_object())
    expected("an object");
  return ok();
}

int64_t JsonCursor::integer(int64_t least, int64_t most) const {
  if (!value->is_number_integer()) {
    expected("an integer");
    return least;
  }
  bool tooLarge = value->is_number_unsigned() && value->get<uint64_t>() > uint64_t{INT64_MAX};
  int64_t number = tooLarge ? INT64_MAX : value->get<int64_t>();
  if (tooLarge || number > most) {
    expected("an integer of at most " + std::to_string(most));
    return least;
  }
  if (number < least) {
    expected("an integer of at least " + std::to_string(least));
    return least;
  }
  return number;
}

double JsonCursor::number() const {
  if (!value->is_number() || !std::isfinite(value->get<double>())) {
    expected("a number");
    return 0;
  }
  return value->get<double>();
}

std::string JsonCursor::string() const {
  if (!value->is_string()) {
    expected("a string");
    return {};
  }
  return value->get<std::string>();
}

size_t JsonCursor::choice(const std::vector<std::string_view> &names) const {
  std::string name = string();
  auto found = std::find(names.begin(), names.end(), name);
  if (found == names.end()) {
    expected("one of " + join(names));
    return 0;
  }
  return static_cast<size_t>(found - names.begin());
}

std::vector<int64_t> JsonCursor::integers(int64_t least) const {
  std::vector<int64_t> numbers;
  elements([&](const JsonCursor &element) { numbers.push_back(element.integer(least)); });
  return numbers;
}

std::vector<std::string> JsonCursor::strings() const {
  std::vector<std::string> texts;
  elements([&](const JsonCursor &element) { texts.push_back(element.string()); });
  return texts;
}

std::optional<JsonCursor> JsonObject::find(std::string_view key) {
  if (std::find(known.begin(), known.end(), key) == known.end())
    known.push_back(key);
  if (!cursor.value->is_object())
    return std::nullopt;
  auto found = cursor.value->find(key);
  if (found == cursor.value->end())
    return std::nullopt;
  return JsonCursor(*found, *cursor.errors, &cursor, key, 0);
}

bool JsonObject::has(std::string_view key) { return find(key).has_value(); }

JsonCursor JsonObject::at(std::string_view key) {
  if (auto member = find(key))
    return *member;
  cursor.fail("expected key '" + std::string(key) + "', got none");
  return JsonCursor(nothing(), *cursor.errors, &cursor, key, 0);
}

void JsonObject::finish() {
  cursor.members([&](const std::string &key, const JsonCursor &member) {
    if (std::find(known.begin(), known.end(), key) == known.end())
      member.fail("expected one of the keys " + join(known) + ", got '" + clipText(key) + "'");
  });
}

} // namespace evo::plan
