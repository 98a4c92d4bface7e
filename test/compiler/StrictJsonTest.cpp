//===- StrictJsonTest.cpp ---------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "compiler/json/StrictJson.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <filesystem>
#include <fstream>

using namespace evo;
using json::Json;

namespace {

std::string parseError(std::string_view text) {
  Result<Json> value = json::parseStrict(text, "f.json");
  return value.ok() ? "no error" : value.status().message();
}

TEST(StrictJson, ParsesOneValue) {
  Result<Json> value = json::parseStrict(" {\"a\": [1, {\"a\": 2}]} \n", "f.json");
  ASSERT_TRUE(value.ok()) << value.status().message();
  EXPECT_EQ((*value)["a"][1]["a"], 2);
}

TEST(StrictJson, RefusesWhatIsNotJson) {
  EXPECT_EQ(parseError(""), "f.json: expected a JSON object, got an empty file");
  EXPECT_EQ(parseError(" \n\t"), "f.json: expected a JSON object, got an empty file");
  for (const char *text : {"{", "{\"a\": 1,}", "{\"a\": 01}", "{\"a\": 1} x", "{} {}", "{'a': 1}",
                           "// c\n{}", "{\"a\": NaN}", "{\"a\": \"\xff\"}", "\xff\xfe{}"}) {
    Result<Json> value = json::parseStrict(text, "f.json");
    ASSERT_FALSE(value.ok()) << text;
    EXPECT_EQ(value.status().code(), ErrorCode::InvalidInput) << text;
    EXPECT_EQ(value.status().message().rfind("f.json:", 0), 0u) << value.status().message();
  }
}

TEST(StrictJson, NamesLineAndColumn) {
  // The comma's follower, the brace, is the second byte of the third line.
  EXPECT_EQ(
      parseError("{\n  \"a\": 1,\n }").rfind("f.json:3:2: expected JSON, got a syntax error", 0),
      0u)
      << parseError("{\n  \"a\": 1,\n }");
  EXPECT_EQ(parseError("{} x").rfind("f.json:1:4:", 0), 0u) << parseError("{} x");
}

TEST(StrictJson, RefusesDuplicateKeysAtAnyDepth) {
  EXPECT_EQ(parseError("{\"a\": 1, \"b\": {\"a\": 2}, \"a\": 3}"),
            "f.json: expected every key once, got \"a\" twice in one object");
  EXPECT_EQ(parseError("{\"x\": [{\"b\": 1, \"b\": 1}]}"),
            "f.json: expected every key once, got \"b\" twice in one object");
}

TEST(StrictJson, SurvivesDepthAndHugeNumbers) {
  EXPECT_NE(parseError(std::string(200000, '[')), "no error");
  EXPECT_NE(parseError("{\"a\": 1e999}"), "no error");
}

TEST(StrictJson, QuotesSafely) {
  EXPECT_EQ(json::quote("a\"b\\\n\xc3"), "\"a\\\"b\\\\\\x0a\\xc3\"");
  EXPECT_EQ(json::quote(std::string(100, 'x')), "\"" + std::string(60, 'x') + "...\"");
}

TEST(StrictJson, DescribesValues) {
  EXPECT_EQ(json::describe(Json::parse("1e3")), "1000.0");
  EXPECT_EQ(json::describe(Json::parse("-5")), "-5");
  EXPECT_EQ(json::describe(Json::parse("null")), "null");
  EXPECT_EQ(json::describe(Json::parse("[1]")), "an array");
  EXPECT_EQ(json::describe(Json::parse("{}")), "an object");
  EXPECT_EQ(json::describe(Json::parse("\"x\"")), "\"x\"");
}

TEST(StrictJson, MeasuresEdits) {
  EXPECT_EQ(json::editDistance("", "abc"), 3);
  EXPECT_EQ(json::editDistance("kitten", "sitting"), 3); // k->s, e->i, +g
  EXPECT_EQ(json::editDistance("c_m", "c_m"), 0);
  EXPECT_EQ(json::editDistance("chanels", "channels"), 1);
}

TEST(StrictJson, FindsTheNearestName) {
  const std::string_view legal[] = {"c_m", "c_z", "no_heads"};
  EXPECT_EQ(json::nearestName("no_head", legal), "no_heads");
  EXPECT_EQ(json::nearestName("c_x", legal), "c_m"); // c_z is as near; the first one counts
  EXPECT_EQ(json::nearestName("temperature", legal), "");
}

TEST(StrictJson, ReadsFieldsAndKeepsTheFirstError) {
  const Json root =
      Json::parse(R"({"a": {"n": 7, "x": 0.5, "t": "hi"}, "big": 18446744073709551615})");
  json::FieldReader reader(root);
  int64_t n = 0, absent = 42;
  double x = 0;
  std::string text;
  reader.integer("a.n", n, 1, 10);
  reader.integer("a.absent", absent, 1, 10);
  reader.number("a.x", x, json::kUnitOpen);
  reader.text("a.t", text);
  ASSERT_TRUE(reader.status().ok());
  EXPECT_EQ(n, 7);
  EXPECT_EQ(absent, 42);
  EXPECT_EQ(x, 0.5);
  EXPECT_EQ(text, "hi");
  reader.integer("big", n, 1, INT64_MAX);
  EXPECT_EQ(reader.status().message(),
            "big: expected an integer from 1 to 9223372036854775807, written without fraction or "
            "exponent, got 18446744073709551615");
  reader.integer("a.x", n, 1, 10);
  EXPECT_EQ(reader.status().message().rfind("big:", 0), 0u);
  EXPECT_EQ(n, 7);
}

TEST(StrictJson, RangesAreOpenWhereTheySaySo) {
  const Json root = Json::parse(R"({"zero": 0, "one": 1, "below": -0.5})");
  auto accepts = [&](const char *key, const json::NumberRange &range) {
    json::FieldReader reader(root);
    double x = 0;
    reader.number(key, x, range);
    return reader.status().ok();
  };
  EXPECT_FALSE(accepts("zero", json::kPositive));
  EXPECT_TRUE(accepts("one", json::kPositive));
  EXPECT_TRUE(accepts("zero", json::kNonNegative));
  EXPECT_FALSE(accepts("below", json::kNonNegative));
  EXPECT_TRUE(accepts("zero", json::kUnitOpen));
  EXPECT_FALSE(accepts("one", json::kUnitOpen));
}

TEST(StrictJson, ReadsFilesWithinTheLimit) {
  const std::string path = testing::TempDir() + "evo-strict-json";
  EXPECT_EQ(json::readTextFile(path + "-absent").status().code(), ErrorCode::Io);
  EXPECT_FALSE(json::readTextFile(testing::TempDir()).ok()); // a folder
  std::ofstream(path) << "{}";
  Result<std::string> text = json::readTextFile(path);
  ASSERT_TRUE(text.ok());
  EXPECT_EQ(*text, "{}");
  std::filesystem::resize_file(path, json::kMaxFileBytes + 1);
  EXPECT_EQ(json::readTextFile(path).status().message(),
            path + ": expected a file of at most 16777216 bytes, got more");
  std::filesystem::remove(path);
}

} // namespace
