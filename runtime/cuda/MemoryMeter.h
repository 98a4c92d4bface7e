//===- MemoryMeter.h - how much memory a device has left --------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// The driver's management library tells it before a program has taken any itself, which CUDA does
// not: to ask CUDA is to make a context of hundreds of megabytes. CUDA's first call, whichever it
// is, already takes some.
//===----------------------------------------------------------------------===//
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

namespace evo::cuda {

/// The management library, which the driver brings, and what the devices had given when it was
/// opened: the beginning that meters measure from, where it comes before the first call of CUDA.
/// Who starts a program makes one and hands it on.
class MemoryStart {
public:
  MemoryStart();
  ~MemoryStart();
  MemoryStart(const MemoryStart &) = delete;
  MemoryStart &operator=(const MemoryStart &) = delete;

  /// The library's handle of a CUDA device by its number; null where there is none.
  void *deviceOf(int number) const;
  /// Of a handle: bytes in use by everybody, now and in the beginning; nothing where they are not
  /// known.
  std::optional<int64_t> usedBytes(void *device) const;
  std::optional<int64_t> usedAtStart(void *device) const;

private:
  struct Seen {
    void *device;
    std::optional<int64_t> usedBytes;
  };
  template <class Function> Function *function(const char *name) const;

  void *library = nullptr;
  bool isOpen = false; ///< the library has been started
  std::vector<Seen> seen;
};

class MemoryMeter {
public:
  /// Of a CUDA device by its number. Without the library it measures from the first context on.
  MemoryMeter(std::shared_ptr<const MemoryStart> start, int device);

  /// Bytes in use by everybody; nothing where it is not known.
  std::optional<int64_t> usedBytes() const;
  /// What has been taken since the start.
  std::optional<int64_t> takenBytes() const;
  /// Takes the beginning again, if it was not known before there was a context.
  void contextIsMade();

private:
  std::shared_ptr<const MemoryStart> start;
  void *device = nullptr; ///< of the management library
  int number = 0;
  std::optional<int64_t> atStart;
};

} // namespace evo::cuda
