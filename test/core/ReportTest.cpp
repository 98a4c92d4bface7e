//===- ReportTest.cpp -------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "runtime/core/Report.h"
#include "runtime/core/Progress.h"
#include "test/core/CoreTest.h"

#include <nlohmann/json.hpp>

namespace evo {
namespace {

TEST(Report, Median) {
  EXPECT_EQ(medianMs({}), 0);
  EXPECT_EQ(medianMs({5}), 5);
  EXPECT_EQ(medianMs({9, 1, 5}), 5);
  EXPECT_EQ(medianMs({9, 1, 5, 4}), 4.5);
}

TEST(Report, Bytes) {
  EXPECT_EQ(bytesText(0), "0 B");
  EXPECT_EQ(bytesText(1023), "1023 B");
  EXPECT_EQ(bytesText(1536), "1.50 KiB (1536)");
  EXPECT_EQ(bytesText(int64_t{3} << 40), "3.00 TiB (3298534883328)");
}

RunReport example() {
  RunReport report;
  report.model = {"tiny", "evoformer", 2, {{"s", 3}, {"r", 5}}, {{"c_m", 8}}};
  report.summary.policy = "direct";
  report.predictedMs = 1.25;
  report.summary.predictedPeakBytes = 5000;
  report.profile = "cpu";
  report.backend = "cpu";
  report.description = "cpu, 2 threads";
  report.threads = 2;
  report.warmup = 1;
  report.weights = "w.safetensors";
  report.weightsPrefix = "evoformer.";
  report.weightsIgnored = 12;
  report.iterationsMs = {3.0, 1.0, 2.0};
  report.arenaBytes = 4096;
  report.staticBytes = 512;
  report.measuredPeakBytes = {4608};
  return report;
}

TEST(Report, JsonHasTheContractsKeys) {
  nlohmann::json json = nlohmann::json::parse(reportJson(example()));
  EXPECT_EQ(json["backend"], "cpu");
  EXPECT_EQ(json["devices"], 1);
  EXPECT_EQ(json["iterations_ms"], (std::vector<double>{3, 1, 2}));
  EXPECT_EQ(json["median_ms"], 2.0);
  EXPECT_EQ(json["predicted_ms"], 1.25);
  EXPECT_EQ(json["predicted_peak_bytes"], 5000);
  EXPECT_EQ(json["arena_bytes"], 4096);
  EXPECT_EQ(json["static_bytes"], 512);
  EXPECT_EQ(json["measured_peak_bytes"], std::vector<int64_t>{4608});
  EXPECT_EQ(json["model"]["stack"], "evoformer");
  EXPECT_EQ(json["model"]["sizes"]["r"], 5);
  EXPECT_EQ(json["policy"], "direct");
  EXPECT_EQ(json["weights_ignored"], 12);
  EXPECT_TRUE(json["inputs"].is_null());
  EXPECT_FALSE(json.contains("dropout_seed"));
  RunReport training = example();
  training.mode = plan::Mode::Train;
  training.dropoutSeed = 4294967295;
  EXPECT_EQ(nlohmann::json::parse(reportJson(training))["dropout_seed"], 4294967295u);
}

TEST(Report, TellsWhatLibrariesHoldBehindTheWarmUpAndWhatGrowsSince) {
  RunReport report = example(); // one warm-up, arena and static part of 4096 + 512 = 4608
  nlohmann::json json = nlohmann::json::parse(reportJson(report));
  EXPECT_EQ(json["taken_bytes"], nlohmann::json::array());
  EXPECT_TRUE(json["measured_library_bytes"].is_null());
  EXPECT_TRUE(json["growth_bytes"].is_null());
  EXPECT_EQ(json["recorded_launches"], 0);
  EXPECT_EQ(reportTable(report).find("libraries"), std::string::npos);

  // Set up, the warm-up, three iterations: 6000 - 4608 = 1392, and 6100 - 6000 = 100.
  report.takenBytes = {5000, 6000, 6000, 6100, 6050};
  report.recordedLaunches = 12;
  json = nlohmann::json::parse(reportJson(report));
  EXPECT_EQ(json["taken_bytes"], report.takenBytes);
  EXPECT_EQ(json["measured_library_bytes"], 1392);
  EXPECT_EQ(json["growth_bytes"], 100);
  EXPECT_EQ(json["recorded_launches"], 12);
  EXPECT_NE(reportTable(report).find("libraries, measured      1.36 KiB (1392)\n"
                                     "grown since the warm-up  100 B\n"),
            std::string::npos)
      << reportTable(report);

  report.takenBytes = {5000, 6000, 6000, 5900, 6000};
  EXPECT_EQ(report.growthBytes(), 0);
  EXPECT_EQ(reportTable(report).find("grown"), std::string::npos);
  report.warmup = 0; // behind the first iteration then
  report.takenBytes = {5000, 5500, 5600};
  EXPECT_EQ(report.measuredLibraryBytes(), 892); // 5500 - 4608
  EXPECT_EQ(report.growthBytes(), 100);
}

TEST(Report, SaysWhereATableOfProductsIsNotFollowed) {
  RunReport report = example();
  EXPECT_TRUE(nlohmann::json::parse(reportJson(report))["products"].is_null());
  EXPECT_EQ(reportTable(report).find("products"), std::string::npos);
  report.products = "products as a 1 proposes: the plan's table is of a 2";
  EXPECT_EQ(nlohmann::json::parse(reportJson(report))["products"], report.products);
  EXPECT_NE(reportTable(report).find("  products as a 1 proposes: the plan's table is of a 2\n"),
            std::string::npos);
}

TEST(Report, SaysWhoseTimesThePredictionIsMadeOf) {
  RunReport report = example();
  report.runningOn = "this, kernels 1, 2 threads";
  nlohmann::json json = nlohmann::json::parse(reportJson(report));
  EXPECT_TRUE(json["profile_device"].is_null());
  EXPECT_EQ(json["prediction"],
            "predicted by the formula of cpu, running on this, kernels 1, 2 threads");
  report.profileDevice = report.runningOn;
  json = nlohmann::json::parse(reportJson(report));
  EXPECT_EQ(json["prediction"], "predicted with the table of this device");
  report.profileDevice = "that, kernels 1, 1 thread";
  json = nlohmann::json::parse(reportJson(report));
  EXPECT_EQ(json["profile_device"], "that, kernels 1, 1 thread");
  EXPECT_EQ(json["running_on"], "this, kernels 1, 2 threads");
  const std::string sentence = "predicted with the table of that, kernels 1, 1 thread, running on "
                               "this, kernels 1, 2 threads";
  EXPECT_EQ(json["prediction"], sentence);
  EXPECT_NE(reportTable(report).find("\ntime, predicted    1.250 ms\n                   " +
                                     sentence + "\n"),
            std::string::npos)
      << reportTable(report);
}

TEST(Report, TableSaysTheSame) {
  EXPECT_EQ(reportTable(example()),
            "model              tiny: evoformer, 2 blocks, r = 5, s = 3\n"
            "plan               direct, fp32, priced for cpu\n"
            "device             cpu, 2 threads\n"
            "weights            w.safetensors, 12 tensors outside 'evoformer.blocks.' ignored\n"
            "inputs             random, seed 0\n"
            "time, median of 3  2.000 ms\n"
            "time, predicted    1.250 ms\n"
            "arena              4.00 KiB (4096)\n"
            "static             512 B\n"
            "peak, predicted    4.88 KiB (5000)\n"
            "peak, measured     4.50 KiB (4608)\n");
}

RunReport trained() {
  RunReport report = example();
  report.mode = plan::Mode::Train;
  report.weightsIgnored = 0;
  report.targets = "t.safetensors";
  report.optimizer = "sgd";
  report.loss = 0.5;
  report.lossMs = 1.5;
  report.loadState = "s.safetensors";
  report.steps = {{8, 2, 1024, true}, {8, 2, 512, false}, {9, 0.5, 512, false}};
  report.lossScale = 512;
  return report;
}

TEST(Report, TellsOfTheSteps) {
  nlohmann::json json = nlohmann::json::parse(reportJson(trained()));
  EXPECT_EQ(json["step_numbers"], (std::vector<int64_t>{8, 8, 9}));
  EXPECT_EQ(json["losses"], (std::vector<double>{2, 2, 0.5}));
  EXPECT_EQ(json["loss_scales"], (std::vector<double>{1024, 512, 512}));
  EXPECT_EQ(json["skipped"], (std::vector<bool>{true, false, false}));
  EXPECT_EQ(json["skipped_steps"], 1);
  EXPECT_EQ(json["loss_scale"], 512);
  EXPECT_EQ(json["load_state"], "s.safetensors");
  EXPECT_TRUE(json["save_state"].is_null());
  std::string table = reportTable(trained());
  for (const char *line :
       {"weights                   s.safetensors\n", "targets                   t.safetensors\n",
        "optimizer                 sgd, steps 8 to 9, 1 skipped\n",
        "loss                      2 to 0.5\n", "loss scale                1024 to 512\n",
        "time, losses on the host  1.500 ms\n"})
    EXPECT_NE(table.find(line), std::string::npos) << line << table;
}

TEST(Report, TellsOfALossWithoutSteps) {
  RunReport report = trained();
  report.optimizer.clear();
  report.steps.clear();
  nlohmann::json json = nlohmann::json::parse(reportJson(report));
  EXPECT_EQ(json["loss"], 0.5);
  EXPECT_FALSE(json.contains("losses"));
  EXPECT_NE(reportTable(report).find("loss                      0.5\n"), std::string::npos);
}

TEST(Progress, RewritesItsLineOnATerminal) {
  std::string out;
  Progress progress([&](std::string_view text) { out += text; }, true);
  progress.report("iteration 1/1", 1, 48, 0);
  progress.report("iteration 1/1", 2, 48, 50'000'000); // too early
  progress.report("iter", 3, 48, 100'000'000);
  progress.finish();
  EXPECT_EQ(out, "\riteration 1/1: block 1 of 48"
                 "\riter: block 3 of 48         "
                 "\r" +
                     std::string(28, ' ') + "\r");
}

TEST(Progress, IsThrottledInALog) {
  std::string out;
  Progress progress([&](std::string_view text) { out += text; }, false);
  for (int64_t second = 0; second < 25; ++second)
    progress.report("warm-up 1/1", second, 48, second * 1'000'000'000);
  progress.finish();
  EXPECT_EQ(out, "evo-run: warm-up 1/1: block 10 of 48\n"
                 "evo-run: warm-up 1/1: block 20 of 48\n");
}

} // namespace
} // namespace evo
