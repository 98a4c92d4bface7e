//===- StrictJson.h - files that people write -------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// What specification and profile have in common: strict JSON (no duplicate keys, no comments, no
// trailing text), keys checked against a list, typed fields with ranges. Every error names the key
// by its dotted path, what was expected and what was there.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/plan/Status.h"

#include <nlohmann/json.hpp>

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>

namespace evo::json {

using Json = nlohmann::json;

/// Nobody writes a larger specification or profile; a device file without end would never be read.
inline constexpr int64_t kMaxFileBytes = int64_t{16} << 20;

/// The contents of a regular or special file of at most `kMaxFileBytes`.
Result<std::string> readTextFile(const std::string &path);

/// One JSON value and nothing behind it. Errors give "file:line:column".
Result<Json> parseStrict(std::string_view text, std::string_view fileName);

/// `text` in double quotes, everything but printable ASCII escaped, long text cut: safe in a
/// message.
std::string quote(std::string_view text);
/// A value as a message shows it: numbers and strings as they are, `an object`, `an array`.
std::string describe(const Json &value);
/// Number of single-character edits between two names.
int64_t editDistance(std::string_view a, std::string_view b);
/// The legal name with the fewest edits, the first one among equals; empty where none is near.
std::string_view nearestName(std::string_view name, std::span<const std::string_view> legal);

struct KeyRule {
  std::string_view name;
  bool required = false;
};

/// What else there is to say about an unknown key; an empty answer falls back to the nearest legal
/// one.
using UnknownKeyHint = std::function<std::string(std::string_view key)>;

/// Checks that `value` is an object with all required keys and no unknown ones. Unknown ones are
/// named first, since a misspelt key is a missing one too. `path` is the object's own, empty for
/// the root.
Status checkKeys(const Json &value, std::string_view path, std::span<const KeyRule> rules,
                 const UnknownKeyHint &hint = {});

/// Checks "format" of the root object before anything else is read: another version has other keys.
Status checkFormat(const Json &root, std::string_view format);

/// A finite number with low < or <= x < or <= high.
struct NumberRange {
  double low, high;
  bool lowOpen, highOpen;
  std::string_view text; ///< "a number > 0"
};
extern const NumberRange kPositive;    ///< (0, inf)
extern const NumberRange kNonNegative; ///< [0, inf)
extern const NumberRange kUnitOpen;    ///< [0, 1)

/// Reads typed fields by dotted path. An absent field leaves its variable as it is; after the first
/// error nothing is read and `status` tells it.
class FieldReader {
public:
  explicit FieldReader(const Json &root) : root(root) {}

  void integer(std::string_view path, int64_t &out, int64_t low, int64_t high);
  void number(std::string_view path, double &out, const NumberRange &range);
  void boolean(std::string_view path, bool &out);
  void text(std::string_view path, std::string &out);
  /// One of `names`; gives its position.
  void choice(std::string_view path, size_t &out, std::span<const std::string_view> names);

  /// The value at a dotted path; null where it or a parent is absent.
  const Json *find(std::string_view path) const;
  /// Records "path: expected X, got Y", unless there is an error already.
  void fail(std::string_view path, std::string_view expected, const Json &got);
  const Status &status() const { return first; }

private:
  const Json &root;
  Status first;
};

} // namespace evo::json
