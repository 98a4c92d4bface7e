//===- FileIo.h - whole files in, whole files out ---------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/plan/Status.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

namespace evo {

/// A regular file mapped for reading; the pages are shared with the system's cache.
class MappedFile {
public:
  static Result<std::shared_ptr<const MappedFile>> open(const std::string &path);
  ~MappedFile();
  MappedFile(const MappedFile &) = delete;
  MappedFile &operator=(const MappedFile &) = delete;
  std::span<const std::byte> bytes() const { return content; }

private:
  MappedFile() = default;
  std::span<const std::byte> content;
};

/// A file that appears under its name only when it is whole: it is written without a name in the
/// same folder (where the file system cannot do that, under a hidden name) and renamed by `commit`.
/// Without a commit nothing remains. A name that is a device (/dev/null) is written directly.
/// Folders are not made.
class OutputFile {
public:
  static Result<OutputFile> create(const std::string &path);
  OutputFile(OutputFile &&other) noexcept;
  OutputFile &operator=(OutputFile &&) = delete;
  ~OutputFile();

  /// Appends.
  Status write(std::span<const std::byte> bytes);
  Status write(std::string_view text);
  /// Overwrites bytes that have been written.
  Status patch(int64_t offset, std::span<const std::byte> bytes);
  int64_t size() const { return written; }
  const std::string &path() const { return userPath; }
  /// Hands everything to the system: a full disk or device shows here, before any file of a run has
  /// a name.
  Status flush();
  /// Flushes and gives the file its name.
  Status commit();

private:
  OutputFile() = default;
  Status writeAt(int64_t offset, const std::byte *data, size_t count);
  Status linkTemporary();

  std::string userPath;
  std::string targetPath;    ///< `userPath` with its symbolic links resolved
  std::string temporaryPath; ///< empty while the file has no name
  int descriptor = -1;
  bool isDevice = false;
  int64_t written = 0;
  std::string buffer; ///< the last bytes of `written`, not yet given to the system
};

/// Whether two paths are of one file, with symbolic links resolved, be it there or not.
bool isSameFile(const std::string &a, const std::string &b);

} // namespace evo
