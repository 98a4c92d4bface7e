//===- Compile.cpp ----------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "passes/Compile.h"
#include "passes/Procedure.h"
#include "runtime/plan/PlanJson.h"
#include "runtime/plan/Verify.h"

#include "mlir/Pass/PassManager.h"
#include "llvm/Support/raw_ostream.h"

using namespace mlir;

namespace evo {

/// Runs passes; their diagnostics become the error.
static Status runPasses(ModuleOp module, llvm::function_ref<void(PassManager &)> add) {
  std::string reason;
  ScopedDiagnosticHandler handler(module.getContext(), [&](Diagnostic &diagnostic) {
    reason += (reason.empty() ? "" : "; ") + diagnostic.str();
    return success();
  });
  PassManager manager(module.getContext());
  add(manager);
  if (failed(manager.run(module)))
    return Status::error(ErrorCode::Internal, reason);
  return {};
}

static std::string printModule(ModuleOp module) {
  std::string text;
  llvm::raw_string_ostream stream(text);
  module.print(stream);
  stream << '\n';
  return text;
}

static std::vector<ModuleReport> collectReports(ModuleOp module) {
  std::vector<ModuleReport> reports;
  module.walk([&](ir::SegmentOp segment) {
    for (Operation &op : segment.getBody().front()) {
      auto moduleOp = dyn_cast<ir::ModuleOpInterface>(op);
      auto estimate = op.getAttrOfType<DictionaryAttr>("estimate");
      if (!moduleOp || !estimate)
        continue;
      ModuleReport report;
      report.firstBlock = segment.getFirst();
      report.blockCount = segment.getCount();
      report.name = moduleOp.getParameterPrefix().str();
      report.choice = choiceText(moduleOp.getModuleChoice());
      report.dominant = estimate.getAs<StringAttr>("dominant").str();
      report.dominantBytes = estimate.getAs<IntegerAttr>("dominant_bytes").getInt();
      report.frameBytes = estimate.getAs<IntegerAttr>("frame_bytes").getInt();
      report.costNs = estimate.getAs<IntegerAttr>("cost_ns").getInt();
      reports.push_back(std::move(report));
    }
  });
  return reports;
}

Result<Compilation> compile(const spec::ModelSpec &spec, const CompileOptions &options,
                            MLIRContext &context) {
  OwningOpRef<ModuleOp> module = importSpecification(spec, &context);
  Compilation result;
  if (options.policy == Policy::Auto)
    result.search.emplace();
  EVO_ASSIGN([[maybe_unused]] Policy policy,
             choosePolicy(*module, options.policy, options.target,
                          result.search ? &*result.search : nullptr));
  result.requestedPolicy = policyName(options.policy).str();
  result.profileKind = options.target.profile.kindText(spec.precision);
  EVO_TRY(runPasses(*module, [&](PassManager &manager) {
    EvoEstimateMemoryOptions estimate;
    estimate.profile = options.profileSource;
    manager.addPass(createEvoEstimateMemory(estimate));
  }));
  result.modules = collectReports(*module);
  if (options.emit == EmitKind::Evo)
    result.text = printModule(*module);
  EVO_TRY(runPasses(*module, [&](PassManager &manager) {
    buildLoweringPipeline(manager, options.profileSource);
  }));
  if (options.emit == EmitKind::Kern)
    result.text = printModule(*module);
  EVO_ASSIGN(result.plan, emitPlan(*module));
  // The verifier shares no code with the passes: what it refuses is a defect of ours.
  EVO_TRY(plan::checkPlan(result.plan).withContext("evo-opt made a plan that does not verify"));
  if (options.emit == EmitKind::Plan) {
    EVO_ASSIGN(result.text, plan::printPlan(result.plan));
  }
  return result;
}

} // namespace evo
