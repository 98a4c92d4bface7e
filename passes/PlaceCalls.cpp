//===- PlaceCalls.cpp - tensors, kept tensors and frames in the arena *- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// Boundary tensors and the workspace at the arena's start, behind them the stack of kept tensors:
// all calls in the order in which they run, block by block; each pushes what it keeps, which is
// popped when nobody reads it any more. A frame lies on top of the stack of its moment. So the
// arena is as high as the largest sum of live bytes, frames packed; only the checkpoint that blocks
// run on again stays until their backward has ended, though its last version may be dead before.
//===----------------------------------------------------------------------===//
#include "passes/Passes.h"
#include "passes/Procedure.h"

#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/StringMap.h"

using namespace mlir;

namespace evo {

static Status tooManyKept() {
  return Status::error(ErrorCode::InvalidInput, "the kept tensors have more than 2^63 bytes");
}

static bool isForward(StringRef phase) {
  return phase == StringRef(plan::phaseName(plan::Phase::Forward));
}

static bool isOptimizer(StringRef phase) {
  return phase == StringRef(plan::phaseName(plan::Phase::Optimizer));
}

/// By name, so that equal sets lie alike whatever made them.
static SmallVector<kern::SavedBufferOp> sortedSavedBuffers(kern::ProcedureOp procedure) {
  SmallVector<kern::SavedBufferOp> buffers(
      procedure.getBody().front().getOps<kern::SavedBufferOp>());
  llvm::sort(buffers, [](kern::SavedBufferOp a, kern::SavedBufferOp b) {
    return a.getSlot() < b.getSlot();
  });
  return buffers;
}

Result<int64_t> placeSaved(kern::ProcedureOp procedure) {
  Builder builder(procedure.getContext());
  int64_t total = 0;
  for (kern::SavedBufferOp buffer : sortedSavedBuffers(procedure)) {
    std::optional<int64_t> bytes = buffer.getResult().getType().getByteSize();
    buffer.setOffsetAttr(builder.getI64IntegerAttr(isForward(procedure.getPhase()) ? total : 0));
    if (!bytes || *bytes > INT64_MAX - plan::kAlignment ||
        __builtin_add_overflow(total, plan::alignTo(*bytes), &total))
      return tooManyKept();
  }
  return isForward(procedure.getPhase()) ? total : 0;
}

namespace {

/// What calls of a procedure keep.
struct Kept {
  int64_t bytes = 0;
  llvm::StringMap<int64_t> offsets; ///< by slot
};

/// A call in one block.
struct Event {
  kern::CallOp call;
  kern::ProcedureOp procedure;
  int64_t block = 0;
  size_t lastUse = 0; ///< of what it keeps: an event
  int64_t savedOffset = 0, frameOffset = 0;
  SmallVector<size_t> sources; ///< one a share: the event that keeps it
};

/// Most calls, blocks counted each, that are placed.
constexpr size_t kMaxEvents = 4'000'000;

struct CallPlacer {
  explicit CallPlacer(ModuleOp module) : module(module) {}

  ModuleOp module;
  int64_t end = 0; ///< of the boundary tensors
  llvm::StringMap<kern::ProcedureOp> procedures;
  llvm::StringMap<Kept> kept;
  std::vector<Event> events;                                   ///< in the order in which they run
  llvm::DenseMap<std::pair<int64_t, int64_t>, size_t> eventOf; ///< by id and block
  llvm::DenseMap<int64_t, int64_t> blockOf;                    ///< of the calls of one block, by id
  llvm::DenseMap<int64_t, Operation *> callOf;                 ///< by id

  LogicalResult run();
  LogicalResult placeTensors();
  LogicalResult collect();
  LogicalResult addEvents(kern::BlocksOp blocks, bool down);
  LogicalResult findSources(size_t index);
  LogicalResult findPartner(size_t index);
  bool isCopyForNext(size_t index) const;
  Status push(size_t index, SmallVectorImpl<std::pair<size_t, int64_t>> &stack);
  LogicalResult placeStack();
  LogicalResult setPlaces();
  LogicalResult setPlaces(ArrayRef<size_t> instances);
  int64_t placeOf(const Event &source, StringRef slot) {
    kern::ProcedureOp procedure = source.procedure;
    return source.savedOffset + kept[procedure.getSymName()].offsets[slot];
  }
};

} // namespace

/// One slot behind the other; a gradient lies in its stream's.
LogicalResult CallPlacer::placeTensors() {
  Builder builder(module.getContext());
  SmallVector<Type> types;
  for (auto tensor : module.getOps<kern::TensorOp>()) {
    if (std::optional<StringRef> of = tensor.getSlotOf()) {
      auto owner = module.lookupSymbol<kern::TensorOp>(*of);
      if (!owner || owner.getSlotOf() || !owner.getOffset() || owner.getType() != tensor.getType())
        return tensor.emitOpError("expected the slot of a tensor before it of the same type, got @")
               << *of;
      tensor.setOffsetAttr(owner.getOffsetAttr());
      continue;
    }
    Result<int64_t> offset = tensorBytes(types);
    if (!offset)
      return emitStatus(tensor, offset.status());
    tensor.setOffsetAttr(builder.getI64IntegerAttr(*offset));
    types.push_back(tensor.getType());
  }
  Result<int64_t> bytes = tensorBytes(types);
  if (!bytes)
    return emitStatus(module, bytes.status());
  end = *bytes;
  return success();
}

/// In inference blocks keep nothing, and one of them stands for all of a run.
LogicalResult CallPlacer::addEvents(kern::BlocksOp blocks, bool down) {
  bool trained = llvm::any_of(blocks.getBody().getOps<kern::CallOp>(),
                              [](kern::CallOp call) { return call.getId().has_value(); });
  int64_t count = trained ? static_cast<int64_t>(blocks.getCount()) : 1;
  for (int64_t i = 0; i < count; ++i)
    for (auto call : blocks.getBody().getOps<kern::CallOp>()) {
      kern::ProcedureOp procedure = procedures.lookup(call.getProcedure());
      if (!procedure)
        return call.emitOpError("expected a procedure, got ") << call.getProcedureAttr();
      int64_t block = static_cast<int64_t>(blocks.getFirst()) + (down ? count - 1 - i : i);
      if (events.size() == kMaxEvents)
        return call.emitOpError("expected at most ") << kMaxEvents << " calls over all blocks";
      if (call.getId() && callOf.try_emplace(*call.getId(), call).first->second != call)
        return call.emitOpError("expected an id of its own, got ") << *call.getId() << " again";
      if (call.getId())
        eventOf[{*call.getId(), block}] = events.size();
      if (call.getId() && count == 1)
        blockOf[*call.getId()] = block;
      events.push_back({call, procedure, block, events.size(), 0, 0, {}});
    }
  return success();
}

/// Runs of the backward program go down, but for those that only compute again.
static bool goesDown(kern::ProgramOp program, kern::BlocksOp blocks) {
  return !isForward(program.getPhase()) &&
         llvm::any_of(blocks.getBody().getOps<kern::CallOp>(),
                      [](kern::CallOp call) { return call.getPartner().has_value(); });
}

LogicalResult CallPlacer::collect() {
  for (auto procedure : module.getOps<kern::ProcedureOp>()) {
    Result<int64_t> bytes = placeSaved(procedure);
    if (!bytes)
      return emitStatus(procedure, bytes.status());
    procedures[procedure.getSymName()] = procedure;
    Kept &own = kept[procedure.getSymName()];
    own.bytes = *bytes;
    if (!isForward(procedure.getPhase()))
      continue;
    for (kern::SavedBufferOp buffer : sortedSavedBuffers(procedure))
      own.offsets[buffer.getSlot()] = *buffer.getOffset();
  }
  for (bool forward : {true, false})
    for (auto program : module.getOps<kern::ProgramOp>())
      if (isForward(program.getPhase()) == forward)
        for (auto blocks : program.getBody().getOps<kern::BlocksOp>())
          if (failed(addEvents(blocks, goesDown(program, blocks))))
            return failure();
  return success();
}

/// What a call shares is kept by another one before it in the same block, or in a block of its own.
LogicalResult CallPlacer::findSources(size_t index) {
  kern::CallOp call = events[index].call;
  if (!call.getShares())
    return success();
  for (auto share : call.getShares()->getAsRange<kern::ShareAttr>()) {
    auto source = eventOf.find({share.getCall(), events[index].block});
    if (auto only = blockOf.find(share.getCall()); only != blockOf.end())
      source = eventOf.find({share.getCall(), only->second});
    if (source == eventOf.end() || source->second >= index ||
        !kept[events[source->second].procedure.getSymName()].offsets.contains(share.getSlot()))
      return call.emitOpError("expected a call before it that keeps '")
             << share.getSlot() << "', got " << share;
    events[index].sources.push_back(source->second);
    events[source->second].lastUse = index;
  }
  return success();
}

LogicalResult CallPlacer::findPartner(size_t index) {
  Event &event = events[index];
  std::optional<uint64_t> partner = event.call.getPartner();
  bool again = isForward(event.procedure.getPhase());
  if (isOptimizer(event.procedure.getPhase()))
    return success();
  if (again == partner.has_value())
    return event.call.emitOpError("expected a partner where a backward procedure is called, and "
                                  "none where a forward procedure is called");
  if (!partner)
    return success();
  auto known = eventOf.find({static_cast<int64_t>(*partner), event.block});
  if (known == eventOf.end() || known->second >= index)
    return event.call.emitOpError("expected the id of a call before it, got partner ") << *partner;
  events[known->second].lastUse = index;
  return success();
}

/// Whether the next call runs on what this one copies, in place of the streams.
bool CallPlacer::isCopyForNext(size_t index) const {
  if (index + 1 >= events.size())
    return false;
  const Event &copy = events[index], &next = events[index + 1];
  kern::CallOp call = next.call;
  kern::ProcedureOp from = copy.procedure, to = next.procedure;
  if (!call.getShares() || from.getModule() != "checkpoint" || !isForward(to.getPhase()) ||
      to.getModule() == "checkpoint")
    return false;
  return llvm::is_contained(next.sources, index);
}

Status CallPlacer::push(size_t index, SmallVectorImpl<std::pair<size_t, int64_t>> &stack) {
  Event &event = events[index];
  int64_t top = stack.empty() ? end : stack.back().second;
  int64_t bytes = kept[event.procedure.getSymName()].bytes;
  if (bytes == 0)
    return {};
  event.savedOffset = top;
  if (__builtin_add_overflow(top, bytes, &top))
    return tooManyKept();
  stack.emplace_back(index, top);
  return {};
}

/// Each call pushes what it keeps, and pops what nobody reads behind it. A copy that the next call
/// runs on lies on top of what that call keeps: it is done with before that call's backward.
LogicalResult CallPlacer::placeStack() {
  SmallVector<std::pair<size_t, int64_t>> stack; // events and where what they keep ends
  bool pushed = false;
  for (size_t index = 0; index < events.size(); ++index) {
    while (!stack.empty() && events[stack.back().first].lastUse < index)
      stack.pop_back();
    if (!pushed) {
      pushed = isCopyForNext(index);
      Status status = pushed ? push(index + 1, stack) : Status();
      if (!status.ok() || !(status = push(index, stack)).ok())
        return emitStatus(events[index].call, status);
    } else {
      pushed = false;
    }
    events[index].frameOffset = stack.empty() ? end : stack.back().second;
  }
  return success();
}

/// The places of a call in its blocks, the lowest block first: linear in the block.
LogicalResult CallPlacer::setPlaces(ArrayRef<size_t> instances) {
  const Event &first = events[instances.front()];
  const Event &second = events[instances[instances.size() > 1 ? 1 : 0]];
  kern::CallOp call = first.call;
  Builder builder(module.getContext());
  SmallVector<Attribute> bindings;
  bool linear = true;
  auto line = [&](auto &&placeIn) {
    int64_t offset = placeIn(first), stride = placeIn(second) - offset;
    for (auto [i, index] : llvm::enumerate(instances))
      linear &= placeIn(events[index]) == offset + static_cast<int64_t>(i) * stride;
    return std::pair(offset, stride);
  };
  auto [frame, frameStride] = line([](const Event &event) { return event.frameOffset; });
  auto [saved, savedStride] = line([](const Event &event) { return event.savedOffset; });
  for (size_t i = 0; i < first.sources.size(); ++i) {
    auto share = cast<kern::ShareAttr>((*call.getShares())[i]);
    auto [offset, stride] = line(
        [&](const Event &event) { return placeOf(events[event.sources[i]], share.getSlot()); });
    bindings.push_back(
        kern::BindingAttr::get(module.getContext(), share.getBuffer(), offset, stride));
  }
  if (!linear)
    return call.emitOpError("expected blocks that lie at equal distances; give each its own "
                            "kern.blocks");
  call.setFrameOffsetAttr(builder.getI64IntegerAttr(frame));
  call.setFrameStride(frameStride);
  call.setSavedOffset(saved);
  call.setSavedStride(savedStride);
  if (!bindings.empty())
    call.setBindingsAttr(ArrayAttr::get(module.getContext(), bindings));
  return success();
}

LogicalResult CallPlacer::setPlaces() {
  llvm::MapVector<Operation *, SmallVector<size_t>> instances;
  for (auto [index, event] : llvm::enumerate(events))
    instances[event.call].push_back(index);
  for (auto &[call, own] : instances) {
    llvm::sort(own, [&](size_t a, size_t b) { return events[a].block < events[b].block; });
    if (failed(setPlaces(own)))
      return failure();
  }
  return success();
}

LogicalResult CallPlacer::run() {
  if (failed(placeTensors()) || failed(collect()))
    return failure();
  for (size_t index = 0; index < events.size(); ++index)
    if (failed(findSources(index)) || failed(findPartner(index)))
      return failure();
  return failure(failed(placeStack()) || failed(setPlaces()));
}

//===----------------------------------------------------------------------===//
// Equal blocks
//===----------------------------------------------------------------------===//

/// Numbers of a call that move from block to block.
static SmallVector<int64_t> placesOf(kern::CallOp call) {
  SmallVector<int64_t> places = {static_cast<int64_t>(call.getFrameOffset().value_or(0)),
                                 static_cast<int64_t>(call.getSavedOffset())};
  if (call.getBindings())
    for (auto binding : call.getBindings()->getAsRange<kern::BindingAttr>())
      places.push_back(binding.getOffset());
  return places;
}

static SmallVector<int64_t> stridesOf(kern::CallOp call) {
  SmallVector<int64_t> strides = {static_cast<int64_t>(call.getFrameStride()),
                                  static_cast<int64_t>(call.getSavedStride())};
  if (call.getBindings())
    for (auto binding : call.getBindings()->getAsRange<kern::BindingAttr>())
      strides.push_back(binding.getStride());
  return strides;
}

static void setLine(kern::CallOp call, ArrayRef<int64_t> places, ArrayRef<int64_t> strides) {
  Builder builder(call.getContext());
  call.setFrameOffsetAttr(builder.getI64IntegerAttr(places[0]));
  call.setFrameStride(strides[0]);
  call.setSavedOffset(places[1]);
  call.setSavedStride(strides[1]);
  if (!call.getBindings())
    return;
  SmallVector<Attribute> bindings;
  for (auto [i, binding] : llvm::enumerate(call.getBindings()->getAsRange<kern::BindingAttr>()))
    bindings.push_back(kern::BindingAttr::get(call.getContext(), binding.getBuffer(), places[i + 2],
                                              strides[i + 2]));
  call.setBindingsAttr(builder.getArrayAttr(bindings));
}

/// Makes one run of two that are neighbours, `low` the one with the lower blocks, where every place
/// lies on one line with stride >= 0. `into` is the one that stays.
static bool foldInto(kern::BlocksOp into, kern::BlocksOp low, kern::BlocksOp high) {
  SmallVector<kern::CallOp> lows(low.getBody().getOps<kern::CallOp>());
  SmallVector<kern::CallOp> highs(high.getBody().getOps<kern::CallOp>());
  if (lows.size() != highs.size())
    return false;
  int64_t lowCount = low.getCount(), highCount = high.getCount();
  SmallVector<std::pair<SmallVector<int64_t>, SmallVector<int64_t>>> lines;
  for (auto [a, b] : llvm::zip_equal(lows, highs)) {
    SmallVector<int64_t> from = placesOf(a), to = placesOf(b), strides;
    if (a.getProcedure() != b.getProcedure() || from.size() != to.size())
      return false;
    for (size_t i = 0; i < from.size(); ++i) {
      int64_t distance = to[i] - from[i];
      if (distance < 0 || distance % lowCount != 0 ||
          (lowCount > 1 && stridesOf(a)[i] != distance / lowCount) ||
          (highCount > 1 && stridesOf(b)[i] != distance / lowCount))
        return false;
      strides.push_back(distance / lowCount);
    }
    if (a.getBindings() && b.getBindings())
      for (auto [x, y] : llvm::zip_equal(a.getBindings()->getAsRange<kern::BindingAttr>(),
                                         b.getBindings()->getAsRange<kern::BindingAttr>()))
        if (x.getBuffer() != y.getBuffer())
          return false;
    lines.emplace_back(std::move(from), std::move(strides));
  }
  int64_t first = low.getFirst();
  for (auto [call, line] : llvm::zip_equal(into.getBody().getOps<kern::CallOp>(), lines))
    setLine(call, line.first, line.second);
  into.setFirst(first);
  into.setCount(lowCount + highCount);
  return true;
}

/// Neighbours with equal calls become one run.
static void foldBlocks(kern::ProgramOp program) {
  kern::BlocksOp last;
  for (auto blocks : llvm::make_early_inc_range(program.getBody().getOps<kern::BlocksOp>())) {
    bool down = goesDown(program, blocks);
    bool folded = false;
    if (last && goesDown(program, last) == down) {
      kern::BlocksOp low = down ? blocks : last, high = down ? last : blocks;
      folded = low.getFirst() + low.getCount() == high.getFirst() && foldInto(last, low, high);
    }
    if (folded)
      blocks.erase();
    else
      last = blocks;
  }
}

LogicalResult placeCalls(ModuleOp module) {
  if (failed(CallPlacer(module).run()))
    return failure();
  for (auto program : module.getOps<kern::ProgramOp>())
    if (!isOptimizer(program.getPhase()))
      foldBlocks(program);
  return success();
}

} // namespace evo
