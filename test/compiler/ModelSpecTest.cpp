//===- ModelSpecTest.cpp ----------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "compiler/spec/ModelSpec.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

using namespace evo;
using namespace evo::spec;
using Json = nlohmann::json;

namespace {

Json evoformer() {
  return Json::parse(R"({"format": "evo.model/1", "stack": "evoformer", "blocks": 48,
    "sizes": {"s": 512, "r": 384},
    "channels": {"c_m": 256, "c_z": 128, "c_hidden_msa_att": 32, "c_hidden_opm": 33,
                 "c_hidden_mul": 129, "c_hidden_pair_att": 34, "no_heads_msa": 8,
                 "no_heads_pair": 4, "transition_n": 5}})");
}

Json templatePair() {
  return Json::parse(R"({"format": "evo.model/1", "stack": "template_pair", "blocks": 2,
    "sizes": {"r": 14},
    "channels": {"c_t": 64, "c_hidden_tri_att": 16, "c_hidden_tri_mul": 65, "no_heads": 4,
                 "pair_transition_n": 2}})");
}

/// The message of the error, or what kind of surprise there was instead.
std::string errorOf(const Json &json, ErrorCode code = ErrorCode::InvalidInput) {
  Result<ModelSpec> spec = parseModelSpec(json.dump(), "f.json");
  if (spec.ok())
    return "no error";
  return spec.status().code() == code ? spec.status().message() : "another code";
}

/// `json` with the value at a pointer replaced.
Json with(Json json, const char *pointer, const char *value) {
  json[Json::json_pointer(pointer)] = Json::parse(value);
  return json;
}
Json without(Json json, const char *parent, const char *key) {
  json[Json::json_pointer(parent)].erase(key);
  return json;
}

TEST(ModelSpec, ReadsWhatIsRequiredAndDefaultsTheRest) {
  Result<ModelSpec> spec = parseModelSpec(evoformer().dump(), "f.json");
  ASSERT_TRUE(spec.ok()) << spec.status().message();
  EXPECT_EQ(spec->name, "");
  EXPECT_EQ(spec->stack, StackKind::Evoformer);
  EXPECT_TRUE(spec->hasMsa());
  EXPECT_EQ(spec->blocks, 48);
  EXPECT_EQ(spec->s, 512);
  EXPECT_EQ(spec->r, 384);
  EXPECT_EQ(spec->msa.cM, 256);
  EXPECT_EQ(spec->msa.cZ, 128);
  EXPECT_EQ(spec->msa.cHiddenMsaAtt, 32);
  EXPECT_EQ(spec->msa.cHiddenOpm, 33);
  EXPECT_EQ(spec->msa.cHiddenMul, 129);
  EXPECT_EQ(spec->msa.cHiddenPairAtt, 34);
  EXPECT_EQ(spec->msa.noHeadsMsa, 8);
  EXPECT_EQ(spec->msa.noHeadsPair, 4);
  EXPECT_EQ(spec->msa.transitionN, 5);
  EXPECT_FALSE(spec->opmFirst);
  EXPECT_TRUE(spec->maskTransition);
  EXPECT_EQ(spec->opmEps, 1e-3);
  EXPECT_EQ(spec->globalAttentionEps, 1e-8);
  EXPECT_EQ(spec->inf, 1e9);
  EXPECT_EQ(spec->precision, plan::Precision::Fp32);
  EXPECT_EQ(spec->mode, plan::Mode::Infer);
  EXPECT_FALSE(spec->dropout);
  EXPECT_FALSE(spec->optimizer);
  EXPECT_FALSE(spec->masterWeights);
  EXPECT_EQ(spec->lossScale, 1.0);
}

TEST(ModelSpec, ReadsEveryOptionalKey) {
  Json json = evoformer();
  json.update(Json::parse(R"({"name": "n", "stack": "extra_msa", "opm_first": true,
    "mask_transition": false, "opm_eps": 1, "global_attention_eps": 0.5, "inf": 10, "dtype": "bf16",
    "mode": "train", "dropout": {"msa": 0.15, "pair": 0}, "master_weights": true,
    "optimizer": {"kind": "adamw", "lr": 1e-3, "beta1": 0.8, "beta2": 0.7, "eps": 1e-5,
                  "weight_decay": 0.1}, "loss_scale": "dynamic"})"));
  Result<ModelSpec> spec = parseModelSpec(json.dump(), "f.json");
  ASSERT_TRUE(spec.ok()) << spec.status().message();
  EXPECT_EQ(spec->name, "n");
  EXPECT_EQ(spec->stack, StackKind::ExtraMsa);
  EXPECT_TRUE(spec->opmFirst);
  EXPECT_FALSE(spec->maskTransition);
  EXPECT_EQ(spec->opmEps, 1.0);
  EXPECT_EQ(spec->globalAttentionEps, 0.5);
  EXPECT_EQ(spec->inf, 10.0);
  EXPECT_EQ(spec->precision, plan::Precision::Bf16);
  EXPECT_EQ(spec->mode, plan::Mode::Train);
  ASSERT_TRUE(spec->dropout);
  EXPECT_EQ(spec->dropout->msa, 0.15);
  EXPECT_EQ(spec->dropout->pair, 0.0);
  ASSERT_TRUE(spec->optimizer && std::holds_alternative<AdamW>(*spec->optimizer));
  const AdamW &adamW = std::get<AdamW>(*spec->optimizer);
  EXPECT_EQ(adamW.lr, 1e-3);
  EXPECT_EQ(adamW.beta1, 0.8);
  EXPECT_EQ(adamW.beta2, 0.7);
  EXPECT_EQ(adamW.eps, 1e-5);
  EXPECT_EQ(adamW.weightDecay, 0.1);
  EXPECT_TRUE(spec->masterWeights);
  EXPECT_EQ(spec->lossScale, std::nullopt);
}

TEST(ModelSpec, ReadsSgdAndAFixedLossScale) {
  Json json = evoformer();
  json["optimizer"] = {{"kind", "sgd"}, {"lr", 0.01}, {"momentum", 0.9}};
  json["loss_scale"] = 1024;
  Result<ModelSpec> spec = parseModelSpec(json.dump(), "f.json");
  ASSERT_TRUE(spec.ok()) << spec.status().message();
  ASSERT_TRUE(spec->optimizer && std::holds_alternative<Sgd>(*spec->optimizer));
  EXPECT_EQ(std::get<Sgd>(*spec->optimizer).lr, 0.01);
  EXPECT_EQ(std::get<Sgd>(*spec->optimizer).momentum, 0.9);
  EXPECT_EQ(spec->lossScale, 1024.0);
}

TEST(ModelSpec, ReadsATemplatePairStack) {
  Json json = templatePair();
  json["dropout"] = {{"pair", 0.25}};
  Result<ModelSpec> spec = parseModelSpec(json.dump(), "f.json");
  ASSERT_TRUE(spec.ok()) << spec.status().message();
  EXPECT_FALSE(spec->hasMsa());
  EXPECT_EQ(spec->s, 0);
  EXPECT_EQ(spec->r, 14);
  EXPECT_EQ(spec->dropout->pair, 0.25);
  using Table = std::vector<std::pair<std::string, int64_t>>;
  EXPECT_EQ(spec->sizeTable(), (Table{{"r", 14}}));
  EXPECT_EQ(spec->channelTable(), (Table{{"c_t", 64},
                                         {"c_hidden_tri_att", 16},
                                         {"c_hidden_tri_mul", 65},
                                         {"no_heads", 4},
                                         {"pair_transition_n", 2}}));
}

TEST(ModelSpec, TablesFollowTheSpecification) {
  Result<ModelSpec> spec = parseModelSpec(evoformer().dump(), "f.json");
  ASSERT_TRUE(spec.ok());
  using Table = std::vector<std::pair<std::string, int64_t>>;
  EXPECT_EQ(spec->sizeTable(), (Table{{"s", 512}, {"r", 384}}));
  EXPECT_EQ(spec->channelTable(), (Table{{"c_m", 256},
                                         {"c_z", 128},
                                         {"c_hidden_msa_att", 32},
                                         {"c_hidden_opm", 33},
                                         {"c_hidden_mul", 129},
                                         {"c_hidden_pair_att", 34},
                                         {"no_heads_msa", 8},
                                         {"no_heads_pair", 4},
                                         {"transition_n", 5}}));
}

TEST(ModelSpec, RequiredKeysAreNamed) {
  EXPECT_EQ(
      errorOf(without(evoformer(), "", "format")),
      "f.json: format: expected \"evo.model/1\", got no such key; it names the version of the "
      "file's keys");
  EXPECT_EQ(
      errorOf(without(evoformer(), "", "stack")),
      "f.json: stack: expected \"evoformer\", \"extra_msa\" or \"template_pair\", got no such "
      "key");
  for (const char *key : {"blocks", "sizes", "channels"})
    EXPECT_EQ(errorOf(without(evoformer(), "", key)),
              "f.json: " + std::string(key) + ": expected this required key, got none");
  EXPECT_EQ(errorOf(without(evoformer(), "/sizes", "s")),
            "f.json: sizes.s: expected this required key, got none");
  for (const auto &[stack, key] :
       {std::pair(evoformer(), "transition_n"), std::pair(templatePair(), "pair_transition_n")})
    EXPECT_EQ(errorOf(without(stack, "/channels", key)),
              "f.json: channels." + std::string(key) + ": expected this required key, got none");
  EXPECT_EQ(errorOf(with(evoformer(), "/optimizer", R"({"kind": "sgd"})")),
            "f.json: optimizer.lr: expected this required key, got none");
}

TEST(ModelSpec, UnknownKeysAreNamedWithTheNearest) {
  EXPECT_EQ(errorOf(with(evoformer(), "/sizes/q", "1")),
            "f.json: sizes: expected one of the keys s, r, got \"q\"");
  EXPECT_EQ(errorOf(with(without(evoformer(), "/channels", "c_m"), "/channels/c_mm", "1")),
            "f.json: channels: expected one of the keys c_m, c_z, c_hidden_msa_att, c_hidden_opm, "
            "c_hidden_mul, c_hidden_pair_att, no_heads_msa, no_heads_pair, transition_n, got "
            "\"c_mm\"; did you mean \"c_m\"?");
  const std::string misplaced = errorOf(with(evoformer(), "/c_m", "256"));
  EXPECT_NE(misplaced.find("got \"c_m\"; it belongs in channels"), std::string::npos) << misplaced;
  const std::string below = errorOf(with(evoformer(), "/sizes/blocks", "3"));
  EXPECT_NE(below.find("got \"blocks\"; it belongs at the root"), std::string::npos) << below;
}

TEST(ModelSpec, StacksKnowTheirOwnKeysOnly) {
  auto refuses = [](Json json, const char *pointer, const char *value, const char *advice) {
    const std::string message = errorOf(with(std::move(json), pointer, value));
    EXPECT_NE(message.find(advice), std::string::npos) << pointer << ": " << message;
  };
  const char *msaOnly = "only evoformer and extra_msa knows it, and the stack is template_pair";
  refuses(templatePair(), "/opm_first", "true", msaOnly);
  refuses(templatePair(), "/opm_eps", "1e-3", msaOnly);
  refuses(templatePair(), "/sizes/s", "4", msaOnly);
  refuses(with(templatePair(), "/dropout", R"({"pair": 0.1})"), "/dropout/msa", "0.1", msaOnly);
  refuses(templatePair(), "/channels/c_m", "4", msaOnly);
  refuses(templatePair(), "/global_attention_eps", "1", "only extra_msa knows it");
  refuses(evoformer(), "/global_attention_eps", "1", "only extra_msa knows it");
  refuses(evoformer(), "/channels/c_t", "4", "only template_pair knows it");
  refuses(evoformer(), "/optimizer", R"({"kind": "sgd", "lr": 1, "beta1": 0})",
          "only adamw knows it, and the kind is sgd");
  refuses(evoformer(), "/optimizer", R"({"kind": "adamw", "lr": 1, "momentum": 0})",
          "only sgd knows it, and the kind is adamw");
  EXPECT_EQ(errorOf(with(with(templatePair(), "/inf", "1e4"), "/mask_transition", "false")),
            "no error");
}

TEST(ModelSpec, CountsAreIntegersInRange) {
  for (const char *pointer : {"/blocks", "/sizes/s", "/sizes/r", "/channels/c_m",
                              "/channels/no_heads_pair", "/channels/transition_n"}) {
    std::string path = std::string(pointer).substr(1);
    if (size_t slash = path.find('/'); slash != std::string::npos)
      path[slash] = '.';
    for (const char *value : {"0", "-1", "1e3", "4.0", "2147483648", "9223372036854775808",
                              "18446744073709551616", "\"4\"", "null", "true", "[4]", "{}"}) {
      const std::string message = errorOf(with(evoformer(), pointer, value));
      EXPECT_EQ(message.rfind("f.json: " + path +
                                  ": expected an integer from 1 to 2147483647, written without "
                                  "fraction or exponent, got ",
                              0),
                0u)
          << pointer << " " << value << ": " << message;
    }
  }
  EXPECT_EQ(errorOf(with(evoformer(), "/blocks", "2147483647")), "no error");
  EXPECT_EQ(errorOf(with(evoformer(), "/sizes/s", "1")), "no error");
}

TEST(ModelSpec, StatisticsFitTheirType) {
  EXPECT_EQ(
      errorOf(with(evoformer(), "/inf", "1e39")),
      "f.json: inf: expected a number from 1.17549e-38 to 3.40282e+38, the range of f32, in which "
      "dtype fp32 computes it, got 1e+39");
  EXPECT_EQ(errorOf(with(evoformer(), "/inf", "3.4e38")), "no error");
  EXPECT_EQ(
      errorOf(with(with(evoformer(), "/dtype", "\"bf16\""), "/opm_eps", "1e-39")),
      "f.json: opm_eps: expected a number from 1.17549e-38 to 3.40282e+38, the range of f32, in "
      "which dtype bf16 computes it, got 1e-39");
  EXPECT_EQ(errorOf(with(with(evoformer(), "/dtype", "\"fp64\""), "/inf", "1e300")), "no error");
}

TEST(ModelSpec, OtherTypesAreChecked) {
  struct Case {
    const char *pointer, *value, *message;
  };
  for (const Case &c : std::initializer_list<Case>{
           {"/format", "\"evo.model/2\"",
            "format: expected \"evo.model/1\", got \"evo.model/2\"; it names the version of the "
            "file's keys"},
           {"/format", "1",
            "format: expected \"evo.model/1\", got 1; it names the version of the file's keys"},
           {"/name", "3", "name: expected a string, got 3"},
           {"/stack", "\"evo\"",
            "stack: expected \"evoformer\", \"extra_msa\" or \"template_pair\", got \"evo\""},
           {"/sizes", "[1, 2]", "sizes: expected an object, got an array"},
           {"/channels", "null", "channels: expected an object, got null"},
           {"/opm_first", "0", "opm_first: expected true or false, got 0"},
           {"/mask_transition", "\"true\"",
            "mask_transition: expected true or false, got \"true\""},
           {"/opm_eps", "0", "opm_eps: expected a number > 0, got 0"},
           {"/opm_eps", "-1e-3", "opm_eps: expected a number > 0, got -0.001"},
           {"/inf", "\"inf\"", "inf: expected a number > 0, got \"inf\""},
           {"/dtype", "\"f32\"",
            "dtype: expected \"fp64\", \"fp32\", \"tf32\", \"bf16\" or \"fp16\", got \"f32\""},
           {"/mode", "\"test\"", "mode: expected \"infer\" or \"train\", got \"test\""},
           {"/dropout", "0.1", "dropout: expected an object, got 0.1"},
           {"/dropout", R"({"msa": 1, "pair": 0})",
            "dropout.msa: expected a number in [0, 1), got 1"},
           {"/dropout", R"({"msa": 0, "pair": -0.5})",
            "dropout.pair: expected a number in [0, 1), got -0.5"},
           {"/optimizer", R"({"kind": "lion", "lr": 1})",
            "optimizer.kind: expected \"sgd\" or \"adamw\", got \"lion\""},
           {"/optimizer", R"({"kind": "sgd", "lr": -1})",
            "optimizer.lr: expected a number >= 0, got -1"},
           {"/optimizer", R"({"kind": "sgd", "lr": 1, "momentum": 1})",
            "optimizer.momentum: expected a number in [0, 1), got 1"},
           {"/optimizer", R"({"kind": "adamw", "lr": 1, "eps": 0})",
            "optimizer.eps: expected a number > 0, got 0"},
           {"/master_weights", "1", "master_weights: expected true or false, got 1"},
           {"/loss_scale", "0", "loss_scale: expected a number > 0, got 0"},
           {"/loss_scale", "\"auto\"",
            "loss_scale: expected a number > 0 or \"dynamic\", got \"auto\""}})
    EXPECT_EQ(errorOf(with(evoformer(), c.pointer, c.value)), "f.json: " + std::string(c.message));
}

TEST(ModelSpec, ByteCountsStayBelow2To63) {
  // z: r * r * 128 * 4 bytes = 2^63 at r = 2^27; the logits of a triangle attention come first:
  // 4 * r^3 * 4 bytes = 2^4 * r^3 reaches 2^63 between r = 2^19 (2^61) and 2^20 (2^64).
  Json json = with(evoformer(), "/sizes/s", "1");
  EXPECT_EQ(errorOf(with(json, "/sizes/r", "524288")), "no error");
  EXPECT_EQ(errorOf(with(json, "/sizes/r", "1048576")),
            "f.json: sizes: expected fewer than 2^63 bytes for the logits of a triangle attention, "
            "no_heads_pair * r * r * r * 4 bytes, got 4 * 1048576 * 1048576 * 1048576 * 4 bytes");
  // The logits of msa_att_row: 8 * s * r * r * 4 = 2^5 * 2^30 * 2^28 = 2^63.
  Json wide = with(with(evoformer(), "/sizes/s", "1073741824"), "/sizes/r", "16384");
  EXPECT_EQ(errorOf(wide),
            "f.json: sizes: expected fewer than 2^63 bytes for the logits of msa_att_row, "
            "no_heads_msa * s * r * r * 4 bytes, got 8 * 1073741824 * 16384 * 16384 * 4 bytes");
  // fp64 takes twice the bytes, and passes where fp32 does not.
  Json r780k = with(json, "/sizes/r", "780000"); // 4 * 4.75e17 * 4 = 7.6e18 < 9.22e18 < 1.5e19
  EXPECT_EQ(errorOf(r780k), "no error");
  EXPECT_NE(errorOf(with(r780k, "/dtype", "\"fp64\"")), "no error");
  // And fp16 half of them: 4 * 900000^3 * 4 = 1.17e19, but 5.8e18 in two bytes.
  Json r900k = with(json, "/sizes/r", "900000");
  EXPECT_NE(errorOf(r900k), "no error");
  EXPECT_EQ(errorOf(with(r900k, "/dtype", "\"fp16\"")), "no error");
  const std::string channels = errorOf(with(with(evoformer(), "/channels/c_m", "2147483647"),
                                            "/channels/transition_n", "2147483647"));
  EXPECT_NE(channels.find("the hidden tensor of msa_transition"), std::string::npos) << channels;
  EXPECT_NE(errorOf(with(templatePair(), "/sizes/r", "2147483647")), "no error");
}

TEST(ModelSpec, RefusesWhatIsNoObject) {
  EXPECT_EQ(errorOf(Json::parse("[1]")), "f.json: expected a JSON object, got an array");
  EXPECT_EQ(errorOf(Json::parse("3")), "f.json: expected a JSON object, got 3");
  Result<ModelSpec> twice = parseModelSpec(R"({"blocks": 1, "blocks": 1})", "f.json");
  EXPECT_EQ(twice.status().message(),
            "f.json: expected every key once, got \"blocks\" twice in one object");
  EXPECT_EQ(readModelSpec("absent/f.json").status().code(), ErrorCode::Io);
}

} // namespace
