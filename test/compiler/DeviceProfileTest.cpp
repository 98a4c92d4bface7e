//===- DeviceProfileTest.cpp ------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "compiler/cost/DeviceProfile.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <limits>

using namespace evo;
using namespace evo::cost;
using plan::Precision;
using Json = nlohmann::json;

namespace {

Json profileJson() {
  return Json::parse(R"({"format": "evo.profile/1", "name": "toy", "backend": "cpu",
    "memory_bytes": 1000, "library_bytes": 10,
    "matmul_flop_per_s": {"fp64": 1e9, "fp32": 2e9, "tf32": 4e9, "bf16": 8e9, "fp16": 16e9},
    "vector_flop_per_s": 0.5e9, "memory_bytes_per_s": 10e9, "exp_per_s": 1e8, "launch_ns": 7})");
}

DeviceProfile toy() {
  Result<DeviceProfile> profile = parseDeviceProfile(profileJson().dump(), "p.json");
  EXPECT_TRUE(profile.ok()) << profile.status().message();
  return *profile;
}

std::string errorOf(const Json &json) {
  Result<DeviceProfile> profile = parseDeviceProfile(json.dump(), "p.json");
  return profile.ok() ? "no error" : profile.status().message();
}

TEST(DeviceProfile, ReadsEveryKey) {
  const DeviceProfile profile = toy();
  EXPECT_EQ(profile.name, "toy");
  EXPECT_EQ(profile.backend, "cpu");
  EXPECT_EQ(profile.memoryBytes, 1000);
  EXPECT_EQ(profile.libraryBytes, 10);
  EXPECT_EQ(profile.workspaceBytes, 0);
  EXPECT_EQ(profile.matmulFlops, (std::array<double, 5>{1e9, 2e9, 4e9, 8e9, 16e9}));
  EXPECT_EQ(profile.vectorFlops, 0.5e9);
  EXPECT_EQ(profile.bandwidth, 10e9);
  EXPECT_EQ(profile.expRate, 1e8);
  EXPECT_EQ(profile.launchNs, 7);
}

TEST(DeviceProfile, AWorkspaceIsReadAndPrinted) {
  EXPECT_EQ(printDeviceProfile(toy()).find("workspace"), std::string::npos);
  Json json = profileJson();
  json["workspace_bytes"] = 989; // with the libraries' 10 a byte less than the device has
  Result<DeviceProfile> profile = parseDeviceProfile(json.dump(), "p.json");
  ASSERT_TRUE(profile.ok()) << profile.status().message();
  EXPECT_EQ(profile->workspaceBytes, 989);
  Result<DeviceProfile> again = parseDeviceProfile(printDeviceProfile(*profile), "p.json");
  ASSERT_TRUE(again.ok()) << again.status().message();
  EXPECT_EQ(again->workspaceBytes, 989);
}

TEST(DeviceProfile, ATableOfProductsIsReadAndPrinted) {
  EXPECT_TRUE(toy().products.empty());
  EXPECT_EQ(printDeviceProfile(toy()).find("products"), std::string::npos);
  Json json = profileJson();
  json["products"] =
      Json::parse(R"({"library": "cuBLASLt 13.0.2", "ways": [[1, 2, 3, 4, 5, 6, 7, 8, 9]],
    "series": [{"input": "bf16", "output": "f32", "transposes": "tn", "epilogue": ["addend"],
                "shapes": [[256, 128, 64, 1, 1], [512, 128, 64, 2, 0]]}]})");
  Result<DeviceProfile> profile = parseDeviceProfile(json.dump(), "p.json");
  ASSERT_TRUE(profile.ok()) << profile.status().message();
  const plan::ProductTable &table = profile->products;
  EXPECT_EQ(table.library, "cuBLASLt 13.0.2");
  EXPECT_EQ(table.ways, (std::vector<plan::ProductWay>{{1, 2, 3, 4, 5, 6, 7, 8, 9}}));
  ASSERT_EQ(table.series.size(), 1u);
  EXPECT_TRUE(table.series[0].products.transposeA && table.series[0].products.addend);
  ASSERT_EQ(table.series[0].measured.size(), 2u);
  EXPECT_EQ(table.series[0].measured[0].shape, (plan::ProductShape{256, 128, 64, 1}));
  EXPECT_EQ(table.series[0].measured[0].way, 0);
  EXPECT_EQ(table.series[0].measured[1].way, -1);
  const std::string text = printDeviceProfile(*profile);
  Result<DeviceProfile> again = parseDeviceProfile(text, "p.json");
  ASSERT_TRUE(again.ok()) << again.status().message();
  EXPECT_EQ(again->products, table);
  EXPECT_EQ(printDeviceProfile(*again), text);
  json["products"]["series"][0]["shapes"][1][4] = 2;
  EXPECT_EQ(errorOf(json),
            "p.json: products.series[0].shapes[1][4]: expected an integer of at most 1, got 2");
  json["products"].erase("library");
  EXPECT_EQ(errorOf(json), "p.json: products: expected key 'library', got none");
}

TEST(DeviceProfile, TheLongestOfTheThreeCounts) {
  const DeviceProfile profile = toy();
  KernelWork work{WorkClass::Matmul, /*flops=*/2000, /*bytesRead=*/1000, /*bytesWritten=*/500,
                  /*exps=*/10,       /*launches=*/1};
  // fp32: 2000 / 2e9 = 1000 ns; bytes 1500 / 1e10 = 150 ns; exps 10 / 1e8 = 100 ns; launch 7.
  EXPECT_EQ(profile.costNs(work, Precision::Fp32), 1007);
  EXPECT_EQ(profile.costNs(work, Precision::Fp64), 2007);
  EXPECT_EQ(profile.costNs(work, Precision::Tf32), 507);
  EXPECT_EQ(profile.costNs(work, Precision::Fp16), 157); // 125 of arithmetic, 150 of bytes
  work.exps = 50;                                        // 500 ns
  EXPECT_EQ(profile.costNs(work, Precision::Fp16), 507);
  work.workClass = WorkClass::Vector; // 2000 / 0.5e9 = 4000 ns in every precision
  EXPECT_EQ(profile.costNs(work, Precision::Fp16), 4007);
  work.launches = 3;
  EXPECT_EQ(profile.costNs(work, Precision::Fp64), 4021);
}

TEST(DeviceProfile, RoundsUpAndNeverToNothing) {
  DeviceProfile profile = toy();
  KernelWork work{WorkClass::Vector, 0, 11, 0, 0, 1}; // 1.1 ns
  EXPECT_EQ(profile.costNs(work, Precision::Fp32), 7 + 2);
  profile.launchNs = 0;
  work.bytesRead = 0;
  EXPECT_EQ(profile.costNs(work, Precision::Fp32), 1);
}

TEST(DeviceProfile, SaturatesInsteadOfOverflowing) {
  KernelWork work{WorkClass::Matmul, 1e300, 0, 0, 0, 1};
  EXPECT_EQ(toy().costNs(work, Precision::Fp32), std::numeric_limits<int64_t>::max());
}

TEST(DeviceProfile, BuiltinProfilesAreTheDocumentedOnes) {
  const std::vector<std::string_view> names(builtinProfileNames().begin(),
                                            builtinProfileNames().end());
  EXPECT_EQ(names, (std::vector<std::string_view>{"h100", "h200", "cpu"}));
  for (std::string_view name : names)
    ASSERT_TRUE(builtinProfile(name).ok()) << builtinProfile(name).status().message();
  const DeviceProfile h100 = *builtinProfile("h100");
  EXPECT_EQ(h100.name, "NVIDIA H100 80GB HBM3 (analytic)");
  EXPECT_EQ(h100.backend, "cuda");
  EXPECT_EQ(h100.memoryBytes, int64_t{79} << 30);
  EXPECT_EQ(h100.matmulFlops[static_cast<size_t>(Precision::Bf16)], 798e12);
  EXPECT_EQ(h100.bandwidth, 3.0e12);
  EXPECT_EQ(h100.expRate, 3.9e12);
  EXPECT_EQ(builtinProfile("h200")->memoryBytes, int64_t{139} << 30);
  EXPECT_EQ(builtinProfile("cpu")->backend, "cpu");
  EXPECT_EQ(builtinProfile("cpu")->libraryBytes, 0);
  EXPECT_EQ(builtinProfile("v100").status().message(),
            "profile: expected one of h100, h200, cpu or a file, got \"v100\"");
}

TEST(DeviceProfile, ErrorsNameTheKey) {
  const Json whole = profileJson();
  for (const auto &item : whole.items()) {
    Json json = whole;
    json.erase(item.key());
    EXPECT_EQ(errorOf(json).rfind("p.json: " + item.key() + ": expected ", 0), 0u) << errorOf(json);
  }
  for (const auto &[key, value, message] :
       std::initializer_list<std::tuple<const char *, const char *, const char *>>{
           {"format", "\"evo.model/1\"",
            "format: expected \"evo.profile/1\", got \"evo.model/1\"; it names the version of the "
            "file's keys"},
           {"backend", "\"tpu\"", "backend: expected \"cuda\" or \"cpu\", got \"tpu\""},
           {"memory_bytes", "1e9",
            "memory_bytes: expected an integer from 1 to 9223372036854775807, written without "
            "fraction or exponent, got 1000000000.0"},
           {"library_bytes", "1000", "library_bytes: expected less than memory_bytes, got 1000"},
           {"workspace_bytes", "990",
            "workspace_bytes: expected less than memory_bytes without library_bytes, got 990"},
           {"workspace_bytes", "-1",
            "workspace_bytes: expected an integer from 0 to 9223372036854775807, written without "
            "fraction or exponent, got -1"},
           {"vector_flop_per_s", "0", "vector_flop_per_s: expected a number > 0, got 0"},
           {"exp_per_s", "null", "exp_per_s: expected a number > 0, got null"},
           {"matmul_flop_per_s", "5", "matmul_flop_per_s: expected an object, got 5"},
           {"matmul_flop_per_s", R"({"fp64": 1, "fp32": 1, "tf32": 1, "bf16": 1})",
            "matmul_flop_per_s.fp16: expected this required key, got none"},
           {"bandwith", "1",
            "the root: expected one of the keys format, name, backend, memory_bytes, "
            "library_bytes, workspace_bytes, matmul_flop_per_s, vector_flop_per_s, "
            "memory_bytes_per_s, exp_per_s, launch_ns, products, measured, got \"bandwith\""},
           {"launch_n", "1",
            "the root: expected one of the keys format, name, backend, memory_bytes, "
            "library_bytes, workspace_bytes, matmul_flop_per_s, vector_flop_per_s, "
            "memory_bytes_per_s, exp_per_s, launch_ns, products, measured, got \"launch_n\"; did "
            "you mean "
            "\"launch_ns\"?"}}) {
    Json json = profileJson();
    json[key] = Json::parse(value);
    EXPECT_EQ(errorOf(json), "p.json: " + std::string(message));
  }
  EXPECT_EQ(readDeviceProfile("absent/p.json").status().code(), ErrorCode::Io);
}

} // namespace
