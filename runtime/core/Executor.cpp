//===- Executor.cpp ---------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "runtime/core/Executor.h"

#include "runtime/core/Clock.h"
#include "runtime/core/LaunchQueue.h"

#include <algorithm>
#include <map>

namespace evo {

namespace {

constexpr int kNoLoop = -1;

/// The current slice of a loop.
struct Slice {
  int64_t first = 0;
  int64_t length = 0;
};

/// A view with everything resolved but the call's bases and the loops' slices.
struct OperandPlan {
  struct Move {
    int loop = kNoLoop; ///< position in the procedure's slices
    int64_t strideBytes = 0;
  };
  bool present = false;
  int32_t buffer = 0; ///< whose memory the call says
  int64_t offset = 0; ///< bytes from the buffer, at the first slice of every loop
  std::vector<Move> moves;
  TensorRef ref; ///< without data
  std::array<int, plan::kMaxRank> extentLoop{};
};

struct LaunchPlan {
  const plan::KernelStep *step = nullptr;
  int32_t id = 0;
  std::vector<OperandPlan> operands;
};

struct LoopPlan;
/// A launch, or a loop where `loop` is set.
struct StepPlan {
  LaunchPlan launch;
  std::unique_ptr<LoopPlan> loop;
};
struct LoopPlan {
  int position = 0; ///< in the procedure's slices
  int64_t extent = 0, size = 0;
  std::vector<StepPlan> body;
};

struct ProcedurePlan {
  std::vector<StepPlan> steps;
  int loops = 0;
};

Status invalid(const std::string &message) {
  return Status::error(ErrorCode::InvalidPlan, message);
}

/// Compiles one procedure. Shapes and bounds have been verified with the plan; what is checked
/// again here keeps a plan that was not from reading outside the tables.
class ProcedureCompiler {
public:
  ProcedureCompiler(const plan::Plan &plan, const plan::Procedure &procedure)
      : plan(plan), procedure(procedure) {}

  Result<ProcedurePlan> compile() {
    ProcedurePlan out;
    EVO_TRY(
        compileSteps(procedure.steps, out.steps).withContext("procedure '" + procedure.name + "'"));
    out.loops = loopCount;
    return out;
  }

private:
  Status compileSteps(const std::vector<plan::Step> &steps, std::vector<StepPlan> &out) {
    for (const plan::Step &step : steps) {
      if (const auto *kernel = std::get_if<plan::KernelStep>(&step.value)) {
        LaunchPlan launch{kernel, nextId++, {}};
        for (const std::optional<plan::View> &view : kernel->operands) {
          launch.operands.emplace_back();
          if (view)
            EVO_TRY(compileView(*view, launch.operands.back())
                        .withContext("step " + std::to_string(launch.id)));
        }
        out.push_back({std::move(launch), nullptr});
      } else if (const auto *loop = std::get_if<plan::LoopStep>(&step.value)) {
        if (loop->size < 1)
          return invalid("loop " + std::to_string(loop->loop) +
                         ": expected slices of at least 1, got " + std::to_string(loop->size));
        auto compiled = std::make_unique<LoopPlan>();
        compiled->position = loopCount++;
        compiled->extent = loop->extent;
        compiled->size = loop->size;
        loops[loop->loop] = compiled->position;
        EVO_TRY(compileSteps(loop->body, compiled->body));
        loops.erase(loop->loop);
        out.push_back({{}, std::move(compiled)});
      }
    }
    return {};
  }

  Result<int> loopPosition(int32_t id) const {
    if (id < 0)
      return kNoLoop;
    auto found = loops.find(id);
    if (found == loops.end())
      return invalid("expected the id of a loop around the step, got " + std::to_string(id));
    return found->second;
  }

  Status compileView(const plan::View &view, OperandPlan &out) const {
    if (view.buffer < 0 || view.buffer >= static_cast<int64_t>(procedure.buffers.size()))
      return invalid("expected a buffer of the procedure, got index " +
                     std::to_string(view.buffer));
    const plan::Buffer &buffer = procedure.buffers[static_cast<size_t>(view.buffer)];
    size_t rank = buffer.shape.size();
    if (rank > plan::kMaxRank || buffer.strides.size() != rank || view.start.size() != rank ||
        view.extent.size() != rank || view.order.size() != rank)
      return invalid("buffer '" + buffer.name + "': expected a view of " + std::to_string(rank) +
                     " axes, got " + std::to_string(view.order.size()));
    if (buffer.base == plan::Base::Gradient && procedure.phase == plan::Phase::Forward)
      return invalid("buffer '" + buffer.name + "': expected no gradient in a forward procedure");
    if (buffer.base == plan::Base::State && procedure.phase != plan::Phase::Optimizer)
      return invalid("buffer '" + buffer.name +
                     "': expected no state but in the optimizer's procedures");
    out.present = true;
    out.buffer = view.buffer;
    if (buffer.base == plan::Base::Tensor &&
        (buffer.tensor < 0 || buffer.tensor >= static_cast<int64_t>(plan.tensors.size())))
      return invalid("buffer '" + buffer.name + "': expected a tensor of the plan, got index " +
                     std::to_string(buffer.tensor));
    int64_t elementSize = plan::elementBytes(buffer.dtype);
    for (size_t axis = 0; axis < rank; ++axis) {
      const plan::Start &start = view.start[axis];
      int64_t strideBytes = buffer.strides[axis] * elementSize;
      out.offset += start.value * strideBytes;
      EVO_ASSIGN(int loop, loopPosition(start.loop));
      if (loop != kNoLoop)
        out.moves.push_back({loop, strideBytes});
    }
    out.ref.dtype = buffer.dtype;
    out.ref.rank = static_cast<int>(rank);
    for (size_t d = 0; d < rank; ++d) {
      if (view.order[d] < 0 || view.order[d] >= static_cast<int64_t>(rank))
        return invalid("buffer '" + buffer.name + "': expected an order of its axes, got axis " +
                       std::to_string(view.order[d]));
      auto axis = static_cast<size_t>(view.order[d]);
      out.ref.shape[d] = view.extent[axis].value;
      out.ref.strides[d] = buffer.strides[axis];
      EVO_ASSIGN(out.extentLoop[d], loopPosition(view.extent[axis].loop));
    }
    return {};
  }

  const plan::Plan &plan;
  const plan::Procedure &procedure;
  std::map<int32_t, int> loops; ///< those around the current step, by id
  int loopCount = 0;
  int32_t nextId = 0;
};

void collectSteps(const std::vector<plan::Step> &steps,
                  std::vector<const plan::KernelStep *> &out) {
  for (const plan::Step &step : steps) {
    if (const auto *kernel = std::get_if<plan::KernelStep>(&step.value))
      out.push_back(kernel);
    else if (const auto *loop = std::get_if<plan::LoopStep>(&step.value))
      collectSteps(loop->body, out);
  }
}

} // namespace

std::vector<const plan::KernelStep *> kernelSteps(const plan::Procedure &procedure) {
  std::vector<const plan::KernelStep *> steps;
  collectSteps(procedure.steps, steps);
  return steps;
}

struct Executor::Impl {
  const plan::Plan &plan;
  Backend &backend;
  std::byte *arena;
  std::byte *staticPart;
  std::vector<ProcedurePlan> procedures;

  /// Of the call in progress.
  struct CallState {
    int32_t procedure = 0;
    int64_t block = 0;
    int64_t blockOfRun = 0;           ///< from the run's first block
    std::vector<std::byte *> buffers; ///< of the procedure: where each lies
    std::vector<Slice> slices;
    const plan::Program *program = nullptr;
    const RunHooks *hooks = nullptr;
    int64_t blocks = 0;     ///< of the program
    bool isRolling = false; ///< pieces are launched, which hold more calls than the one in progress
  };

  /// A call in a block.
  struct Turn {
    const plan::BlockRun *run = nullptr;
    const plan::Call *call = nullptr;
    int64_t block = 0, done = 0; ///< blocks that are done behind the turn; 0: it ends none
  };
  /// What a program has recorded.
  struct Recorded {
    bool tried = false;
    LaunchQueue::Pieces pieces;
  };
  LaunchQueue queue;
  std::vector<Recorded> recorded; ///< by phase

  std::vector<Turn> turnsOf(const plan::Program &program) const;
  Status runProgram(const plan::Program &program, const RunHooks &hooks);
  Status runTurns(std::span<const Turn> turns, CallState &state, LaunchQueue::Way way,
                  LaunchQueue::Pieces *pieces);
  Status record(std::span<const Turn> turns, CallState &state, LaunchQueue::Pieces &pieces);
  Status runCall(const plan::Call &call, CallState &state);
  Status locate(const plan::Call &call, CallState &state) const;
  Status runSteps(const std::vector<StepPlan> &steps, CallState &state);
  Status launch(const LaunchPlan &launch, CallState &state);
  Status behindLaunches(const Status &status, const plan::Program &program, const RunHooks &hooks,
                        const std::string &place) const;
  Status located(const Status &status, const LaunchPlan &launch, const CallState &state) const;
  Status ofPiece(const Status &status, const CallState &state) const;
  std::vector<TensorRef> operands; ///< of the launch in progress
};

namespace {

TensorRef resolve(const OperandPlan &operand, std::span<std::byte *const> buffers,
                  const std::vector<Slice> &slices) {
  if (!operand.present)
    return {};
  TensorRef ref = operand.ref;
  int64_t offset = operand.offset;
  for (const OperandPlan::Move &move : operand.moves)
    offset += slices[static_cast<size_t>(move.loop)].first * move.strideBytes;
  for (int d = 0; d < ref.rank; ++d)
    if (int loop = operand.extentLoop[static_cast<size_t>(d)]; loop != kNoLoop)
      ref.shape[static_cast<size_t>(d)] = slices[static_cast<size_t>(loop)].length;
  ref.data = buffers[static_cast<size_t>(operand.buffer)] + offset;
  return ref;
}

int64_t viewBytes(const TensorRef &ref) {
  if (!ref)
    return 0;
  int64_t bytes = plan::elementBytes(ref.dtype);
  for (int d = 0; d < ref.rank; ++d)
    bytes *= ref.shape[static_cast<size_t>(d)];
  return bytes;
}

} // namespace

Status Executor::Impl::located(const Status &status, const LaunchPlan &launch,
                               const CallState &state) const {
  if (status.ok())
    return {};
  const plan::Procedure &procedure = plan.procedures[static_cast<size_t>(state.procedure)];
  return status.withContext("rank " + std::to_string(state.hooks->rank) + ", " + backend.name() +
                            ", block " + std::to_string(state.block) + ", procedure '" +
                            procedure.name + "', step " + std::to_string(launch.id) + " " +
                            std::string(plan::kernelInfo(launch.step->kernel).mnemonic) + " (" +
                            launch.step->location + ")");
}

/// An error that shows when many launches are under way, of which any may be the cause.
Status Executor::Impl::behindLaunches(const Status &status, const plan::Program &program,
                                      const RunHooks &hooks, const std::string &place) const {
  std::string way =
      hooks.trace ? "" : ", of a launch up to there (run with --trace to find the step)";
  return status.withContext("rank " + std::to_string(hooks.rank) + ", " + backend.name() +
                            ", program '" + std::string(plan::phaseName(program.phase)) + "', " +
                            place + way);
}

/// An error of a piece of launches that ends in the block in progress.
Status Executor::Impl::ofPiece(const Status &status, const CallState &state) const {
  if (status.ok())
    return status;
  return behindLaunches(status, *state.program, *state.hooks,
                        "in block " + std::to_string(state.block));
}

Status Executor::Impl::launch(const LaunchPlan &launch, CallState &state) {
  operands.clear();
  for (const OperandPlan &operand : launch.operands)
    operands.push_back(resolve(operand, state.buffers, state.slices));
  KernelCall call{
      launch.step->kernel,
      plan.precision,
      &launch.step->attributes,
      operands,
      {state.hooks->dropoutSeed, state.hooks->step, static_cast<uint32_t>(state.block)}};
  Trace *trace = state.hooks->trace;
  if (!trace)
    return state.isRolling ? ofPiece(queue.launch(call), state)
                           : located(queue.launch(call), launch, state);
  int64_t start = nowNs();
  EVO_TRY(located(queue.launch(call), launch, state));
  EVO_TRY(located(backend.synchronize(), launch, state));
  int64_t bytes = 0;
  for (const TensorRef &operand : operands)
    bytes += viewBytes(operand);
  trace->events.push_back(
      {state.procedure, launch.id, state.block, start - trace->originNs, nowNs() - start, bytes});
  return {};
}

Status Executor::Impl::runSteps(const std::vector<StepPlan> &steps, CallState &state) {
  for (const StepPlan &step : steps) {
    if (!step.loop) {
      EVO_TRY(launch(step.launch, state));
      continue;
    }
    const LoopPlan &loop = *step.loop;
    for (int64_t first = 0; first < loop.extent; first += loop.size) {
      state.slices[static_cast<size_t>(loop.position)] = {first,
                                                          std::min(loop.size, loop.extent - first)};
      EVO_TRY(runSteps(loop.body, state));
      EVO_TRY(ofPiece(queue.endIteration(), state));
    }
  }
  return {};
}

Status Executor::Impl::runCall(const plan::Call &call, CallState &state) {
  if (call.procedure < 0 || call.procedure >= static_cast<int64_t>(procedures.size()))
    return invalid("expected a call of a procedure of the plan, got index " +
                   std::to_string(call.procedure));
  state.procedure = call.procedure;
  EVO_TRY(locate(call, state));
  const ProcedurePlan &procedure = procedures[static_cast<size_t>(call.procedure)];
  state.slices.assign(static_cast<size_t>(procedure.loops), Slice{});
  return runSteps(procedure.steps, state);
}

/// Where each buffer of the procedure lies in this call.
Status Executor::Impl::locate(const plan::Call &call, CallState &state) const {
  const plan::Procedure &procedure = plan.procedures[static_cast<size_t>(call.procedure)];
  state.buffers.clear();
  for (const plan::Buffer &buffer : procedure.buffers) {
    std::byte *base = arena;
    switch (buffer.base) {
    case plan::Base::Tensor:
      if (buffer.tensor >= 0 && buffer.tensor < static_cast<int64_t>(plan.tensors.size()))
        base += plan.tensors[static_cast<size_t>(buffer.tensor)].offset;
      break;
    case plan::Base::Frame:
      base += call.frameOffset + state.blockOfRun * call.frameStride;
      break;
    case plan::Base::Saved:
      base += call.savedOffset + state.blockOfRun * call.savedStride;
      break;
    case plan::Base::Weight:
      base = staticPart + state.block * plan.weightBlockBytes;
      break;
    case plan::Base::Gradient:
      base = staticPart + plan.model.blocks * plan.weightBlockBytes +
             state.block * plan.gradientBlockBytes;
      break;
    case plan::Base::State:
      base = staticPart + plan.model.blocks * (plan.weightBlockBytes + plan.gradientBlockBytes) +
             state.block * plan.stateBlockBytes;
      break;
    }
    state.buffers.push_back(base + buffer.offset);
  }
  for (const plan::Binding &binding : call.bindings) {
    if (binding.buffer < 0 || binding.buffer >= static_cast<int64_t>(state.buffers.size()))
      return invalid("expected a binding of a buffer of procedure '" + procedure.name +
                     "', got index " + std::to_string(binding.buffer));
    state.buffers[static_cast<size_t>(binding.buffer)] =
        arena + binding.offset + state.blockOfRun * binding.stride;
  }
  return {};
}

/// Kernel steps of a call, loops counted as often as they run.
static int64_t launchesOf(const std::vector<StepPlan> &steps) {
  int64_t count = 0;
  for (const StepPlan &step : steps)
    count += step.loop ? (step.loop->extent + step.loop->size - 1) / step.loop->size *
                             launchesOf(step.loop->body)
                       : 1;
  return count;
}

std::vector<Executor::Impl::Turn> Executor::Impl::turnsOf(const plan::Program &program) const {
  std::vector<Turn> turns;
  int64_t done = 0;
  for (const plan::BlockRun &run : program.runs) {
    bool down = goesDown(plan, program, run);
    for (int64_t i = 0; i < run.blockCount; ++i) {
      int64_t blockOfRun = down ? run.blockCount - 1 - i : i;
      for (const plan::Call &call : run.calls)
        turns.push_back({&run, &call, run.firstBlock + blockOfRun, 0});
      ++done;
      if (!run.calls.empty())
        turns.back().done = done;
    }
  }
  return turns;
}

Status Executor::Impl::runTurns(std::span<const Turn> turns, CallState &state, LaunchQueue::Way way,
                                LaunchQueue::Pieces *pieces) {
  bool launches = way == LaunchQueue::Way::Alone || way == LaunchQueue::Way::Roll;
  state.isRolling = way == LaunchQueue::Way::Roll;
  queue.start(way, pieces);
  for (const Turn &turn : turns) {
    state.block = turn.block;
    state.blockOfRun = turn.block - turn.run->firstBlock;
    EVO_TRY(runCall(*turn.call, state));
    if (!turn.done)
      continue;
    EVO_TRY(ofPiece(queue.endBlock(turn.done), state));
    if (launches && state.hooks->onBlock)
      state.hooks->onBlock(turn.done, state.blocks);
  }
  return ofPiece(queue.end(), state);
}

/// Keeps the program where there is room, else recordings for its equal pieces.
Status Executor::Impl::record(std::span<const Turn> turns, CallState &state,
                              LaunchQueue::Pieces &pieces) {
  int64_t launches = 0;
  for (const Turn &turn : turns)
    launches += launchesOf(procedures[static_cast<size_t>(turn.call->procedure)].steps);
  if (queue.hasRoom(launches)) {
    Status status = runTurns(turns, state, LaunchQueue::Way::Keep, &pieces);
    if (status.ok() || status.code() != ErrorCode::OutOfMemory)
      return status;
    queue.forget(pieces);
  }
  EVO_TRY(runTurns(turns, state, LaunchQueue::Way::Survey, &pieces));
  return runTurns(turns, state, LaunchQueue::Way::Prepare, &pieces);
}

Status Executor::Impl::runProgram(const plan::Program &program, const RunHooks &hooks) {
  std::vector<Turn> turns = turnsOf(program);
  CallState state;
  state.program = &program;
  state.hooks = &hooks;
  for (const plan::BlockRun &run : program.runs)
    state.blocks += run.blockCount;
  if (hooks.trace && hooks.trace->originNs == 0)
    hooks.trace->originNs = nowNs();
  Recorded &own = recorded[static_cast<size_t>(program.phase)];
  if (!hooks.trace && own.pieces.areKept()) {
    EVO_TRY(backend.setDropout(hooks.dropoutSeed, hooks.step));
    int64_t ended = 0;
    Status replayed = queue.replay(own.pieces, [&](int64_t done) {
      while (ended < done) {
        ++ended;
        if (hooks.onBlock)
          hooks.onBlock(ended, state.blocks);
      }
    });
    EVO_TRY(behindLaunches(replayed, program, hooks,
                           "behind block " + std::to_string(ended) + " of " +
                               std::to_string(state.blocks)));
  } else if (!hooks.trace && own.pieces.areShared()) {
    EVO_TRY(backend.setDropout(hooks.dropoutSeed, hooks.step));
    EVO_TRY(runTurns(turns, state, LaunchQueue::Way::Roll, &own.pieces));
  } else {
    EVO_TRY(runTurns(turns, state, LaunchQueue::Way::Alone, nullptr));
  }
  EVO_TRY(behindLaunches(backend.synchronize(), program, hooks, "at its end"));
  if (own.tried || hooks.trace || !backend.canRecord())
    return {};
  // The first run has chosen every algorithm and loaded every kernel.
  own.tried = true;
  Status status = record(turns, state, own.pieces);
  if (!status.ok()) {
    queue.forget(own.pieces);
    // Launches need no memory: others may have taken what recordings were to have.
    if (status.code() != ErrorCode::OutOfMemory)
      return status;
  }
  return behindLaunches(backend.synchronize(), program, hooks, "as recordings are made");
}

Executor::Executor(std::unique_ptr<Impl> impl) : impl(std::move(impl)) {}
Executor::~Executor() = default;

Result<std::unique_ptr<Executor>> Executor::create(const plan::Plan &plan, Backend &backend,
                                                   std::byte *arena, std::byte *staticPart) {
  std::unique_ptr<Impl> impl(
      new Impl{plan, backend, arena, staticPart, {}, LaunchQueue(backend), {}, {}});
  impl->recorded.resize(3); // phases
  for (const plan::Procedure &procedure : plan.procedures) {
    EVO_ASSIGN(ProcedurePlan compiled, ProcedureCompiler(plan, procedure).compile());
    impl->procedures.push_back(std::move(compiled));
  }
  return std::unique_ptr<Executor>(new Executor(std::move(impl)));
}

Status Executor::run(plan::Phase phase, const RunHooks &hooks) {
  for (const plan::Program &program : impl->plan.programs)
    if (program.phase == phase)
      return impl->runProgram(program, hooks);
  return invalid("expected a program '" + std::string(plan::phaseName(phase)) +
                 "' in the plan, got none");
}

int64_t Executor::recordedLaunches() const { return impl->queue.keptLaunches(); }

} // namespace evo
