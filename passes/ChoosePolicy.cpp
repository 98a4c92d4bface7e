//===- ChoosePolicy.cpp - named policies ------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// A policy fixes the slices; the kernel variant is the cheapest. What a policy needs is the sum of
// what its candidates need, each lowered and packed alone, which is what the plan will hold.
//===----------------------------------------------------------------------===//
#include "passes/Passes.h"
#include "passes/Procedure.h"

#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;

namespace evo {

#define GEN_PASS_DEF_EVOCHOOSEPOLICY
#include "passes/Passes.h.inc"

std::optional<Policy> parsePolicy(StringRef name) {
  for (Policy policy : {Policy::Auto, Policy::Direct, Policy::Chunk, Policy::Small})
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
  case Policy::Chunk:
    return "chunk";
  case Policy::Small:
    return "small";
  }
  return "";
}

ArrayRef<Policy> policiesOf(plan::Mode mode) {
  static constexpr Policy infer[] = {Policy::Direct, Policy::Chunk};
  static constexpr Policy train[] = {Policy::Small};
  return mode == plan::Mode::Infer ? ArrayRef(infer) : ArrayRef(train);
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

struct Chosen {
  ir::ChoiceAttr choice;
  Candidate candidate;
};

/// What a policy comes to for a whole stack.
struct Outcome {
  Policy policy = Policy::Direct;
  std::vector<std::pair<ir::ModuleOpInterface, ir::ChoiceAttr>> choices;
  int64_t costNs = 0;
  int64_t peakBytes = 0;
};

Result<Chosen> chooseModule(ir::ModuleOpInterface op, Policy policy, const Target &target,
                            plan::Precision precision) {
  ir::Axis axis = ir::Axis::None;
  int64_t size = policy == Policy::Chunk ? seedChunk(op) : 0;
  if (size > 0)
    axis = op.getLegalAxes().front().axis;
  SmallVector<ir::KernelVariant> variants = op.getLegalVariants();
  if (target.plainKernels && llvm::is_contained(variants, ir::KernelVariant::Plain))
    variants = {ir::KernelVariant::Plain};
  std::optional<Chosen> best;
  plan::Mode mode = policy == Policy::Small ? plan::Mode::Train : plan::Mode::Infer;
  for (ir::KernelVariant variant : variants) {
    auto choice = mode == plan::Mode::Train
                      ? ir::ChoiceAttr::get(op->getContext(), variant, ir::Keep::Input, variant)
                      : ir::ChoiceAttr::get(op->getContext(), variant, axis, size);
    EVO_ASSIGN(Candidate candidate, priceCandidate(op, choice, target.profile, precision, mode));
    bool better = !best || std::pair(candidate.costNs, candidate.frameBytes) <
                               std::pair(best->candidate.costNs, best->candidate.frameBytes);
    if (better)
      best = Chosen{choice, candidate};
  }
  return *best;
}

Status overflow() {
  return Status::error(ErrorCode::InvalidInput, "the plan's bytes or nanoseconds exceed 2^63");
}

/// Arena, static and library bytes of a stack whose largest frame is `frame` and that keeps
/// `saved`.
Result<int64_t> totalBytes(ir::StackOp stack, int64_t frame, int64_t saved, const Target &target,
                           plan::Precision precision) {
  bool train = getMode(stack.getModel()) == plan::Mode::Train;
  SmallVector<Type> types(stack.getBody().getArgumentTypes());
  for (auto [name, type] : llvm::zip_equal(stack.getTensors().getAsValueRange<StringAttr>(),
                                           stack.getBody().getArgumentTypes()))
    if (train && isStream(name))
      types.push_back(type);
  EVO_ASSIGN(int64_t total, tensorBytes(types));
  // Weights do not depend on the choice: the default procedure of each module names them all.
  OwningOpRef<ModuleOp> scratch = ModuleOp::create(stack.getLoc());
  OpBuilder builder = OpBuilder::atBlockEnd(scratch->getBody());
  SmallVector<kern::ProcedureOp> procedures;
  auto segment = *stack.getBody().front().getOps<ir::SegmentOp>().begin();
  for (Operation &op : segment.getBody().front())
    if (auto module = dyn_cast<ir::ModuleOpInterface>(op))
      procedures.push_back(emitProcedure(
          builder, module, ir::ChoiceAttr::get(op.getContext(), module.getLegalVariants().front()),
          "weights", precision));
  EVO_ASSIGN(WeightTable table, collectWeights(procedures, plan::statisticType(precision)));
  int64_t blocks = 0, staticBytes = 0;
  for (auto each : stack.getBody().front().getOps<ir::SegmentOp>())
    blocks += each.getCount();
  int64_t blockBytes = table.blockBytes;
  if ((train && __builtin_add_overflow(blockBytes, table.gradientBytes, &blockBytes)) ||
      __builtin_mul_overflow(blockBytes, blocks, &staticBytes) ||
      __builtin_add_overflow(total, frame, &total) ||
      __builtin_add_overflow(total, saved, &total) ||
      __builtin_add_overflow(total, staticBytes, &total) ||
      __builtin_add_overflow(total, target.profile.libraryBytes, &total))
    return overflow();
  return total;
}

Result<Outcome> evaluate(ir::StackOp stack, Policy policy, const Target &target) {
  Outcome outcome;
  outcome.policy = policy;
  plan::Precision precision = getPrecision(stack.getModel());
  int64_t frame = 0, saved = 0;
  for (auto segment : stack.getBody().front().getOps<ir::SegmentOp>())
    for (Operation &op : segment.getBody().front()) {
      auto module = dyn_cast<ir::ModuleOpInterface>(op);
      if (!module)
        continue;
      EVO_ASSIGN(Chosen chosen, chooseModule(module, policy, target, precision));
      outcome.choices.emplace_back(module, chosen.choice);
      frame = std::max(frame, chosen.candidate.frameBytes);
      int64_t cost = 0, kept = 0;
      if (__builtin_mul_overflow(chosen.candidate.savedBytes,
                                 static_cast<int64_t>(segment.getCount()), &kept) ||
          __builtin_add_overflow(saved, kept, &saved) ||
          __builtin_mul_overflow(chosen.candidate.costNs, static_cast<int64_t>(segment.getCount()),
                                 &cost) ||
          __builtin_add_overflow(outcome.costNs, cost, &outcome.costNs))
        return overflow();
    }
  EVO_ASSIGN(outcome.peakBytes, totalBytes(stack, frame, saved, target, precision));
  return outcome;
}

DictionaryAttr targetAttr(MLIRContext *context, const Outcome &outcome, const Target &target) {
  Builder builder(context);
  NamedAttrList list;
  list.set("policy", builder.getStringAttr(policyName(outcome.policy)));
  list.set("profile", builder.getStringAttr(target.profile.name));
  list.set("backend", builder.getStringAttr(target.profile.backend));
  list.set("budget_bytes", builder.getI64IntegerAttr(target.budgetBytes));
  list.set("library_bytes", builder.getI64IntegerAttr(target.profile.libraryBytes));
  return list.getDictionary(context);
}

} // namespace

Result<Policy> choosePolicy(ModuleOp module, Policy policy, const Target &target) {
  auto stacks = module.getOps<ir::StackOp>();
  if (!llvm::hasSingleElement(stacks))
    return Status::error(ErrorCode::InvalidInput, "expected one evo.stack in the module");
  ir::StackOp stack = *stacks.begin();
  std::vector<Policy> tried = {policy};
  plan::Mode mode = getMode(stack.getModel());
  ArrayRef<Policy> legal = policiesOf(mode);
  if (policy == Policy::Auto)
    tried.assign(legal.begin(), legal.end());
  else if (!llvm::is_contained(legal, policy)) {
    std::string names = "auto";
    for (Policy each : legal)
      names += ", " + policyName(each).str();
    return Status::error(ErrorCode::Unsupported,
                         "policy " + policyName(policy).str() + " is not one of " +
                             std::string(plan::modeName(mode)) + " mode: " + names);
  }
  std::optional<Outcome> best;
  std::string needs;
  int64_t smallest = INT64_MAX;
  for (Policy candidate : tried) {
    EVO_ASSIGN(Outcome outcome, evaluate(stack, candidate, target));
    needs += (needs.empty() ? "" : ", ") + policyName(candidate).str() + " " +
             std::to_string(outcome.peakBytes);
    smallest = std::min(smallest, outcome.peakBytes);
    if (outcome.peakBytes <= target.budgetBytes && (!best || outcome.costNs < best->costNs))
      best = std::move(outcome);
  }
  if (!best)
    return Status::error(ErrorCode::Infeasible,
                         "no plan of policy " + policyName(policy).str() + " fits in " +
                             std::to_string(target.budgetBytes) +
                             " bytes: needed by policy: " + needs +
                             " bytes; the smallest feasible budget is " + std::to_string(smallest) +
                             " bytes; give more --memory, a smaller type or sizes");
  for (auto &[op, choice] : best->choices)
    op.setModuleChoice(choice);
  module->setAttr(kTargetAttr, targetAttr(module.getContext(), *best, target));
  return best->policy;
}

namespace {
struct EvoChoosePolicyPass : impl::EvoChoosePolicyBase<EvoChoosePolicyPass> {
  using EvoChoosePolicyBase::EvoChoosePolicyBase;
  void runOnOperation() override {
    ModuleOp module = getOperation();
    std::optional<Policy> named = parsePolicy(policy.getValue());
    if (!named) {
      module.emitError() << "expected policy auto, direct, chunk or small, got "
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
