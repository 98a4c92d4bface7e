//===- JsonText.cpp ---------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "runtime/plan/JsonText.h"

#include <algorithm>
#include <cstdint>
#include <vector>

namespace evo::plan {

namespace {

using Json = nlohmann::json;

/// Builds the value from the library's parse events, watching what the library does not.
class StrictBuilder : public nlohmann::json_sax<Json> {
public:
  explicit StrictBuilder(std::string_view source) : source(source) {}

  Json root;
  Status status;

  bool null() override { return add(nullptr); }
  bool boolean(bool value) override { return add(value); }
  bool number_integer(number_integer_t value) override { return add(value); }
  bool number_unsigned(number_unsigned_t value) override { return add(value); }
  bool number_float(number_float_t value, const string_t &token) override {
    // An integer that no 64-bit type holds comes as a float.
    if (token.find_first_of(".eE") == std::string::npos)
      return fail(pathOfNext() + "expected an integer of at most " + std::to_string(INT64_MAX) +
                  ", got " + clipText(token));
    return add(value);
  }
  bool string(string_t &value) override { return add(std::move(value)); }
  bool binary(binary_t &) override { return fail("expected text, got binary data"); }

  bool start_object(size_t) override { return enter(Json::object()); }
  bool start_array(size_t) override { return enter(Json::array()); }
  bool end_object() override { return leave(); }
  bool end_array() override { return leave(); }

  bool key(string_t &name) override {
    pendingKey = std::move(name);
    if (open.back()->contains(pendingKey))
      return fail(pathOfNext() + "expected the key once, got it twice");
    return true;
  }

  bool parse_error(size_t position, const std::string &, const Json::exception &error) override {
    // `position` counts the character that does not fit.
    size_t read = std::min(position > 0 ? position - 1 : 0, source.size());
    std::string_view before = source.substr(0, read);
    auto line = 1 + std::count(before.begin(), before.end(), '\n');
    size_t lastBreak = before.rfind('\n');
    size_t column = read - (lastBreak == std::string_view::npos ? 0 : lastBreak + 1) + 1;
    std::string_view reason = error.what();
    if (size_t dash = reason.find(" - "); dash != std::string_view::npos)
      reason.remove_prefix(dash + 3);
    return fail("expected JSON, got an error at line " + std::to_string(line) + ", column " +
                std::to_string(column) + ": " + std::string(reason.substr(0, 200)));
  }

private:
  bool fail(std::string message) {
    status = Status::error(ErrorCode::InvalidPlan, std::move(message));
    return false;
  }

  /// Where the next value goes, as "a.b[2]: ".
  std::string pathOfNext() const {
    std::string path;
    for (size_t i = 0; i < open.size(); ++i) {
      bool last = i + 1 == open.size();
      if (open[i]->is_array())
        path.append("[").append(std::to_string(open[i]->size() - (last ? 0 : 1))).append("]");
      else
        path.append(path.empty() ? "" : ".").append(clipText(last ? pendingKey : keys[i]));
    }
    return path.empty() ? path : path + ": ";
  }

  Json *place(Json value) {
    if (open.empty()) {
      root = std::move(value);
      return &root;
    }
    Json &parent = *open.back();
    if (parent.is_array()) {
      parent.push_back(std::move(value));
      return &parent.back();
    }
    Json &slot = parent[pendingKey];
    slot = std::move(value);
    return &slot;
  }

  bool add(Json value) {
    place(std::move(value));
    return true;
  }

  bool enter(Json value) {
    if (open.size() >= kMaxJsonDepth)
      return fail("expected at most " + std::to_string(kMaxJsonDepth) +
                  " nested objects and arrays, got more");
    Json *container = place(std::move(value));
    if (!keys.empty())
      keys.back() = pendingKey;
    open.push_back(container);
    keys.emplace_back();
    return true;
  }

  bool leave() {
    open.pop_back();
    keys.pop_back();
    return true;
  }

  std::string_view source;
  // A container's address is stable while it is open: nothing is added to its parent meanwhile.
  std::vector<Json *> open;
  std::vector<std::string> keys; ///< of each open object: the key whose value is open
  std::string pendingKey;
};

} // namespace

std::string clipText(std::string_view text) {
  constexpr size_t limit = 64;
  return text.size() <= limit ? std::string(text) : std::string(text.substr(0, limit)) + "...";
}

Result<nlohmann::json> parseJsonText(std::string_view text) {
  StrictBuilder builder(text);
  bool whole = Json::sax_parse(text.begin(), text.end(), &builder);
  if (!builder.status)
    return builder.status;
  if (!whole)
    return Status::error(ErrorCode::InvalidPlan, "expected JSON, got something else");
  return std::move(builder.root);
}

} // namespace evo::plan
