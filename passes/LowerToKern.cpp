//===- LowerToKern.cpp - modules to procedures, stack to programs -*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "passes/BlockSchedule.h"
#include "passes/Passes.h"
#include "passes/Procedure.h"

using namespace mlir;

namespace evo {

#define GEN_PASS_DEF_EVOLOWERTOKERN
#include "passes/Passes.h.inc"

plan::Precision getPrecision(DictionaryAttr model) {
  auto name = model ? model.getAs<StringAttr>("precision") : StringAttr();
  return plan::parsePrecision(name ? std::string_view(name.getValue()) : "fp32")
      .value_or(plan::Precision::Fp32);
}

plan::Mode getMode(DictionaryAttr model) {
  auto name = model ? model.getAs<StringAttr>("mode") : StringAttr();
  bool train = name && name.getValue() == StringRef(plan::modeName(plan::Mode::Train));
  return train ? plan::Mode::Train : plan::Mode::Infer;
}

/// The boundary tensors; in training the streams' gradients, each in its stream's slot.
static void makeTensors(ir::StackOp stack, OpBuilder &builder, bool train) {
  auto make = [&](StringRef name, Type type, FlatSymbolRefAttr slotOf) {
    builder.create<kern::TensorOp>(stack.getLoc(), builder.getStringAttr(name), TypeAttr::get(type),
                                   IntegerAttr(), slotOf);
  };
  auto tensors = llvm::zip_equal(stack.getTensors().getAsValueRange<StringAttr>(),
                                 stack.getBody().getArgumentTypes());
  for (auto [name, type] : tensors)
    make(name, type, {});
  for (auto [name, type] : tensors)
    if (train && isStream(name))
      make(gradientName(name), type, FlatSymbolRefAttr::get(stack.getContext(), name));
}

/// The workspace of the target's kernels: floats for want of bytes, in whole slots.
static Status makeWorkspace(ModuleOp module, OpBuilder &builder) {
  auto target = module->getAttrOfType<DictionaryAttr>(kTargetAttr);
  Attribute given = target ? target.get(kWorkspaceBytesKey) : Attribute();
  if (!given)
    return {};
  auto bytes = dyn_cast<IntegerAttr>(given);
  if (!bytes || !bytes.getType().isInteger(64) || bytes.getInt() < 1 ||
      bytes.getInt() > INT64_MAX - plan::kAlignment)
    return Status::error(ErrorCode::InvalidInput, "expected a 64-bit integer of at least 1 as '" +
                                                      kWorkspaceBytesKey.str() + "' in " +
                                                      kTargetAttr.str() + " of the module");
  Type element = builder.getF32Type();
  int64_t count = plan::alignTo(bytes.getInt()) / plan::elementBytes(plan::DType::F32);
  builder.create<kern::TensorOp>(module.getLoc(), builder.getStringAttr(plan::kWorkspaceTensor),
                                 TypeAttr::get(RankedTensorType::get({count}, element)),
                                 IntegerAttr(), FlatSymbolRefAttr());
  return {};
}

static kern::ProgramOp makeProgram(ir::StackOp stack, OpBuilder &builder, plan::Phase phase) {
  SmallVector<Attribute> inputs, outputs;
  for (StringRef name : stack.getTensors().getAsValueRange<StringAttr>()) {
    bool backward = phase == plan::Phase::Backward;
    if (backward && !isStream(name))
      continue;
    Attribute tensor =
        FlatSymbolRefAttr::get(stack.getContext(), backward ? gradientName(name) : name.str());
    inputs.push_back(tensor);
    if (isStream(name))
      outputs.push_back(tensor);
  }
  auto program =
      builder.create<kern::ProgramOp>(stack.getLoc(), builder.getStringAttr(plan::phaseName(phase)),
                                      builder.getArrayAttr(inputs), builder.getArrayAttr(outputs));
  program.getBody().emplaceBlock();
  return program;
}

static kern::CallOp makeCall(OpBuilder &builder, Location location, const ScheduledCall &call,
                             bool train) {
  MLIRContext *context = builder.getContext();
  auto op = builder.create<kern::CallOp>(location, FlatSymbolRefAttr::get(context, call.procedure),
                                         IntegerAttr(), builder.getI64IntegerAttr(0),
                                         builder.getI64IntegerAttr(0), builder.getI64IntegerAttr(0),
                                         IntegerAttr(), IntegerAttr(), ArrayAttr(), ArrayAttr());
  if (!train)
    return op;
  op.setIdAttr(builder.getI64IntegerAttr(call.id));
  if (call.partner)
    op.setPartnerAttr(builder.getI64IntegerAttr(*call.partner));
  SmallVector<Attribute> shares;
  for (const Share &share : call.shares)
    shares.push_back(kern::ShareAttr::get(context, share.buffer, share.call, share.slot));
  if (!shares.empty())
    op.setSharesAttr(builder.getArrayAttr(shares));
  return op;
}

static void addBlocks(OpBuilder &builder, Location location, const BlockCalls &run, bool train) {
  auto blocks = builder.create<kern::BlocksOp>(location, builder.getI64IntegerAttr(run.first),
                                               builder.getI64IntegerAttr(run.count));
  OpBuilder inner = OpBuilder::atBlockEnd(&blocks.getBody().emplaceBlock());
  for (const ScheduledCall &call : run.calls)
    makeCall(inner, location, call, train);
}

/// Procedures first, then the programs that call them.
static LogicalResult lowerStack(ir::StackOp stack) {
  bool train = getMode(stack.getModel()) == plan::Mode::Train;
  OpBuilder builder(stack);
  makeTensors(stack, builder, train);
  BlockScheduler scheduler(builder, getPrecision(stack.getModel()), train);
  if (failed(scheduler.addStack(stack)))
    return failure();
  auto addProgram = [&](plan::Phase phase, const std::vector<BlockCalls> &runs) {
    kern::ProgramOp program = makeProgram(stack, builder, phase);
    OpBuilder inner = OpBuilder::atBlockEnd(&program.getBody().front());
    for (const BlockCalls &run : runs)
      addBlocks(inner, stack.getLoc(), run, train);
  };
  addProgram(plan::Phase::Forward, scheduler.forward);
  if (train)
    addProgram(plan::Phase::Backward, scheduler.backward);
  auto module = stack->getParentOfType<ModuleOp>();
  SmallVector<kern::ProcedureOp> procedures(module.getOps<kern::ProcedureOp>());
  if (failed(emitStatus(stack, lowerOptimizer(builder, stack.getModel(), procedures))) ||
      failed(emitStatus(stack, makeWorkspace(module, builder))))
    return failure();
  stack.erase();
  return success();
}

LogicalResult lowerToKern(ModuleOp module) {
  for (ir::StackOp stack : llvm::make_early_inc_range(module.getOps<ir::StackOp>())) {
    module->setAttr(kModelAttr, stack.getModel());
    if (failed(lowerStack(stack)))
      return failure();
  }
  return success();
}

namespace {
struct EvoLowerToKernPass : impl::EvoLowerToKernBase<EvoLowerToKernPass> {
  void runOnOperation() override {
    if (failed(lowerToKern(getOperation())))
      signalPassFailure();
  }
};
} // namespace

} // namespace evo
