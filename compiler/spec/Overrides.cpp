//===- Overrides.cpp --------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "compiler/spec/Overrides.h"

#include <vector>

namespace evo::spec {

namespace {
Status usage(std::string message) { return Status::error(ErrorCode::Usage, std::move(message)); }

bool isUtf8(std::string_view text) {
  try {
    (void)json::Json(text).dump(); // strict: throws at the first byte that is not UTF-8
    return true;
  } catch (const json::Json::exception &) {
    return false;
  }
}

/// A text key takes its value as written, or in quotes; other keys take JSON, and where it is none
/// the text itself, so that the checker's message shows it.
json::Json overrideValue(const KeyInfo &key, std::string_view value) {
  Result<json::Json> parsed = json::parseStrict(value, "");
  if (parsed.ok() && (key.kind != KeyKind::Text || parsed->is_string()))
    return *std::move(parsed);
  return std::string(value);
}
} // namespace

Result<Override> parseOverride(std::string_view text) {
  size_t equals = text.find('=');
  if (equals == std::string_view::npos || equals == 0)
    return usage("--set: expected NAME=VALUE, got " + json::quote(text));
  if (!isUtf8(text))
    return usage("--set: expected UTF-8, got " + json::quote(text));
  return Override{text.substr(0, equals), text.substr(equals + 1)};
}

Result<const KeyInfo *> resolveKey(std::string_view name, std::span<const KeyInfo> keys,
                                   StackMask stacks) {
  std::vector<const KeyInfo *> matches;
  std::vector<std::string_view> legal;
  for (const KeyInfo &key : keys) {
    if (!(key.stacks & stacks))
      continue;
    if (key.path == name)
      return &key;
    if (key.name() == name)
      matches.push_back(&key);
    legal.push_back(name.find('.') == std::string_view::npos ? key.name() : key.path);
  }
  if (matches.size() == 1)
    return matches.front();
  if (matches.empty()) {
    std::string_view nearest = json::nearestName(name, legal);
    return usage("--set " + json::quote(name) + ": expected a key of the specification, got none" +
                 (nearest.empty() ? "" : "; did you mean " + json::quote(nearest) + "?"));
  }
  std::string list;
  for (const KeyInfo *key : matches)
    list += (list.empty() ? "" : " or ") + std::string(key->path);
  return usage("--set " + json::quote(name) + ": expected a name that only one key has, got " +
               std::to_string(matches.size()) + "; write " + list);
}

Status applyOverride(json::Json &root, const KeyInfo &key, std::string_view value) {
  json::Json *object = &root;
  if (!key.parent().empty()) {
    json::Json &parent = root[std::string(key.parent())];
    if (parent.is_null())
      parent = json::Json::object();
    object = &parent;
  }
  if (!object->is_object())
    return Status::error(ErrorCode::InvalidInput, std::string(key.parent()) +
                                                      ": expected an object, got " +
                                                      json::describe(*object));
  (*object)[std::string(key.name())] = overrideValue(key, value);
  return Status::success();
}

} // namespace evo::spec
