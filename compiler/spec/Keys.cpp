//===- Keys.cpp -------------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "compiler/spec/Keys.h"

#include <algorithm>
#include <array>

namespace evo::spec {

namespace {
constexpr StackMask kMain = maskOf(StackKind::Evoformer);
constexpr StackMask kExtra = maskOf(StackKind::ExtraMsa);
constexpr StackMask kTemplate = maskOf(StackKind::TemplatePair);
constexpr StackMask kMsa = kMain | kExtra;
constexpr StackMask kAll = kMsa | kTemplate;

constexpr KeyKind kObject = KeyKind::Object;
constexpr KeyKind kText = KeyKind::Text;
constexpr KeyKind kOther = KeyKind::Other;

// In the order of design: what is said in a message follows it.
constexpr KeyInfo kKeys[] = {
    {"format", kAll, kText, true},
    {"name", kAll, kText, false},
    {"stack", kAll, kText, true},
    {"blocks", kAll, kOther, true},
    {"sizes", kAll, kObject, true},
    {"sizes.s", kMsa, kOther, true},
    {"sizes.r", kAll, kOther, true},
    {"channels", kAll, kObject, true},
    {"channels.c_m", kMsa, kOther, true},
    {"channels.c_z", kMsa, kOther, true},
    {"channels.c_hidden_msa_att", kMsa, kOther, true},
    {"channels.c_hidden_opm", kMsa, kOther, true},
    {"channels.c_hidden_mul", kMsa, kOther, true},
    {"channels.c_hidden_pair_att", kMsa, kOther, true},
    {"channels.no_heads_msa", kMsa, kOther, true},
    {"channels.no_heads_pair", kMsa, kOther, true},
    {"channels.transition_n", kMsa, kOther, true},
    {"channels.c_t", kTemplate, kOther, true},
    {"channels.c_hidden_tri_att", kTemplate, kOther, true},
    {"channels.c_hidden_tri_mul", kTemplate, kOther, true},
    {"channels.no_heads", kTemplate, kOther, true},
    {"channels.pair_transition_n", kTemplate, kOther, true},
    {"opm_first", kMsa, kOther, false},
    {"mask_transition", kAll, kOther, false},
    {"opm_eps", kMsa, kOther, false},
    {"global_attention_eps", kExtra, kOther, false},
    {"inf", kAll, kOther, false},
    {"dtype", kAll, kText, false},
    {"mode", kAll, kText, false},
    {"dropout", kAll, kObject, false},
    {"dropout.msa", kMsa, kOther, false},
    {"dropout.pair", kAll, kOther, false},
    {"optimizer", kAll, kObject, false},
    {"optimizer.kind", kAll, kText, true},
    {"optimizer.lr", kAll, kOther, true},
    {"optimizer.momentum", kAll, kOther, false},
    {"optimizer.beta1", kAll, kOther, false},
    {"optimizer.beta2", kAll, kOther, false},
    {"optimizer.eps", kAll, kOther, false},
    {"optimizer.weight_decay", kAll, kOther, false},
    {"master_weights", kAll, kOther, false},
    {"loss_scale", kAll, kOther, false},
};

/// The optimizer keys that only one kind knows.
constexpr std::string_view kSgdOnly[] = {"momentum"};
constexpr std::string_view kAdamWOnly[] = {"beta1", "beta2", "eps", "weight_decay"};

bool contains(std::span<const std::string_view> names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

std::string stackList(StackMask stacks) {
  std::string list;
  for (StackKind kind : {StackKind::Evoformer, StackKind::ExtraMsa, StackKind::TemplatePair})
    if (stacks & maskOf(kind))
      list += (list.empty() ? "" : " and ") + std::string(stackName(kind));
  return list;
}

/// Says of a key that is known elsewhere where that is.
std::string elsewhere(std::string_view parent, std::string_view key, StackKind stack) {
  const StackMask own = maskOf(stack);
  for (const KeyInfo &info : kKeys)
    if (info.name() == key && info.parent() != parent && (info.stacks & own))
      return info.parent().empty() ? "it belongs at the root"
                                   : "it belongs in " + std::string(info.parent());
  for (const KeyInfo &info : kKeys)
    if (info.name() == key && info.parent() == parent && !(info.stacks & own))
      return "only " + stackList(info.stacks) + " knows it, and the stack is " +
             std::string(stackName(stack));
  return "";
}

Status checkObject(const json::Json &value, std::string_view path, StackKind stack,
                   std::span<const std::string_view> without, std::string_view withoutReason) {
  std::vector<json::KeyRule> rules;
  for (const KeyInfo &info : kKeys)
    if (info.parent() == path && (info.stacks & maskOf(stack)) && !contains(without, info.name()))
      rules.push_back({info.name(), info.required});
  return json::checkKeys(value, path, rules, [&](std::string_view key) {
    return contains(without, key) ? std::string(withoutReason) : elsewhere(path, key, stack);
  });
}
} // namespace

std::span<const KeyInfo> keyTable() { return kKeys; }

Status checkAllKeys(const json::Json &root, StackKind stack) {
  EVO_TRY(checkObject(root, "", stack, {}, ""));
  for (const KeyInfo &info : kKeys) {
    if (info.kind != KeyKind::Object || !root.contains(std::string(info.path)))
      continue;
    const json::Json &value = root.at(std::string(info.path));
    std::span<const std::string_view> without;
    std::string reason;
    if (info.path == "optimizer" && value.is_object()) {
      const std::string kind = value.contains("kind") ? json::describe(value.at("kind")) : "";
      if (kind == "\"sgd\"")
        without = kAdamWOnly, reason = "only adamw knows it, and the kind is sgd";
      else if (kind == "\"adamw\"")
        without = kSgdOnly, reason = "only sgd knows it, and the kind is adamw";
    }
    EVO_TRY(checkObject(value, info.path, stack, without, reason));
  }
  return Status::success();
}

} // namespace evo::spec
