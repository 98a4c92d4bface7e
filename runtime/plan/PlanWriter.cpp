//===- PlanWriter.cpp - plan to JSON ----------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "runtime/plan/JsonText.h"
#include "runtime/plan/PlanJson.h"
#include "runtime/plan/ProductJson.h"
#include "runtime/plan/Strides.h"
#include "runtime/plan/SummaryJson.h"

#include <cmath>
#include <exception>

namespace evo::plan {

namespace {

using Json = nlohmann::ordered_json;

/// Elements on their own lines, leaves compact; nothing is indented, which would be a tenth of a
/// plan.
class Lines {
public:
  std::string text;

  void open(std::string_view head) {
    separate();
    text += head;
    empty.push_back(true);
  }
  void openList(std::string_view key) { open(std::string("\"").append(key).append("\": [")); }
  void close(std::string_view tail) {
    bool nothing = empty.back();
    empty.pop_back();
    if (!nothing)
      newLine();
    text += tail;
  }
  void element(const Json &value) {
    separate();
    text += value.dump();
  }
  void member(std::string_view key, const Json &value) {
    separate();
    text += Json(key).dump() + ": " + value.dump();
  }

private:
  void newLine() { text += "\n"; }
  void separate() {
    if (empty.empty())
      return;
    if (!empty.back())
      text += ",";
    empty.back() = false;
    newLine();
  }
  std::vector<bool> empty; ///< of each open container
};

Status unprintable(const std::string &message) {
  return Status::error(ErrorCode::InvalidPlan, message);
}

Json toJson(const ModelInfo &model) {
  return {{"name", model.name},
          {"stack", model.stack},
          {"blocks", model.blocks},
          {"sizes", Json(model.sizes)},
          {"channels", Json(model.channels)}};
}

Json toJson(const Tensor &tensor) {
  return {{"name", tensor.name},
          {"dtype", dtypeName(tensor.dtype)},
          {"shape", tensor.shape},
          {"offset", tensor.offset},
          {"bytes", tensor.bytes}};
}

Json toJson(const Weight &weight) {
  Json parts = Json::array();
  for (const WeightPart &part : weight.parts)
    parts.push_back(
        {{"parameter", part.parameter}, {"first_row", part.firstRow}, {"rows", part.rows}});
  Json object = {{"name", weight.name},
                 {"dtype", dtypeName(weight.dtype)},
                 {"shape", weight.shape},
                 {"offset", weight.offset},
                 {"bytes", weight.bytes}};
  if (weight.gradientOffset != 0)
    object["gradient_offset"] = weight.gradientOffset;
  for (const WeightState &state : weight.states)
    object["states"][std::string(stateName(state.kind))] = state.offset;
  object["parts"] = std::move(parts);
  return object;
}

Json toJson(const Buffer &buffer) {
  Json object = {{"name", buffer.name}, {"base", baseName(buffer.base)}};
  if (buffer.base == Base::Tensor)
    object["tensor"] = buffer.tensor;
  object["dtype"] = dtypeName(buffer.dtype);
  object["shape"] = buffer.shape;
  if (auto dense = denseStrides(buffer.shape); !dense || *dense != buffer.strides)
    object["strides"] = buffer.strides;
  object["offset"] = buffer.offset;
  object["bytes"] = buffer.bytes;
  return object;
}

/// A Start or an Extent.
template <class Position> Json positionsToJson(const std::vector<Position> &positions) {
  Json list = Json::array();
  for (const Position &position : positions)
    list.push_back(position.loop < 0 ? Json(position.value)
                                     : Json{{"value", position.value}, {"loop", position.loop}});
  return list;
}

Json toJson(const View &view, const std::vector<Buffer> &buffers) {
  Json object = {{"buffer", view.buffer}};
  if (view.version != 0)
    object["version"] = view.version;
  View whole;
  bool known = view.buffer >= 0 && static_cast<size_t>(view.buffer) < buffers.size();
  if (known)
    whole = wholeView(buffers[view.buffer], view.buffer, view.version);
  if (!known || view.start != whole.start)
    object["start"] = positionsToJson(view.start);
  if (!known || view.extent != whole.extent)
    object["extent"] = positionsToJson(view.extent);
  if (!known || view.order != whole.order)
    object["order"] = view.order;
  return object;
}

Result<Json> attributeToJson(const KernelAttributes &attributes, KernelAttribute attribute) {
  const AttributeInfo &entry = attributeInfo(attribute);
  if (entry.integer)
    return Json(attributes.*entry.integer);
  if (!entry.real)
    return Json(activationName(attributes.activation));
  double value = attributes.*entry.real;
  if (!std::isfinite(value))
    return unprintable("expected a finite " + std::string(entry.name) + ", got " +
                       std::to_string(value));
  return Json(value);
}

Result<Json> toJson(const KernelStep &step, const Procedure &procedure) {
  const KernelInfo &info = kernelInfo(step.kernel);
  if (step.operands.size() != info.operands.size())
    return unprintable("kernel '" + std::string(info.mnemonic) + "': expected " +
                       std::to_string(info.operands.size()) + " operands, got " +
                       std::to_string(step.operands.size()));
  Json object = {{"kernel", info.mnemonic}};
  for (KernelAttribute attribute : info.attributes) {
    const AttributeInfo &entry = attributeInfo(attribute);
    if (entry.optional && step.attributes.*entry.real == KernelAttributes().*entry.real)
      continue;
    EVO_ASSIGN(Json value, attributeToJson(step.attributes, attribute));
    object[std::string(attributeName(attribute))] = std::move(value);
  }
  Json operands = Json::object();
  for (size_t i = 0; i < info.operands.size(); ++i)
    if (step.operands[i])
      operands[std::string(info.operands[i].name)] = toJson(*step.operands[i], procedure.buffers);
  object["operands"] = std::move(operands);
  if (step.lane != Lane::Compute)
    object["lane"] = laneName(step.lane);
  if (!step.waits.empty())
    object["waits"] = step.waits;
  object["cost_ns"] = step.costNs;
  if (step.location != defaultLocation(procedure, step.kernel))
    object["location"] = step.location;
  return object;
}

Status printSteps(Lines &lines, const std::vector<Step> &steps, const Procedure &procedure,
                  int depth) {
  if (depth > kMaxTreeDepth)
    return unprintable("expected at most " + std::to_string(kMaxTreeDepth) +
                       " nested loops, got more");
  for (const Step &step : steps) {
    if (const auto *kernel = std::get_if<KernelStep>(&step.value)) {
      EVO_ASSIGN(Json object, toJson(*kernel, procedure));
      lines.element(object);
    } else if (const auto *alloc = std::get_if<AllocStep>(&step.value)) {
      lines.element({{"alloc", alloc->buffer}});
    } else if (const auto *free = std::get_if<FreeStep>(&step.value)) {
      lines.element({{"free", free->buffer}});
    } else if (const auto *loop = std::get_if<LoopStep>(&step.value)) {
      Json head = {{"loop", loop->loop},
                   {"axis", loop->axis},
                   {"extent", loop->extent},
                   {"size", loop->size}};
      std::string opening = head.dump();
      opening.back() = ',';
      lines.open(opening + "\"body\":[");
      EVO_TRY(printSteps(lines, loop->body, procedure, depth + 1));
      lines.close("]}");
    }
  }
  return {};
}

Status printProcedure(Lines &lines, const Procedure &procedure) {
  lines.open("{");
  lines.member("name", procedure.name);
  lines.member("module", procedure.module);
  lines.member("phase", phaseName(procedure.phase));
  lines.member("choice", procedure.choice);
  lines.member("frame_bytes", procedure.frameBytes);
  lines.member("cost_ns", procedure.costNs);
  lines.openList("buffers");
  for (const Buffer &buffer : procedure.buffers)
    lines.element(toJson(buffer));
  lines.close("]");
  lines.openList("steps");
  EVO_TRY(printSteps(lines, procedure.steps, procedure, 0)
              .withContext("procedure '" + clipText(procedure.name) + "'"));
  lines.close("]");
  lines.close("}");
  return {};
}

void printRun(Lines &lines, const BlockRun &run) {
  Json head = {{"first_block", run.firstBlock}, {"block_count", run.blockCount}};
  std::string opening = head.dump();
  opening.back() = ',';
  lines.open(opening + "\"calls\":[");
  for (const Call &call : run.calls) {
    Json object = {{"procedure", call.procedure}, {"frame_offset", call.frameOffset}};
    if (call.frameStride != 0)
      object["frame_stride"] = call.frameStride;
    if (call.savedOffset != 0)
      object["saved_offset"] = call.savedOffset;
    if (call.savedStride != 0)
      object["saved_stride"] = call.savedStride;
    for (const Binding &binding : call.bindings) {
      Json entry = {{"buffer", binding.buffer}, {"offset", binding.offset}};
      if (binding.stride != 0)
        entry["stride"] = binding.stride;
      object["bindings"].push_back(entry);
    }
    lines.element(object);
  }
  lines.close("]}");
}

void printProgram(Lines &lines, const Program &program) {
  lines.open("{");
  lines.member("phase", phaseName(program.phase));
  lines.member("inputs", program.inputs);
  lines.member("outputs", program.outputs);
  lines.openList("runs");
  for (const BlockRun &run : program.runs)
    printRun(lines, run);
  lines.close("]");
  lines.close("}");
}

Json toJson(const RankExtents &rank) {
  Json extents = Json::object();
  for (const auto &[axis, interval] : rank.extents)
    extents[axis] = {interval.first, interval.second};
  return {{"rank", rank.rank}, {"extents", std::move(extents)}};
}

/// `prefix` is the key in front of the root, empty for a child.
Status printNode(Lines &lines, const ScheduleNode &node, const std::string &prefix, int depth) {
  if (depth > kMaxTreeDepth)
    return unprintable("expected at most " + std::to_string(kMaxTreeDepth) +
                       " nested schedule nodes, got more");
  Json head = {{"kind", node.kind}};
  if (!node.name.empty())
    head["name"] = node.name;
  if (!node.choice.empty())
    head["choice"] = node.choice;
  if (node.firstBlock != 0)
    head["first_block"] = node.firstBlock;
  if (node.blockCount != 0)
    head["block_count"] = node.blockCount;
  std::string opening = prefix + head.dump();
  if (node.children.empty()) {
    lines.open(opening);
    lines.close("");
    return {};
  }
  opening.back() = ',';
  lines.open(opening + "\"children\":[");
  for (const ScheduleNode &child : node.children)
    EVO_TRY(printNode(lines, child, "", depth + 1));
  lines.close("]}");
  return {};
}

void printTable(Lines &lines, const ProductTable &table) {
  lines.open("\"products\": {");
  lines.member("library", table.library);
  lines.member("ways", table.ways);
  lines.openList("series");
  for (const ProductSeries &series : table.series)
    lines.element(seriesJson(series));
  lines.close("]");
  lines.close("}");
}

Status printRoot(Lines &lines, const Plan &plan) {
  if (!std::isfinite(plan.summary.predictedMs))
    return unprintable("expected a finite predicted_ms, got " +
                       std::to_string(plan.summary.predictedMs));
  if (plan.optimizer && !std::isfinite(plan.optimizer->lossScale))
    return unprintable("expected a finite loss_scale, got " +
                       std::to_string(plan.optimizer->lossScale));
  lines.open("{");
  lines.member("format", kPlanFormat);
  lines.member("arena_bytes", plan.arenaBytes);
  lines.member("weight_block_bytes", plan.weightBlockBytes);
  if (plan.gradientBlockBytes != 0)
    lines.member("gradient_block_bytes", plan.gradientBlockBytes);
  if (plan.stateBlockBytes != 0)
    lines.member("state_block_bytes", plan.stateBlockBytes);
  lines.member("precision", precisionName(plan.precision));
  lines.member("mode", modeName(plan.mode));
  lines.member("devices", plan.devices);
  lines.member("profile", plan.profile);
  if (!plan.profileDevice.empty())
    lines.member("profile_device", plan.profileDevice);
  lines.member("backend", plan.backend);
  if (!plan.products.empty())
    printTable(lines, plan.products);
  lines.member("model", toJson(plan.model));
  if (plan.optimizer)
    lines.member("optimizer", {{"kind", optimizerName(plan.optimizer->kind)},
                               {"loss_scale", plan.optimizer->lossScale}});
  lines.member("summary", summaryJson(plan.summary));
  lines.openList("tensors");
  for (const Tensor &tensor : plan.tensors)
    lines.element(toJson(tensor));
  lines.close("]");
  lines.openList("weights");
  for (const Weight &weight : plan.weights)
    lines.element(toJson(weight));
  lines.close("]");
  lines.openList("procedures");
  for (const Procedure &procedure : plan.procedures)
    EVO_TRY(printProcedure(lines, procedure));
  lines.close("]");
  lines.openList("programs");
  for (const Program &program : plan.programs)
    printProgram(lines, program);
  lines.close("]");
  lines.openList("ranks");
  for (const RankExtents &rank : plan.ranks)
    lines.element(toJson(rank));
  lines.close("]");
  EVO_TRY(printNode(lines, plan.schedule, "\"schedule\": ", 0));
  lines.close("}");
  return {};
}

} // namespace

nlohmann::ordered_json summaryJson(const Summary &summary) {
  Json object = {{"policy", summary.policy},
                 {"budget_bytes", summary.budgetBytes},
                 {"arena_bytes", summary.arenaBytes},
                 {"static_bytes", summary.staticBytes},
                 {"library_bytes", summary.libraryBytes},
                 {"predicted_peak_bytes", summary.predictedPeakBytes},
                 {"kept_bytes", summary.keptBytes}};
  if (summary.idle.total != 0)
    object["idle"] = {{"bytes", summary.idle.total},
                      {"kept_bytes", summary.idle.kept},
                      {"frame_bytes", summary.idle.frame}};
  object["predicted_ms"] = summary.predictedMs;
  return object;
}

Result<std::string> printPlan(const Plan &plan) {
  try {
    Lines lines;
    EVO_TRY(printRoot(lines, plan));
    lines.text += "\n";
    return std::move(lines.text);
  } catch (const std::exception &error) {
    return Status::error(ErrorCode::InvalidPlan,
                         std::string("expected a plan of UTF-8 text, got ") + error.what());
  }
}

} // namespace evo::plan
