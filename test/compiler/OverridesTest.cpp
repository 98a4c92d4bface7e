//===- OverridesTest.cpp ----------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "compiler/spec/Overrides.h"

#include <gtest/gtest.h>

using namespace evo;
using namespace evo::spec;

namespace {

constexpr std::string_view kSpec = R"({"format": "evo.model/1", "stack": "evoformer", "blocks": 2,
  "sizes": {"s": 9, "r": 17},
  "channels": {"c_m": 16, "c_z": 8, "c_hidden_msa_att": 4, "c_hidden_opm": 3, "c_hidden_mul": 6,
               "c_hidden_pair_att": 2, "no_heads_msa": 2, "no_heads_pair": 2, "transition_n": 4}})";

Result<ModelSpec> specWith(std::vector<std::string> overrides) {
  return parseModelSpec(kSpec, "f.json", overrides);
}

Status errorOf(std::vector<std::string> overrides) {
  return specWith(std::move(overrides)).status();
}

TEST(Overrides, SetBareAndDottedNames) {
  Result<ModelSpec> spec =
      specWith({"s=512", "sizes.r=384", "blocks=48", "c_m=64", "channels.c_z=32", "dtype=bf16",
                "name=7", "opm_first=true", "inf=1e4"});
  ASSERT_TRUE(spec.ok()) << spec.status().message();
  EXPECT_EQ(spec->s, 512);
  EXPECT_EQ(spec->r, 384);
  EXPECT_EQ(spec->blocks, 48);
  EXPECT_EQ(spec->msa.cM, 64);
  EXPECT_EQ(spec->msa.cZ, 32);
  EXPECT_EQ(spec->precision, plan::Precision::Bf16);
  EXPECT_EQ(spec->name, "7"); // a text key takes the text
  EXPECT_TRUE(spec->opmFirst);
  EXPECT_EQ(spec->inf, 1e4);
}

TEST(Overrides, TheLastOneCounts) {
  Result<ModelSpec> spec = specWith({"s=1", "s=2"});
  ASSERT_TRUE(spec.ok());
  EXPECT_EQ(spec->s, 2);
}

TEST(Overrides, MakeTheObjectsAroundThem) {
  Result<ModelSpec> spec = specWith({"dropout.pair=0.25", "kind=sgd", "lr=0.5"});
  ASSERT_TRUE(spec.ok()) << spec.status().message();
  EXPECT_EQ(spec->dropout->pair, 0.25);
  EXPECT_EQ(spec->dropout->msa, 0.0);
  EXPECT_EQ(std::get<Sgd>(*spec->optimizer).lr, 0.5);
}

TEST(Overrides, KeepEqualsSignsAndQuotesInText) {
  EXPECT_EQ(specWith({"name=a=b"})->name, "a=b");
  EXPECT_EQ(specWith({"name=\"a b\""})->name, "a b");
  EXPECT_EQ(specWith({"name="})->name, "");
}

TEST(Overrides, KnowTheStacksKeysOnly) {
  Result<ModelSpec> extra = specWith({"global_attention_eps=1e-6", "stack=extra_msa"});
  ASSERT_TRUE(extra.ok()) << extra.status().message();
  EXPECT_EQ(extra->globalAttentionEps, 1e-6);
  const Status status = errorOf({"global_attention_eps=1e-6"});
  EXPECT_EQ(status.code(), ErrorCode::Usage);
  EXPECT_EQ(status.message(),
            "--set \"global_attention_eps\": expected a key of the specification, got none");
}

TEST(Overrides, MalformedOnesAreUsage) {
  for (const char *text : {"s", "=4", ""}) {
    const Status status = errorOf({text});
    EXPECT_EQ(status.code(), ErrorCode::Usage) << text;
    EXPECT_EQ(status.message(), "--set: expected NAME=VALUE, got \"" + std::string(text) + "\"");
  }
  EXPECT_EQ(errorOf({"chanels.c_m=4"}).message(),
            "--set \"chanels.c_m\": expected a key of the specification, got none; did you mean "
            "\"channels.c_m\"?");
  EXPECT_EQ(errorOf({"c_mm=4"}).code(), ErrorCode::Usage);
  EXPECT_EQ(errorOf({"name=\xff"}).code(), ErrorCode::Usage);
  EXPECT_EQ(errorOf({"name=\xff"}).message(), "--set: expected UTF-8, got \"name=\\xff\"");
}

TEST(Overrides, BadValuesAreTheCheckersErrors) {
  EXPECT_EQ(
      errorOf({"s=0"}).message(),
      "f.json: sizes.s: expected an integer from 1 to 2147483647, written without fraction or "
      "exponent, got 0");
  EXPECT_EQ(errorOf({"s=0"}).code(), ErrorCode::InvalidInput);
  EXPECT_EQ(
      errorOf({"s=many"}).message(),
      "f.json: sizes.s: expected an integer from 1 to 2147483647, written without fraction or "
      "exponent, got \"many\"");
  EXPECT_EQ(
      errorOf({"stack=evo"}).message(),
      "f.json: stack: expected \"evoformer\", \"extra_msa\" or \"template_pair\", got \"evo\"");
}

TEST(Overrides, AmbiguousNamesAreListed) {
  constexpr KeyInfo keys[] = {{"a.eps", 1, KeyKind::Other, false},
                              {"b.eps", 1, KeyKind::Other, false},
                              {"c.eps", 2, KeyKind::Other, false}};
  Result<const KeyInfo *> both = resolveKey("eps", keys, 1);
  EXPECT_EQ(both.status().code(), ErrorCode::Usage);
  EXPECT_EQ(both.status().message(),
            "--set \"eps\": expected a name that only one key has, got 2; write a.eps or b.eps");
  Result<const KeyInfo *> one = resolveKey("eps", keys, 2);
  ASSERT_TRUE(one.ok());
  EXPECT_EQ((*one)->path, "c.eps");
  EXPECT_EQ((*resolveKey("b.eps", keys, 3))->path, "b.eps");
}

TEST(Overrides, EveryKeyOfAStackHasAName) {
  for (StackKind stack : {StackKind::Evoformer, StackKind::ExtraMsa, StackKind::TemplatePair})
    for (const KeyInfo &key : keyTable())
      if (key.stacks & maskOf(stack)) {
        EXPECT_TRUE(resolveKey(key.path, keyTable(), maskOf(stack)).ok()) << key.path;
        EXPECT_TRUE(resolveKey(key.name(), keyTable(), maskOf(stack)).ok()) << key.path;
      }
}

} // namespace
