//===- VerifyKept.cpp - what calls keep, find and overwrite -----*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// All calls in their order, block by block. A kept tensor is a *content*: a range of the arena, who
// made it, and from when until when it is read. A content that is a copy of a stream knows which
// version, so a backward call can be held to the very tensors that its module's forward read, and a
// recomputation too, which runs on such a content in place of the stream.
//===----------------------------------------------------------------------===//
#include "runtime/plan/VerifyParts.h"

#include <algorithm>
#include <map>
#include <set>
#include <tuple>

namespace evo::plan {

namespace {

/// Calls looked at before a plan is refused as too large.
constexpr int64_t kMaxCalls = 4'000'000;

/// Bytes [begin, end) of the arena.
struct Range {
  int64_t begin = 0, end = 0;
  bool overlaps(const Range &other) const {
    return begin < end && other.begin < other.end && begin < other.end && other.begin < end;
  }
  std::string text() const { return makeText("[", begin, ", ", end, ")"); }
};

/// A call in one block, by indices.
struct Event {
  size_t program = 0, run = 0, call = 0;
  int64_t block = 0, blockOfRun = 0;
};

/// What a range holds: version `version` of tensor `tensor`, or, where that is -1, what the module
/// `module` computed in its block.
struct Identity {
  int32_t tensor = -1;
  int64_t version = 0;
  std::string_view module, slot;
  int64_t block = 0;
  bool operator==(const Identity &) const = default;
};

struct Content {
  Range range;
  Identity identity;
  size_t made = 0, lastUse = 0; ///< positions among the events
  bool isStream = false;        ///< a recomputation runs on it
  bool read = false;
};

/// A call of the forward program that writes streams.
struct ForwardCall {
  int64_t block = 0;
  std::string_view module; ///< of several that share a loop "a+b"
  int32_t procedure = 0;
  std::vector<int64_t> found; ///< the version of each tensor
};

/// Of these the ones from `begin` to before `end`.
struct ForwardCalls {
  size_t begin = 0, end = 0;
  explicit operator bool() const { return begin < end; }
};

/// A mask of dropout is its counters, by rate, module and shape.
struct Mask {
  double rate = 0;
  int64_t module = 0;
  std::vector<int64_t> shape;
  bool operator==(const Mask &) const = default;
  std::string text() const {
    return "rate " + std::to_string(rate) +
           makeText(", module ", module, ", shape ", std::span(shape));
  }
};

/// The last of the modules that share a loop.
std::string_view lastOf(std::string_view module) {
  return module.substr(module.rfind('+') + 1); // npos + 1 is 0
}

void collectMasks(const std::vector<Step> &steps, std::vector<Mask> &masks) {
  for (const Step &step : steps) {
    if (const auto *loop = std::get_if<LoopStep>(&step.value))
      collectMasks(loop->body, masks);
    const auto *kernel = std::get_if<KernelStep>(&step.value);
    if (!kernel || kernel->kernel != Kernel::DropoutMask)
      continue;
    masks.push_back({kernel->attributes.rate, kernel->attributes.module, {}});
    for (int32_t axis : kernel->operands[0]->order)
      masks.back().shape.push_back(kernel->operands[0]->extent[axis].value);
  }
}

class Replay {
public:
  Replay(const Plan &plan, const std::vector<ProcedureFacts> &facts, ArenaUse &use,
         std::set<Recall> &recalls)
      : plan(plan), facts(facts), use(use), recalls(recalls), version(plan.tensors.size()) {
    for (const Procedure &procedure : plan.procedures) {
      copies.push_back(copiedTensors(procedure));
      collectMasks(procedure.steps, masks.emplace_back());
    }
  }
  Verdict run();

private:
  static std::vector<int32_t> copiedTensors(const Procedure &procedure);
  Verdict visit(const Event &event);
  Verdict place(const Event &event, int32_t buffer, Range &range) const;
  Verdict findContent(const Event &event, int32_t buffer, const Range &range, size_t &content);
  Verdict readKept(const Event &event, int32_t buffer, int32_t &keeper);
  Verdict writeKept(const Event &event, int32_t buffer);
  Verdict useBoundTensor(const Event &event, int32_t buffer);
  Verdict useTensorInItsSlot(const Event &event, size_t tensor) const;
  Verdict checkMasks(const Event &event) const;
  Verdict enterForward(const Event &event);
  Verdict checkForwards(const Event &event) const;
  void pairCalls(const Event &event, std::vector<int32_t> keepers);
  Verdict checkRanges();
  Verdict checkOrder();
  Verdict clearOfTensors(const Range &range, const Event &event, std::string_view field) const;
  Verdict frameOf(const Event &event, Range &frame) const;
  Verdict report(int invariant, const Event &event, std::string_view field,
                 const std::string &expected, const std::string &got) const;

  const Call &callOf(const Event &event) const {
    return plan.programs[event.program].runs[event.run].calls[event.call];
  }
  const Procedure &procedureOf(const Event &event) const {
    return plan.procedures[callOf(event).procedure];
  }
  int32_t boundBuffer(const Event &event, int32_t tensor) const;
  const Binding *bindingOf(const Event &event, int32_t buffer) const {
    for (const Binding &binding : callOf(event).bindings)
      if (binding.buffer == buffer)
        return &binding;
    return nullptr;
  }
  Phase phaseOf(const Event &event) const { return plan.programs[event.program].phase; }
  int64_t versionBehind(const Event &event);
  ForwardCalls forwardsOf(const Event &event) const;
  const std::vector<int64_t> *foundBy(const Event &event) const;

  const Plan &plan;
  const std::vector<ProcedureFacts> &facts;
  ArenaUse &use;
  std::set<Recall> &recalls;
  std::vector<std::vector<int32_t>> copies; ///< a procedure and buffer: the tensor it is a copy of
  std::vector<std::vector<Mask>> masks;     ///< of each procedure
  std::vector<int64_t> version;             ///< of each tensor in its slot; 0: nobody wrote it
  /// Versions by who wrote them: the phase, the block, and the module, of several the last.
  std::map<std::tuple<Phase, int64_t, std::string_view>, int64_t> versions;
  std::vector<ForwardCall> forwards;
  /// By a block and a module, where these have it.
  std::map<std::pair<int64_t, std::string_view>, size_t> ranIn;
  size_t undone = 0;  ///< as many of the forwards have no backward yet
  Verdict outOfOrder; ///< the first backward call that is not of the last of these
  std::vector<Event> events;
  std::vector<Content> contents;
  std::map<int64_t, size_t> newest; ///< contents by where they begin
};

/// The kept buffers that a step copies from a tensor as the procedure finds it.
std::vector<int32_t> Replay::copiedTensors(const Procedure &procedure) {
  std::vector<int32_t> tensors(procedure.buffers.size(), -1);
  for (const Step &step : procedure.steps) {
    const auto *kernel = std::get_if<KernelStep>(&step.value);
    if (!kernel || kernel->kernel != Kernel::Copy || !kernel->operands[0] || !kernel->operands[1])
      continue;
    const View &x = *kernel->operands[0], &y = *kernel->operands[1];
    const Buffer &from = procedure.buffers[x.buffer], &to = procedure.buffers[y.buffer];
    bool whole = std::all_of(x.start.begin(), x.start.end(),
                             [](const Start &start) { return start == Start{}; });
    if (from.base == Base::Tensor && to.base == Base::Saved && x.version == 0 && whole &&
        from.shape == to.shape && x.order == y.order && x.extent == y.extent)
      tensors[y.buffer] = from.tensor;
  }
  return tensors;
}

Verdict Replay::report(int invariant, const Event &event, std::string_view field,
                       const std::string &expected, const std::string &got) const {
  Path root;
  Path program = root.at("programs", event.program);
  Path run = program.at("runs", event.run);
  Path call = run.at("calls", event.call);
  std::string where = event.blockOfRun > 0 ? makeText(" in block ", event.block) : "";
  return violates(invariant, field.empty() ? call : call.at(field), expected, got + where);
}

/// What is in a tensor behind a call that writes it. Modules that share a loop leave what the last
/// of them would leave by itself.
int64_t Replay::versionBehind(const Event &event) {
  const Procedure &procedure = procedureOf(event);
  auto next = static_cast<int64_t>(versions.size()) + 1;
  return versions.try_emplace({procedure.phase, event.block, lastOf(procedure.module)}, next)
      .first->second;
}

/// The forwards of the call's modules in its block. Modules that share a loop may have run one by
/// one, right after each other; what ran in one loop does not come apart.
ForwardCalls Replay::forwardsOf(const Event &event) const {
  std::string_view left = procedureOf(event).module;
  auto known = ranIn.find({event.block, lastOf(left)});
  if (known == ranIn.end())
    return {};
  ForwardCalls calls{known->second + 1, known->second + 1};
  while (calls.begin > 0) {
    const ForwardCall &call = forwards[--calls.begin];
    if (call.block != event.block || !left.ends_with(call.module))
      return {};
    left.remove_suffix(call.module.size());
    if (left.empty())
      return calls;
    if (left.back() != '+')
      return {};
    left.remove_suffix(1);
  }
  return {};
}

/// What the modules' forward found in the block: what the first of them did.
const std::vector<int64_t> *Replay::foundBy(const Event &event) const {
  ForwardCalls calls = forwardsOf(event);
  return calls ? &forwards[calls.begin].found : nullptr;
}

/// Where a kept or bound buffer lies in a call.
Verdict Replay::place(const Event &event, int32_t buffer, Range &range) const {
  const Call &call = callOf(event);
  const Buffer &info = procedureOf(event).buffers[buffer];
  const Binding *binding = bindingOf(event, buffer);
  int64_t begin = binding ? binding->offset : call.savedOffset;
  int64_t stride = binding ? binding->stride : call.savedStride, moved = 0;
  std::string_view field = binding ? "bindings" : "saved_offset";
  if (begin < 0 || stride < 0 || __builtin_mul_overflow(stride, event.blockOfRun, &moved) ||
      __builtin_add_overflow(begin, moved, &begin) ||
      (!binding && __builtin_add_overflow(begin, info.offset, &begin)) ||
      begin > kMaxEnd - info.bytes)
    return report(8, event, field, makeText("offsets from 0 to ", kMaxEnd), makeText(begin));
  if (begin % kAlignment != 0)
    return report(8, event, field, makeText("multiples of ", kAlignment), makeText(begin));
  range = {begin, begin + info.bytes};
  if (range.end > plan.arenaBytes)
    return report(8, event, field, makeText("an end of at most arena_bytes ", plan.arenaBytes),
                  makeText(range.end));
  return {};
}

Verdict Replay::findContent(const Event &event, int32_t buffer, const Range &range,
                            size_t &content) {
  auto known = newest.find(range.begin);
  if (known == newest.end() || contents[known->second].range.end != range.end)
    return report(12, event, bindingOf(event, buffer) ? "bindings" : "saved_offset",
                  makeText("a place where '", procedureOf(event).buffers[buffer].name, "' is kept"),
                  range.text());
  content = known->second;
  contents[content].lastUse = events.size() - 1;
  contents[content].read = true;
  return {};
}

/// A backward procedure finds what its module's forward found, or computed, in this block.
Verdict Replay::readKept(const Event &event, int32_t buffer, int32_t &keeper) {
  const Procedure &procedure = procedureOf(event);
  const Buffer &info = procedure.buffers[buffer];
  Range range;
  size_t content = 0;
  EVO_VERIFY(place(event, buffer, range));
  EVO_VERIFY(findContent(event, buffer, range, content));
  const Identity &identity = contents[content].identity;
  keeper = identity.tensor >= 0 ? -2 - identity.tensor
                                : callOf(events[contents[content].made]).procedure;
  bool right = identity.module == procedure.module && identity.block == event.block &&
               identity.slot == info.name;
  if (identity.tensor >= 0) {
    const std::vector<int64_t> *known = foundBy(event);
    right = info.name == makeText("saved.", plan.tensors[identity.tensor].name) && known &&
            (*known)[identity.tensor] == identity.version;
  }
  if (!right)
    return report(5, event, bindingOf(event, buffer) ? "bindings" : "saved_offset",
                  makeText("'", info.name, "' as the forward of '", procedure.module, "' had it"),
                  identity.tensor >= 0 ? makeText("version ", identity.version, " of '",
                                                  plan.tensors[identity.tensor].name, "'")
                                       : makeText("'", identity.slot, "' of '", identity.module,
                                                  "', block ", identity.block));
  return {};
}

Verdict Replay::writeKept(const Event &event, int32_t buffer) {
  const Procedure &procedure = procedureOf(event);
  Content content;
  EVO_VERIFY(place(event, buffer, content.range));
  content.identity.module = procedure.module;
  content.identity.slot = procedure.buffers[buffer].name;
  content.identity.block = event.block;
  int32_t tensor = copies[callOf(event).procedure][buffer];
  if (tensor >= 0) {
    content.identity = {tensor, version[tensor], {}, {}, 0};
    if (int32_t bound = boundBuffer(event, tensor); bound >= 0) {
      Range source;
      EVO_VERIFY(place(event, bound, source));
      auto from = newest.find(source.begin);
      if (from != newest.end())
        content.identity = contents[from->second].identity;
    }
  }
  content.made = content.lastUse = events.size() - 1;
  newest[content.range.begin] = contents.size();
  contents.push_back(content);
  return {};
}

/// A recomputation runs on a content: the version that its module's forward found, and then the
/// next.
Verdict Replay::useBoundTensor(const Event &event, int32_t buffer) {
  const Procedure &procedure = procedureOf(event);
  int32_t tensor = procedure.buffers[buffer].tensor;
  const ProcedureFacts &fact = facts[callOf(event).procedure];
  Range range;
  size_t index = 0;
  EVO_VERIFY(place(event, buffer, range));
  EVO_VERIFY(findContent(event, buffer, range, index));
  Content &content = contents[index];
  const std::vector<int64_t> *known = foundBy(event);
  // A checkpoint is of no module: what it copies is what it finds.
  bool right = content.identity.tensor == tensor &&
               (!known || (*known)[tensor] == content.identity.version);
  if (!right)
    return report(5, event, "bindings",
                  makeText("tensor '", plan.tensors[tensor].name, "' as the forward of '",
                           procedure.module, "' found it"),
                  content.identity.tensor < 0
                      ? makeText("'", content.identity.slot, "'")
                      : makeText("version ", content.identity.version, " of '",
                                 plan.tensors[content.identity.tensor].name, "'"));
  if (fact.writes[tensor]) {
    content.identity.version = versionBehind(event);
    content.isStream = true;
  }
  return {};
}

/// What runs again on a tensor in its slot finds there what its module's forward did.
Verdict Replay::useTensorInItsSlot(const Event &event, size_t tensor) const {
  const Procedure &procedure = procedureOf(event);
  const ProcedureFacts &fact = facts[callOf(event).procedure];
  if (phaseOf(event) != Phase::Backward || procedure.phase != Phase::Forward ||
      !fact.readsAtEntry[tensor])
    return {};
  const std::vector<int64_t> *known = foundBy(event);
  if (!known || (*known)[tensor] == version[tensor])
    return {};
  return report(5, event, "",
                makeText("version ", (*known)[tensor], " of '", plan.tensors[tensor].name,
                         "', which the forward of '", procedure.module, "' found"),
                makeText("version ", version[tensor]));
}

/// The tensor's buffer in the call's procedure where the call binds it; -1 where it lies in its
/// slot.
int32_t Replay::boundBuffer(const Event &event, int32_t tensor) const {
  for (const Binding &binding : callOf(event).bindings) {
    const Buffer &buffer = procedureOf(event).buffers[binding.buffer];
    if (buffer.base == Base::Tensor && buffer.tensor == tensor)
      return binding.buffer;
  }
  return -1;
}

/// What drops elements in the forward of a module drops the same ones wherever it is computed
/// again.
Verdict Replay::checkMasks(const Event &event) const {
  const std::string &module = procedureOf(event).module;
  if (phaseOf(event) == Phase::Forward || masks[callOf(event).procedure].empty())
    return {};
  std::vector<Mask> own;
  ForwardCalls calls = forwardsOf(event);
  for (size_t i = calls.begin; i < calls.end; ++i)
    own.insert(own.end(), masks[forwards[i].procedure].begin(), masks[forwards[i].procedure].end());
  for (const Mask &mask : masks[callOf(event).procedure])
    if (std::find(own.begin(), own.end(), mask) == own.end())
      return report(5, event, "",
                    own.empty()
                        ? makeText("no dropout, as in the forward of '", module, "'")
                        : makeText("the dropout of the forward of '", module, "', ", own[0].text()),
                    mask.text());
  return {};
}

/// What only copies (a checkpoint) is of no module: there may be several.
Verdict Replay::enterForward(const Event &event) {
  std::string_view module = procedureOf(event).module;
  if (plan.mode != Mode::Train || !facts[callOf(event).procedure].writesAny())
    return {};
  for (size_t begin = 0, end = 0; begin <= module.size(); begin = end + 1) {
    end = std::min(module.find('+', begin), module.size());
    std::string_view own = module.substr(begin, end - begin);
    if (!ranIn.try_emplace({event.block, own}, forwards.size()).second)
      return report(5, event, "", makeText("one call of module '", own, "' in a block"),
                    "a second one");
  }
  forwards.push_back({event.block, module, callOf(event).procedure, version});
  undone = forwards.size();
  return {};
}

/// What a recomputation leaves counts as what its modules' forward has left.
Verdict Replay::checkForwards(const Event &event) const {
  if (procedureOf(event).phase != Phase::Forward || !facts[callOf(event).procedure].writesAny() ||
      forwardsOf(event))
    return {};
  return report(5, event, "",
                "modules that the forward program has run in the block, right after each other",
                makeText("'", procedureOf(event).module, "'"));
}

/// Gradients go back through the modules in the order in which the forward went through them.
void Replay::pairCalls(const Event &event, std::vector<int32_t> keepers) {
  const Procedure &procedure = procedureOf(event);
  ForwardCalls calls = forwardsOf(event);
  Recall recall{{}, callOf(event).procedure, std::move(keepers)};
  for (size_t i = calls.begin; i < calls.end; ++i)
    recall.forwards.push_back(forwards[i].procedure);
  if (calls)
    recalls.insert(std::move(recall));
  if (procedure.phase != Phase::Backward)
    return;
  bool next = calls && calls.end == undone;
  if (!next && !outOfOrder)
    outOfOrder =
        report(6, event, "",
               undone == 0 ? "no backward without a forward"
                           : makeText("the backward of '", forwards[undone - 1].module, "', block ",
                                      forwards[undone - 1].block, ", the last of the forward left"),
               makeText("that of '", procedure.module, "'"));
  if (next)
    undone = calls.begin;
}

Verdict Replay::visit(const Event &event) {
  if (static_cast<int64_t>(events.size()) >= kMaxCalls)
    return report(0, event, "", "a plan that can be checked in bounded time", "more calls");
  events.push_back(event);
  const Procedure &procedure = procedureOf(event);
  const ProcedureFacts &fact = facts[callOf(event).procedure];
  bool forward = phaseOf(event) == Phase::Forward;
  bool backward = phaseOf(event) == Phase::Backward;
  if (forward)
    EVO_VERIFY(enterForward(event));
  if (backward)
    EVO_VERIFY(checkForwards(event));
  EVO_VERIFY(checkMasks(event));
  std::vector<int32_t> keepers(procedure.phase == Phase::Backward ? procedure.buffers.size() : 0,
                               -1);
  for (size_t i = 0; i < procedure.buffers.size(); ++i)
    if (procedure.buffers[i].base == Base::Saved)
      EVO_VERIFY(procedure.phase == Phase::Backward
                     ? readKept(event, static_cast<int32_t>(i), keepers[i])
                     : writeKept(event, static_cast<int32_t>(i)));
  if (backward)
    pairCalls(event, std::move(keepers));
  for (size_t i = 0; i < version.size(); ++i) {
    int32_t bound = boundBuffer(event, static_cast<int32_t>(i));
    if (bound < 0) {
      EVO_VERIFY(useTensorInItsSlot(event, i));
      if (fact.writes[i])
        version[i] = versionBehind(event);
      continue;
    }
    if (forward || procedure.phase != Phase::Forward)
      return report(5, event, "bindings", "streams in their slots but where a forward runs again",
                    makeText("tensor '", plan.tensors[i].name, "' elsewhere"));
    EVO_VERIFY(useBoundTensor(event, bound));
  }
  int64_t bytes = 0;
  if (forward && event.blockOfRun == 0 &&
      (__builtin_mul_overflow(fact.savedBytes,
                              plan.programs[event.program].runs[event.run].blockCount, &bytes) ||
       __builtin_add_overflow(use.keptBytes, bytes, &use.keptBytes)))
    return report(8, event, "saved_offset", "fewer than 2^63 kept bytes", "more");
  return {};
}

Verdict Replay::clearOfTensors(const Range &range, const Event &event,
                               std::string_view field) const {
  for (const Tensor &tensor : plan.tensors)
    if (range.overlaps({tensor.offset, tensor.offset + tensor.bytes}))
      return report(9, event, field,
                    makeText("no bytes of tensor '", tensor.name, "' at ", tensor.offset),
                    range.text());
  return {};
}

Verdict Replay::frameOf(const Event &event, Range &frame) const {
  const Call &call = callOf(event);
  int64_t height = procedureOf(event).frameBytes, moved = 0, begin = 0;
  if (call.frameOffset < 0 || call.frameStride < 0 ||
      __builtin_mul_overflow(call.frameStride, event.blockOfRun, &moved) ||
      __builtin_add_overflow(call.frameOffset, moved, &begin) || begin > kMaxEnd - height)
    return report(8, event, "frame_offset", makeText("from 0 to ", kMaxEnd - height),
                  makeText(call.frameOffset));
  if (begin % kAlignment != 0)
    return report(8, event, "frame_offset", makeText("a multiple of ", kAlignment),
                  makeText(begin));
  frame = {begin, begin + height};
  if (frame.end > plan.arenaBytes)
    return report(8, event, "frame_offset",
                  makeText("an end of at most arena_bytes ", plan.arenaBytes), makeText(frame.end));
  return clearOfTensors(frame, event, "frame_offset");
}

/// Frames and kept tensors against what is kept at their moment.
Verdict Replay::checkRanges() {
  std::vector<std::vector<size_t>> made(events.size()), done(events.size());
  for (size_t i = 0; i < contents.size(); ++i) {
    made[contents[i].made].push_back(i);
    done[contents[i].lastUse].push_back(i);
  }
  std::map<int64_t, size_t> live; // by where they begin
  auto clash = [&](const Range &range) -> const Content * {
    auto above = live.lower_bound(range.begin);
    if (above != live.end() && contents[above->second].range.overlaps(range))
      return &contents[above->second];
    if (above != live.begin() && contents[std::prev(above)->second].range.overlaps(range))
      return &contents[std::prev(above)->second];
    return nullptr;
  };
  for (size_t t = 0; t < events.size(); ++t) {
    for (size_t index : made[t]) {
      const Range &range = contents[index].range;
      EVO_VERIFY(clearOfTensors(range, events[t], "saved_offset"));
      // What a recomputation runs on may lie above what its calls keep.
      auto highest = std::find_if(live.rbegin(), live.rend(), [&](const auto &entry) {
        return !contents[entry.second].isStream;
      });
      int64_t top = highest == live.rend() ? 0 : contents[highest->second].range.end;
      bool ownCall = highest != live.rend() && contents[highest->second].made == t;
      if (const Content *other = clash(range))
        return report(9, events[t], "saved_offset",
                      makeText("no bytes that are kept ", other->range.text()), range.text());
      if (!ownCall && range.begin < top)
        return report(12, events[t], "saved_offset", makeText("at least ", top),
                      makeText(range.begin));
      live[range.begin] = index;
      use.top = std::max(use.top, alignTo(range.end));
    }
    Range frame;
    EVO_VERIFY(frameOf(events[t], frame));
    use.top = std::max(use.top, alignTo(frame.end));
    if (const Content *other = clash(frame))
      return report(9, events[t], "frame_offset", makeText("no kept bytes ", other->range.text()),
                    frame.text());
    for (size_t index : done[t])
      live.erase(contents[index].range.begin);
  }
  return {};
}

/// Kept tensors are read, and those of later calls are done with before those of earlier ones. What
/// a recomputation runs on is the bottom of its own.
Verdict Replay::checkOrder() {
  std::vector<std::vector<size_t>> done(events.size());
  for (size_t i = 0; i < contents.size(); ++i) {
    if (!contents[i].read)
      return report(12, events[contents[i].made], "saved_offset",
                    "kept tensors that the backward program reads", "one that nobody does");
    done[contents[i].lastUse].push_back(i);
  }
  std::vector<size_t> stack; // of contents that are still read
  size_t next = 0;
  for (size_t t = 0; t < events.size(); ++t) {
    for (; next < contents.size() && contents[next].made == t; ++next)
      stack.push_back(next);
    for (size_t index : done[t])
      std::erase(stack, index);
    for (size_t index : done[t])
      if (!contents[index].isStream && !stack.empty() &&
          contents[stack.back()].made > contents[index].made && !contents[stack.back()].isStream)
        return report(12, events[t], "", "what was kept later to be read for the last time before",
                      makeText("a use of ", contents[stack.back()].range.text(), " to come"));
  }
  return {};
}

Verdict Replay::run() {
  for (Phase phase : {Phase::Forward, Phase::Backward, Phase::Optimizer}) {
    const Program *program = programOf(plan, phase);
    if (!program)
      continue;
    auto number = static_cast<size_t>(program - plan.programs.data());
    for (size_t r = 0; r < program->runs.size(); ++r) {
      const BlockRun &run = program->runs[r];
      // In inference nothing is kept and offsets are linear in the block: three speak for all.
      int64_t last = run.blockCount - 1;
      for (int64_t i = 0; i <= last; ++i) {
        if (plan.mode == Mode::Infer && i > 1)
          i = last;
        int64_t ofRun = goesDown(plan, *program, run) ? last - i : i;
        for (size_t c = 0; c < run.calls.size(); ++c)
          EVO_VERIFY(visit({number, r, c, run.firstBlock + ofRun, ofRun}));
      }
    }
  }
  EVO_VERIFY(checkRanges());
  EVO_VERIFY(checkOrder());
  if (outOfOrder)
    return outOfOrder;
  if (undone > 0 && programOf(plan, Phase::Backward))
    return violates(6, Path().at("programs"),
                    makeText("a backward call of '", forwards[undone - 1].module, "' in block ",
                             forwards[undone - 1].block),
                    "none");
  return {};
}

} // namespace

Verdict verifyKept(const Plan &plan, const std::vector<ProcedureFacts> &facts, ArenaUse &use,
                   std::set<Recall> &recalls) {
  return Replay(plan, facts, use, recalls).run();
}

} // namespace evo::plan
