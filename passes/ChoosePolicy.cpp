//===- ChoosePolicy.cpp - named policies ------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// A policy fixes recompute and slices; the kernel variant is the cheapest. What a policy needs is
// found by lowering and placing the whole stack with it: what is weighed is what will run.
//===----------------------------------------------------------------------===//
#include "passes/Passes.h"
#include "passes/Procedure.h"

#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;

namespace evo {

#define GEN_PASS_DEF_EVOCHOOSEPOLICY
#include "passes/Passes.h.inc"

static constexpr Policy kPolicies[] = {Policy::Auto,  Policy::Direct, Policy::Small,
                                       Policy::Large, Policy::Chunk,  Policy::Extra};

std::optional<Policy> parsePolicy(StringRef name) {
  for (Policy policy : kPolicies)
    if (policyName(policy) == name)
      return policy;
  return std::nullopt;
}

StringRef policyName(Policy policy) {
  switch (policy) {
  case Policy::Auto:
    return "auto";
  case Policy::Direct:
    return "direct";
  case Policy::Small:
    return "small";
  case Policy::Large:
    return "large";
  case Policy::Chunk:
    return "chunk";
  case Policy::Extra:
    return "extra";
  }
  return "";
}

SmallVector<Policy> policiesOf(plan::Mode mode, bool hasMsa) {
  if (mode == plan::Mode::Infer)
    return {Policy::Direct, Policy::Chunk};
  SmallVector<Policy> policies = {Policy::Direct, Policy::Small, Policy::Large, Policy::Chunk};
  if (hasMsa)
    policies.push_back(Policy::Extra);
  return policies;
}

namespace {

/// The seed's chunk of a module: 0 where it has none.
int64_t seedChunk(ir::ModuleOpInterface op) {
  return llvm::TypeSwitch<Operation *, int64_t>(op)
      .Case<ir::MsaRowAttentionOp, ir::OuterProductMeanOp, ir::TriangleAttentionOp>(
          [](auto) { return 4; })
      .Case<ir::MsaColumnAttentionOp, ir::MsaColumnGlobalAttentionOp>([](auto) { return 256; })
      .Default([](Operation *) { return 0; });
}

/// What a policy says of one module.
struct ModuleRule {
  bool sliced = false;
  ir::Keep keep = ir::Keep::Nothing;
};

ModuleRule ruleOf(ir::ModuleOpInterface op, Policy policy, plan::Mode mode) {
  bool rows = isa<ir::MsaRowAttentionOp>(op);
  bool sliced = seedChunk(op) > 0 && (policy == Policy::Chunk || (policy == Policy::Extra && rows));
  if (mode == plan::Mode::Infer)
    return {sliced, ir::Keep::Nothing};
  bool keepsInput =
      policy == Policy::Small || policy == Policy::Chunk || (policy == Policy::Extra && rows);
  return {sliced, keepsInput ? ir::Keep::Input : ir::Keep::All};
}

/// Recompute groups of a block: under `large` all of it, under `extra` what row attention divides
/// it into.
SmallVector<ir::RunAttr> groupsOf(ir::SegmentOp segment, Policy policy) {
  SmallVector<ir::RunAttr> groups;
  if (policy != Policy::Large && policy != Policy::Extra)
    return groups;
  int64_t begin = 0, index = 0;
  auto close = [&](int64_t end) {
    if (end > begin)
      groups.push_back(
          ir::RunAttr::get(segment.getContext(), begin, end - begin, ir::Axis::None, 0));
  };
  for (auto op : segment.getBody().front().getOps<ir::ModuleOpInterface>()) {
    if (policy == Policy::Extra && isa<ir::MsaRowAttentionOp>(op)) {
      close(index);
      begin = index + 1;
    }
    ++index;
  }
  close(index);
  return groups;
}

/// The cheapest variant under the rule.
Result<ir::ChoiceAttr> chooseModule(ir::ModuleOpInterface op, const ModuleRule &rule,
                                    const Target &target, plan::Precision precision,
                                    plan::Mode mode) {
  SmallVector<ir::KernelVariant> variants = op.getLegalVariants();
  if (target.plainKernels && llvm::is_contained(variants, ir::KernelVariant::Plain))
    variants = {ir::KernelVariant::Plain};
  ir::Axis axis = rule.sliced ? op.getLegalAxes().front().axis : ir::Axis::None;
  int64_t size = rule.sliced ? seedChunk(op) : 0;
  bool train = mode == plan::Mode::Train;
  ir::ChoiceAttr best;
  Candidate bestCandidate;
  for (ir::KernelVariant variant : variants) {
    auto choice = ir::ChoiceAttr::get(op->getContext(), variant, axis, size, rule.keep,
                                      train ? variant : ir::KernelVariant::Fused,
                                      train ? axis : ir::Axis::None, train ? size : 0,
                                      ir::MsaLayout::Whole, ir::PairLayout::Whole);
    if (variants.size() == 1)
      return choice;
    EVO_ASSIGN(Candidate candidate, priceCandidate(op, choice, target.profile, precision, mode));
    if (!best || std::pair(candidate.costNs, candidate.frameBytes) <
                     std::pair(bestCandidate.costNs, bestCandidate.frameBytes)) {
      best = choice;
      bestCandidate = candidate;
    }
  }
  return best;
}

/// Sets the choices and runs of a policy.
Status applyPolicy(ir::StackOp stack, Policy policy, const Target &target) {
  plan::Precision precision = getPrecision(stack.getModel());
  plan::Mode mode = getMode(stack.getModel());
  Builder builder(stack.getContext());
  for (auto segment : stack.getBody().front().getOps<ir::SegmentOp>()) {
    for (auto op : segment.getBody().front().getOps<ir::ModuleOpInterface>()) {
      EVO_ASSIGN(ir::ChoiceAttr choice,
                 chooseModule(op, ruleOf(op, policy, mode), target, precision, mode));
      op.setModuleChoice(choice);
    }
    SmallVector<Attribute> runs;
    if (mode == plan::Mode::Train)
      llvm::append_range(runs, groupsOf(segment, policy));
    if (runs.empty())
      segment.removeRunsAttr();
    else
      segment.setRunsAttr(builder.getArrayAttr(runs));
  }
  return {};
}

DictionaryAttr targetAttr(MLIRContext *context, Policy policy, const Target &target) {
  Builder builder(context);
  NamedAttrList list;
  list.set("policy", builder.getStringAttr(policyName(policy)));
  list.set("profile", builder.getStringAttr(target.profile.name));
  list.set("backend", builder.getStringAttr(target.profile.backend));
  list.set("budget_bytes", builder.getI64IntegerAttr(target.budgetBytes));
  list.set("library_bytes", builder.getI64IntegerAttr(target.profile.libraryBytes));
  return list.getDictionary(context);
}

} // namespace

Result<plan::Summary> measureStack(ModuleOp chosen, const Target &target) {
  std::string reason;
  ScopedDiagnosticHandler handler(chosen.getContext(), [&](Diagnostic &diagnostic) {
    reason += (reason.empty() ? "" : "; ") + diagnostic.str();
    return success();
  });
  OwningOpRef<ModuleOp> module = chosen.clone();
  if (failed(lowerToKern(*module)))
    return Status::error(ErrorCode::Internal, reason);
  plan::Precision precision = getPrecision((*module)->getAttrOfType<DictionaryAttr>(kModelAttr));
  for (auto procedure : module->getOps<kern::ProcedureOp>()) {
    EVO_ASSIGN([[maybe_unused]] int64_t cost, annotateCost(procedure, target.profile, precision));
    if (failed(assignBuffers(procedure)))
      return Status::error(ErrorCode::Internal, reason);
    freeBuffers(procedure);
    if (failed(placeFrame(procedure)))
      return Status::error(ErrorCode::InvalidInput, reason);
  }
  if (failed(placeCalls(*module)))
    return Status::error(ErrorCode::InvalidInput, reason);
  EVO_ASSIGN(plan::Plan plan, emitPlan(*module));
  return plan.summary;
}

Result<Policy> choosePolicy(ModuleOp module, Policy policy, const Target &target) {
  auto stacks = module.getOps<ir::StackOp>();
  if (!llvm::hasSingleElement(stacks))
    return Status::error(ErrorCode::InvalidInput, "expected one evo.stack in the module");
  ir::StackOp stack = *stacks.begin();
  plan::Mode mode = getMode(stack.getModel());
  bool hasMsa =
      llvm::is_contained(llvm::to_vector(stack.getTensors().getAsValueRange<StringAttr>()), "m");
  SmallVector<Policy> tried = policiesOf(mode, hasMsa);
  if (policy != Policy::Auto && !llvm::is_contained(tried, policy)) {
    std::string list = "auto";
    for (Policy each : tried)
      list += ", " + policyName(each).str();
    return Status::error(ErrorCode::Unsupported,
                         "policy " + policyName(policy).str() + " is not one of " +
                             std::string(plan::modeName(mode)) + " mode for this stack: " + list);
  }
  if (policy != Policy::Auto)
    tried = {policy};
  std::optional<Policy> best;
  double bestMs = 0;
  std::string needs;
  int64_t smallest = INT64_MAX;
  for (Policy candidate : tried) {
    EVO_TRY(applyPolicy(stack, candidate, target));
    module->setAttr(kTargetAttr, targetAttr(module.getContext(), candidate, target));
    EVO_ASSIGN(plan::Summary summary, measureStack(module, target));
    needs += (needs.empty() ? "" : ", ") + policyName(candidate).str() + " " +
             std::to_string(summary.predictedPeakBytes);
    smallest = std::min(smallest, summary.predictedPeakBytes);
    if (summary.predictedPeakBytes <= target.budgetBytes &&
        (!best || summary.predictedMs < bestMs)) {
      best = candidate;
      bestMs = summary.predictedMs;
    }
  }
  if (!best)
    return Status::error(ErrorCode::Infeasible,
                         "no plan of policy " + policyName(policy).str() + " fits in " +
                             std::to_string(target.budgetBytes) +
                             " bytes: needed by policy: " + needs +
                             " bytes; the smallest feasible budget is " + std::to_string(smallest) +
                             " bytes; give more --memory, a smaller type or sizes");
  EVO_TRY(applyPolicy(stack, *best, target));
  module->setAttr(kTargetAttr, targetAttr(module.getContext(), *best, target));
  return *best;
}

namespace {
struct EvoChoosePolicyPass : impl::EvoChoosePolicyBase<EvoChoosePolicyPass> {
  using EvoChoosePolicyBase::EvoChoosePolicyBase;
  void runOnOperation() override {
    ModuleOp module = getOperation();
    std::optional<Policy> named = parsePolicy(policy.getValue());
    if (!named) {
      module.emitError() << "expected policy auto, direct, small, large, chunk or extra, got "
                         << policy.getValue();
      return signalPassFailure();
    }
    if (kernels != "all" && kernels != "plain") {
      module.emitError() << "expected kernels all or plain, got " << kernels.getValue();
      return signalPassFailure();
    }
    Result<cost::DeviceProfile> device = loadProfile(profile);
    if (!device) {
      module.emitError() << device.status().message();
      return signalPassFailure();
    }
    Target target{*device, memory ? memory : device->memoryBytes, kernels == "plain"};
    Result<Policy> chosen = choosePolicy(module, *named, target);
    if (!chosen) {
      module.emitError() << chosen.status().message();
      return signalPassFailure();
    }
  }
};
} // namespace

} // namespace evo
