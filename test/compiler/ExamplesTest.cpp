//===- ExamplesTest.cpp - every file of examples/ is read -------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "compiler/cost/DeviceProfile.h"
#include "compiler/spec/ModelSpec.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

using namespace evo;
namespace fs = std::filesystem;

namespace {

const fs::path kExamples = EVO_EXAMPLES_DIR;

std::vector<fs::path> jsonFiles(const char *folder) {
  std::vector<fs::path> files;
  for (const fs::directory_entry &entry : fs::directory_iterator(kExamples / folder))
    if (entry.path().extension() == ".json")
      files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  return files;
}

std::string contents(const fs::path &path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

TEST(Examples, SpecificationsAreAcceptedAndNamedLikeTheirFile) {
  const std::string readme = contents(kExamples / "README.md");
  const std::vector<fs::path> files = jsonFiles("specs");
  ASSERT_FALSE(files.empty());
  for (const fs::path &file : files) {
    Result<spec::ModelSpec> spec = spec::readModelSpec(file.string());
    ASSERT_TRUE(spec.ok()) << spec.status().message();
    EXPECT_EQ(spec->name, file.stem().string());
    std::string mention = "`";
    mention.append(file.stem().string()).append("`");
    EXPECT_NE(readme.find(mention), std::string::npos)
        << "examples/README.md does not speak of " << file.filename();
  }
}

/// What of a specification the seed's tables state.
using Row =
    std::tuple<spec::StackKind, int64_t, int64_t, int64_t, int64_t, plan::Precision, plan::Mode>;

TEST(Examples, EveryRowOfTheSeedIsThere) {
  std::set<Row> rows;
  for (const fs::path &file : jsonFiles("specs")) {
    Result<spec::ModelSpec> spec = spec::readModelSpec(file.string());
    ASSERT_TRUE(spec.ok()) << spec.status().message();
    const bool isTraining = spec->mode == plan::Mode::Train;
    EXPECT_EQ(spec->optimizer.has_value(), isTraining) << file;
    rows.emplace(spec->stack, spec->blocks, spec->s, spec->r, spec->msa.cM, spec->precision,
                 spec->mode);
  }
  for (auto [s, r] : {std::pair(128, 256), {512, 256}, {512, 384}})
    EXPECT_TRUE(rows.count(
        {spec::StackKind::Evoformer, 48, s, r, 256, plan::Precision::Fp16, plan::Mode::Train}))
        << s << ", " << r;
  for (auto [s, r] : {std::pair(1024, 256), {1024, 384}, {5120, 384}})
    EXPECT_TRUE(rows.count(
        {spec::StackKind::ExtraMsa, 4, s, r, 64, plan::Precision::Fp16, plan::Mode::Train}))
        << s << ", " << r;
  EXPECT_TRUE(rows.count(
      {spec::StackKind::Evoformer, 48, 128, 2048, 256, plan::Precision::Fp32, plan::Mode::Infer}));
}

TEST(Examples, ProfilesAreTheBuiltinOnes) {
  const std::vector<fs::path> files = jsonFiles("profiles");
  EXPECT_EQ(files.size(), cost::builtinProfileNames().size());
  for (const fs::path &file : files) {
    Result<cost::DeviceProfile> fromFile = cost::readDeviceProfile(file.string());
    ASSERT_TRUE(fromFile.ok()) << fromFile.status().message();
    Result<cost::DeviceProfile> builtin = cost::builtinProfile(file.stem().string());
    ASSERT_TRUE(builtin.ok()) << builtin.status().message();
    EXPECT_EQ(fromFile->name, builtin->name);
    EXPECT_EQ(fromFile->memoryBytes, builtin->memoryBytes);
    EXPECT_EQ(fromFile->matmulFlops, builtin->matmulFlops);
  }
}

} // namespace
