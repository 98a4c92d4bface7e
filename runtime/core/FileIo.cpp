//===- FileIo.cpp -----------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "runtime/core/FileIo.h"

#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <sys/mman.h>
#include <sys/stat.h>
#include <system_error>
#include <unistd.h>

namespace evo {

namespace {

constexpr size_t kBufferBytes = size_t{1} << 20;

Status systemError(std::string_view what, const std::string &path) {
  return Status::error(ErrorCode::Io,
                       std::string(what) + " '" + path + "': " + std::strerror(errno));
}

std::string folderOf(const std::string &path) {
  size_t slash = path.rfind('/');
  if (slash == std::string::npos)
    return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

/// `path` with symbolic links resolved, where it exists; else itself.
std::string resolved(const std::string &path) {
  char *real = ::realpath(path.c_str(), nullptr);
  if (!real)
    return path;
  std::string text = real;
  std::free(real);
  return text;
}

mode_t defaultMode() {
  mode_t mask = ::umask(0);
  ::umask(mask);
  return 0666 & ~mask;
}

} // namespace

Result<std::shared_ptr<const MappedFile>> MappedFile::open(const std::string &path) {
  int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor < 0)
    return systemError("cannot open", path);
  struct stat info {};
  if (::fstat(descriptor, &info) != 0 || !S_ISREG(info.st_mode)) {
    ::close(descriptor);
    return Status::error(ErrorCode::Io, "cannot read '" + path + "': expected a regular file");
  }
  std::shared_ptr<MappedFile> file(new MappedFile);
  auto size = static_cast<size_t>(info.st_size);
  if (size > 0) {
    void *address = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, descriptor, 0);
    if (address == MAP_FAILED) {
      Status status = systemError("cannot map", path);
      ::close(descriptor);
      return status;
    }
    file->content = {static_cast<const std::byte *>(address), size};
  }
  ::close(descriptor);
  return std::shared_ptr<const MappedFile>(std::move(file));
}

MappedFile::~MappedFile() {
  if (!content.empty())
    ::munmap(const_cast<std::byte *>(content.data()), content.size());
}

Result<OutputFile> OutputFile::create(const std::string &path) {
  OutputFile file;
  file.userPath = path;
  file.targetPath = resolved(path);
  struct stat info {};
  if (::stat(file.targetPath.c_str(), &info) == 0 && !S_ISREG(info.st_mode)) {
    file.isDevice = !S_ISDIR(info.st_mode);
    file.descriptor = ::open(file.targetPath.c_str(), O_WRONLY | O_CLOEXEC);
    if (file.descriptor < 0)
      return systemError("cannot write", path);
    return file;
  }
  std::string folder = folderOf(file.targetPath);
  file.descriptor = ::open(folder.c_str(), O_TMPFILE | O_WRONLY | O_CLOEXEC, 0666);
  if (file.descriptor >= 0)
    return file;
  if (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL)
    return systemError("cannot write", path);
  file.temporaryPath = file.targetPath + ".XXXXXX";
  file.descriptor = ::mkostemp(file.temporaryPath.data(), O_CLOEXEC);
  if (file.descriptor < 0) {
    file.temporaryPath.clear();
    return systemError("cannot write", path);
  }
  ::fchmod(file.descriptor, defaultMode());
  return file;
}

OutputFile::OutputFile(OutputFile &&other) noexcept
    : userPath(std::move(other.userPath)), targetPath(std::move(other.targetPath)),
      temporaryPath(std::move(other.temporaryPath)),
      descriptor(std::exchange(other.descriptor, -1)), isDevice(other.isDevice),
      written(other.written), buffer(std::move(other.buffer)) {
  other.temporaryPath.clear();
}

OutputFile::~OutputFile() {
  if (descriptor >= 0)
    ::close(descriptor);
  if (!temporaryPath.empty())
    ::unlink(temporaryPath.c_str());
}

Status OutputFile::writeAt(int64_t offset, const std::byte *data, size_t count) {
  while (count > 0) {
    ssize_t done = isDevice ? ::write(descriptor, data, count)
                            : ::pwrite(descriptor, data, count, static_cast<off_t>(offset));
    if (done < 0 && errno == EINTR)
      continue;
    if (done <= 0)
      return systemError("cannot write", userPath);
    data += done;
    offset += done;
    count -= static_cast<size_t>(done);
  }
  return {};
}

Status OutputFile::flush() {
  int64_t offset = written - static_cast<int64_t>(buffer.size());
  EVO_TRY(writeAt(offset, reinterpret_cast<const std::byte *>(buffer.data()), buffer.size()));
  buffer.clear();
  return {};
}

Status OutputFile::write(std::span<const std::byte> bytes) {
  if (buffer.size() + bytes.size() > kBufferBytes)
    EVO_TRY(flush());
  if (bytes.size() > kBufferBytes)
    EVO_TRY(writeAt(written, bytes.data(), bytes.size()));
  else
    buffer.append(reinterpret_cast<const char *>(bytes.data()), bytes.size());
  written += static_cast<int64_t>(bytes.size());
  return {};
}

Status OutputFile::write(std::string_view text) {
  return write(std::as_bytes(std::span(text.data(), text.size())));
}

Status OutputFile::patch(int64_t offset, std::span<const std::byte> bytes) {
  if (isDevice)
    return Status::error(ErrorCode::Io, "cannot write '" + userPath +
                                            "': expected a regular file for this format");
  EVO_TRY(flush());
  return writeAt(offset, bytes.data(), bytes.size());
}

Status OutputFile::linkTemporary() {
  std::string source = "/proc/self/fd/" + std::to_string(descriptor);
  // Only rename replaces an existing file, so the link gets a name of its own first.
  for (int attempt = 0; attempt < 1000; ++attempt) {
    std::string name =
        targetPath + "." + std::to_string(::getpid()) + "-" + std::to_string(attempt);
    if (::linkat(AT_FDCWD, source.c_str(), AT_FDCWD, name.c_str(), AT_SYMLINK_FOLLOW) == 0) {
      temporaryPath = name;
      return {};
    }
    if (errno != EEXIST)
      break;
  }
  return systemError("cannot write", userPath);
}

Status OutputFile::commit() {
  EVO_TRY(flush());
  if (!isDevice) {
    // A full disk or a network file system may report a failed write only here.
    if (::fsync(descriptor) != 0 && errno != EINVAL)
      return systemError("cannot write", userPath);
    if (temporaryPath.empty())
      EVO_TRY(linkTemporary());
    if (::rename(temporaryPath.c_str(), targetPath.c_str()) != 0)
      return systemError("cannot write", userPath);
    temporaryPath.clear();
  }
  ::close(std::exchange(descriptor, -1));
  return {};
}

bool isSameFile(const std::string &a, const std::string &b) {
  std::error_code ofA, ofB;
  std::filesystem::path first =
      std::filesystem::weakly_canonical(std::filesystem::absolute(a), ofA);
  std::filesystem::path second =
      std::filesystem::weakly_canonical(std::filesystem::absolute(b), ofB);
  return a == b || (!ofA && !ofB && first == second);
}

} // namespace evo
