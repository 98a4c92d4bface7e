//===- PlanReader.cpp - JSON to plan ----------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "runtime/plan/JsonCursor.h"
#include "runtime/plan/PlanJson.h"
#include "runtime/plan/ProductJson.h"
#include "runtime/plan/Strides.h"

#include <exception>
#include <filesystem>
#include <fstream>

namespace evo::plan {

namespace {

template <class T, class Read> std::vector<T> readList(const JsonCursor &cursor, Read read) {
  std::vector<T> list;
  cursor.elements([&](const JsonCursor &element) { list.push_back(read(element)); });
  return list;
}

DType readDType(const JsonCursor &cursor) { return cursor.enumeration<DType>(4, dtypeName); }
Phase readPhase(const JsonCursor &cursor) { return cursor.enumeration<Phase>(3, phaseName); }

std::map<std::string, int64_t> readSizes(const JsonCursor &cursor) {
  std::map<std::string, int64_t> sizes;
  cursor.members(
      [&](const std::string &key, const JsonCursor &value) { sizes[key] = value.integer(0); });
  return sizes;
}

ModelInfo readModel(const JsonCursor &cursor) {
  JsonObject object(cursor);
  ModelInfo model;
  model.name = object.at("name").string();
  model.stack = object.at("stack").string();
  model.blocks = object.at("blocks").integer(0);
  model.sizes = readSizes(object.at("sizes"));
  model.channels = readSizes(object.at("channels"));
  object.finish();
  return model;
}

IdleBytes readIdle(const JsonCursor &cursor) {
  JsonObject object(cursor);
  IdleBytes idle;
  idle.total = object.at("bytes").integer(1);
  idle.kept = object.at("kept_bytes").integer(0);
  idle.frame = object.at("frame_bytes").integer(0);
  object.finish();
  return idle;
}

Summary readSummary(const JsonCursor &cursor) {
  JsonObject object(cursor);
  Summary summary;
  summary.policy = object.at("policy").string();
  summary.budgetBytes = object.at("budget_bytes").integer(0);
  summary.arenaBytes = object.at("arena_bytes").integer(0);
  summary.staticBytes = object.at("static_bytes").integer(0);
  summary.libraryBytes = object.at("library_bytes").integer(0);
  summary.predictedPeakBytes = object.at("predicted_peak_bytes").integer(0);
  summary.keptBytes = object.at("kept_bytes").integer(0);
  if (auto idle = object.find("idle"))
    summary.idle = readIdle(*idle);
  summary.predictedMs = object.at("predicted_ms").number();
  object.finish();
  return summary;
}

Tensor readTensor(const JsonCursor &cursor) {
  JsonObject object(cursor);
  Tensor tensor;
  tensor.name = object.at("name").string();
  tensor.dtype = readDType(object.at("dtype"));
  tensor.shape = object.at("shape").integers(0);
  tensor.offset = object.at("offset").integer(0);
  tensor.bytes = object.at("bytes").integer(0);
  object.finish();
  return tensor;
}

WeightPart readPart(const JsonCursor &cursor) {
  JsonObject object(cursor);
  WeightPart part;
  part.parameter = object.at("parameter").string();
  part.firstRow = object.at("first_row").integer(0);
  part.rows = object.at("rows").integer(0);
  object.finish();
  return part;
}

/// {"momentum": 0, ...}, in the order of the keys.
std::vector<WeightState> readStates(const JsonCursor &cursor) {
  std::vector<WeightState> states;
  cursor.members([&](const std::string &key, const JsonCursor &value) {
    std::optional<StateKind> kind = parseStateKind(key);
    if (!kind)
      return cursor.fail("expected first_moment, master, momentum or second_moment, got the key '" +
                         clipText(key) + "'");
    states.push_back({*kind, value.integer(0)});
  });
  return states;
}

OptimizerInfo readOptimizer(const JsonCursor &cursor) {
  JsonObject object(cursor);
  OptimizerInfo optimizer;
  optimizer.kind = object.at("kind").enumeration<OptimizerKind>(2, optimizerName);
  optimizer.lossScale = object.at("loss_scale").number();
  object.finish();
  return optimizer;
}

Weight readWeight(const JsonCursor &cursor) {
  JsonObject object(cursor);
  Weight weight;
  weight.name = object.at("name").string();
  weight.dtype = readDType(object.at("dtype"));
  weight.shape = object.at("shape").integers(0);
  weight.offset = object.at("offset").integer(0);
  weight.bytes = object.at("bytes").integer(0);
  if (auto offset = object.find("gradient_offset"))
    weight.gradientOffset = offset->integer(0);
  if (auto states = object.find("states"))
    weight.states = readStates(*states);
  weight.parts = readList<WeightPart>(object.at("parts"), readPart);
  object.finish();
  return weight;
}

Buffer readBuffer(const JsonCursor &cursor) {
  JsonObject object(cursor);
  Buffer buffer;
  buffer.name = object.at("name").string();
  buffer.base = object.at("base").enumeration<Base>(6, baseName);
  if (buffer.base == Base::Tensor)
    buffer.tensor = object.at("tensor").index();
  buffer.dtype = readDType(object.at("dtype"));
  buffer.shape = object.at("shape").integers(0);
  if (auto strides = object.find("strides"))
    buffer.strides = strides->integers(0);
  else if (auto dense = denseStrides(buffer.shape))
    buffer.strides = *dense;
  else
    object.self().fail("expected strides below 2^63 from the shape, got more");
  buffer.offset = object.at("offset").integer(0);
  buffer.bytes = object.at("bytes").integer(0);
  object.finish();
  return buffer;
}

/// A plain number, or {"value", "loop"}.
template <class Position> Position readPosition(const JsonCursor &cursor) {
  if (!cursor.isObject()) {
    if (!cursor.isInteger())
      cursor.expected("an integer or an object");
    return {cursor.integer(0), -1};
  }
  JsonObject object(cursor);
  Position position;
  position.value = object.at("value").integer(0);
  position.loop = object.at("loop").index();
  object.finish();
  return position;
}

View readView(const JsonCursor &cursor, const std::vector<Buffer> &buffers) {
  JsonObject object(cursor);
  View view;
  view.buffer = object.at("buffer").index();
  if (auto version = object.find("version"))
    view.version = version->index();
  const Buffer *buffer =
      static_cast<size_t>(view.buffer) < buffers.size() ? &buffers[view.buffer] : nullptr;
  if (!buffer)
    object.self().fail("expected a buffer below " + std::to_string(buffers.size()) + ", got " +
                       std::to_string(view.buffer));
  else
    view = wholeView(*buffer, view.buffer, view.version);
  if (auto start = object.find("start"))
    view.start = readList<Start>(*start, readPosition<Start>);
  if (auto extent = object.find("extent"))
    view.extent = readList<Extent>(*extent, readPosition<Extent>);
  if (auto order = object.find("order"))
    view.order = readList<int32_t>(*order, [](const JsonCursor &axis) { return axis.index(); });
  object.finish();
  return view;
}

KernelAttributes readAttributes(JsonObject &object, const KernelInfo &info) {
  KernelAttributes attributes;
  for (KernelAttribute attribute : info.attributes) {
    const AttributeInfo &entry = attributeInfo(attribute);
    if (entry.optional) {
      if (auto given = object.find(entry.name))
        attributes.*entry.real = given->number();
      continue;
    }
    JsonCursor value = object.at(entry.name);
    if (entry.real)
      attributes.*entry.real = value.number();
    else if (entry.integer)
      attributes.*entry.integer =
          value.integer(entry.range == AttributeRange::Positive ? 1 : 0,
                        entry.range == AttributeRange::Word ? UINT32_MAX : INT64_MAX);
    else
      attributes.activation = value.enumeration<Activation>(2, activationName);
  }
  return attributes;
}

KernelStep readKernelStep(JsonObject &object, const Procedure &procedure) {
  KernelStep step;
  step.kernel = object.at("kernel").enumeration<Kernel>(
      kernelTable().size(), [](Kernel kernel) { return kernelInfo(kernel).mnemonic; });
  const KernelInfo &info = kernelInfo(step.kernel);
  step.attributes = readAttributes(object, info);
  JsonCursor operandsCursor = object.at("operands");
  JsonObject operands(operandsCursor);
  for (const OperandInfo &operand : info.operands) {
    std::optional<JsonCursor> view;
    if (operand.isOptional())
      view = operands.find(operand.name);
    else
      view = operands.at(operand.name);
    step.operands.push_back(view ? std::optional(readView(*view, procedure.buffers)) : std::nullopt);
    if (!operands.self().ok())
      break;
  }
  operands.finish();
  if (auto lane = object.find("lane"))
    step.lane = lane->enumeration<Lane>(2, laneName);
  if (auto waits = object.find("waits"))
    step.waits = readList<int32_t>(*waits, [](const JsonCursor &id) { return id.index(); });
  step.costNs = object.at("cost_ns").integer(0);
  auto location = object.find("location");
  step.location = location ? location->string() : defaultLocation(procedure, step.kernel);
  return step;
}

std::vector<Step> readSteps(const JsonCursor &cursor, const Procedure &procedure, int depth);

LoopStep readLoop(JsonObject &object, const Procedure &procedure, int depth) {
  LoopStep loop;
  loop.loop = object.at("loop").index();
  loop.axis = object.at("axis").string();
  loop.extent = object.at("extent").integer(1);
  loop.size = object.at("size").integer(1);
  if (depth >= kMaxTreeDepth)
    object.self().fail("expected at most " + std::to_string(kMaxTreeDepth) +
                       " nested loops, got more");
  else
    loop.body = readSteps(object.at("body"), procedure, depth + 1);
  return loop;
}

std::vector<Step> readSteps(const JsonCursor &cursor, const Procedure &procedure, int depth) {
  return readList<Step>(cursor, [&](const JsonCursor &element) -> Step {
    JsonObject object(element);
    Step step;
    if (object.has("kernel"))
      step.value = readKernelStep(object, procedure);
    else if (auto allocated = object.find("alloc"))
      step.value = AllocStep{allocated->index()};
    else if (auto freed = object.find("free"))
      step.value = FreeStep{freed->index()};
    else if (object.has("loop"))
      step.value = readLoop(object, procedure, depth);
    else
      element.fail("expected one of the keys 'kernel', 'alloc', 'free', 'loop', got none");
    object.finish();
    return step;
  });
}

Procedure readProcedure(const JsonCursor &cursor) {
  JsonObject object(cursor);
  Procedure procedure;
  procedure.name = object.at("name").string();
  procedure.module = object.at("module").string();
  procedure.phase = readPhase(object.at("phase"));
  procedure.choice = object.at("choice").string();
  procedure.frameBytes = object.at("frame_bytes").integer(0);
  procedure.costNs = object.at("cost_ns").integer(0);
  procedure.buffers = readList<Buffer>(object.at("buffers"), readBuffer);
  procedure.steps = readSteps(object.at("steps"), procedure, 0);
  object.finish();
  return procedure;
}

Binding readBinding(const JsonCursor &cursor) {
  JsonObject object(cursor);
  Binding binding;
  binding.buffer = object.at("buffer").index();
  binding.offset = object.at("offset").integer(0);
  if (auto stride = object.find("stride"))
    binding.stride = stride->integer(0);
  object.finish();
  return binding;
}

Call readCall(const JsonCursor &cursor) {
  JsonObject object(cursor);
  Call call;
  call.procedure = object.at("procedure").index();
  call.frameOffset = object.at("frame_offset").integer(0);
  if (auto offset = object.find("saved_offset"))
    call.savedOffset = offset->integer(0);
  if (auto stride = object.find("saved_stride"))
    call.savedStride = stride->integer(0);
  if (auto stride = object.find("frame_stride"))
    call.frameStride = stride->integer(0);
  if (auto bindings = object.find("bindings"))
    call.bindings = readList<Binding>(*bindings, readBinding);
  object.finish();
  return call;
}

BlockRun readRun(const JsonCursor &cursor) {
  JsonObject object(cursor);
  BlockRun run;
  run.firstBlock = object.at("first_block").integer(0);
  run.blockCount = object.at("block_count").integer(1);
  run.calls = readList<Call>(object.at("calls"), readCall);
  object.finish();
  return run;
}

Program readProgram(const JsonCursor &cursor) {
  JsonObject object(cursor);
  Program program;
  program.phase = readPhase(object.at("phase"));
  program.inputs = object.at("inputs").strings();
  program.outputs = object.at("outputs").strings();
  program.runs = readList<BlockRun>(object.at("runs"), readRun);
  object.finish();
  return program;
}

RankExtents readRank(const JsonCursor &cursor) {
  JsonObject object(cursor);
  RankExtents rank;
  rank.rank = object.at("rank").index();
  JsonCursor table = object.at("extents");
  table.members([&](const std::string &axis, const JsonCursor &interval) {
    std::vector<int64_t> bounds = interval.integers(0);
    if (bounds.size() != 2)
      interval.expected("[begin, end]");
    else
      rank.extents[axis] = {bounds[0], bounds[1]};
  });
  object.finish();
  return rank;
}

ScheduleNode readNode(const JsonCursor &cursor, int depth) {
  static constexpr std::array<std::string_view, 4> kinds = {"stack", "segment", "run", "module"};
  JsonObject object(cursor);
  ScheduleNode node;
  node.kind = kinds[object.at("kind").enumeration<size_t>(kinds.size(),
                                                          [](size_t kind) { return kinds[kind]; })];
  if (auto name = object.find("name"))
    node.name = name->string();
  if (auto choice = object.find("choice"))
    node.choice = choice->string();
  if (auto first = object.find("first_block"))
    node.firstBlock = first->integer(0);
  if (auto count = object.find("block_count"))
    node.blockCount = count->integer(0);
  auto children = object.find("children");
  if (children && depth >= kMaxTreeDepth)
    children->fail("expected at most " + std::to_string(kMaxTreeDepth) + " nested nodes, got more");
  else if (children)
    node.children = readList<ScheduleNode>(
        *children, [&](const JsonCursor &child) { return readNode(child, depth + 1); });
  object.finish();
  return node;
}

/// A plan of another version is refused before anything else in it can disappoint.
bool checkFormat(JsonObject &object) {
  JsonCursor format = object.at("format");
  std::string got = format.string();
  if (format.ok() && got != kPlanFormat)
    format.fail("expected \"" + std::string(kPlanFormat) + "\", got \"" + clipText(got) +
                "\": this evo-run reads " + std::string(kPlanFormat) +
                "; recompile the specification with an evo-opt of the same version");
  return format.ok();
}

Plan readRoot(const JsonCursor &cursor) {
  JsonObject object(cursor);
  Plan plan;
  if (!checkFormat(object))
    return plan;
  plan.arenaBytes = object.at("arena_bytes").integer(0);
  plan.weightBlockBytes = object.at("weight_block_bytes").integer(0);
  if (auto bytes = object.find("gradient_block_bytes"))
    plan.gradientBlockBytes = bytes->integer(0);
  if (auto bytes = object.find("state_block_bytes"))
    plan.stateBlockBytes = bytes->integer(0);
  plan.precision = object.at("precision").enumeration<Precision>(5, precisionName);
  plan.mode = object.at("mode").enumeration<Mode>(2, modeName);
  plan.devices = object.at("devices").index(1);
  plan.profile = object.at("profile").string();
  if (auto device = object.find("profile_device"))
    plan.profileDevice = device->string();
  plan.backend = object.at("backend").string();
  if (auto products = object.find("products"))
    plan.products = readProducts(*products);
  plan.model = readModel(object.at("model"));
  if (auto optimizer = object.find("optimizer"))
    plan.optimizer = readOptimizer(*optimizer);
  plan.summary = readSummary(object.at("summary"));
  plan.tensors = readList<Tensor>(object.at("tensors"), readTensor);
  plan.weights = readList<Weight>(object.at("weights"), readWeight);
  plan.procedures = readList<Procedure>(object.at("procedures"), readProcedure);
  plan.programs = readList<Program>(object.at("programs"), readProgram);
  plan.ranks = readList<RankExtents>(object.at("ranks"), readRank);
  plan.schedule = readNode(object.at("schedule"), 0);
  object.finish();
  return plan;
}

Result<Plan> parseText(std::string_view text) {
  EVO_ASSIGN(nlohmann::json root, parseJsonText(text));
  JsonErrors errors;
  Plan plan = readRoot(JsonCursor(root, errors));
  EVO_TRY(errors.status);
  return plan;
}

} // namespace

Result<Plan> parsePlan(std::string_view text, std::string_view fileName) {
  try {
    Result<Plan> plan = parseText(text);
    return plan ? std::move(plan) : Result<Plan>(plan.status().withContext(fileName));
  } catch (const std::exception &error) {
    return Status::error(ErrorCode::Internal,
                         std::string(fileName) + ": expected a plan, got " + error.what());
  }
}

Result<Plan> readPlan(const std::string &path) {
  std::error_code error;
  if (std::filesystem::is_directory(path, error))
    return Status::error(ErrorCode::Io, path + ": expected a plan file, got a folder");
  std::ifstream file(path, std::ios::binary);
  if (!file)
    return Status::error(ErrorCode::Io, path + ": expected a readable plan file, got none");
  std::string text;
  std::vector<char> chunk(size_t{1} << 20);
  while (file.read(chunk.data(), static_cast<std::streamsize>(chunk.size())) || file.gcount() > 0) {
    text.append(chunk.data(), static_cast<size_t>(file.gcount()));
    if (static_cast<int64_t>(text.size()) > kMaxPlanBytes)
      return Status::error(ErrorCode::Io, path + ": expected at most " +
                                              std::to_string(kMaxPlanBytes) +
                                              " bytes of plan, got more");
  }
  if (file.bad())
    return Status::error(ErrorCode::Io, path + ": expected a readable plan file, got an error");
  return parsePlan(text, path);
}

} // namespace evo::plan
