//===- CoreTest.h - helpers of the tests of runtime/core --------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/core/HostTensor.h"
#include "runtime/plan/Status.h"

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

namespace evo::test {

/// A folder that dies with the test.
class TemporaryFolder {
public:
  TemporaryFolder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "evo-core-XXXXXX").string();
    root = ::mkdtemp(pattern.data());
  }
  ~TemporaryFolder() { std::filesystem::remove_all(root); }
  std::string path(const std::string &name) const { return (root / name).string(); }
  /// Names in the folder, sorted.
  std::vector<std::string> names() const {
    std::vector<std::string> found;
    for (const auto &entry : std::filesystem::directory_iterator(root))
      found.push_back(entry.path().filename().string());
    std::sort(found.begin(), found.end());
    return found;
  }

private:
  std::filesystem::path root;
};

inline std::string readText(const std::string &path) {
  std::ifstream stream(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

inline void writeText(const std::string &path, const std::string &text) {
  std::ofstream(path, std::ios::binary) << text;
}

inline std::span<const std::byte> bytesOf(const std::string &text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

template <class T>
HostTensor hostTensor(std::string name, HostType type, std::vector<int64_t> shape,
                      std::vector<T> values) {
  auto owner = std::make_shared<std::vector<T>>(std::move(values));
  HostTensor tensor{std::move(name), type, std::move(shape), {}, owner};
  tensor.bytes = std::as_bytes(std::span(*owner));
  return tensor;
}

template <class T> std::vector<T> valuesOf(const HostTensor &tensor) {
  std::vector<T> values(tensor.bytes.size() / sizeof(T));
  std::memcpy(values.data(), tensor.bytes.data(), tensor.bytes.size());
  return values;
}

/// Little-endian bytes of a number.
inline std::string little(uint64_t value, int count) {
  std::string text;
  for (int i = 0; i < count; ++i)
    text += static_cast<char>(value >> (8 * i) & 0xff);
  return text;
}

#define EXPECT_OK(expression)                                                                      \
  do {                                                                                             \
    const auto &evoStatus = (expression);                                                          \
    EXPECT_TRUE(evoStatus.ok()) << evoStatus.message();                                            \
  } while (false)

#define EXPECT_MESSAGE(result, text)                                                               \
  do {                                                                                             \
    const auto &evoResult = (result);                                                              \
    ASSERT_FALSE(evoResult.ok());                                                                  \
    EXPECT_EQ(::evo::test::messageOf(evoResult), text);                                            \
  } while (false)

inline std::string messageOf(const Status &status) { return status.message(); }
template <class T> std::string messageOf(const Result<T> &result) {
  return result.status().message();
}

} // namespace evo::test
