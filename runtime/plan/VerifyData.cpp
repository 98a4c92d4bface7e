//===- VerifyData.cpp - executing procedures on versions --------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "runtime/plan/Regions.h"
#include "runtime/plan/VerifyParts.h"

#include <algorithm>
#include <map>
#include <set>

namespace evo::plan {

namespace {

/// Boxes and versions looked at before a plan is refused as too large: about half a second.
constexpr int64_t kMaxWork = 100'000'000;

/// The tensors that a procedure of this phase must leave as they are: inputs of its program, or, as
/// masks are in a backward program that does not mention them, of another, that are no outputs.
std::vector<bool> readOnlyTensors(const Plan &plan, Phase phase) {
  std::vector<bool> readOnly(plan.tensors.size());
  auto holds = [](const std::vector<std::string> &names, const std::string &name) {
    return std::find(names.begin(), names.end(), name) != names.end();
  };
  for (size_t i = 0; i < plan.tensors.size(); ++i) {
    const std::string &name = plan.tensors[i].name;
    bool input = false, output = false;
    for (const Program &program : plan.programs) {
      input |= holds(program.inputs, name);
      output |= holds(program.outputs, name);
      if (program.phase == phase && holds(program.inputs, name) && !holds(program.outputs, name))
        readOnly[i] = true;
    }
    readOnly[i] = readOnly[i] || (input && !output);
  }
  return readOnly;
}

size_t countKernels(const std::vector<Step> &steps) {
  size_t count = 0;
  for (const Step &step : steps) {
    if (std::holds_alternative<KernelStep>(step.value))
      ++count;
    else if (const auto *loop = std::get_if<LoopStep>(&step.value))
      count += countKernels(loop->body);
  }
  return count;
}

class Simulation {
public:
  Simulation(const Plan &plan, const Procedure &procedure, const std::vector<bool> &readOnly,
             WorkBudget &work)
      : plan(plan), procedure(procedure), work(work), readOnly(readOnly),
        buffers(procedure.buffers.size()) {
    facts.readsAtEntry.resize(plan.tensors.size());
    facts.writes.resize(plan.tensors.size());
    facts.addsTo.resize(plan.weights.size());
    facts.stores.resize(plan.weights.size());
    facts.updates.resize(plan.weights.size());
    for (const Weight &weight : plan.weights)
      facts.stateUpdates.emplace_back(weight.states.size());
    for (const Buffer &buffer : procedure.buffers)
      gradientOf.push_back(buffer.base == Base::Gradient ? weightOfGradient(plan, buffer.name)
                                                         : std::nullopt);
  }

  Verdict run(const Path &path);
  ProcedureFacts facts;

private:
  struct BufferState {
    bool live = false;
    size_t depth = 0;    ///< loops around its alloc
    int32_t highest = 0; ///< version written in this procedure; 0: none
    Regions regions;
  };
  struct Access {
    int32_t buffer;
    Box box;
    bool write;
  };
  /// What iterations that are treated as one touch together, and the axis that moves with the loop;
  /// -1: none.
  struct Touch {
    Access access;
    int axis;
  };
  /// Elements [begin, end) of a loop's axis, treated as one slice whose views are `length` long.
  struct Slice {
    int32_t loop;
    int64_t begin, end, length;
    std::vector<Touch> touched = {}; ///< where it is several iterations
  };
  /// A sum over the slices of a loop in progress.
  struct Sum {
    Access access;
    size_t step;  ///< id of the step that adds to it
    size_t depth; ///< loops around where it lies still
  };
  /// An asynchronous step that nobody has waited for yet.
  struct Flight {
    size_t id;
    size_t depth; ///< loops around it
    std::vector<Access> accesses;
  };

  void enter();
  Verdict leave(const Path &path);
  void countUpdates();
  Verdict steps(const std::vector<Step> &list, const Path &parent, std::string_view field,
                size_t firstId);
  Verdict loop(const LoopStep &step, const Path &path, size_t firstId);
  Verdict endIteration(const Path &path);
  Verdict kernel(const KernelStep &step, const Path &path, size_t id);
  Verdict waitFor(const std::vector<int32_t> &waits, const Path &path, size_t id);
  Verdict clashes(const Access &access, const Path &path);
  Verdict iterationsMeet(const View &view, const Access &access, const Path &path);
  bool isLocal(int32_t buffer, size_t depth) const {
    return procedure.buffers[buffer].base == Base::Frame && buffers[buffer].depth >= depth;
  }
  Verdict overlaps(const KernelStep &step, const std::vector<Access> &accesses, size_t output,
                   const Path &path);
  Verdict read(const View &view, const Box &box, const Path &path);
  Verdict readSum(const View &before, const View &after, const Box &box, const Path &path);
  Verdict write(const View &view, const Box &box, bool again, const Path &path);
  Verdict partialSums(const Access &access, size_t id, const Path &path);
  std::optional<size_t> sumOf(const KernelStep &step, size_t input) const;
  bool isLaterIteration(const View &view) const;
  void enterSum(const View &view, const Access &access, size_t id);
  Verdict mayWrite(const Buffer &buffer, const Path &path);
  Verdict alloc(int32_t buffer, const Path &path);
  Verdict free(int32_t buffer, const Path &path);
  Verdict spend(size_t amount, const Path &path);
  Verdict resolve(const View &view, const Path &path, Box &box);
  std::string quoted(int32_t buffer) const {
    return makeText("'", procedure.buffers[buffer].name, "'");
  }

  const Plan &plan;
  const Procedure &procedure;
  WorkBudget &work;
  const std::vector<bool> &readOnly; ///< a tensor
  std::vector<BufferState> buffers;
  std::vector<std::optional<size_t>> gradientOf; ///< a buffer: the weight
  std::vector<Slice> slices;
  std::vector<Flight> flights;
  std::vector<Sum> sums;
  std::map<int64_t, int32_t> liveByOffset; ///< the frame's live buffers
  int64_t height = 0;
};

Verdict Simulation::run(const Path &path) {
  enter();
  EVO_VERIFY(steps(procedure.steps, path, "steps", 0));
  return leave(path);
}

void Simulation::enter() {
  for (size_t i = 0; i < buffers.size(); ++i) {
    const Buffer &buffer = procedure.buffers[i];
    if (buffer.base == Base::Frame)
      continue;
    bool empty = buffer.base == Base::Saved && procedure.phase == Phase::Forward;
    buffers[i].live = true;
    buffers[i].regions = Regions(buffer.shape, empty ? kUndefined : 0);
    if (buffer.base == Base::Saved)
      facts.savedBytes = std::max(facts.savedBytes, alignTo(buffer.offset + buffer.bytes));
  }
}

Verdict Simulation::leave(const Path &path) {
  if (!flights.empty())
    return violates(16, path.at("steps"), "a wait for every asynchronous step",
                    makeText("none for step ", flights[0].id));
  for (size_t i = 0; i < buffers.size(); ++i) {
    const Buffer &buffer = procedure.buffers[i];
    const BufferState &state = buffers[i];
    Path bufferPath = path.at("buffers", i);
    if (buffer.base == Base::Frame && state.live)
      return violates(3, bufferPath, "a free before the procedure ends", "none");
    bool kept = buffer.base == Base::Saved && procedure.phase == Phase::Forward;
    if (!kept && !(state.highest > 0 && buffer.base != Base::Frame))
      continue;
    int32_t version = state.regions.newest(state.regions.whole());
    int32_t other = state.regions.otherVersion(state.regions.whole(), version);
    if (other != version)
      return violates(2, bufferPath, makeText("version ", version, " of every element at the end"),
                      other == kUndefined ? "undefined ones" : makeText("some of ", other));
    if (version == kUndefined)
      return violates(2, bufferPath, "kept elements to be written", "undefined ones");
  }
  if (procedure.frameBytes != height)
    return violates(10, path.at("frame_bytes"), makeText(height), makeText(procedure.frameBytes));
  countUpdates();
  return {};
}

/// How often a procedure of the optimizer writes the weights and their state.
void Simulation::countUpdates() {
  for (size_t i = 0; i < buffers.size() && procedure.phase == Phase::Optimizer; ++i) {
    const Buffer &buffer = procedure.buffers[i];
    for (size_t k = 0; k < plan.weights.size() && buffer.base == Base::Weight; ++k)
      if (plan.weights[k].name == buffer.name)
        facts.updates[k] = buffers[i].highest;
    if (std::optional<StateIndex> index =
            buffer.base == Base::State ? stateOfBuffer(plan, buffer.name) : std::nullopt)
      facts.stateUpdates[index->weight][index->state] = buffers[i].highest;
  }
}

Verdict Simulation::spend(size_t amount, const Path &path) {
  if (!work.spend(amount + 1))
    return violates(0, path, "a plan that can be checked in bounded time",
                    "more steps and pieces of buffers");
  return {};
}

Verdict Simulation::steps(const std::vector<Step> &list, const Path &parent, std::string_view field,
                          size_t firstId) {
  size_t id = firstId;
  for (size_t i = 0; i < list.size(); ++i) {
    Path path = parent.at(field, i);
    EVO_VERIFY(spend(1, path));
    if (const auto *kernelStep = std::get_if<KernelStep>(&list[i].value)) {
      EVO_VERIFY(kernel(*kernelStep, path, id++));
    } else if (const auto *allocStep = std::get_if<AllocStep>(&list[i].value)) {
      EVO_VERIFY(alloc(allocStep->buffer, path.at("alloc")));
    } else if (const auto *freeStep = std::get_if<FreeStep>(&list[i].value)) {
      EVO_VERIFY(free(freeStep->buffer, path.at("free")));
    } else if (const auto *loopStep = std::get_if<LoopStep>(&list[i].value)) {
      EVO_VERIFY(loop(*loopStep, path, id));
      id += countKernels(loopStep->body);
    }
  }
  return {};
}

Verdict Simulation::loop(const LoopStep &step, const Path &path, size_t firstId) {
  int64_t last = (step.extent - 1) / step.size * step.size; // where the last slice begins
  std::vector<Slice> iterations = {{step.loop, 0, step.size, step.size}};
  if (last > step.size)
    iterations.push_back({step.loop, step.size, last, step.size});
  if (last > 0)
    iterations.push_back({step.loop, last, step.extent, step.extent - last});
  for (const Slice &slice : iterations) {
    slices.push_back(slice);
    EVO_VERIFY(steps(step.body, path, "body", firstId));
    EVO_VERIFY(endIteration(path));
    slices.pop_back();
  }
  std::erase_if(sums, [&](const Sum &sum) { return sum.depth == slices.size(); });
  return {};
}

Verdict Simulation::endIteration(const Path &path) {
  for (const Flight &flight : flights)
    if (flight.depth == slices.size())
      return violates(16, path.at("body"), "a wait in the iteration of every asynchronous step",
                      makeText("none for step ", flight.id));
  EVO_VERIFY(spend(liveByOffset.size(), path));
  for (auto [offset, buffer] : liveByOffset)
    if (buffers[buffer].depth == slices.size())
      return violates(11, path.at("body"),
                      makeText("a free of ", quoted(buffer), " in the iteration of its alloc"),
                      "none");
  return {};
}

Verdict Simulation::alloc(int32_t buffer, const Path &path) {
  BufferState &state = buffers[buffer];
  const Buffer &info = procedure.buffers[buffer];
  if (state.live)
    return violates(3, path, makeText(quoted(buffer), " to have no memory yet"), "a second alloc");
  auto above = liveByOffset.lower_bound(info.offset);
  auto clash = liveByOffset.end();
  if (above != liveByOffset.end() && above->first < info.offset + info.bytes)
    clash = above;
  if (above != liveByOffset.begin()) {
    auto below = std::prev(above);
    if (below->first + procedure.buffers[below->second].bytes > info.offset)
      clash = below;
  }
  if (clash != liveByOffset.end())
    return violates(9, path, makeText("bytes for ", quoted(buffer), " that no live buffer has"),
                    makeText("those of ", quoted(clash->second)));
  liveByOffset[info.offset] = buffer;
  height = std::max(height, alignTo(info.offset + info.bytes));
  state.live = true;
  state.depth = slices.size();
  state.regions = Regions(info.shape, kUndefined);
  return {};
}

Verdict Simulation::free(int32_t buffer, const Path &path) {
  BufferState &state = buffers[buffer];
  if (!state.live)
    return violates(3, path, makeText("a live ", quoted(buffer)), "one without memory");
  if (state.depth != slices.size())
    return violates(11, path, makeText("a free of ", quoted(buffer), " beside its alloc"),
                    "one inside a loop");
  EVO_VERIFY(clashes({buffer, state.regions.whole(), true}, path));
  liveByOffset.erase(procedure.buffers[buffer].offset);
  state.live = false;
  return {};
}

Verdict Simulation::waitFor(const std::vector<int32_t> &waits, const Path &path, size_t id) {
  for (size_t i = 0; i < waits.size(); ++i) {
    EVO_VERIFY(spend(flights.size(), path));
    auto flight = std::find_if(flights.begin(), flights.end(), [&](const Flight &candidate) {
      return waits[i] >= 0 && candidate.id == static_cast<size_t>(waits[i]);
    });
    if (flight == flights.end())
      return violates(16, path.at("waits", i),
                      makeText("an asynchronous step on its way before step ", id),
                      makeText(waits[i]));
    if (flight->depth != slices.size())
      return violates(16, path.at("waits", i), "a wait in the loop of its step", "one in another");
    flights.erase(flight);
  }
  return {};
}

/// Steps on their way must not be disturbed: what they write by nobody, what they read by no write.
Verdict Simulation::clashes(const Access &access, const Path &path) {
  for (const Flight &flight : flights) {
    EVO_VERIFY(spend(flight.accesses.size(), path));
    for (const Access &other : flight.accesses)
      if (other.buffer == access.buffer && (other.write || access.write) &&
          other.box.intersects(access.box))
        return violates(16, path, makeText("a wait for asynchronous step ", flight.id), "none");
  }
  return {};
}

/// Iterations that are treated as one have no order among each other, so none may touch what
/// another writes. They do not where both views move with the loop on the same axis.
Verdict Simulation::iterationsMeet(const View &view, const Access &access, const Path &path) {
  for (size_t i = 0; i < slices.size(); ++i) {
    Slice &slice = slices[i];
    if (slice.end - slice.begin <= slice.length || isLocal(access.buffer, i + 1))
      continue;
    int axis = -1;
    for (size_t j = 0; j < view.start.size(); ++j)
      if (view.start[j].loop == slice.loop)
        axis = static_cast<int>(j);
    EVO_VERIFY(spend(slice.touched.size(), path));
    for (const Touch &other : slice.touched)
      if (other.access.buffer == access.buffer && (other.access.write || access.write) &&
          (axis < 0 || axis != other.axis) && other.access.box.intersects(access.box))
        return violates(4, path,
                        makeText("elements that no other iteration of loop ", slice.loop,
                                 access.write ? " reads or writes" : " writes"),
                        makeText("some of them in ", quoted(access.buffer)));
    slice.touched.push_back({access, axis});
  }
  return {};
}

Verdict Simulation::resolve(const View &view, const Path &path, Box &box) {
  box.rank = static_cast<int>(view.start.size());
  for (int axis = 0; axis < box.rank; ++axis) {
    int64_t begin = view.start[axis].value, length = view.extent[axis].value;
    for (const Slice &slice : slices) {
      if (view.extent[axis].loop != slice.loop)
        continue;
      bool moves = view.start[axis].loop == slice.loop;
      begin += moves ? slice.begin : 0;
      length = moves ? slice.end - slice.begin : slice.length;
      // A view of the first elements only is a buffer of one slice, new in every iteration.
      size_t depth = static_cast<size_t>(&slice - slices.data()) + 1;
      if (!moves && !isLocal(view.buffer, depth))
        return violates(2, path.at("start"), makeText("a start that moves with loop ", slice.loop),
                        makeText("a fixed one in ", quoted(view.buffer),
                                 ", which has its memory from outside"));
    }
    box.begin[axis] = begin;
    box.end[axis] = begin + length;
  }
  return {};
}

Verdict Simulation::read(const View &view, const Box &box, const Path &path) {
  BufferState &state = buffers[view.buffer];
  EVO_VERIFY(spend(state.regions.size(), path));
  int32_t found = state.regions.otherVersion(box, view.version);
  if (found != view.version)
    return violates(found > view.version ? 4 : 1, path.at("version"),
                    makeText("version ", view.version, " of ", quoted(view.buffer)),
                    found == kUndefined ? "undefined elements" : makeText("version ", found));
  const Buffer &buffer = procedure.buffers[view.buffer];
  if (buffer.base == Base::Tensor && view.version == 0)
    facts.readsAtEntry[buffer.tensor] = true;
  if (gradientOf[view.buffer] && view.version == 0)
    facts.addsTo[*gradientOf[view.buffer]] = true;
  return {};
}

/// The output that adds to input `input` on one memory, slice by slice; nothing for any other
/// input.
std::optional<size_t> Simulation::sumOf(const KernelStep &step, size_t input) const {
  const KernelInfo &info = kernelInfo(step.kernel);
  for (size_t i = 0; i < info.operands.size(); ++i) {
    const OperandInfo &operand = info.operands[i];
    if (!operand.accumulates || operand.mayAlias != info.operands[input].name ||
        !step.operands[i] || !step.operands[input])
      continue;
    const View &after = *step.operands[i], &before = *step.operands[input];
    bool same = after.buffer == before.buffer && after.start == before.start &&
                after.extent == before.extent && after.order == before.order;
    bool still = std::any_of(slices.begin(), slices.end(), [&](const Slice &slice) {
      return std::none_of(after.start.begin(), after.start.end(),
                          [&](const Start &start) { return start.loop == slice.loop; });
    });
    if (same && still)
      return i;
  }
  return std::nullopt;
}

/// Whether an iteration before has been here already, by a loop that the view does not move with.
bool Simulation::isLaterIteration(const View &view) const {
  return std::any_of(slices.begin(), slices.end(), [&](const Slice &slice) {
    return slice.begin > 0 && std::none_of(view.start.begin(), view.start.end(),
                                           [&](const Start &s) { return s.loop == slice.loop; });
  });
}

/// A sum begins with a version of its own and goes on with what the iteration before left.
Verdict Simulation::readSum(const View &before, const View &after, const Box &box,
                            const Path &path) {
  BufferState &state = buffers[before.buffer];
  EVO_VERIFY(spend(state.regions.size(), path));
  int32_t expected = isLaterIteration(before) ? after.version : before.version;
  int32_t found = state.regions.otherVersion(box, expected);
  if (found != expected)
    return violates(found == kUndefined ? 6
                    : found > expected  ? 4
                                        : 1,
                    path.at("version"),
                    found == kUndefined
                        ? makeText(quoted(before.buffer), " to be set before slices add to it")
                        : makeText("version ", expected, " of ", quoted(before.buffer)),
                    found == kUndefined ? "undefined elements" : makeText("version ", found));
  if (gradientOf[before.buffer] && before.version == 0)
    facts.addsTo[*gradientOf[before.buffer]] = true;
  return {};
}

/// Nobody looks at a sum before its loop has ended.
Verdict Simulation::partialSums(const Access &access, size_t id, const Path &path) {
  EVO_VERIFY(spend(sums.size(), path));
  for (const Sum &sum : sums)
    if (sum.step != id && sum.access.buffer == access.buffer &&
        sum.access.box.intersects(access.box))
      return violates(
          6, path,
          makeText("no use of the sum in ", quoted(access.buffer), " before its loop ends"),
          makeText("one beside step ", sum.step));
  return {};
}

/// The sum lies still in the innermost loops; it ends with the outermost that it does not move
/// with.
void Simulation::enterSum(const View &view, const Access &access, size_t id) {
  for (const Sum &sum : sums)
    if (sum.step == id)
      return;
  size_t depth = 0;
  while (std::any_of(view.start.begin(), view.start.end(),
                     [&](const Start &start) { return start.loop == slices[depth].loop; }))
    ++depth;
  sums.push_back({access, id, depth});
}

Verdict Simulation::mayWrite(const Buffer &buffer, const Path &path) {
  if (buffer.base == Base::Weight && procedure.phase != Phase::Optimizer)
    return violates(4, path, "no write of weights", makeText("one of '", buffer.name, "'"));
  if (buffer.base == Base::Gradient && procedure.phase != Phase::Backward)
    return violates(4, path, "no write of gradients but in the backward phase",
                    makeText("one of '", buffer.name, "'"));
  if (buffer.base == Base::Saved && procedure.phase != Phase::Forward)
    return violates(4, path, "no write of kept tensors but in the forward phase",
                    makeText("one of '", buffer.name, "'"));
  if (buffer.base == Base::Tensor && readOnly[buffer.tensor])
    return violates(4, path, "no write of an input that is no output",
                    makeText("one of '", buffer.name, "'"));
  return {};
}

/// `again`: the step adds to what it wrote in the iteration before.
Verdict Simulation::write(const View &view, const Box &box, bool again, const Path &path) {
  BufferState &state = buffers[view.buffer];
  const Buffer &buffer = procedure.buffers[view.buffer];
  EVO_VERIFY(mayWrite(buffer, path));
  EVO_VERIFY(spend(2 * state.regions.size(), path));
  int32_t newest = state.regions.newest(box);
  if (!(again && view.version == newest) && (view.version <= newest || view.version < 1)) {
    bool repeated = view.version == newest && newest > 0 && !slices.empty();
    return violates(repeated ? 2 : 1, path.at("version"),
                    makeText("a version after ", std::max(newest, 0)),
                    repeated ? makeText(view.version, " again") : makeText(view.version));
  }
  if (view.version > state.highest + 1)
    return violates(1, path.at("version"),
                    makeText("versions without a gap, at most ", state.highest + 1),
                    makeText(view.version));
  state.regions.write(box, view.version);
  state.highest = std::max(state.highest, view.version);
  if (buffer.base == Base::Tensor)
    facts.writes[buffer.tensor] = true;
  if (gradientOf[view.buffer])
    facts.stores[*gradientOf[view.buffer]] = true;
  return {};
}

/// An output may share elements with one input only: the one that it may alias, as the same view.
Verdict Simulation::overlaps(const KernelStep &step, const std::vector<Access> &accesses,
                             size_t output, const Path &path) {
  const KernelInfo &info = kernelInfo(step.kernel);
  const View &written = *step.operands[output];
  for (size_t i = 0; i < info.operands.size(); ++i) {
    if (i == output || !step.operands[i] || accesses[i].buffer != accesses[output].buffer ||
        !accesses[i].box.intersects(accesses[output].box))
      continue;
    const View &other = *step.operands[i];
    bool same = other.start == written.start && other.extent == written.extent &&
                other.order == written.order;
    if (same && info.operands[i].name == info.operands[output].mayAlias)
      continue;
    return violates(4, path.at(info.operands[output].name),
                    makeText("elements that '", info.operands[i].name, "' has not"),
                    makeText("some of them in ", quoted(written.buffer)));
  }
  return {};
}

Verdict Simulation::kernel(const KernelStep &step, const Path &path, size_t id) {
  const KernelInfo &info = kernelInfo(step.kernel);
  EVO_VERIFY(waitFor(step.waits, path, id));
  Path operands = path.at("operands");
  std::vector<Access> accesses(info.operands.size(), Access{-1, {}, false});
  for (size_t i = 0; i < info.operands.size(); ++i) {
    if (!step.operands[i])
      continue;
    const View &view = *step.operands[i];
    Path operand = operands.at(info.operands[i].name);
    if (!buffers[view.buffer].live)
      return violates(3, operand.at("buffer"), makeText("a live ", quoted(view.buffer)),
                      "one without memory");
    accesses[i] = {view.buffer, {}, info.operands[i].isOutput()};
    EVO_VERIFY(resolve(view, operand, accesses[i].box));
    // Steps of one lane run one after the other.
    if (step.lane == Lane::Compute)
      EVO_VERIFY(clashes(accesses[i], operand));
  }
  std::vector<bool> summed(info.operands.size());
  for (size_t i = 0; i < info.operands.size(); ++i) {
    if (!step.operands[i])
      continue;
    Path operand = operands.at(info.operands[i].name);
    EVO_VERIFY(partialSums(accesses[i], id, operand));
    if (info.operands[i].isOutput())
      continue;
    std::optional<size_t> output = sumOf(step, i);
    if (!output) {
      EVO_VERIFY(read(*step.operands[i], accesses[i].box, operand));
      continue;
    }
    EVO_VERIFY(readSum(*step.operands[i], *step.operands[*output], accesses[i].box, operand));
    summed[i] = summed[*output] = true;
  }
  for (size_t i = 0; i < info.operands.size(); ++i)
    if (step.operands[i] && info.operands[i].isOutput())
      EVO_VERIFY(overlaps(step, accesses, i, operands));
  for (size_t i = 0; i < info.operands.size(); ++i)
    if (step.operands[i] && info.operands[i].isOutput())
      EVO_VERIFY(write(*step.operands[i], accesses[i].box,
                       summed[i] && isLaterIteration(*step.operands[i]),
                       operands.at(info.operands[i].name)));
  for (size_t i = 0; i < info.operands.size(); ++i)
    if (step.operands[i] && !summed[i])
      EVO_VERIFY(
          iterationsMeet(*step.operands[i], accesses[i], operands.at(info.operands[i].name)));
    else if (summed[i] && info.operands[i].isOutput())
      enterSum(*step.operands[i], accesses[i], id);
  if (step.lane == Lane::Communication) {
    std::erase_if(accesses, [](const Access &access) { return access.buffer < 0; });
    flights.push_back({id, slices.size(), std::move(accesses)});
  }
  return {};
}

} // namespace

Verdict verifyData(const Plan &plan, std::vector<ProcedureFacts> &facts) {
  Path root;
  WorkBudget work{kMaxWork};
  std::map<Phase, std::vector<bool>> readOnly;
  for (Phase phase : {Phase::Forward, Phase::Backward, Phase::Optimizer})
    readOnly[phase] = readOnlyTensors(plan, phase);
  for (size_t i = 0; i < plan.procedures.size(); ++i) {
    const Procedure &procedure = plan.procedures[i];
    Simulation simulation(plan, procedure, readOnly[procedure.phase], work);
    EVO_VERIFY(simulation.run(root.at("procedures", i)));
    facts.push_back(std::move(simulation.facts));
  }
  return {};
}

} // namespace evo::plan
