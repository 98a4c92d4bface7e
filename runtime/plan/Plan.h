//===- Plan.h - the execution plan ------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// The contract between evo-opt and evo-run, as plain values; SCHEMA.md documents the same fields in
// their JSON form. Everything is resolved here: the runtime validates and never infers.
//
// A plan is programs; a program is runs of equal blocks; a block is calls of procedures; a
// procedure is kernel steps and slice loops over buffers. Buffers lie relative to a *base* (the
// arena slot of a tensor, the procedure's frame, the block's weights), so that one procedure serves
// all blocks.
//
// Versions. Every write of a buffer makes a version, numbered from 1 within the procedure; version
// 0 is what a tensor or weight holds when the procedure is entered. A step names the version that
// it reads and the one that it writes, region by region, so in-place updates, slice loops and reuse
// can be checked without knowing what any kernel means. A buffer's versions have no gap, and an
// element's only grow; a new alloc (a loop body's, in every iteration) may begin at 1 again.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/plan/DType.h"
#include "runtime/plan/Kernel.h"
#include "runtime/plan/ProductTable.h"
#include "runtime/plan/Status.h"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace evo::plan {

inline constexpr std::string_view kPlanFormat = "evo.plan/1";

/// What a buffer's offset counts from.
enum class Base : uint8_t {
  Tensor,   ///< the arena slot of the boundary tensor or mask with the buffer's `tensor` index
  Frame,    ///< the call's frame in the arena
  Saved,    ///< the call's kept tensors in the arena (training)
  Weight,   ///< the block's weights in the static part
  Gradient, ///< the block's weight gradients in the static part (training)
  State,    ///< the block's optimizer state in the static part (training)
};
inline constexpr size_t kBases = 6;

enum class Lane : uint8_t { Compute, Communication };
enum class Phase : uint8_t { Forward, Backward, Optimizer };
enum class Mode : uint8_t { Infer, Train };

/// A gradient buffer is named by this and its weight's name.
inline constexpr std::string_view kGradientPrefix = "gradient.";
/// The boundary tensor that holds the optimizer's four scalars; Kernels.def says which.
inline constexpr std::string_view kOptimizerTensor = "optimizer";
/// The tensor that is the workspace of the backend's kernels and libraries: there from the first
/// step to the last, but no program's and no procedure's, and what it holds at a kernel's entry
/// means nothing.
inline constexpr std::string_view kWorkspaceTensor = "workspace";

/// What an optimizer keeps of a weight from step to step, of the weight's shape and the statistic
/// type.
enum class StateKind : uint8_t { FirstMoment, Master, Momentum, SecondMoment };
enum class OptimizerKind : uint8_t { Sgd, Adamw };

std::string_view stateName(StateKind kind); ///< "first_moment" | "master" | "momentum" | ...
std::optional<StateKind> parseStateKind(std::string_view name);
std::string_view optimizerName(OptimizerKind kind); ///< "sgd" | "adamw"
/// "tensor" | "frame" | "saved" | "weight" | "gradient" | "state"
std::string_view baseName(Base base);
std::string_view laneName(Lane lane);    ///< "compute" | "communication"
std::string_view phaseName(Phase phase); ///< "forward" | "backward" | "optimizer"
std::optional<Phase> parsePhase(std::string_view name);
std::string_view modeName(Mode mode); ///< "infer" | "train"

/// `value`, plus the first element of the current slice of loop `loop` where that is >= 0.
struct Start {
  int64_t value = 0;
  int32_t loop = -1;
  bool operator==(const Start &) const = default;
};

/// `value` elements; where `loop` >= 0 the length of the current slice of that loop, which is
/// `value` but for a shorter last slice.
struct Extent {
  int64_t value = 0;
  int32_t loop = -1;
  bool operator==(const Extent &) const = default;
};

/// A box of a buffer, with its axes reordered: axis d of the view is axis order[d] of the buffer.
/// start, extent and order have one entry a buffer axis.
struct View {
  int32_t buffer = 0;  ///< index into Procedure::buffers
  int32_t version = 0; ///< read: the version that every element must have; written: the one it gets
  std::vector<Start> start;
  std::vector<Extent> extent;
  std::vector<int32_t> order;
  bool operator==(const View &) const = default;
};

struct Buffer {
  std::string name; ///< unique in the procedure; where base is Tensor or Weight that one's name
  Base base = Base::Frame;
  int32_t tensor = -1; ///< index into Plan::tensors where base is Tensor
  DType dtype = DType::F32;
  std::vector<int64_t> shape;
  std::vector<int64_t> strides; ///< elements; row-major, rows may be padded
  int64_t offset = 0;           ///< bytes from the base
  int64_t bytes = 0;            ///< (1 + sum (shape-1) * strides) * element size
};

struct KernelStep {
  Kernel kernel = Kernel::Copy;
  KernelAttributes attributes;
  std::vector<std::optional<View>> operands; ///< in the order of Kernels.def
  Lane lane = Lane::Compute;
  /// Ids of asynchronous steps that must have ended. A step's id is its position among the kernel
  /// steps of its procedure, loops' bodies in order.
  std::vector<int32_t> waits;
  int64_t costNs = 0;   ///< of one call of the procedure: all iterations of the loops around it
  std::string location; ///< the module and operation that it came from
};

/// The buffer gets its memory; its contents are undefined.
struct AllocStep {
  int32_t buffer = 0;
};
/// The buffer's memory may be used by others.
struct FreeStep {
  int32_t buffer = 0;
};

struct Step;
/// Runs the body on consecutive slices [k * size, min((k + 1) * size, extent)) of an axis.
struct LoopStep {
  int32_t loop = 0; ///< the id that Start and Extent name; unique in the procedure
  std::string axis; ///< "s", "r_i", ...: for people
  int64_t extent = 0;
  int64_t size = 0;
  std::vector<Step> body;
};

struct Step {
  std::variant<KernelStep, AllocStep, FreeStep, LoopStep> value;
};

/// One (module or run of modules, choice, phase).
struct Procedure {
  std::string name;   ///< unique in the plan
  std::string module; ///< "msa_att_row", ...
  Phase phase = Phase::Forward;
  std::string choice;     ///< the #evo.choice as text
  int64_t frameBytes = 0; ///< height of its frame
  int64_t costNs = 0;     ///< sum over its steps
  std::vector<Buffer> buffers;
  std::vector<Step> steps;
};

/// A kept tensor or a stream that lies elsewhere in this call than its base says: what another call
/// keeps, or the checkpoint that a recomputation runs on.
struct Binding {
  int32_t buffer = 0; ///< index into Procedure::buffers, of base Saved or Tensor
  int64_t offset = 0; ///< bytes from the arena's start to the buffer, for the run's first block
  int64_t stride = 0; ///< bytes that it moves a block;
  bool operator==(const Binding &) const = default;
};

/// Offsets are those of the run's first block; strides are what they move by from block to block.
struct Call {
  int32_t procedure = 0;
  int64_t frameOffset = 0; ///< bytes from the arena's start
  int64_t frameStride = 0;
  int64_t savedOffset = 0; ///< bytes from the arena's start
  int64_t savedStride = 0;
  std::vector<Binding> bindings; ///< by buffer, ascending
};

/// The calls of each of the blocks [firstBlock, firstBlock + blockCount), one block after the
/// other, in the direction that `goesDown` says.
struct BlockRun {
  int64_t firstBlock = 0;
  int64_t blockCount = 0;
  std::vector<Call> calls;
};

struct Program {
  Phase phase = Phase::Forward;
  std::vector<std::string> inputs;  ///< names of boundary tensors that the caller sets
  std::vector<std::string> outputs; ///< and of those that it reads after the program
  std::vector<BlockRun> runs;
};

/// A tensor with a fixed slot in the arena: a residual stream, its gradient, a mask, the
/// optimizer's scalars or the workspace. A stream and its gradient may have one slot: what the
/// backward program is given takes the place of what the forward program left.
struct Tensor {
  std::string name; ///< "m", "z", "msa_mask", "pair_mask"
  DType dtype = DType::F32;
  std::vector<int64_t> shape;
  int64_t offset = 0;
  int64_t bytes = 0;
};

/// Rows [firstRow, firstRow + rows) of a weight are the parameter `parameter`; 1-d ones have one
/// column.
struct WeightPart {
  std::string parameter; ///< the name behind "blocks.{i}.": "msa_att_row.mha.linear_q.weight"
  int64_t firstRow = 0;
  int64_t rows = 0;
};

/// A buffer of it is named "<kind>.<weight>".
struct WeightState {
  StateKind kind = StateKind::Master;
  int64_t offset = 0; ///< bytes from the block's state
};

/// Parameters that are read together, stored adjacently. Block i's lie at i * blockBytes + offset.
struct Weight {
  std::string name;
  DType dtype = DType::F32;
  std::vector<int64_t> shape; ///< [out, in] or [channels]
  int64_t offset = 0;         ///< bytes from the block's weights
  int64_t bytes = 0;
  std::vector<WeightPart> parts; ///< tile the rows
  int64_t gradientOffset = 0; ///< training: bytes from the block's gradients, in the statistic type
  std::vector<WeightState>
      states; ///< with an optimizer; in the order of the kinds, which is that of their names
};

/// What a caller of the programs must know of the optimizer; the rest stands in its kernels.
struct OptimizerInfo {
  OptimizerKind kind = OptimizerKind::Sgd;
  double lossScale = 1; ///< to begin with: cotangents are those of the loss times it
};

/// The part of each sharded axis that a rank owns, as half-open intervals: the table of extents.
struct RankExtents {
  int32_t rank = 0;
  std::map<std::string, std::pair<int64_t, int64_t>> extents; ///< "s", "r"
};

/// A node of the schedule tree. `kind` is "stack", "segment", "run" or "module".
struct ScheduleNode {
  std::string kind;
  std::string name;                       ///< of a module: its parameter prefix
  std::string choice;                     ///< of a module or run
  int64_t firstBlock = 0, blockCount = 0; ///< of a stack or segment
  std::vector<ScheduleNode> children;
};

/// Of the arena, what no moment needs. Where the total is 0 the arena is the largest sum of live
/// bytes.
struct IdleBytes {
  int64_t total = 0; ///< the arena less the largest sum of live bytes
  /// Why, at the fullest step of those whose frame ends highest: kept tensors that nobody reads
  /// any more (they stay until the call of their last reader has ended, the checkpoint that blocks
  /// ran on again until their backward has), and what lies between the buffers of the frame.
  /// Together at least the total.
  int64_t kept = 0, frame = 0;
};

struct Summary {
  std::string policy;
  int64_t budgetBytes = 0;
  int64_t arenaBytes = 0;
  int64_t staticBytes = 0;
  int64_t libraryBytes = 0;
  int64_t predictedPeakBytes = 0; ///< arena + static + library
  int64_t keptBytes = 0;
  IdleBytes idle;
  double predictedMs = 0;
};

/// What the plan computes, for people and for the reports.
struct ModelInfo {
  std::string name, stack;
  int64_t blocks = 0;
  std::map<std::string, int64_t> sizes;    ///< "s", "r"
  std::map<std::string, int64_t> channels; ///< as in the specification
};

struct Plan {
  ModelInfo model;
  Precision precision = Precision::Fp32;
  Mode mode = Mode::Infer;
  int32_t devices = 1;
  std::string profile; ///< name of the device profile that priced it
  /// What the profile was measured on, as DeviceIdentity::text() says it; empty: it is analytic.
  std::string profileDevice;
  std::string backend;   ///< the profile's: "cuda" | "cpu"
  ProductTable products; ///< how the backend's library computes products; empty: as it proposes
  int64_t arenaBytes = 0;
  int64_t weightBlockBytes = 0; ///< bytes of one block's weights
  /// Bytes of one block's weight gradients, 0 in inference. In the static part all blocks' weights
  /// come first, then all blocks' gradients.
  int64_t gradientBlockBytes = 0;
  /// Bytes of one block's optimizer state, 0 without an optimizer; all blocks' come behind all
  /// gradients.
  int64_t stateBlockBytes = 0;
  std::optional<OptimizerInfo> optimizer; ///< where there is an optimizer program
  Summary summary;
  std::vector<Tensor> tensors;
  std::vector<Weight> weights;
  std::vector<Procedure> procedures;
  std::vector<Program> programs;
  std::vector<RankExtents> ranks;
  ScheduleNode schedule;
};

/// The location of a step that has no name of its own: "<module>/<kernel>".
std::string defaultLocation(const Procedure &procedure, Kernel kernel);

/// The slot of the workspace; null where the plan reserves none.
const Tensor *workspaceOf(const Plan &plan);

/// Whether a run goes from its last block to its first: in a backward program where it calls a
/// backward procedure. What only computes again goes up there too.
bool goesDown(const Plan &plan, const Program &program, const BlockRun &run);

} // namespace evo::plan
