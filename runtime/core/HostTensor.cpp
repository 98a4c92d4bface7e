//===- HostTensor.cpp -------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "runtime/core/HostTensor.h"

#include <array>
#include <cstring>

namespace evo {

namespace {
struct HostTypeInfo {
  std::string_view name;
  int64_t bytes;
};
constexpr std::array<HostTypeInfo, 15> kHostTypes = {{{"F64", 8},
                                                      {"F32", 4},
                                                      {"F16", 2},
                                                      {"BF16", 2},
                                                      {"F8_E4M3", 1},
                                                      {"F8_E5M2", 1},
                                                      {"I64", 8},
                                                      {"I32", 4},
                                                      {"I16", 2},
                                                      {"I8", 1},
                                                      {"U64", 8},
                                                      {"U32", 4},
                                                      {"U16", 2},
                                                      {"U8", 1},
                                                      {"BOOL", 1}}};
} // namespace

std::string_view hostTypeName(HostType type) { return kHostTypes[static_cast<size_t>(type)].name; }

std::optional<HostType> parseHostType(std::string_view name) {
  for (size_t i = 0; i < kHostTypes.size(); ++i)
    if (kHostTypes[i].name == name)
      return static_cast<HostType>(i);
  return std::nullopt;
}

HostType hostTypeOf(plan::DType type) {
  switch (type) {
  case plan::DType::F64:
    return HostType::F64;
  case plan::DType::F32:
    return HostType::F32;
  case plan::DType::F16:
    return HostType::F16;
  case plan::DType::BF16:
    return HostType::BF16;
  }
  return HostType::F32;
}

int64_t hostTypeBytes(HostType type) { return kHostTypes[static_cast<size_t>(type)].bytes; }

std::optional<int64_t> elementCount(std::span<const int64_t> shape) {
  int64_t count = 1;
  for (int64_t size : shape)
    if (size < 0 || __builtin_mul_overflow(count, size, &count))
      return std::nullopt;
  return count;
}

std::optional<int64_t> hostByteSize(std::span<const int64_t> shape, HostType type) {
  std::optional<int64_t> count = elementCount(shape);
  int64_t bytes = 0;
  if (!count || __builtin_mul_overflow(*count, hostTypeBytes(type), &bytes))
    return std::nullopt;
  return bytes;
}

std::string shapeText(std::span<const int64_t> shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i)
    text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

TensorToWrite tensorToWrite(HostTensor tensor) {
  TensorToWrite out{tensor.name, tensor.dtype, tensor.shape, {}};
  int64_t size = hostTypeBytes(tensor.dtype);
  out.read = [tensor = std::move(tensor), size](int64_t first, int64_t count, std::byte *target) {
    if (count > 0)
      std::memcpy(target, tensor.bytes.data() + first * size, static_cast<size_t>(count * size));
    return Status::success();
  };
  return out;
}

} // namespace evo
