//===- AssignDestinations.cpp - values that belong in a certain place *- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "passes/Assigner.h"

using namespace mlir;

namespace evo {

/// Settles where values go whose reader wants them in a certain place: kept tensors, gradients of
/// weights and parts of a concat. Their kernels write them there.
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
      if (concats.contains(concat))
        return;
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

/// The place of a part that begins at `start`. All parts make one version of the whole.
Place Assigner::partPlace(kern::ConcatOp concat, int64_t start, Value value) {
  Place place = concatPlace(concat);
  int32_t axis = place.order[concat.getAxis()];
  place.start[axis].value += start;
  place.extent[axis].value = cast<RankedTensorType>(value.getType()).getDimSize(concat.getAxis());
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
    bool written = isInPlace(value, op) && parts.find(value)->second.start == start;
    if (!written)
      copyTo(value, partPlace(op, start, value), op.getLoc());
    start += cast<RankedTensorType>(value.getType()).getDimSize(op.getAxis());
  }
  places[op.getResult()] = concatPlace(op);
}

} // namespace evo
