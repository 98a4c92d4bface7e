//===- MeasuredTableTest.cpp ------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "compiler/cost/DeviceProfile.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <initializer_list>
#include <utility>

using namespace evo;
using namespace evo::cost;
using plan::Kernel;
using plan::Precision;
using Json = nlohmann::json;

namespace {

/// 1 FLOP, 1 byte or 1 exponential a nanosecond and no launch: a call's analytic time is the
/// largest of its counts.
Json profileJson() {
  Json json = Json::parse(R"({"format": "evo.profile/1", "name": "toy", "backend": "cpu",
    "memory_bytes": 1000, "library_bytes": 10,
    "matmul_flop_per_s": {"fp64": 1e9, "fp32": 1e9, "tf32": 1e9, "bf16": 1e9, "fp16": 1e9},
    "vector_flop_per_s": 1e9, "memory_bytes_per_s": 1e9, "exp_per_s": 1e9, "launch_ns": 0,
    "measured": {"device": "toy, kernels 1, 1 thread", "kernel_revision": 1,
      "held_out": [{"precision": "fp32", "calls": 2, "mean_error": 0.031, "worst_error": 0.05,
                    "worst_kernel": "copy"}],
      "series": [
        {"kernel": "copy", "precision": "fp32", "operands": [], "shape": [],
         "points": [[0, 100, 0, 50], [0, 400, 0, 800]]},
        {"kernel": "softmax", "precision": "fp32", "operands": [], "shape": [16],
         "points": [[100, 0, 0, 10]]},
        {"kernel": "softmax", "precision": "fp32", "operands": [], "shape": [64],
         "points": [[100, 0, 0, 160]]},
        {"kernel": "linear", "precision": "fp32", "operands": ["bias"], "shape": [8, 8],
         "points": [[100, 0, 0, 10]]},
        {"kernel": "linear", "precision": "fp32", "operands": ["bias", "gate"], "shape": [8, 8],
         "points": [[100, 0, 1, 160]]}]}})");
  json["measured"]["kernel_set"] = plan::kernelSetHash();
  return json;
}

Result<DeviceProfile> parse(const Json &json) { return parseDeviceProfile(json.dump(), "p.json"); }

DeviceProfile toy() {
  Result<DeviceProfile> profile = parse(profileJson());
  EXPECT_TRUE(profile.ok()) << profile.status().message();
  return *profile;
}

KernelWork copyOf(double bytes) {
  KernelWork work;
  work.bytesRead = bytes;
  work.kernel = Kernel::Copy;
  return work;
}

KernelWork softmaxOf(int64_t width, double flops) {
  KernelWork work;
  work.flops = flops;
  work.kernel = Kernel::Softmax;
  work.shape = {width};
  return work;
}

TEST(MeasuredTable, TimesAtItsPointsAreThePoints) {
  EXPECT_EQ(toy().costNs(copyOf(100), Precision::Fp32), 50);
  EXPECT_EQ(toy().costNs(copyOf(400), Precision::Fp32), 800);
}

TEST(MeasuredTable, LogarithmsAreLinearBetweenPoints) {
  // Half-way between 100 and 400 in logarithms is 200, between 50 and 800 it is 200.
  EXPECT_EQ(toy().costNs(copyOf(200), Precision::Fp32), 200);
}

TEST(MeasuredTable, TimeIsProportionalBeyondBothEnds) {
  EXPECT_EQ(toy().costNs(copyOf(10), Precision::Fp32), 5);      // 50 * 10 / 100
  EXPECT_EQ(toy().costNs(copyOf(4000), Precision::Fp32), 8000); // 800 * 4000 / 400
  // The launch scales down to itself: 50 * (20 + 0) / (20 + 100) is 8.33.
  DeviceProfile profile = toy();
  profile.launchNs = 20;
  EXPECT_EQ(profile.costNs(copyOf(0), Precision::Fp32), 8);
}

TEST(MeasuredTable, MoreWorkNeverTakesLess) {
  const DeviceProfile profile = toy();
  for (int64_t width : {8, 16, 23, 32, 64, 100}) {
    int64_t before = 0;
    for (double flops = 1; flops < 1e6; flops *= 1.3) {
      const int64_t ns = profile.costNs(softmaxOf(width, flops), Precision::Fp32);
      EXPECT_GE(ns, before) << width << ", " << flops;
      before = ns;
    }
  }
}

TEST(MeasuredTable, ShapesBetweenSeriesWeighByDistance) {
  EXPECT_EQ(toy().costNs(softmaxOf(16, 100), Precision::Fp32), 10);
  EXPECT_EQ(toy().costNs(softmaxOf(64, 100), Precision::Fp32), 160);
  // 32 is one octave from both: the geometric mean of 10 and 160.
  EXPECT_EQ(toy().costNs(softmaxOf(32, 100), Precision::Fp32), 40);
  // 4 is 2 octaves from 16 and 4 from 64: weights 1/16 and 1/256, so 10 * 16^(1/17) is 11.77.
  EXPECT_EQ(toy().costNs(softmaxOf(4, 100), Precision::Fp32), 12);
}

TEST(MeasuredTable, OptionalOperandsCountAsDistance) {
  KernelWork work;
  work.workClass = WorkClass::Matmul;
  work.flops = 100;
  work.kernel = Kernel::Linear;
  work.shape = {8, 8};
  const plan::KernelInfo &info = plan::kernelInfo(Kernel::Linear);
  work.optional = 1u << info.operandIndex("bias");
  EXPECT_EQ(toy().costNs(work, Precision::Fp32), 10);
  work.optional |= 1u << info.operandIndex("gate");
  work.exps = 1;
  EXPECT_EQ(toy().costNs(work, Precision::Fp32), 160);
  // Without bias: 1/4 from the first; 1/2 and 16 for its exponentials from the second. The weights
  // are 16 and 1/272.25: 10 * 16^(1/4357) is 10.006.
  work.optional = 0;
  work.exps = 0;
  EXPECT_EQ(toy().costNs(work, Precision::Fp32), 10);
}

TEST(MeasuredTable, WhatIsNotMeasuredIsAnalytic) {
  KernelWork work = copyOf(100);
  EXPECT_EQ(toy().costNs(work, Precision::Bf16), 100);
  work.kernel = Kernel::Zero;
  EXPECT_EQ(toy().costNs(work, Precision::Fp32), 100);
  work.kernel = std::nullopt;
  EXPECT_EQ(toy().costNs(work, Precision::Fp32), 100);
  EXPECT_EQ(toy().kindText(Precision::Fp32), "measured, mean error 3.1 % on 2 held-out calls");
  EXPECT_EQ(toy().kindText(Precision::Bf16), "measured, but not bf16, whose times are analytic");
  EXPECT_EQ(builtinProfile("cpu")->kindText(Precision::Fp32), "analytic");
}

TEST(MeasuredTable, PrintsWhatItReads) {
  const DeviceProfile profile = toy();
  const std::string text = printDeviceProfile(profile);
  Result<DeviceProfile> again = parseDeviceProfile(text, "again");
  ASSERT_TRUE(again.ok()) << again.status().message();
  EXPECT_EQ(printDeviceProfile(*again), text);
  EXPECT_EQ(Json::parse(text), profileJson());
  EXPECT_EQ(again->measured, profile.measured);
  // Without the measured part too.
  const std::string analytic = printDeviceProfile(*builtinProfile("h100"));
  EXPECT_EQ(printDeviceProfile(*parseDeviceProfile(analytic, "again")), analytic);
  EXPECT_FALSE(Json::parse(analytic).contains("measured"));
}

std::string errorAfter(std::string_view pointer, const Json &value) {
  Json json = profileJson();
  json[Json::json_pointer(std::string(pointer))] = value;
  Result<DeviceProfile> profile = parse(json);
  return profile.ok() ? "no error" : profile.status().message();
}

TEST(MeasuredTable, ErrorsNameTheEntry) {
  const std::string seriesKeys = "kernel, precision, operands, shape, points";
  for (const auto &[pointer, value, message] :
       std::initializer_list<std::tuple<const char *, Json, std::string>>{
           {"/format", "evo.profile/2",
            "format: expected \"evo.profile/1\", got \"evo.profile/2\"; it names the version of "
            "the file's keys"},
           {"/measured", 5, "measured: expected an object, got 5"},
           {"/measured/devices", 1,
            "measured: expected one of the keys device, kernel_set, kernel_revision, held_out, "
            "series, got \"devices\"; did you mean \"device\"?"},
           {"/measured/device", "", "measured.device: expected the name of a device, got none"},
           {"/measured/kernel_set", "0123",
            "measured.kernel_set: expected \"" + plan::kernelSetHash() +
                "\", the kernels of this version, got \"0123\"; measure again with evo-run "
                "--calibrate, or remove \"measured\" and plan by the analytic part"},
           {"/measured/kernel_revision", -1,
            "measured.kernel_revision: expected an integer from 0 to 9223372036854775807, written "
            "without fraction or exponent, got -1"},
           {"/measured/held_out", Json::array(),
            "measured.held_out: expected an array of at least one entry, got an empty one"},
           {"/measured/held_out/0/mean_error", -1,
            "measured.held_out[0].mean_error: expected a number >= 0, got -1"},
           {"/measured/held_out/0/worst_kernel", "copies",
            "measured.held_out[0].worst_kernel: expected the name of a kernel, got \"copies\""},
           {"/measured/series", "none",
            "measured.series: expected an array of at least one entry, got \"none\""},
           {"/measured/series/0/ns", 1,
            "measured.series[0]: expected one of the keys " + seriesKeys + ", got \"ns\""},
           {"/measured/series/0/precision", "fp8",
            "measured.series[0].precision: expected one of fp64, fp32, tf32, bf16, fp16, got "
            "\"fp8\""},
           {"/measured/series/1/shape", Json::array(),
            "measured.series[1].shape: expected the 1 extents of \"k\", got an array of 0"},
           {"/measured/series/1/shape/0", 0,
            "measured.series[1].shape[0]: expected an integer from 1 to 9007199254740992, got 0"},
           {"/measured/series/3/operands", "bias",
            "measured.series[3].operands: expected an array of operands, got \"bias\""},
           {"/measured/series/3/operands/0", "weight",
            "measured.series[3].operands: expected optional operands of linear, got \"weight\""},
           {"/measured/series/0/points", Json::array(),
            "measured.series[0].points: expected an array of at least one point, got an empty "
            "one"},
           {"/measured/series/0/points/1",
            {1, 2, 3},
            "measured.series[0].points[1]: expected [flops, bytes, exps, ns], got an array of 3"},
           {"/measured/series/0/points/0/3", 0,
            "measured.series[0].points[0][3]: expected a time of at least 1 ns, got 0"},
           {"/measured/series/0/points/0/1", 1.5,
            "measured.series[0].points[0][1]: expected an integer from 0 to 9007199254740992, got "
            "1.5"},
           {"/measured/series/0/points/1/3", 49,
            "measured.series[0].points[1]: expected work and time of at least those of the point "
            "before, got [0,400,0,49]"},
           {"/measured/series/0/points/1/1", 99,
            "measured.series[0].points[1]: expected work and time of at least those of the point "
            "before, got [0,99,0,800]"}})
    EXPECT_EQ(errorAfter(pointer, value), "p.json: " + message);
}

} // namespace
