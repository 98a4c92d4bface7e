//===- NpyTest.cpp ----------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "runtime/core/Npy.h"
#include "runtime/core/TensorFile.h"
#include "test/core/CoreTest.h"

namespace evo {
namespace {

using namespace evo::test;

/// An npy file with this header text.
std::string npy(const std::string &header, const std::string &data, int major = 1) {
  return std::string("\x93NUMPY") + static_cast<char>(major) + '\0' +
         little(header.size(), major == 1 ? 2 : 4) + header + data;
}
std::string header(const std::string &descr, const std::string &shape,
                   const std::string &order = "False") {
  return "{'descr': '" + descr + "', 'fortran_order': " + order + ", 'shape': " + shape + ", }\n";
}
Result<HostTensor> parse(const std::string &content) {
  auto owner = std::make_shared<std::string>(content);
  return parseNpy(bytesOf(*owner), "f", "x", owner);
}

TEST(Npy, WritesTheseBytes) {
  TemporaryFolder folder;
  std::vector<TensorToWrite> one = {
      tensorToWrite(hostTensor<float>("x", HostType::F32, {1, 2}, {1.0f, 2.0f}))};
  EXPECT_OK(writeTensorFile(folder.path("x.npy"), one));
  std::string text = "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2), }";
  // 10 bytes before the text and the newline behind it: padded to 128.
  text += std::string(128 - 10 - 1 - text.size(), ' ') + "\n";
  EXPECT_EQ(readText(folder.path("x.npy")),
            npy(text, little(0x3f800000, 4) + little(0x40000000, 4)));
}

TEST(Npy, HeadersOfEveryRank) {
  EXPECT_NE(npyHeader(HostType::F64, {})->find("'shape': (), }"), std::string::npos);
  EXPECT_NE(npyHeader(HostType::F64, std::vector<int64_t>{7})->find("'shape': (7,), }"),
            std::string::npos);
  for (int64_t rank = 0; rank < 12; ++rank)
    EXPECT_EQ(npyHeader(HostType::U8, std::vector<int64_t>(rank, 1000))->size() % 64, 0u);
  EXPECT_MESSAGE(npyHeader(HostType::BF16, {}),
                 "expected a type that numpy has, got BF16 (write a .safetensors file)");
}

TEST(Npy, ReadsVersionsAndTypes) {
  for (int major : {1, 2, 3}) {
    auto read =
        parse(npy(header("<f8", "(2,)"), little(0x3ff0000000000000, 8) + little(0, 8), major));
    ASSERT_TRUE(read.ok()) << read.status().message();
    EXPECT_EQ(read->dtype, HostType::F64);
    EXPECT_EQ(read->name, "x");
    EXPECT_EQ(valuesOf<double>(*read), (std::vector<double>{1, 0}));
  }
  EXPECT_EQ(parse(npy(header("<f2", "()"), "12"))->dtype, HostType::F16);
  EXPECT_EQ(parse(npy(header("|b1", "(1,)"), "1"))->dtype, HostType::Bool);
  EXPECT_EQ(parse(npy(header("|u1", "(1, 1)"), "1"))->dtype, HostType::U8);
  EXPECT_EQ(parse(npy(header("<u1", "(1, 1)"), "1"))->dtype, HostType::U8);
  EXPECT_EQ(parse(npy(header("<i4", "(0, 3)"), ""))->shape, (std::vector<int64_t>{0, 3}));
}

TEST(Npy, FortranOrderBecomesRowMajor) {
  // [[1, 2, 3], [4, 5, 6]] by columns.
  auto read = parse(npy(header("|u1", "(2, 3)", "True"), "\1\4\2\5\3\6"));
  ASSERT_TRUE(read.ok()) << read.status().message();
  EXPECT_EQ(valuesOf<uint8_t>(*read), (std::vector<uint8_t>{1, 2, 3, 4, 5, 6}));
  // x[i][j][k] = 100 i + 10 j + k for a [2, 1, 2]: columns first 0, 100, 1, 101.
  auto cube = parse(npy(header("|u1", "(2, 1, 2)", "True"), std::string("\0d\1e", 4)));
  EXPECT_EQ(valuesOf<uint8_t>(*cube), (std::vector<uint8_t>{0, 1, 100, 101}));
}

TEST(Npy, RefusesMalformedFiles) {
  std::string good = npy(header("<f4", "(2,)"), "12345678");
  ASSERT_TRUE(parse(good).ok());
  for (size_t size = 0; size < good.size(); ++size)
    EXPECT_FALSE(parse(good.substr(0, size)).ok()) << size;
  std::vector<std::pair<std::string, std::string>> cases = {
      {"", "f: expected an npy array, got other bytes at its start"},
      {npy(header("<f4", "(2,)"), "12345678", 4),
       "f: expected npy version 1.0, 2.0 or 3.0, got 4.0"},
      {std::string("\x93NUMPY\1\0\xff\xff", 10),
       "f: expected an npy header of 65535 bytes, got 10 in the file (is it truncated)"},
      {npy(header(">f4", "(2,)"), "12345678"),
       "f: expected little-endian numbers, got '>f4' (convert with numpy's astype)"},
      {npy(header("|O", "(2,)"), "12345678"),
       "f: expected a type such as '<f4', '<f8', '<f2', '|u1' or '|b1', got '|O'"},
      {npy("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2,)}", "12345678"),
       "f: expected a plain numeric 'descr', not a structure in the npy header, got something else "
       "at its byte 10"},
      {npy(header("<f4", "(3,)"), "12345678"), "f: expected 12 bytes for '<f4' [3], got 8 behind "
                                               "the header (is the file truncated)"},
      {npy(header("<f4", "(4294967296, 4294967296)"), ""),
       "f: expected fewer than 2^63 bytes, got shape [4294967296, 4294967296]"},
      {npy(header("<f4", "(-1,)"), ""),
       "f: expected a size in the npy header, got something else at its byte 51"},
      {npy(header("<f4", "(99999999999999999999,)"), ""),
       "f: expected a size below 2^63 in the npy header, got something else at its byte 69"},
      {npy(header("<f4", "(2,)", "Maybe"), "12345678"),
       "f: expected True or False in the npy header, got something else at its byte 34"},
      {npy("{'descr': '<f4', 'shape': (2,)}", "12345678"),
       "f: expected the keys 'descr', 'fortran_order' and 'shape' in the npy header, got something "
       "else at its byte 31"},
      {npy("{'descr': '<f4', 'descr': '<f4'}", ""),
       "f: expected each of 'descr', 'fortran_order' and 'shape' once, not 'descr' here in the npy "
       "header, got something else at its byte 25"},
      {npy("{'descr': '<f4}", ""),
       "f: expected the end of a string in the npy header, got something else at its byte 11"},
      {npy("{} x", ""),
       "f: expected the end of the header in the npy header, got something else at its byte 3"},
  };
  for (const auto &[content, message] : cases)
    EXPECT_MESSAGE(parse(content), message);
}

TEST(Npy, TensorIsNamedLikeItsFile) {
  TemporaryFolder folder;
  std::vector<TensorToWrite> one = {
      tensorToWrite(hostTensor<double>("z", HostType::F64, {1}, {3.0}))};
  EXPECT_OK(writeTensorFile(folder.path("z.npy"), one));
  auto read = readTensorFile(folder.path("z.npy"));
  ASSERT_TRUE(read.ok()) << read.status().message();
  EXPECT_EQ(read->at(0).name, "z");
  one.push_back(one[0]);
  std::string path = folder.path("two.npy");
  EXPECT_MESSAGE(writeTensorFile(path, one), "expected one tensor for the .npy file '" + path +
                                                 "', got 2 (name a .npz or .safetensors file)");
  EXPECT_EQ(folder.names(), (std::vector<std::string>{"z.npy"}));
}

} // namespace
} // namespace evo
