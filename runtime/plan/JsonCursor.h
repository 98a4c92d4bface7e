//===- JsonCursor.h - reading JSON with paths in the errors -----*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// A cursor stands at a value and knows its way back to the root, so that an error costs nothing
// until it happens. The first error of a document sticks in JsonErrors; after it every read returns
// a default and the caller looks once, at the end.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/plan/JsonText.h"

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace evo::plan {

/// The first error of a document.
struct JsonErrors {
  Status status;
  bool ok() const { return status.ok(); }
};

class JsonObject;

/// A value of the document. Must not outlive the cursor or object that it was taken from.
class JsonCursor {
public:
  JsonCursor(const nlohmann::json &value, JsonErrors &errors) : value(&value), errors(&errors) {}

  bool ok() const { return errors->ok(); }
  bool isObject() const { return value->is_object(); }
  bool isInteger() const { return value->is_number_integer(); }

  int64_t integer(int64_t least, int64_t most = INT64_MAX) const;
  int32_t index(int32_t least = 0) const { return static_cast<int32_t>(integer(least, INT32_MAX)); }
  double number() const;
  std::string string() const;
  /// One of the first `count` values of an enum, by its name.
  template <class Enum, class Name> Enum enumeration(size_t count, Name name) const {
    std::vector<std::string_view> names;
    for (size_t i = 0; i < count; ++i)
      names.push_back(name(static_cast<Enum>(i)));
    return static_cast<Enum>(choice(names));
  }
  /// Calls `visit(JsonCursor)` on every element of an array.
  template <class Visit> void elements(Visit visit) const {
    if (!expectArray())
      return;
    for (size_t i = 0; i < value->size() && ok(); ++i)
      visit(JsonCursor((*value)[i], *errors, this, {}, i));
  }
  /// Calls `visit(key, JsonCursor)` on every member of an object, in the order of the keys.
  template <class Visit> void members(Visit visit) const {
    if (!expectObject())
      return;
    for (auto it = value->begin(); it != value->end() && ok(); ++it)
      visit(it.key(), JsonCursor(it.value(), *errors, this, it.key(), 0));
  }
  std::vector<int64_t> integers(int64_t least) const;
  std::vector<std::string> strings() const;

  /// Records "<path>: expected <expected>, got <this value>".
  void expected(const std::string &what) const;
  /// Records "<path>: <message>".
  void fail(const std::string &message) const;

private:
  friend class JsonObject;
  JsonCursor(const nlohmann::json &value, JsonErrors &errors, const JsonCursor *parent,
             std::string_view key, size_t position)
      : value(&value), errors(&errors), parent(parent), key(key), position(position) {}

  bool expectArray() const;
  bool expectObject() const;
  size_t choice(const std::vector<std::string_view> &names) const;
  std::string path() const;
  std::string describe() const;

  const nlohmann::json *value;
  JsonErrors *errors;
  const JsonCursor *parent = nullptr;
  std::string_view key; ///< in the parent; empty in an array
  size_t position = 0;  ///< in an array
};

/// An object whose every key must be asked for. `finish` refuses those that were not.
class JsonObject {
public:
  explicit JsonObject(const JsonCursor &cursor) : cursor(cursor) { cursor.expectObject(); }

  bool has(std::string_view key);
  /// A required member; its absence is an error.
  JsonCursor at(std::string_view key);
  std::optional<JsonCursor> find(std::string_view key);
  void finish();
  const JsonCursor &self() const { return cursor; }

private:
  JsonCursor cursor;
  std::vector<std::string_view> known;
};

} // namespace evo::plan
