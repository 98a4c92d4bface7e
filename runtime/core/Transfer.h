//===- Transfer.h - elements to and from a device ---------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/core/Backend.h"
#include "runtime/core/HostTensor.h"

namespace evo {

/// Gives elements of a host tensor, converted to `type`. The tensor must outlive the reader.
ElementReader convertingReader(const HostTensor &tensor, plan::DType type);

struct UploadOptions {
  int threads = 1;
  bool checkFinite = false;
};
/// Reads `count` elements of `type` and stores them densely at `device`. With checkFinite an
/// infinity or NaN is an error that gives `name` and the index in `shape`; it is looked for in the
/// stored values.
Status uploadElements(Backend &backend, std::byte *device, plan::DType type,
                      std::span<const int64_t> shape, std::string_view name,
                      const ElementReader &read, const UploadOptions &options);

/// Elements of a dense device tensor as a file takes them: F64 of F64, else F32.
TensorToWrite downloadedTensor(Backend &backend, const std::byte *device, plan::DType type,
                               std::span<const int64_t> shape, std::string name);

} // namespace evo
