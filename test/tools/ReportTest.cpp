//===- ReportTest.cpp - reports of plans that no policy makes ---*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// Blocks that differ, gaps in a frame, a peak in a backward program.
//===----------------------------------------------------------------------===//
#include "passes/HtmlReport.h"
#include "passes/TextTable.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace evo {
namespace {

ModuleReport moduleOf(int64_t first, int64_t count, std::string choice, int64_t costNs) {
  ModuleReport module;
  module.firstBlock = first;
  module.blockCount = count;
  module.name = "pair_transition";
  module.choice = std::move(choice);
  module.dominant = "4 r^2 c_z";
  module.costNs = costNs;
  return module;
}

plan::Buffer frameBuffer(std::string name, int64_t offset, int64_t bytes) {
  plan::Buffer buffer;
  buffer.name = std::move(name);
  buffer.shape = {bytes / 4};
  buffer.offset = offset;
  buffer.bytes = bytes;
  return buffer;
}

plan::KernelStep kernelStep(std::string location, int64_t costNs) {
  plan::KernelStep step;
  step.location = std::move(location);
  step.costNs = costNs;
  return step;
}

/// A stream of 512 bytes and one procedure a program: a buffer of 512 bytes, then one of 1024
/// beside it. With a gap the second lies 512 bytes above the first's end.
Compilation makeCompilation(int64_t gap) {
  Compilation compilation;
  compilation.requestedPolicy = "direct";
  plan::Plan &plan = compilation.plan;
  plan.summary.policy = "direct";
  plan.profile = "a <fast> device";
  plan.model = {"", "template_pair", 4, {{"r", 2}}, {{"c_t", 32}}};
  plan.tensors.push_back({"z", plan::DType::F32, {2, 2, 32}, 0, 512});
  plan::Procedure procedure;
  procedure.module = "pair_transition";
  procedure.frameBytes = 1536 + gap;
  procedure.costNs = 5'000'000;
  procedure.buffers = {frameBuffer("a.0", 0, 512), frameBuffer("b.1", 512 + gap, 1024)};
  procedure.steps = {{plan::AllocStep{0}},
                     {kernelStep("pair_transition/copy", 2'000'000)},
                     {plan::AllocStep{1}},
                     {kernelStep("pair_transition/linear", 3'000'000)},
                     {plan::FreeStep{1}}};
  plan.procedures = {procedure, procedure};
  plan.procedures[1].phase = plan::Phase::Backward;
  plan::Program forward, backward;
  forward.runs = {{0, 1, {{0, 512, 0, 0, 0, {}}}}, {1, 3, {{0, 512, 0, 0, 0, {}}}}};
  backward.phase = plan::Phase::Backward;
  backward.runs = {{1, 3, {{1, 512, 0, 0, 0, {}}}}, {0, 1, {{1, 512, 0, 0, 0, {}}}}};
  plan.programs = {forward, backward};
  plan.arenaBytes = plan.summary.arenaBytes = 512 + procedure.frameBytes;
  plan.summary.budgetBytes = plan.summary.predictedPeakBytes = plan.arenaBytes;
  plan.summary.predictedMs = 40;
  return compilation;
}

bool contains(const std::string &text, const std::string &part) {
  return text.find(part) != std::string::npos;
}

TEST(ReportTest, FoldsEqualNeighboursOnly) {
  Compilation compilation = makeCompilation(0);
  compilation.modules = {moduleOf(0, 2, "fused", 5), moduleOf(2, 1, "fused", 5),
                         moduleOf(3, 1, "plain", 7), moduleOf(4, 3, "fused", 5)};
  std::vector<ModuleReport> folded = describe(compilation).modules;
  ASSERT_EQ(folded.size(), 3u);
  EXPECT_EQ(blockRange(folded[0]), "0-2");
  EXPECT_EQ(blockRange(folded[1]), "3");
  EXPECT_EQ(blockRange(folded[2]), "4-6");
  EXPECT_EQ(folded[1].choice, "plain");
}

TEST(ReportTest, FoldsRunsOfSeveralModules) {
  Compilation compilation = makeCompilation(0);
  for (int64_t segment = 0; segment < 2; ++segment)
    for (const char *choice : {"fused", "plain"})
      compilation.modules.push_back(moduleOf(segment, 1, choice, 5));
  std::vector<ModuleReport> folded = describe(compilation).modules;
  ASSERT_EQ(folded.size(), 2u);
  EXPECT_EQ(blockRange(folded[0]), "0-1");
  EXPECT_EQ(blockRange(folded[1]), "0-1");
}

TEST(ReportTest, NamesTheFirstPeak) {
  Compilation compilation = makeCompilation(0);
  ReportData data = describe(compilation);
  ASSERT_TRUE(data.peak);
  EXPECT_EQ(data.peak->place.block, 0);
  // Behind the copy of 2 ms; the run's only block.
  EXPECT_EQ(peakPlace(*data.peak, compilation.plan),
            "pair_transition, step 1 (linear), of block 0, 2.000 ms into the run");
  // A higher frame in backward moves it behind the forward's 4 blocks of 5 ms: 20 + 2.
  compilation.plan.procedures[1].frameBytes += 512;
  data = describe(compilation);
  EXPECT_EQ(data.peak->place.block, 3); // backward begins with the last block
  EXPECT_EQ(peakPlace(*data.peak, compilation.plan),
            "pair_transition, step 1 (linear), of every block 1-3, first 22.0 ms into the run");
}

TEST(ReportTest, TellsFragmentationOnlyWhereThereIsSome) {
  Compilation whole = makeCompilation(0), gap = makeCompilation(512);
  EXPECT_EQ(describe(whole).peak->fragmentationBytes, 0);
  EXPECT_FALSE(contains(reportText(whole), "fragmentation"));
  EXPECT_EQ(describe(gap).peak->fragmentationBytes, 512);
  EXPECT_TRUE(contains(reportText(gap),
                       "  fragmentation     512 B   512 bytes  frame of 2048 bytes, "
                       "live in it 1536 bytes\n"))
      << reportText(gap);
  EXPECT_TRUE(contains(reportHtml(gap), "gaps in the frame"));
  EXPECT_FALSE(contains(reportHtml(whole), "gaps in the frame"));
  auto json = nlohmann::json::parse(reportJson(gap, 1.5));
  EXPECT_EQ(json["peak"]["fragmentation_bytes"], 512);
  EXPECT_EQ(json["peak"]["frame_live_bytes"], 1536);
  EXPECT_EQ(json["compile_ms"], 1.5);
}

TEST(ReportTest, LeavesOutWhatStandsStillBelow) {
  EXPECT_FALSE(contains(reportHtml(makeCompilation(0)), "below lies what is kept"));
  Compilation compilation = makeCompilation(0);
  // 10240 bytes kept over the stream's 512, under frames of 1536: the picture begins a quarter of
  // these below them, at 10752 - 384 = 10368 = 10.1 KiB.
  for (plan::Program &program : compilation.plan.programs)
    for (plan::BlockRun &run : program.runs)
      run.calls[0].frameOffset = 10752;
  compilation.plan.arenaBytes = compilation.plan.summary.budgetBytes = 12288;
  std::string page = reportHtml(compilation);
  EXPECT_TRUE(contains(page, "from 10.1 KiB up; below lies what is kept"));
  EXPECT_TRUE(contains(page, ">10.5 KiB</text>")); // 42 steps of 256 bytes
  EXPECT_FALSE(contains(page, "<title>z, 512 B"));
  EXPECT_TRUE(contains(page, "<title>kept for backward, 10.0 KiB"));
}

TEST(ReportTest, DrawsAPictureAProgram) {
  std::string page = reportHtml(makeCompilation(0));
  EXPECT_TRUE(contains(page, "Memory over one block, forward"));
  EXPECT_TRUE(contains(page, "Memory over one block, backward"));
  EXPECT_TRUE(contains(page, "a &lt;fast&gt; device"));
  EXPECT_FALSE(contains(page, "<fast>"));
}

TEST(ReportTest, LivesEndWithTheirFree) {
  Compilation compilation = makeCompilation(0);
  std::vector<plan::FrameLife> lives = plan::frameLives(compilation.plan.procedures[0]);
  ASSERT_EQ(lives.size(), 2u);
  // The first is never freed: it lives until the procedure ends.
  EXPECT_EQ(lives[0].beginNs, 0);
  EXPECT_EQ(lives[0].endNs, 5'000'000);
  EXPECT_EQ(lives[1].beginNs, 2'000'000);
  EXPECT_EQ(lives[1].endNs, 5'000'000);
}

TEST(ReportTest, ColumnsLineUp) {
  EXPECT_EQ(textTable({{"a", "1", "x"}, {"bcd", "200"}, {"", "3", "yy"}}, "lrl", "> "),
            "> a      1  x\n"
            "> bcd  200\n"
            ">        3  yy\n");
}

} // namespace
} // namespace evo
