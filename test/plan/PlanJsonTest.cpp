//===- PlanJsonTest.cpp - plans to text and back ----------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "runtime/plan/PlanJson.h"
#include "runtime/plan/Verify.h"
#include "test/plan/PlanFixture.h"

#include <cmath>
#include <fstream>
#include <gtest/gtest.h>
#include <limits>

using namespace evo;
using namespace evo::plan;
using namespace evo::plan::test;

namespace {

/// The line of `text` that holds `part`, without indentation and trailing comma.
std::string lineWith(const std::string &text, const std::string &part) {
  size_t at = text.find(part);
  if (at == std::string::npos)
    return "no line with " + part;
  size_t begin = text.find_first_not_of(' ', text.rfind('\n', at) + 1);
  size_t end = text.find('\n', at);
  return text.substr(begin, end - begin - (text[end - 1] == ','));
}

std::string printed(const Plan &plan) {
  Result<std::string> text = printPlan(plan);
  EXPECT_TRUE(text.ok()) << text.status().message();
  return text ? *text : "";
}

void expectUnprintable(const Plan &plan, const std::string &message) {
  Result<std::string> text = printPlan(plan);
  ASSERT_FALSE(text.ok());
  EXPECT_EQ(text.status().message(), message);
}

TEST(PlanJson, PrintingWhatWasParsedGivesTheSameBytes) {
  std::string text = printed(fixturePlan());
  Result<Plan> plan = parsePlan(text, "p.json");
  ASSERT_TRUE(plan.ok()) << plan.status().message();
  EXPECT_EQ(printed(*plan), text);
}

TEST(PlanJson, EveryFieldSurvives) {
  Plan plan = fixturePlan();
  plan.precision = Precision::Bf16;
  plan.mode = Mode::Train;
  plan.devices = 8;
  plan.summary.keptBytes = 7;
  plan.summary.idle = {512, 1024, 513};
  plan.summary.predictedMs = 0.1 + 0.2;
  kernelStep(plan.procedures[kRow], 2).location = "somewhere/else";
  plan.programs[0].runs[0].calls[1].savedOffset = 512;
  plan.programs[0].runs[0].calls[1].savedStride = 1024;
  plan.procedures[kPair].phase = Phase::Backward;
  Buffer &padded = plan.procedures[kPair].buffers[0];
  padded.strides = {32, 4, 1};
  padded.base = Base::Saved;
  plan.schedule.children[1].firstBlock = 2;
  plan.schedule.children[1].blockCount = 1;

  Result<Plan> back = parsePlan(printed(plan), "p.json");
  ASSERT_TRUE(back.ok()) << back.status().message();
  EXPECT_EQ(back->precision, Precision::Bf16);
  EXPECT_EQ(back->mode, Mode::Train);
  EXPECT_EQ(back->devices, 8);
  EXPECT_EQ(back->summary.keptBytes, 7);
  EXPECT_EQ(back->summary.idle.total, 512);
  EXPECT_EQ(back->summary.idle.kept, 1024);
  EXPECT_EQ(back->summary.idle.frame, 513);
  EXPECT_EQ(back->summary.predictedMs, 0.1 + 0.2);
  EXPECT_EQ(kernelStep(back->procedures[kRow], 2).location, "somewhere/else");
  EXPECT_EQ(back->programs[0].runs[0].calls[1].savedOffset, 512);
  EXPECT_EQ(back->programs[0].runs[0].calls[1].savedStride, 1024);
  EXPECT_EQ(back->procedures[kPair].phase, Phase::Backward);
  EXPECT_EQ(back->procedures[kPair].buffers[0].strides, (std::vector<int64_t>{32, 4, 1}));
  EXPECT_EQ(back->procedures[kPair].buffers[0].base, Base::Saved);
  EXPECT_EQ(back->schedule.children[1].firstBlock, 2);
  EXPECT_EQ(back->schedule.children[1].blockCount, 1);
  EXPECT_EQ(back->weights[5].parts[3].parameter, "row.linear_g.weight");
  EXPECT_EQ(back->weights[5].parts[3].firstRow, 24);
  EXPECT_EQ(back->ranks[0].extents.at("s"), (std::pair<int64_t, int64_t>(0, 5)));

  KernelStep &attention = kernelStep(back->procedures[kRow], 4);
  EXPECT_EQ(attention.kernel, Kernel::Attention);
  EXPECT_EQ(attention.attributes.heads, 2);
  EXPECT_EQ(attention.attributes.scale, 0.5);
  EXPECT_EQ(attention.attributes.inf, 1e9);
  EXPECT_FALSE(attention.operands[6].has_value()); // lse
  EXPECT_EQ(operand(attention, "pair_bias").order, (std::vector<int32_t>{2, 0, 1}));
  EXPECT_EQ(operand(attention, "mask").start, (std::vector<Start>{{0, 0}, {0, -1}}));
  EXPECT_EQ(operand(attention, "key").start, (std::vector<Start>{{0, -1}, {0, -1}, {8, -1}}));
  KernelStep &send = kernelStep(back->procedures[kPair], 1);
  EXPECT_EQ(send.lane, Lane::Communication);
  EXPECT_EQ(kernelStep(back->procedures[kPair], 3).waits, (std::vector<int32_t>{1}));
  EXPECT_EQ(send.location, "pair_transition/copy");
}

TEST(PlanJson, TheMeasuredDeviceIsThereOrAbsent) {
  Plan plan = fixturePlan();
  EXPECT_EQ(printPlan(plan)->find("profile_device"), std::string::npos);
  plan.profileDevice = "a processor, kernels 1, 2 threads";
  const std::string text = *printPlan(plan);
  Result<Plan> again = parsePlan(text, "plan.json");
  ASSERT_TRUE(again.ok()) << again.status().message();
  EXPECT_EQ(again->profileDevice, "a processor, kernels 1, 2 threads");
  EXPECT_EQ(*printPlan(*again), text);
}

TEST(PlanJson, OneLineABufferAndAStep) {
  std::string text = printed(fixturePlan());
  EXPECT_EQ(text.rfind("{\n\"format\": \"evo.plan/1\",\n\"arena_bytes\": 8704,\n", 0), 0u);
  EXPECT_EQ(lineWith(text, "\"summary\""),
            "\"summary\": {\"policy\":\"chunk\",\"budget_bytes\":1048576,\"arena_bytes\":8704,"
            "\"static_bytes\":45056,\"library_bytes\":4096,\"predicted_peak_bytes\":57856,"
            "\"kept_bytes\":0,\"predicted_ms\":0.176}");
  EXPECT_EQ(lineWith(text, "\"qkvg\""),
            "{\"name\":\"qkvg\",\"base\":\"frame\",\"dtype\":\"f32\",\"shape\":[2,7,32],"
            "\"offset\":1536,\"bytes\":1792}");
  EXPECT_EQ(lineWith(text, "\"kernel\":\"gate\""),
            "{\"kernel\":\"gate\",\"operands\":{"
            "\"o\":{\"buffer\":12,\"version\":1,\"extent\":[{\"value\":2,\"loop\":0},7,8]},"
            "\"gate\":{\"buffer\":10,\"version\":1,\"start\":[0,0,24],"
            "\"extent\":[{\"value\":2,\"loop\":0},7,8]},\"gate_bias\":{\"buffer\":14},"
            "\"y\":{\"buffer\":10,\"version\":2,\"start\":[0,0,24],"
            "\"extent\":[{\"value\":2,\"loop\":0},7,8]}},\"cost_ns\":6000}");
  EXPECT_EQ(lineWith(text, "\"axis\":\"r\""),
            "{\"loop\":0,\"axis\":\"r\",\"extent\":7,\"size\":3,\"body\":[");
}

TEST(PlanJson, EmptyListsAndAPlanOfNothing) {
  std::string text = printed(Plan());
  EXPECT_NE(text.find("\"tensors\": [],\n\"weights\": [],\n\"procedures\": [],\n"),
            std::string::npos);
  EXPECT_NE(text.find("\"sizes\":{},\"channels\":{}}"), std::string::npos);
}

TEST(PlanJson, A48BlockPlanWithEqualBlocksStaysSmall) {
  Plan plan = fixturePlan();
  for (int copy = 0; copy < 2; ++copy) // nine procedures
    for (int i : {kRow, kTransition, kPair})
      plan.procedures.push_back(plan.procedures[i]);
  EXPECT_LT(printed(plan).size(), 100000u);
}

TEST(PlanJson, TextThatIsNotUtf8IsNotPrinted) {
  Plan plan = fixturePlan();
  plan.procedures[0].module = "row\xff";
  Result<std::string> text = printPlan(plan);
  ASSERT_FALSE(text.ok());
  EXPECT_NE(text.status().message().find("expected a plan of UTF-8 text, got "), std::string::npos);
}

TEST(PlanJson, NumbersThatAreNotFiniteAreNotPrinted) {
  Plan plan = fixturePlan();
  plan.summary.predictedMs = std::numeric_limits<double>::quiet_NaN();
  expectUnprintable(plan, "expected a finite predicted_ms, got nan");
  plan = fixturePlan();
  kernelStep(plan.procedures[kRow], 0).attributes.eps = std::numeric_limits<double>::infinity();
  expectUnprintable(plan, "procedure 'msa_att_row.0': expected a finite eps, got inf");
}

TEST(PlanJson, OperandsThatDoNotFitTheKernelAreNotPrinted) {
  Plan plan = fixturePlan();
  kernelStep(plan.procedures[kRow], 0).operands.pop_back();
  expectUnprintable(plan,
                    "procedure 'msa_att_row.0': kernel 'layer_norm': expected 6 operands, got 5");
}

TEST(PlanJson, DeepTreesAreNotPrinted) {
  Plan plan = fixturePlan();
  for (int i = 0; i < kMaxTreeDepth + 1; ++i) {
    LoopStep loop{i, "s", 1, 1, {}};
    loop.body.push_back({plan.procedures[kPair].steps[0]});
    plan.procedures[kPair].steps[0].value = std::move(loop);
  }
  expectUnprintable(plan,
                    "procedure 'pair_transition.0': expected at most 16 nested loops, got more");
  plan = fixturePlan();
  for (int i = 0; i < kMaxTreeDepth + 1; ++i) {
    ScheduleNode outer{"segment", "", "", 0, 0, {}};
    outer.children.push_back(plan.schedule);
    plan.schedule = outer;
  }
  expectUnprintable(plan, "expected at most 16 nested schedule nodes, got more");
}

/// The fenced example of SCHEMA.md without its comments.
std::string schemaExample() {
  std::ifstream file(EVO_SCHEMA_FILE);
  std::string line, text;
  bool inside = false;
  while (std::getline(file, line)) {
    if (line == "```") {
      if (inside)
        break;
      inside = true;
    } else if (inside) {
      text.append(line.substr(0, line.find("//"))).append("\n");
    }
  }
  return text;
}

TEST(PlanJson, TheExampleOfTheSchemaIsALegalPlan) {
  Result<Plan> plan = parsePlan(schemaExample(), "SCHEMA.md");
  ASSERT_TRUE(plan.ok()) << plan.status().message();
  Status status = checkPlan(*plan);
  EXPECT_TRUE(status.ok()) << status.message();
}

TEST(PlanJson, TheSchemaNamesEveryInvariant) {
  std::ifstream file(EVO_SCHEMA_FILE);
  std::string text((std::istreambuf_iterator<char>(file)), {});
  for (int invariant = 0; invariant < 20; ++invariant)
    if (std::string_view name = invariantName(invariant); !name.empty()) {
      std::string row = "| ";
      row.append(std::to_string(invariant)).append(" | ").append(name).append(" |");
      EXPECT_NE(text.find(row), std::string::npos) << row;
    }
}

} // namespace
