//===- EmitProcedures.cpp - forward and backward of a unit ------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// Forward and backward emit the same kernels in the same order, so both know a value by its slot:
// "linear.3" is the result of the fourth kernel, "m" the stream as the unit finds it.
//===----------------------------------------------------------------------===//
#include "dialects/Kern/Gradients.h"
#include "passes/Unit.h"

#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/StringMap.h"

using namespace mlir;

namespace evo {

namespace {

/// A procedure while its body is emitted.
struct Emission {
  OpBuilder &builder;
  const Unit &unit;
  Type storage, statistic;
  kern::ProcedureOp procedure;
  llvm::StringMap<Value> tensors; ///< newest value by name

  Emission(OpBuilder &builder, const Unit &unit, plan::Precision precision)
      : builder(builder), unit(unit),
        storage(kern::fromDType(builder.getContext(), plan::storageType(precision))),
        statistic(kern::fromDType(builder.getContext(), plan::statisticType(precision))) {}

  void begin(StringRef name, plan::Phase phase, ArrayRef<Attribute> names, TypeRange types);
  void emitModules(bool backward);
  Block &body() { return procedure.getBody().front(); }
};

} // namespace

static kern::ProcedureOp makeProcedure(OpBuilder &builder, Location location, StringRef name,
                                       StringRef module, StringRef choice, plan::Phase phase,
                                       ArrayRef<Attribute> tensors, TypeRange types) {
  auto procedure = builder.create<kern::ProcedureOp>(
      location, builder.getStringAttr(name), builder.getStringAttr(module),
      builder.getStringAttr(plan::phaseName(phase)), builder.getStringAttr(choice),
      builder.getArrayAttr(tensors), IntegerAttr());
  Block *body = &procedure.getBody().emplaceBlock();
  for (Type type : types)
    body->addArgument(type, location);
  return procedure;
}

void Emission::begin(StringRef name, plan::Phase phase, ArrayRef<Attribute> names,
                     TypeRange types) {
  Location location = NameLoc::get(builder.getStringAttr(unit.name()));
  procedure =
      makeProcedure(builder, location, name, unit.name(), unit.choiceText(), phase, names, types);
  builder.setInsertionPointToEnd(&body());
  for (auto [tensor, value] : llvm::zip(unit.tensors(), body().getArguments()))
    tensors[tensor] = value;
}

void Emission::emitModules(bool backward) {
  kern::KernBuilder kernels(builder, procedure.getLoc(), storage, statistic);
  if (backward)
    kernels.keepStatistics();
  SmallVector<ir::KernelVariant> variants;
  for (ir::ChoiceAttr choice : unit.choices) {
    bool own = backward && unit.keep == ir::Keep::Input && unit.modules.size() == 1;
    variants.push_back(own ? choice.getBackwardVariant() : choice.getVariant());
  }
  ir::emitModules(kernels, unit.modules, variants, backward ? unit.backwardAxis : unit.axis,
                  backward ? unit.backwardSize : unit.size, tensors);
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

/// The values that a forward may keep, by slot: results of kernels that read something.
static llvm::MapVector<StringRef, Value> slotsOf(Block &body, MLIRContext *context) {
  llvm::MapVector<StringRef, Value> slots;
  int64_t number = 0;
  for (auto kernel : body.getOps<kern::KernelOpInterface>()) {
    std::string name =
        std::string(plan::kernelInfo(kernel.getKernel()).mnemonic) + "." + std::to_string(number++);
    if (kernel->getNumOperands() == 0)
      continue;
    for (auto [index, result] : llvm::enumerate(kernel->getResults())) {
      std::string slot = name + (index ? "." + std::to_string(index) : "");
      slots.insert({StringAttr::get(context, slot).getValue(), result});
    }
  }
  return slots;
}

/// The order in which a value's axes lie in memory where its kernel does not store them as its type
/// lists them.
static SmallVector<int64_t> storeOrder(Value value) {
  auto kernel = value.getDefiningOp<kern::KernelOpInterface>();
  if (kernel && kernel.getKernelOutputs().front() == value)
    if (std::optional<ArrayRef<int64_t>> order = kernel.getStoreOrder())
      return SmallVector<int64_t>(*order);
  return {};
}

static Value transpose(OpBuilder &builder, Location location, Value value,
                       ArrayRef<int64_t> order) {
  auto type = cast<RankedTensorType>(value.getType());
  SmallVector<int64_t> shape;
  for (int64_t axis : order)
    shape.push_back(type.getDimSize(axis));
  return builder.create<kern::TransposeOp>(
      location, RankedTensorType::get(shape, type.getElementType()), value, order);
}

//===----------------------------------------------------------------------===//
// Forward
//===----------------------------------------------------------------------===//

static void saveCopy(OpBuilder &builder, Value stream, StringRef slot) {
  Value copy =
      builder.create<kern::CopyOp>(stream.getLoc(), stream.getType(), stream, DenseI64ArrayAttr());
  builder.create<kern::SaveOp>(stream.getLoc(), copy, builder.getStringAttr(slot));
}

kern::ProcedureOp emitForward(OpBuilder &builder, const Unit &unit, StringRef name,
                              plan::Precision precision, const ForwardOptions &options) {
  OpBuilder::InsertionGuard guard(builder);
  Emission emission(builder, unit, precision);
  SmallVector<Attribute> names;
  SmallVector<Type> types;
  for (StringRef tensor : unit.tensors()) {
    names.push_back(FlatSymbolRefAttr::get(builder.getContext(), tensor));
    types.push_back(unit.typeOf(tensor));
  }
  emission.begin(name, plan::Phase::Forward, names, types);
  Location location = emission.procedure.getLoc();
  Block &body = emission.body();
  emission.emitModules(keepsResults(unit.keep) && !options.kept.empty());
  auto slots = slotsOf(body, builder.getContext());
  for (const auto &[slot, value] : slots)
    if (options.kept.count(slot.str())) {
      SmallVector<int64_t> order = storeOrder(value);
      Value stored = order.empty() ? value : transpose(builder, location, value, order);
      builder.create<kern::SaveOp>(location, stored, builder.getStringAttr(slot));
    }
  SmallVector<Attribute> streams;
  SmallVector<Value> results;
  for (StringRef stream : unit.updated())
    if (!options.dropped.count(stream.str())) {
      streams.push_back(FlatSymbolRefAttr::get(builder.getContext(), stream));
      results.push_back(emission.tensors.lookup(stream));
    }
  builder.create<kern::ReturnOp>(location, builder.getArrayAttr(streams), results);
  builder.setInsertionPointToStart(&body);
  for (auto [tensor, value] : llvm::zip_equal(unit.tensors(), body.getArguments()))
    if (options.kept.count(tensor.str()))
      saveCopy(builder, value, tensor);
  kern::eraseDeadOps(body);
  eraseUnusedArguments(emission.procedure);
  return emission.procedure;
}

kern::ProcedureOp emitCheckpoint(OpBuilder &builder, Location location,
                                 ArrayRef<std::pair<std::string, Type>> streams, StringRef name) {
  OpBuilder::InsertionGuard guard(builder);
  SmallVector<Attribute> names;
  SmallVector<Type> types;
  for (const auto &[stream, type] : streams) {
    names.push_back(FlatSymbolRefAttr::get(builder.getContext(), stream));
    types.push_back(type);
  }
  kern::ProcedureOp procedure = makeProcedure(builder, location, name, "checkpoint", "copy",
                                              plan::Phase::Forward, names, types);
  Block &body = procedure.getBody().front();
  builder.setInsertionPointToEnd(&body);
  for (auto [entry, value] : llvm::zip_equal(streams, body.getArguments()))
    saveCopy(builder, value, entry.first);
  builder.create<kern::ReturnOp>(location, builder.getArrayAttr({}), ValueRange());
  return procedure;
}

//===----------------------------------------------------------------------===//
// Backward
//===----------------------------------------------------------------------===//

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

/// Whether a unit that keeps results computes this kernel again instead of keeping what it makes.
static bool isComputedAgain(kern::KernelOpInterface kernel, ir::Keep keep) {
  switch (kernel.getKernel()) {
  case plan::Kernel::Softmax:
    return false; // as large as what it would be computed from
  case plan::Kernel::Linear:
  case plan::Kernel::GatedLinear:
    return keep == ir::Keep::Mixing;
  default:
    return keep != ir::Keep::All && !kernel.isMatmul();
  }
}

namespace {
/// Finds what of a unit's forward its sweep needs to be kept.
struct KeptFinder {
  const llvm::DenseSet<Operation *> &forward;
  ir::Keep keep;
  llvm::DenseSet<Value> kept, visited;

  /// The value is read by what is left.
  void need(Value value) {
    Operation *op = value.getDefiningOp();
    if (!op || !forward.contains(op) || !visited.insert(value).second)
      return;
    auto kernel = dyn_cast<kern::KernelOpInterface>(op);
    if (kernel && kernel->getNumOperands() > 0 && !isComputedAgain(kernel, keep)) {
      kept.insert(value);
      return;
    }
    for (Value operand : op->getOperands())
      need(operand);
  }
};
} // namespace

/// Replaces what the sweep reads of the forward by kept tensors; what nobody needs then vanishes.
static void readKept(kern::ProcedureOp procedure, const llvm::MapVector<StringRef, Value> &slots,
                     const llvm::DenseSet<Operation *> &forward, ir::Keep keep) {
  Block &body = procedure.getBody().front();
  MLIRContext *context = procedure.getContext();
  SmallVector<Attribute> tensors(procedure.getTensors().getValue());
  OpBuilder builder = OpBuilder::atBlockBegin(&body);
  KeptFinder finder{forward, keep, {}, {}};
  for (Operation &op : body)
    if (!forward.contains(&op))
      op.walk([&](Operation *inner) {
        for (Value operand : inner->getOperands())
          finder.need(operand);
      });
  SmallVector<std::pair<StringRef, Value>> kept;
  for (const auto &[slot, value] : slots)
    if (finder.kept.contains(value))
      kept.emplace_back(slot, value);
  for (auto [slot, value] : kept) {
    SmallVector<int64_t> order = storeOrder(value), inverse(order.size());
    auto type = cast<RankedTensorType>(value.getType());
    SmallVector<int64_t> shape;
    for (int64_t axis : order)
      shape.push_back(type.getDimSize(axis));
    for (auto [axis, source] : llvm::enumerate(order))
      inverse[source] = axis;
    Value argument =
        body.addArgument(order.empty() ? type : RankedTensorType::get(shape, type.getElementType()),
                         procedure.getLoc());
    tensors.push_back(SymbolRefAttr::get(context, "saved", FlatSymbolRefAttr::get(context, slot)));
    Value known =
        order.empty() ? argument : transpose(builder, procedure.getLoc(), argument, inverse);
    value.replaceAllUsesWith(known);
  }
  procedure.setTensorsAttr(ArrayAttr::get(context, tensors));
}

/// The gradients of the streams at the unit's end, set before the sweep.
static void seedGradients(Emission &emission, kern::GradientBuilder &gradients) {
  SmallVector<StringRef> names = emission.unit.tensors(), updated = emission.unit.updated();
  unsigned next = names.size();
  for (auto [tensor, value] : llvm::zip(names, emission.body().getArguments())) {
    if (!isStream(tensor)) {
      gradients.setMask(value);
      continue;
    }
    gradients.setActive(value);
    bool isUpdated = llvm::is_contained(updated, tensor);
    gradients.set(isUpdated ? emission.tensors.lookup(tensor) : Value(value),
                  emission.body().getArgument(next++));
  }
}

FailureOr<kern::ProcedureOp> emitBackward(OpBuilder &builder, const Unit &unit, StringRef name,
                                          plan::Precision precision) {
  OpBuilder::InsertionGuard guard(builder);
  MLIRContext *context = builder.getContext();
  Emission emission(builder, unit, precision);
  SmallVector<Attribute> tensors, gradientTensors;
  SmallVector<Type> types, gradientTypes;
  for (StringRef tensor : unit.tensors()) {
    auto flat = FlatSymbolRefAttr::get(context, tensor);
    tensors.push_back(isStream(tensor) ? Attribute(SymbolRefAttr::get(context, "saved", flat))
                                       : Attribute(flat));
    types.push_back(unit.typeOf(tensor));
    if (!isStream(tensor))
      continue;
    gradientTensors.push_back(FlatSymbolRefAttr::get(context, gradientName(tensor)));
    gradientTypes.push_back(types.back());
  }
  llvm::append_range(tensors, gradientTensors);
  llvm::append_range(types, gradientTypes);
  emission.begin(name, plan::Phase::Backward, tensors, types);
  Block &body = emission.body();
  Location location = emission.procedure.getLoc();
  emission.emitModules(true);
  auto slots = slotsOf(body, context);
  uniteWeights(body);
  llvm::DenseSet<Operation *> forward;
  for (Operation &op : body)
    forward.insert(&op);

  kern::GradientBuilder gradients(builder, location, emission.storage, emission.statistic);
  seedGradients(emission, gradients);
  SmallVector<Value> inputs;
  for (auto [tensor, value] : llvm::zip(unit.tensors(), body.getArguments()))
    if (isStream(tensor))
      inputs.push_back(value);
  if (failed(gradients.sweep(body)))
    return failure();
  for (auto [weight, gradient] : gradients.weightGradients())
    builder.create<kern::StoreGradientOp>(location, gradient,
                                          weight.getDefiningOp<kern::WeightOp>().getNameAttr());
  SmallVector<Value> results;
  for (Value input : inputs)
    results.push_back(gradients.get(input));
  builder.create<kern::ReturnOp>(location, builder.getArrayAttr(gradientTensors), results);
  kern::eraseDeadOps(body);
  if (keepsResults(unit.keep)) {
    // Only what is left of the forward may be looked at: its dead ops are gone.
    llvm::DenseSet<Operation *> left;
    llvm::MapVector<StringRef, Value> alive;
    for (Operation &op : body)
      if (forward.contains(&op))
        left.insert(&op);
    for (const auto &[slot, value] : slots)
      if (llvm::any_of(left, [&, v = value](Operation *op) {
            return llvm::is_contained(op->getResults(), v);
          }))
        alive.insert({slot, value});
    readKept(emission.procedure, alive, left, unit.keep);
    kern::eraseDeadOps(body);
  }
  eraseUnusedArguments(emission.procedure);
  return emission.procedure;
}

std::set<std::string> keptSlots(kern::ProcedureOp backward) {
  std::set<std::string> slots;
  for (Attribute tensor : backward.getTensors())
    if (std::optional<StringRef> slot = kern::getSavedSlot(tensor))
      slots.insert(slot->str());
  return slots;
}

} // namespace evo
