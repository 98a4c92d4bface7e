//===- StackProblem.cpp -----------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "passes/StackProblem.h"

#include "passes/Procedure.h"
#include "passes/Unit.h"

#include "llvm/ADT/STLExtras.h"

#include <set>

using namespace mlir;

namespace evo {

namespace {

/// One phase of a unit under one choice.
struct PhaseWay {
  ir::KernelVariant variant = ir::KernelVariant::Fused;
  ir::Axis axis = ir::Axis::None;
  int64_t size = 0;
  int64_t frameBytes = 0, costNs = 0;
  int64_t keptBytes = 0;             ///< without streams
  std::set<std::string> streamsRead; ///< backward: the streams whose versions it reads
};

/// Leaves those that no other equals or beats in bytes and time, by rising bytes.
void keepBest(SmallVectorImpl<PhaseWay> &ways) {
  llvm::stable_sort(ways, [](const PhaseWay &a, const PhaseWay &b) {
    return std::pair(a.frameBytes, a.costNs) < std::pair(b.frameBytes, b.costNs);
  });
  SmallVector<PhaseWay> best;
  for (PhaseWay &way : ways)
    if (best.empty() || way.costNs < best.back().costNs)
      best.push_back(std::move(way));
  ways.assign(std::make_move_iterator(best.begin()), std::make_move_iterator(best.end()));
}

/// The last way that needs no more than `bytes`; null where none does.
const PhaseWay *fastestWithin(ArrayRef<PhaseWay> ways, int64_t bytes) {
  const PhaseWay *found = nullptr;
  for (const PhaseWay &way : ways)
    if (way.frameBytes <= bytes)
      found = &way;
  return found;
}

class ProblemBuilder {
public:
  ProblemBuilder(ir::StackOp stack, const Target &target)
      : stack(stack), target(target), precision(getPrecision(stack.getModel())),
        train(getMode(stack.getModel()) == plan::Mode::Train) {}

  Result<StackProblem> build();

private:
  /// More slices of an axis than this are of no use on any size we know.
  static constexpr int64_t kMostSlices = 1024;

  Status takeModules();
  Status takeStreams();
  Status addModule(size_t index);
  Status addRuns();
  Status addRun(size_t first, size_t count, ir::Axis axis, int64_t extent);
  Status addKeepingRecords(size_t index);
  void addSegmentCosts();
  void addRecord(const Unit &unit, size_t first, int64_t costNs, int64_t frameBytes,
                 int64_t keptBytes, schedule::StreamMask needs);
  void addInputRecords(size_t index, ArrayRef<PhaseWay> backward);
  Result<PhaseWay> priceForward(const Unit &unit, const ForwardOptions &options = {});
  Result<PhaseWay> priceBackward(const Unit &unit, std::set<std::string> &slots);
  Result<SmallVector<PhaseWay>> waysOf(size_t index, bool backward);
  Status addSlices(Unit unit, int64_t extent, bool backward, SmallVectorImpl<PhaseWay> &ways);
  Result<PhaseWay> priceWay(const Unit &unit, bool backward);
  SmallVector<ir::KernelVariant> variantsOf(ir::ModuleOpInterface op) const;
  ir::ChoiceAttr choiceOf(const PhaseWay &forward, ir::Keep keep, const PhaseWay &backward) const;
  schedule::StreamMask maskOf(const std::set<std::string> &names) const;

  ir::StackOp stack;
  const Target &target;
  plan::Precision precision;
  bool train;
  OwningOpRef<ModuleOp> scratch;
  SmallVector<ir::ModuleOpInterface> modules;
  std::vector<std::string> streams;
  std::vector<SmallVector<PhaseWay>> forwardWays; ///< of each module, keeping nothing
  StackProblem result;
};

/// A new module for a procedure that is thrown away when it has its price.
OpBuilder startScratch(OwningOpRef<ModuleOp> &scratch, Location location) {
  scratch = ModuleOp::create(location);
  return OpBuilder::atBlockEnd(scratch->getBody());
}

ir::ChoiceAttr ProblemBuilder::choiceOf(const PhaseWay &forward, ir::Keep keep,
                                        const PhaseWay &backward) const {
  return ir::ChoiceAttr::get(stack->getContext(), forward.variant, forward.axis, forward.size, keep,
                             backward.variant, backward.axis, backward.size, ir::MsaLayout::Whole,
                             ir::PairLayout::Whole);
}

schedule::StreamMask ProblemBuilder::maskOf(const std::set<std::string> &names) const {
  schedule::StreamMask mask = 0;
  for (auto [index, stream] : llvm::enumerate(streams))
    if (names.count(stream))
      mask |= 1u << index;
  return mask;
}

SmallVector<ir::KernelVariant> ProblemBuilder::variantsOf(ir::ModuleOpInterface op) const {
  SmallVector<ir::KernelVariant> variants = op.getLegalVariants();
  if (target.plainKernels && llvm::is_contained(variants, ir::KernelVariant::Plain))
    return {ir::KernelVariant::Plain};
  return variants;
}

//===----------------------------------------------------------------------===//
// Prices
//===----------------------------------------------------------------------===//

Result<PhaseWay> ProblemBuilder::priceForward(const Unit &unit, const ForwardOptions &options) {
  OpBuilder builder = startScratch(scratch, stack.getLoc());
  kern::ProcedureOp procedure = emitForward(builder, unit, "forward", precision, options);
  EVO_ASSIGN(Candidate price, priceProcedure(procedure, target.profile, precision));
  return PhaseWay{unit.choices.front().getVariant(),
                  unit.axis,
                  unit.size,
                  price.frameBytes,
                  price.costNs,
                  price.savedBytes,
                  {}};
}

/// `slots` gets what the backward reads that is no stream.
Result<PhaseWay> ProblemBuilder::priceBackward(const Unit &unit, std::set<std::string> &slots) {
  OpBuilder builder = startScratch(scratch, stack.getLoc());
  FailureOr<kern::ProcedureOp> procedure = emitBackward(builder, unit, "backward", precision);
  if (failed(procedure))
    return Status::error(ErrorCode::Internal, unit.name() + ": expected a backward, got none");
  std::set<std::string> read;
  for (const std::string &slot : keptSlots(*procedure))
    (isStream(slot) ? read : slots).insert(slot);
  EVO_ASSIGN(Candidate price, priceProcedure(*procedure, target.profile, precision));
  return PhaseWay{unit.choices.front().getBackwardVariant(),
                  unit.backwardAxis,
                  unit.backwardSize,
                  price.frameBytes,
                  price.costNs,
                  0,
                  std::move(read)};
}

Result<PhaseWay> ProblemBuilder::priceWay(const Unit &unit, bool backward) {
  std::set<std::string> slots;
  return backward ? priceBackward(unit, slots) : priceForward(unit);
}

/// Slices of half and half again of an axis, while frames shrink by it.
Status ProblemBuilder::addSlices(Unit unit, int64_t extent, bool backward,
                                 SmallVectorImpl<PhaseWay> &ways) {
  int64_t before = ways.back().frameBytes;
  for (int64_t count = 2; count <= std::min(extent, kMostSlices); count *= 2) {
    int64_t size = (extent + count - 1) / count;
    (backward ? unit.backwardSize : unit.size) = size;
    EVO_ASSIGN(PhaseWay way, priceWay(unit, backward));
    int64_t bytes = way.frameBytes;
    ways.push_back(std::move(way));
    if (bytes > before - before / 64 || size == 1)
      break;
    before = bytes;
  }
  return {};
}

/// How a module that keeps its input, or nothing, may run in one phase.
Result<SmallVector<PhaseWay>> ProblemBuilder::waysOf(size_t index, bool backward) {
  ir::ModuleOpInterface module = modules[index];
  SmallVector<PhaseWay> ways;
  for (ir::KernelVariant variant : variantsOf(module)) {
    ir::Keep keep = backward ? ir::Keep::Input : ir::Keep::Nothing;
    Unit unit = Unit::of(module, ir::ChoiceAttr::get(stack->getContext(), variant, keep, variant));
    EVO_ASSIGN(PhaseWay whole, priceWay(unit, backward));
    // A variant that is worse on the whole is not sliced.
    if (llvm::any_of(ways, [&](const PhaseWay &each) {
          return each.axis == ir::Axis::None && each.costNs <= whole.costNs &&
                 each.frameBytes <= whole.frameBytes;
        }))
      continue;
    for (const ir::SliceAxis &axis : module.getLegalAxes()) {
      SmallVector<PhaseWay> sliced = {whole};
      Unit part = unit;
      (backward ? part.backwardAxis : part.axis) = axis.axis;
      EVO_TRY(addSlices(part, axis.extent, backward, sliced));
      ways.append(sliced.begin() + 1, sliced.end());
    }
    ways.push_back(std::move(whole));
  }
  keepBest(ways);
  return ways;
}

//===----------------------------------------------------------------------===//
// Records
//===----------------------------------------------------------------------===//

void ProblemBuilder::addRecord(const Unit &unit, size_t first, int64_t costNs, int64_t frameBytes,
                               int64_t keptBytes, schedule::StreamMask needs) {
  // Beyond the solver's limits there is no device either.
  if (costNs > schedule::kMaxCostNs || keptBytes > schedule::kMaxBytes ||
      frameBytes > schedule::kMaxBytes - keptBytes)
    return;
  schedule::Record record;
  record.name = unit.name() + ": " + unit.choiceText();
  record.first = static_cast<int>(first);
  record.last = static_cast<int>(first + unit.modules.size() - 1);
  record.costNs = costNs;
  record.keptBytes = keptBytes;
  record.transientBytes = keptBytes + frameBytes;
  record.needs = needs;
  result.problem.records.push_back(std::move(record));
  RecordChoice choice;
  choice.first = static_cast<int64_t>(first);
  choice.choices = unit.choices;
  if (unit.modules.size() > 1) {
    choice.axis = unit.axis;
    choice.size = unit.size;
  }
  result.records.push_back(std::move(choice));
}

/// One record a height of the frame that some way has: in each phase the fastest way below it.
void ProblemBuilder::addInputRecords(size_t index, ArrayRef<PhaseWay> backward) {
  std::set<int64_t> heights;
  for (const PhaseWay &way : forwardWays[index])
    heights.insert(way.frameBytes);
  for (const PhaseWay &way : backward)
    heights.insert(way.frameBytes);
  std::pair<const PhaseWay *, const PhaseWay *> last;
  for (int64_t height : heights) {
    const PhaseWay *ahead = fastestWithin(forwardWays[index], height);
    const PhaseWay *back = fastestWithin(backward, height);
    if (!ahead || !back || last == std::pair(ahead, back))
      continue;
    last = {ahead, back};
    Unit unit = Unit::of(modules[index], choiceOf(*ahead, ir::Keep::Input, *back));
    addRecord(unit, index, ahead->costNs + back->costNs,
              std::max(ahead->frameBytes, back->frameBytes), 0, maskOf(back->streamsRead));
  }
}

/// Those that keep results, and so have one variant and no slices.
Status ProblemBuilder::addKeepingRecords(size_t index) {
  for (ir::KernelVariant variant : variantsOf(modules[index]))
    for (ir::Keep keep : {ir::Keep::All, ir::Keep::Products, ir::Keep::Mixing}) {
      Unit unit = Unit::of(modules[index],
                           ir::ChoiceAttr::get(stack->getContext(), variant, keep, variant));
      std::set<std::string> slots;
      EVO_ASSIGN(PhaseWay back, priceBackward(unit, slots));
      if (slots.empty()) // the same as keeping the input
        continue;
      EVO_ASSIGN(PhaseWay ahead, priceForward(unit, {slots, {}}));
      addRecord(unit, index, ahead.costNs + back.costNs,
                std::max(ahead.frameBytes, back.frameBytes), ahead.keptBytes,
                maskOf(back.streamsRead));
    }
  return {};
}

Status ProblemBuilder::addModule(size_t index) {
  EVO_ASSIGN(SmallVector<PhaseWay> ahead, waysOf(index, false));
  forwardWays.push_back(std::move(ahead));
  if (train) {
    EVO_TRY(addKeepingRecords(index));
    EVO_ASSIGN(SmallVector<PhaseWay> back, waysOf(index, true));
    addInputRecords(index, back);
    return {};
  }
  for (const PhaseWay &way : forwardWays.back())
    addRecord(Unit::of(modules[index], choiceOf(way, ir::Keep::Nothing, PhaseWay())), index,
              way.costNs, way.frameBytes, 0, 0);
  return {};
}

/// A run keeps its input; each of its modules has the variant that is fastest by itself.
Status ProblemBuilder::addRun(size_t first, size_t count, ir::Axis axis, int64_t extent) {
  Unit unit;
  for (size_t i = first; i < first + count; ++i) {
    PhaseWay best = forwardWays[i].back();
    best.axis = ir::Axis::None;
    best.size = 0;
    unit.modules.push_back(modules[i]);
    unit.choices.push_back(
        choiceOf(best, train ? ir::Keep::Input : ir::Keep::Nothing, train ? best : PhaseWay()));
  }
  unit.axis = axis;
  unit.keep = train ? ir::Keep::Input : ir::Keep::Nothing;
  if (train)
    unit.backwardAxis = axis;
  int64_t before = INT64_MAX;
  for (int64_t slices = 2; slices <= std::min(extent, kMostSlices); slices *= 2) {
    unit.size = (extent + slices - 1) / slices;
    unit.backwardSize = train ? unit.size : 0;
    EVO_ASSIGN(PhaseWay ahead, priceForward(unit));
    std::set<std::string> slots;
    PhaseWay back;
    if (train) {
      EVO_ASSIGN(back, priceBackward(unit, slots));
    }
    int64_t bytes = std::max(ahead.frameBytes, back.frameBytes);
    addRecord(unit, first, ahead.costNs + back.costNs, bytes, 0, maskOf(back.streamsRead));
    if (bytes > before - before / 64 || unit.size == 1)
      break;
    before = bytes;
  }
  return {};
}

Status ProblemBuilder::addRuns() {
  ScopedDiagnosticHandler quiet(stack->getContext(), [](Diagnostic &) { return success(); });
  for (size_t first = 0; first < modules.size(); ++first)
    for (const ir::SliceAxis &axis : modules[first].getLegalAxes())
      for (size_t count = 2; first + count <= modules.size(); ++count) {
        if (failed(ir::verifyRun(stack, ArrayRef(modules).slice(first, count), axis.axis)))
          break;
        EVO_TRY(addRun(first, count, axis.axis, axis.extent));
      }
  return {};
}

/// One way a height that some module's frame has: each module by its fastest way below it.
void ProblemBuilder::addSegmentCosts() {
  std::set<int64_t> heights;
  for (ArrayRef<PhaseWay> ways : forwardWays)
    for (const PhaseWay &way : ways)
      heights.insert(way.frameBytes);
  schedule::SegmentCosts costs;
  for (size_t stream = 0; stream < streams.size(); ++stream) {
    costs.checkpointBytes += result.problem.streamBytes[stream];
    costs.checkpointNs += result.problem.copyNs[stream];
  }
  for (int64_t height : heights) {
    schedule::SegmentCosts::Forward way{height, 0};
    SmallVector<Attribute> choices;
    for (ArrayRef<PhaseWay> ways : forwardWays)
      if (const PhaseWay *fastest = fastestWithin(ways, height)) {
        way.costNs += fastest->costNs;
        choices.push_back(choiceOf(*fastest, ir::Keep::Nothing, PhaseWay()));
      }
    if (way.costNs > schedule::kMaxCostNs || height > schedule::kMaxBytes)
      continue;
    bool faster = costs.forward.empty() || way.costNs < costs.forward.back().costNs;
    if (choices.size() == modules.size() && faster) {
      costs.forward.push_back(way);
      result.forward.push_back(std::move(choices));
    }
  }
  // Of too many ways every other one goes: the last, which is the fastest, stays.
  while (costs.forward.size() > static_cast<size_t>(schedule::kMaxForwardWays)) {
    schedule::SegmentCosts thinned = costs;
    std::vector<SmallVector<Attribute>> choices;
    thinned.forward.clear();
    for (size_t i = 1 - costs.forward.size() % 2; i < costs.forward.size(); i += 2) {
      thinned.forward.push_back(costs.forward[i]);
      choices.push_back(result.forward[i]);
    }
    costs = std::move(thinned);
    result.forward = std::move(choices);
  }
  if (!costs.forward.empty())
    result.problem.segments = std::move(costs);
}

//===----------------------------------------------------------------------===//
// The stack
//===----------------------------------------------------------------------===//

/// Equal modules but for their choices.
static bool haveEqualModules(ir::SegmentOp a, ir::SegmentOp b) {
  auto bodyOf = [](ir::SegmentOp segment) {
    return SmallVector<ir::ModuleOpInterface>(
        segment.getBody().front().getOps<ir::ModuleOpInterface>());
  };
  auto attributesOf = [](ir::ModuleOpInterface op) {
    NamedAttrList list(op->getAttrDictionary());
    list.erase("choice");
    list.erase("estimate");
    return list.getDictionary(op->getContext());
  };
  SmallVector<ir::ModuleOpInterface> x = bodyOf(a), y = bodyOf(b);
  return llvm::equal(x, y, [&](ir::ModuleOpInterface p, ir::ModuleOpInterface q) {
    return p->getName() == q->getName() && attributesOf(p) == attributesOf(q) &&
           llvm::equal(p->getOperandTypes(), q->getOperandTypes());
  });
}

Status ProblemBuilder::takeModules() {
  auto segments = stack.getBody().front().getOps<ir::SegmentOp>();
  int64_t blocks = 0;
  for (ir::SegmentOp segment : segments) {
    if (!haveEqualModules(*segments.begin(), segment))
      return Status::error(ErrorCode::Unsupported,
                           "expected blocks with equal modules, got others from block " +
                               std::to_string(segment.getFirst()) + " on");
    blocks = static_cast<int64_t>(segment.getFirst() + segment.getCount());
  }
  // In inference blocks keep nothing: one speaks for all.
  if (train && blocks > schedule::kMaxBlocks)
    return Status::error(ErrorCode::Unsupported, "expected at most " +
                                                     std::to_string(schedule::kMaxBlocks) +
                                                     " blocks, got " + std::to_string(blocks));
  result.problem.blocks = train ? static_cast<int>(blocks) : 1;
  for (auto module : (*segments.begin()).getBody().front().getOps<ir::ModuleOpInterface>()) {
    schedule::Op op;
    op.name = module.getParameterPrefix().str();
    op.writes = maskOf({module.getUpdatedTensor().str()});
    result.problem.ops.push_back(std::move(op));
    modules.push_back(module);
  }
  return {};
}

Status ProblemBuilder::takeStreams() {
  auto tensors = llvm::zip_equal(stack.getTensors().getAsValueRange<StringAttr>(),
                                 stack.getBody().getArgumentTypes());
  for (auto [name, type] : tensors) {
    if (!isStream(name))
      continue;
    streams.push_back(name.str());
    OpBuilder builder = startScratch(scratch, stack.getLoc());
    kern::ProcedureOp copy =
        emitCheckpoint(builder, stack.getLoc(), {{name.str(), type}}, "checkpoint");
    EVO_ASSIGN(Candidate price, priceProcedure(copy, target.profile, precision));
    result.problem.streamBytes.push_back(price.savedBytes);
    result.problem.copyNs.push_back(price.costNs);
  }
  return {};
}

Result<StackProblem> ProblemBuilder::build() {
  EVO_TRY(takeStreams());
  EVO_TRY(takeModules());
  for (size_t index = 0; index < modules.size(); ++index)
    EVO_TRY(addModule(index));
  EVO_TRY(addRuns());
  if (train)
    addSegmentCosts();
  return std::move(result);
}

} // namespace

Result<StackProblem> buildStackProblem(ir::StackOp stack, const Target &target) {
  return ProblemBuilder(stack, target).build();
}

} // namespace evo
