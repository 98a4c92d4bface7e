//===- Transfer.h - elements to and from a device ---------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/core/Backend.h"
#include "runtime/core/HostTensor.h"

#include <map>
#include <vector>

namespace evo {

/// Gives elements of a host tensor, converted to `type`. The tensor must outlive the reader.
ElementReader convertingReader(const HostTensor &tensor, plan::DType type);

/// What readers give, kept on the host for the uploads to come.
class KeptElements {
public:
  /// Keeps no more than so many bytes; none: every upload asks its reader again.
  explicit KeptElements(int64_t mostBytes) : mostBytes(mostBytes) {}

  /// A reader of the same `count` elements of `type`, good for as long as this lives. Where there
  /// is room for all of them, `read`, called on `threads` threads at once, is asked for each once,
  /// whenever `key` comes again.
  Result<ElementReader> reader(const void *key, const ElementReader &read, plan::DType type,
                               int64_t count, int threads);

private:
  int64_t mostBytes;
  std::map<const void *, std::vector<std::byte>> kept; ///< by key
};

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
