//===- BlockSchedule.cpp ----------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "passes/BlockSchedule.h"

using namespace mlir;

namespace evo {

//===----------------------------------------------------------------------===//
// Procedures
//===----------------------------------------------------------------------===//

std::string BlockScheduler::uniqueName(StringRef prefix) {
  std::string name = prefix.str();
  for (int copy = 2; !names.insert(name).second; ++copy)
    name = prefix.str() + "." + std::to_string(copy);
  return name;
}

const BlockScheduler::Emitted &BlockScheduler::forwardOf(const Unit &unit,
                                                         const std::set<std::string> &kept,
                                                         const std::set<std::string> &dropped,
                                                         StringRef suffix) {
  for (const Emitted &known : emitted)
    if (!known.backward && known.kept == kept && known.dropped == dropped &&
        known.unit.isSameAs(unit))
      return known;
  Emitted made{unit, kept, dropped, false, uniqueName(unit.name() + suffix.str()), {}};
  kern::ProcedureOp procedure = emitForward(builder, unit, made.name, precision, {kept, dropped});
  for (Attribute tensor : procedure.getTensors())
    made.reads.insert(cast<FlatSymbolRefAttr>(tensor).getValue().str());
  emitted.push_back(made);
  return emitted.back();
}

const BlockScheduler::Emitted *BlockScheduler::backwardOf(const Unit &unit) {
  for (const Emitted &known : emitted)
    if (known.backward && known.unit.isSameAs(unit))
      return &known;
  Emitted made{unit, {}, {}, true, uniqueName(unit.name() + ".backward"), {}};
  FailureOr<kern::ProcedureOp> procedure = emitBackward(builder, unit, made.name, precision);
  if (failed(procedure))
    return nullptr;
  made.reads = keptSlots(*procedure);
  emitted.push_back(made);
  return &emitted.back();
}

std::string BlockScheduler::checkpointOf(const StreamTypes &streams) {
  std::string key;
  for (const auto &[stream, type] : streams)
    key += stream + " ";
  auto [entry, inserted] = checkpoints.try_emplace(key);
  if (inserted) {
    entry->second = uniqueName("checkpoint");
    emitCheckpoint(builder, builder.getUnknownLoc(), streams, entry->second);
  }
  return entry->second;
}

//===----------------------------------------------------------------------===//
// Who keeps what
//===----------------------------------------------------------------------===//

/// A call that needs the `slots`: its own are those of streams that nobody keeps yet and all that
/// are no streams, and it becomes their keeper. `shares` says for its backward where each lies.
ScheduledCall BlockScheduler::keep(const std::set<std::string> &slots, Streams &streams,
                                   std::set<std::string> &own) {
  ScheduledCall call;
  call.id = nextId++;
  for (const std::string &slot : slots) {
    Keeper keeper{call.id, slot};
    bool isOwn = true;
    if (isStream(slot)) {
      auto [entry, isNew] = streams.keepers.try_emplace({slot, streams.version.at(slot)}, keeper);
      keeper = entry->second;
      isOwn = isNew;
    }
    if (isOwn)
      own.insert(slot);
    call.shares.push_back({"saved." + slot, keeper.call, keeper.slot});
  }
  return call;
}

static void countUpdates(const Unit &unit, std::map<std::string, int64_t> &version) {
  for (StringRef stream : unit.updated())
    ++version[stream.str()];
}

LogicalResult BlockScheduler::scheduleUnit(int64_t block, const Unit &unit, Streams &streams,
                                           Calls &forward, Calls &backward) {
  const Emitted *sweep = backwardOf(unit);
  if (!sweep)
    return failure();
  std::set<std::string> own;
  ScheduledCall call = keep(sweep->reads, streams, own);
  backward.push_back({block, {sweep->name, nextId++, call.id, std::move(call.shares)}});
  call.shares.clear();
  const Emitted &made = forwardOf(unit, own, {}, streams.working.empty() ? "" : ".again");
  call.procedure = made.name;
  for (const auto &[stream, keeper] : streams.working)
    if (made.reads.count(stream))
      call.shares.push_back({stream, keeper.call, keeper.slot});
  forward.push_back({block, std::move(call)});
  countUpdates(unit, streams.version);
  return success();
}

/// Keeps nothing: what is in front of a re-run, and inference.
void BlockScheduler::scheduleForward(int64_t block, const Unit &unit, Streams &streams,
                                     Calls &forward) {
  const Emitted &made = forwardOf(unit, {}, {});
  ScheduledCall call;
  call.procedure = made.name;
  call.id = nextId++;
  for (const auto &[stream, keeper] : streams.working)
    if (made.reads.count(stream))
      call.shares.push_back({stream, keeper.call, keeper.slot});
  forward.push_back({block, std::move(call)});
  countUpdates(unit, streams.version);
}

//===----------------------------------------------------------------------===//
// Recompute groups
//===----------------------------------------------------------------------===//

/// Keeps streams: as they are, or, for those with a source, as somebody else keeps them.
ScheduledCall BlockScheduler::checkpointCall(int64_t id, const StreamTypes &streams,
                                             const std::map<std::string, Keeper> &sources) {
  ScheduledCall call;
  call.procedure = checkpointOf(streams);
  call.id = id;
  for (const auto &[stream, type] : streams)
    if (auto source = sources.find(stream); source != sources.end())
      call.shares.push_back({stream, source->second.call, source->second.slot});
  return call;
}

/// Where the re-run of a group finds the streams that enter it.
BlockScheduler::Checkpoint BlockScheduler::planCheckpoint(const Streams &streams,
                                                          ArrayRef<Unit> units) {
  Checkpoint checkpoint;
  checkpoint.id = nextId++;
  for (const Unit &unit : units)
    for (StringRef tensor : unit.tensors())
      if (isStream(tensor)) {
        std::string stream = tensor.str();
        auto known = streams.keepers.find({stream, streams.version.at(stream)});
        if (known != streams.keepers.end())
          checkpoint.entering[stream] = known->second;
        else if (checkpoint.own.try_emplace(stream, unit.typeOf(tensor)).second)
          checkpoint.entering[stream] = {checkpoint.id, stream};
      }
  return checkpoint;
}

/// The call that keeps what the re-run uses and nobody has kept yet.
void BlockScheduler::addCheckpoint(int64_t block, const Checkpoint &checkpoint,
                                   const std::set<std::string> &used, Streams &streams,
                                   Calls &forward) {
  StreamTypes own;
  for (const auto &[stream, type] : checkpoint.own)
    if (used.count(stream)) {
      own.emplace_back(stream, type);
      streams.keepers[{stream, streams.version.at(stream)}] = checkpoint.entering.at(stream);
    }
  if (!own.empty())
    forward.push_back({block, checkpointCall(checkpoint.id, own, streams.working)});
}

/// The streams whose new version nobody behind unit `index` of the group reads.
static std::set<std::string> findDropped(ArrayRef<Unit> units, size_t index) {
  std::set<std::string> dropped;
  for (StringRef stream : units[index].updated())
    if (llvm::none_of(units.drop_front(index + 1), [&](const Unit &later) {
          return llvm::is_contained(later.tensors(), stream);
        }))
      dropped.insert(stream.str());
  return dropped;
}

/// Before a unit runs again: copies of the streams that it updates and somebody reads as they are.
/// The unit runs on these.
void BlockScheduler::copyUpdated(int64_t block, Rerun &rerun, const Unit &unit,
                                 const std::set<std::string> &dropped) {
  StreamTypes copied;
  std::map<std::string, Keeper> sources;
  int64_t id = nextId++;
  for (StringRef updated : unit.updated()) {
    std::string stream = updated.str();
    Version version{stream, rerun.streams.version.at(stream)};
    if (dropped.count(stream))
      continue;
    rerun.use(version);
    const Keeper source = rerun.streams.keepers.at(version);
    Keeper &next = rerun.streams.keepers[{stream, version.second + 1}];
    next = source;
    if (!rerun.read.count(version))
      continue;
    copied.emplace_back(stream, unit.typeOf(stream));
    sources.insert_or_assign(stream, source);
    next = {id, stream};
  }
  if (!copied.empty())
    rerun.calls.push_back({block, checkpointCall(id, copied, sources)});
}

/// A unit of a group runs again and keeps what its backward reads; `sweeps` gets that.
LogicalResult BlockScheduler::runAgain(int64_t block, Rerun &rerun, const Unit &unit,
                                       const std::set<std::string> &dropped, Calls &sweeps) {
  const Emitted *sweep = backwardOf(unit);
  if (!sweep)
    return failure();
  std::set<std::string> own;
  ScheduledCall call = keep(sweep->reads, rerun.streams, own);
  sweeps.push_back({block, {sweep->name, nextId++, call.id, std::move(call.shares)}});
  call.shares.clear();
  for (const std::string &slot : sweep->reads)
    if (isStream(slot)) {
      Version version{slot, rerun.streams.version.at(slot)};
      rerun.read.insert(version);
      rerun.use(version);
    }
  const Emitted &again = forwardOf(unit, own, dropped, ".again");
  copyUpdated(block, rerun, unit, dropped);
  for (StringRef stream : unit.updated())
    if (!dropped.count(stream.str()))
      ++rerun.streams.version[stream.str()];
  for (const std::string &tensor : again.reads)
    if (isStream(tensor)) {
      Version version{tensor, rerun.streams.version.at(tensor)};
      const Keeper &keeper = rerun.streams.keepers.at(version);
      call.shares.push_back({tensor, keeper.call, keeper.slot});
      rerun.use(version);
    }
  call.procedure = again.name;
  rerun.calls.push_back({block, std::move(call)});
  return success();
}

/// In its backward a group runs again, each version of a stream in a place of its own, and then the
/// backwards of its units.
LogicalResult BlockScheduler::scheduleGroup(int64_t block, ArrayRef<Unit> units, Streams &streams,
                                            Calls &forward, Calls &backward) {
  Checkpoint checkpoint = planCheckpoint(streams, units);
  Rerun rerun;
  for (const auto &[stream, keeper] : checkpoint.entering) {
    rerun.streams.version[stream] = 0;
    rerun.streams.keepers.insert({{stream, 0}, keeper});
    // What others have kept they read.
    if (!checkpoint.own.count(stream))
      rerun.read.insert({stream, 0});
  }
  Calls sweeps;
  for (auto [index, unit] : llvm::enumerate(units))
    if (failed(runAgain(block, rerun, unit, findDropped(units, index), sweeps)))
      return failure();
  addCheckpoint(block, checkpoint, rerun.used, streams, forward);
  llvm::append_range(backward, rerun.calls);
  llvm::append_range(backward, llvm::reverse(sweeps));
  for (const Unit &unit : units)
    scheduleForward(block, unit, streams, forward);
  return success();
}

//===----------------------------------------------------------------------===//
// Blocks
//===----------------------------------------------------------------------===//

const std::vector<Unit> &BlockScheduler::unitsOf(int64_t block) const {
  return segments[static_cast<size_t>(llvm::upper_bound(segmentEnds, block) - segmentEnds.begin())];
}

LogicalResult BlockScheduler::scheduleBlock(int64_t block, Streams &streams, Calls &forward,
                                            std::vector<Calls> &backwards) {
  ArrayRef<Unit> units = unitsOf(block);
  for (size_t i = 0; i < units.size();) {
    size_t end = i + 1;
    while (end < units.size() && units[i].group >= 0 && units[end].group == units[i].group)
      ++end;
    Calls &backward = backwards.emplace_back();
    LogicalResult result =
        units[i].group < 0
            ? scheduleUnit(block, units[i], streams, forward, backward)
            : scheduleGroup(block, units.slice(i, end - i), streams, forward, backward);
    if (failed(result))
      return failure();
    i = end;
  }
  return success();
}

/// The first of the intervals, with those nested in it behind it.
LogicalResult BlockScheduler::scheduleRecompute(ArrayRef<ir::RecomputeAttr> intervals,
                                                Streams &streams, Calls &forward, Calls &backward) {
  ir::RecomputeAttr outer = intervals.front();
  StreamTypes kept;
  for (int64_t block = outer.getFirst(); block < outer.getEnd(); ++block)
    for (const Unit &unit : unitsOf(block))
      for (StringRef tensor : unit.tensors())
        if (isStream(tensor) &&
            llvm::none_of(kept, [&](auto &each) { return each.first == tensor; }))
          kept.emplace_back(tensor.str(), unit.typeOf(tensor));
  llvm::sort(kept, llvm::less_first());
  int64_t id = nextId++;
  forward.push_back({outer.getFirst(), checkpointCall(id, kept, streams.working)});
  Streams again = streams;
  for (const auto &[stream, type] : kept)
    again.working[stream] = {id, stream};
  for (int64_t block = outer.getFirst(); block < outer.getEnd(); ++block) {
    size_t next = 0;
    for (const Unit &unit : unitsOf(block))
      for (ir::ModuleOpInterface module : unit.modules)
        scheduleForward(block, Unit::of(module, cast<ir::ChoiceAttr>(outer.getChoices()[next++])),
                        streams, forward);
  }
  Calls sweeps;
  if (failed(scheduleChain(outer.getFirst(), outer.getEnd(), intervals.drop_front(), again,
                           backward, sweeps)))
    return failure();
  llvm::append_range(backward, sweeps);
  return success();
}

/// Blocks [first, end) with the intervals within them, an outer one before its inner ones.
LogicalResult BlockScheduler::scheduleChain(int64_t first, int64_t end,
                                            ArrayRef<ir::RecomputeAttr> inner, Streams &streams,
                                            Calls &forward, Calls &backward) {
  std::vector<Calls> backwards;
  for (int64_t block = first; block < end;) {
    if (inner.empty() || inner.front().getFirst() != block) {
      if (failed(scheduleBlock(block++, streams, forward, backwards)))
        return failure();
      continue;
    }
    int64_t next = inner.front().getEnd();
    ArrayRef<ir::RecomputeAttr> nested =
        inner.take_while([&](ir::RecomputeAttr each) { return each.getFirst() < next; });
    if (failed(scheduleRecompute(nested, streams, forward, backwards.emplace_back())))
      return failure();
    inner = inner.drop_front(nested.size());
    block = next;
  }
  for (Calls &calls : llvm::reverse(backwards))
    llvm::append_range(backward, calls);
  return success();
}

LogicalResult BlockScheduler::addStack(ir::StackOp stack) {
  Streams streams;
  for (StringRef tensor : stack.getTensors().getAsValueRange<StringAttr>())
    if (isStream(tensor))
      streams.version[tensor.str()] = 0;
  for (auto segment : stack.getBody().front().getOps<ir::SegmentOp>()) {
    segments.push_back(collectUnits(segment));
    segmentEnds.push_back(segment.getFirst() + segment.getCount());
    if (train)
      continue;
    BlockCalls &run = forward.emplace_back();
    run.first = segment.getFirst();
    run.count = segment.getCount();
    Calls own;
    for (const Unit &unit : segments.back())
      scheduleForward(run.first, unit, streams, own);
    for (CallInBlock &each : own)
      run.calls.push_back(std::move(each.call));
  }
  if (!train)
    return success();
  SmallVector<ir::RecomputeAttr> intervals;
  if (stack.getRecompute())
    llvm::append_range(intervals, stack.getRecompute()->getAsRange<ir::RecomputeAttr>());
  Calls sweeps, calls;
  if (failed(scheduleChain(0, segmentEnds.back(), intervals, streams, calls, sweeps)))
    return failure();
  addProgram(std::move(calls), forward);
  addProgram(std::move(sweeps), backward);
  return success();
}

/// The calls of a block that follow one another are one run; but a run that only computes again
/// goes up through the blocks, and what follows goes down, so they stay apart.
void BlockScheduler::addProgram(Calls calls, std::vector<BlockCalls> &program) {
  auto goesUp = [](const BlockCalls &run) {
    return llvm::none_of(run.calls, [](const ScheduledCall &call) { return call.partner; });
  };
  for (CallInBlock &each : calls) {
    bool turns = program.size() > 1 && each.call.partner && goesUp(program.back()) &&
                 goesUp(program[program.size() - 2]);
    if (program.empty() || program.back().first != each.block || turns)
      program.push_back({each.block, 1, {}});
    program.back().calls.push_back(std::move(each.call));
  }
}

} // namespace evo
