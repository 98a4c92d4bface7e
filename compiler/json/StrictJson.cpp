//===- StrictJson.cpp -------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "compiler/json/StrictJson.h"

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <limits>
#include <memory>
#include <numeric>
#include <set>
#include <vector>

namespace evo::json {

namespace {
constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr size_t kMaxShownText = 60;

Status invalid(std::string message) {
  return Status::error(ErrorCode::InvalidInput, std::move(message));
}

Status ioError(const std::string &path, int error) {
  return Status::error(ErrorCode::Io, path + ": " + std::strerror(error));
}

/// "line:column" of a byte, both from 1.
std::string position(std::string_view text, size_t byte) {
  std::string_view before = text.substr(0, std::min(byte, text.size()));
  auto line = 1 + std::count(before.begin(), before.end(), '\n');
  size_t lineStart = before.rfind('\n') + 1; // npos + 1 is 0
  return std::to_string(line) + ":" + std::to_string(before.size() - lineStart + 1);
}

/// The library's message without its own prefix and position, which this house writes otherwise.
std::string syntaxMessage(std::string_view what) {
  if (size_t at = what.find(": "); at != std::string_view::npos)
    what.remove_prefix(at + 2);
  std::string shown;
  for (char c : what)
    shown += c >= ' ' && c <= '~' ? c : '?';
  return shown;
}

/// Watches the parser's events for an object that has a key twice.
class DuplicateKeys {
public:
  bool operator()(int, Json::parse_event_t event, Json &parsed) {
    if (event == Json::parse_event_t::object_start) {
      seen.emplace_back();
    } else if (event == Json::parse_event_t::object_end) {
      seen.pop_back();
    } else if (event == Json::parse_event_t::key && duplicate.empty()) {
      const std::string &key = parsed.get_ref<const std::string &>();
      if (!seen.back().insert(key).second)
        duplicate = quote(key);
    }
    return true;
  }
  std::string duplicate; ///< the first one found, quoted

private:
  std::vector<std::set<std::string>> seen;
};

std::string joined(std::string_view path, std::string_view key) {
  return path.empty() ? std::string(key) : std::string(path) + "." + std::string(key);
}
} // namespace

const NumberRange kPositive = {0, kInfinity, true, true, "a number > 0"};
const NumberRange kNonNegative = {0, kInfinity, false, true, "a number >= 0"};
const NumberRange kUnitOpen = {0, 1, false, true, "a number in [0, 1)"};

Result<std::string> readTextFile(const std::string &path) {
  std::unique_ptr<std::FILE, int (*)(std::FILE *)> file(std::fopen(path.c_str(), "rb"),
                                                        &std::fclose);
  if (!file)
    return ioError(path, errno);
  std::string text;
  std::vector<char> piece(size_t{1} << 16);
  while (size_t got = std::fread(piece.data(), 1, piece.size(), file.get())) {
    text.append(piece.data(), got);
    if (static_cast<int64_t>(text.size()) > kMaxFileBytes)
      return invalid(path + ": expected a file of at most " + std::to_string(kMaxFileBytes) +
                     " bytes, got more");
  }
  if (std::ferror(file.get()))
    return ioError(path, errno);
  return text;
}

Result<Json> parseStrict(std::string_view text, std::string_view fileName) {
  const std::string file(fileName);
  if (text.find_first_not_of(" \t\r\n") == std::string_view::npos)
    return invalid(file + ": expected a JSON object, got an empty file");
  DuplicateKeys duplicates;
  try {
    Json value = Json::parse(text.begin(), text.end(), std::ref(duplicates));
    if (!duplicates.duplicate.empty())
      return invalid(file + ": expected every key once, got " + duplicates.duplicate +
                     " twice in one object");
    return value;
  } catch (const Json::parse_error &error) {
    // `byte` counts from 1 and stands behind the byte that was read last.
    return invalid(file + ":" + position(text, error.byte == 0 ? 0 : error.byte - 1) +
                   ": expected JSON, got a " + syntaxMessage(error.what()));
  } catch (const Json::exception &error) {
    return invalid(file + ": expected JSON, got a " + syntaxMessage(error.what()));
  }
}

std::string quote(std::string_view text) {
  std::string out = "\"";
  for (char c : text.substr(0, kMaxShownText)) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (c >= ' ' && c <= '~') {
      out += c;
    } else {
      char escape[8];
      std::snprintf(escape, sizeof escape, "\\x%02x", static_cast<unsigned char>(c));
      out += escape;
    }
  }
  return out + (text.size() > kMaxShownText ? "...\"" : "\"");
}

std::string describe(const Json &value) {
  if (value.is_object())
    return "an object";
  if (value.is_array())
    return "an array";
  if (value.is_string())
    return quote(value.get_ref<const std::string &>());
  return value.dump();
}

int64_t editDistance(std::string_view a, std::string_view b) {
  std::vector<int64_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), 0);
  for (size_t i = 1; i <= a.size(); ++i) {
    int64_t diagonal = std::exchange(row[0], static_cast<int64_t>(i));
    for (size_t j = 1; j <= b.size(); ++j) {
      int64_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({replaced, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row[b.size()];
}

std::string_view nearestName(std::string_view name, std::span<const std::string_view> legal) {
  std::string_view best;
  // Half of the name may differ: further away it is another word, and the whole list is of more
  // use.
  int64_t bestDistance = static_cast<int64_t>(name.size()) / 2 + 1;
  if (name.size() > kMaxShownText)
    return best;
  for (std::string_view candidate : legal) {
    int64_t distance = editDistance(name, candidate);
    if (distance < bestDistance) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best;
}

Status checkKeys(const Json &value, std::string_view path, std::span<const KeyRule> rules,
                 const UnknownKeyHint &hint) {
  const std::string where = path.empty() ? std::string("the root") : std::string(path);
  if (!value.is_object())
    return invalid(where + ": expected an object, got " + describe(value));
  std::vector<std::string_view> legal;
  std::string list;
  for (const KeyRule &rule : rules) {
    legal.push_back(rule.name);
    list += (list.empty() ? "" : ", ") + std::string(rule.name);
  }
  for (const auto &item : value.items()) {
    const std::string &key = item.key();
    if (std::find(legal.begin(), legal.end(), key) != legal.end())
      continue;
    std::string advice = hint ? hint(key) : "";
    if (advice.empty()) {
      std::string_view nearest = nearestName(key, legal);
      advice = nearest.empty() ? "" : "did you mean " + quote(nearest) + "?";
    }
    return invalid(where + ": expected one of the keys " + list + ", got " + quote(key) +
                   (advice.empty() ? "" : "; " + advice));
  }
  for (const KeyRule &rule : rules)
    if (rule.required && !value.contains(std::string(rule.name)))
      return invalid(joined(path, rule.name) + ": expected this required key, got none");
  return Status::success();
}

Status checkFormat(const Json &root, std::string_view format) {
  const Json *value = FieldReader(root).find("format");
  const std::string got = value ? describe(*value) : "no such key";
  if (got == quote(format))
    return Status::success();
  return invalid("format: expected " + quote(format) + ", got " + got +
                 "; it names the version of the file's keys");
}

const Json *FieldReader::find(std::string_view path) const {
  const Json *value = &root;
  while (!path.empty()) {
    size_t dot = path.find('.');
    std::string_view key = path.substr(0, dot);
    if (!value->is_object())
      return nullptr;
    auto found = value->find(std::string(key));
    if (found == value->end())
      return nullptr;
    value = &*found;
    path = dot == std::string_view::npos ? std::string_view() : path.substr(dot + 1);
  }
  return value;
}

void FieldReader::fail(std::string_view path, std::string_view expected, const Json &got) {
  if (first.ok())
    first = invalid(std::string(path) + ": expected " + std::string(expected) + ", got " +
                    describe(got));
}

void FieldReader::integer(std::string_view path, int64_t &out, int64_t low, int64_t high) {
  const Json *value = find(path);
  if (!value || !first.ok())
    return;
  // Unsigned covers [0, 2^64), of which only the lower half is an int64.
  bool fits =
      value->is_number_integer() &&
      (!value->is_number_unsigned() ||
       value->get<uint64_t>() <= static_cast<uint64_t>(std::numeric_limits<int64_t>::max()));
  int64_t number = fits ? value->get<int64_t>() : 0;
  if (!fits || number < low || number > high)
    return fail(path,
                "an integer from " + std::to_string(low) + " to " + std::to_string(high) +
                    ", written without fraction or exponent",
                *value);
  out = number;
}

void FieldReader::number(std::string_view path, double &out, const NumberRange &range) {
  const Json *value = find(path);
  if (!value || !first.ok())
    return;
  double number = value->is_number() ? value->get<double>() : 0;
  bool inside = value->is_number() && std::isfinite(number) &&
                (range.lowOpen ? number > range.low : number >= range.low) &&
                (range.highOpen ? number < range.high : number <= range.high);
  if (!inside)
    return fail(path, range.text, *value);
  out = number;
}

void FieldReader::boolean(std::string_view path, bool &out) {
  const Json *value = find(path);
  if (!value || !first.ok())
    return;
  if (!value->is_boolean())
    return fail(path, "true or false", *value);
  out = value->get<bool>();
}

void FieldReader::text(std::string_view path, std::string &out) {
  const Json *value = find(path);
  if (!value || !first.ok())
    return;
  if (!value->is_string())
    return fail(path, "a string", *value);
  out = value->get<std::string>();
}

void FieldReader::choice(std::string_view path, size_t &out,
                         std::span<const std::string_view> names) {
  const Json *value = find(path);
  if (!value || !first.ok())
    return;
  std::string list;
  for (size_t i = 0; i < names.size(); ++i) {
    if (value->is_string() && value->get_ref<const std::string &>() == names[i]) {
      out = i;
      return;
    }
    list += (i == 0 ? "" : i + 1 == names.size() ? " or " : ", ") + quote(names[i]);
  }
  fail(path, list, *value);
}

} // namespace evo::json
