//===- MemoryMeter.h - how much memory a device has left --------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// The driver's management library tells it before a program has taken any itself, which CUDA does
// not: to ask CUDA is to make a context of hundreds of megabytes. CUDA's first call, whichever it
// is, already takes some.
//===----------------------------------------------------------------------===//
#pragma once

#include <cstdint>
#include <optional>

namespace evo::cuda {

class MemoryMeter {
public:
  /// Looks at all devices; the beginning that meters measure from, where it comes before the first
  /// call of CUDA.
  static void noteStart();

  /// Of a CUDA device by its number. Without the library it measures from the first context on.
  explicit MemoryMeter(int device);

  /// Bytes in use by everybody; nothing where it is not known.
  std::optional<int64_t> usedBytes() const;
  /// What has been taken since the start was noted.
  std::optional<int64_t> takenBytes() const;
  /// Takes the beginning again, if it was not known before there was a context.
  void contextIsMade();

private:
  void *device = nullptr; ///< of the management library
  int number = 0;
  std::optional<int64_t> atStart;
};

} // namespace evo::cuda
