//===- Transfer.cpp ---------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "runtime/core/Transfer.h"

#include "runtime/core/Convert.h"
#include "runtime/core/TensorStream.h"

#include <algorithm>
#include <vector>

namespace evo {

namespace {

/// The index of element `position` of a row-major tensor.
std::string indexText(int64_t position, std::span<const int64_t> shape) {
  std::vector<int64_t> index(shape.size());
  for (size_t d = shape.size(); d-- > 0;) {
    index[d] = position % shape[d];
    position /= shape[d];
  }
  return shapeText(index);
}

std::string valueText(plan::DType type, const std::byte *element) {
  double value = 0;
  convertElements(hostTypeOf(type), element, plan::DType::F64,
                  reinterpret_cast<std::byte *>(&value), 1);
  return value != value ? "nan" : value > 0 ? "inf" : "-inf";
}

} // namespace

ElementReader convertingReader(const HostTensor &tensor, plan::DType type) {
  return [&tensor, type](int64_t first, int64_t count, std::byte *out) {
    convertElements(tensor.dtype, tensor.bytes.data() + first * hostTypeBytes(tensor.dtype), type,
                    out, count);
    return Status::success();
  };
}

Result<ElementReader> KeptElements::reader(const void *key, const ElementReader &read,
                                           plan::DType type, int64_t count, int threads) {
  const int64_t size = plan::elementBytes(type);
  auto found = kept.find(key);
  if (found == kept.end()) {
    if (count > mostBytes / size)
      return read;
    std::vector<std::byte> elements(static_cast<size_t>(count * size));
    EVO_TRY(parallelRanges(threads, count, [&](int64_t first, int64_t part) {
      return read(first, part, elements.data() + first * size);
    }));
    mostBytes -= count * size;
    found = kept.emplace(key, std::move(elements)).first;
  }
  return ElementReader(
      [from = found->second.data(), size](int64_t first, int64_t part, std::byte *out) {
        std::copy_n(from + first * size, part * size, out);
        return Status::success();
      });
}

Status uploadElements(Backend &backend, std::byte *device, plan::DType type,
                      std::span<const int64_t> shape, std::string_view name,
                      const ElementReader &read, const UploadOptions &options) {
  int64_t size = plan::elementBytes(type);
  int64_t count = elementCount(shape).value_or(0);
  std::vector<std::byte> piece(static_cast<size_t>(std::min(count, kPieceElements) * size));
  for (int64_t start = 0; start < count; start += kPieceElements) {
    int64_t length = std::min(kPieceElements, count - start);
    EVO_TRY(parallelRanges(options.threads, length, [&](int64_t first, int64_t part) -> Status {
      std::byte *target = piece.data() + first * size;
      EVO_TRY(read(start + first, part, target));
      if (!options.checkFinite)
        return {};
      if (std::optional<int64_t> bad = firstNotFinite(type, target, part))
        return Status::error(ErrorCode::InvalidInput,
                             "tensor '" + std::string(name) + "': expected finite values in " +
                                 std::string(plan::dtypeName(type)) + ", got " +
                                 valueText(type, target + *bad * size) + " at index " +
                                 indexText(start + first + *bad, shape));
      return {};
    }));
    EVO_TRY(backend.upload(device + start * size, piece.data(), length * size));
  }
  return {};
}

TensorToWrite downloadedTensor(Backend &backend, const std::byte *device, plan::DType type,
                               std::span<const int64_t> shape, std::string name) {
  plan::DType written = type == plan::DType::F64 ? plan::DType::F64 : plan::DType::F32;
  TensorToWrite tensor{std::move(name), hostTypeOf(written), {shape.begin(), shape.end()}, {}};
  tensor.read = [&backend, device, type, written](int64_t first, int64_t count,
                                                  std::byte *out) -> Status {
    int64_t size = plan::elementBytes(type);
    if (type == written)
      return backend.download(out, device + first * size, count * size);
    std::vector<std::byte> stored(static_cast<size_t>(count * size));
    EVO_TRY(backend.download(stored.data(), device + first * size, count * size));
    convertElements(hostTypeOf(type), stored.data(), written, out, count);
    return {};
  };
  return tensor;
}

} // namespace evo
