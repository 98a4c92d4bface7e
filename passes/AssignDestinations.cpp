//===- AssignDestinations.cpp - values that belong in a certain place *- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "passes/Assigner.h"

using namespace mlir;

namespace evo {

/// Whether its kernel, or the loop that puts it together or adds it up, can write a value to a
/// place that its reader wants.
static bool isPlaced(Value value) {
  return value.getDefiningOp() &&
         isa<kern::KernelOpInterface, kern::SliceLoopOp>(value.getDefiningOp());
}

/// Whether a value begins as zeros, to which a loop adds.
static bool isSum(Value value) {
  auto loop = value.getDefiningOp<kern::SliceLoopOp>();
  return loop && cast<OpResult>(value).getResultNumber() >= loop.getResultAxes().size();
}

/// Settles where values go whose reader wants them in a certain place: kept tensors, gradients of
/// weights, new weights and states, and parts of a concat. Their kernels write them there. A sum
/// takes two versions.
void Assigner::planDestinations(Block &block) {
  for (auto op : block.getOps<kern::ConcatOp>()) {
    int64_t start = 0;
    for (Value part : op.getParts()) {
      if (isPlaced(part))
        parts.try_emplace(part, PartOf{op, start});
      start += cast<RankedTensorType>(part.getType()).getDimSize(op.getAxis());
    }
  }
  auto want = [&](Value value, Value buffer) {
    Place place = wholePlace(buffer);
    if (auto concat = value.getDefiningOp<kern::ConcatOp>()) {
      if (!concats.contains(concat))
        concats.try_emplace(concat, beginConcat(concat, place));
      return;
    }
    kern::Transposed made = kern::peelTransposes(value);
    if (isPlaced(made.base) && !parts.contains(made.base))
      destinations.try_emplace(made.base, untransposed(place, made.order));
  };
  for (Operation &op : block) {
    if (auto save = dyn_cast<kern::SaveOp>(op))
      want(save.getValue(), getSavedBuffer(save.getSlot(), save.getValue().getType()));
    else if (auto store = dyn_cast<kern::StoreGradientOp>(op))
      want(store.getValue(), getGradientBuffer(store.getWeight(), store.getValue().getType()));
    else if (auto state = dyn_cast<kern::StoreStateOp>(op))
      want(state.getValue(),
           getStateBuffer(state.getKindAttr(), state.getWeightAttr(), state.getValue().getType()));
    else if (auto weight = dyn_cast<kern::StoreWeightOp>(op))
      want(weight.getValue(), getWeightBuffer(weight.getWeight().getDefiningOp<kern::WeightOp>()));
  }
}

/// The version that all parts of a concat make in `place`; where some are sums, the one before it
/// is that of their zeros.
Place Assigner::beginConcat(kern::ConcatOp concat, Place place) {
  if (llvm::any_of(concat.getParts(), isSum))
    ++lastVersion[place.buffer];
  place.version = ++lastVersion[place.buffer];
  return place;
}

/// The place that the reader of `value` wants it in, with the version to make there.
std::optional<Place> Assigner::wantedPlace(Value value) {
  if (auto part = parts.find(value); part != parts.end())
    return partPlace(part->second.concat, part->second.start, value);
  auto destination = destinations.find(value);
  if (destination == destinations.end())
    return std::nullopt;
  Place place = destination->second;
  if (place.version == 0) { // else a slice of what has its version already
    if (isSum(value))
      ++lastVersion[place.buffer];
    place.version = ++lastVersion[place.buffer];
  }
  return place;
}

Place &Assigner::concatPlace(kern::ConcatOp op) {
  auto found = concats.find(op);
  if (found != concats.end())
    return found->second;
  Place place = beginConcat(op, allocate(op.getResult(), std::nullopt, "concat"));
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
