//===- StackFixture.cpp -----------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "test/passes/StackFixture.h"

#include "mlir/IR/Diagnostics.h"
#include "mlir/Pass/PassManager.h"

#include <set>

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
  std::vector<ir::Axis> axes = {ir::Axis::None};
  for (const ir::SliceAxis &axis : op.getLegalAxes())
    axes.push_back(axis.axis);
  auto size = [](ir::Axis axis, int64_t elements) { return axis == ir::Axis::None ? 0 : elements; };
  std::vector<ir::ChoiceAttr> choices;
  auto add = [&](ir::Keep keep, ir::KernelVariant forward, ir::Axis axis,
                 ir::KernelVariant backward, ir::Axis backwardAxis) {
    choices.push_back(ir::ChoiceAttr::get(op->getContext(), forward, axis, size(axis, 2), keep,
                                          backward, backwardAxis, size(backwardAxis, 3),
                                          ir::MsaLayout::Whole, ir::PairLayout::Whole));
  };
  for (ir::KernelVariant forward : op.getLegalVariants()) {
    for (ir::KernelVariant backward : op.getLegalVariants())
      for (ir::Axis axis : axes)
        for (ir::Axis backwardAxis : axes)
          add(ir::Keep::Input, forward, axis, backward, backwardAxis);
    add(ir::Keep::All, forward, ir::Axis::None, forward, ir::Axis::None);
  }
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

std::vector<std::string> streamsRead(ir::ModuleOpInterface op) {
  std::vector<std::string> streams;
  for (StringRef name : op.getTensorNames())
    if (isStream(name) && !(name == "z" && isa<ir::OuterProductMeanOp>(op)))
      streams.push_back(name.str());
  return streams;
}

/// One block of a segment: each module pushes the versions that nobody has kept, and the frames lie
/// on top.
static Status predictBlock(ir::SegmentOp segment, const cost::DeviceProfile &profile,
                           plan::Precision precision, plan::Mode mode,
                           std::map<std::string, int64_t> &version,
                           std::set<std::pair<std::string, int64_t>> &kept, int64_t streams,
                           Prediction &prediction) {
  for (auto op : segment.getBody().front().getOps<ir::ModuleOpInterface>()) {
    EVO_ASSIGN(Candidate candidate,
               priceCandidate(op, op.getModuleChoice(), profile, precision, mode));
    int64_t bytes = candidate.savedBytes;
    if (mode == plan::Mode::Train)
      for (const std::string &stream : streamsRead(op)) {
        if (kept.insert({stream, version[stream]}).second)
          continue;
        for (auto [name, type] : llvm::zip_equal(op.getTensorNames(), op->getOperandTypes()))
          if (name == stream) {
            EVO_ASSIGN(int64_t shared, tensorBytes({type}));
            bytes -= shared;
          }
        ++prediction.shared[stream];
      }
    ++version[op.getUpdatedTensor().str()];
    prediction.keptBytes += bytes;
    prediction.costNs += candidate.costNs;
    prediction.arenaBytes =
        std::max(prediction.arenaBytes, streams + prediction.keptBytes + candidate.frameBytes);
  }
  return {};
}

Result<Prediction> predict(ModuleOp module) {
  auto stack = *module.getOps<ir::StackOp>().begin();
  EVO_ASSIGN(cost::DeviceProfile profile, loadProfile("cpu"));
  EVO_ASSIGN(int64_t streams, tensorBytes(SmallVector<Type>(stack.getBody().getArgumentTypes())));
  Prediction prediction;
  std::map<std::string, int64_t> version;
  std::set<std::pair<std::string, int64_t>> kept;
  for (auto segment : stack.getBody().front().getOps<ir::SegmentOp>())
    for (int64_t block = 0; block < static_cast<int64_t>(segment.getCount()); ++block)
      EVO_TRY(predictBlock(segment, profile, getPrecision(stack.getModel()),
                           getMode(stack.getModel()), version, kept, streams, prediction));
  return prediction;
}

/// The price of a copy to the kept tensor of a stream.
static int64_t copyCost(const plan::Plan &plan, const std::string &stream) {
  for (const plan::Procedure &procedure : plan.procedures)
    for (const plan::Step &step : procedure.steps)
      if (const auto *kernel = std::get_if<plan::KernelStep>(&step.value))
        if (kernel->kernel == plan::Kernel::Copy &&
            procedure.buffers[kernel->operands[1]->buffer].name == "saved." + stream)
          return kernel->costNs;
  return 0;
}

int64_t predictedNs(const Prediction &prediction, const plan::Plan &plan) {
  int64_t costNs = prediction.costNs;
  for (const auto &[stream, count] : prediction.shared)
    costNs -= count * copyCost(plan, stream);
  return costNs;
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
