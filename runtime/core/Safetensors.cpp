//===- Safetensors.cpp ------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "runtime/core/Safetensors.h"

#include "runtime/core/TensorStream.h"

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>

namespace evo {

namespace {

using Json = nlohmann::json;

constexpr uint64_t kMaxHeaderBytes = 100'000'000;
constexpr int64_t kLengthBytes = 8;

Status malformed(std::string_view fileName, const std::string &message) {
  return Status::error(ErrorCode::InvalidInput, std::string(fileName) + ": " + message);
}

/// The header as JSON; the parser alone would let the last of two equal keys win.
Result<Json> parseHeader(std::string_view text, std::string_view fileName) {
  std::vector<std::set<std::string>> keys;
  std::string duplicate;
  auto watch = [&](int, Json::parse_event_t event, Json &value) {
    if (event == Json::parse_event_t::object_start)
      keys.emplace_back();
    else if (event == Json::parse_event_t::object_end)
      keys.pop_back();
    else if (event == Json::parse_event_t::key &&
             !keys.back().insert(value.get<std::string>()).second && duplicate.empty())
      duplicate = value.get<std::string>();
    return true;
  };
  try {
    Json header = Json::parse(text, watch);
    if (!duplicate.empty())
      return malformed(fileName, "expected distinct names, got '" + duplicate + "' twice");
    if (!header.is_object())
      return malformed(fileName,
                       "expected a JSON object as header, got " + std::string(header.type_name()));
    return header;
  } catch (const Json::parse_error &error) {
    return malformed(fileName, "expected a JSON header, got an error at header byte " +
                                   std::to_string(error.byte));
  }
}

Result<std::vector<int64_t>> parseSizes(const Json &value, const std::string &what,
                                        std::string_view fileName) {
  std::vector<int64_t> sizes;
  bool ok = value.is_array();
  for (size_t i = 0; ok && i < value.size(); ++i) {
    ok = value[i].is_number_unsigned() && value[i].get<uint64_t>() <= uint64_t{INT64_MAX};
    if (ok)
      sizes.push_back(value[i].get<int64_t>());
  }
  if (!ok)
    return malformed(fileName, what + ": expected a list of sizes in [0, 2^63), got " +
                                   value.dump(-1, ' ', true, Json::error_handler_t::replace));
  return sizes;
}

/// A tensor and where its bytes lie behind the header.
struct Entry {
  HostTensor tensor;
  int64_t begin = 0, end = 0;
};

Result<Entry> parseEntry(const std::string &name, const Json &value, std::string_view fileName) {
  std::string who = "tensor '" + name + "'";
  if (!value.is_object())
    return malformed(fileName, who + ": expected an object, got " + value.type_name());
  for (const char *key : {"dtype", "shape", "data_offsets"})
    if (!value.contains(key))
      return malformed(fileName, who + ": expected the key '" + key + "', got none");
  for (const auto &item : value.items())
    if (item.key() != "dtype" && item.key() != "shape" && item.key() != "data_offsets")
      return malformed(fileName, who + ": expected dtype, shape and data_offsets, got the key '" +
                                     item.key() + "'");
  if (!value["dtype"].is_string())
    return malformed(fileName,
                     who + ": expected a string as dtype, got " + value["dtype"].type_name());
  std::string typeName = value["dtype"].get<std::string>();
  std::optional<HostType> type = parseHostType(typeName);
  if (!type)
    return malformed(fileName, who + ": expected a dtype such as F32, F64, F16 or BF16, got '" +
                                   typeName + "'");
  Entry entry;
  entry.tensor.name = name;
  entry.tensor.dtype = *type;
  EVO_ASSIGN(entry.tensor.shape, parseSizes(value["shape"], who + " shape", fileName));
  EVO_ASSIGN(std::vector<int64_t> offsets,
             parseSizes(value["data_offsets"], who + " data_offsets", fileName));
  if (offsets.size() != 2 || offsets[0] > offsets[1])
    return malformed(fileName,
                     who + ": expected data_offsets [begin, end], got " + shapeText(offsets));
  entry.begin = offsets[0];
  entry.end = offsets[1];
  std::optional<int64_t> bytes = hostByteSize(entry.tensor.shape, *type);
  if (!bytes)
    return malformed(fileName, who + ": expected fewer than 2^63 bytes, got shape " +
                                   shapeText(entry.tensor.shape));
  if (*bytes != entry.end - entry.begin)
    return malformed(fileName, who + ": expected " + std::to_string(*bytes) + " bytes for " +
                                   typeName + " " + shapeText(entry.tensor.shape) + ", got " +
                                   std::to_string(entry.end - entry.begin));
  return entry;
}

Status checkMetadata(const Json &value, std::string_view fileName) {
  bool ok = value.is_object();
  for (const auto &item : value.items())
    ok = ok && item.value().is_string();
  return ok ? Status::success()
            : malformed(fileName, "expected strings by name in '__metadata__', got other values");
}

/// The tensors must follow each other without gap or overlap and end with the file.
Status checkTiling(const std::vector<Entry> &entries, int64_t dataBytes,
                   std::string_view fileName) {
  int64_t position = 0;
  for (const Entry &entry : entries) {
    if (entry.end > dataBytes)
      return malformed(fileName, "tensor '" + entry.tensor.name +
                                     "': expected its bytes within the " +
                                     std::to_string(dataBytes) + " behind the header, got end " +
                                     std::to_string(entry.end) + " (is the file truncated)");
    if (entry.begin != position)
      return malformed(fileName, "tensor '" + entry.tensor.name + "': expected its bytes at " +
                                     std::to_string(position) + ", got " +
                                     std::to_string(entry.begin));
    position = entry.end;
  }
  if (position != dataBytes)
    return malformed(fileName, "expected the file to end with its last tensor, got " +
                                   std::to_string(dataBytes - position) + " bytes more");
  return {};
}

Result<uint64_t> headerLength(std::span<const std::byte> content, std::string_view fileName) {
  if (content.size() < kLengthBytes)
    return malformed(fileName, "expected a safetensors file of at least 8 bytes, got " +
                                   std::to_string(content.size()));
  uint64_t length = 0;
  for (int i = kLengthBytes - 1; i >= 0; --i)
    length = length << 8 | std::to_integer<uint64_t>(content[static_cast<size_t>(i)]);
  if (length > kMaxHeaderBytes)
    return malformed(fileName, "expected a safetensors header of at most 100000000 bytes, got " +
                                   std::to_string(length));
  if (length > content.size() - kLengthBytes)
    return malformed(fileName, "expected a header of " + std::to_string(length) + " bytes, got " +
                                   std::to_string(content.size() - kLengthBytes) +
                                   " (is the file truncated)");
  return length;
}

} // namespace

Result<std::vector<HostTensor>> parseSafetensors(std::span<const std::byte> content,
                                                 std::string_view fileName,
                                                 const std::shared_ptr<const void> &owner,
                                                 SafetensorsMetadata *metadata) {
  EVO_ASSIGN(uint64_t length, headerLength(content, fileName));
  std::string_view text(reinterpret_cast<const char *>(content.data()) + kLengthBytes, length);
  if (text.empty() || text.front() != '{')
    return malformed(fileName, "expected a safetensors header that begins with '{', got another "
                               "byte");
  EVO_ASSIGN(Json header, parseHeader(text, fileName));
  std::vector<Entry> entries;
  for (const auto &item : header.items()) {
    if (item.key() == "__metadata__") {
      EVO_TRY(checkMetadata(item.value(), fileName));
      if (metadata)
        *metadata = item.value().get<SafetensorsMetadata>();
      continue;
    }
    EVO_ASSIGN(Entry entry, parseEntry(item.key(), item.value(), fileName));
    entries.push_back(std::move(entry));
  }
  std::sort(entries.begin(), entries.end(), [](const Entry &a, const Entry &b) {
    return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
  });
  std::span<const std::byte> data = content.subspan(kLengthBytes + length);
  EVO_TRY(checkTiling(entries, static_cast<int64_t>(data.size()), fileName));
  std::vector<HostTensor> tensors;
  for (Entry &entry : entries) {
    entry.tensor.bytes = data.subspan(static_cast<size_t>(entry.begin),
                                      static_cast<size_t>(entry.end - entry.begin));
    entry.tensor.owner = owner;
    tensors.push_back(std::move(entry.tensor));
  }
  return tensors;
}

Status writeSafetensors(OutputFile &file, std::span<const TensorToWrite> tensors,
                        const SafetensorsMetadata &metadata) {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  for (const auto &[key, value] : metadata)
    header["__metadata__"][key] = value;
  int64_t position = 0;
  for (const TensorToWrite &tensor : tensors) {
    std::optional<int64_t> bytes = hostByteSize(tensor.shape, tensor.dtype);
    int64_t end = 0;
    if (!bytes || __builtin_add_overflow(position, *bytes, &end))
      return malformed(file.path(), "tensor '" + tensor.name +
                                        "': expected fewer than 2^63 bytes, got shape " +
                                        shapeText(tensor.shape));
    header[tensor.name] = {{"dtype", hostTypeName(tensor.dtype)},
                           {"shape", tensor.shape},
                           {"data_offsets", {position, end}}};
    position = end;
  }
  std::string text = header.dump(-1, ' ', false, Json::error_handler_t::replace);
  text.append((8 - text.size() % 8) % 8, ' ');
  char length[kLengthBytes];
  for (int i = 0; i < kLengthBytes; ++i)
    length[i] = static_cast<char>(text.size() >> (8 * i) & 0xff);
  EVO_TRY(file.write(std::string_view(length, kLengthBytes)));
  EVO_TRY(file.write(text));
  for (const TensorToWrite &tensor : tensors)
    EVO_TRY(
        streamTensor(tensor, [&](std::span<const std::byte> bytes) { return file.write(bytes); }));
  return {};
}

} // namespace evo
