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
      place = partPlace(part->second.concat, part->second.start, output);
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
    kern::Transposed made = kern::peelTransposes(yielded);
    wholes.push_back(allocateResult(loop.getResult(i), made));
    Place slice = slicePlace(*wholes.back(), loop.getResultAxes()[i], id, size);
    auto kernel = made.base.getDefiningOp<kern::KernelOpInterface>();
    if (kernel && kernel.getKernelOutputs().front() == made.base)
      destinations[made.base] = untransposed(slice, made.order);
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
    if (!ties[i] && !destinations.contains(kern::peelTransposes(yielded).base)) {
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
