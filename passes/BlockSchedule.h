//===- BlockSchedule.h - what a stack's blocks call -------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// Follows the versions of the streams through the blocks and decides who keeps which for whom: the
// first call that needs a version keeps it, everybody behind it reads it there. So what is kept
// first is read last, kept tensors form a stack, and no version is kept twice.
//
// What is recomputed, a group of a block's modules or whole blocks, keeps the streams that enter it
// (its checkpoint) and runs forward without keeping anything else. When its backward comes it runs
// again. Blocks run on their checkpoint, which becomes their stream. In a group each version of a
// stream has a place of its own: a unit that updates one runs on a copy, made right before, which
// lies on top of what the unit keeps, so nothing of it is left under the backwards of the units
// before. Only where no backward reads the version that a unit updates, the unit runs on that in
// its place.
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
};

struct ScheduledCall {
  std::string procedure;
  int64_t id = -1;
  std::optional<int64_t> partner; ///< backward: the call whose kept tensors it reads
  std::vector<Share> shares;
};

/// The calls of each of the blocks [first, first + count).
struct BlockCalls {
  int64_t first = 0, count = 0;
  std::vector<ScheduledCall> calls;
};

/// Emits the procedures of units and schedules their calls, block by block. In inference equal
/// blocks are one run; in training every block has calls of its own, and equal ones are folded when
/// they have their places.
class BlockScheduler {
public:
  BlockScheduler(mlir::OpBuilder &builder, plan::Precision precision, bool train)
      : builder(builder), precision(precision), train(train) {}

  mlir::LogicalResult addStack(ir::StackOp stack);
  std::vector<BlockCalls> forward, backward; ///< in the order of their programs

private:
  /// A version of a stream; versions are counted over all blocks.
  using Version = std::pair<std::string, int64_t>;
  /// Where a version lies.
  struct Keeper {
    int64_t call;
    std::string slot;
  };
  /// The streams at one point of a chain of calls.
  struct Streams {
    std::map<std::string, int64_t> version;
    std::map<Version, Keeper> keepers;
    std::map<std::string, Keeper> working; ///< of a re-run: what it runs on; empty: their slots
  };
  struct CallInBlock {
    int64_t block;
    ScheduledCall call;
  };
  using Calls = std::vector<CallInBlock>;
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
    std::map<std::string, Keeper> entering; ///< where each stream lies as the group finds it
    std::map<std::string, mlir::Type> own;  ///< of these, what the group has to keep itself
    int64_t id = -1;
  };
  /// A group while it is scheduled to run again; versions count from where it begins.
  struct Rerun {
    Streams streams;
    std::set<Version> read;     ///< by backwards
    std::set<std::string> used; ///< streams of which some call needs what enters the group
    Calls calls;

    void use(const Version &entered) {
      if (entered.second == 0)
        used.insert(entered.first);
    }
  };
  using StreamTypes = std::vector<std::pair<std::string, mlir::Type>>;

  const std::vector<Unit> &unitsOf(int64_t block) const;
  mlir::LogicalResult scheduleChain(int64_t first, int64_t end,
                                    llvm::ArrayRef<ir::RecomputeAttr> inner, Streams &streams,
                                    Calls &forward, Calls &backward);
  mlir::LogicalResult scheduleRecompute(llvm::ArrayRef<ir::RecomputeAttr> intervals,
                                        Streams &streams, Calls &forward, Calls &backward);
  mlir::LogicalResult scheduleBlock(int64_t block, Streams &streams, Calls &forward,
                                    std::vector<Calls> &backwards);
  mlir::LogicalResult scheduleUnit(int64_t block, const Unit &unit, Streams &streams,
                                   Calls &forward, Calls &backward);
  mlir::LogicalResult scheduleGroup(int64_t block, llvm::ArrayRef<Unit> units, Streams &streams,
                                    Calls &forward, Calls &backward);
  mlir::LogicalResult runAgain(int64_t block, Rerun &rerun, const Unit &unit,
                               const std::set<std::string> &dropped, Calls &sweeps);
  void copyUpdated(int64_t block, Rerun &rerun, const Unit &unit,
                   const std::set<std::string> &dropped);
  void scheduleForward(int64_t block, const Unit &unit, Streams &streams, Calls &forward);
  Checkpoint planCheckpoint(const Streams &streams, llvm::ArrayRef<Unit> units);
  void addCheckpoint(int64_t block, const Checkpoint &checkpoint, const std::set<std::string> &used,
                     Streams &streams, Calls &forward);
  ScheduledCall keep(const std::set<std::string> &slots, Streams &streams,
                     std::set<std::string> &own);
  ScheduledCall checkpointCall(int64_t id, const StreamTypes &streams,
                               const std::map<std::string, Keeper> &sources);
  const Emitted *backwardOf(const Unit &unit); ///< null: an error was reported
  const Emitted &forwardOf(const Unit &unit, const std::set<std::string> &kept,
                           const std::set<std::string> &dropped, llvm::StringRef suffix = "");
  std::string checkpointOf(const StreamTypes &streams);
  void addProgram(Calls calls, std::vector<BlockCalls> &program);
  std::string uniqueName(llvm::StringRef prefix);

  mlir::OpBuilder &builder;
  plan::Precision precision;
  bool train;
  std::vector<std::vector<Unit>> segments; ///< the units of a block of each
  std::vector<int64_t> segmentEnds;
  std::list<Emitted> emitted;                     ///< whose elements stay where they are
  std::map<std::string, std::string> checkpoints; ///< by the streams' names
  llvm::StringSet<> names;
  int64_t nextId = 0;
};

} // namespace evo
