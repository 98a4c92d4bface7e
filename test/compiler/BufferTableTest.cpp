//===- BufferTableTest.cpp --------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "compiler/memory/BufferTable.h"

#include <gtest/gtest.h>

using namespace evo;
using namespace evo::memory;

namespace {

BufferTable table(std::string_view text) {
  Result<BufferTable> read = readBufferTable(text);
  EXPECT_TRUE(read.ok()) << read.status().message();
  return read.ok() ? *read : BufferTable{};
}

std::string error(std::string_view text) {
  Result<BufferTable> read = readBufferTable(text);
  if (read.ok())
    return "no error";
  EXPECT_EQ(read.status().code(), ErrorCode::InvalidInput);
  return read.status().message();
}

TEST(BufferTable, ReadsColumnsInAnyOrderAndKeepsTheOthers) {
  const BufferTable read = table("size,name,id,upper,lower\n64,\"a, b\",x, 3 ,-1\n32,,y,9,2\n");
  ASSERT_EQ(read.buffers.size(), 2u);
  EXPECT_EQ(read.buffers[0].lower, -1);
  EXPECT_EQ(read.buffers[0].upper, 3);
  EXPECT_EQ(read.buffers[0].size, 64);
  EXPECT_EQ(read.buffers[1].size, 32);
  const std::vector<Bytes> offsets = {0, 64};
  EXPECT_EQ(writeBufferTable(read, offsets), "size,name,id,upper,lower,offset\n"
                                             "64,\"a, b\",x, 3 ,-1,0\n"
                                             "32,,y,9,2,64\n");
}

TEST(BufferTable, AnOffsetColumnIsReplaced) {
  const std::vector<Bytes> offsets = {7};
  EXPECT_EQ(writeBufferTable(table("id,offset,lower,upper,size\n1,99,0,1,5\n"), offsets),
            "id,offset,lower,upper,size\n1,7,0,1,5\n");
}

TEST(BufferTable, TakesOtherNamesLineEndsAndEmptyLines) {
  const BufferTable read = table("\xef\xbb\xbf"
                                 "buffer,start,end,size\r\n\r\n0,1,2,3\r\n\n1,2,3,4");
  ASSERT_EQ(read.buffers.size(), 2u);
  EXPECT_EQ(read.buffers[1].size, 4);
  EXPECT_EQ(table("id,lower,upper,size\n").buffers.size(), 0u);
}

TEST(BufferTable, NamesTheLineTheExpectedAndTheGot) {
  EXPECT_EQ(error(""), "line 1: expected a header with the columns id, lower, upper, size, got an "
                       "empty file");
  EXPECT_EQ(error("\nid,lower,size\n"), "line 2: expected the columns id, lower, upper, size, got "
                                        "no upper in 'id,lower,size'");
  EXPECT_EQ(error("id,lower,upper,size,end\n"), "line 1: expected one column upper, got two");
  EXPECT_EQ(error("id,lower,upper,size\n1,0,2\n"),
            "line 2: expected 4 fields, as in the header, got 3");
  EXPECT_EQ(error("id,lower,upper,size\n1,0,2,3\n\n2,0,x,3\n"),
            "line 4: expected a whole number as upper, got 'x'");
  EXPECT_EQ(error("id,lower,upper,size\n1,0,2,3.5\n"),
            "line 2: expected a whole number as size, got '3.5'");
  EXPECT_EQ(error("id,lower,upper,size\n1,,2,3\n"),
            "line 2: expected a whole number as lower, got ''");
  EXPECT_EQ(error("id,lower,upper,size\n1,0,2,9223372036854775808\n"),
            "line 2: expected size below 2^63, got '9223372036854775808'");
  EXPECT_EQ(error("id,lower,upper,size\n1,5,5,3\n"),
            "line 2: expected a lifetime [lower, upper) with lower < upper, got [5, 5)");
  EXPECT_EQ(error("id,lower,upper,size\n1,0,5,-3\n"),
            "line 2: expected a size of at least 0, got -3");
  EXPECT_EQ(error("id,lower,upper,size\na,0,5,3\nb,0,5,3\na,0,5,3\n"),
            "line 4: expected an id of its own, got 'a', which line 2 has");
  EXPECT_EQ(error("id,lower,upper,size\n\"a,0,5,3\n"),
            "line 2: expected a closing quote before the end of the line, got none");
}

} // namespace
