//===- LowerOptimizer.cpp - the program that updates the weights -*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// `optimizer` of the model is a dictionary: kind, the attributes of its kernel by their names,
// loss_scale, growth_interval, and master_weights where there are some.
//===----------------------------------------------------------------------===//
#include "passes/Passes.h"
#include "passes/Procedure.h"
#include "runtime/plan/Optimizer.h"

#include "llvm/ADT/MapVector.h"

using namespace mlir;

namespace evo {

static DictionaryAttr optimizerOf(DictionaryAttr model) {
  return model ? model.getAs<DictionaryAttr>("optimizer") : DictionaryAttr();
}

std::optional<plan::OptimizerInfo> optimizerInfo(DictionaryAttr model) {
  DictionaryAttr optimizer = optimizerOf(model);
  if (!optimizer)
    return std::nullopt;
  plan::OptimizerInfo info;
  auto kind = optimizer.getAs<StringAttr>("kind");
  if (kind && kind.getValue() == StringRef(plan::optimizerName(plan::OptimizerKind::Adamw)))
    info.kind = plan::OptimizerKind::Adamw;
  if (auto scale = optimizer.getAs<FloatAttr>("loss_scale"))
    info.lossScale = scale.getValueAsDouble();
  return info;
}

SmallVector<plan::StateKind> stateKinds(DictionaryAttr model) {
  std::optional<plan::OptimizerInfo> info = optimizerInfo(model);
  SmallVector<plan::StateKind> kinds;
  if (!info)
    return kinds;
  DictionaryAttr optimizer = optimizerOf(model);
  bool adamw = info->kind == plan::OptimizerKind::Adamw;
  auto momentum = optimizer.getAs<FloatAttr>("momentum");
  if (adamw)
    kinds.push_back(plan::StateKind::FirstMoment);
  if (optimizer.contains("master_weights"))
    kinds.push_back(plan::StateKind::Master);
  if (!adamw && momentum && momentum.getValueAsDouble() > 0)
    kinds.push_back(plan::StateKind::Momentum);
  if (adamw)
    kinds.push_back(plan::StateKind::SecondMoment);
  return kinds;
}

RankedTensorType scalarsType(MLIRContext *context, plan::Precision precision) {
  return RankedTensorType::get({4}, kern::fromDType(context, plan::statisticType(precision)));
}

namespace {

class OptimizerLowering {
public:
  OptimizerLowering(OpBuilder &builder, Location location, DictionaryAttr model)
      : builder(builder), location(location), optimizer(optimizerOf(model)),
        info(*optimizerInfo(model)), kinds(stateKinds(model)), precision(getPrecision(model)),
        scalars(scalarsType(builder.getContext(), precision)) {}

  Status run(ArrayRef<kern::ProcedureOp> procedures, int64_t blocks);

private:
  kern::ProcedureOp makeProcedure(StringRef name, llvm::function_ref<Value(Value scalars)> body);
  Value countNonfinite(Value scalars);
  void updateWeights(Value scalars);
  ValueRange makeStep(ArrayRef<Value> inputs, TypeRange types);
  Value advance(Value scalars);
  void makeProgram(ArrayRef<StringRef> everywhere, StringRef last, int64_t blocks);
  Status checkAttributes(plan::Kernel kernel);

  RankedTensorType statisticTensor(kern::WeightOp weight) const {
    auto type = cast<RankedTensorType>(weight.getType());
    return RankedTensorType::get(type.getShape(), scalars.getElementType());
  }
  kern::WeightOp clone(kern::WeightOp weight) {
    return cast<kern::WeightOp>(builder.clone(*weight.getOperation()));
  }
  plan::Kernel stepKernel() const {
    return info.kind == plan::OptimizerKind::Adamw ? plan::Kernel::AdamwStep
                                                   : plan::Kernel::SgdStep;
  }
  bool mayOverflow() const {
    auto interval = optimizer.getAs<IntegerAttr>("growth_interval");
    return plan::mayOverflow(precision, info, interval ? interval.getInt() : 0);
  }

  OpBuilder &builder;
  Location location;
  DictionaryAttr optimizer;
  plan::OptimizerInfo info;
  SmallVector<plan::StateKind> kinds;
  plan::Precision precision;
  RankedTensorType scalars;
  llvm::MapVector<StringRef, kern::WeightOp> weights; ///< by name, in the order of the plan
};

/// Attributes of a model that somebody may have edited.
Status OptimizerLowering::checkAttributes(plan::Kernel kernel) {
  for (plan::KernelAttribute attribute : plan::kernelInfo(kernel).attributes) {
    const plan::AttributeInfo &entry = plan::attributeInfo(attribute);
    auto real = optimizer.getAs<FloatAttr>(entry.name);
    auto integer = optimizer.getAs<IntegerAttr>(entry.name);
    bool given = entry.real ? real && plan::isInRange(entry.range, real.getValueAsDouble())
                            : integer && integer.getType().isInteger(64) && integer.getInt() >= 0;
    if (!given)
      return Status::error(ErrorCode::InvalidInput, "expected a legal '" + std::string(entry.name) +
                                                        "' in the model's optimizer, got another");
  }
  return {};
}

/// A procedure on the scalars; what `body` gives, where it gives something, takes their place.
kern::ProcedureOp OptimizerLowering::makeProcedure(StringRef name,
                                                   llvm::function_ref<Value(Value scalars)> body) {
  OpBuilder::InsertionGuard guard(builder);
  auto tensor = FlatSymbolRefAttr::get(builder.getContext(), plan::kOptimizerTensor);
  auto procedure = builder.create<kern::ProcedureOp>(
      location, builder.getStringAttr(name), builder.getStringAttr("optimizer"),
      builder.getStringAttr(plan::phaseName(plan::Phase::Optimizer)),
      builder.getStringAttr(plan::optimizerName(info.kind)), builder.getArrayAttr(tensor),
      IntegerAttr());
  Block *block = &procedure.getBody().emplaceBlock();
  Value argument = block->addArgument(scalars, location);
  builder.setInsertionPointToEnd(block);
  Value result = body(argument);
  if (result)
    builder.create<kern::ReturnOp>(location, builder.getArrayAttr(tensor), result);
  else
    builder.create<kern::ReturnOp>(location, builder.getArrayAttr({}), ValueRange());
  return procedure;
}

Value OptimizerLowering::countNonfinite(Value value) {
  for (auto &[name, weight] : weights) {
    auto gradient = builder.create<kern::GradientOp>(location, statisticTensor(weight),
                                                     builder.getStringAttr(name));
    value = builder.create<kern::CountNonfiniteOp>(location, scalars, gradient, value,
                                                   DenseI64ArrayAttr());
  }
  return value;
}

/// The kernel of the optimizer. `inputs` are in the order of its row, null where there is none.
ValueRange OptimizerLowering::makeStep(ArrayRef<Value> inputs, TypeRange types) {
  const plan::KernelInfo &row = plan::kernelInfo(stepKernel());
  OperationState state(location, ("kern." + StringRef(row.mnemonic)).str());
  SmallVector<int32_t> given, made;
  for (auto [operand, value] : llvm::zip(row.operands, inputs)) {
    given.push_back(value ? 1 : 0);
    if (value)
      state.addOperands(value);
  }
  for (const plan::OperandInfo &operand : row.operands)
    if (operand.isOutput())
      made.push_back(given[row.operandIndex(operand.mayAlias)]);
  for (plan::KernelAttribute attribute : row.attributes) {
    StringRef name = plan::attributeName(attribute);
    state.addAttribute(name, optimizer.get(name));
  }
  state.addTypes(types);
  auto count = [&](plan::OperandRole role) {
    return llvm::count_if(row.operands, [&](auto &operand) { return operand.role == role; });
  };
  if (count(plan::OperandRole::OptIn) > 1)
    state.addAttribute("operandSegmentSizes", builder.getDenseI32ArrayAttr(given));
  if (count(plan::OperandRole::OptOut) > 1)
    state.addAttribute("resultSegmentSizes", builder.getDenseI32ArrayAttr(made));
  return builder.create(state)->getResults();
}

void OptimizerLowering::updateWeights(Value value) {
  // The operand of the kernel that a kind of state is.
  auto operandOf = [](plan::StateKind kind) -> std::string_view {
    return kind == plan::StateKind::Momentum ? "velocity" : plan::stateName(kind);
  };
  const plan::KernelInfo &row = plan::kernelInfo(stepKernel());
  for (auto &[name, source] : weights) {
    kern::WeightOp weight = clone(source);
    StringAttr weightName = builder.getStringAttr(name);
    RankedTensorType type = statisticTensor(weight);
    SmallVector<Value> inputs;
    SmallVector<Type> types;
    for (const plan::OperandInfo &operand : row.operands) {
      auto kind = llvm::find_if(kinds, [&](plan::StateKind each) {
        return operandOf(each) == (operand.isOutput() ? operand.mayAlias : operand.name);
      });
      bool isWeight = operand.type == plan::OperandType::Storage;
      if (operand.isOutput()) {
        if (isWeight || kind != kinds.end())
          types.push_back(isWeight ? weight.getType() : Type(type));
      } else if (operand.name == "gradient") {
        inputs.push_back(builder.create<kern::GradientOp>(location, type, weightName));
      } else if (operand.name == "scalars") {
        inputs.push_back(value);
      } else if (isWeight) {
        inputs.push_back(weight);
      } else if (kind != kinds.end()) {
        inputs.push_back(builder.create<kern::StateOp>(
            location, type, builder.getStringAttr(plan::stateName(*kind)), weightName));
      } else {
        inputs.push_back(Value());
      }
    }
    ValueRange results = makeStep(inputs, types);
    builder.create<kern::StoreWeightOp>(location, results.front(), weight);
    size_t next = 1;
    for (const plan::OperandInfo &operand : row.operands)
      for (plan::StateKind kind : kinds)
        if (operand.isOutput() && operandOf(kind) == operand.mayAlias)
          builder.create<kern::StoreStateOp>(
              location, results[next++], builder.getStringAttr(plan::stateName(kind)), weightName);
  }
}

Value OptimizerLowering::advance(Value value) {
  return builder.create<kern::AdvanceOptimizerOp>(location, scalars, value,
                                                  optimizer.getAs<IntegerAttr>("growth_interval"),
                                                  DenseI64ArrayAttr());
}

/// Each procedure of `everywhere` for all blocks, one after the other, and `last` once.
void OptimizerLowering::makeProgram(ArrayRef<StringRef> everywhere, StringRef last,
                                    int64_t blocks) {
  MLIRContext *context = builder.getContext();
  auto tensor = builder.getArrayAttr(FlatSymbolRefAttr::get(context, plan::kOptimizerTensor));
  auto program = builder.create<kern::ProgramOp>(
      location, builder.getStringAttr(plan::phaseName(plan::Phase::Optimizer)), tensor, tensor);
  OpBuilder inner = OpBuilder::atBlockEnd(&program.getBody().emplaceBlock());
  auto addRun = [&](StringRef procedure, int64_t count) {
    auto run = inner.create<kern::BlocksOp>(location, inner.getI64IntegerAttr(0),
                                            inner.getI64IntegerAttr(count));
    OpBuilder calls = OpBuilder::atBlockEnd(&run.getBody().emplaceBlock());
    IntegerAttr zero = calls.getI64IntegerAttr(0);
    calls.create<kern::CallOp>(location, FlatSymbolRefAttr::get(context, procedure), IntegerAttr(),
                               zero, zero, zero, IntegerAttr(), IntegerAttr(), ArrayAttr(),
                               ArrayAttr());
  };
  for (StringRef procedure : everywhere)
    addRun(procedure, blocks);
  addRun(last, 1);
}

Status OptimizerLowering::run(ArrayRef<kern::ProcedureOp> procedures, int64_t blocks) {
  EVO_TRY(checkAttributes(stepKernel()));
  EVO_TRY(checkAttributes(plan::Kernel::AdvanceOptimizer));
  for (kern::ProcedureOp procedure : procedures)
    procedure->walk<WalkOrder::PreOrder>([&](kern::WeightOp weight) {
      weights.insert({weight.getName(), weight});
    });
  builder.create<kern::TensorOp>(location, builder.getStringAttr(plan::kOptimizerTensor),
                                 TypeAttr::get(scalars), IntegerAttr(), FlatSymbolRefAttr());
  SmallVector<StringRef> everywhere;
  if (mayOverflow()) {
    makeProcedure("optimizer.count_nonfinite", [&](Value value) { return countNonfinite(value); });
    everywhere.push_back("optimizer.count_nonfinite");
  }
  makeProcedure("optimizer.step", [&](Value value) {
    updateWeights(value);
    return Value();
  });
  everywhere.push_back("optimizer.step");
  makeProcedure("optimizer.advance", [&](Value value) { return advance(value); });
  makeProgram(everywhere, "optimizer.advance", blocks);
  return {};
}

} // namespace

Status lowerOptimizer(OpBuilder &builder, DictionaryAttr model,
                      ArrayRef<kern::ProcedureOp> procedures) {
  if (!optimizerInfo(model) || getMode(model) != plan::Mode::Train)
    return {};
  auto blocks = model.getAs<IntegerAttr>("blocks");
  if (!blocks)
    return Status::error(ErrorCode::InvalidInput, "expected 'blocks' in the model, got none");
  Location location = NameLoc::get(builder.getStringAttr("optimizer"));
  return OptimizerLowering(builder, location, model).run(procedures, blocks.getInt());
}

} // namespace evo
