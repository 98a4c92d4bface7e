//===- HostTensor.h - named tensors in host memory --------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// What tensor files hold and what is written to them. A file may hold element types that no plan
// uses (a checkpoint's step counter): they are described here, and refused only where such a tensor
// is bound.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/plan/DType.h"
#include "runtime/plan/Status.h"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace evo {

/// Element types of tensor files.
enum class HostType : uint8_t {
  F64,
  F32,
  F16,
  BF16,
  F8E4M3,
  F8E5M2,
  I64,
  I32,
  I16,
  I8,
  U64,
  U32,
  U16,
  U8,
  Bool
};

std::string_view hostTypeName(HostType type); ///< as safetensors spells it: "F32", "BOOL"
std::optional<HostType> parseHostType(std::string_view name);
HostType hostTypeOf(plan::DType type);
int64_t hostTypeBytes(HostType type);
/// Elements of a dense tensor; nothing where a size is negative or the product passes 2^63 - 1.
std::optional<int64_t> elementCount(std::span<const int64_t> shape);
/// Bytes of a dense tensor, under the same conditions.
std::optional<int64_t> hostByteSize(std::span<const int64_t> shape, HostType type);
/// "[3, 4]"
std::string shapeText(std::span<const int64_t> shape);

/// A dense, row-major tensor. `bytes` may be unaligned (it often lies in a mapped file) and lives
/// as long as `owner` does.
struct HostTensor {
  std::string name;
  HostType dtype = HostType::F32;
  std::vector<int64_t> shape;
  std::span<const std::byte> bytes;
  std::shared_ptr<const void> owner;
};

/// Produces elements [first, first + count) of a tensor, row-major, at `out`. May be called from
/// several threads at once.
using ElementReader = std::function<Status(int64_t first, int64_t count, std::byte *out)>;

/// A tensor on its way into a file; `read` gives elements of type `dtype`.
struct TensorToWrite {
  std::string name;
  HostType dtype = HostType::F32;
  std::vector<int64_t> shape;
  ElementReader read;
};
/// Writes a tensor that lies in memory.
TensorToWrite tensorToWrite(HostTensor tensor);

} // namespace evo
