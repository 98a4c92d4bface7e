//===- BindingTest.cpp ------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "runtime/core/Binding.h"
#include "test/core/CoreTest.h"

namespace evo {
namespace {

using namespace evo::plan;
using namespace evo::test;

HostTensor floats(const std::string &name, std::vector<int64_t> shape) {
  auto count = static_cast<size_t>(*elementCount(shape));
  return hostTensor<float>(name, HostType::F32, shape, std::vector<float>(count));
}

/// q (4 rows) and k (2 rows) of 3 columns side by side, and a norm's weight; two blocks of 512
/// bytes.
Plan twoBlocks() {
  Plan plan;
  plan.model.blocks = 2;
  plan.weightBlockBytes = 512;
  plan.weights = {
      {"qk",
       DType::F32,
       {6, 3},
       0,
       72,
       {{"msa_transition.linear_q.weight", 0, 4}, {"msa_transition.linear_k.weight", 4, 2}},
       0,
       {}},
      {"norm", DType::F32, {3}, 128, 12, {{"pair_stack.x.layer_norm.weight", 0, 3}}, 0, {}}};
  return plan;
}

std::vector<HostTensor> checkpoint(const std::string &prefix, int64_t blocks = 2) {
  std::vector<HostTensor> tensors;
  for (int64_t i = 0; i < blocks; ++i) {
    std::string start = prefix + "blocks." + std::to_string(i) + ".";
    tensors.push_back(floats(start + "pair_stack.x.layer_norm.weight", {3}));
    tensors.push_back(floats(start + "msa_transition.linear_q.weight", {4, 3}));
    tensors.push_back(floats(start + "msa_transition.linear_k.weight", {2, 3}));
  }
  return tensors;
}

Result<WeightBinding> bindTo(const std::vector<HostTensor> &tensors,
                             std::optional<std::string> prefix = std::nullopt) {
  Plan plan = twoBlocks();
  auto slots = weightSlots(plan);
  return bindWeights(*slots, tensors, prefix, "w");
}

TEST(WeightSlots, LieWhereTheirRowsAre) {
  auto slots = weightSlots(twoBlocks());
  ASSERT_TRUE(slots.ok());
  ASSERT_EQ(slots->size(), 6u);
  EXPECT_EQ(slots->at(1).name, "blocks.0.msa_transition.linear_k.weight");
  EXPECT_EQ(slots->at(1).offset, 4 * 3 * 4); // behind q's four rows of three floats
  EXPECT_EQ(slots->at(1).shape, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(slots->at(5).name, "blocks.1.pair_stack.x.layer_norm.weight");
  EXPECT_EQ(slots->at(5).offset, 512 + 128);
  EXPECT_EQ(slots->at(5).shape, std::vector<int64_t>{3});
}

TEST(BindWeights, FindsThePrefix) {
  for (std::string prefix : {"", "evoformer.", "model.evoformer."}) {
    std::vector<HostTensor> tensors = checkpoint(prefix);
    tensors.push_back(floats("evoformer.linear.weight", {8, 8}));
    tensors.push_back(hostTensor<int64_t>("step", HostType::I64, {}, {7}));
    auto bound = bindTo(tensors);
    ASSERT_TRUE(bound.ok()) << bound.status().message();
    EXPECT_EQ(bound->prefix, prefix);
    EXPECT_EQ(bound->ignored, 2);
    EXPECT_EQ(bound->sources[1]->name, prefix + "blocks.0.msa_transition.linear_k.weight");
  }
}

TEST(BindWeights, TakesTheOnePrefixThatFits) {
  std::vector<HostTensor> tensors = checkpoint("evoformer.");
  for (HostTensor &tensor : checkpoint("extra.", 3))
    tensors.push_back(tensor);
  auto bound = bindTo(tensors);
  ASSERT_TRUE(bound.ok()) << bound.status().message();
  EXPECT_EQ(bound->prefix, "evoformer.");
  EXPECT_EQ(bound->ignored, 9);
}

TEST(BindWeights, AsksWhereTwoFit) {
  std::vector<HostTensor> tensors = checkpoint("a.");
  for (HostTensor &tensor : checkpoint("b."))
    tensors.push_back(tensor);
  EXPECT_MESSAGE(bindTo(tensors), "w: expected one prefix before 'blocks.' to fit the plan, got "
                                  "'a.', 'b.' (choose with --weights-prefix)");
  for (std::string given : {"b", "b."}) {
    auto bound = bindTo(tensors, given);
    ASSERT_TRUE(bound.ok()) << bound.status().message();
    EXPECT_EQ(bound->prefix, "b.");
    EXPECT_EQ(bound->ignored, 6);
  }
}

TEST(BindWeights, ReadsTheEarlierSpelling) {
  std::vector<HostTensor> tensors = checkpoint("");
  tensors[0].name = "blocks.0.core.x.layer_norm.weight";
  tensors[1].name = "blocks.0.core.msa_transition.linear_q.weight";
  auto bound = bindTo(tensors);
  ASSERT_TRUE(bound.ok()) << bound.status().message();
  EXPECT_EQ(bound->sources[2], &tensors[0]);
  EXPECT_EQ(bound->sources[0], &tensors[1]);
  tensors.push_back(floats("blocks.0.pair_stack.x.layer_norm.weight", {3}));
  EXPECT_MESSAGE(
      bindTo(tensors),
      "w: expected one tensor for 'blocks.0.pair_stack.x.layer_norm.weight', got "
      "'blocks.0.core.x.layer_norm.weight' and 'blocks.0.pair_stack.x.layer_norm.weight'");
}

TEST(BindWeights, NamesWhatDoesNotFit) {
  std::vector<HostTensor> tensors = checkpoint("p.");
  tensors.pop_back();
  EXPECT_MESSAGE(bindTo(tensors), "w: missing tensor 'p.blocks.1.msa_transition.linear_k.weight': "
                                  "expected shape [2, 3], got none");
  EXPECT_MESSAGE(bindTo(checkpoint("p.", 3)),
                 "w: surplus tensor 'p.blocks.2.pair_stack.x.layer_norm.weight' [3]: expected only "
                 "parameters of the plan under 'p.blocks.' (is the plan's number of blocks the "
                 "file's)");
  tensors = checkpoint("p.");
  tensors[1].shape = {3, 4};
  EXPECT_MESSAGE(bindTo(tensors), "w: tensor 'p.blocks.0.msa_transition.linear_q.weight': expected "
                                  "F32, F64, F16 or BF16 [4, 3], got F32 [3, 4]");
  tensors[1] = hostTensor<uint8_t>("p.blocks.0.msa_transition.linear_q.weight", HostType::U8,
                                   {4, 3}, std::vector<uint8_t>(12));
  EXPECT_MESSAGE(bindTo(tensors), "w: tensor 'p.blocks.0.msa_transition.linear_q.weight': expected "
                                  "F32, F64, F16 or BF16 [4, 3], got U8 [4, 3]");
  EXPECT_MESSAGE(bindTo({floats("x", {1})}),
                 "w: expected weights named 'blocks.{i}.…' with or without a prefix, got none "
                 "among 1 tensors");
  EXPECT_MESSAGE(bindTo(checkpoint("p."), "q"),
                 "w: missing tensor 'q.blocks.0.msa_transition.linear_q.weight': expected shape "
                 "[4, 3], got none");
  std::vector<HostTensor> two = {floats("a.blocks.0.y", {1}), floats("b.blocks.0.y", {1})};
  auto bound = bindTo(two);
  ASSERT_FALSE(bound.ok());
  EXPECT_NE(bound.status().message().find("got none; under 'a.': w: surplus tensor"),
            std::string::npos)
      << bound.status().message();
}

Plan evoformer() {
  Plan plan;
  plan.tensors = {{"m", DType::F32, {2, 3, 4}, 0, 96},
                  {"z", DType::F32, {3, 3, 5}, 512, 180},
                  {"msa_mask", DType::F32, {2, 3}, 1024, 24},
                  {"pair_mask", DType::F32, {3, 3}, 1536, 36}};
  return plan;
}

TEST(BindWeights, TakesTheWeightsOfAStateFile) {
  std::vector<HostTensor> tensors = checkpoint("");
  for (HostTensor &moment : checkpoint("optimizer.momentum."))
    tensors.push_back(std::move(moment));
  auto bound = bindTo(tensors);
  ASSERT_TRUE(bound.ok()) << bound.status().message();
  EXPECT_EQ(bound->prefix, "");
  EXPECT_EQ(bound->ignored, 6);
}

TEST(BindInputs, MasksMayBeAbsent) {
  Plan plan = evoformer();
  std::vector<std::string> names = {"m", "z", "msa_mask", "pair_mask"};
  std::vector<HostTensor> tensors = {
      floats("z", {3, 3, 5}), floats("m", {2, 3, 4}),
      hostTensor<uint8_t>("pair_mask", HostType::Bool, {3, 3}, std::vector<uint8_t>(9))};
  auto bound = bindInputs(plan, names, tensors, "i");
  ASSERT_TRUE(bound.ok()) << bound.status().message();
  EXPECT_EQ(bound->at(0).source, &tensors[1]);
  EXPECT_EQ(bound->at(1).source, &tensors[0]);
  EXPECT_EQ(bound->at(2).source, nullptr);
  EXPECT_EQ(bound->at(3).source, &tensors[2]);
  EXPECT_EQ(bound->at(3).tensor, &plan.tensors[3]);
}

TEST(BindInputs, NamesWhatDoesNotFit) {
  Plan plan = evoformer();
  std::vector<std::string> names = {"m", "z", "msa_mask", "pair_mask"};
  auto message = [&](std::vector<HostTensor> tensors) {
    auto bound = bindInputs(plan, names, tensors, "i");
    return bound ? std::string() : bound.status().message();
  };
  HostTensor m = floats("m", {2, 3, 4}), z = floats("z", {3, 3, 5});
  EXPECT_EQ(message({m}), "i: missing tensor 'z': expected shape [3, 3, 5], got none");
  EXPECT_EQ(message({}), "i: missing tensor 'm': expected shape [2, 3, 4], got none");
  EXPECT_EQ(message({m, z, floats("zz", {1})}),
            "i: unknown tensor 'zz': expected 'm', 'z', 'msa_mask', 'pair_mask'");
  EXPECT_EQ(message({m, floats("z", {3, 5, 3})}),
            "i: tensor 'z': expected F32, F64, F16 or BF16 [3, 3, 5], got F32 [3, 5, 3]");
  EXPECT_EQ(
      message(
          {m, z, hostTensor<int32_t>("pair_mask", HostType::I32, {3, 3}, std::vector<int32_t>(9))}),
      "i: tensor 'pair_mask': expected F32, F64, F16, BF16, U8 or BOOL [3, 3], got I32 [3, "
      "3]");
  EXPECT_EQ(
      message({z, hostTensor<uint8_t>("m", HostType::U8, {2, 3, 4}, std::vector<uint8_t>(24))}),
      "i: tensor 'm': expected F32, F64, F16 or BF16 [2, 3, 4], got U8 [2, 3, 4]");
}

} // namespace
} // namespace evo
