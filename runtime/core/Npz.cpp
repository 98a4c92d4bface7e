//===- Npz.cpp --------------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "runtime/core/Npy.h"
#include "runtime/core/TensorStream.h"

#include <algorithm>
#include <cstring>
#include <set>
#include <zlib.h>

namespace evo {

namespace {

constexpr uint32_t kLocalSignature = 0x04034b50;
constexpr uint32_t kCentralSignature = 0x02014b50;
constexpr uint32_t kEndSignature = 0x06054b50;
constexpr uint32_t kEnd64Signature = 0x06064b50;
constexpr uint32_t kLocator64Signature = 0x07064b50;
constexpr size_t kLocalBytes = 30, kCentralBytes = 46, kEndBytes = 22, kEnd64Bytes = 56,
                 kLocator64Bytes = 20;
constexpr uint16_t kStored = 0, kDeflated = 8;
/// Deflate cannot shrink further, so a larger claim is a lie (and an allocation not to make).
constexpr uint64_t kMaxDeflateRatio = 1032;

Status malformed(std::string_view fileName, const std::string &message) {
  return Status::error(ErrorCode::InvalidInput, std::string(fileName) + ": " + message);
}

/// Little-endian numbers; the caller has checked that they lie within the bytes.
uint64_t number(std::span<const std::byte> bytes, size_t at, size_t count) {
  uint64_t value = 0;
  for (size_t i = count; i-- > 0;)
    value = value << 8 | std::to_integer<uint64_t>(bytes[at + i]);
  return value;
}

bool hasSignature(std::span<const std::byte> bytes, uint64_t at, size_t size, uint32_t signature) {
  return at <= bytes.size() && bytes.size() - at >= size && number(bytes, at, 4) == signature;
}

struct Directory {
  uint64_t offset = 0, bytes = 0, entries = 0;
};

struct ZipEntry {
  std::string name;
  uint16_t flags = 0, method = 0;
  uint32_t crc = 0;
  uint64_t packedBytes = 0, bytes = 0, localOffset = 0;
};

Result<Directory> findDirectory(std::span<const std::byte> content, std::string_view fileName) {
  if (content.size() < kEndBytes)
    return malformed(fileName,
                     "expected a zip archive, got " + std::to_string(content.size()) + " bytes");
  // The end record carries a comment of up to 65535 bytes.
  size_t last = content.size() - kEndBytes;
  size_t least = last > 0xffff ? last - 0xffff : 0;
  for (size_t at = last + 1; at-- > least;) {
    if (number(content, at, 4) != kEndSignature ||
        number(content, at + 20, 2) != content.size() - at - kEndBytes)
      continue;
    Directory found{number(content, at + 16, 4), number(content, at + 12, 4),
                    number(content, at + 10, 2)};
    if (at >= kLocator64Bytes &&
        hasSignature(content, at - kLocator64Bytes, kLocator64Bytes, kLocator64Signature)) {
      uint64_t end64 = number(content, at - kLocator64Bytes + 8, 8);
      if (!hasSignature(content, end64, kEnd64Bytes, kEnd64Signature))
        return malformed(fileName, "expected a zip64 end record at byte " + std::to_string(end64) +
                                       ", got other bytes");
      found = {number(content, end64 + 48, 8), number(content, end64 + 40, 8),
               number(content, end64 + 32, 8)};
    }
    if (found.offset > at || found.bytes > at - found.offset)
      return malformed(fileName, "expected the zip directory within the file, got offset " +
                                     std::to_string(found.offset));
    return found;
  }
  return malformed(fileName, "expected a zip archive, got no end record (is the file truncated)");
}

/// The zip64 extra field holds those of the three sizes that do not fit 32 bits, in this order.
bool widen(ZipEntry &entry, std::span<const std::byte> extra) {
  for (size_t at = 0; at + 4 <= extra.size();) {
    size_t id = number(extra, at, 2), size = number(extra, at + 2, 2);
    at += 4;
    if (size > extra.size() - at)
      return false;
    if (id == 1) {
      size_t field = at;
      for (uint64_t *value : {&entry.bytes, &entry.packedBytes, &entry.localOffset}) {
        if (*value != 0xffffffff)
          continue;
        if (field + 8 > at + size)
          return false;
        *value = number(extra, field, 8);
        field += 8;
      }
    }
    at += size;
  }
  return true;
}

Result<std::vector<ZipEntry>> readDirectory(std::span<const std::byte> content,
                                            std::string_view fileName) {
  EVO_ASSIGN(Directory directory, findDirectory(content, fileName));
  std::span<const std::byte> records = content.subspan(directory.offset, directory.bytes);
  std::vector<ZipEntry> entries;
  size_t at = 0;
  for (uint64_t i = 0; i < directory.entries; ++i) {
    if (!hasSignature(records, at, kCentralBytes, kCentralSignature))
      return malformed(fileName, "expected " + std::to_string(directory.entries) +
                                     " zip directory entries, got " + std::to_string(i));
    size_t nameBytes = number(records, at + 28, 2), extraBytes = number(records, at + 30, 2),
           commentBytes = number(records, at + 32, 2);
    if (records.size() - at - kCentralBytes < nameBytes + extraBytes + commentBytes)
      return malformed(fileName, "expected whole zip directory entries, got entry " +
                                     std::to_string(i) + " cut off");
    ZipEntry entry;
    entry.name.assign(reinterpret_cast<const char *>(records.data()) + at + kCentralBytes,
                      nameBytes);
    entry.flags = static_cast<uint16_t>(number(records, at + 8, 2));
    entry.method = static_cast<uint16_t>(number(records, at + 10, 2));
    entry.crc = static_cast<uint32_t>(number(records, at + 16, 4));
    entry.packedBytes = number(records, at + 20, 4);
    entry.bytes = number(records, at + 24, 4);
    entry.localOffset = number(records, at + 42, 4);
    if (!widen(entry, records.subspan(at + kCentralBytes + nameBytes, extraBytes)))
      return malformed(fileName, "entry '" + entry.name + "': expected zip64 sizes, got none");
    entries.push_back(std::move(entry));
    at += kCentralBytes + nameBytes + extraBytes + commentBytes;
  }
  return entries;
}

Result<std::span<const std::byte>> packedBytes(std::span<const std::byte> content,
                                               const ZipEntry &entry, const std::string &who) {
  if (!hasSignature(content, entry.localOffset, kLocalBytes, kLocalSignature))
    return malformed(who, "expected a zip entry at byte " + std::to_string(entry.localOffset) +
                              ", got other bytes");
  uint64_t start = entry.localOffset + kLocalBytes + number(content, entry.localOffset + 26, 2) +
                   number(content, entry.localOffset + 28, 2);
  if (start > content.size() || entry.packedBytes > content.size() - start)
    return malformed(who, "expected " + std::to_string(entry.packedBytes) +
                              " bytes in the archive, got fewer (is the file truncated)");
  return content.subspan(start, entry.packedBytes);
}

uint32_t checksum(uint32_t crc, std::span<const std::byte> bytes) {
  return static_cast<uint32_t>(
      ::crc32_z(crc, reinterpret_cast<const Bytef *>(bytes.data()), bytes.size()));
}

/// Inflates all of `packed` into exactly `target`.
bool inflateAll(std::span<const std::byte> packed, std::span<std::byte> target) {
  z_stream stream{};
  if (::inflateInit2(&stream, -MAX_WBITS) != Z_OK)
    return false;
  constexpr size_t kStep = size_t{1} << 30; // zlib counts in 32 bits
  size_t in = 0, out = 0;
  int state = Z_OK;
  while (state == Z_OK) {
    size_t inStep = std::min(kStep, packed.size() - in);
    size_t outStep = std::min(kStep, target.size() - out);
    stream.next_in = const_cast<Bytef *>(reinterpret_cast<const Bytef *>(packed.data())) + in;
    stream.avail_in = static_cast<uInt>(inStep);
    stream.next_out = reinterpret_cast<Bytef *>(target.data()) + out;
    stream.avail_out = static_cast<uInt>(outStep);
    state = ::inflate(&stream, Z_NO_FLUSH);
    in += inStep - stream.avail_in;
    out += outStep - stream.avail_out;
  }
  ::inflateEnd(&stream);
  return state == Z_STREAM_END && in == packed.size() && out == target.size();
}

Result<HostTensor> readEntry(std::span<const std::byte> content, const ZipEntry &entry,
                             std::string_view fileName, std::shared_ptr<const void> owner) {
  std::string who = std::string(fileName) + ": entry '" + entry.name + "'";
  constexpr std::string_view kSuffix = ".npy";
  if (!entry.name.ends_with(kSuffix))
    return malformed(who, "expected a name that ends with .npy, got another");
  if (entry.flags & 1)
    return malformed(who, "expected plain data, got an encrypted entry");
  EVO_ASSIGN(std::span<const std::byte> bytes, packedBytes(content, entry, who));
  if (entry.method == kDeflated) {
    if (entry.bytes / kMaxDeflateRatio > bytes.size())
      return malformed(who, "expected at most " + std::to_string(kMaxDeflateRatio) +
                                " times the packed bytes, got " + std::to_string(entry.bytes));
    auto inflated = std::make_shared<std::vector<std::byte>>(entry.bytes);
    if (!inflateAll(bytes, *inflated))
      return malformed(who, "expected deflated data of " + std::to_string(entry.bytes) +
                                " bytes, got a damaged stream");
    bytes = *inflated;
    owner = std::move(inflated);
  } else if (entry.method != kStored) {
    return malformed(who, "expected a stored or deflated entry, got method " +
                              std::to_string(entry.method));
  } else if (entry.bytes != entry.packedBytes) {
    return malformed(who, "expected as many stored bytes as " + std::to_string(entry.bytes) +
                              ", got " + std::to_string(entry.packedBytes));
  }
  if (uint32_t crc = checksum(0, bytes); crc != entry.crc)
    return malformed(who, "expected checksum " + std::to_string(entry.crc) + ", got " +
                              std::to_string(crc));
  return parseNpy(bytes, who, entry.name.substr(0, entry.name.size() - kSuffix.size()),
                  std::move(owner));
}

/// Appends little-endian numbers.
void put(std::string &out, size_t count, uint64_t value) {
  for (size_t i = 0; i < count; ++i)
    out += static_cast<char>(value >> (8 * i) & 0xff);
}

struct WrittenEntry {
  std::string name;
  uint64_t offset = 0, bytes = 0;
  uint32_t crc = 0;
};

constexpr uint64_t kDate1980 = 0x00210000; ///< 1 January 1980, 0:00: no clock in a file

/// What the local and the central record share: from "version needed" to the extra field's length.
/// Both leave their 32-bit sizes to the zip64 field.
void putCommon(std::string &out, const WrittenEntry &entry, size_t extraBytes) {
  put(out, 2, 45);     // version needed: zip64
  put(out, 2, 0x0800); // names are UTF-8
  put(out, 2, kStored);
  put(out, 4, kDate1980);
  put(out, 4, entry.crc);
  put(out, 4, 0xffffffff);
  put(out, 4, 0xffffffff);
  put(out, 2, entry.name.size());
  put(out, 2, extraBytes);
}

std::string localRecord(const WrittenEntry &entry) {
  std::string out;
  put(out, 4, kLocalSignature);
  putCommon(out, entry, 20);
  out += entry.name;
  put(out, 2, 1);
  put(out, 2, 16);
  put(out, 8, entry.bytes);
  put(out, 8, entry.bytes);
  return out;
}

std::string centralRecord(const WrittenEntry &entry) {
  std::string out;
  put(out, 4, kCentralSignature);
  put(out, 2, 45);
  putCommon(out, entry, 28);
  put(out, 2, 0); // comment
  put(out, 2, 0); // disk
  put(out, 2, 0);
  put(out, 4, 0);
  put(out, 4, 0xffffffff);
  out += entry.name;
  put(out, 2, 1);
  put(out, 2, 24);
  put(out, 8, entry.bytes);
  put(out, 8, entry.bytes);
  put(out, 8, entry.offset);
  return out;
}

std::string endRecords(uint64_t entries, uint64_t offset, uint64_t bytes) {
  std::string out;
  put(out, 4, kEnd64Signature);
  put(out, 8, kEnd64Bytes - 12);
  put(out, 2, 45);
  put(out, 2, 45);
  put(out, 8, 0); // disks
  put(out, 8, entries);
  put(out, 8, entries);
  put(out, 8, bytes);
  put(out, 8, offset);
  put(out, 4, kLocator64Signature);
  put(out, 4, 0);
  put(out, 8, offset + bytes);
  put(out, 4, 1);
  put(out, 4, kEndSignature);
  put(out, 4, 0);
  put(out, 2, 0xffff);
  put(out, 2, 0xffff);
  put(out, 4, 0xffffffff);
  put(out, 4, 0xffffffff);
  put(out, 2, 0);
  return out;
}

Status writeEntry(OutputFile &file, const TensorToWrite &tensor, WrittenEntry &entry) {
  EVO_ASSIGN(std::string header, npyHeader(tensor.dtype, tensor.shape));
  entry.name = tensor.name + ".npy";
  entry.offset = static_cast<uint64_t>(file.size());
  std::optional<int64_t> bytes = hostByteSize(tensor.shape, tensor.dtype);
  if (!bytes)
    return malformed(file.path(), "tensor '" + tensor.name +
                                      "': expected fewer than 2^63 bytes, got shape " +
                                      shapeText(tensor.shape));
  entry.bytes = header.size() + static_cast<uint64_t>(*bytes);
  EVO_TRY(file.write(localRecord(entry)));
  EVO_TRY(file.write(header));
  entry.crc = checksum(0, std::as_bytes(std::span(header.data(), header.size())));
  EVO_TRY(streamTensor(tensor, [&](std::span<const std::byte> piece) {
    entry.crc = checksum(entry.crc, piece);
    return file.write(piece);
  }));
  std::string crc;
  put(crc, 4, entry.crc);
  constexpr int64_t kCrcAt = 14;
  return file.patch(static_cast<int64_t>(entry.offset) + kCrcAt,
                    std::as_bytes(std::span(crc.data(), crc.size())));
}

} // namespace

Result<std::vector<HostTensor>> parseNpz(std::span<const std::byte> content,
                                         std::string_view fileName,
                                         const std::shared_ptr<const void> &owner) {
  EVO_ASSIGN(std::vector<ZipEntry> entries, readDirectory(content, fileName));
  std::vector<HostTensor> tensors;
  std::set<std::string> names;
  for (const ZipEntry &entry : entries) {
    EVO_ASSIGN(HostTensor tensor, readEntry(content, entry, fileName, owner));
    if (!names.insert(tensor.name).second)
      return malformed(fileName, "expected distinct names, got '" + tensor.name + "' twice");
    tensors.push_back(std::move(tensor));
  }
  return tensors;
}

Status writeNpz(OutputFile &file, std::span<const TensorToWrite> tensors) {
  std::string directory;
  for (const TensorToWrite &tensor : tensors) {
    WrittenEntry entry;
    EVO_TRY(writeEntry(file, tensor, entry));
    directory += centralRecord(entry);
  }
  auto offset = static_cast<uint64_t>(file.size());
  EVO_TRY(file.write(directory));
  return file.write(endRecords(tensors.size(), offset, directory.size()));
}

} // namespace evo
