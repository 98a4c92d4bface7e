//===- LowerToKern.cpp - modules to procedures, stack to program -*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "passes/Passes.h"
#include "passes/Procedure.h"

#include "dialects/Kern/Gradients.h"

#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/StringSet.h"

using namespace mlir;

namespace evo {

#define GEN_PASS_DEF_EVOLOWERTOKERN
#include "passes/Passes.h.inc"

std::string choiceText(ir::ChoiceAttr choice) {
  std::string text = ir::stringifyKernelVariant(choice.getVariant()).str();
  if (choice.getAxis() != ir::Axis::None)
    text += ", " + ir::stringifyAxis(choice.getAxis()).str() + " by " +
            std::to_string(choice.getSize());
  if (choice.getKeep() != ir::Keep::Nothing) {
    text += "; keeps " + ir::stringifyKeep(choice.getKeep()).str() + ", backward " +
            ir::stringifyKernelVariant(choice.getBackwardVariant()).str();
    if (choice.getBackwardAxis() != ir::Axis::None)
      text += ", " + ir::stringifyAxis(choice.getBackwardAxis()).str() + " by " +
              std::to_string(choice.getBackwardSize());
  }
  return text;
}

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

std::string gradientName(StringRef stream) { return "d" + stream.str(); }
bool isStream(StringRef tensor) { return tensor == "m" || tensor == "z"; }

/// An empty procedure whose block arguments are `tensors` of the given types.
static kern::ProcedureOp makeProcedure(OpBuilder &builder, ir::ModuleOpInterface op,
                                       ir::ChoiceAttr choice, StringRef name, plan::Phase phase,
                                       ArrayRef<Attribute> tensors, TypeRange types) {
  Location location = NameLoc::get(builder.getStringAttr(op.getParameterPrefix()));
  auto procedure = builder.create<kern::ProcedureOp>(
      location, builder.getStringAttr(name), builder.getStringAttr(op.getParameterPrefix()),
      builder.getStringAttr(plan::phaseName(phase)), builder.getStringAttr(choiceText(choice)),
      builder.getArrayAttr(tensors), IntegerAttr());
  Block *body = &procedure.getBody().emplaceBlock();
  for (Type type : types)
    body->addArgument(type, location);
  return procedure;
}

/// Keeps a copy of each stream named in `kept`.
static void saveInputs(OpBuilder &builder, ir::ModuleOpInterface op, Block &body,
                       ArrayRef<std::string> kept) {
  for (auto [name, value] : llvm::zip_equal(op.getTensorNames(), body.getArguments())) {
    if (!llvm::is_contained(kept, name))
      continue;
    Value copy = builder.create<kern::CopyOp>(body.getParentOp()->getLoc(), value.getType(), value,
                                              DenseI64ArrayAttr());
    builder.create<kern::SaveOp>(copy.getLoc(), copy, builder.getStringAttr(name));
  }
}

/// The new version of the updated stream.
static Value emitModule(kern::KernBuilder &kernels, ir::ModuleOpInterface op, ValueRange values,
                        ir::KernelVariant variant, ir::Axis axis, int64_t size) {
  llvm::StringMap<Value> tensors;
  for (auto [name, value] : llvm::zip_equal(op.getTensorNames(), values))
    tensors[name] = value;
  ir::emitModules(kernels, op, variant, axis, size, tensors);
  return tensors.lookup(op.getUpdatedTensor());
}

kern::ProcedureOp emitProcedure(OpBuilder &builder, ir::ModuleOpInterface op, ir::ChoiceAttr choice,
                                StringRef name, plan::Precision precision,
                                ArrayRef<std::string> kept) {
  OpBuilder::InsertionGuard guard(builder);
  MLIRContext *context = builder.getContext();
  SmallVector<Attribute> tensors;
  for (StringRef tensor : op.getTensorNames())
    tensors.push_back(FlatSymbolRefAttr::get(context, tensor));
  kern::ProcedureOp procedure = makeProcedure(builder, op, choice, name, plan::Phase::Forward,
                                              tensors, op->getOperandTypes());
  Location location = procedure.getLoc();
  Block &body = procedure.getBody().front();
  builder.setInsertionPointToEnd(&body);
  saveInputs(builder, op, body, kept);
  kern::KernBuilder kernels(builder, location,
                            kern::fromDType(context, plan::storageType(precision)),
                            kern::fromDType(context, plan::statisticType(precision)));
  Value updated = emitModule(kernels, op, body.getArguments(), choice.getVariant(),
                             choice.getAxis(), choice.getSize());
  Attribute stream = FlatSymbolRefAttr::get(context, op.getUpdatedTensor());
  builder.create<kern::ReturnOp>(location, builder.getArrayAttr(stream), updated);
  return procedure;
}

/// One kern.weight a name, so that all its gradients come together.
static void uniteWeights(Block &body) {
  llvm::StringMap<kern::WeightOp> first;
  for (auto weight : llvm::make_early_inc_range(body.getOps<kern::WeightOp>())) {
    auto [entry, inserted] = first.try_emplace(weight.getName(), weight);
    if (inserted)
      continue;
    weight.getResult().replaceAllUsesWith(entry->second.getResult());
    weight.erase();
  }
}

/// What only the forward's own result needed.
static void eraseDead(Block &body) {
  for (Operation &op : llvm::make_early_inc_range(llvm::reverse(body)))
    if (isOpTriviallyDead(&op))
      op.erase();
}

/// Drops the arguments that nothing reads, so that nothing is kept for them.
static void eraseUnusedArguments(kern::ProcedureOp procedure) {
  Block &body = procedure.getBody().front();
  SmallVector<Attribute> tensors(procedure.getTensors().getValue());
  for (unsigned i = body.getNumArguments(); i-- > 0;)
    if (body.getArgument(i).use_empty()) {
      body.eraseArgument(i);
      tensors.erase(tensors.begin() + i);
    }
  procedure.setTensorsAttr(ArrayAttr::get(procedure.getContext(), tensors));
}

std::vector<std::string> keptStreams(kern::ProcedureOp backward) {
  std::vector<std::string> names;
  for (Attribute tensor : backward.getTensors())
    if (std::optional<StringRef> slot = kern::getSavedSlot(tensor))
      names.push_back(slot->str());
  return names;
}

FailureOr<kern::ProcedureOp> emitBackwardProcedure(OpBuilder &builder, ir::ModuleOpInterface op,
                                                   ir::ChoiceAttr choice, StringRef name,
                                                   plan::Precision precision) {
  OpBuilder::InsertionGuard guard(builder);
  MLIRContext *context = builder.getContext();
  SmallVector<StringRef> names = op.getTensorNames(), streams;
  SmallVector<Attribute> tensors, gradientTensors;
  SmallVector<Type> types(op->getOperandTypes());
  for (auto [tensor, type] : llvm::zip_equal(names, op->getOperandTypes())) {
    auto flat = FlatSymbolRefAttr::get(context, tensor);
    tensors.push_back(isStream(tensor) ? Attribute(SymbolRefAttr::get(context, "saved", flat))
                                       : Attribute(flat));
    if (!isStream(tensor))
      continue;
    streams.push_back(tensor);
    types.push_back(type);
    gradientTensors.push_back(FlatSymbolRefAttr::get(context, gradientName(tensor)));
  }
  llvm::append_range(tensors, gradientTensors);
  kern::ProcedureOp procedure =
      makeProcedure(builder, op, choice, name, plan::Phase::Backward, tensors, types);
  Block &body = procedure.getBody().front();
  builder.setInsertionPointToEnd(&body);
  Type storage = kern::fromDType(context, plan::storageType(precision));
  Type statistic = kern::fromDType(context, plan::statisticType(precision));
  kern::KernBuilder kernels(builder, procedure.getLoc(), storage, statistic);
  auto values = body.getArguments().take_front(names.size());
  // Variant and slices of the backward are its own choice.
  Value updated = emitModule(kernels, op, values, choice.getBackwardVariant(),
                             choice.getBackwardAxis(), choice.getBackwardSize());
  uniteWeights(body);

  kern::GradientBuilder gradients(builder, procedure.getLoc(), storage, statistic);
  SmallVector<Value> inputs;
  for (auto [tensor, value] : llvm::zip_equal(names, values))
    if (isStream(tensor)) {
      gradients.setActive(value);
      bool isUpdated = tensor == op.getUpdatedTensor();
      gradients.set(isUpdated ? updated : Value(value),
                    body.getArgument(names.size() + inputs.size()));
      inputs.push_back(value);
    } else {
      gradients.setMask(value);
    }
  if (failed(gradients.sweep(body)))
    return failure();
  for (auto [weight, gradient] : gradients.weightGradients())
    builder.create<kern::StoreGradientOp>(procedure.getLoc(), gradient,
                                          weight.getDefiningOp<kern::WeightOp>().getNameAttr());
  SmallVector<Value> results;
  for (Value input : inputs)
    results.push_back(gradients.get(input));
  builder.create<kern::ReturnOp>(procedure.getLoc(), builder.getArrayAttr(gradientTensors),
                                 results);
  eraseDead(body);
  eraseUnusedArguments(procedure);
  return procedure;
}

namespace {

/// Two modules share a procedure where they are the same op with the same attributes and types.
struct ProcedureKey {
  StringRef opName;
  Attribute attributes;
  Type type;
  bool operator==(const ProcedureKey &other) const = default;
};

/// The procedures of one module; `backward` is empty in inference.
struct ProcedureNames {
  std::string forward, backward;
};

struct StackLowering {
  OpBuilder builder;
  plan::Precision precision;
  bool train;
  std::vector<std::pair<ProcedureKey, ProcedureNames>> procedures;
  llvm::StringSet<> names;

  std::string uniqueName(StringRef prefix) {
    std::string name = prefix.str();
    for (int copy = 2; !names.insert(name).second; ++copy)
      name = prefix.str() + "." + std::to_string(copy);
    return name;
  }

  /// The procedures of a module, made where they are new.
  FailureOr<ProcedureNames> getProcedures(ir::ModuleOpInterface op) {
    ProcedureKey key{
        op->getName().getStringRef(), op->getAttrDictionary(),
        FunctionType::get(op->getContext(), op->getOperandTypes(), op->getResultTypes())};
    for (const auto &[known, made] : procedures)
      if (known == key)
        return made;
    ProcedureNames made;
    made.forward = uniqueName(op.getParameterPrefix());
    std::vector<std::string> kept;
    if (train) {
      made.backward = uniqueName((op.getParameterPrefix() + ".backward").str());
      FailureOr<kern::ProcedureOp> backward =
          emitBackwardProcedure(builder, op, op.getModuleChoice(), made.backward, precision);
      if (failed(backward))
        return failure();
      kept = keptStreams(*backward);
    }
    emitProcedure(builder, op, op.getModuleChoice(), made.forward, precision, kept);
    procedures.emplace_back(key, made);
    return made;
  }
};

} // namespace

/// The boundary tensors, and in training the streams' gradients behind them.
static void makeTensors(ir::StackOp stack, OpBuilder &builder, bool train) {
  auto make = [&](StringRef name, Type type) {
    builder.create<kern::TensorOp>(stack.getLoc(), builder.getStringAttr(name), TypeAttr::get(type),
                                   IntegerAttr());
  };
  auto tensors = llvm::zip_equal(stack.getTensors().getAsValueRange<StringAttr>(),
                                 stack.getBody().getArgumentTypes());
  for (auto [name, type] : tensors)
    make(name, type);
  for (auto [name, type] : tensors)
    if (train && isStream(name))
      make(gradientName(name), type);
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

/// The calls of one segment, in program order.
struct SegmentCalls {
  ir::SegmentOp segment;
  SmallVector<ProcedureNames> procedures;
};

static void addBlocks(OpBuilder &builder, const SegmentCalls &calls, plan::Phase phase) {
  MLIRContext *context = builder.getContext();
  Location location = calls.segment->getLoc();
  ir::SegmentOp segment = calls.segment;
  auto blocks =
      builder.create<kern::BlocksOp>(location, segment.getFirstAttr(), segment.getCountAttr());
  OpBuilder inner = OpBuilder::atBlockEnd(&blocks.getBody().emplaceBlock());
  bool backward = phase == plan::Phase::Backward;
  SmallVector<std::string> names;
  for (const ProcedureNames &procedure : calls.procedures)
    names.push_back(backward ? procedure.backward : procedure.forward);
  if (backward)
    std::reverse(names.begin(), names.end());
  for (const std::string &name : names)
    inner.create<kern::CallOp>(location, FlatSymbolRefAttr::get(context, name), IntegerAttr(),
                               inner.getI64IntegerAttr(0), inner.getI64IntegerAttr(0));
}

/// Procedures first, then the programs that call them.
static LogicalResult lowerStack(ir::StackOp stack) {
  bool train = getMode(stack.getModel()) == plan::Mode::Train;
  StackLowering lowering{OpBuilder(stack), getPrecision(stack.getModel()), train, {}, {}};
  OpBuilder &builder = lowering.builder;
  makeTensors(stack, builder, train);
  SmallVector<SegmentCalls> calls;
  for (auto segment : stack.getBody().front().getOps<ir::SegmentOp>()) {
    calls.push_back({segment, {}});
    for (Operation &op : segment.getBody().front())
      if (auto moduleOp = dyn_cast<ir::ModuleOpInterface>(op)) {
        FailureOr<ProcedureNames> names = lowering.getProcedures(moduleOp);
        if (failed(names))
          return failure();
        calls.back().procedures.push_back(*names);
      }
  }
  auto addProgram = [&](plan::Phase phase, auto &&ordered) {
    kern::ProgramOp program = makeProgram(stack, builder, phase);
    OpBuilder inner = OpBuilder::atBlockEnd(&program.getBody().front());
    for (const SegmentCalls &segment : ordered)
      addBlocks(inner, segment, phase);
  };
  addProgram(plan::Phase::Forward, calls);
  if (train)
    addProgram(plan::Phase::Backward, llvm::reverse(calls));
  stack.erase();
  return success();
}

namespace {
struct EvoLowerToKernPass : impl::EvoLowerToKernBase<EvoLowerToKernPass> {
  void runOnOperation() override {
    ModuleOp module = getOperation();
    for (ir::StackOp stack : llvm::make_early_inc_range(module.getOps<ir::StackOp>())) {
      module->setAttr(kModelAttr, stack.getModel());
      if (failed(lowerStack(stack)))
        return signalPassFailure();
    }
  }
};
} // namespace

} // namespace evo
