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

FailureOr<BlockScheduler::Emitted> BlockScheduler::backwardOf(const Unit &unit) {
  for (const Emitted &known : emitted)
    if (known.backward && known.unit.isSameAs(unit))
      return known;
  Emitted made{unit, {}, {}, true, uniqueName(unit.name() + ".backward"), {}};
  FailureOr<kern::ProcedureOp> procedure = emitBackward(builder, unit, made.name, precision);
  if (failed(procedure))
    return failure();
  made.reads = keptSlots(*procedure);
  emitted.push_back(made);
  return made;
}

std::string BlockScheduler::checkpointOf(ArrayRef<std::pair<std::string, Type>> streams) {
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
ScheduledCall BlockScheduler::keep(const std::set<std::string> &slots,
                                   const std::map<std::string, int64_t> &version,
                                   std::map<Version, Keeper> &keepers, std::set<std::string> &own) {
  ScheduledCall call;
  call.id = nextId++;
  for (const std::string &slot : slots) {
    if (isStream(slot)) {
      auto [entry, isNew] =
          keepers.try_emplace({slot, version.at(slot)}, Keeper{call.id, slot, 0, -1});
      if (!isNew) {
        const Keeper &keeper = entry->second;
        call.shares.push_back(
            {"saved." + slot, keeper.call, keeper.slot, keeper.back, keeper.before});
        continue;
      }
    }
    own.insert(slot);
    call.shares.push_back({"saved." + slot, call.id, slot, 0, -1});
  }
  return call;
}

LogicalResult BlockScheduler::scheduleUnit(BlockState &block, const Unit &unit) {
  ScheduledCall forward;
  forward.id = nextId;
  std::set<std::string> own;
  if (train) {
    FailureOr<Emitted> backward = backwardOf(unit);
    if (failed(backward))
      return failure();
    ScheduledCall needs = keep(backward->reads, block.version, block.keepers, own);
    forward.id = needs.id;
    ScheduledCall call{backward->name, nextId++, needs.id, needs.shares};
    block.backward.push_back({call});
  } else {
    ++nextId;
  }
  forward.procedure = forwardOf(unit, own, {}).name;
  block.calls.forward.push_back(forward);
  for (StringRef stream : unit.updated())
    ++block.version[stream.str()];
  return success();
}

//===----------------------------------------------------------------------===//
// Recompute groups
//===----------------------------------------------------------------------===//

/// Where the re-run of a group finds each stream: what it may overwrite for those that it updates.
BlockScheduler::Checkpoint BlockScheduler::planCheckpoint(BlockState &block, ArrayRef<Unit> units) {
  std::set<std::string> updated;
  std::map<std::string, Type> touched;
  for (const Unit &unit : units) {
    for (StringRef tensor : unit.tensors())
      if (isStream(tensor))
        touched[tensor.str()] = unit.typeOf(tensor);
    for (StringRef stream : unit.updated())
      updated.insert(stream.str());
  }
  Checkpoint checkpoint;
  checkpoint.id = nextId++;
  checkpoint.copyId = nextId++;
  for (const auto &[stream, type] : touched) {
    auto known = block.keepers.find({stream, block.version[stream]});
    if (known == block.keepers.end()) {
      checkpoint.own[stream] = type;
      checkpoint.working[stream] = {checkpoint.id, stream, 0, -1};
    } else if (updated.count(stream)) {
      checkpoint.copied[stream] = type;
      checkpoint.sources[stream] = known->second;
      checkpoint.working[stream] = {checkpoint.copyId, stream, 0, -1};
    } else {
      checkpoint.working[stream] = known->second;
    }
  }
  return checkpoint;
}

/// The calls that keep, and copy, what the re-run uses.
void BlockScheduler::addCheckpoint(BlockState &block, const Checkpoint &checkpoint,
                                   const std::set<std::string> &used,
                                   std::vector<ScheduledCall> &backward) {
  std::vector<std::pair<std::string, Type>> own, copied;
  ScheduledCall keeps, copies;
  for (const auto &[stream, type] : checkpoint.own)
    if (used.count(stream)) {
      own.emplace_back(stream, type);
      block.keepers[{stream, block.version[stream]}] = checkpoint.working.at(stream);
    }
  for (const auto &[stream, type] : checkpoint.copied)
    if (used.count(stream)) {
      const Keeper &source = checkpoint.sources.at(stream);
      copied.emplace_back(stream, type);
      copies.shares.push_back({stream, source.call, source.slot, source.back, source.before});
    }
  if (!own.empty()) {
    keeps.id = checkpoint.id;
    keeps.procedure = checkpointOf(own);
    block.calls.forward.push_back(keeps);
  }
  if (!copied.empty()) {
    copies.id = checkpoint.copyId;
    copies.procedure = checkpointOf(copied);
    backward.push_back(copies);
  }
}

/// The re-run of a group's forward, keeping what its units' backwards read, and those; `used` gets
/// the streams that it works on.
LogicalResult BlockScheduler::scheduleAgain(ArrayRef<Unit> units,
                                            const std::map<std::string, Keeper> &working,
                                            std::vector<ScheduledCall> &backward,
                                            std::set<std::string> &used) {
  std::map<std::string, int64_t> version, last;
  std::map<std::string, size_t> lastUpdate;
  for (const auto &[stream, keeper] : working)
    version[stream] = last[stream] = 0;
  for (auto [index, unit] : llvm::enumerate(units))
    for (StringRef stream : unit.updated()) {
      ++last[stream.str()];
      lastUpdate[stream.str()] = index;
    }
  // The last version stays where the re-run leaves it.
  std::map<Version, Keeper> keepers;
  for (const auto &[stream, keeper] : working)
    keepers[{stream, last[stream]}] = keeper;
  std::vector<ScheduledCall> sweeps;
  for (auto [index, unit] : llvm::enumerate(units)) {
    FailureOr<Emitted> made = backwardOf(unit);
    if (failed(made))
      return failure();
    std::set<std::string> own, dropped;
    ScheduledCall call = keep(made->reads, version, keepers, own);
    sweeps.push_back({made->name, nextId++, call.id, call.shares});
    for (StringRef stream : unit.updated()) {
      bool isRead = llvm::any_of(units.drop_front(index + 1), [&](const Unit &later) {
        return llvm::is_contained(later.tensors(), stream);
      });
      if (lastUpdate[stream.str()] == index && !isRead)
        dropped.insert(stream.str());
      ++version[stream.str()];
    }
    for (const auto &[stream, keeper] : working)
      if (made->reads.count(stream) && !own.count(stream))
        used.insert(stream); // the last version, where the re-run leaves it
    call.shares.clear();
    const Emitted &again = forwardOf(unit, own, dropped, ".again");
    for (const std::string &tensor : again.reads)
      if (isStream(tensor)) {
        const Keeper &keeper = working.at(tensor);
        call.shares.push_back({tensor, keeper.call, keeper.slot, keeper.back, keeper.before});
        used.insert(tensor);
      }
    call.procedure = again.name;
    backward.push_back(call);
  }
  llvm::append_range(backward, llvm::reverse(sweeps));
  return success();
}

LogicalResult BlockScheduler::scheduleGroup(BlockState &block, ArrayRef<Unit> units) {
  Checkpoint checkpoint = planCheckpoint(block, units);
  std::vector<ScheduledCall> again, backward;
  std::set<std::string> used;
  if (failed(scheduleAgain(units, checkpoint.working, again, used)))
    return failure();
  addCheckpoint(block, checkpoint, used, backward);
  llvm::append_range(backward, again);
  block.backward.push_back(std::move(backward));
  for (const Unit &unit : units) {
    ScheduledCall forward;
    forward.id = nextId++;
    forward.procedure = forwardOf(unit, {}, {}).name;
    block.calls.forward.push_back(forward);
    for (StringRef stream : unit.updated())
      ++block.version[stream.str()];
  }
  return success();
}

//===----------------------------------------------------------------------===//
// Blocks
//===----------------------------------------------------------------------===//

LogicalResult BlockScheduler::addBlocks(const std::vector<Unit> &units, int64_t first,
                                        int64_t count) {
  BlockState block;
  block.calls.first = first;
  block.calls.count = count;
  for (const Unit &unit : units)
    for (StringRef tensor : unit.tensors())
      if (isStream(tensor))
        block.version[tensor.str()] = 0;
  for (const auto &[stream, keeper] : handed)
    block.keepers[{stream, 0}] = keeper;
  for (size_t i = 0; i < units.size();) {
    size_t end = i + 1;
    while (end < units.size() && units[i].group >= 0 && units[end].group == units[i].group)
      ++end;
    bool group = train && units[i].group >= 0;
    LogicalResult result = group ? scheduleGroup(block, ArrayRef(units).slice(i, end - i))
                                 : scheduleUnit(block, units[i]);
    if (failed(result))
      return failure();
    i = group ? end : i + 1;
  }
  for (auto &part : llvm::reverse(block.backward))
    llvm::append_range(block.calls.backward, part);
  handed.clear();
  for (const auto &[stream, version] : block.version)
    if (auto found = block.keepers.find({stream, version});
        found != block.keepers.end() && found->second.back == 0)
      handed[stream] = {found->second.call, found->second.slot, 1, -1};
  blocks.push_back(std::move(block.calls));
  return success();
}

/// Whether some call reads what the block before keeps.
static bool readsBlockBefore(const BlockCalls &calls) {
  return llvm::any_of(calls.backward, [](const ScheduledCall &call) {
    return llvm::any_of(call.shares, [](const Share &share) { return share.back > 0; });
  });
}

/// Blocks behind the first of a segment read what they themselves keep, one block before.
void BlockScheduler::readOwnBlocks(BlockCalls &calls, const std::map<std::string, Keeper> &before) {
  for (ScheduledCall &call : calls.backward)
    for (Share &share : call.shares)
      for (const auto &[stream, keeper] : before)
        if (auto own = handed.find(stream);
            share.back > 0 && share.call == keeper.call && own != handed.end()) {
          share.call = own->second.call;
          share.before = keeper.call;
        }
}

LogicalResult BlockScheduler::addSegment(ir::SegmentOp segment) {
  std::vector<Unit> units = collectUnits(segment);
  int64_t first = segment.getFirst(), count = segment.getCount();
  if (!train)
    return addBlocks(units, first, count);
  if (failed(addBlocks(units, first, 1)))
    return failure();
  if (count == 1)
    return success();
  if (handed.empty() && !readsBlockBefore(blocks.back())) {
    blocks.back().count = count; // all alike
    return success();
  }
  std::map<std::string, Keeper> before = handed;
  if (failed(addBlocks(units, first + 1, count - 1)))
    return failure();
  if (count > 2)
    readOwnBlocks(blocks.back(), before);
  return success();
}

} // namespace evo
