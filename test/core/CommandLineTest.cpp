//===- CommandLineTest.cpp --------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "runtime/core/CommandLine.h"
#include "test/core/CoreTest.h"

namespace evo {
namespace {

constexpr Flag kFlags[] = {
    {"--quiet", FlagValue::None, "", "no progress"},
    {"--json", FlagValue::Required, "FILE", "the report"},
    {"--iterations", FlagValue::Required, "N", "timed repeats"},
    {"--set", FlagValue::Required, "NAME=VALUE", "a size", true},
    {"--sweep", FlagValue::Optional, "N", "the frontier"},
    {"-o", FlagValue::Required, "FILE", "the plan"},
};

Result<CommandLine> parse(std::vector<std::string> arguments) {
  return CommandLine::parse(kFlags, arguments);
}

TEST(CommandLine, TakesBothForms) {
  auto line = parse({"plan.json", "--json=a=b", "--iterations", "-3", "--quiet", "-o", "-", "--set",
                     "s=1", "--set=r=2", "--sweep", "--", "--json"});
  ASSERT_TRUE(line.ok()) << line.status().message();
  EXPECT_EQ(line->positional(), (std::vector<std::string>{"plan.json", "--json"}));
  EXPECT_EQ(line->text("--json"), "a=b");
  EXPECT_EQ(line->text("--iterations"), "-3");
  EXPECT_EQ(line->text("-o"), "-");
  EXPECT_TRUE(line->has("--quiet"));
  EXPECT_EQ(line->all("--set"), (std::vector<std::string>{"s=1", "r=2"}));
  EXPECT_EQ(line->text("--sweep"), "");
  EXPECT_EQ(parse({"--sweep=4"})->text("--sweep"), "4");
  EXPECT_EQ(parse({"-"})->positional(), std::vector<std::string>{"-"});
  EXPECT_FALSE(parse({})->has("--quiet"));
  EXPECT_EQ(parse({})->textOr("--json", "none"), "none");
}

TEST(CommandLine, RefusesWhatIsWrong) {
  EXPECT_MESSAGE(parse({"--jsn=x"}), "unknown flag '--jsn' (did you mean --json)");
  EXPECT_MESSAGE(parse({"--what"}), "unknown flag '--what' (see --help)");
  EXPECT_MESSAGE(parse({"-x"}), "unknown flag '-x' (see --help)");
  EXPECT_MESSAGE(parse({"--quiet=1"}), "expected --quiet without a value, got '--quiet=1'");
  EXPECT_MESSAGE(parse({"--json"}), "expected --json=FILE, got no value");
  EXPECT_MESSAGE(parse({"--json="}), "expected --json=FILE, got no value");
  EXPECT_MESSAGE(parse({"--json", ""}), "expected --json=FILE, got no value");
  EXPECT_MESSAGE(parse({"--json", "--quiet"}), "expected --json=FILE, got no value");
  EXPECT_MESSAGE(parse({"--json=a", "--json=b"}), "expected --json once, got it twice");
  EXPECT_MESSAGE(parse({"--quiet", "--quiet"}), "expected --quiet once, got it twice");
  EXPECT_EQ(parse({"--jsn"}).status().code(), ErrorCode::Usage);
}

TEST(CommandLine, ChecksNumbersAndChoices) {
  auto integer = [](const std::string &text) {
    auto line = parse({"--iterations=" + text});
    return line->integer("--iterations", 1, 100, 7);
  };
  EXPECT_EQ(*integer("42"), 42);
  EXPECT_EQ(*parse({})->integer("--iterations", 1, 100, 7), 7);
  for (std::string bad :
       {"0", "101", "-1", "1.5", "4x", " 4", "+4", "0x10", "", "99999999999999999999"})
    if (!bad.empty())
      EXPECT_MESSAGE(integer(bad),
                     "--iterations: expected a whole number in [1, 100], got '" + bad + "'");
  EXPECT_EQ(*parse({"--iterations=18446744073709551615"})->seed("--iterations", 0), UINT64_MAX);
  EXPECT_MESSAGE(parse({"--iterations=18446744073709551616"})->seed("--iterations", 0),
                 "--iterations: expected a whole number in [0, 2^64), got '18446744073709551616'");
  EXPECT_MESSAGE(parse({"--iterations=-1"})->seed("--iterations", 0),
                 "--iterations: expected a whole number in [0, 2^64), got '-1'");
  constexpr std::string_view choices[] = {"cpu", "cuda"};
  EXPECT_EQ(**parse({"--json=cuda"})->choice("--json", choices), "cuda");
  EXPECT_EQ(*parse({})->choice("--json", choices), std::nullopt);
  EXPECT_MESSAGE(parse({"--json=gpu"})->choice("--json", choices),
                 "--json: expected cpu or cuda, got 'gpu'");
}

TEST(ParseBytes, TakesUnits) {
  EXPECT_EQ(*parseBytes("0"), 0);
  EXPECT_EQ(*parseBytes("4096"), 4096);
  EXPECT_EQ(*parseBytes("3KiB"), 3072);
  EXPECT_EQ(*parseBytes("16GiB"), 17179869184);
  EXPECT_EQ(*parseBytes("2TiB"), 2199023255552);
  EXPECT_EQ(*parseBytes("1.5MiB"), 1572864);
  EXPECT_EQ(*parseBytes("0.1KiB"), 102); // 102.4
  EXPECT_EQ(*parseBytes("9223372036854775807"), INT64_MAX);
}

TEST(ParseBytes, RefusesTheRest) {
  for (std::string bad :
       {"", "GiB", "16GB", "16 GiB", "16gib", "-1", "-1GiB", "1.5", "1.GiB", ".5GiB",
        "1.0000000001GiB", "1e3", "0x10", "9223372036854775808", "8388608TiB", "NaN", "1GiB "})
    EXPECT_MESSAGE(parseBytes(bad), "expected bytes or a size in KiB, MiB, GiB or TiB such as "
                                    "16GiB, got '" +
                                        bad + "'");
}

TEST(FlagHelp, AlignsItsColumns) {
  EXPECT_EQ(flagHelp(kFlags), "  --quiet           no progress\n"
                              "  --json=FILE       the report\n"
                              "  --iterations=N    timed repeats\n"
                              "  --set=NAME=VALUE  a size\n"
                              "  --sweep[=N]       the frontier\n"
                              "  -o FILE           the plan\n");
}

} // namespace
} // namespace evo
