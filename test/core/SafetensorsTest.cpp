//===- SafetensorsTest.cpp --------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "runtime/core/Safetensors.h"
#include "runtime/core/TensorFile.h"
#include "test/core/CoreTest.h"

namespace evo {
namespace {

using namespace evo::test;

/// A file of this header and data.
std::string file(const std::string &header, const std::string &data = "") {
  return little(header.size(), 8) + header + data;
}

Result<std::vector<HostTensor>> parse(const std::string &content) {
  auto owner = std::make_shared<std::string>(content);
  return parseSafetensors(bytesOf(*owner), "f", owner);
}

TEST(Safetensors, WritesTheseBytes) {
  TemporaryFolder folder;
  HostTensor a = hostTensor<float>("a", HostType::F32, {2}, {1.0f, -2.0f});
  HostTensor b = hostTensor<uint8_t>("b", HostType::Bool, {}, {1});
  std::vector<TensorToWrite> tensors = {tensorToWrite(a), tensorToWrite(b)};
  EXPECT_OK(writeTensorFile(folder.path("t.safetensors"), tensors));
  std::string header = R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
                       R"("b":{"dtype":"BOOL","shape":[],"data_offsets":[8,9]}})";
  // 107 bytes, padded with blanks to the next multiple of 8.
  ASSERT_EQ(header.size(), 107u);
  std::string expected = little(112, 8) + header + "     " + little(0x3f800000, 4) +
                         little(0xc0000000, 4) + std::string(1, '\1');
  EXPECT_EQ(readText(folder.path("t.safetensors")), expected);
}

TEST(Safetensors, CarriesMetadata) {
  TemporaryFolder folder;
  std::vector<TensorToWrite> tensors = {
      tensorToWrite(hostTensor<float>("a", HostType::F32, {1}, {1.0f}))};
  auto created = OutputFile::create(folder.path("t.safetensors"));
  ASSERT_TRUE(created.ok());
  EXPECT_OK(writeSafetensors(*created, tensors, {{"step", "7"}, {"format", "x/1"}}));
  EXPECT_OK(created->commit());
  std::string content = readText(folder.path("t.safetensors"));
  EXPECT_EQ(content.substr(8, 44), R"({"__metadata__":{"format":"x/1","step":"7"},)");
  auto owner = std::make_shared<std::string>(content);
  SafetensorsMetadata metadata;
  auto read = parseSafetensors(bytesOf(*owner), "f", owner, &metadata);
  ASSERT_TRUE(read.ok()) << read.status().message();
  EXPECT_EQ(read->size(), 1u);
  EXPECT_EQ(metadata, (SafetensorsMetadata{{"format", "x/1"}, {"step", "7"}}));
}

TEST(Safetensors, ReadsWhatItWrites) {
  TemporaryFolder folder;
  HostTensor a = hostTensor<double>("x.y", HostType::F64, {2, 3}, {1, 2, 3, 4, 5, 6});
  HostTensor b = hostTensor<uint16_t>("h", HostType::BF16, {1, 2}, {0x3f80, 0x4000});
  HostTensor empty = hostTensor<float>("none", HostType::F32, {0, 5}, {});
  std::vector<TensorToWrite> tensors = {tensorToWrite(a), tensorToWrite(empty), tensorToWrite(b)};
  EXPECT_OK(writeTensorFile(folder.path("t.safetensors"), tensors));
  auto read = readTensorFile(folder.path("t.safetensors"));
  ASSERT_TRUE(read.ok()) << read.status().message();
  ASSERT_EQ(read->size(), 3u);
  EXPECT_EQ((*read)[0].name, "x.y");
  EXPECT_EQ(valuesOf<double>((*read)[0]), (std::vector<double>{1, 2, 3, 4, 5, 6}));
  EXPECT_EQ((*read)[1].shape, (std::vector<int64_t>{0, 5}));
  EXPECT_EQ((*read)[2].dtype, HostType::BF16);
  EXPECT_EQ(valuesOf<uint16_t>((*read)[2]), (std::vector<uint16_t>{0x3f80, 0x4000}));
}

TEST(Safetensors, MetadataIsNoTensor) {
  auto read = parse(file(R"({"__metadata__":{"format":"pt"}})"));
  ASSERT_TRUE(read.ok()) << read.status().message();
  EXPECT_TRUE(read->empty());
  EXPECT_MESSAGE(parse(file(R"({"__metadata__":{"format":1}})")),
                 "f: expected strings by name in '__metadata__', got other values");
}

struct Malformed {
  std::string content, message;
};

TEST(Safetensors, RefusesMalformedFiles) {
  auto tensor = [](const std::string &type, const std::string &shape, const std::string &offsets) {
    return R"({"a":{"dtype":")" + type + R"(","shape":)" + shape + R"(,"data_offsets":)" + offsets +
           "}}";
  };
  std::string ok = tensor("F32", "[2]", "[0,8]");
  std::vector<Malformed> cases = {
      {"", "f: expected a safetensors file of at least 8 bytes, got 0"},
      {"1234567", "f: expected a safetensors file of at least 8 bytes, got 7"},
      {little(~0ull, 8) + "{}",
       "f: expected a safetensors header of at most 100000000 bytes, got 18446744073709551615"},
      {little(3, 8) + "{}", "f: expected a header of 3 bytes, got 2 (is the file truncated)"},
      {little(0, 8), "f: expected a safetensors header that begins with '{', got another byte"},
      {file("[]"), "f: expected a safetensors header that begins with '{', got another byte"},
      {file("{"), "f: expected a JSON header, got an error at header byte 2"},
      {file("{}x"), "f: expected a JSON header, got an error at header byte 3"},
      {file(R"({"a":1,"a":2})"), "f: expected distinct names, got 'a' twice"},
      {file(R"({"a":1})"), "f: tensor 'a': expected an object, got number"},
      {file(R"({"a":{"shape":[],"data_offsets":[0,4]}})"),
       "f: tensor 'a': expected the key 'dtype', got none"},
      {file(R"({"a":{"dtype":"F32","data_offsets":[0,4]}})"),
       "f: tensor 'a': expected the key 'shape', got none"},
      {file(R"({"a":{"dtype":"F32","shape":[]}})"),
       "f: tensor 'a': expected the key 'data_offsets', got none"},
      {file(R"({"a":{"dtype":"F32","shape":[],"data_offsets":[0,4],"x":1}})"),
       "f: tensor 'a': expected dtype, shape and data_offsets, got the key 'x'"},
      {file(R"({"a":{"dtype":3,"shape":[],"data_offsets":[0,4]}})"),
       "f: tensor 'a': expected a string as dtype, got number"},
      {file(tensor("Q7", "[]", "[0,4]")),
       "f: tensor 'a': expected a dtype such as F32, F64, F16 or BF16, got 'Q7'"},
      {file(tensor("F32", "[-1]", "[0,4]")),
       "f: tensor 'a' shape: expected a list of sizes in [0, 2^63), got [-1]"},
      {file(tensor("F32", "[1.5]", "[0,4]")),
       "f: tensor 'a' shape: expected a list of sizes in [0, 2^63), got [1.5]"},
      {file(tensor("F32", "[9223372036854775808]", "[0,4]")),
       "f: tensor 'a' shape: expected a list of sizes in [0, 2^63), got [9223372036854775808]"},
      {file(tensor("F32", "3", "[0,4]")),
       "f: tensor 'a' shape: expected a list of sizes in [0, 2^63), got 3"},
      {file(tensor("F32", "[4294967296,4294967296]", "[0,4]")),
       "f: tensor 'a': expected fewer than 2^63 bytes, got shape [4294967296, 4294967296]"},
      {file(tensor("F32", "[2305843009213693952]", "[0,0]")),
       "f: tensor 'a': expected fewer than 2^63 bytes, got shape [2305843009213693952]"},
      {file(tensor("F32", "[2]", "[0]")),
       "f: tensor 'a': expected data_offsets [begin, end], got [0]"},
      {file(tensor("F32", "[2]", "[8,0]")),
       "f: tensor 'a': expected data_offsets [begin, end], got [8, 0]"},
      {file(tensor("F32", "[3]", "[0,8]"), "12345678"),
       "f: tensor 'a': expected 12 bytes for F32 [3], got 8"},
      {file(ok, "1234567"), "f: tensor 'a': expected its bytes within the 7 behind the header, got "
                            "end 8 (is the file truncated)"},
      {file(ok, "123456789"), "f: expected the file to end with its last tensor, got 1 bytes more"},
      {file(tensor("F32", "[1]", "[4,8]"), "12345678"),
       "f: tensor 'a': expected its bytes at 0, got 4"},
      {file(R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},)"
            R"("b":{"dtype":"U8","shape":[4],"data_offsets":[2,6]}})",
            "123456"),
       "f: tensor 'b': expected its bytes at 4, got 2"},
  };
  for (const Malformed &one : cases) {
    auto read = parse(one.content);
    ASSERT_FALSE(read.ok()) << one.message;
    EXPECT_EQ(read.status().message(), one.message);
    EXPECT_EQ(read.status().code(), ErrorCode::InvalidInput);
  }
}

TEST(Safetensors, EveryTruncationIsRefused) {
  std::string whole = file(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", "12345678");
  ASSERT_TRUE(parse(whole).ok());
  for (size_t size = 0; size < whole.size(); ++size)
    EXPECT_FALSE(parse(whole.substr(0, size)).ok()) << size;
}

TEST(TensorFile, NamesWhatItCannotOpen) {
  TemporaryFolder folder;
  EXPECT_MESSAGE(readTensorFile("x.bin"), "expected a file name that ends with .safetensors, .npz "
                                          "or .npy, got 'x.bin'");
  std::string missing = folder.path("none.safetensors");
  EXPECT_MESSAGE(readTensorFile(missing),
                 "cannot open '" + missing + "': No such file or directory");
  std::string directory = folder.path("d.npz");
  std::filesystem::create_directory(directory);
  EXPECT_MESSAGE(readTensorFile(directory),
                 "cannot read '" + directory + "': expected a regular file");
}

} // namespace
} // namespace evo
