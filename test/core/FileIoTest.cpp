//===- FileIoTest.cpp -------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "runtime/core/FileIo.h"
#include "runtime/core/TensorFile.h"
#include "test/core/CoreTest.h"

#include <csignal>
#include <sys/resource.h>

namespace evo {
namespace {

using namespace evo::test;

TEST(OutputFile, AppearsOnlyWhenCommitted) {
  TemporaryFolder folder;
  {
    auto file = OutputFile::create(folder.path("a"));
    ASSERT_TRUE(file.ok()) << file.status().message();
    EXPECT_OK(file->write(std::string_view("half")));
  }
  EXPECT_TRUE(folder.names().empty());
  auto file = OutputFile::create(folder.path("a"));
  EXPECT_OK(file->write(std::string_view("whole")));
  EXPECT_OK(file->commit());
  EXPECT_EQ(folder.names(), std::vector<std::string>{"a"});
  EXPECT_EQ(readText(folder.path("a")), "whole");
}

TEST(OutputFile, ReplacesOnlyWhenCommitted) {
  TemporaryFolder folder;
  writeText(folder.path("a"), "old");
  auto file = OutputFile::create(folder.path("a"));
  EXPECT_OK(file->write(std::string_view("new")));
  EXPECT_EQ(readText(folder.path("a")), "old");
  EXPECT_OK(file->commit());
  EXPECT_EQ(readText(folder.path("a")), "new");
  EXPECT_EQ(folder.names(), std::vector<std::string>{"a"});
}

TEST(OutputFile, KeepsOrderAcrossItsBuffer) {
  TemporaryFolder folder;
  auto file = OutputFile::create(folder.path("a"));
  std::string expected;
  for (size_t size : {10u, 3000000u, 20u, 1048576u, 1u}) {
    std::string piece(size, static_cast<char>('a' + expected.size() % 26));
    expected += piece;
    EXPECT_OK(file->write(std::string_view(piece)));
  }
  EXPECT_OK(file->patch(5, bytesOf("PATCH")));
  EXPECT_OK(file->write(std::string_view("end")));
  expected.replace(5, 5, "PATCH");
  EXPECT_OK(file->commit());
  EXPECT_EQ(readText(folder.path("a")), expected + "end");
}

TEST(OutputFile, MakesNoFolders) {
  TemporaryFolder folder;
  std::string path = folder.path("none/a");
  EXPECT_MESSAGE(OutputFile::create(path),
                 "cannot write '" + path + "': No such file or directory");
  std::string directory = folder.path("d");
  std::filesystem::create_directory(directory);
  EXPECT_MESSAGE(OutputFile::create(directory), "cannot write '" + directory + "': Is a directory");
}

TEST(OutputFile, LeavesDevicesInPlace) {
  auto file = OutputFile::create("/dev/null");
  ASSERT_TRUE(file.ok()) << file.status().message();
  EXPECT_OK(file->write(std::string_view("text")));
  EXPECT_OK(file->commit());
  EXPECT_TRUE(std::filesystem::is_character_file("/dev/null"));
}

TEST(OutputFile, FollowsLinks) {
  TemporaryFolder folder;
  writeText(folder.path("target"), "old");
  std::filesystem::create_symlink("target", folder.path("link"));
  auto file = OutputFile::create(folder.path("link"));
  EXPECT_OK(file->write(std::string_view("new")));
  EXPECT_OK(file->commit());
  EXPECT_TRUE(std::filesystem::is_symlink(folder.path("link")));
  EXPECT_EQ(readText(folder.path("target")), "new");
}

/// A reader that fails half way leaves neither the name nor a temporary file, and the old content
/// stays.
TEST(TensorFile, AnInterruptedWriteLeavesNothing) {
  TemporaryFolder folder;
  TensorToWrite good = tensorToWrite(hostTensor<float>("a", HostType::F32, {1}, {1.0f}));
  TensorToWrite bad{"b", HostType::F32, {1}, [](int64_t, int64_t, std::byte *) {
                      return Status::error(ErrorCode::Internal, "the device is gone");
                    }};
  std::vector<TensorToWrite> tensors = {good, bad};
  for (std::string name : {"t.safetensors", "t.npz"}) {
    EXPECT_MESSAGE(writeTensorFile(folder.path(name), tensors), "the device is gone");
    EXPECT_TRUE(folder.names().empty());
  }
  writeText(folder.path("t.npz"), "old");
  EXPECT_MESSAGE(writeTensorFile(folder.path("t.npz"), tensors), "the device is gone");
  EXPECT_EQ(readText(folder.path("t.npz")), "old");
}

/// The system refuses to write past a limit, as it does on a full disk.
TEST(TensorFile, AFullDiskLeavesNothing) {
  TemporaryFolder folder;
  std::vector<TensorToWrite> tensors = {
      tensorToWrite(hostTensor<float>("a", HostType::F32, {1000000}, std::vector<float>(1000000)))};
  rlimit old{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &old), 0);
  auto oldHandler = std::signal(SIGXFSZ, SIG_IGN);
  rlimit small{100000, old.rlim_max};
  ::setrlimit(RLIMIT_FSIZE, &small);
  std::string path = folder.path("t.safetensors");
  Status status = writeTensorFile(path, tensors);
  ::setrlimit(RLIMIT_FSIZE, &old);
  std::signal(SIGXFSZ, oldHandler);
  EXPECT_MESSAGE(status, "cannot write '" + path + "': File too large");
  EXPECT_TRUE(folder.names().empty());
}

} // namespace
} // namespace evo
