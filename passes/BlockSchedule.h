//===- BlockSchedule.h - what a segment's blocks call -----------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// Follows the versions of the streams through the blocks and decides who keeps which for whom: the
// first call that needs a version keeps it, everybody behind it reads it there. So what is kept
// first is read last, kept tensors form a stack, and no version is kept twice.
//
// A recompute group keeps the streams that enter it (its checkpoint). Its backward runs on the
// checkpoint itself, which becomes the stream of the re-run; only where somebody before the group
// reads that version too, the re-run gets a copy.
//===----------------------------------------------------------------------===//
#pragma once

#include "passes/Unit.h"

#include "llvm/ADT/StringSet.h"

#include <list>
#include <map>
#include <optional>

namespace evo {

/// A buffer of a call that lies where another call keeps a tensor; see `#kern.share`.
struct Share {
  std::string buffer;
  int64_t call = -1;
  std::string slot;
  int64_t back = 0;
  int64_t before = -1;
};

struct ScheduledCall {
  std::string procedure;
  int64_t id = -1;
  std::optional<int64_t> partner; ///< backward: the call whose kept tensors it reads
  std::vector<Share> shares;
};

/// The calls of each of `count` blocks, both in the order of their program.
struct BlockCalls {
  int64_t first = 0, count = 0;
  std::vector<ScheduledCall> forward, backward;
};

/// Emits the procedures of units and schedules their calls, block by block.
class BlockScheduler {
public:
  BlockScheduler(mlir::OpBuilder &builder, plan::Precision precision, bool train)
      : builder(builder), precision(precision), train(train) {}

  /// Segments in their order. In training one becomes two where its first block keeps something
  /// else than the blocks behind it.
  mlir::LogicalResult addSegment(ir::SegmentOp segment);
  std::vector<BlockCalls> blocks;

private:
  /// A version of a stream, in one block.
  using Version = std::pair<std::string, int64_t>;
  /// Where a version lies.
  struct Keeper {
    int64_t call;
    std::string slot;
    int64_t back = 0, before = -1;
  };
  /// The state of one block while its calls are scheduled.
  struct BlockState {
    BlockCalls calls;
    std::map<std::string, int64_t> version;
    std::map<Version, Keeper> keepers;
    std::vector<std::vector<ScheduledCall>> backward; ///< a unit or group, in forward order
  };
  /// An emitted procedure, so that equal ones are emitted once.
  struct Emitted {
    Unit unit;
    std::set<std::string> kept, dropped;
    bool backward;
    std::string name;
    std::set<std::string> reads; ///< boundary tensors of a forward, slots of a backward
  };
  /// What a recompute group starts from.
  struct Checkpoint {
    std::map<std::string, Keeper> working; ///< where the re-run finds each stream
    std::map<std::string, mlir::Type> own, copied;
    std::map<std::string, Keeper> sources; ///< of the copied
    int64_t id = -1, copyId = -1;
  };

  mlir::LogicalResult addBlocks(const std::vector<Unit> &units, int64_t first, int64_t count);
  void readOwnBlocks(BlockCalls &calls, const std::map<std::string, Keeper> &before);
  mlir::LogicalResult scheduleUnit(BlockState &block, const Unit &unit);
  mlir::LogicalResult scheduleGroup(BlockState &block, llvm::ArrayRef<Unit> units);
  mlir::LogicalResult scheduleAgain(llvm::ArrayRef<Unit> units,
                                    const std::map<std::string, Keeper> &working,
                                    std::vector<ScheduledCall> &backward,
                                    std::set<std::string> &used);
  Checkpoint planCheckpoint(BlockState &block, llvm::ArrayRef<Unit> units);
  void addCheckpoint(BlockState &block, const Checkpoint &checkpoint,
                     const std::set<std::string> &used, std::vector<ScheduledCall> &backward);
  ScheduledCall keep(const std::set<std::string> &slots,
                     const std::map<std::string, int64_t> &version,
                     std::map<Version, Keeper> &keepers, std::set<std::string> &own);
  mlir::FailureOr<Emitted> backwardOf(const Unit &unit);
  const Emitted &forwardOf(const Unit &unit, const std::set<std::string> &kept,
                           const std::set<std::string> &dropped, llvm::StringRef suffix = "");
  std::string checkpointOf(llvm::ArrayRef<std::pair<std::string, mlir::Type>> streams);
  std::string uniqueName(llvm::StringRef prefix);

  mlir::OpBuilder &builder;
  plan::Precision precision;
  bool train;
  std::list<Emitted> emitted;                     ///< whose elements stay where they are
  std::map<std::string, std::string> checkpoints; ///< by the streams' names
  llvm::StringSet<> names;
  int64_t nextId = 0;
  /// Of the last block so far: who keeps the final version of a stream.
  std::map<std::string, Keeper> handed;
};

} // namespace evo
