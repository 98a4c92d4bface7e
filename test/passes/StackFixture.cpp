//===- StackFixture.cpp -----------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "test/passes/StackFixture.h"

#include "mlir/IR/Diagnostics.h"
#include "mlir/Pass/PassManager.h"

using namespace mlir;

namespace evo::test {

spec::ModelSpec smallSpec(spec::StackKind stack, int64_t s, int64_t r) {
  spec::ModelSpec spec;
  spec.name = "small";
  spec.stack = stack;
  spec.blocks = 3;
  spec.s = spec.hasMsa() ? s : 0;
  spec.r = r;
  spec.msa = {.cM = 6,
              .cZ = 5,
              .cHiddenMsaAtt = 3,
              .cHiddenOpm = 2,
              .cHiddenMul = 7,
              .cHiddenPairAtt = 4,
              .noHeadsMsa = 2,
              .noHeadsPair = 3,
              .transitionN = 4};
  spec.templateChannels = {
      .cT = 6, .cHiddenTriAtt = 3, .cHiddenTriMul = 5, .noHeads = 2, .pairTransitionN = 2};
  return spec;
}

std::vector<ir::ChoiceAttr> legalChoices(ir::ModuleOpInterface op) {
  std::vector<ir::ChoiceAttr> choices;
  for (ir::KernelVariant variant : op.getLegalVariants()) {
    choices.push_back(ir::ChoiceAttr::get(op->getContext(), variant));
    for (const ir::SliceAxis &axis : op.getLegalAxes())
      for (int64_t size : {int64_t{1}, int64_t{2}, int64_t{3}, axis.extent, axis.extent + 3})
        choices.push_back(ir::ChoiceAttr::get(op->getContext(), variant, axis.axis, size));
  }
  return choices;
}

std::vector<ir::ChoiceAttr> trainingChoices(ir::ModuleOpInterface op) {
  std::vector<std::pair<ir::Axis, int64_t>> slices = {{ir::Axis::None, 0}};
  for (const ir::SliceAxis &axis : op.getLegalAxes())
    slices.emplace_back(axis.axis, 2);
  std::vector<ir::ChoiceAttr> choices;
  for (ir::KernelVariant forward : op.getLegalVariants())
    for (ir::KernelVariant backward : op.getLegalVariants())
      for (auto [axis, size] : slices)
        choices.push_back(ir::ChoiceAttr::get(op->getContext(), forward, axis, size,
                                              ir::Keep::Input, backward, ir::Axis::None, 0,
                                              ir::MsaLayout::Whole, ir::PairLayout::Whole));
  return choices;
}

std::vector<ir::ModuleOpInterface> modulesOf(ModuleOp module) {
  std::vector<ir::ModuleOpInterface> modules;
  module.walk([&](ir::ModuleOpInterface op) { modules.push_back(op); });
  return modules;
}

void splitSegment(ModuleOp module) {
  auto segment = *(*module.getOps<ir::StackOp>().begin()).getBody().getOps<ir::SegmentOp>().begin();
  OpBuilder builder(segment);
  builder.setInsertionPointAfter(segment);
  auto rest = cast<ir::SegmentOp>(builder.clone(*segment.getOperation()));
  int64_t count = segment.getCount();
  segment.setCount(1);
  rest.setFirst(1);
  rest.setCount(count - 1);
  segment->replaceAllUsesWith(rest->getResults());
  rest->setOperands(segment->getResults());
}

void setTarget(ModuleOp module) {
  Builder builder(module.getContext());
  NamedAttrList target;
  target.set("policy", builder.getStringAttr("by hand"));
  target.set("profile", builder.getStringAttr("test"));
  target.set("backend", builder.getStringAttr("cpu"));
  target.set("budget_bytes", builder.getI64IntegerAttr(int64_t{1} << 40));
  target.set("library_bytes", builder.getI64IntegerAttr(0));
  module->setAttr(kTargetAttr, target.getDictionary(module.getContext()));
}

Result<plan::Plan> lowerToPlan(ModuleOp module) {
  std::string reason;
  ScopedDiagnosticHandler handler(module.getContext(), [&](Diagnostic &diagnostic) {
    reason += diagnostic.str() + "; ";
    return success();
  });
  PassManager manager(module.getContext());
  buildLoweringPipeline(manager, "cpu");
  if (failed(manager.run(module)))
    return Status::error(ErrorCode::Internal, reason);
  return emitPlan(module);
}

Result<Prediction> predict(ModuleOp module) {
  auto stack = *module.getOps<ir::StackOp>().begin();
  plan::Mode mode = getMode(stack.getModel());
  EVO_ASSIGN(cost::DeviceProfile profile, loadProfile("cpu"));
  SmallVector<Type> types(stack.getBody().getArgumentTypes());
  for (auto [name, type] : llvm::zip_equal(stack.getTensors().getAsValueRange<StringAttr>(),
                                           stack.getBody().getArgumentTypes()))
    if (mode == plan::Mode::Train && isStream(name))
      types.push_back(type);
  Prediction prediction;
  EVO_ASSIGN(prediction.arenaBytes, tensorBytes(types));
  int64_t frame = 0;
  for (ir::ModuleOpInterface op : modulesOf(module)) {
    EVO_ASSIGN(Candidate candidate, priceCandidate(op, op.getModuleChoice(), profile,
                                                   getPrecision(stack.getModel()), mode));
    int64_t blocks = op->getParentOfType<ir::SegmentOp>().getCount();
    frame = std::max(frame, candidate.frameBytes);
    prediction.keptBytes += blocks * candidate.savedBytes;
    prediction.costNs += blocks * candidate.costNs;
  }
  prediction.arenaBytes += frame + prediction.keptBytes;
  return prediction;
}

static void collectKernels(const std::vector<plan::Step> &steps,
                           std::vector<plan::Kernel> &kernels) {
  for (const plan::Step &step : steps) {
    if (const auto *kernel = std::get_if<plan::KernelStep>(&step.value))
      kernels.push_back(kernel->kernel);
    else if (const auto *loop = std::get_if<plan::LoopStep>(&step.value))
      collectKernels(loop->body, kernels);
  }
}

std::vector<plan::Kernel> kernelsOf(const plan::Plan &plan) {
  std::vector<plan::Kernel> kernels;
  for (const plan::Procedure &procedure : plan.procedures)
    collectKernels(procedure.steps, kernels);
  return kernels;
}

} // namespace evo::test
