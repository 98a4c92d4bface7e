//===- ChoosePolicy.cpp - named policies ------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// A policy fixes recompute and slices; the kernel variant is the cheapest. What a policy needs is
// found by lowering and placing the whole stack with it: what is weighed is what will run.
//===----------------------------------------------------------------------===//
#include "passes/Passes.h"
#include "passes/Procedure.h"
#include "passes/Search.h"
#include "runtime/plan/ProductJson.h"
#include "runtime/plan/Timeline.h"

#include "llvm/ADT/TypeSwitch.h"

#include <chrono>
#include <cmath>

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

DictionaryAttr targetAttr(MLIRContext *context, Policy policy, const Target &target,
                          plan::Precision precision) {
  Builder builder(context);
  NamedAttrList list;
  list.set("policy", builder.getStringAttr(policyName(policy)));
  list.set("profile", builder.getStringAttr(target.profile.name));
  if (target.profile.measured)
    list.set("profile_device", builder.getStringAttr(target.profile.measured->device));
  list.set("backend", builder.getStringAttr(target.profile.backend));
  list.set("budget_bytes", builder.getI64IntegerAttr(target.budgetBytes));
  list.set("library_bytes", builder.getI64IntegerAttr(target.profile.libraryBytes));
  if (target.profile.workspaceBytes > 0)
    list.set(kWorkspaceBytesKey, builder.getI64IntegerAttr(target.profile.workspaceBytes));
  plan::ProductTable products = plan::productsOf(target.profile.products, precision);
  if (!products.empty())
    list.set(kProductsKey, builder.getStringAttr(plan::printProducts(products)));
  return list.getDictionary(context);
}

} // namespace

Result<plan::Plan> planOf(ModuleOp chosen, const Target &target) {
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
  return emitPlan(*module);
}

//===----------------------------------------------------------------------===//
// Named policies
//===----------------------------------------------------------------------===//

namespace {

/// One stack and what it is planned for.
class Chooser {
public:
  Chooser(ModuleOp module, ir::StackOp stack, const Target &target)
      : module(module), stack(stack), target(target), mode(getMode(stack.getModel())) {}

  Result<Policy> named(Policy policy);
  Result<Policy> search(SearchReport &report);
  Result<Sweep> sweep();

private:
  void setTarget(Policy policy) {
    module->setAttr(kTargetAttr, targetAttr(module.getContext(), policy, target,
                                            getPrecision(stack.getModel())));
  }
  Status apply(Policy policy);
  Result<plan::Plan> measure(Policy policy);
  Result<ScheduleSearch> makeSearch(std::vector<PolicyNeed> &needs, double &recordsMs);
  SmallVector<Policy> policies() const;
  Status infeasible(Policy policy, ArrayRef<PolicyNeed> needs, int64_t least,
                    const std::string &reason) const;
  Result<std::string> reasonFor(const ScheduleSearch &search, int64_t budgetBytes);

  ModuleOp module;
  ir::StackOp stack;
  const Target &target;
  plan::Mode mode;
};

} // namespace

static Result<ir::StackOp> onlyStack(ModuleOp module) {
  auto stacks = module.getOps<ir::StackOp>();
  if (!llvm::hasSingleElement(stacks))
    return Status::error(ErrorCode::InvalidInput, "expected one evo.stack in the module");
  return *stacks.begin();
}

SmallVector<Policy> Chooser::policies() const {
  ir::StackOp op = stack;
  return policiesOf(mode, llvm::is_contained(
                              llvm::to_vector(op.getTensors().getAsValueRange<StringAttr>()), "m"));
}

Status Chooser::apply(Policy policy) {
  EVO_TRY(applyPolicy(stack, policy, target));
  setTarget(policy);
  return {};
}

Result<plan::Plan> Chooser::measure(Policy policy) {
  EVO_TRY(apply(policy));
  return planOf(module, target);
}

static PolicyNeed needOf(Policy policy, const plan::Plan &plan) {
  return {policy, plan.summary.predictedPeakBytes, plan.summary.predictedMs};
}

/// What a plan's peak consists of: the module and the tensors that are alive there.
static std::string reasonOf(const plan::Plan &plan) {
  std::optional<plan::PlanPeak> peak = plan::planPeak(plan);
  if (!peak)
    return "";
  const plan::Call &call = plan.programs[peak->program].runs[peak->run].calls[peak->call];
  const plan::Procedure &procedure = plan.procedures[call.procedure];
  std::string text = ", of which " + procedure.module + " (" + procedure.choice + ") holds ";
  for (size_t i = 0; i < peak->moment.live.size(); ++i) {
    const plan::Buffer &buffer = procedure.buffers[peak->moment.live[i]];
    text += (i ? ", " : "") + buffer.name + " " + std::to_string(plan::alignTo(buffer.bytes));
  }
  int64_t workspace = plan::workspaceBytes(plan);
  text += ", streams and masks " + std::to_string(plan::slotBytes(plan) - workspace);
  if (workspace > 0)
    text += ", workspace of the kernels " + std::to_string(workspace);
  if (int64_t kept = call.frameOffset - plan::slotBytes(plan); kept > 0)
    text += ", kept tensors " + std::to_string(kept);
  return text + ", weights and their state " + std::to_string(plan.summary.staticBytes) +
         ", libraries " + std::to_string(plan.summary.libraryBytes);
}

Status Chooser::infeasible(Policy policy, ArrayRef<PolicyNeed> needs, int64_t least,
                           const std::string &reason) const {
  std::string list;
  for (const PolicyNeed &need : needs)
    list += (list.empty() ? "" : ", ") + policyName(need.policy).str() + " " +
            std::to_string(need.peakBytes);
  return Status::error(
      ErrorCode::Infeasible,
      "no plan of policy " + policyName(policy).str() + " fits in " +
          std::to_string(target.budgetBytes) + " bytes: needed by policy: " + list +
          " bytes; the smallest feasible budget is " + std::to_string(least) + " bytes" + reason +
          "; give more --memory, a smaller type (--dtype), smaller sizes or more devices");
}

Result<Policy> Chooser::named(Policy policy) {
  SmallVector<Policy> known = policies();
  if (!llvm::is_contained(known, policy)) {
    std::string list = "auto";
    for (Policy each : known)
      list += ", " + policyName(each).str();
    return Status::error(ErrorCode::Unsupported,
                         "policy " + policyName(policy).str() + " is not one of " +
                             std::string(plan::modeName(mode)) + " mode for this stack: " + list);
  }
  EVO_ASSIGN(plan::Plan plan, measure(policy));
  PolicyNeed need = needOf(policy, plan);
  if (need.peakBytes > target.budgetBytes)
    return infeasible(policy, {need}, need.peakBytes, " for this policy" + reasonOf(plan));
  return policy;
}

//===----------------------------------------------------------------------===//
// The search
//===----------------------------------------------------------------------===//

static double millisecondsSince(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start)
      .count();
}

/// Measures the named policies, for comparison, and makes the search. What every plan has beside
/// kept tensors and frames is the same whatever the policy.
Result<ScheduleSearch> Chooser::makeSearch(std::vector<PolicyNeed> &needs, double &recordsMs) {
  plan::Plan plan; // of any of them
  for (Policy policy : policies()) {
    EVO_ASSIGN(plan, measure(policy));
    needs.push_back(needOf(policy, plan));
  }
  ScheduleSearch::Fixed fixed;
  fixed.bytes = plan.summary.predictedPeakBytes - plan.arenaBytes + plan::slotBytes(plan);
  for (const plan::Program &program : plan.programs)
    for (const plan::BlockRun &run : program.runs)
      for (const plan::Call &call : run.calls)
        if (program.phase == plan::Phase::Optimizer)
          fixed.costNs += run.blockCount * plan.procedures[call.procedure].costNs;
  auto start = std::chrono::steady_clock::now();
  EVO_ASSIGN(ScheduleSearch search, ScheduleSearch::create(stack, target, fixed));
  recordsMs = millisecondsSince(start);
  return search;
}

/// Why the smallest budget is what it is.
Result<std::string> Chooser::reasonFor(const ScheduleSearch &search, int64_t budgetBytes) {
  EVO_ASSIGN(schedule::Solution solution, search.solve(budgetBytes));
  EVO_TRY(search.apply(stack, solution));
  EVO_ASSIGN(plan::Plan plan, planOf(module, target));
  return reasonOf(plan);
}

Result<Policy> Chooser::search(SearchReport &report) {
  std::chrono::steady_clock::time_point start;
  Result<ScheduleSearch> search = makeSearch(report.named, report.recordsMs);
  if (!search && search.status().code() != ErrorCode::Unsupported)
    return search.status();
  if (!search)
    report.noSearch = search.status().message();
  const PolicyNeed *best = nullptr;
  int64_t least = INT64_MAX;
  for (const PolicyNeed &need : report.named) {
    least = std::min(least, need.peakBytes);
    if (need.peakBytes <= target.budgetBytes && (!best || need.predictedMs < best->predictedMs))
      best = &need;
  }
  std::string reason;
  start = std::chrono::steady_clock::now();
  if (search) {
    report.leastBudgetBytes = search->leastBudget();
    least = std::min(least, report.leastBudgetBytes);
    report.records = static_cast<int64_t>(search->stackProblem().records.size());
    if (report.leastBudgetBytes <= target.budgetBytes) {
      EVO_ASSIGN(schedule::Solution solution, search->solve(target.budgetBytes));
      report.lowerBoundNs = search->lowerBoundNs();
      report.granuleBytes = solution.plan.frameGranule;
      report.lossBytes = solution.lossBytes;
      EVO_TRY(search->setTighter(solution, report));
      report.searchMs = millisecondsSince(start);
      if (!best || static_cast<double>(search->costNs(solution)) / 1e6 <= best->predictedMs) {
        EVO_TRY(search->apply(stack, solution));
        setTarget(Policy::Auto);
        return Policy::Auto;
      }
    } else if (!best) {
      EVO_ASSIGN(reason, reasonFor(*search, report.leastBudgetBytes));
    }
  }
  report.searchMs = millisecondsSince(start);
  if (!best && !search) {
    Policy smallest = std::min_element(report.named.begin(), report.named.end(),
                                       [](const PolicyNeed &a, const PolicyNeed &b) {
                                         return a.peakBytes < b.peakBytes;
                                       })
                          ->policy;
    EVO_ASSIGN(plan::Plan plan, measure(smallest));
    reason = " by a named policy, " + policyName(smallest).str() + reasonOf(plan) +
             "; there was no search: " + report.noSearch;
  }
  if (!best)
    return infeasible(Policy::Auto, report.named, least, reason);
  EVO_TRY(apply(best->policy));
  return best->policy;
}

Result<Sweep> Chooser::sweep() {
  auto start = std::chrono::steady_clock::now();
  Sweep sweep;
  double recordsMs = 0;
  EVO_ASSIGN(ScheduleSearch search, makeSearch(sweep.named, recordsMs));
  std::vector<schedule::FrontierPoint> named;
  for (const PolicyNeed &need : sweep.named)
    named.push_back({need.peakBytes, std::llround(need.predictedMs * 1e6)});
  EVO_ASSIGN(std::vector<schedule::FrontierPoint> frontier, search.frontier(named));
  for (const schedule::FrontierPoint &step : frontier)
    sweep.steps.push_back({step.bytes, step.costNs});
  sweep.lowerBoundNs = search.lowerBoundNs();
  sweep.searchMs = millisecondsSince(start);
  return sweep;
}

Result<Policy> choosePolicy(ModuleOp module, Policy policy, const Target &target,
                            SearchReport *report) {
  EVO_ASSIGN(ir::StackOp stack, onlyStack(module));
  stack.removeRecomputeAttr();
  Chooser chooser(module, stack, target);
  if (policy != Policy::Auto)
    return chooser.named(policy);
  SearchReport own;
  return chooser.search(report ? *report : own);
}

Result<Sweep> sweepBudgets(ModuleOp module, const Target &target) {
  EVO_ASSIGN(ir::StackOp stack, onlyStack(module));
  stack.removeRecomputeAttr();
  return Chooser(module, stack, target).sweep();
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
