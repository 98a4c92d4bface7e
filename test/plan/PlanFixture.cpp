//===- PlanFixture.cpp ------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "test/plan/PlanFixture.h"

#include "runtime/plan/Strides.h"

#include <cstdlib>

namespace evo::plan::test {

namespace {

using Operands = std::vector<std::pair<std::string, View>>;
using Shape = std::vector<int64_t>;

int64_t product(const Shape &shape) {
  int64_t count = 1;
  for (int64_t size : shape)
    count *= size;
  return count;
}

/// A procedure under construction: buffers are named as they are needed.
class Builder {
public:
  Builder(Plan &plan, const std::string &module) : plan(plan) {
    procedure.name = module + ".0";
    procedure.module = module;
    procedure.choice = "plain";
  }

  View tensor(int32_t index, int32_t version) {
    const Tensor &tensor = plan.tensors[index];
    return whole(add(tensor.name, Base::Tensor, tensor.shape, 0, index), version);
  }
  View weight(const std::string &name) {
    for (const Weight &weight : plan.weights)
      if (weight.name == name)
        return whole(add(name, Base::Weight, weight.shape, weight.offset), 0);
    std::abort();
  }
  View frame(const std::string &name, int32_t version) {
    return whole(bufferIndex(procedure, name), version);
  }

  View saved(const std::string &name, const Shape &shape, int64_t offset, int32_t version) {
    return whole(add(name, Base::Saved, shape, offset), version);
  }

  /// Of the weight of that name.
  View gradient(const std::string &name) {
    for (const Weight &weight : plan.weights)
      if (weight.name == name)
        return whole(add(std::string(kGradientPrefix) + name, Base::Gradient, weight.shape,
                         weight.gradientOffset),
                     1);
    std::abort();
  }

  /// Of the weight of that name.
  View state(const std::string &name, int32_t version) {
    for (const Weight &weight : plan.weights)
      if (weight.name == name)
        return whole(add("momentum." + name, Base::State, weight.shape, weight.states[0].offset),
                     version);
    std::abort();
  }

  AllocStep alloc(const std::string &name, const Shape &shape, int64_t offset) {
    return {add(name, Base::Frame, shape, offset)};
  }
  FreeStep free(const std::string &name) { return {bufferIndex(procedure, name)}; }

  KernelStep step(Kernel kernel, const KernelAttributes &attributes, const Operands &operands) {
    const KernelInfo &info = kernelInfo(kernel);
    KernelStep step;
    step.kernel = kernel;
    step.attributes = attributes;
    step.operands.resize(info.operands.size());
    for (const auto &[name, view] : operands)
      step.operands[info.operandIndex(name)] = view;
    step.costNs = 1000 * (1 + stepCount++);
    step.location = procedure.module + "/" + std::string(info.mnemonic);
    procedure.costNs += step.costNs;
    return step;
  }

  Procedure procedure;

private:
  int32_t add(const std::string &name, Base base, const Shape &shape, int64_t offset,
              int32_t tensor = -1) {
    for (size_t i = 0; i < procedure.buffers.size(); ++i)
      if (procedure.buffers[i].name == name)
        return static_cast<int32_t>(i);
    Buffer buffer;
    buffer.name = name;
    buffer.base = base;
    buffer.tensor = tensor;
    buffer.shape = shape;
    buffer.strides.assign(shape.size(), 1);
    for (size_t axis = shape.size() - 1; axis-- > 0;)
      buffer.strides[axis] = buffer.strides[axis + 1] * shape[axis + 1];
    buffer.offset = offset;
    buffer.bytes = 4 * product(shape);
    procedure.buffers.push_back(buffer);
    return static_cast<int32_t>(procedure.buffers.size() - 1);
  }

  View whole(int32_t index, int32_t version) {
    View view;
    view.buffer = index;
    view.version = version;
    const Shape &shape = procedure.buffers[index].shape;
    for (size_t axis = 0; axis < shape.size(); ++axis) {
      view.start.push_back({0, -1});
      view.extent.push_back({shape[axis], -1});
      view.order.push_back(static_cast<int32_t>(axis));
    }
    return view;
  }

  Plan &plan;
  int stepCount = 0;
};

/// The view on the slices of loop 0 along `axis` of the buffer.
View sliced(View view, size_t axis, int64_t size) {
  view.start[axis] = {0, 0};
  view.extent[axis] = {size, 0};
  return view;
}
/// The view of a buffer that holds one slice.
View partial(View view, size_t axis, int64_t size) {
  view.extent[axis] = {size, 0};
  return view;
}
View columns(View view, int64_t first, int64_t count) {
  view.start.back() = {first, -1};
  view.extent.back() = {count, -1};
  return view;
}
View ordered(View view, std::vector<int32_t> order) {
  view.order = std::move(order);
  return view;
}

KernelAttributes eps(double value) {
  KernelAttributes attributes;
  attributes.eps = value;
  return attributes;
}
KernelAttributes relu() {
  KernelAttributes attributes;
  attributes.activation = Activation::Relu;
  return attributes;
}

void addTensor(Plan &plan, const std::string &name, const Shape &shape) {
  int64_t offset =
      plan.tensors.empty() ? 0 : alignTo(plan.tensors.back().offset + plan.tensors.back().bytes);
  plan.tensors.push_back({name, DType::F32, shape, offset, 4 * product(shape)});
}

void addWeight(Plan &plan, const std::string &name, const Shape &shape,
               std::vector<WeightPart> parts = {}) {
  if (parts.empty())
    parts.push_back({name, 0, shape[0]});
  Weight weight;
  weight.name = name;
  weight.shape = shape;
  weight.offset = plan.weightBlockBytes;
  weight.bytes = 4 * product(shape);
  weight.parts = std::move(parts);
  plan.weights.push_back(std::move(weight));
  plan.weightBlockBytes += alignTo(plan.weights.back().bytes);
}

void addWeights(Plan &plan) {
  addWeight(plan, "row.layer_norm_m.weight", {8});
  addWeight(plan, "row.layer_norm_m.bias", {8});
  addWeight(plan, "row.layer_norm_z.weight", {4});
  addWeight(plan, "row.layer_norm_z.bias", {4});
  addWeight(plan, "row.linear_z.weight", {2, 4});
  addWeight(plan, "row.linear_qkvg.weight", {32, 8},
            {{"row.linear_q.weight", 0, 8},
             {"row.linear_k.weight", 8, 8},
             {"row.linear_v.weight", 16, 8},
             {"row.linear_g.weight", 24, 8}});
  addWeight(plan, "row.linear_g.bias", {8});
  addWeight(plan, "row.linear_o.weight", {8, 8});
  addWeight(plan, "row.linear_o.bias", {8});
  addWeight(plan, "transition.layer_norm.weight", {8});
  addWeight(plan, "transition.layer_norm.bias", {8});
  addWeight(plan, "transition.linear_1.weight", {16, 8});
  addWeight(plan, "transition.linear_1.bias", {16});
  addWeight(plan, "transition.linear_2.weight", {8, 16});
  addWeight(plan, "transition.linear_2.bias", {8});
  addWeight(plan, "pair.layer_norm.weight", {4});
  addWeight(plan, "pair.layer_norm.bias", {4});
  addWeight(plan, "pair.linear_1.weight", {16, 4});
  addWeight(plan, "pair.linear_1.bias", {16});
  addWeight(plan, "pair.linear_2.weight", {4, 16});
  addWeight(plan, "pair.linear_2.bias", {4});
}

Procedure rowProcedure(Plan &plan) {
  Builder b(plan, "msa_att_row");
  std::vector<Step> &steps = b.procedure.steps;
  View m0 = sliced(b.tensor(kM, 0), 0, 2), m1 = m0;
  m1.version = 1;
  steps.push_back({b.alloc("z_norm", {7, 7, 4}, 0)});
  steps.push_back({b.step(Kernel::LayerNorm, eps(1e-5),
                          {{"x", b.tensor(kZ, 0)},
                           {"weight", b.weight("row.layer_norm_z.weight")},
                           {"bias", b.weight("row.layer_norm_z.bias")},
                           {"y", b.frame("z_norm", 1)}})});
  steps.push_back({b.alloc("pair_bias", {7, 7, 2}, 1024)});
  steps.push_back({b.step(Kernel::Linear, {},
                          {{"x", b.frame("z_norm", 1)},
                           {"weight", b.weight("row.linear_z.weight")},
                           {"y", b.frame("pair_bias", 1)}})});
  steps.push_back({b.free("z_norm")});

  LoopStep loop{0, "s", 5, 2, {}};
  loop.body.push_back({b.alloc("norm", {2, 7, 8}, 0)});
  loop.body.push_back({b.step(Kernel::LayerNorm, eps(1e-5),
                              {{"x", m0},
                               {"weight", b.weight("row.layer_norm_m.weight")},
                               {"bias", b.weight("row.layer_norm_m.bias")},
                               {"y", partial(b.frame("norm", 1), 0, 2)}})});
  loop.body.push_back({b.alloc("qkvg", {2, 7, 32}, 1536)});
  View qkvg = partial(b.frame("qkvg", 1), 0, 2);
  loop.body.push_back({b.step(Kernel::Linear, {},
                              {{"x", partial(b.frame("norm", 1), 0, 2)},
                               {"weight", b.weight("row.linear_qkvg.weight")},
                               {"y", qkvg}})});
  loop.body.push_back({b.free("norm")});
  loop.body.push_back({b.alloc("o", {2, 7, 8}, 0)});
  KernelAttributes attention;
  attention.heads = 2;
  attention.scale = 0.5;
  attention.inf = 1e9;
  loop.body.push_back({b.step(Kernel::Attention, attention,
                              {{"query", columns(qkvg, 0, 8)},
                               {"key", columns(qkvg, 8, 8)},
                               {"value", columns(qkvg, 16, 8)},
                               {"pair_bias", ordered(b.frame("pair_bias", 1), {2, 0, 1})},
                               {"mask", sliced(b.tensor(kMask, 0), 0, 2)},
                               {"o", partial(b.frame("o", 1), 0, 2)}})});
  View gate = columns(qkvg, 24, 8), gated = gate;
  gated.version = 2;
  loop.body.push_back({b.step(Kernel::Gate, {},
                              {{"o", partial(b.frame("o", 1), 0, 2)},
                               {"gate", gate},
                               {"gate_bias", b.weight("row.linear_g.bias")},
                               {"y", gated}})});
  loop.body.push_back({b.free("o")});
  loop.body.push_back({b.step(Kernel::Linear, {},
                              {{"x", gated},
                               {"weight", b.weight("row.linear_o.weight")},
                               {"bias", b.weight("row.linear_o.bias")},
                               {"residual", m0},
                               {"y", m1}})});
  loop.body.push_back({b.free("qkvg")});
  steps.push_back({std::move(loop)});
  steps.push_back({b.free("pair_bias")});
  b.procedure.frameBytes = 3584; // qkvg: 1536 + 2 * 7 * 32 * 4 = 3328, aligned
  return b.procedure;
}

Procedure transitionProcedure(Plan &plan) {
  Builder b(plan, "msa_transition");
  View m0 = ordered(sliced(b.tensor(kM, 0), 1, 3), {1, 0, 2}), m1 = m0;
  m1.version = 1;
  LoopStep loop{0, "r", 7, 3, {}};
  loop.body.push_back({b.alloc("norm", {3, 5, 8}, 0)});
  loop.body.push_back({b.step(Kernel::LayerNorm, eps(1e-5),
                              {{"x", m0},
                               {"weight", b.weight("transition.layer_norm.weight")},
                               {"bias", b.weight("transition.layer_norm.bias")},
                               {"y", partial(b.frame("norm", 1), 0, 3)}})});
  loop.body.push_back({b.alloc("hidden", {3, 5, 16}, 512)});
  loop.body.push_back({b.step(Kernel::Linear, relu(),
                              {{"x", partial(b.frame("norm", 1), 0, 3)},
                               {"weight", b.weight("transition.linear_1.weight")},
                               {"bias", b.weight("transition.linear_1.bias")},
                               {"y", partial(b.frame("hidden", 1), 0, 3)}})});
  loop.body.push_back({b.free("norm")});
  loop.body.push_back({b.step(Kernel::Linear, {},
                              {{"x", partial(b.frame("hidden", 1), 0, 3)},
                               {"weight", b.weight("transition.linear_2.weight")},
                               {"bias", b.weight("transition.linear_2.bias")},
                               {"row_scale", ordered(sliced(b.tensor(kMask, 0), 1, 3), {1, 0})},
                               {"residual", m0},
                               {"y", m1}})});
  loop.body.push_back({b.free("hidden")});
  b.procedure.steps.push_back({std::move(loop)});
  b.procedure.frameBytes = 1536; // hidden: 512 + 3 * 5 * 16 * 4 = 1472, aligned
  return b.procedure;
}

Procedure pairProcedure(Plan &plan) {
  Builder b(plan, "pair_transition");
  std::vector<Step> &steps = b.procedure.steps;
  steps.push_back({b.alloc("norm", {7, 7, 4}, 0)});
  steps.push_back({b.step(Kernel::LayerNorm, eps(1e-5),
                          {{"x", b.tensor(kZ, 0)},
                           {"weight", b.weight("pair.layer_norm.weight")},
                           {"bias", b.weight("pair.layer_norm.bias")},
                           {"y", b.frame("norm", 1)}})});
  steps.push_back({b.alloc("sent", {7, 7, 4}, 1024)});
  KernelStep send =
      b.step(Kernel::Copy, {}, {{"x", b.frame("norm", 1)}, {"y", b.frame("sent", 1)}});
  send.lane = Lane::Communication;
  steps.push_back({send});
  steps.push_back({b.alloc("hidden", {7, 7, 16}, 2048)});
  steps.push_back({b.step(Kernel::Linear, relu(),
                          {{"x", b.frame("norm", 1)},
                           {"weight", b.weight("pair.linear_1.weight")},
                           {"bias", b.weight("pair.linear_1.bias")},
                           {"y", b.frame("hidden", 1)}})});
  KernelStep update = b.step(Kernel::Linear, {},
                             {{"x", b.frame("hidden", 1)},
                              {"weight", b.weight("pair.linear_2.weight")},
                              {"bias", b.weight("pair.linear_2.bias")},
                              {"gate", b.frame("sent", 1)},
                              {"residual", b.tensor(kZ, 0)},
                              {"y", b.tensor(kZ, 1)}});
  update.waits = {1};
  steps.push_back({update});
  steps.push_back({b.free("norm")});
  steps.push_back({b.free("sent")});
  steps.push_back({b.free("hidden")});
  b.procedure.frameBytes = 5632; // hidden: 2048 + 7 * 7 * 16 * 4 = 5184, aligned
  return b.procedure;
}

void addSummary(Plan &plan) {
  plan.arenaBytes = 3072 + 5632; // m 1536, z 1024, mask 512; the tallest frame
  Summary &summary = plan.summary;
  summary.policy = "chunk";
  summary.budgetBytes = 1 << 20;
  summary.arenaBytes = plan.arenaBytes;
  summary.staticBytes = 4 * plan.weightBlockBytes;
  summary.libraryBytes = 4096;
  summary.predictedPeakBytes = summary.arenaBytes + summary.staticBytes + summary.libraryBytes;
  // msa_att_row 7 steps, msa_transition 3, pair_transition 4: (28 + 6 + 10) us for each of 4
  // blocks.
  summary.predictedMs = 0.176;
}

} // namespace

Call callOf(int32_t procedure, int64_t frameOffset, int64_t savedOffset, int64_t savedStride) {
  Call call;
  call.procedure = procedure;
  call.frameOffset = frameOffset;
  call.savedOffset = savedOffset;
  call.savedStride = savedStride;
  return call;
}

KernelStep &kernelStep(Procedure &procedure, int id) {
  auto find = [&](auto &&self, std::vector<Step> &steps) -> KernelStep * {
    for (Step &step : steps) {
      if (auto *kernel = std::get_if<KernelStep>(&step.value); kernel && id-- == 0)
        return kernel;
      if (auto *loop = std::get_if<LoopStep>(&step.value))
        if (KernelStep *found = self(self, loop->body))
          return found;
    }
    return nullptr;
  };
  KernelStep *found = find(find, procedure.steps);
  return found ? *found : (std::abort(), *found);
}

LoopStep &firstLoop(Procedure &procedure) {
  for (Step &step : procedure.steps)
    if (auto *loop = std::get_if<LoopStep>(&step.value))
      return *loop;
  std::abort();
}

View &operand(KernelStep &step, const std::string &name) {
  int index = kernelInfo(step.kernel).operandIndex(name);
  return step.operands.at(static_cast<size_t>(index)).value();
}

int32_t bufferIndex(const Procedure &procedure, const std::string &name) {
  for (size_t i = 0; i < procedure.buffers.size(); ++i)
    if (procedure.buffers[i].name == name)
      return static_cast<int32_t>(i);
  std::abort();
}

Plan fixturePlan() {
  Plan plan;
  plan.model = {"small", "evoformer", 4, {{"s", 5}, {"r", 7}}, {{"c_m", 8}, {"c_z", 4}}};
  plan.profile = "analytic-h100";
  plan.backend = "cuda";
  addTensor(plan, "m", {5, 7, 8});
  addTensor(plan, "z", {7, 7, 4});
  addTensor(plan, "msa_mask", {5, 7});
  addWeights(plan);
  plan.procedures = {rowProcedure(plan), transitionProcedure(plan), pairProcedure(plan)};
  std::vector<Call> calls = {callOf(kRow, 3072), callOf(kTransition, 3072), callOf(kPair, 3072)};
  plan.programs.push_back(
      {Phase::Forward, {"m", "z", "msa_mask"}, {"m", "z"}, {{0, 3, calls}, {3, 1, calls}}});
  plan.ranks.push_back({0, {{"r", {0, 7}}, {"s", {0, 5}}}});
  plan.schedule = {"stack", "evoformer", "", 0, 4, {}};
  for (const Procedure &procedure : plan.procedures)
    plan.schedule.children.push_back({"module", procedure.module, "plain", 0, 0, {}});
  addSummary(plan);
  return plan;
}

Plan trainingPlan() {
  Plan plan;
  plan.model = {"kept", "evoformer", 3, {{"s", 4}, {"r", 4}}, {}};
  plan.mode = Mode::Train;
  plan.profile = "analytic-h100";
  plan.backend = "cuda";
  addTensor(plan, "m", {4, 4});
  addTensor(plan, "dm", {4, 4});

  for (const char *module : {"first", "second"}) {
    Builder forward(plan, module);
    View kept = forward.saved("saved.m", {4, 4}, 0, 1);
    forward.procedure.steps.push_back(
        {forward.step(Kernel::Copy, {}, {{"x", forward.tensor(0, 0)}, {"y", kept}})});
    forward.procedure.steps.push_back({forward.step(
        Kernel::Softmax, {}, {{"x", forward.tensor(0, 0)}, {"y", forward.tensor(0, 1)}})});

    Builder backward(plan, module);
    backward.procedure.name += ".backward";
    backward.procedure.phase = Phase::Backward;
    backward.procedure.frameBytes = 512;
    std::vector<Step> &steps = backward.procedure.steps;
    View recalled = backward.saved("saved.m", {4, 4}, 0, 0);
    steps.push_back({backward.alloc("scratch", {4, 4}, 0)});
    steps.push_back({backward.step(Kernel::Softmax, {},
                                   {{"x", recalled}, {"y", backward.frame("scratch", 1)}})});
    steps.push_back({backward.step(Kernel::SoftmaxGrad, {},
                                   {{"y", backward.frame("scratch", 1)},
                                    {"dy", backward.tensor(1, 0)},
                                    {"dx", backward.tensor(1, 1)}})});
    steps.push_back({backward.free("scratch")});
    plan.procedures.push_back(forward.procedure);
    plan.procedures.push_back(backward.procedure);
  }

  // m 512, dm 512, then for each block two kept tensors of 512, then the frame.
  plan.programs.push_back({Phase::Forward,
                           {"m"},
                           {"m"},
                           {{0, 3, {callOf(0, 4096, 1024, 1024), callOf(2, 4096, 1536, 1024)}}}});
  plan.programs.push_back({Phase::Backward,
                           {"dm"},
                           {"dm"},
                           {{0, 3, {callOf(3, 4096, 1536, 1024), callOf(1, 4096, 1024, 1024)}}}});
  plan.schedule = {"stack", "evoformer", "", 0, 3, {}};
  plan.arenaBytes = 4608;
  Summary &summary = plan.summary;
  summary.policy = "direct";
  summary.budgetBytes = 8192;
  summary.arenaBytes = 4608;
  summary.predictedPeakBytes = 4608;
  summary.keptBytes = 6 * 512;
  summary.predictedMs = 0.036; // 3 us a call, 2 calls in each direction, 3 blocks
  return plan;
}

Plan gradientPlan() {
  Plan plan;
  plan.model = {"gradients", "evoformer", 3, {{"s", 4}, {"r", 4}}, {}};
  plan.mode = Mode::Train;
  plan.profile = "analytic-h100";
  plan.backend = "cuda";
  addTensor(plan, "m", {4, 4});
  addTensor(plan, "dm", {4, 4});
  addWeight(plan, "weight", {4, 4});
  addWeight(plan, "bias", {4});
  plan.weights[1].gradientOffset = 512;
  plan.gradientBlockBytes = 1024;

  Builder forward(plan, "linear");
  View kept = forward.saved("saved.m", {4, 4}, 0, 1);
  forward.procedure.steps.push_back(
      {forward.step(Kernel::Copy, {}, {{"x", forward.tensor(0, 0)}, {"y", kept}})});
  forward.procedure.steps.push_back({forward.step(Kernel::Linear, {},
                                                  {{"x", kept},
                                                   {"weight", forward.weight("weight")},
                                                   {"bias", forward.weight("bias")},
                                                   {"residual", forward.tensor(0, 0)},
                                                   {"y", forward.tensor(0, 1)}})});

  Builder backward(plan, "linear");
  backward.procedure.name = "linear.backward";
  backward.procedure.phase = Phase::Backward;
  backward.procedure.frameBytes = 512;
  std::vector<Step> &steps = backward.procedure.steps;
  View dm = backward.tensor(1, 0);
  steps.push_back({backward.step(Kernel::WeightGrad, {},
                                 {{"du", dm},
                                  {"x", backward.saved("saved.m", {4, 4}, 0, 0)},
                                  {"dweight", backward.gradient("weight")}})});
  steps.push_back(
      {backward.step(Kernel::BiasGrad, {}, {{"du", dm}, {"dbias", backward.gradient("bias")}})});
  steps.push_back({backward.alloc("dy", {4, 4}, 0)});
  steps.push_back({backward.step(Kernel::Copy, {}, {{"x", dm}, {"y", backward.frame("dy", 1)}})});
  steps.push_back({backward.step(Kernel::Linear, {},
                                 {{"x", backward.frame("dy", 1)},
                                  {"weight", ordered(backward.weight("weight"), {1, 0})},
                                  {"residual", dm},
                                  {"y", backward.tensor(1, 1)}})});
  steps.push_back({backward.free("dy")});
  plan.procedures = {forward.procedure, backward.procedure};

  // m 512, dm 512, for each block a kept tensor of 512, then the frame of 512.
  plan.programs.push_back({Phase::Forward, {"m"}, {"m"}, {{0, 3, {callOf(0, 2560, 1024, 512)}}}});
  plan.programs.push_back(
      {Phase::Backward, {"dm"}, {"dm"}, {{0, 3, {callOf(1, 2560, 1024, 512)}}}});
  plan.schedule = {"stack", "evoformer", "", 0, 3, {}};
  plan.arenaBytes = 3072;
  Summary &summary = plan.summary;
  summary.policy = "small";
  summary.budgetBytes = 16384;
  summary.arenaBytes = 3072;
  summary.staticBytes = 3 * (1024 + 1024); // weights and gradients of three blocks
  summary.predictedPeakBytes = 3072 + 6144;
  summary.keptBytes = 3 * 512;
  summary.idle = {512, 512, 0}; // saved.m is read for the last time before dy gets its memory
  summary.predictedMs = 0.039;  // 3 us forward, 10 us backward, 3 blocks
  return plan;
}

namespace {

View at(View view, int32_t version) {
  view.version = version;
  return view;
}

void addOptimizerStep(Builder &builder, const std::string &weight) {
  KernelAttributes sgd;
  sgd.learningRate = 0.125;
  sgd.momentum = 0.5;
  View before = builder.weight(weight);
  builder.procedure.steps.push_back({builder.step(Kernel::SgdStep, sgd,
                                                  {{"gradient", at(builder.gradient(weight), 0)},
                                                   {"scalars", builder.tensor(2, 0)},
                                                   {"velocity", builder.state(weight, 0)},
                                                   {"weight", before},
                                                   {"new_weight", at(before, 1)},
                                                   {"new_velocity", builder.state(weight, 1)}})});
}

} // namespace

Plan optimizerPlan() {
  Plan plan = gradientPlan();
  plan.tensors.push_back({"optimizer", DType::F32, {4}, 3072, 16}); // behind the frame
  plan.optimizer = OptimizerInfo{OptimizerKind::Sgd, 1024};
  plan.weights[0].states = {{StateKind::Momentum, 0}};
  plan.weights[1].states = {{StateKind::Momentum, 512}};
  plan.stateBlockBytes = 1024;

  Builder count(plan, "count"), step(plan, "step"), advance(plan, "advance");
  for (Builder *builder : {&count, &step, &advance})
    builder->procedure.phase = Phase::Optimizer;
  int32_t version = 0;
  for (const char *weight : {"weight", "bias"}) {
    count.procedure.steps.push_back({count.step(Kernel::CountNonfinite, {},
                                                {{"x", at(count.gradient(weight), 0)},
                                                 {"scalars", count.tensor(2, version)},
                                                 {"y", count.tensor(2, version + 1)}})});
    ++version;
    addOptimizerStep(step, weight);
  }
  KernelAttributes growth;
  growth.growthInterval = 2000;
  advance.procedure.steps.push_back(
      {advance.step(Kernel::AdvanceOptimizer, growth,
                    {{"scalars", advance.tensor(2, 0)}, {"y", advance.tensor(2, 1)}})});
  for (Builder *builder : {&count, &step, &advance})
    plan.procedures.push_back(builder->procedure);
  plan.programs.push_back({Phase::Optimizer,
                           {"optimizer"},
                           {"optimizer"},
                           {{0, 3, {{2, 0, 0, 0, 0, {}}}},
                            {0, 3, {{3, 0, 0, 0, 0, {}}}},
                            {0, 1, {{4, 0, 0, 0, 0, {}}}}}});
  plan.arenaBytes = 3584;
  Summary &summary = plan.summary;
  summary.arenaBytes = 3584;
  summary.staticBytes = 3 * (1024 + 1024 + 1024); // weights, gradients and momentum
  summary.predictedPeakBytes = 3584 + 9216;
  summary.predictedMs = 0.058; // and 2 * 3 us in each of 3 blocks, and 1 us
  return plan;
}

void addMask(Procedure &procedure, double rate, int64_t module) {
  auto index = static_cast<int32_t>(procedure.buffers.size());
  procedure.buffers.push_back(
      {"mask", Base::Frame, -1, DType::F32, {1, 4}, {4, 1}, procedure.frameBytes, 16});
  procedure.frameBytes += 512;
  KernelStep step;
  step.kernel = Kernel::DropoutMask;
  step.attributes.rate = rate;
  step.attributes.module = module;
  step.operands = {wholeView(procedure.buffers.back(), index, 1)};
  const Step added[] = {{AllocStep{index}}, {step}, {FreeStep{index}}};
  procedure.steps.insert(procedure.steps.begin(), std::begin(added), std::end(added));
}

} // namespace evo::plan::test
