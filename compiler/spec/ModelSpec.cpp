//===- ModelSpec.cpp --------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "compiler/spec/ModelSpec.h"

#include "compiler/json/StrictJson.h"
#include "compiler/spec/Keys.h"
#include "compiler/spec/Overrides.h"
#include "compiler/spec/SizeCheck.h"

#include <array>
#include <limits>
#include <sstream>

namespace evo::spec {

namespace {
constexpr int64_t kMaxCount = (int64_t{1} << 31) - 1;
constexpr std::string_view kStackNames[] = {"evoformer", "extra_msa", "template_pair"};
constexpr std::string_view kModeNames[] = {"infer", "train"};
constexpr std::string_view kOptimizerNames[] = {"sgd", "adamw"};

struct MsaChannelField {
  const char *name;
  int64_t MsaChannels::*member;
};
constexpr MsaChannelField kMsaChannels[] = {
    {"c_m", &MsaChannels::cM},
    {"c_z", &MsaChannels::cZ},
    {"c_hidden_msa_att", &MsaChannels::cHiddenMsaAtt},
    {"c_hidden_opm", &MsaChannels::cHiddenOpm},
    {"c_hidden_mul", &MsaChannels::cHiddenMul},
    {"c_hidden_pair_att", &MsaChannels::cHiddenPairAtt},
    {"no_heads_msa", &MsaChannels::noHeadsMsa},
    {"no_heads_pair", &MsaChannels::noHeadsPair},
    {"transition_n", &MsaChannels::transitionN},
};

struct TemplateChannelField {
  const char *name;
  int64_t TemplateChannels::*member;
};
constexpr TemplateChannelField kTemplateChannels[] = {
    {"c_t", &TemplateChannels::cT},
    {"c_hidden_tri_att", &TemplateChannels::cHiddenTriAtt},
    {"c_hidden_tri_mul", &TemplateChannels::cHiddenTriMul},
    {"no_heads", &TemplateChannels::noHeads},
    {"pair_transition_n", &TemplateChannels::pairTransitionN},
};

Result<StackKind> readStack(const json::Json &root) {
  json::FieldReader reader(root);
  if (!reader.find("stack"))
    return Status::error(
        ErrorCode::InvalidInput,
        "stack: expected \"evoformer\", \"extra_msa\" or \"template_pair\", got no such key");
  size_t index = 0;
  reader.choice("stack", index, kStackNames);
  EVO_TRY(reader.status());
  return static_cast<StackKind>(index);
}

Status applyOverrides(json::Json &root, std::span<const std::string> overrides) {
  // The stack decides which names there are, wherever its own override stands.
  std::vector<Override> parsed;
  for (const std::string &text : overrides) {
    EVO_ASSIGN(Override item, parseOverride(text));
    parsed.push_back(item);
    if (item.name == "stack") {
      EVO_ASSIGN(const KeyInfo *key, resolveKey("stack", keyTable(), StackMask(~0u)));
      EVO_TRY(applyOverride(root, *key, item.value));
    }
  }
  if (parsed.empty())
    return Status::success();
  EVO_ASSIGN(const StackKind stack, readStack(root));
  for (const Override &item : parsed) {
    EVO_ASSIGN(const KeyInfo *key, resolveKey(item.name, keyTable(), maskOf(stack)));
    EVO_TRY(applyOverride(root, *key, item.value));
  }
  return Status::success();
}

void readDropout(json::FieldReader &reader, ModelSpec &spec) {
  if (!reader.find("dropout"))
    return;
  Dropout &dropout = spec.dropout.emplace();
  reader.number("dropout.msa", dropout.msa, json::kUnitOpen);
  reader.number("dropout.pair", dropout.pair, json::kUnitOpen);
}

void readOptimizer(json::FieldReader &reader, ModelSpec &spec) {
  if (!reader.find("optimizer"))
    return;
  size_t kind = 0;
  reader.choice("optimizer.kind", kind, kOptimizerNames);
  if (kind == 0) {
    Sgd sgd;
    reader.number("optimizer.lr", sgd.lr, json::kNonNegative);
    reader.number("optimizer.momentum", sgd.momentum, json::kUnitOpen);
    spec.optimizer = sgd;
    return;
  }
  AdamW adamW;
  reader.number("optimizer.lr", adamW.lr, json::kNonNegative);
  reader.number("optimizer.beta1", adamW.beta1, json::kUnitOpen);
  reader.number("optimizer.beta2", adamW.beta2, json::kUnitOpen);
  reader.number("optimizer.eps", adamW.eps, json::kPositive);
  reader.number("optimizer.weight_decay", adamW.weightDecay, json::kNonNegative);
  spec.optimizer = adamW;
}

void readLossScale(json::FieldReader &reader, ModelSpec &spec) {
  const json::Json *value = reader.find("loss_scale");
  if (!value)
    return;
  if (value->is_string() && value->get_ref<const std::string &>() == "dynamic") {
    spec.lossScale = std::nullopt;
    return;
  }
  if (!value->is_number())
    return reader.fail("loss_scale", "a number > 0 or \"dynamic\"", *value);
  reader.number("loss_scale", *spec.lossScale, json::kPositive);
}

void readPrecision(json::FieldReader &reader, ModelSpec &spec) {
  std::vector<std::string_view> names;
  for (plan::Precision p : {plan::Precision::Fp64, plan::Precision::Fp32, plan::Precision::Tf32,
                            plan::Precision::Bf16, plan::Precision::Fp16})
    names.push_back(plan::precisionName(p));
  size_t index = static_cast<size_t>(spec.precision);
  reader.choice("dtype", index, names);
  spec.precision = static_cast<plan::Precision>(index);
}

/// Epsilons and `inf` are used in the type of statistics, where they must stay what they are:
/// neither 0 nor infinite.
Status checkStatistics(const ModelSpec &spec) {
  if (plan::statisticType(spec.precision) == plan::DType::F64)
    return {};
  using Limits = std::numeric_limits<float>;
  for (auto [key, value] :
       {std::pair("opm_eps", spec.opmEps),
        std::pair("global_attention_eps", spec.globalAttentionEps), std::pair("inf", spec.inf)})
    if (value < Limits::min() || value > Limits::max()) {
      std::ostringstream text;
      text << key << ": expected a number from " << Limits::min() << " to " << Limits::max()
           << ", the range of f32, in which dtype " << plan::precisionName(spec.precision)
           << " computes it, got " << value;
      return Status::error(ErrorCode::InvalidInput, text.str());
    }
  return {};
}

/// Reads what `checkAllKeys` has found to be there and known.
Result<ModelSpec> readFields(const json::Json &root, StackKind stack) {
  ModelSpec spec;
  spec.stack = stack;
  json::FieldReader reader(root);
  reader.text("name", spec.name);
  reader.integer("blocks", spec.blocks, 1, kMaxCount);
  reader.integer("sizes.s", spec.s, 1, kMaxCount);
  reader.integer("sizes.r", spec.r, 1, kMaxCount);
  for (const MsaChannelField &field : kMsaChannels)
    reader.integer(std::string("channels.") + field.name, spec.msa.*field.member, 1, kMaxCount);
  for (const TemplateChannelField &field : kTemplateChannels)
    reader.integer(std::string("channels.") + field.name, spec.templateChannels.*field.member, 1,
                   kMaxCount);
  reader.boolean("opm_first", spec.opmFirst);
  reader.boolean("mask_transition", spec.maskTransition);
  reader.number("opm_eps", spec.opmEps, json::kPositive);
  reader.number("global_attention_eps", spec.globalAttentionEps, json::kPositive);
  reader.number("inf", spec.inf, json::kPositive);
  readPrecision(reader, spec);
  size_t mode = static_cast<size_t>(spec.mode);
  reader.choice("mode", mode, kModeNames);
  spec.mode = static_cast<plan::Mode>(mode);
  readDropout(reader, spec);
  readOptimizer(reader, spec);
  reader.boolean("master_weights", spec.masterWeights);
  readLossScale(reader, spec);
  EVO_TRY(reader.status());
  EVO_TRY(checkStatistics(spec));
  EVO_TRY(checkByteCounts(spec));
  return spec;
}

Result<ModelSpec> specFromJson(json::Json root, std::span<const std::string> overrides) {
  if (!root.is_object())
    return Status::error(ErrorCode::InvalidInput,
                         "expected a JSON object, got " + json::describe(root));
  EVO_TRY(applyOverrides(root, overrides));
  EVO_TRY(json::checkFormat(root, "evo.model/1"));
  EVO_ASSIGN(const StackKind stack, readStack(root));
  EVO_TRY(checkAllKeys(root, stack));
  return readFields(root, stack);
}
} // namespace

std::string_view stackName(StackKind kind) { return kStackNames[static_cast<size_t>(kind)]; }

std::vector<std::pair<std::string, int64_t>> ModelSpec::sizeTable() const {
  if (hasMsa())
    return {{"s", s}, {"r", r}};
  return {{"r", r}};
}

std::vector<std::pair<std::string, int64_t>> ModelSpec::channelTable() const {
  std::vector<std::pair<std::string, int64_t>> table;
  if (hasMsa())
    for (const MsaChannelField &field : kMsaChannels)
      table.emplace_back(field.name, msa.*field.member);
  else
    for (const TemplateChannelField &field : kTemplateChannels)
      table.emplace_back(field.name, templateChannels.*field.member);
  return table;
}

Result<ModelSpec> parseModelSpec(std::string_view text, std::string_view fileName,
                                 std::span<const std::string> overrides) {
  EVO_ASSIGN(json::Json root, json::parseStrict(text, fileName));
  Result<ModelSpec> spec = specFromJson(std::move(root), overrides);
  // A wrong flag is not the file's fault.
  if (!spec.ok() && spec.status().code() != ErrorCode::Usage)
    return spec.status().withContext(fileName);
  return spec;
}

Result<ModelSpec> readModelSpec(const std::string &path, std::span<const std::string> overrides) {
  EVO_ASSIGN(const std::string text, json::readTextFile(path));
  return parseModelSpec(text, path, overrides);
}

} // namespace evo::spec
