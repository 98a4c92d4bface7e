//===- Npy.cpp --------------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "runtime/core/Npy.h"

#include "runtime/core/TensorStream.h"

#include <algorithm>
#include <array>
#include <cstring>

namespace evo {

namespace {

constexpr std::string_view kMagic = "\x93NUMPY";

struct NpyType {
  std::string_view descr;
  HostType type;
};
constexpr std::array<NpyType, 12> kNpyTypes = {{{"<f8", HostType::F64},
                                                {"<f4", HostType::F32},
                                                {"<f2", HostType::F16},
                                                {"<i8", HostType::I64},
                                                {"<i4", HostType::I32},
                                                {"<i2", HostType::I16},
                                                {"|i1", HostType::I8},
                                                {"<u8", HostType::U64},
                                                {"<u4", HostType::U32},
                                                {"<u2", HostType::U16},
                                                {"|u1", HostType::U8},
                                                {"|b1", HostType::Bool}}};

/// Reads the Python dictionary literal of a header: strings, booleans and a tuple of sizes.
class HeaderParser {
public:
  HeaderParser(std::string_view text, std::string_view fileName) : text(text), file(fileName) {}

  Status parse() {
    EVO_TRY(expect('{'));
    while (!accept('}')) {
      EVO_ASSIGN(std::string key, parseString());
      EVO_TRY(expect(':'));
      EVO_TRY(parseValue(key));
      if (!accept(',')) {
        EVO_TRY(expect('}'));
        break;
      }
    }
    skipSpace();
    if (position != text.size())
      return fail("the end of the header");
    if (!seenDescr || !seenOrder || !seenShape)
      return fail("the keys 'descr', 'fortran_order' and 'shape'");
    return {};
  }

  std::string descr;
  bool fortranOrder = false;
  std::vector<int64_t> shape;

private:
  Status parseValue(const std::string &key) {
    if (key == "descr" && !seenDescr) {
      seenDescr = true;
      skipSpace();
      if (position < text.size() && text[position] == '[')
        return fail("a plain numeric 'descr', not a structure");
      EVO_ASSIGN(descr, parseString());
      return {};
    }
    if (key == "fortran_order" && !seenOrder) {
      seenOrder = true;
      fortranOrder = acceptWord("True");
      return fortranOrder || acceptWord("False") ? Status::success() : fail("True or False");
    }
    if (key == "shape" && !seenShape) {
      seenShape = true;
      return parseShape();
    }
    return fail("each of 'descr', 'fortran_order' and 'shape' once, not '" + key + "' here");
  }

  Status parseShape() {
    EVO_TRY(expect('('));
    while (!accept(')')) {
      skipSpace();
      size_t start = position;
      int64_t size = 0;
      while (position < text.size() && text[position] >= '0' && text[position] <= '9')
        if (__builtin_mul_overflow(size, 10, &size) ||
            __builtin_add_overflow(size, text[position++] - '0', &size))
          return fail("a size below 2^63");
      if (position == start)
        return fail("a size");
      shape.push_back(size);
      if (!accept(',')) {
        EVO_TRY(expect(')'));
        break;
      }
    }
    return {};
  }

  Result<std::string> parseString() {
    skipSpace();
    if (position >= text.size() || (text[position] != '\'' && text[position] != '"'))
      return fail("a string");
    char quote = text[position++];
    size_t end = text.find(quote, position);
    if (end == std::string_view::npos)
      return fail("the end of a string");
    std::string value(text.substr(position, end - position));
    position = end + 1;
    return value;
  }

  void skipSpace() {
    while (position < text.size() && (text[position] == ' ' || text[position] == '\n'))
      ++position;
  }
  bool accept(char wanted) {
    skipSpace();
    if (position >= text.size() || text[position] != wanted)
      return false;
    ++position;
    return true;
  }
  bool acceptWord(std::string_view word) {
    skipSpace();
    if (text.substr(position, word.size()) != word)
      return false;
    position += word.size();
    return true;
  }
  Status expect(char wanted) {
    return accept(wanted) ? Status::success() : fail(std::string("'") + wanted + "'");
  }
  Status fail(const std::string &expected) const {
    return Status::error(ErrorCode::InvalidInput,
                         std::string(file) + ": expected " + expected +
                             " in the npy header, got something else at its byte " +
                             std::to_string(position));
  }

  std::string_view text, file;
  size_t position = 0;
  bool seenDescr = false, seenOrder = false, seenShape = false;
};

Status malformed(std::string_view fileName, const std::string &message) {
  return Status::error(ErrorCode::InvalidInput, std::string(fileName) + ": " + message);
}

Result<HostType> typeOfDescr(const std::string &descr, std::string_view fileName) {
  for (const NpyType &known : kNpyTypes)
    if (known.descr == descr || (known.descr[0] == '|' && descr.size() == known.descr.size() &&
                                 known.descr.substr(1) == std::string_view(descr).substr(1)))
      return known.type;
  if (!descr.empty() && descr[0] == '>')
    return malformed(fileName, "expected little-endian numbers, got '" + descr +
                                   "' (convert with numpy's astype)");
  return malformed(fileName, "expected a type such as '<f4', '<f8', '<f2', '|u1' or '|b1', got '" +
                                 descr + "'");
}

/// The header's text and the number of bytes before the data.
Result<std::pair<std::string_view, size_t>> locateHeader(std::span<const std::byte> content,
                                                         std::string_view fileName) {
  std::string_view text(reinterpret_cast<const char *>(content.data()), content.size());
  if (text.size() < 10 || text.substr(0, kMagic.size()) != kMagic)
    return malformed(fileName, "expected an npy array, got other bytes at its start");
  int major = static_cast<unsigned char>(text[6]);
  int minor = static_cast<unsigned char>(text[7]);
  if (major < 1 || major > 3 || minor != 0)
    return malformed(fileName, "expected npy version 1.0, 2.0 or 3.0, got " +
                                   std::to_string(major) + "." + std::to_string(minor));
  size_t lengthBytes = major == 1 ? 2 : 4;
  size_t start = 8 + lengthBytes;
  size_t length = 0;
  for (size_t i = 0; i < lengthBytes && 8 + i < text.size(); ++i)
    length |= static_cast<size_t>(static_cast<unsigned char>(text[8 + i])) << (8 * i);
  if (text.size() < start || length > text.size() - start)
    return malformed(fileName, "expected an npy header of " + std::to_string(length) +
                                   " bytes, got " + std::to_string(text.size()) +
                                   " in the file (is it truncated)");
  return std::pair(text.substr(start, length), start + length);
}

/// Copies a column-major array into row-major order.
void makeRowMajor(HostTensor &tensor) {
  size_t size = static_cast<size_t>(hostTypeBytes(tensor.dtype));
  size_t rank = tensor.shape.size();
  auto copy = std::make_shared<std::vector<std::byte>>(tensor.bytes.size());
  std::vector<int64_t> index(rank, 0);
  std::vector<int64_t> stride(rank, 1);
  for (size_t d = 1; d < rank; ++d)
    stride[d] = stride[d - 1] * tensor.shape[d - 1];
  int64_t source = 0;
  for (size_t at = 0; at < copy->size(); at += size) {
    std::memcpy(copy->data() + at, tensor.bytes.data() + static_cast<size_t>(source) * size, size);
    for (size_t d = rank; d-- > 0;) {
      source += stride[d];
      if (++index[d] < tensor.shape[d])
        break;
      source -= stride[d] * tensor.shape[d];
      index[d] = 0;
    }
  }
  tensor.bytes = *copy;
  tensor.owner = std::move(copy);
}

} // namespace

Result<HostTensor> parseNpy(std::span<const std::byte> content, std::string_view fileName,
                            const std::string &name, std::shared_ptr<const void> owner) {
  EVO_ASSIGN(auto located, locateHeader(content, fileName));
  HeaderParser header(located.first, fileName);
  EVO_TRY(header.parse());
  HostTensor tensor;
  tensor.name = name;
  EVO_ASSIGN(tensor.dtype, typeOfDescr(header.descr, fileName));
  tensor.shape = header.shape;
  tensor.bytes = content.subspan(located.second);
  tensor.owner = std::move(owner);
  std::optional<int64_t> bytes = hostByteSize(tensor.shape, tensor.dtype);
  if (!bytes)
    return malformed(fileName,
                     "expected fewer than 2^63 bytes, got shape " + shapeText(tensor.shape));
  if (*bytes != static_cast<int64_t>(tensor.bytes.size()))
    return malformed(fileName, "expected " + std::to_string(*bytes) + " bytes for '" +
                                   header.descr + "' " + shapeText(tensor.shape) + ", got " +
                                   std::to_string(tensor.bytes.size()) +
                                   " behind the header (is the file truncated)");
  if (header.fortranOrder && tensor.shape.size() > 1)
    makeRowMajor(tensor);
  return tensor;
}

Result<std::string> npyHeader(HostType dtype, std::span<const int64_t> shape) {
  std::string_view descr;
  for (const NpyType &known : kNpyTypes)
    if (known.type == dtype)
      descr = known.descr;
  if (descr.empty())
    return Status::error(ErrorCode::Unsupported, "expected a type that numpy has, got " +
                                                     std::string(hostTypeName(dtype)) +
                                                     " (write a .safetensors file)");
  std::string text = "{'descr': '" + std::string(descr) + "', 'fortran_order': False, 'shape': (";
  for (size_t i = 0; i < shape.size(); ++i)
    text += (i ? ", " : "") + std::to_string(shape[i]);
  text += shape.size() == 1 ? ",), }" : "), }";
  // Magic, version, length, text and newline together are a multiple of 64.
  text.append(63 - (10 + text.size()) % 64, ' ');
  text += '\n';
  if (text.size() > 0xffff)
    return Status::error(ErrorCode::Unsupported,
                         "expected a header below 65536 bytes, got " + std::to_string(text.size()));
  std::string header(kMagic);
  header +=
      {'\x01', '\x00', static_cast<char>(text.size() & 0xff), static_cast<char>(text.size() >> 8)};
  return header + text;
}

Status writeNpy(OutputFile &file, const TensorToWrite &tensor) {
  EVO_ASSIGN(std::string header, npyHeader(tensor.dtype, tensor.shape));
  EVO_TRY(file.write(header));
  return streamTensor(tensor, [&](std::span<const std::byte> bytes) { return file.write(bytes); });
}

} // namespace evo
