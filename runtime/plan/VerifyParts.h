//===- VerifyParts.h - the verifier's families of checks --------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// In the order in which verifyPlan calls them; each may rely on what the ones before it hold.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/plan/Regions.h"
#include "runtime/plan/VerifyReport.h"

#include <cstdint>
#include <set>
#include <span>
#include <vector>

namespace evo::plan {

/// Loops may nest this deep: three iterations of each are executed.
inline constexpr size_t kMaxLoopDepth = 4;
/// A plan has no more boundary tensors: streams, their gradients, masks.
inline constexpr size_t kMaxTensors = 256;
/// No byte lies behind this; an end beyond it could not be aligned.
inline constexpr int64_t kMaxEnd = INT64_MAX - kAlignment;

/// A table of products has no more shapes and no more ways.
inline constexpr size_t kMaxProducts = 65536;

/// Model, table of products, tensors, weights, ranks and the schedule tree (0, 8, 9, 10, 15).
Verdict verifyTables(const Plan &plan);

/// Buffers and steps of each procedure, each for itself (0, 2, 8, 9).
Verdict verifyProcedureForm(const Plan &plan);

/// What programs call and in which order, and what they define (0, 1).
Verdict verifyPrograms(const Plan &plan);

/// The weight whose gradient a buffer of that name holds, by its index; nothing for any other.
std::optional<size_t> weightOfGradient(const Plan &plan, std::string_view bufferName);
const Program *programOf(const Plan &plan, Phase phase);

/// A part of the state of a weight, by their indices.
struct StateIndex {
  size_t weight = 0, state = 0;
};
/// What a buffer "<kind>.<weight>" holds; nothing for any other.
std::optional<StateIndex> stateOfBuffer(const Plan &plan, std::string_view bufferName);

/// The elements of a view in all iterations of the loops around it together.
Box wholeBox(const View &view, std::span<const LoopStep *const> loops);

/// What simulating a procedure found out about it.
struct ProcedureFacts {
  std::vector<bool> readsAtEntry; ///< a tensor: some step reads what the caller left there
  std::vector<bool> writes;       ///< a tensor: some step writes it
  bool writesAny() const {
    for (bool written : writes)
      if (written)
        return true;
    return false;
  }
  int64_t savedBytes = 0;       ///< height of its kept tensors
  std::vector<bool> addsTo;     ///< a weight: some step reads the gradient that was there before
  std::vector<bool> stores;     ///< a weight: some step writes its gradient
  std::vector<int32_t> updates; ///< a weight: versions of it that are made
  std::vector<std::vector<int32_t>> stateUpdates; ///< a weight's state: versions that are made
};

/// Contributions to weights' gradients in slice loops add up (7).
Verdict verifySums(const Plan &plan);

/// Executes each procedure on versions (1, 2, 3, 4, 9, 10, 11, 16).
Verdict verifyData(const Plan &plan, std::vector<ProcedureFacts> &facts);

/// Slices of loops compute what the whole axis would (4).
Verdict verifySlices(const Plan &plan);

/// Definedness of tensors from call to call (1).
Verdict verifyCalls(const Plan &plan, const std::vector<ProcedureFacts> &facts);

/// What the optimizer holds and calls: every weight and its state are updated once (0, 1, 4), by
/// the gradient of the weight, after all gradients are counted and before the scalars advance (6).
Verdict verifyOptimizer(const Plan &plan, const std::vector<ProcedureFacts> &facts);
/// The order of its program: gradients are counted, weights updated alike, scalars advanced (6).
Verdict verifyOptimizerOrder(const Plan &plan, const Program &program, const Path &path);
/// Whether a kernel updates a weight.
bool isOptimizerStep(Kernel kernel);
/// Its table of the weights' state, and that it has the programs that it needs (0, 8, 9, 10).
Verdict verifyStates(const Plan &plan);
/// Which blocks its runs have: all of them, or the first alone (0).
Verdict verifyOptimizerRuns(const Plan &plan, const Program &program, const Path &path);

/// What the calls need of the arena.
struct ArenaUse {
  int64_t top = 0;       ///< its end, aligned
  int64_t keptBytes = 0; ///< what forward calls keep, of all blocks
};

/// The forward calls of modules, a call of the backward program for these, and who has kept what it
/// reads.
struct Recall {
  std::vector<int32_t> forwards; ///< one right after the other
  int32_t backward = 0;
  /// A buffer of the backward procedure, where it is kept: the procedure that has kept it, or -2 -
  /// the tensor that it is a copy of; -1 for any other buffer.
  std::vector<int32_t> keepers;
  auto operator<=>(const Recall &) const = default;
};

/// Runs the calls of all programs, block by block, on what is kept and where: frames and kept
/// tensors against each other and the tensors, what each call finds of the forward (5, 8, 9, 12),
/// and the order of the backward calls (6).
Verdict verifyKept(const Plan &plan, const std::vector<ProcedureFacts> &facts, ArenaUse &use,
                   std::set<Recall> &recalls);

/// Arena and the summary's bytes (8, 10), and all of verifyKept.
Verdict verifyMemory(const Plan &plan, const std::vector<ProcedureFacts> &facts,
                     std::set<Recall> &recalls);

/// What backward procedures compute is read, and is a term of one sum (6).
Verdict verifyGradients(const Plan &plan);

/// Contributions to weights' gradients against the uses of the weights, block by block (7).
Verdict verifyContributions(const Plan &plan);

/// Recomputations against the forward (5), and gradients by the chain rule (6).
Verdict verifyRecalls(const Plan &plan, const std::vector<ProcedureFacts> &facts,
                      const std::set<Recall> &recalls);

/// Costs (18).
Verdict verifyCost(const Plan &plan);

} // namespace evo::plan
