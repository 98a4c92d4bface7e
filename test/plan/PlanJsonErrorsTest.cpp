//===- PlanJsonErrorsTest.cpp - what the reader refuses ---------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "runtime/plan/PlanJson.h"
#include "test/plan/PlanFixture.h"

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <unistd.h>

using namespace evo;
using namespace evo::plan;
using namespace evo::plan::test;

namespace {

const std::string &fixtureText() {
  static const std::string text = *printPlan(fixturePlan());
  return text;
}

/// The fixture with the first `from` behind the first `after` replaced by `to`.
std::string edited(const std::string &after, const std::string &from, const std::string &to) {
  std::string text = fixtureText();
  size_t start = text.find(after);
  EXPECT_NE(start, std::string::npos) << after;
  size_t at = text.find(from, start);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

std::string errorOf(const std::string &text) {
  Result<Plan> plan = parsePlan(text, "p.json");
  if (plan)
    return "no error";
  EXPECT_EQ(plan.status().code(), ErrorCode::InvalidPlan);
  return plan.status().message();
}

struct Edit {
  const char *name;
  std::string after, from, to;
  std::string message; ///< behind "p.json: "
};

void PrintTo(const Edit &edit, std::ostream *stream) { *stream << edit.name; }

class PlanJsonError : public testing::TestWithParam<Edit> {};

TEST_P(PlanJsonError, NamesPathExpectedAndGot) {
  const Edit &edit = GetParam();
  EXPECT_EQ(errorOf(edited(edit.after, edit.from, edit.to)), "p.json: " + edit.message);
}

const Edit kEdits[] = {
    {"OtherVersion", "", "evo.plan/1", "evo.plan/2",
     "format: expected \"evo.plan/1\", got \"evo.plan/2\": this evo-run reads evo.plan/1; "
     "recompile "
     "the specification with an evo-opt of the same version"},
    {"FormatNotText", "", "\"evo.plan/1\"", "1", "format: expected a string, got 1"},
    {"NoFormat", "", "\"format\": \"evo.plan/1\",\n", "", "expected key 'format', got none"},
    {"MissingKey", "", "\"arena_bytes\": 8704,\n", "", "expected key 'arena_bytes', got none"},
    {"MissingNestedKey", "\"policy\"", ",\"kept_bytes\":0", "",
     "summary: expected key 'kept_bytes', got none"},
    {"MissingOperand", "\"kernel\":\"gate\"", "\"gate_bias\":{\"buffer\":14},", "",
     "procedures[0].steps[5].body[7].operands: expected key 'gate_bias', got none"},
    {"UnknownKey", "", "\"policy\"", "\"polcy\":1,\"policy\"",
     "summary.polcy: expected one of the keys 'policy', 'budget_bytes', 'arena_bytes', "
     "'static_bytes', 'library_bytes', 'predicted_peak_bytes', 'kept_bytes', 'idle', "
     "'predicted_ms', got 'polcy'"},
    {"IdleOfNothing", "\"policy\"", "\"predicted_ms\"",
     "\"idle\":{\"bytes\":0,\"kept_bytes\":0,\"frame_bytes\":0},\"predicted_ms\"",
     "summary.idle.bytes: expected an integer of at least 1, got 0"},
    {"UnknownOperand", "\"kernel\":\"gate\"", "\"gate_bias\"", "\"lse\":0,\"gate_bias\"",
     "procedures[0].steps[5].body[7].operands.lse: expected one of the keys 'o', 'gate', "
     "'gate_bias', 'y', got 'lse'"},
    {"AttributeOfAnotherKernel", "", "\"kernel\":\"gate\",", "\"kernel\":\"gate\",\"eps\":1e-5,",
     "procedures[0].steps[5].body[7].eps: expected one of the keys 'kernel', 'operands', "
     "'lane', 'waits', 'cost_ns', 'location', got 'eps'"},
    {"TextForInteger", "\"qkvg\"", "1536", "\"1536\"",
     "procedures[0].buffers[10].offset: expected an integer, got string \"1536\""},
    {"FractionForInteger", "\"qkvg\"", "1536", "1536.0",
     "procedures[0].buffers[10].offset: expected an integer, got 1536.0"},
    {"NullForInteger", "\"qkvg\"", "1536", "null",
     "procedures[0].buffers[10].offset: expected an integer, got null"},
    {"Over63Bits", "\"qkvg\"", "1536", "9223372036854775808",
     "procedures[0].buffers[10].offset: expected an integer of at most 9223372036854775807, got "
     "9223372036854775808"},
    {"Over64Bits", "\"qkvg\"", "1536", "18446744073709551616",
     "procedures[0].buffers[10].offset: expected an integer of at most 9223372036854775807, got "
     "18446744073709551616"},
    {"Over31Bits", "\"kernel\":\"gate\"", "\"version\":1", "\"version\":2147483648",
     "procedures[0].steps[5].body[7].operands.o.version: expected an integer of at most "
     "2147483647, got 2147483648"},
    {"Negative", "\"kernel\":\"gate\"", "\"version\":1", "\"version\":-1",
     "procedures[0].steps[5].body[7].operands.o.version: expected an integer of at least 0, got "
     "-1"},
    {"NegativeShape", "\"qkvg\"", "[2,7,32]", "[2,-7,32]",
     "procedures[0].buffers[10].shape[1]: expected an integer of at least 0, got -7"},
    {"LoopOfNothing", "\"axis\":\"r\"", "\"size\":3", "\"size\":0",
     "procedures[1].steps[0].size: expected an integer of at least 1, got 0"},
    {"TextForNumber", "", "0.176", "\"fast\"",
     "summary.predicted_ms: expected a number, got string \"fast\""},
    {"NumberForText", "", "\"policy\":\"chunk\"", "\"policy\":7",
     "summary.policy: expected a string, got 7"},
    {"ObjectForArray", "\"qkvg\"", "[2,7,32]", "{}",
     "procedures[0].buffers[10].shape: expected an array, got an object"},
    {"ArrayForObject", "", "{\"r\":7,\"s\":5}", "[7,5]",
     "model.sizes: expected an object, got an array of 2"},
    {"UnknownType", "\"qkvg\"", "\"f32\"", "\"f31\"",
     "procedures[0].buffers[10].dtype: expected one of 'f64', 'f32', 'f16', 'bf16', got string "
     "\"f31\""},
    {"UnknownBase", "\"qkvg\"", "\"frame\"", "\"heap\"",
     "procedures[0].buffers[10].base: expected one of 'tensor', 'frame', 'saved', 'weight', "
     "'gradient', 'state', got string \"heap\""},
    {"UnknownPrecision", "", "\"fp32\"", "\"fp8\"",
     "precision: expected one of 'fp64', 'fp32', 'tf32', 'bf16', 'fp16', got string \"fp8\""},
    {"UnknownMode", "", "\"infer\"", "\"guess\"",
     "mode: expected one of 'infer', 'train', got string \"guess\""},
    {"UnknownPhase", "", "\"phase\": \"forward\"", "\"phase\": \"sideways\"",
     "procedures[0].phase: expected one of 'forward', 'backward', 'optimizer', got string "
     "\"sideways\""},
    {"UnknownLane", "", "\"communication\"", "\"copy\"",
     "procedures[2].steps[3].lane: expected one of 'compute', 'communication', got string "
     "\"copy\""},
    {"UnknownActivation", "\"axis\":\"r\"", "\"none\"", "\"gelu\"",
     "procedures[1].steps[0].body[5].activation: expected one of 'none', 'relu', got string "
     "\"gelu\""},
    {"UnknownNode", "", "\"stack\",\"name\"", "\"tower\",\"name\"",
     "schedule.kind: expected one of 'stack', 'segment', 'run', 'module', got string \"tower\""},
    {"NoStep", "\"axis\":\"r\"", "{\"alloc\":1}", "{}",
     "procedures[1].steps[0].body[0]: expected one of the keys 'kernel', 'alloc', 'free', 'loop', "
     "got none"},
    {"TwoStepsInOne", "\"axis\":\"r\"", "{\"alloc\":1}", "{\"alloc\":1,\"free\":1}",
     "procedures[1].steps[0].body[0].free: expected one of the keys 'kernel', 'alloc', got 'free'"},
    {"NoSuchBuffer", "\"kernel\":\"gate\"", "\"buffer\":14", "\"buffer\":17",
     "procedures[0].steps[5].body[7].operands.gate_bias: expected a buffer below 17, got 17"},
    {"StartOfText", "\"kernel\":\"gate\"", "\"start\":[0,0,24]", "\"start\":[0,\"0\",24]",
     "procedures[0].steps[5].body[7].operands.gate.start[1]: expected an integer or an object, got "
     "string \"0\""},
    {"IntervalOfThree", "\"rank\"", "[0,7]", "[0,7,8]",
     "ranks[0].extents.r: expected [begin, end], got an array of 3"},
    {"DuplicateKey", "", "\"policy\":\"chunk\"", "\"policy\":\"chunk\",\"policy\":\"direct\"",
     "summary.policy: expected the key once, got it twice"},
    {"DuplicateDeepKey", "\"kernel\":\"gate\"", "\"version\":1", "\"version\":1,\"version\":1",
     "procedures[0].steps[5].body[7].operands.o.version: expected the key once, got it twice"},
    {"StridesWithoutBound", "\"qkvg\"", "[2,7,32]", "[2,4294967296,4294967296]",
     "procedures[0].buffers[10]: expected strides below 2^63 from the shape, got more"},
    {"ControlCharacter", "", "\"chunk\"", "\"chu\nnk\"",
     "expected JSON, got an error at line 11, column 26: invalid string: control character U+000A "
     "(LF) must be escaped to \\u000A or \\n; last read: '\"chu<U+000A>'"},
};

INSTANTIATE_TEST_SUITE_P(Fixture, PlanJsonError, testing::ValuesIn(kEdits),
                         [](const auto &info) { return info.param.name; });

void expectPrefix(const std::string &text, const std::string &prefix) {
  EXPECT_EQ(text.substr(0, prefix.size()), prefix);
}

TEST(PlanJsonText, NotJson) {
  expectPrefix(errorOf(""), "p.json: expected JSON, got an error at line 1, column 1: ");
  expectPrefix(errorOf("{\n  \"format\": NaN}"),
               "p.json: expected JSON, got an error at line 2, column 13: invalid literal");
  expectPrefix(errorOf(fixtureText() + "x"),
               "p.json: expected JSON, got an error at line 181, column 1: invalid literal");
  expectPrefix(errorOf(fixtureText() + "{}"),
               "p.json: expected JSON, got an error at line 181, column 1: unexpected '{'");
  expectPrefix(errorOf(edited("", "0.176", "1e999")),
               "p.json: expected JSON, got an error at line ");
  expectPrefix(errorOf(edited("", "chunk", "ch\xffnk")),
               "p.json: expected JSON, got an error at line 11, column 25: invalid string: "
               "ill-formed UTF-8 byte");
  EXPECT_EQ(errorOf("[]"), "p.json: expected an object, got an array of 0");
  EXPECT_EQ(errorOf("7"), "p.json: expected an object, got 7");
  EXPECT_EQ(errorOf(std::string(64, '\0')).substr(0, 22), "p.json: expected JSON,");
}

TEST(PlanJsonText, EveryTruncationIsAnError) {
  const std::string &text = fixtureText();
  size_t whole = text.rfind('}');
  for (size_t length = 0; length <= whole; length += 97)
    EXPECT_NE(errorOf(text.substr(0, length)), "no error") << length;
}

TEST(PlanJsonText, NestingBombs) {
  EXPECT_EQ(errorOf(std::string(1000000, '[')),
            "p.json: expected at most 64 nested objects and arrays, got more");
  std::string objects;
  for (int i = 0; i < 100000; ++i)
    objects += "{\"a\":";
  EXPECT_EQ(errorOf(objects), "p.json: expected at most 64 nested objects and arrays, got more");

  std::string loops;
  for (int i = 0; i <= kMaxTreeDepth; ++i)
    loops +=
        "{\"loop\":" + std::to_string(i + 7) + ",\"axis\":\"s\",\"extent\":1,\"size\":1,\"body\":[";
  loops += "{\"alloc\":0}";
  for (int i = 0; i <= kMaxTreeDepth; ++i)
    loops += "]}";
  std::string message = errorOf(edited("\"steps\"", "{\"alloc\":1}", loops));
  EXPECT_NE(message.find("expected at most 16 nested loops, got more"), std::string::npos)
      << message;

  std::string nodes;
  for (int i = 0; i <= kMaxTreeDepth; ++i)
    nodes += "{\"kind\":\"segment\",\"children\":[";
  for (int i = 0; i <= kMaxTreeDepth; ++i)
    nodes += "]}";
  message = errorOf(edited("\"schedule\"", "\"children\":[", "\"children\":[" + nodes + ","));
  EXPECT_NE(message.find("expected at most 16 nested nodes, got more"), std::string::npos)
      << message;
}

TEST(PlanJsonText, LongTextIsClippedInMessages) {
  std::string message =
      errorOf(edited("", "\"f32\"", std::string("\"").append(100000, 'f').append("\"")));
  EXPECT_EQ(message, "p.json: tensors[0].dtype: expected one of 'f64', 'f32', 'f16', 'bf16', got "
                     "string \"" +
                         std::string(64, 'f') + "...\"");
}

class PlanFile : public testing::Test {
protected:
  void SetUp() override {
    folder = std::filesystem::temp_directory_path() / ("evo-plan-" + std::to_string(getpid()));
    std::filesystem::create_directories(folder);
  }
  void TearDown() override { std::filesystem::remove_all(folder); }
  std::filesystem::path folder;
};

TEST_F(PlanFile, IsReadBack) {
  std::string path = folder / "plan.json";
  std::ofstream(path) << fixtureText();
  Result<Plan> plan = readPlan(path);
  ASSERT_TRUE(plan.ok()) << plan.status().message();
  EXPECT_EQ(*printPlan(*plan), fixtureText());
}

TEST_F(PlanFile, NamesItselfInErrors) {
  std::string path = folder / "plan.json";
  std::ofstream(path) << "[1]";
  EXPECT_EQ(readPlan(path).status().message(), path + ": expected an object, got an array of 1");
}

TEST_F(PlanFile, ThatCannotBeRead) {
  std::string missing = folder / "none.json";
  EXPECT_EQ(readPlan(missing).status().code(), ErrorCode::Io);
  EXPECT_EQ(readPlan(missing).status().message(),
            missing + ": expected a readable plan file, got none");
  EXPECT_EQ(readPlan(folder).status().message(),
            folder.string() + ": expected a plan file, got a folder");
  std::string endless = "/dev/zero";
  EXPECT_EQ(readPlan(endless).status().message(),
            "/dev/zero: expected at most 67108864 bytes of plan, got more");
}

} // namespace
