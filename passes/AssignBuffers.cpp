//===- AssignBuffers.cpp - from values to buffers ---------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// Every value gets a place: a box of a buffer and the version that it is. One walk in program order
// decides and emits; nothing is moved afterwards.
//===----------------------------------------------------------------------===//
#include "passes/Passes.h"
#include "passes/Procedure.h"

#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/DenseSet.h"
#include "llvm/ADT/StringMap.h"

using namespace mlir;

namespace evo {

#define GEN_PASS_DEF_KERNASSIGNBUFFERS
#include "passes/Passes.h.inc"

namespace {

/// A box of a buffer, by buffer axis, the order in which the value lists those axes, and a version.
struct Place {
  Value buffer;
  SmallVector<plan::Start> start;
  SmallVector<plan::Extent> extent;
  SmallVector<int32_t> order;
  int64_t version = 0;
};

/// Rows of frame buffers start at multiples of this many bytes.
constexpr int64_t kRowBytes = 16;

/// A value that is one part of a concat, and where its part begins.
struct PartOf {
  kern::ConcatOp concat;
  int64_t start;
};

class Assigner {
public:
  explicit Assigner(kern::ProcedureOp procedure)
      : procedure(procedure), builder(procedure.getContext()) {}

  LogicalResult run();

private:
  // Places.
  Place wholePlace(Value buffer) const;
  Value getTensorBuffer(FlatSymbolRefAttr tensor, Type type);
  Value getSavedBuffer(StringRef slot, Type type);
  Value getGradientBuffer(StringRef weight, Type type);
  Value makeBuffer(Value &buffer, Type type, llvm::function_ref<Value(kern::BufferType)> create);
  Value getWeightBuffer(kern::WeightOp op);
  kern::BufferType frameType(Value value, ArrayRef<int64_t> layout, int64_t sliceLength) const;
  Place allocate(Value value, std::optional<ArrayRef<int64_t>> layout, StringRef name);
  Place &placeOf(Value value);
  Place slicePlace(Place place, int64_t axis, int32_t loop, int64_t size) const;

  // In-place legality.
  bool canOverwrite(Value value, Operation *op) const;
  std::optional<unsigned> findLoopTie(kern::SliceLoopOp loop, unsigned result) const;

  // Ops.
  LogicalResult assign(Operation *op);
  void assignKernel(kern::KernelOpInterface op);
  LogicalResult assignLoop(kern::SliceLoopOp loop);
  void assignReturn(kern::ReturnOp op);
  void assignConcat(kern::ConcatOp op);
  void sink(Value value, Value buffer, Location location);
  void planDestinations(Block &block);
  Place &concatPlace(kern::ConcatOp op);
  Place partPlace(const PartOf &part, Value value);
  void copyTo(Value value, const Place &target, Location location);
  Value makeView(const Place &place, Location location);
  void launch(kern::KernelOpInterface op, ArrayRef<std::optional<Place>> places);

  kern::ProcedureOp procedure;
  OpBuilder builder;
  Block *entry = nullptr;      ///< tensor and weight buffers stand at its beginning
  Operation *anchor = nullptr; ///< behind them
  llvm::DenseMap<Value, Place> places;
  llvm::DenseMap<Value, int64_t> lastVersion;
  llvm::DenseMap<Value, Place> destinations; ///< where a loop wants a yielded value
  llvm::DenseMap<Value, PartOf> parts;
  llvm::DenseMap<Operation *, Place> concats; ///< places of the concats begun so far
  llvm::DenseSet<Value> writable;            ///< block arguments whose memory may be taken over
  llvm::StringMap<Value> tensorBuffers, weightBuffers, savedBuffers, gradientBuffers;
  int32_t loops = 0, names = 0;
  int32_t currentLoop = -1;
  int64_t currentSlice = 0;
};

//===----------------------------------------------------------------------===//
// Places
//===----------------------------------------------------------------------===//

Place Assigner::wholePlace(Value buffer) const {
  Place place;
  place.buffer = buffer;
  auto shape = cast<kern::BufferType>(buffer.getType()).getShape();
  for (auto [axis, size] : llvm::enumerate(shape)) {
    place.start.push_back({0, -1});
    place.extent.push_back({size, -1});
    place.order.push_back(axis);
  }
  return place;
}

/// A dense buffer outside of the frame, made once and at the procedure's beginning.
Value Assigner::makeBuffer(Value &buffer, Type type,
                           llvm::function_ref<Value(kern::BufferType)> create) {
  if (buffer)
    return buffer;
  OpBuilder::InsertionGuard guard(builder);
  builder.setInsertionPoint(anchor);
  auto ranked = cast<RankedTensorType>(type);
  return buffer = create(kern::BufferType::get(builder.getContext(), ranked.getShape(),
                                               ranked.getElementType(), ranked.getShape().back()));
}

Value Assigner::getTensorBuffer(FlatSymbolRefAttr tensor, Type type) {
  return makeBuffer(tensorBuffers[tensor.getValue()], type, [&](kern::BufferType buffer) {
    return builder.create<kern::TensorBufferOp>(procedure.getLoc(), buffer, tensor);
  });
}

Value Assigner::getSavedBuffer(StringRef slot, Type type) {
  return makeBuffer(savedBuffers[slot], type, [&](kern::BufferType buffer) {
    return builder.create<kern::SavedBufferOp>(procedure.getLoc(), buffer,
                                               builder.getStringAttr(slot), IntegerAttr());
  });
}

Value Assigner::getGradientBuffer(StringRef weight, Type type) {
  return makeBuffer(gradientBuffers[weight], type, [&](kern::BufferType buffer) {
    return builder.create<kern::GradientBufferOp>(procedure.getLoc(), buffer,
                                                  builder.getStringAttr(weight));
  });
}

Value Assigner::getWeightBuffer(kern::WeightOp op) {
  return makeBuffer(weightBuffers[op.getName()], op.getType(), [&](kern::BufferType buffer) {
    return builder.create<kern::WeightBufferOp>(op.getLoc(), buffer, op.getNameAttr(),
                                                op.getPartsAttr(), op.getRowsAttr());
  });
}

kern::BufferType Assigner::frameType(Value value, ArrayRef<int64_t> layout,
                                     int64_t sliceLength) const {
  auto type = cast<RankedTensorType>(value.getType());
  SmallVector<int64_t> shape;
  for (int64_t axis : layout)
    shape.push_back(type.isDynamicDim(axis) ? sliceLength : type.getDimSize(axis));
  int64_t pitch = shape.back();
  if (shape.size() > 1)
    pitch =
        plan::alignTo(pitch, std::max<int64_t>(1, kRowBytes * 8 / type.getElementTypeBitWidth()));
  return kern::BufferType::get(builder.getContext(), shape, type.getElementType(), pitch);
}

/// A new frame buffer for `value`, whose sliced axis has the length of the current slice.
Place Assigner::allocate(Value value, std::optional<ArrayRef<int64_t>> layout, StringRef name) {
  auto type = cast<RankedTensorType>(value.getType());
  SmallVector<int64_t> order =
      layout ? llvm::to_vector(*layout) : llvm::to_vector(llvm::seq<int64_t>(0, type.getRank()));
  kern::BufferType bufferType = frameType(value, order, currentSlice);
  std::string unique = name.str() + "." + std::to_string(names++);
  Place place =
      wholePlace(builder.create<kern::AllocOp>(value.getLoc(), bufferType, unique, IntegerAttr()));
  for (auto [bufferAxis, axis] : llvm::enumerate(order)) {
    place.order[axis] = bufferAxis;
    if (type.isDynamicDim(axis))
      place.extent[bufferAxis].loop = currentLoop;
  }
  return place;
}

Place &Assigner::placeOf(Value value) {
  auto found = places.find(value);
  assert(found != places.end() && "a value is used before its place is known");
  return found->second;
}

/// The current slice of a whole place, along a value axis.
Place Assigner::slicePlace(Place place, int64_t axis, int32_t loop, int64_t size) const {
  int32_t bufferAxis = place.order[axis];
  place.start[bufferAxis].loop = loop;
  place.extent[bufferAxis] = {size, loop};
  return place;
}

//===----------------------------------------------------------------------===//
// In-place legality
//===----------------------------------------------------------------------===//

/// All values that look at the memory of `base`.
static void collectAliases(Value base, SmallVectorImpl<Value> &aliases) {
  aliases.push_back(base);
  for (Operation *user : base.getUsers())
    if (isa<kern::TransposeOp, kern::SliceOp>(user))
      collectAliases(user->getResult(0), aliases);
}

/// Whether `op` is the last reader of `value`'s memory and reads it through one operand only.
static bool isLastReader(Value value, Operation *op) {
  SmallVector<Value> aliases;
  collectAliases(kern::getViewBase(value), aliases);
  int64_t reads = 0;
  for (Value alias : aliases)
    for (OpOperand &use : alias.getUses()) {
      Operation *user = use.getOwner();
      if (isa<kern::TransposeOp, kern::SliceOp>(user))
        continue;
      if (user == op)
        ++reads;
      else if (op->isBeforeInBlock(user))
        return false;
    }
  return reads == 1;
}

/// Whether `op`, which reads `value`, may write over it: the memory is ours to write and nothing
/// else reads it from now on.
bool Assigner::canOverwrite(Value value, Operation *op) const {
  Value base = kern::getViewBase(value);
  bool ours = isa<BlockArgument>(base) ? writable.contains(base)
                                       : !isa<kern::WeightOp>(base.getDefiningOp());
  return ours && isLastReader(value, op);
}

/// The sliced operand whose slices result `result` takes over: the yielded value was made from the
/// block argument by kernels that overwrite it, and the loop may overwrite the operand.
std::optional<unsigned> Assigner::findLoopTie(kern::SliceLoopOp loop, unsigned result) const {
  Block &body = loop.getBody().front();
  Value current = body.getTerminator()->getOperand(result);
  while (auto kernel = current.getDefiningOp<kern::KernelOpInterface>()) {
    if (kernel.getKernelOutputs().front() != current)
      return std::nullopt;
    current = kernel.getTiedOperand(0);
    if (!current || !isLastReader(current, kernel))
      return std::nullopt;
  }
  auto argument = dyn_cast<BlockArgument>(current);
  if (!argument || argument.getOwner() != &body)
    return std::nullopt;
  unsigned index = argument.getArgNumber();
  if (index >= loop.getSlicedAxes().size() ||
      loop.getSlicedAxes()[index] != loop.getResultAxes()[result] ||
      !canOverwrite(loop.getOperand(index), loop))
    return std::nullopt;
  return index;
}

//===----------------------------------------------------------------------===//
// Launches
//===----------------------------------------------------------------------===//

Value Assigner::makeView(const Place &place, Location location) {
  SmallVector<int64_t> start, extent, shape;
  SmallVector<int32_t> startLoop, extentLoop;
  for (const plan::Start &entry : place.start) {
    start.push_back(entry.value);
    startLoop.push_back(entry.loop);
  }
  for (const plan::Extent &entry : place.extent) {
    extent.push_back(entry.value);
    extentLoop.push_back(entry.loop);
  }
  for (int32_t axis : place.order)
    shape.push_back(extent[axis]);
  Type element = cast<kern::BufferType>(place.buffer.getType()).getElementType();
  return builder.create<kern::ViewOp>(
      location, kern::ViewType::get(builder.getContext(), shape, element), place.buffer, start,
      startLoop, extent, extentLoop, place.order, place.version);
}

void Assigner::launch(kern::KernelOpInterface op, ArrayRef<std::optional<Place>> operands) {
  SmallVector<Value> views;
  SmallVector<bool> present;
  for (const std::optional<Place> &place : operands) {
    present.push_back(place.has_value());
    if (place)
      views.push_back(makeView(*place, op.getLoc()));
  }
  builder.create<kern::LaunchOp>(
      op.getLoc(), builder.getStringAttr(plan::kernelInfo(op.getKernel()).mnemonic), views,
      builder.getDenseBoolArrayAttr(present),
      kern::writeKernelAttributes(builder.getContext(), op.getKernel(), op.getKernelAttributes()),
      op->getAttrOfType<IntegerAttr>("cost_ns"));
}

void Assigner::assignKernel(kern::KernelOpInterface op) {
  SmallVector<std::optional<Place>> operands;
  for (Value input : op.getKernelInputs())
    operands.push_back(input ? std::optional(placeOf(input)) : std::nullopt);
  StringRef name = plan::kernelInfo(op.getKernel()).mnemonic;
  for (auto [index, output] : llvm::enumerate(op.getKernelOutputs())) {
    if (!output) {
      operands.push_back(std::nullopt);
      continue;
    }
    Value tied = op.getTiedOperand(index);
    auto destination = destinations.find(output);
    auto part = parts.find(output);
    Place place;
    if (part != parts.end()) {
      // All parts make one version of the whole.
      place = partPlace(part->second, output);
    } else {
      if (destination != destinations.end())
        place = destination->second;
      else if (tied && canOverwrite(tied, op))
        place = placeOf(tied);
      else
        place = allocate(output, index == 0 ? op.getStoreOrder() : std::nullopt, name);
      place.version = ++lastVersion[place.buffer];
    }
    operands.push_back(place);
    places[output] = place;
  }
  launch(op, operands);
}

/// Writes `value` to `target` by a copy kernel.
void Assigner::copyTo(Value value, const Place &target, Location location) {
  Value views[] = {makeView(placeOf(value), location), makeView(target, location)};
  builder.create<kern::LaunchOp>(location, builder.getStringAttr("copy"), views,
                                 builder.getDenseBoolArrayAttr({true, true}),
                                 builder.getDictionaryAttr({}), IntegerAttr());
}

//===----------------------------------------------------------------------===//
// Parts and sinks
//===----------------------------------------------------------------------===//

/// Settles where values go whose reader wants them in a certain place: kept tensors, gradients of weights
/// and parts of a concat. Their kernels write them there.
void Assigner::planDestinations(Block &block) {
  for (auto op : block.getOps<kern::ConcatOp>()) {
    int64_t start = 0;
    for (Value part : op.getParts()) {
      if (part.getDefiningOp<kern::KernelOpInterface>())
        parts.try_emplace(part, PartOf{op, start});
      start += cast<RankedTensorType>(part.getType()).getDimSize(op.getAxis());
    }
  }
  auto want = [&](Value value, Value buffer) {
    Place place = wholePlace(buffer);
    if (auto concat = value.getDefiningOp<kern::ConcatOp>()) {
      place.version = ++lastVersion[buffer];
      concats.try_emplace(concat, place);
    } else if (value.getDefiningOp<kern::KernelOpInterface>() && !parts.contains(value)) {
      destinations.try_emplace(value, place);
    }
  };
  for (Operation &op : block) {
    if (auto save = dyn_cast<kern::SaveOp>(op))
      want(save.getValue(), getSavedBuffer(save.getSlot(), save.getValue().getType()));
    else if (auto store = dyn_cast<kern::StoreGradientOp>(op))
      want(store.getValue(), getGradientBuffer(store.getWeight(), store.getValue().getType()));
  }
}

Place &Assigner::concatPlace(kern::ConcatOp op) {
  auto found = concats.find(op);
  if (found != concats.end())
    return found->second;
  Place place = allocate(op.getResult(), std::nullopt, "concat");
  place.version = ++lastVersion[place.buffer];
  return concats.try_emplace(op, place).first->second;
}

Place Assigner::partPlace(const PartOf &part, Value value) {
  kern::ConcatOp concat = part.concat;
  Place place = concatPlace(concat);
  int32_t axis = place.order[concat.getAxis()];
  place.start[axis].value += part.start;
  place.extent[axis].value =
      cast<RankedTensorType>(value.getType()).getDimSize(concat.getAxis());
  return place;
}

/// The value belongs in `buffer`: nothing to do where its kernel has written it there.
void Assigner::sink(Value value, Value buffer, Location location) {
  if (placeOf(value).buffer == buffer)
    return;
  Place target = wholePlace(buffer);
  target.version = ++lastVersion[buffer];
  copyTo(value, target, location);
}

void Assigner::assignConcat(kern::ConcatOp op) {
  int64_t start = 0;
  for (Value value : op.getParts()) {
    PartOf part{op, start};
    start += cast<RankedTensorType>(value.getType()).getDimSize(op.getAxis());
    auto known = parts.find(value);
    bool written = known != parts.end() && known->second.concat == op &&
                   known->second.start == part.start;
    if (!written)
      copyTo(value, partPlace(part, value), op.getLoc());
  }
  places[op.getResult()] = concatPlace(op);
}

//===----------------------------------------------------------------------===//
// Loops and ends
//===----------------------------------------------------------------------===//

LogicalResult Assigner::assignLoop(kern::SliceLoopOp loop) {
  Block &body = loop.getBody().front();
  if (loop.getResultAxes().size() != loop.getNumResults())
    return loop.emitOpError("sums over slices belong to backward procedures, which this lowering "
                            "does not carry out yet");
  int32_t id = loops++;
  int64_t size = std::min<int64_t>(loop.getSize(), loop.getExtent());
  for (auto [index, operand] : llvm::enumerate(loop.getOperands())) {
    Place place = placeOf(operand);
    if (index < loop.getSlicedAxes().size())
      place = slicePlace(place, loop.getSlicedAxes()[index], id, size);
    places[body.getArgument(index)] = place;
  }
  // Where the results go is settled before the loop, so that their slices are written in place.
  SmallVector<std::optional<Place>> wholes;
  SmallVector<std::optional<unsigned>> ties;
  for (unsigned i = 0; i < loop.getNumResults(); ++i) {
    ties.push_back(findLoopTie(loop, i));
    Value yielded = body.getTerminator()->getOperand(i);
    if (ties.back()) {
      writable.insert(body.getArgument(*ties.back()));
      wholes.push_back(placeOf(loop.getOperand(*ties.back())));
      continue;
    }
    auto kernel = yielded.getDefiningOp<kern::KernelOpInterface>();
    wholes.push_back(allocate(loop.getResult(i), kernel ? kernel.getStoreOrder() : std::nullopt,
                              kernel ? StringRef(plan::kernelInfo(kernel.getKernel()).mnemonic)
                                     : StringRef("slices")));
    Place slice = slicePlace(*wholes.back(), loop.getResultAxes()[i], id, size);
    if (kernel && kernel.getKernelOutputs().front() == yielded)
      destinations[yielded] = slice;
  }
  auto bufferLoop =
      builder.create<kern::LoopOp>(loop.getLoc(), builder.getI32IntegerAttr(id), loop.getAxisAttr(),
                                   loop.getExtentAttr(), builder.getI64IntegerAttr(size));
  OpBuilder::InsertionGuard guard(builder);
  Block *inner = &bufferLoop.getBody().emplaceBlock();
  builder.setInsertionPointToEnd(inner);
  currentLoop = id;
  currentSlice = size;
  for (Operation &op : body.without_terminator())
    if (failed(assign(&op)))
      return failure();
  for (unsigned i = 0; i < loop.getNumResults(); ++i) {
    Value yielded = body.getTerminator()->getOperand(i);
    Place whole = *wholes[i];
    if (!ties[i] && !destinations.contains(yielded)) {
      whole.version = ++lastVersion[whole.buffer];
      copyTo(yielded, slicePlace(whole, loop.getResultAxes()[i], id, size), loop.getLoc());
    } else {
      whole.version = placeOf(yielded).version;
    }
    places[loop.getResult(i)] = whole;
  }
  builder.create<kern::YieldOp>(loop.getLoc());
  currentLoop = -1;
  currentSlice = 0;
  return success();
}

void Assigner::assignReturn(kern::ReturnOp op) {
  for (auto [tensor, value] : llvm::zip_equal(op.getTensors(), op.getValues())) {
    Place slot = wholePlace(getTensorBuffer(cast<FlatSymbolRefAttr>(tensor), value.getType()));
    const Place &place = placeOf(value);
    bool whole = place.buffer == slot.buffer && place.start == slot.start &&
                 place.extent == slot.extent && place.order == slot.order;
    if (whole)
      continue;
    if (place.buffer == slot.buffer) {
      // The slot's own elements in another order: a copy may not read what it writes.
      Place detour = allocate(value, std::nullopt, "copy");
      detour.version = ++lastVersion[detour.buffer];
      copyTo(value, detour, op.getLoc());
      places[value] = detour;
    }
    slot.version = ++lastVersion[slot.buffer];
    copyTo(value, slot, op.getLoc());
  }
  builder.create<kern::ReturnOp>(op.getLoc(), builder.getArrayAttr({}), ValueRange());
}

LogicalResult Assigner::assign(Operation *op) {
  if (auto weight = dyn_cast<kern::WeightOp>(op)) {
    places[weight.getResult()] = wholePlace(getWeightBuffer(weight));
  } else if (auto transpose = dyn_cast<kern::TransposeOp>(op)) {
    Place place = placeOf(transpose.getInput());
    SmallVector<int32_t> old = place.order;
    for (auto [axis, source] : llvm::enumerate(transpose.getOrder()))
      place.order[axis] = old[source];
    places[transpose.getResult()] = place;
  } else if (auto slice = dyn_cast<kern::SliceOp>(op)) {
    Place place = placeOf(slice.getInput());
    int32_t axis = place.order[slice.getAxis()];
    place.start[axis].value += slice.getStart();
    place.extent[axis].value = slice.getSize();
    places[slice.getResult()] = place;
  } else if (auto kernel = dyn_cast<kern::KernelOpInterface>(op)) {
    assignKernel(kernel);
  } else if (auto loop = dyn_cast<kern::SliceLoopOp>(op)) {
    return assignLoop(loop);
  } else if (auto concat = dyn_cast<kern::ConcatOp>(op)) {
    assignConcat(concat);
  } else if (auto save = dyn_cast<kern::SaveOp>(op)) {
    sink(save.getValue(), getSavedBuffer(save.getSlot(), save.getValue().getType()), op->getLoc());
  } else if (auto store = dyn_cast<kern::StoreGradientOp>(op)) {
    sink(store.getValue(), getGradientBuffer(store.getWeight(), store.getValue().getType()),
         op->getLoc());
  } else if (auto end = dyn_cast<kern::ReturnOp>(op)) {
    assignReturn(end);
  } else {
    return op->emitOpError("is not of the value level");
  }
  return success();
}

LogicalResult Assigner::run() {
  Block *old = &procedure.getBody().front();
  entry = new Block;
  builder.setInsertionPointToEnd(entry);
  // A marker that buffers are put before; it goes at the end.
  anchor =
      builder.create<kern::ReturnOp>(procedure.getLoc(), builder.getArrayAttr({}), ValueRange());
  builder.setInsertionPointToEnd(entry);
  auto end = cast<kern::ReturnOp>(old->getTerminator());
  for (auto [tensor, argument] : llvm::zip_equal(procedure.getTensors(), old->getArguments())) {
    std::optional<StringRef> slot = kern::getSavedSlot(tensor);
    places[argument] =
        wholePlace(slot ? getSavedBuffer(*slot, argument.getType())
                        : getTensorBuffer(cast<FlatSymbolRefAttr>(tensor), argument.getType()));
    if (llvm::is_contained(end.getTensors(), tensor))
      writable.insert(argument);
  }
  planDestinations(*old);
  for (Operation &op : *old)
    if (failed(assign(&op))) {
      delete entry;
      return failure();
    }
  anchor->erase();
  procedure.getBody().push_back(entry);
  old->dropAllReferences();
  old->erase();
  return success();
}

} // namespace

LogicalResult assignBuffers(kern::ProcedureOp procedure) {
  if (procedure.getBody().front().getNumArguments() == 0)
    return procedure.emitOpError("expected the value level: block arguments for its tensors");
  return Assigner(procedure).run();
}

namespace {
struct KernAssignBuffersPass : impl::KernAssignBuffersBase<KernAssignBuffersPass> {
  void runOnOperation() override {
    for (auto procedure : getOperation().getOps<kern::ProcedureOp>())
      if (failed(assignBuffers(procedure)))
        return signalPassFailure();
  }
};
} // namespace

} // namespace evo
