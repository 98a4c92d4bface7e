//===- EmitPlan.cpp - the placed module as a plan ---------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// A translation, op by op: nothing is decided here.
//===----------------------------------------------------------------------===//
#include "passes/Passes.h"
#include "passes/Procedure.h"
#include "runtime/plan/PlanJson.h"
#include "runtime/plan/ProductJson.h"
#include "runtime/plan/Timeline.h"
#include "runtime/plan/Verify.h"

#include "mlir/Support/FileUtilities.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/Support/ToolOutputFile.h"

using namespace mlir;

namespace evo {

#define GEN_PASS_DEF_KERNEMITPLAN
#include "passes/Passes.h.inc"

namespace {

//===----------------------------------------------------------------------===//
// Entries of the module's attributes, which somebody may have edited
//===----------------------------------------------------------------------===//

Status missing(StringRef attribute, StringRef name, StringRef what) {
  return Status::error(ErrorCode::InvalidInput, "expected " + what.str() + " '" + name.str() +
                                                    "' in " + attribute.str() + " of the module");
}

Status readText(DictionaryAttr dictionary, StringRef attribute, StringRef name, std::string &text) {
  auto value = dictionary.getAs<StringAttr>(name);
  if (!value)
    return missing(attribute, name, "a text");
  text = value.str();
  return {};
}

Status readInteger(DictionaryAttr dictionary, StringRef attribute, StringRef name,
                   int64_t &integer) {
  auto value = dictionary.getAs<IntegerAttr>(name);
  if (!value || !value.getType().isInteger(64))
    return missing(attribute, name, "a 64-bit integer");
  integer = value.getInt();
  return {};
}

Status readTable(DictionaryAttr dictionary, StringRef name, std::map<std::string, int64_t> &table) {
  auto entries = dictionary.getAs<DictionaryAttr>(name);
  if (!entries)
    return missing(kModelAttr, name, "a dictionary");
  for (NamedAttribute entry : entries)
    EVO_TRY(readInteger(entries, (kModelAttr + "." + name).str(), entry.getName(),
                        table[entry.getName().str()]));
  return {};
}

//===----------------------------------------------------------------------===//
// Plans
//===----------------------------------------------------------------------===//

struct Emitter {
  explicit Emitter(ModuleOp module) : module(module) {}

  ModuleOp module;
  plan::Plan plan;
  llvm::StringMap<int32_t> tensorIndex, procedureIndex;
  llvm::StringMap<int64_t> weightOffset, gradientOffset, stateOffset;

  Status emitTensors();
  Status emitWeights();
  Status emitProcedure(kern::ProcedureOp op);
  Status emitBindings(kern::CallOp op, plan::Call &call);
  Status emitPrograms();
  Status emitSummary();
  void emitSchedule();
};

template <class Range> std::vector<int64_t> toVector(const Range &range) {
  return std::vector<int64_t>(range.begin(), range.end());
}

Status Emitter::emitTensors() {
  for (auto op : module.getOps<kern::TensorOp>()) {
    auto type = cast<RankedTensorType>(op.getType());
    plan::Tensor tensor;
    tensor.name = op.getSymName().str();
    tensor.dtype = kern::toDType(type.getElementType()).value_or(plan::DType::F32);
    tensor.shape = toVector(type.getShape());
    tensor.offset = op.getOffset().value_or(0);
    tensor.bytes = plan::byteSize(tensor.shape, tensor.dtype).value_or(0);
    plan.arenaBytes = std::max(plan.arenaBytes, tensor.offset + plan::alignTo(tensor.bytes));
    tensorIndex[tensor.name] = static_cast<int32_t>(plan.tensors.size());
    plan.tensors.push_back(std::move(tensor));
  }
  return {};
}

Status Emitter::emitWeights() {
  SmallVector<kern::ProcedureOp> procedures(module.getOps<kern::ProcedureOp>());
  auto model = module->getAttrOfType<DictionaryAttr>(kModelAttr);
  EVO_ASSIGN(WeightTable table,
             collectWeights(procedures, plan::statisticType(plan.precision), stateKinds(model)));
  plan.stateBlockBytes = table.stateBytes;
  for (const plan::Weight &weight : table.weights)
    for (const plan::WeightState &state : weight.states)
      stateOffset[(StringRef(plan::stateName(state.kind)) + "." + weight.name).str()] =
          state.offset;
  plan.weights = std::move(table.weights);
  plan.weightBlockBytes = table.blockBytes;
  if (plan.mode == plan::Mode::Train)
    plan.gradientBlockBytes = table.gradientBytes;
  for (auto [weight, gradient] : llvm::zip_equal(plan.weights, table.gradientOffsets)) {
    weightOffset[weight.name] = weight.offset;
    gradientOffset[weight.name] = gradient;
    if (plan.mode == plan::Mode::Train)
      weight.gradientOffset = gradient;
  }
  return {};
}

/// Buffers and steps of one procedure.
struct ProcedureEmitter {
  explicit ProcedureEmitter(Emitter &emitter) : emitter(emitter) {}

  Emitter &emitter;
  plan::Procedure result;
  llvm::DenseMap<Value, int32_t> buffers;

  void addBuffer(Value value, plan::Buffer buffer) {
    auto type = cast<kern::BufferType>(value.getType());
    buffer.dtype = kern::toDType(type.getElementType()).value_or(plan::DType::F32);
    buffer.shape = toVector(type.getShape());
    buffer.strides = toVector(type.getStrides());
    buffer.bytes = type.getByteSize().value_or(0);
    buffers[value] = static_cast<int32_t>(result.buffers.size());
    result.buffers.push_back(std::move(buffer));
  }

  void addBuffer(Operation *op) {
    plan::Buffer buffer;
    if (auto tensor = dyn_cast<kern::TensorBufferOp>(op)) {
      buffer.name = tensor.getTensor().str();
      buffer.base = plan::Base::Tensor;
      buffer.tensor = emitter.tensorIndex.lookup(buffer.name);
    } else if (auto weight = dyn_cast<kern::WeightBufferOp>(op)) {
      buffer.name = weight.getName().str();
      buffer.base = plan::Base::Weight;
      buffer.offset = emitter.weightOffset.lookup(buffer.name);
    } else if (auto saved = dyn_cast<kern::SavedBufferOp>(op)) {
      buffer.name = "saved." + saved.getSlot().str();
      buffer.base = plan::Base::Saved;
      buffer.offset = saved.getOffset().value_or(0);
    } else if (auto gradient = dyn_cast<kern::GradientBufferOp>(op)) {
      buffer.name = std::string(plan::kGradientPrefix) + gradient.getWeight().str();
      buffer.base = plan::Base::Gradient;
      buffer.offset = emitter.gradientOffset.lookup(gradient.getWeight());
    } else if (auto state = dyn_cast<kern::StateBufferOp>(op)) {
      buffer.name = (state.getKind() + "." + state.getWeight()).str();
      buffer.base = plan::Base::State;
      buffer.offset = emitter.stateOffset.lookup(buffer.name);
    } else {
      auto alloc = cast<kern::AllocOp>(op);
      buffer.name = alloc.getName().str();
      buffer.base = plan::Base::Frame;
      buffer.offset = alloc.getOffset().value_or(0);
    }
    addBuffer(op->getResult(0), std::move(buffer));
  }

  plan::View makeView(kern::ViewOp op) const {
    plan::View view;
    view.buffer = buffers.lookup(op.getBuffer());
    view.version = static_cast<int32_t>(op.getVersion());
    for (auto [value, loop] : llvm::zip_equal(op.getStart(), op.getStartLoop()))
      view.start.push_back({value, loop});
    for (auto [value, loop] : llvm::zip_equal(op.getExtent(), op.getExtentLoop()))
      view.extent.push_back({value, loop});
    view.order.assign(op.getOrder().begin(), op.getOrder().end());
    return view;
  }

  plan::KernelStep makeKernel(kern::LaunchOp op) {
    plan::KernelStep step;
    std::string_view name = op.getKernel();
    step.kernel = *plan::parseKernel(name);
    step.attributes = kern::readKernelAttributes(op.getSettings(), step.kernel);
    auto next = op.getInputs().begin();
    for (bool present : op.getPresent()) {
      if (present)
        step.operands.emplace_back(makeView((*next++).getDefiningOp<kern::ViewOp>()));
      else
        step.operands.emplace_back();
    }
    step.costNs = op.getCostNs().value_or(0);
    result.costNs += step.costNs;
    step.location = plan::defaultLocation(result, step.kernel);
    return step;
  }

  std::vector<plan::Step> emitBlock(Block &block) {
    std::vector<plan::Step> steps;
    for (Operation &op : block) {
      if (isa<kern::TensorBufferOp, kern::WeightBufferOp, kern::SavedBufferOp,
              kern::GradientBufferOp, kern::StateBufferOp>(op)) {
        addBuffer(&op);
      } else if (isa<kern::AllocOp>(op)) {
        addBuffer(&op);
        steps.push_back({plan::AllocStep{buffers.lookup(op.getResult(0))}});
      } else if (auto freeOp = dyn_cast<kern::FreeOp>(op)) {
        steps.push_back({plan::FreeStep{buffers.lookup(freeOp.getBuffer())}});
      } else if (auto launch = dyn_cast<kern::LaunchOp>(op)) {
        steps.push_back({makeKernel(launch)});
      } else if (auto loop = dyn_cast<kern::LoopOp>(op)) {
        plan::LoopStep step;
        step.loop = static_cast<int32_t>(loop.getId());
        step.axis = loop.getAxis().str();
        step.extent = loop.getExtent();
        step.size = loop.getSize();
        step.body = emitBlock(loop.getBody().front());
        steps.push_back({std::move(step)});
      }
    }
    return steps;
  }
};

Status Emitter::emitProcedure(kern::ProcedureOp op) {
  ProcedureEmitter procedure(*this);
  procedure.result.name = op.getSymName().str();
  procedure.result.module = op.getModule().str();
  procedure.result.choice = op.getChoice().str();
  procedure.result.phase = *plan::parsePhase({op.getPhase().data(), op.getPhase().size()});
  procedure.result.frameBytes = op.getFrameBytes().value_or(0);
  procedure.result.steps = procedure.emitBlock(op.getBody().front());
  procedureIndex[procedure.result.name] = static_cast<int32_t>(plan.procedures.size());
  plan.procedures.push_back(std::move(procedure.result));
  return {};
}

Status Emitter::emitBindings(kern::CallOp op, plan::Call &call) {
  if (!op.getBindings())
    return {};
  const plan::Procedure &procedure = plan.procedures[call.procedure];
  for (auto binding : op.getBindings()->getAsRange<kern::BindingAttr>()) {
    auto buffer = llvm::find_if(procedure.buffers, [&](const plan::Buffer &each) {
      return StringRef(each.name) == binding.getBuffer();
    });
    // A stream that the procedure does not read needs no place.
    if (buffer != procedure.buffers.end())
      call.bindings.push_back({static_cast<int32_t>(buffer - procedure.buffers.begin()),
                               binding.getOffset(), binding.getStride()});
  }
  llvm::sort(call.bindings,
             [](const plan::Binding &a, const plan::Binding &b) { return a.buffer < b.buffer; });
  return {};
}

Status Emitter::emitPrograms() {
  for (auto op : module.getOps<kern::ProgramOp>()) {
    plan::Program program;
    program.phase = *plan::parsePhase({op.getPhase().data(), op.getPhase().size()});
    for (Attribute name : op.getInputs())
      program.inputs.push_back(cast<FlatSymbolRefAttr>(name).getValue().str());
    for (Attribute name : op.getOutputs())
      program.outputs.push_back(cast<FlatSymbolRefAttr>(name).getValue().str());
    for (auto blocks : op.getBody().getOps<kern::BlocksOp>()) {
      plan::BlockRun run;
      run.firstBlock = blocks.getFirst();
      run.blockCount = blocks.getCount();
      for (auto callOp : blocks.getBody().getOps<kern::CallOp>()) {
        plan::Call call;
        call.procedure = procedureIndex.lookup(callOp.getProcedure());
        call.frameOffset = callOp.getFrameOffset().value_or(0);
        call.savedOffset = callOp.getSavedOffset();
        call.savedStride = callOp.getSavedStride();
        call.frameStride = callOp.getFrameStride();
        EVO_TRY(emitBindings(callOp, call));
        int64_t end = 0;
        if (__builtin_mul_overflow(call.frameStride, run.blockCount - 1, &end) ||
            __builtin_add_overflow(end, call.frameOffset, &end) ||
            __builtin_add_overflow(end, plan.procedures[call.procedure].frameBytes, &end))
          return Status::error(ErrorCode::InvalidInput, "the arena has more than 2^63 bytes");
        plan.arenaBytes = std::max(plan.arenaBytes, end);
        run.calls.push_back(call);
      }
      program.runs.push_back(std::move(run));
    }
    plan.programs.push_back(std::move(program));
  }
  return {};
}

/// What the calls of the forward program keep.
Result<int64_t> keptBytes(const plan::Plan &plan) {
  int64_t total = 0;
  for (const plan::Program &program : plan.programs) {
    if (program.phase != plan::Phase::Forward)
      continue;
    for (const plan::BlockRun &run : program.runs)
      for (const plan::Call &call : run.calls) {
        int64_t bytes = 0;
        for (const plan::Buffer &buffer : plan.procedures[call.procedure].buffers)
          if (buffer.base == plan::Base::Saved)
            bytes = std::max(bytes, plan::alignTo(buffer.offset + buffer.bytes));
        if (__builtin_mul_overflow(bytes, run.blockCount, &bytes) ||
            __builtin_add_overflow(total, bytes, &total))
          return Status::error(ErrorCode::InvalidInput, "the plan has more than 2^63 bytes");
      }
  }
  return total;
}

Status Emitter::emitSummary() {
  auto target = module->getAttrOfType<DictionaryAttr>(kTargetAttr);
  if (!target)
    return Status::error(ErrorCode::InvalidInput,
                         "the module has no target; run evo-choose-policy first");
  plan::Summary &summary = plan.summary;
  EVO_TRY(readText(target, kTargetAttr, "profile", plan.profile));
  if (auto device = target.getAs<StringAttr>("profile_device"))
    plan.profileDevice = device.str();
  EVO_TRY(readText(target, kTargetAttr, "backend", plan.backend));
  if (auto products = target.getAs<StringAttr>(kProductsKey)) {
    Result<plan::ProductTable> table = plan::parseProducts(products.getValue(), kProductsKey.str());
    EVO_TRY(table.status().withContext(kTargetAttr.str()));
    plan.products = *std::move(table);
  }
  EVO_TRY(readText(target, kTargetAttr, "policy", summary.policy));
  EVO_TRY(readInteger(target, kTargetAttr, "budget_bytes", summary.budgetBytes));
  EVO_TRY(readInteger(target, kTargetAttr, "library_bytes", summary.libraryBytes));
  summary.arenaBytes = plan.arenaBytes;
  int64_t blockBytes = plan.weightBlockBytes;
  if (__builtin_add_overflow(blockBytes, plan.gradientBlockBytes, &blockBytes) ||
      __builtin_add_overflow(blockBytes, plan.stateBlockBytes, &blockBytes) ||
      __builtin_mul_overflow(blockBytes, plan.model.blocks, &summary.staticBytes) ||
      __builtin_add_overflow(plan.arenaBytes, summary.staticBytes, &summary.predictedPeakBytes) ||
      __builtin_add_overflow(summary.predictedPeakBytes, summary.libraryBytes,
                             &summary.predictedPeakBytes))
    return Status::error(ErrorCode::InvalidInput, "the plan has more than 2^63 bytes");
  EVO_ASSIGN(summary.keptBytes, keptBytes(plan));
  summary.idle = plan::idleBytes(plan);
  int64_t costNs = 0;
  for (const plan::Program &program : plan.programs)
    for (const plan::BlockRun &run : program.runs)
      for (const plan::Call &call : run.calls)
        costNs += plan.procedures[call.procedure].costNs * run.blockCount;
  summary.predictedMs = static_cast<double>(costNs) / 1e6;
  return {};
}

/// The tree as far as a program tells it: a segment a run of equal blocks, a module a call.
void Emitter::emitSchedule() {
  plan.schedule.kind = "stack";
  plan.schedule.name = plan.model.stack;
  plan.schedule.blockCount = plan.model.blocks;
  for (const plan::BlockRun &run : plan.programs.front().runs) {
    plan::ScheduleNode segment;
    segment.kind = "segment";
    segment.firstBlock = run.firstBlock;
    segment.blockCount = run.blockCount;
    for (const plan::Call &call : run.calls) {
      const plan::Procedure &procedure = plan.procedures[call.procedure];
      plan::ScheduleNode node;
      node.kind = "module";
      node.name = procedure.module;
      node.choice = procedure.choice;
      segment.children.push_back(std::move(node));
    }
    plan.schedule.children.push_back(std::move(segment));
  }
}

Status emitModel(ModuleOp module, plan::Plan &plan) {
  auto model = module->getAttrOfType<DictionaryAttr>(kModelAttr);
  if (!model)
    return Status::error(ErrorCode::InvalidInput,
                         "the module has no model; run evo-lower-to-kern first");
  EVO_TRY(readText(model, kModelAttr, "name", plan.model.name));
  EVO_TRY(readText(model, kModelAttr, "stack", plan.model.stack));
  EVO_TRY(readInteger(model, kModelAttr, "blocks", plan.model.blocks));
  EVO_TRY(readTable(model, "sizes", plan.model.sizes));
  EVO_TRY(readTable(model, "channels", plan.model.channels));
  plan.precision = getPrecision(model);
  plan.mode = getMode(model);
  plan.optimizer = optimizerInfo(model);
  plan::RankExtents rank;
  for (const auto &[axis, size] : plan.model.sizes)
    rank.extents[axis] = {0, size};
  plan.ranks.push_back(std::move(rank));
  return {};
}

} // namespace

Result<plan::Plan> emitPlan(ModuleOp module) {
  Emitter emitter(module);
  EVO_TRY(emitModel(module, emitter.plan));
  EVO_TRY(emitter.emitTensors());
  EVO_TRY(emitter.emitWeights());
  for (auto procedure : module.getOps<kern::ProcedureOp>())
    EVO_TRY(emitter.emitProcedure(procedure));
  EVO_TRY(emitter.emitPrograms());
  if (emitter.plan.programs.empty())
    return Status::error(ErrorCode::InvalidInput, "the module has no kern.program");
  EVO_TRY(emitter.emitSummary());
  emitter.emitSchedule();
  return std::move(emitter.plan);
}

namespace {
struct KernEmitPlanPass : impl::KernEmitPlanBase<KernEmitPlanPass> {
  using KernEmitPlanBase::KernEmitPlanBase;
  void runOnOperation() override {
    Result<plan::Plan> plan = emitPlan(getOperation());
    Status legal = plan ? plan::checkPlan(*plan) : plan.status();
    Result<std::string> text = legal.ok() ? plan::printPlan(*plan) : legal;
    if (!text) {
      getOperation().emitError() << text.status().message();
      return signalPassFailure();
    }
    std::string message;
    std::unique_ptr<llvm::ToolOutputFile> file = openOutputFile(output, &message);
    if (!file) {
      getOperation().emitError() << message;
      return signalPassFailure();
    }
    file->os() << *text;
    file->keep();
  }
};
} // namespace

} // namespace evo
