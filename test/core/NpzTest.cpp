//===- NpzTest.cpp ----------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "runtime/core/Npy.h"
#include "runtime/core/TensorFile.h"
#include "test/core/CoreTest.h"

#include <zlib.h>

namespace evo {
namespace {

using namespace evo::test;

/// A plain zip archive without any 64-bit field, as zip(1) and numpy.savez_compressed make them.
class ZipMaker {
public:
  void add(const std::string &name, const std::string &data, bool deflated = false) {
    std::string packed = deflated ? deflate(data) : data;
    uint32_t crc = static_cast<uint32_t>(
        ::crc32(0, reinterpret_cast<const Bytef *>(data.data()), static_cast<uInt>(data.size())));
    std::string common = little(20, 2) + little(flags, 2) +
                         little(method.value_or(deflated ? 8 : 0), 2) + little(0x210000, 4) +
                         little(crc ^ crcFlip, 4) + little(packed.size(), 4) +
                         little(claimedBytes.value_or(data.size()), 4) + little(name.size(), 2);
    directory += little(0x02014b50, 4) + little(20, 2) + common + little(0, 2) + little(0, 2) +
                 little(0, 2) + little(0, 2) + little(0, 4) + little(body.size(), 4) + name;
    body += little(0x04034b50, 4) + common + little(0, 2) + name + packed;
    ++entries;
  }
  std::string content(const std::string &comment = "") const {
    return body + directory + little(0x06054b50, 4) + little(0, 4) + little(entries, 2) +
           little(entries, 2) + little(directory.size(), 4) + little(body.size(), 4) +
           little(comment.size(), 2) + comment;
  }

  uint16_t flags = 0;
  uint32_t crcFlip = 0;
  std::optional<uint16_t> method;
  std::optional<uint32_t> claimedBytes;

private:
  static std::string deflate(const std::string &data) {
    std::string out(data.size() + 100, '\0');
    z_stream stream{};
    ::deflateInit2(&stream, 9, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY);
    stream.next_in = reinterpret_cast<Bytef *>(const_cast<char *>(data.data()));
    stream.avail_in = static_cast<uInt>(data.size());
    stream.next_out = reinterpret_cast<Bytef *>(out.data());
    stream.avail_out = static_cast<uInt>(out.size());
    EXPECT_EQ(::deflate(&stream, Z_FINISH), Z_STREAM_END);
    out.resize(stream.total_out);
    ::deflateEnd(&stream);
    return out;
  }
  std::string body, directory;
  uint64_t entries = 0;
};

std::string array(const std::vector<uint8_t> &values) {
  return *npyHeader(HostType::U8, std::vector<int64_t>{static_cast<int64_t>(values.size())}) +
         std::string(values.begin(), values.end());
}
Result<std::vector<HostTensor>> parse(const std::string &content) {
  auto owner = std::make_shared<std::string>(content);
  return parseNpz(bytesOf(*owner), "f", owner);
}

TEST(Npz, ReadsStoredAndDeflatedEntries) {
  std::vector<uint8_t> long_(5000, 7);
  ZipMaker zip;
  zip.add("m.npy", array({1, 2, 3}));
  zip.add("sub/z.npy", array(long_), /*deflated=*/true);
  for (const std::string &comment : {std::string(), std::string("made by hand")}) {
    std::string content = zip.content(comment);
    auto read = parseNpz(bytesOf(content), "f", nullptr);
    ASSERT_TRUE(read.ok()) << read.status().message();
    ASSERT_EQ(read->size(), 2u);
    EXPECT_EQ(read->at(0).name, "m");
    EXPECT_EQ(valuesOf<uint8_t>(read->at(0)), (std::vector<uint8_t>{1, 2, 3}));
    // A stored entry is not copied.
    EXPECT_GE(static_cast<const void *>(read->at(0).bytes.data()), content.data());
    EXPECT_LT(static_cast<const void *>(read->at(0).bytes.data()), content.data() + content.size());
    EXPECT_EQ(read->at(1).name, "sub/z");
    EXPECT_EQ(valuesOf<uint8_t>(read->at(1)), long_);
  }
}

TEST(Npz, ReadsWhatItWrites) {
  TemporaryFolder folder;
  std::vector<float> many(300000);
  for (size_t i = 0; i < many.size(); ++i)
    many[i] = static_cast<float>(i);
  std::vector<TensorToWrite> tensors = {
      tensorToWrite(hostTensor<float>("m", HostType::F32, {3, 100000}, many)),
      tensorToWrite(hostTensor<double>("z", HostType::F64, {}, {2.5}))};
  EXPECT_OK(writeTensorFile(folder.path("t.npz"), tensors));
  auto read = readTensorFile(folder.path("t.npz"));
  ASSERT_TRUE(read.ok()) << read.status().message();
  EXPECT_EQ(read->at(0).shape, (std::vector<int64_t>{3, 100000}));
  EXPECT_EQ(valuesOf<float>(read->at(0)), many);
  EXPECT_EQ(valuesOf<double>(read->at(1)), std::vector<double>{2.5});
  // The same tensors give the same bytes: no clock in the file.
  EXPECT_OK(writeTensorFile(folder.path("u.npz"), tensors));
  EXPECT_EQ(readText(folder.path("t.npz")), readText(folder.path("u.npz")));
}

TEST(Npz, EveryTruncationIsRefused) {
  ZipMaker zip;
  zip.add("m.npy", array({1, 2, 3}));
  std::string whole = zip.content();
  for (size_t size = 0; size < whole.size(); ++size)
    EXPECT_FALSE(parse(whole.substr(0, size)).ok()) << size;
}

TEST(Npz, EveryFlippedByteOfTheDataIsNoticed) {
  ZipMaker zip;
  zip.add("m.npy", array({1, 2, 3}), /*deflated=*/true);
  std::string whole = zip.content();
  size_t directory = whole.find(little(0x02014b50, 4));
  // Behind the local record: 30 bytes and the name.
  for (size_t at = 35; at < directory; ++at) {
    std::string broken = whole;
    broken[at] = static_cast<char>(broken[at] ^ 0x10);
    EXPECT_FALSE(parse(broken).ok()) << at;
  }
}

TEST(Npz, NoByteMakesItCrash) {
  ZipMaker zip;
  zip.add("m.npy", array({1, 2, 3}));
  zip.add("z.npy", array({4}), /*deflated=*/true);
  std::string whole = zip.content();
  for (size_t at = 0; at < whole.size(); ++at)
    for (int value : {0x00, 0x01, 0x7f, 0xff}) {
      std::string broken = whole;
      broken[at] = static_cast<char>(value);
      auto read = parse(broken);
      EXPECT_TRUE(read.ok() || !read.status().message().empty());
    }
}

std::string refused(ZipMaker maker, const std::string &name, bool deflated = false) {
  maker.add(name, array({1, 2, 3}), deflated);
  auto read = parse(maker.content());
  return read ? "" : read.status().message();
}

TEST(Npz, RefusesWhatItCannotRead) {
  EXPECT_MESSAGE(parse("PK"), "f: expected a zip archive, got 2 bytes");
  EXPECT_MESSAGE(parse(std::string(100, 'x')),
                 "f: expected a zip archive, got no end record (is the file truncated)");
  EXPECT_EQ(refused({}, "m.txt"),
            "f: entry 'm.txt': expected a name that ends with .npy, got another");
  ZipMaker encrypted;
  encrypted.flags = 1;
  EXPECT_EQ(refused(encrypted, "m.npy"),
            "f: entry 'm.npy': expected plain data, got an encrypted entry");
  ZipMaker lzma;
  lzma.method = 14;
  EXPECT_EQ(refused(lzma, "m.npy"),
            "f: entry 'm.npy': expected a stored or deflated entry, got method 14");
  ZipMaker crc;
  crc.crcFlip = 0xffffffff;
  EXPECT_NE(refused(crc, "m.npy").find("f: entry 'm.npy': expected checksum "), std::string::npos);
  ZipMaker bomb;
  bomb.claimedBytes = 0xfffffff0;
  EXPECT_EQ(refused(bomb, "m.npy", true),
            "f: entry 'm.npy': expected at most 1032 times the packed bytes, got 4294967280");
  ZipMaker shorter;
  shorter.claimedBytes = 10;
  EXPECT_EQ(refused(shorter, "m.npy", true),
            "f: entry 'm.npy': expected deflated data of 10 bytes, got a damaged stream");
  // 128 bytes of header and 3 of data.
  EXPECT_EQ(refused(shorter, "m.npy"),
            "f: entry 'm.npy': expected as many stored bytes as 10, got 131");
  ZipMaker twice;
  twice.add("m.npy", array({1}));
  EXPECT_EQ(refused(twice, "m.npy"), "f: expected distinct names, got 'm' twice");
}

} // namespace
} // namespace evo
