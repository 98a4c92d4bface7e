//===- VerifyForm.cpp - buffers and steps, each for itself ------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "runtime/plan/VerifyParts.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <set>

namespace evo::plan {

namespace {

/// (1 + sum (shape-1) * strides) * element size, for rows that do not overlap; nothing on overflow.
std::optional<int64_t> stridedBytes(const Buffer &buffer) {
  int64_t last = 0;
  for (size_t axis = 0; axis < buffer.shape.size(); ++axis) {
    int64_t reach = 0;
    if (__builtin_mul_overflow(buffer.shape[axis] - 1, buffer.strides[axis], &reach) ||
        __builtin_add_overflow(last, reach, &last))
      return std::nullopt;
  }
  int64_t bytes = 0;
  if (__builtin_add_overflow(last, int64_t{1}, &last) ||
      __builtin_mul_overflow(last, elementBytes(buffer.dtype), &bytes))
    return std::nullopt;
  return bytes;
}

Verdict verifyLayout(const Buffer &buffer, const Path &path) {
  size_t rank = buffer.shape.size();
  if (rank < 1 || rank > kMaxRank)
    return violates(0, path.at("shape"), makeText("1 to ", kMaxRank, " axes"), makeText(rank));
  for (size_t axis = 0; axis < rank; ++axis)
    if (buffer.shape[axis] < 1)
      return violates(0, path.at("shape", axis), "a size of at least 1",
                      makeText(buffer.shape[axis]));
  if (buffer.strides.size() != rank)
    return violates(0, path.at("strides"), makeText(rank, " strides"),
                    makeText(buffer.strides.size()));
  int64_t least = 1;
  for (size_t axis = rank; axis-- > 0;) {
    bool last = axis + 1 == rank;
    if (last ? buffer.strides[axis] != 1 : buffer.strides[axis] < least)
      return violates(0, path.at("strides", axis), makeText(last ? "" : "at least ", least),
                      makeText(buffer.strides[axis]));
    if (__builtin_mul_overflow(buffer.strides[axis], buffer.shape[axis], &least))
      return violates(0, path.at("shape", axis), "fewer than 2^63 elements", "more");
  }
  std::optional<int64_t> bytes = stridedBytes(buffer);
  if (!bytes || *bytes > kMaxEnd)
    return violates(0, path.at("shape"), makeText("at most ", kMaxEnd, " bytes"), "more");
  if (buffer.bytes != *bytes)
    return violates(0, path.at("bytes"), makeText(*bytes), makeText(buffer.bytes));
  if (buffer.offset < 0 || buffer.offset > kMaxEnd - buffer.bytes)
    return violates(8, path.at("offset"), makeText("an offset from 0 to ", kMaxEnd - buffer.bytes),
                    makeText(buffer.offset));
  if (buffer.offset % kAlignment != 0)
    return violates(8, path.at("offset"), makeText("a multiple of ", kAlignment),
                    makeText(buffer.offset));
  return {};
}

/// A buffer that stands for a tensor or a weight must be the one that it says.
template <class Entry>
Verdict verifyStandsFor(const Buffer &buffer, const Entry &entry, int64_t offset,
                        const Path &path) {
  if (buffer.name != entry.name)
    return violates(0, path.at("name"), makeText("'", entry.name, "'"),
                    makeText("'", buffer.name, "'"));
  if (buffer.dtype != entry.dtype)
    return violates(0, path.at("dtype"), dtypeName(entry.dtype), dtypeName(buffer.dtype));
  if (buffer.shape != entry.shape)
    return violates(0, path.at("shape"), makeText(std::span(entry.shape)),
                    makeText(std::span(buffer.shape)));
  if (buffer.offset != offset)
    return violates(8, path.at("offset"), makeText(offset), makeText(buffer.offset));
  if (buffer.bytes != entry.bytes)
    return violates(8, path.at("bytes"), makeText(entry.bytes), makeText(buffer.bytes));
  return {};
}

/// What an attribute may be, for messages.
std::string expectedOf(const AttributeInfo &entry, DType statistic) {
  std::string_view type = dtypeName(statistic);
  switch (entry.range) {
  case AttributeRange::Any:
    return makeText("a finite number in ", type);
  case AttributeRange::Positive:
    return entry.integer ? "at least 1" : makeText("a finite number above 0 in ", type);
  case AttributeRange::NonNegative:
    return entry.integer ? "at least 0" : makeText("a finite number of at least 0 in ", type);
  case AttributeRange::Fraction:
    return "a number in [0, 1)";
  case AttributeRange::Word:
    return "an integer in [0, 2^32)";
  }
  return "";
}

class ProcedureForm {
public:
  ProcedureForm(const Plan &plan, const Procedure &procedure,
                const std::map<std::string_view, const Weight *> &weights)
      : plan(plan), procedure(procedure), weights(weights), used(procedure.buffers.size()) {}

  Verdict verify(const Path &path) {
    if (procedure.frameBytes < 0 || procedure.frameBytes > kMaxEnd)
      return violates(8, path.at("frame_bytes"), makeText("from 0 to ", kMaxEnd),
                      makeText(procedure.frameBytes));
    std::set<std::string_view> names;
    for (size_t i = 0; i < procedure.buffers.size(); ++i) {
      Path bufferPath = path.at("buffers", i);
      const Buffer &buffer = procedure.buffers[i];
      if (buffer.name.empty() || !names.insert(buffer.name).second)
        return violates(0, bufferPath.at("name"), "a name of its own",
                        makeText("'", buffer.name, "'"));
      EVO_VERIFY(verifyLayout(buffer, bufferPath));
      EVO_VERIFY(verifyBase(buffer, bufferPath));
    }
    // What a backward procedure reads lies where its calls say.
    if (procedure.phase != Phase::Backward)
      EVO_VERIFY(verifyDisjoint(Base::Saved, path));
    EVO_VERIFY(verifySteps(procedure.steps, path, "steps"));
    for (size_t i = 0; i < used.size(); ++i)
      if (!used[i])
        return violates(0, path.at("buffers", i), "a buffer that some step uses", "none");
    return {};
  }

private:
  Verdict verifyBase(const Buffer &buffer, const Path &path);
  Verdict verifyGradient(const Buffer &buffer, const Path &path);
  Verdict verifyState(const Buffer &buffer, const Path &path);
  Verdict verifyOfWeight(const Buffer &buffer, const Weight &weight, int64_t offset,
                         const Path &path);
  Verdict verifyDisjoint(Base base, const Path &path);
  Verdict verifySteps(const std::vector<Step> &steps, const Path &parent, std::string_view field);
  Verdict verifyLoop(const LoopStep &loop, const Path &path);
  Verdict verifyKernel(const KernelStep &step, const Path &path);
  Verdict verifyAttributes(const KernelStep &step, const Path &path);
  Verdict verifyView(const View &view, const Path &path);
  Verdict verifyAxis(const View &view, size_t axis, const Path &path);
  Verdict verifyType(const OperandInfo &operand, DType got, const Path &path);
  Verdict verifyShapes(const KernelStep &step, const Path &path);
  Verdict verifyFrameBuffer(int32_t buffer, const Path &path);
  const LoopStep *enclosing(int32_t loop) const {
    for (const LoopStep *candidate : loops)
      if (candidate->loop == loop)
        return candidate;
    return nullptr;
  }

  const Plan &plan;
  const Procedure &procedure;
  const std::map<std::string_view, const Weight *> &weights;
  std::vector<bool> used; ///< by a kernel step
  std::vector<const LoopStep *> loops;
  std::set<int32_t> loopIds;
  std::set<int32_t> moved; ///< loops with which some view's start moves
};

Verdict ProcedureForm::verifyBase(const Buffer &buffer, const Path &path) {
  bool isTensor = buffer.base == Base::Tensor;
  int64_t most = isTensor ? static_cast<int64_t>(plan.tensors.size()) - 1 : -1;
  if (buffer.tensor < (isTensor ? 0 : -1) || buffer.tensor > most)
    return violates(0, path.at("tensor"), makeText("from ", isTensor ? 0 : -1, " to ", most),
                    makeText(buffer.tensor));
  switch (buffer.base) {
  case Base::Tensor:
    if (buffer.name == kWorkspaceTensor)
      return violates(0, path.at("name"), "a tensor that is not the workspace of all kernels",
                      makeText("'", buffer.name, "'"));
    return verifyStandsFor(buffer, plan.tensors[buffer.tensor], 0, path);
  case Base::Weight: {
    auto weight = weights.find(buffer.name);
    if (weight == weights.end())
      return violates(0, path.at("name"), "the name of a weight", makeText("'", buffer.name, "'"));
    return verifyStandsFor(buffer, *weight->second, weight->second->offset, path);
  }
  case Base::Frame:
    if (buffer.offset + buffer.bytes > procedure.frameBytes)
      return violates(8, path.at("offset"),
                      makeText("an end of at most frame_bytes ", procedure.frameBytes),
                      makeText(buffer.offset + buffer.bytes));
    return {};
  case Base::Saved:
    if (plan.mode == Mode::Infer)
      return violates(0, path.at("base"), "tensor, frame or weight in a plan for inference",
                      baseName(buffer.base));
    return {};
  case Base::Gradient:
    return verifyGradient(buffer, path);
  case Base::State:
    return verifyState(buffer, path);
  }
  return {};
}

/// Dense, of the weight's shape and the statistic type.
Verdict ProcedureForm::verifyOfWeight(const Buffer &buffer, const Weight &weight, int64_t offset,
                                      const Path &path) {
  struct Entry {
    std::string name;
    DType dtype;
    std::vector<int64_t> shape;
    int64_t bytes;
  } entry{buffer.name, statisticType(plan.precision), weight.shape, 0};
  entry.bytes = byteSize(weight.shape, entry.dtype).value_or(0);
  return verifyStandsFor(buffer, entry, offset, path);
}

/// A state buffer is a weight's, in the optimizer's procedures alone.
Verdict ProcedureForm::verifyState(const Buffer &buffer, const Path &path) {
  if (procedure.phase != Phase::Optimizer)
    return violates(0, path.at("base"),
                    makeText("no state in a ", phaseName(procedure.phase), " procedure"),
                    baseName(buffer.base));
  std::optional<StateIndex> index = stateOfBuffer(plan, buffer.name);
  if (!index)
    return violates(0, path.at("name"), "a kind of state that a weight has, '.' and its name",
                    makeText("'", buffer.name, "'"));
  const Weight &weight = plan.weights[index->weight];
  return verifyOfWeight(buffer, weight, weight.states[index->state].offset, path);
}

/// A gradient buffer is a weight's, in the statistic type.
Verdict ProcedureForm::verifyGradient(const Buffer &buffer, const Path &path) {
  if (plan.gradientBlockBytes == 0 || procedure.phase == Phase::Forward)
    return violates(0, path.at("base"),
                    makeText("no gradient in ", plan.gradientBlockBytes == 0
                                                    ? "a plan without a backward program"
                                                    : "a forward procedure"),
                    baseName(buffer.base));
  std::optional<size_t> index = weightOfGradient(plan, buffer.name);
  if (!index)
    return violates(0, path.at("name"), makeText("'", kGradientPrefix, "' and a weight's name"),
                    makeText("'", buffer.name, "'"));
  const Weight &weight = plan.weights[*index];
  return verifyOfWeight(buffer, weight, weight.gradientOffset, path);
}

Verdict ProcedureForm::verifyDisjoint(Base base, const Path &path) {
  std::map<int64_t, size_t> byOffset;
  for (size_t i = 0; i < procedure.buffers.size(); ++i)
    if (procedure.buffers[i].base == base &&
        !byOffset.emplace(procedure.buffers[i].offset, i).second)
      return violates(9, path.at("buffers", i).at("offset"), "an offset of its own",
                      makeText(procedure.buffers[i].offset));
  int64_t end = 0;
  for (auto [offset, index] : byOffset) {
    if (offset < end)
      return violates(9, path.at("buffers", index).at("offset"), makeText("at least ", end),
                      makeText(offset));
    end = offset + procedure.buffers[index].bytes;
  }
  return {};
}

Verdict ProcedureForm::verifyFrameBuffer(int32_t buffer, const Path &path) {
  if (buffer < 0 || static_cast<size_t>(buffer) >= procedure.buffers.size())
    return violates(0, path, makeText("a buffer below ", procedure.buffers.size()),
                    makeText(buffer));
  if (procedure.buffers[buffer].base != Base::Frame)
    return violates(3, path, "a buffer of the frame",
                    makeText("'", procedure.buffers[buffer].name, "' of the ",
                             baseName(procedure.buffers[buffer].base)));
  return {};
}

Verdict ProcedureForm::verifySteps(const std::vector<Step> &steps, const Path &parent,
                                   std::string_view field) {
  for (size_t i = 0; i < steps.size(); ++i) {
    Path path = parent.at(field, i);
    if (const auto *kernel = std::get_if<KernelStep>(&steps[i].value))
      EVO_VERIFY(verifyKernel(*kernel, path));
    else if (const auto *alloc = std::get_if<AllocStep>(&steps[i].value))
      EVO_VERIFY(verifyFrameBuffer(alloc->buffer, path.at("alloc")));
    else if (const auto *free = std::get_if<FreeStep>(&steps[i].value))
      EVO_VERIFY(verifyFrameBuffer(free->buffer, path.at("free")));
    else if (const auto *loop = std::get_if<LoopStep>(&steps[i].value))
      EVO_VERIFY(verifyLoop(*loop, path));
  }
  return {};
}

Verdict ProcedureForm::verifyLoop(const LoopStep &loop, const Path &path) {
  if (loops.size() >= kMaxLoopDepth)
    return violates(0, path, makeText("at most ", kMaxLoopDepth, " nested loops"), "more");
  if (loop.loop < 0 || !loopIds.insert(loop.loop).second)
    return violates(0, path.at("loop"), "an id of its own, at least 0", makeText(loop.loop));
  if (loop.extent < 1 || loop.extent > kMaxEnd)
    return violates(2, path.at("extent"), makeText("from 1 to ", kMaxEnd), makeText(loop.extent));
  if (loop.size < 1 || loop.size > loop.extent)
    return violates(2, path.at("size"), makeText("from 1 to the extent ", loop.extent),
                    makeText(loop.size));
  loops.push_back(&loop);
  EVO_VERIFY(verifySteps(loop.body, path, "body"));
  loops.pop_back();
  if (!moved.count(loop.loop))
    return violates(2, path.at("body"), makeText("a view that moves with loop ", loop.loop),
                    "none");
  return {};
}

Verdict ProcedureForm::verifyAttributes(const KernelStep &step, const Path &path) {
  // Numbers are used in the type of statistics, where they must be neither 0 nor infinite.
  bool isDouble = statisticType(plan.precision) == DType::F64;
  double least = isDouble ? std::numeric_limits<double>::min() : std::numeric_limits<float>::min();
  double most = isDouble ? std::numeric_limits<double>::max() : std::numeric_limits<float>::max();
  for (KernelAttribute attribute : kernelInfo(step.kernel).attributes) {
    const AttributeInfo &entry = attributeInfo(attribute);
    bool legal = true;
    if (entry.integer)
      legal = isInRange(entry.range, step.attributes.*entry.integer);
    if (entry.real) {
      double value = step.attributes.*entry.real, magnitude = std::abs(value);
      legal = isInRange(entry.range, value) && magnitude <= most &&
              (entry.range != AttributeRange::Positive || magnitude >= least);
    }
    if (!legal)
      return violates(0, path.at(entry.name), expectedOf(entry, statisticType(plan.precision)),
                      "another");
  }
  return {};
}

Verdict ProcedureForm::verifyKernel(const KernelStep &step, const Path &path) {
  const KernelInfo &info = kernelInfo(step.kernel);
  Path operandsPath = path.at("operands");
  if (step.operands.size() != info.operands.size())
    return violates(0, operandsPath, makeText(info.operands.size(), " operands"),
                    makeText(step.operands.size()));
  if (step.costNs < 0)
    return violates(18, path.at("cost_ns"), "at least 0", makeText(step.costNs));
  EVO_VERIFY(verifyAttributes(step, path));
  for (size_t i = 0; i < info.operands.size(); ++i) {
    const OperandInfo &operand = info.operands[i];
    Path operandPath = operandsPath.at(operand.name);
    if (!step.operands[i]) {
      if (!operand.isOptional())
        return violates(0, operandPath, "a view", "none");
      continue;
    }
    EVO_VERIFY(verifyView(*step.operands[i], operandPath));
    EVO_VERIFY(verifyType(operand, procedure.buffers[step.operands[i]->buffer].dtype, operandPath));
    used[step.operands[i]->buffer] = true;
  }
  return verifyShapes(step, path);
}

Verdict ProcedureForm::verifyType(const OperandInfo &operand, DType got, const Path &path) {
  DType storage = storageType(plan.precision), statistic = statisticType(plan.precision);
  bool mayStore = operand.type != OperandType::Statistic;
  bool mayCount = operand.type != OperandType::Storage;
  if ((mayStore && got == storage) || (mayCount && got == statistic))
    return {};
  std::string expected(dtypeName(mayStore ? storage : statistic));
  if (mayStore && mayCount && storage != statistic)
    expected.append(" or ").append(dtypeName(statistic));
  return violates(0, path, makeText("a buffer of ", expected), dtypeName(got));
}

Verdict ProcedureForm::verifyView(const View &view, const Path &path) {
  if (view.buffer < 0 || static_cast<size_t>(view.buffer) >= procedure.buffers.size())
    return violates(0, path.at("buffer"), makeText("a buffer below ", procedure.buffers.size()),
                    makeText(view.buffer));
  size_t rank = procedure.buffers[view.buffer].shape.size();
  if (view.start.size() != rank || view.extent.size() != rank || view.order.size() != rank)
    return violates(
        0, path, makeText(rank, " entries in start, extent and order"),
        makeText(view.start.size(), ", ", view.extent.size(), " and ", view.order.size()));
  std::set<int32_t> axes;
  for (size_t axis = 0; axis < rank; ++axis)
    if (view.order[axis] < 0 || static_cast<size_t>(view.order[axis]) >= rank ||
        !axes.insert(view.order[axis]).second)
      return violates(0, path.at("order", axis), makeText("each axis below ", rank, " once"),
                      makeText(view.order[axis]));
  if (view.version < 0)
    return violates(0, path.at("version"), "at least 0", makeText(view.version));
  std::set<int32_t> moving;
  for (size_t axis = 0; axis < rank; ++axis) {
    EVO_VERIFY(verifyAxis(view, axis, path));
    moved.insert(view.start[axis].loop);
    int32_t loop = view.extent[axis].loop;
    if (loop >= 0 && !moving.insert(loop).second)
      return violates(2, path.at("extent", axis), makeText("loop ", loop, " on one axis"),
                      "on two");
  }
  return {};
}

Verdict ProcedureForm::verifyAxis(const View &view, size_t axis, const Path &path) {
  const Start &start = view.start[axis];
  const Extent &extent = view.extent[axis];
  int64_t size = procedure.buffers[view.buffer].shape[axis];
  const LoopStep *loop = enclosing(extent.loop);
  if (start.loop < -1 || (start.loop >= 0 && !enclosing(start.loop)))
    return violates(0, path.at("start", axis), "a loop around the step", makeText(start.loop));
  if (extent.loop < -1 || (extent.loop >= 0 && !loop))
    return violates(0, path.at("extent", axis), "a loop around the step", makeText(extent.loop));
  if (start.loop >= 0 && start.loop != extent.loop)
    return violates(2, path.at("extent", axis),
                    makeText("the length of a slice of loop ", start.loop),
                    extent.loop < 0 ? "a constant" : makeText("one of loop ", extent.loop));
  if (loop && extent.value != loop->size)
    return violates(2, path.at("extent", axis), makeText("the slice size ", loop->size),
                    makeText(extent.value));
  if (start.loop >= 0 && (start.value != 0 || size != loop->extent))
    return violates(2, path.at("start", axis),
                    makeText("slices of all ", size, " elements of the axis"),
                    makeText("of ", loop->extent, " from ", start.value));
  if (start.value < 0 || start.value >= size)
    return violates(0, path.at("start", axis), makeText("from 0 to ", size - 1),
                    makeText(start.value));
  if (extent.value < 1 || extent.value > size - start.value)
    return violates(0, path.at("extent", axis), makeText("from 1 to ", size - start.value),
                    makeText(extent.value));
  return {};
}

/// The kernel's own shape rules, for every mix of whole and shorter last slices of the loops
/// around.
Verdict ProcedureForm::verifyShapes(const KernelStep &step, const Path &path) {
  for (size_t mix = 0; mix < size_t{1} << loops.size(); ++mix) {
    std::map<int32_t, int64_t> length;
    bool exists = true;
    for (size_t i = 0; i < loops.size(); ++i) {
      bool ragged = mix >> i & 1;
      length[loops[i]->loop] = ragged ? loops[i]->extent % loops[i]->size : loops[i]->size;
      exists = exists && length[loops[i]->loop] > 0;
    }
    if (!exists)
      continue;
    std::vector<std::optional<std::vector<int64_t>>> shapes;
    for (const std::optional<View> &view : step.operands) {
      auto &shape = shapes.emplace_back();
      if (!view)
        continue;
      shape.emplace();
      for (int32_t axis : view->order) {
        const Extent &extent = view->extent[axis];
        shape->push_back(extent.loop < 0 ? extent.value : length[extent.loop]);
      }
    }
    if (Status status = checkKernelShapes(step.kernel, step.attributes, shapes); !status)
      return Violation{0, path.text(),
                       makeText("invariant 0 (", invariantName(0), "): ", status.message(),
                                mix ? " in a shorter last slice" : "")};
  }
  return {};
}

} // namespace

Verdict verifyProcedureForm(const Plan &plan) {
  Path root;
  std::map<std::string_view, const Weight *> weights;
  for (const Weight &weight : plan.weights)
    weights[weight.name] = &weight;
  std::set<std::string_view> names;
  for (size_t i = 0; i < plan.procedures.size(); ++i) {
    const Procedure &procedure = plan.procedures[i];
    Path path = root.at("procedures", i);
    if (procedure.name.empty() || !names.insert(procedure.name).second)
      return violates(0, path.at("name"), "a name of its own", makeText("'", procedure.name, "'"));
    EVO_VERIFY(ProcedureForm(plan, procedure, weights).verify(path));
  }
  return {};
}

} // namespace evo::plan
