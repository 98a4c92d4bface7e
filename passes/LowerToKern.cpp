//===- LowerToKern.cpp - modules to procedures, stack to program -*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "passes/Passes.h"
#include "passes/Procedure.h"

#include "llvm/ADT/MapVector.h"
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
  return text;
}

plan::Precision getPrecision(DictionaryAttr model) {
  auto name = model ? model.getAs<StringAttr>("precision") : StringAttr();
  return plan::parsePrecision(name ? std::string_view(name.getValue()) : "fp32")
      .value_or(plan::Precision::Fp32);
}

kern::ProcedureOp emitProcedure(OpBuilder &builder, ir::ModuleOpInterface op,
                                ir::ChoiceAttr choice, StringRef name,
                                plan::Precision precision) {
  OpBuilder::InsertionGuard guard(builder);
  MLIRContext *context = builder.getContext();
  Location location = NameLoc::get(builder.getStringAttr(op.getParameterPrefix()));
  SmallVector<Attribute> tensors;
  for (StringRef tensor : op.getTensorNames())
    tensors.push_back(FlatSymbolRefAttr::get(context, tensor));
  auto procedure = builder.create<kern::ProcedureOp>(
      location, builder.getStringAttr(name), builder.getStringAttr(op.getParameterPrefix()),
      builder.getStringAttr(plan::phaseName(plan::Phase::Forward)),
      builder.getStringAttr(choiceText(choice)), builder.getArrayAttr(tensors), IntegerAttr());
  Block *body = &procedure.getBody().emplaceBlock();
  for (Value operand : op->getOperands())
    body->addArgument(operand.getType(), location);
  builder.setInsertionPointToEnd(body);
  kern::KernBuilder kernels(builder, location,
                            kern::fromDType(context, plan::storageType(precision)),
                            kern::fromDType(context, plan::statisticType(precision)));
  Value updated = op.emitForward(kernels, body->getArguments(), choice);
  Attribute stream = FlatSymbolRefAttr::get(context, op.getUpdatedTensor());
  builder.create<kern::ReturnOp>(location, builder.getArrayAttr(stream), updated);
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

struct StackLowering {
  OpBuilder builder;
  plan::Precision precision;
  std::vector<std::pair<ProcedureKey, std::string>> procedures;
  llvm::StringSet<> names;

  std::string uniqueName(StringRef prefix) {
    std::string name = prefix.str();
    for (int copy = 2; !names.insert(name).second; ++copy)
      name = prefix.str() + "." + std::to_string(copy);
    return name;
  }

  /// The procedure of a module, made where it is new.
  std::string getProcedure(ir::ModuleOpInterface op) {
    ProcedureKey key{op->getName().getStringRef(), op->getAttrDictionary(),
                     FunctionType::get(op->getContext(), op->getOperandTypes(),
                                       op->getResultTypes())};
    for (const auto &[known, name] : procedures)
      if (known == key)
        return name;
    std::string name = uniqueName(op.getParameterPrefix());
    emitProcedure(builder, op, op.getModuleChoice(), name, precision);
    procedures.emplace_back(key, name);
    return name;
  }
};

} // namespace

static void makeTensors(ir::StackOp stack, OpBuilder &builder) {
  for (auto [name, argument] :
       llvm::zip_equal(stack.getTensors().getAsValueRange<StringAttr>(),
                       stack.getBody().getArguments()))
    builder.create<kern::TensorOp>(stack.getLoc(), builder.getStringAttr(name),
                                   TypeAttr::get(argument.getType()), IntegerAttr());
}

static kern::ProgramOp makeProgram(ir::StackOp stack, OpBuilder &builder) {
  SmallVector<Attribute> inputs, outputs;
  for (StringRef name : stack.getTensors().getAsValueRange<StringAttr>())
    inputs.push_back(FlatSymbolRefAttr::get(stack.getContext(), name));
  // The streams come first among the boundary tensors; the stack yields one value a stream.
  unsigned streams = stack.getBody().front().getTerminator()->getNumOperands();
  outputs.assign(inputs.begin(), inputs.begin() + streams);
  auto program = builder.create<kern::ProgramOp>(
      stack.getLoc(), builder.getStringAttr(plan::phaseName(plan::Phase::Forward)),
      builder.getArrayAttr(inputs), builder.getArrayAttr(outputs));
  program.getBody().emplaceBlock();
  return program;
}

namespace {
struct EvoLowerToKernPass : impl::EvoLowerToKernBase<EvoLowerToKernPass> {
  void runOnOperation() override {
    ModuleOp module = getOperation();
    for (ir::StackOp stack : llvm::make_early_inc_range(module.getOps<ir::StackOp>())) {
      module->setAttr(kModelAttr, stack.getModel());
      StackLowering lowering{OpBuilder(stack), getPrecision(stack.getModel()), {}, {}};
      makeTensors(stack, lowering.builder);
      // Calls are collected first, so that procedures stand before the program.
      llvm::MapVector<Operation *, SmallVector<std::string>> calls;
      for (auto segment : stack.getBody().front().getOps<ir::SegmentOp>())
        for (Operation &op : segment.getBody().front())
          if (auto moduleOp = dyn_cast<ir::ModuleOpInterface>(op))
            calls[segment].push_back(lowering.getProcedure(moduleOp));
      kern::ProgramOp program = makeProgram(stack, lowering.builder);
      OpBuilder builder = OpBuilder::atBlockEnd(&program.getBody().front());
      for (auto &[op, names] : calls) {
        auto segment = cast<ir::SegmentOp>(op);
        auto blocks = builder.create<kern::BlocksOp>(stack.getLoc(), segment.getFirstAttr(),
                                                     segment.getCountAttr());
        OpBuilder inner = OpBuilder::atBlockEnd(&blocks.getBody().emplaceBlock());
        for (const std::string &name : names)
          inner.create<kern::CallOp>(stack.getLoc(), FlatSymbolRefAttr::get(&getContext(), name),
                                     IntegerAttr());
      }
      stack.erase();
    }
  }
};
} // namespace

} // namespace evo
