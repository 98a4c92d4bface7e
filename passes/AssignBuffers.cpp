//===- AssignBuffers.cpp - from values to buffers ---------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "passes/Assigner.h"
#include "passes/Passes.h"

using namespace mlir;

namespace evo {

#define GEN_PASS_DEF_KERNASSIGNBUFFERS
#include "passes/Passes.h.inc"

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
  const plan::KernelInfo &info = plan::kernelInfo(op.getKernel());
  SmallVector<std::optional<Place>> operands;
  for (Value input : op.getKernelInputs())
    operands.push_back(input ? std::optional(placeOf(input)) : std::nullopt);
  for (auto [index, output] : llvm::enumerate(op.getKernelOutputs())) {
    if (!output) {
      operands.push_back(std::nullopt);
      continue;
    }
    Value tied = op.getTiedOperand(index);
    std::optional<Place> wanted = wantedPlace(output);
    Place place;
    if (auto sum = sums.find(output); sum != sums.end()) {
      place = sum->second.place;
      Place zeros = place;
      zeros.version = sum->second.zeros;
      operands[info.operandIndex(info.operands[operands.size()].mayAlias)] = zeros;
    } else if (wanted) {
      place = *wanted;
    } else {
      place = tied && canOverwrite(tied, op)
                  ? placeOf(tied)
                  : allocate(output, index == 0 ? op.getStoreOrder() : std::nullopt, info.mnemonic);
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
// Loops and ends
//===----------------------------------------------------------------------===//

void Assigner::launchZero(const Place &place, Location location, IntegerAttr costNs) {
  builder.create<kern::LaunchOp>(location, builder.getStringAttr("zero"), makeView(place, location),
                                 builder.getDenseBoolArrayAttr({true}),
                                 builder.getDictionaryAttr({}), costNs);
}

/// Where a result of slices goes is settled before the loop, so that they are written in place:
/// over the operand that it takes over, to where its reader wants it, or to a new buffer.
void Assigner::prepareSlices(kern::SliceLoopOp loop, unsigned index, int32_t id, int64_t size) {
  Block &body = loop.getBody().front();
  Value result = loop.getResult(index);
  if (std::optional<unsigned> tie = findLoopTie(loop, index)) {
    writable.insert(body.getArgument(*tie));
    ties[result] = *tie;
    return;
  }
  kern::Transposed made = kern::peelTransposes(body.getTerminator()->getOperand(index));
  std::optional<Place> wanted = wantedPlace(result);
  Place whole = wanted ? *wanted : allocateResult(result, made);
  if (!wanted)
    whole.version = ++lastVersion[whole.buffer];
  wholes[result] = whole;
  auto kernel = made.base.getDefiningOp<kern::KernelOpInterface>();
  Place slice = slicePlace(whole, loop.getResultAxes()[index], id, size);
  if (kernel && kernel.getKernelOutputs().front() == made.base)
    destinations[made.base] = untransposed(slice, made.order);
}

/// A slice that no kernel has written to its place is copied there.
void Assigner::finishSlices(kern::SliceLoopOp loop, unsigned index, int32_t id, int64_t size) {
  Value yielded = loop.getBody().front().getTerminator()->getOperand(index);
  Value result = loop.getResult(index);
  if (auto tie = ties.find(result); tie != ties.end()) {
    Place place = placeOf(loop.getOperand(tie->second));
    place.version = placeOf(yielded).version;
    places[result] = place;
    return;
  }
  Place whole = wholes.find(result)->second;
  if (!destinations.contains(kern::peelTransposes(yielded).base))
    copyTo(yielded, slicePlace(whole, loop.getResultAxes()[index], id, size), loop.getLoc());
  places[result] = whole;
}

static Value yieldedBy(kern::SliceLoopOp loop, unsigned index) {
  return loop.getBody().front().getTerminator()->getOperand(index);
}

kern::KernelOpInterface findAccumulator(kern::SliceLoopOp loop, unsigned index) {
  Value made = kern::peelTransposes(yieldedBy(loop, index)).base;
  auto kernel = made.getDefiningOp<kern::KernelOpInterface>();
  if (!kernel)
    return {};
  const plan::KernelInfo &info = plan::kernelInfo(kernel.getKernel());
  SmallVector<Value> inputs = kernel.getKernelInputs(), outputs = kernel.getKernelOutputs();
  size_t output = llvm::find(outputs, made) - outputs.begin();
  const plan::OperandInfo &operand = info.operands[inputs.size() + output];
  bool adds = operand.accumulates && !inputs[info.operandIndex(operand.mayAlias)];
  return adds ? kernel : kern::KernelOpInterface();
}

/// What the pricing has left on the loop for a sum; null where nothing is priced.
static IntegerAttr costOfSum(kern::SliceLoopOp loop, unsigned index, StringRef name) {
  auto costs = loop->getAttrOfType<DenseI64ArrayAttr>(name);
  return costs ? Builder(loop.getContext())
                     .getI64IntegerAttr(costs[index - loop.getResultAxes().size()])
               : IntegerAttr();
}

/// Zeros, and the kernel of the body that adds to them in every iteration.
void Assigner::prepareSum(kern::SliceLoopOp loop, unsigned index) {
  Value result = loop.getResult(index);
  std::optional<Place> wanted = wantedPlace(result);
  Place place = wanted ? *wanted : allocate(result, std::nullopt, "sum");
  Accumulation sum{place, place.version - 1};
  if (!wanted) {
    sum.zeros = ++lastVersion[place.buffer];
    sum.place.version = ++lastVersion[place.buffer];
  }
  Place zeros = sum.place;
  zeros.version = sum.zeros;
  launchZero(zeros, loop.getLoc(), costOfSum(loop, index, kZeroCostAttr));
  wholes[result] = sum.place;
  if (!findAccumulator(loop, index))
    return;
  kern::Transposed made = kern::peelTransposes(yieldedBy(loop, index));
  sum.place = untransposed(sum.place, made.order);
  sums[made.base] = sum;
}

/// What no kernel of the body adds to its sum by itself is added by one more.
void Assigner::finishSum(kern::SliceLoopOp loop, unsigned index) {
  Value yielded = yieldedBy(loop, index);
  Value result = loop.getResult(index);
  Place sum = wholes.find(result)->second;
  places[result] = sum;
  if (sums.contains(kern::peelTransposes(yielded).base))
    return;
  Place zeros = sum;
  --zeros.version;
  Value views[] = {makeView(zeros, loop.getLoc()), makeView(placeOf(yielded), loop.getLoc()),
                   makeView(sum, loop.getLoc())};
  builder.create<kern::LaunchOp>(loop.getLoc(), builder.getStringAttr("add"), views,
                                 builder.getDenseBoolArrayAttr({true, true, true}),
                                 builder.getDictionaryAttr({}),
                                 costOfSum(loop, index, kAddCostAttr));
}

LogicalResult Assigner::assignLoop(kern::SliceLoopOp loop) {
  Block &body = loop.getBody().front();
  planDestinations(body);
  int32_t id = loops++;
  int64_t size = std::min<int64_t>(loop.getSize(), loop.getExtent());
  for (auto [index, operand] : llvm::enumerate(loop.getOperands())) {
    Place place = placeOf(operand);
    if (index < loop.getSlicedAxes().size())
      place = slicePlace(place, loop.getSlicedAxes()[index], id, size);
    places[body.getArgument(index)] = place;
  }
  unsigned slices = loop.getResultAxes().size();
  for (unsigned i = slices; i < loop.getNumResults(); ++i)
    prepareSum(loop, i);
  for (unsigned i = 0; i < slices; ++i)
    prepareSlices(loop, i, id, size);
  auto bufferLoop =
      builder.create<kern::LoopOp>(loop.getLoc(), builder.getI32IntegerAttr(id), loop.getAxisAttr(),
                                   loop.getExtentAttr(), builder.getI64IntegerAttr(size));
  OpBuilder::InsertionGuard guard(builder);
  builder.setInsertionPointToEnd(&bufferLoop.getBody().emplaceBlock());
  currentLoop = id;
  currentSlice = size;
  for (Operation &op : body.without_terminator())
    if (failed(assign(&op)))
      return failure();
  for (unsigned i = 0; i < loop.getNumResults(); ++i)
    if (i < slices)
      finishSlices(loop, i, id, size);
    else
      finishSum(loop, i);
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
  } else if (auto gradient = dyn_cast<kern::GradientOp>(op)) {
    places[gradient.getResult()] =
        wholePlace(getGradientBuffer(gradient.getWeight(), gradient.getType()));
  } else if (auto state = dyn_cast<kern::StateOp>(op)) {
    places[state.getResult()] =
        wholePlace(getStateBuffer(state.getKindAttr(), state.getWeightAttr(), state.getType()));
  } else if (auto newState = dyn_cast<kern::StoreStateOp>(op)) {
    Value value = newState.getValue();
    sink(value, getStateBuffer(newState.getKindAttr(), newState.getWeightAttr(), value.getType()),
         op->getLoc());
  } else if (auto newWeight = dyn_cast<kern::StoreWeightOp>(op)) {
    sink(newWeight.getValue(),
         getWeightBuffer(newWeight.getWeight().getDefiningOp<kern::WeightOp>()), op->getLoc());
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

LogicalResult assignBuffers(kern::ProcedureOp procedure) {
  Block &body = procedure.getBody().front();
  // A module computed again of which nobody reads anything has neither tensors nor ops.
  bool isEmpty = procedure.getTensors().empty() && llvm::hasSingleElement(body);
  if (body.getNumArguments() == 0 && !isEmpty)
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
