//===- PolicyRules.cpp ------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "passes/PolicyRules.h"

#include "llvm/ADT/STLExtras.h"

#include <functional>

namespace evo {

namespace {

/// What a policy is for, beside what every specification has.
struct Rule {
  std::string_view name;
  bool training = false; ///< in training only
  bool msa = false;      ///< in stacks with an MSA only
  bool devices = false;  ///< on several devices only
};

constexpr Rule kRules[] = {
    {"auto"},
    {"direct"},
    {"small", true},
    {"large", true},
    {"chunk"},
    {"extra", true, true},
    {"dap", false, false, true},
    {"dap+chunk", false, false, true},
    {"dap+small", true, false, true},
    {"dap+large", true, false, true},
};

/// "a, b or c" of the rules that `allowed` takes.
std::string listOf(const std::function<bool(const Rule &)> &allowed) {
  std::vector<std::string_view> names;
  for (const Rule &rule : kRules)
    if (allowed(rule))
      names.push_back(rule.name);
  std::string list;
  for (size_t i = 0; i < names.size(); ++i)
    list.append(i == 0 ? "" : i + 1 == names.size() ? " or " : ", ").append(names[i]);
  return list;
}

Status usage(const std::string &message) { return Status::error(ErrorCode::Usage, message); }

} // namespace

Status checkPolicyName(std::string_view name) {
  for (const Rule &rule : kRules)
    if (rule.name == name)
      return {};
  return usage("--policy: expected " + listOf([](const Rule &) { return true; }) + ", got '" +
               std::string(name) + "'");
}

Result<Policy> resolvePolicy(std::string_view name, const spec::ModelSpec &spec, int64_t devices) {
  EVO_TRY(checkPolicyName(name));
  bool training = spec.mode == plan::Mode::Train;
  auto allowed = [&](const Rule &rule) {
    return (training || !rule.training) && (spec.hasMsa() || !rule.msa) &&
           (devices > 1 || !rule.devices);
  };
  for (const Rule &rule : kRules)
    if (rule.name == name && !allowed(rule))
      return usage("--policy: a plan of " + std::string(spec::stackName(spec.stack)) + " for " +
                   (training ? "training" : "inference") + " on " + std::to_string(devices) +
                   (devices == 1 ? " device" : " devices") + ": expected " + listOf(allowed) +
                   ", got '" + std::string(name) + "'");
  std::optional<Policy> policy = parsePolicy(llvm::StringRef(name.data(), name.size()));
  llvm::SmallVector<Policy> known = policiesOf(spec.mode, spec.hasMsa());
  if (policy == Policy::Auto || (policy && llvm::is_contained(known, *policy)))
    return *policy;
  std::string list = "auto";
  for (Policy each : known)
    list += ", " + policyName(each).str();
  return Status::error(ErrorCode::Unsupported,
                       "--policy: for " + std::string(training ? "training" : "inference") +
                           " this version has " + list + "; got '" + std::string(name) + "'");
}

} // namespace evo
