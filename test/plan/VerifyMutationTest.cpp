//===- VerifyMutationTest.cpp - legal plans with one thing broken -*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "runtime/plan/Strides.h"
#include "runtime/plan/Verify.h"
#include "test/plan/PlanFixture.h"

#include <cmath>
#include <gtest/gtest.h>

using namespace evo;
using namespace evo::plan;
using namespace evo::plan::test;

namespace {

struct Mutation {
  const char *name;
  int invariant;
  std::string path;
  void (*apply)(Plan &);
};
void PrintTo(const Mutation &mutation, std::ostream *stream) { *stream << mutation.name; }

class VerifyMutation : public testing::TestWithParam<Mutation> {
protected:
  void expectRejected(Plan plan) {
    GetParam().apply(plan);
    auto violation = verifyPlan(plan);
    ASSERT_TRUE(violation.has_value()) << "the mutant is accepted";
    EXPECT_EQ(violation->invariant, GetParam().invariant) << violation->message;
    EXPECT_EQ(violation->path, GetParam().path) << violation->message;
    EXPECT_NE(violation->message.find("expected "), std::string::npos);
    EXPECT_NE(violation->message.find(", got "), std::string::npos);
  }
};
class OfInference : public VerifyMutation {};
TEST_P(OfInference, IsRejected) { expectRejected(fixturePlan()); }

Procedure &row(Plan &plan) { return plan.procedures[kRow]; }
Procedure &transition(Plan &plan) { return plan.procedures[kTransition]; }
Procedure &pair(Plan &plan) { return plan.procedures[kPair]; }
View &view(Procedure &procedure, int id, const std::string &name) {
  return operand(kernelStep(procedure, id), name);
}
Buffer &buffer(Procedure &procedure, const std::string &name) {
  return procedure.buffers[static_cast<size_t>(bufferIndex(procedure, name))];
}
void erase(std::vector<Step> &steps, int at) { steps.erase(steps.begin() + at); }
void move(std::vector<Step> &steps, int from, int to) {
  Step step = steps[static_cast<size_t>(from)];
  erase(steps, from);
  steps.insert(steps.begin() + to, step);
}
KernelStep copyOf(View from, View to) {
  KernelStep step;
  step.kernel = Kernel::Copy;
  step.operands = {from, to};
  return step;
}
/// Behind the row procedure's steps: a [7,7,4] is z, then iteration k of 7 reads a[2,k], or writes
/// it, and writes a[k,1:6]. The first and the last iteration stay clear of all others (a[2,0] and
/// a[2,6] are not in a[2,1:6]), but iterations 3 to 5 come after the write of a[2,1:6].
void addCrossingLoop(Plan &plan, bool write) {
  Procedure &procedure = row(plan);
  auto add = [&](const char *name) {
    procedure.buffers.push_back(
        {name, Base::Frame, -1, DType::F32, {7, 7, 4}, {28, 4, 1}, procedure.frameBytes, 784});
    procedure.frameBytes += 1024;
    View view = operand(kernelStep(procedure, 0), "x");
    view.buffer = bufferIndex(procedure, name);
    view.version = 1;
    procedure.steps.push_back({AllocStep{view.buffer}});
    return view;
  };
  View z = view(procedure, 0, "x"), a = add("a");
  procedure.steps.push_back({copyOf(z, a)});
  auto row2 = [](View view, int32_t version) {
    view.start = {{2, -1}, {0, 9}, {0, -1}};
    view.extent = {{1, -1}, {1, 9}, {4, -1}};
    view.version = version;
    return view;
  };
  auto rowK = [](View view, int32_t version) {
    view.start = {{0, 9}, {1, -1}, {0, -1}};
    view.extent = {{1, 9}, {5, -1}, {4, -1}};
    view.version = version;
    return view;
  };
  LoopStep loop{9, "i", 7, 1, {}};
  loop.body.push_back(
      {write ? copyOf(row2(z, 0), row2(a, 2)) : copyOf(row2(a, 1), row2(add("out"), 1))});
  loop.body.push_back({copyOf(rowK(z, 0), rowK(a, write ? 3 : 2))});
  procedure.steps.push_back({loop});
}
/// A softmax of a whole buffer over itself.
Step inPlace(Procedure &procedure, const std::string &name, int32_t version) {
  KernelStep step;
  step.kernel = Kernel::Softmax;
  int32_t index = bufferIndex(procedure, name);
  step.operands = {wholeView(buffer(procedure, name), index, version),
                   wholeView(buffer(procedure, name), index, version + 1)};
  return {step};
}
Call &call(Plan &plan, int program, int index) {
  return plan.programs[program].runs[0].calls[index];
}

const Mutation kForm[] = {
    {"UnknownStack", 0, "model.stack", [](Plan &p) { p.model.stack = "tower"; }},
    {"NoBlocks", 0, "model.blocks", [](Plan &p) { p.model.blocks = 0; }},
    {"ZeroSize", 0, "model.sizes.r", [](Plan &p) { p.model.sizes["r"] = 0; }},
    {"ZeroChannels", 0, "model.channels.c_m", [](Plan &p) { p.model.channels["c_m"] = 0; }},
    {"UnknownBackend", 0, "backend", [](Plan &p) { p.backend = "abacus"; }},
    {"NoDevice", 0, "devices", [](Plan &p) { p.devices = 0; }},
    {"TwoTensorsOfOneName", 0, "tensors[1].name", [](Plan &p) { p.tensors[1].name = "m"; }},
    {"TensorWithoutAxes", 0, "tensors[1].shape", [](Plan &p) { p.tensors[1].shape.clear(); }},
    {"TensorOfSizeZero", 0, "tensors[1].shape[2]", [](Plan &p) { p.tensors[1].shape[2] = 0; }},
    {"TensorBytes", 0, "tensors[1].bytes", [](Plan &p) { p.tensors[1].bytes += 4; }},
    {"TooManyTensors", 0, "tensors", [](Plan &p) { p.tensors.resize(257, p.tensors[0]); }},
    {"WeightOfAnotherType", 0, "weights[0].dtype",
     [](Plan &p) { p.weights[0].dtype = DType::BF16; }},
    {"TwoWeightsOfOneName", 0, "weights[1].name",
     [](Plan &p) { p.weights[1].name = p.weights[0].name; }},
    {"WeightOfThreeAxes", 0, "weights[0].shape",
     [](Plan &p) {
       p.weights[0].shape = {1, 1, 8};
     }},
    {"PartsWithAGap", 0, "weights[5].parts[2].first_row",
     [](Plan &p) { p.weights[5].parts[2].firstRow = 17; }},
    {"PartsThatOverlap", 0, "weights[5].parts[2].first_row",
     [](Plan &p) { p.weights[5].parts[1].rows = 9; }},
    {"PartsThatEndEarly", 0, "weights[5].parts", [](Plan &p) { p.weights[5].parts[3].rows = 7; }},
    {"PartsThatEndLate", 0, "weights[5].parts[3].rows",
     [](Plan &p) { p.weights[5].parts[3].rows = 9; }},
    {"ParameterTwice", 0, "weights[5].parts[1].parameter",
     [](Plan &p) { p.weights[5].parts[1].parameter = "row.linear_q.weight"; }},
    {"UnusedWeight", 0, "weights[20]",
     [](Plan &p) {
       Weight extra = p.weights.back();
       extra.name = extra.parts[0].parameter = "extra";
       extra.offset += 512;
       p.weightBlockBytes += 512;
       p.weights.insert(p.weights.begin() + 20, extra);
     }},
    {"TwoProceduresOfOneName", 0, "procedures[1].name",
     [](Plan &p) { transition(p).name = row(p).name; }},
    {"TwoBuffersOfOneName", 0, "procedures[1].buffers[4].name",
     [](Plan &p) { buffer(transition(p), "hidden").name = "norm"; }},
    {"BufferBytes", 0, "procedures[1].buffers[4].bytes",
     [](Plan &p) { buffer(transition(p), "hidden").bytes -= 4; }},
    {"BufferOfSevenAxes", 0, "procedures[1].buffers[4].shape",
     [](Plan &p) { buffer(transition(p), "hidden").shape.resize(7, 1); }},
    {"StrideOfTheLastAxis", 0, "procedures[1].buffers[4].strides[2]",
     [](Plan &p) { buffer(transition(p), "hidden").strides[2] = 2; }},
    {"RowsThatOverlap", 0, "procedures[1].buffers[4].strides[1]",
     [](Plan &p) { buffer(transition(p), "hidden").strides[1] = 15; }},
    {"NoSuchTensor", 0, "procedures[1].buffers[0].tensor",
     [](Plan &p) { buffer(transition(p), "m").tensor = 3; }},
    {"AnotherTensor", 0, "procedures[1].buffers[0].name",
     [](Plan &p) { buffer(transition(p), "m").tensor = kZ; }},
    {"FrameBufferOfATensor", 0, "procedures[1].buffers[1].tensor",
     [](Plan &p) { buffer(transition(p), "norm").tensor = 0; }},
    {"TensorOfAnotherShape", 0, "procedures[1].buffers[0].shape",
     [](Plan &p) {
       buffer(transition(p), "m").shape = {7, 5, 8};
       buffer(transition(p), "m").strides = {40, 8, 1};
     }},
    {"NoSuchWeight", 0, "procedures[1].buffers[2].name",
     [](Plan &p) { buffer(transition(p), "transition.layer_norm.weight").name = "nobody"; }},
    {"KeptInInference", 0, "procedures[1].buffers[1].base",
     [](Plan &p) { buffer(transition(p), "norm").base = Base::Saved; }},
    {"UnusedBuffer", 0, "procedures[1].buffers[3]",
     [](Plan &p) { view(transition(p), 0, "bias").buffer = 2; }},
    {"LoopsTooDeep", 0, "procedures[1].steps[0].body[0].body[0].body[0].body[0]",
     [](Plan &p) {
       for (int32_t id = 1; id < 5; ++id) {
         LoopStep outer{id, "s", 1, 1, {transition(p).steps[0]}};
         transition(p).steps[0].value = outer;
       }
     }},
    {"LoopIdTwice", 0, "procedures[1].steps[1].loop",
     [](Plan &p) { transition(p).steps.push_back(transition(p).steps[0]); }},
    {"NoSuchBuffer", 0, "procedures[2].steps[1].operands.x.buffer",
     [](Plan &p) { view(pair(p), 0, "x").buffer = 10; }},
    {"OperandTooMany", 0, "procedures[2].steps[1].operands",
     [](Plan &p) { kernelStep(pair(p), 0).operands.emplace_back(); }},
    {"OperandMissing", 0, "procedures[2].steps[1].operands.bias",
     [](Plan &p) { kernelStep(pair(p), 0).operands[2].reset(); }},
    {"StartOfTwoAxes", 0, "procedures[2].steps[1].operands.x",
     [](Plan &p) { view(pair(p), 0, "x").start.pop_back(); }},
    {"AxisTwiceInOrder", 0, "procedures[2].steps[1].operands.x.order[1]",
     [](Plan &p) {
       view(pair(p), 0, "x").order = {0, 0, 2};
     }},
    {"NegativeVersion", 0, "procedures[2].steps[1].operands.x.version",
     [](Plan &p) { view(pair(p), 0, "x").version = -1; }},
    {"StartBehindTheBuffer", 0, "procedures[2].steps[1].operands.x.start[0]",
     [](Plan &p) { view(pair(p), 0, "x").start[0].value = 7; }},
    {"ViewBehindTheBuffer", 0, "procedures[2].steps[1].operands.x.extent[0]",
     [](Plan &p) { view(pair(p), 0, "x").start[0].value = 1; }},
    {"ViewOfHugeExtent", 0, "procedures[2].steps[1].operands.x.extent[0]",
     [](Plan &p) { view(pair(p), 0, "x").extent[0].value = INT64_MAX; }},
    {"LoopThatIsNotAround", 0, "procedures[2].steps[1].operands.x.start[0]",
     [](Plan &p) { view(pair(p), 0, "x").start[0].loop = 0; }},
    {"KernelShapes", 0, "procedures[2].steps[1]",
     [](Plan &p) {
       view(pair(p), 0, "x").order = {0, 2, 1};
     }},
    {"KernelShapesInTheLastSlice", 0, "procedures[1].steps[0].body[1]",
     [](Plan &p) { view(transition(p), 0, "y").extent[0].loop = -1; }},
    {"Heads", 0, "procedures[0].steps[5].body[6]",
     [](Plan &p) { kernelStep(row(p), 4).attributes.heads = 4; }},
    {"HeadsOfZero", 0, "procedures[0].steps[5].body[6].heads",
     [](Plan &p) { kernelStep(row(p), 4).attributes.heads = 0; }},
    {"EpsOfZero", 0, "procedures[2].steps[1].eps",
     [](Plan &p) { kernelStep(pair(p), 0).attributes.eps = 0; }},
    {"ScaleNotANumber", 0, "procedures[0].steps[5].body[6].scale",
     [](Plan &p) { kernelStep(row(p), 4).attributes.scale = std::nan(""); }},
    {"ScaleBeyondF32", 0, "procedures[0].steps[5].body[6].scale",
     [](Plan &p) { kernelStep(row(p), 4).attributes.scale = -3.5e38; }},
    {"InfBeyondF32", 0, "procedures[0].steps[5].body[6].inf",
     [](Plan &p) { kernelStep(row(p), 4).attributes.inf = 3.5e38; }},
    {"EpsOfZeroInF32", 0, "procedures[2].steps[1].eps",
     [](Plan &p) { kernelStep(pair(p), 0).attributes.eps = 1e-39; }},
    {"InfOfInfinity", 0, "procedures[0].steps[5].body[6].inf",
     [](Plan &p) { kernelStep(row(p), 4).attributes.inf = HUGE_VAL; }},
    {"BufferOfAnotherType", 0, "procedures[2].steps[1].operands.y",
     [](Plan &p) {
       buffer(pair(p), "norm").dtype = DType::BF16;
       buffer(pair(p), "norm").bytes /= 2;
     }},
    {"NoForwardProgram", 0, "programs", [](Plan &p) { p.programs.clear(); }},
    {"TwoForwardPrograms", 0, "programs[1].phase",
     [](Plan &p) { p.programs.push_back(p.programs[0]); }},
    {"BackwardInInference", 0, "programs[0].phase",
     [](Plan &p) { p.programs[0].phase = Phase::Backward; }},
    {"UnknownInput", 0, "programs[0].inputs[1]", [](Plan &p) { p.programs[0].inputs[1] = "y"; }},
    {"OutputTwice", 0, "programs[0].outputs[1]", [](Plan &p) { p.programs[0].outputs[1] = "m"; }},
    {"BlockLeftOut", 0, "programs[0].runs[1].first_block",
     [](Plan &p) { p.programs[0].runs[0].blockCount = 2; }},
    {"BlockTwice", 0, "programs[0].runs[1].first_block",
     [](Plan &p) { p.programs[0].runs[1].firstBlock = 2; }},
    {"BlocksAtTheEndLeftOut", 0, "programs[0].runs",
     [](Plan &p) { p.programs[0].runs.pop_back(); }},
    {"MoreBlocksThanThere", 0, "programs[0].runs[1].block_count",
     [](Plan &p) { p.programs[0].runs[1].blockCount = INT64_MAX; }},
    {"RunWithoutCalls", 0, "programs[0].runs[1].calls",
     [](Plan &p) { p.programs[0].runs[1].calls.clear(); }},
    {"NoSuchProcedure", 0, "programs[0].runs[0].calls[1].procedure",
     [](Plan &p) { call(p, 0, 1).procedure = 3; }},
    {"ProcedureNotCalled", 0, "procedures[1]",
     [](Plan &p) { // kPair instead
       for (BlockRun &run : p.programs[0].runs)
         run.calls[1].procedure = kPair;
     }},
    {"ProcedureOfAnotherPhase", 0, "programs[0].runs[0].calls[1].procedure",
     [](Plan &p) { transition(p).phase = Phase::Backward; }},
    {"UnknownNode", 0, "schedule.children[0].kind",
     [](Plan &p) { p.schedule.children[0].kind = "branch"; }},
    {"StackInAStack", 0, "schedule.children[0].kind",
     [](Plan &p) { p.schedule.children[0].kind = "stack"; }},
    {"StackOfFewerBlocks", 0, "schedule", [](Plan &p) { p.schedule.blockCount = 3; }},
    {"SegmentBehindTheStack", 0, "schedule.children[0].block_count",
     [](Plan &p) { p.schedule.children[0] = {"segment", "", "", 2, 3, {}}; }},
    {"ModuleWithBlocks", 0, "schedule.children[0].first_block",
     [](Plan &p) { p.schedule.children[0].firstBlock = 1; }},
};

const Mutation kData[] = {
    {"ReadOfNothing", 1, "procedures[2].steps[2].operands.x.version",
     [](Plan &p) { move(pair(p).steps, 1, 3); }}, // the layer norm comes behind its reader
    {"ReadOfALaterVersion", 1, "procedures[2].steps[5].operands.x.version",
     [](Plan &p) { view(pair(p), 2, "x").version = 2; }},
    {"ReadOfAPartThatNobodyWrote", 1, "procedures[0].steps[5].body[6].operands.query.version",
     [](Plan &p) { // qkvg is 40 wide, its last columns stay empty
       Buffer &qkvg = buffer(row(p), "qkvg");
       qkvg.shape[2] = 40;
       qkvg.strides = {280, 40, 1};
       qkvg.bytes = 2240;
       row(p).frameBytes = 4096;
       view(row(p), 4, "query").start[2].value = 32;
     }},
    {"WriteOfVersionZero", 1, "procedures[2].steps[1].operands.y.version",
     [](Plan &p) { view(pair(p), 0, "y").version = 0; }},
    {"WriteOfAnOldVersion", 1, "procedures[2].steps[6].operands.y.version",
     [](Plan &p) { view(pair(p), 3, "y").version = 0; }},
    {"VersionsWithAGap", 1, "procedures[2].steps[6].operands.y.version",
     [](Plan &p) { view(pair(p), 3, "y").version = 2; }},
    {"InputNotGiven", 1, "programs[0].runs[0].calls[0]",
     [](Plan &p) {
       p.programs[0].inputs = {"m", "msa_mask"};
     }},
    {"OutputNotWritten", 1, "programs[0].outputs[2]",
     [](Plan &p) {
       p.tensors.push_back({"y", DType::F32, {4}, 8704, 16});
       p.programs[0].outputs.push_back("y");
     }},
    {"LoopEndsEarly", 2, "procedures[1].steps[0].body[1].operands.x.start[1]",
     [](Plan &p) { firstLoop(transition(p)).extent = 6; }},
    {"LoopEndsLate", 2, "procedures[0].steps[5].body[1].operands.x.start[0]",
     [](Plan &p) { firstLoop(row(p)).extent = 6; }},
    {"SlicesOfAnotherSize", 2, "procedures[1].steps[0].body[1].operands.x.extent[1]",
     [](Plan &p) { firstLoop(transition(p)).size = 2; }},
    {"SliceLargerThanTheLoop", 2, "procedures[1].steps[0].size",
     [](Plan &p) { firstLoop(transition(p)).size = 8; }},
    {"SlicesOfNothing", 2, "procedures[1].steps[0].size",
     [](Plan &p) { firstLoop(transition(p)).size = 0; }},
    {"LoopOfNothing", 2, "procedures[1].steps[0].extent",
     [](Plan &p) { firstLoop(transition(p)).extent = 0; }},
    {"SlicesFromTheSecondRow", 2, "procedures[1].steps[0].body[1].operands.x.start[1]",
     [](Plan &p) { view(transition(p), 0, "x").start[1].value = 1; }},
    {"MovingViewOfConstantLength", 2, "procedures[1].steps[0].body[1].operands.x.extent[1]",
     [](Plan &p) { view(transition(p), 0, "x").extent[1].loop = -1; }},
    {"ViewThatStandsStill", 2, "procedures[1].steps[0].body[5].operands.residual.start",
     [](Plan &p) {
       view(transition(p), 2, "y").start[1].loop = -1;
       view(transition(p), 2, "residual").start[1].loop = -1;
     }},
    {"MaskThatStandsStill", 2, "procedures[0].steps[5].body[6].operands.mask.start",
     [](Plan &p) { view(row(p), 4, "mask").start[0].loop = -1; }},
    {"OneLoopOnTwoAxes", 2, "procedures[1].steps[0].body[1].operands.y.extent[1]",
     [](Plan &p) {
       view(transition(p), 0, "y").extent[1] = {3, 0};
     }},
    {"HalfOfTheTensorWritten", 2, "procedures[2].buffers[1]",
     [](Plan &p) { // the copy of half of z over itself
       for (const char *name : {"x", "gate", "residual", "y"})
         view(pair(p), 3, name).extent[0].value = 3;
     }},
    {"SameVersionInEveryIteration", 2, "procedures[0].steps[3].body[0].operands.y.version",
     [](Plan &p) { // the pair bias inside the loop over s
       std::vector<Step> &steps = row(p).steps;
       buffer(row(p), "z_norm").offset = row(p).frameBytes;
       row(p).frameBytes += 1024;
       move(steps, 4, 5);
       std::vector<Step> &body = firstLoop(row(p)).body;
       body.insert(body.begin(), steps[3]);
       erase(steps, 3);
     }},
    {"ReadOfWhatAnotherIterationWrites", 4, "procedures[0].steps[10].body[1].operands.y",
     [](Plan &p) { addCrossingLoop(p, false); }},
    {"WriteOfWhatAnotherIterationWrites", 4, "procedures[0].steps[9].body[1].operands.y",
     [](Plan &p) { addCrossingLoop(p, true); }},
    {"LoopWithoutSlices", 2, "procedures[2].steps[3].body",
     [](Plan &p) {
       kernelStep(pair(p), 1).lane = Lane::Compute;
       kernelStep(pair(p), 3).waits.clear();
       pair(p).steps[3].value = LoopStep{0, "i", 2, 1, {pair(p).steps[3]}};
     }},
    {"ReadAfterFree", 3, "procedures[2].steps[7].operands.x.buffer",
     [](Plan &p) { move(pair(p).steps, 9, 6); }},
    {"ReadBeforeAlloc", 3, "procedures[2].steps[0].operands.y.buffer",
     [](Plan &p) { move(pair(p).steps, 1, 0); }},
    {"NeverAllocated", 3, "procedures[2].steps[0].operands.y.buffer",
     [](Plan &p) { erase(pair(p).steps, 0); }},
    {"FreedTwice", 3, "procedures[2].steps[10].free",
     [](Plan &p) { pair(p).steps.push_back(pair(p).steps[7]); }},
    {"AllocatedTwice", 3, "procedures[2].steps[1].alloc",
     [](Plan &p) { pair(p).steps.insert(pair(p).steps.begin(), pair(p).steps[0]); }},
    {"NeverFreed", 3, "procedures[2].buffers[5]", [](Plan &p) { pair(p).steps.pop_back(); }},
    {"TensorAllocated", 3, "procedures[2].steps[0].alloc",
     [](Plan &p) { std::get<AllocStep>(pair(p).steps[0].value).buffer = 1; }},
    {"WeightFreed", 3, "procedures[2].steps[9].free",
     [](Plan &p) { std::get<FreeStep>(pair(p).steps[9].value).buffer = 2; }},
    {"OldVersionReadLater", 4, "procedures[2].steps[7].operands.x.version",
     [](Plan &p) {
       Step norm = pair(p).steps[1];
       view(pair(p), 0, "x").version = 0;
       operand(std::get<KernelStep>(norm.value), "y").version = 2;
       pair(p).steps.insert(pair(p).steps.begin() + 7, norm);
     }},
    {"WholeReadInTheLoopThatWrites", 4, "procedures[0].steps[6].body[0].operands.x.version",
     [](Plan &p) { // a copy of all of m in every iteration
       Procedure &procedure = row(p);
       Buffer whole = buffer(procedure, "m");
       whole.name = "whole";
       whole.base = Base::Frame;
       whole.tensor = -1;
       whole.offset = 3584;
       procedure.frameBytes = 5120;
       int32_t index = static_cast<int32_t>(procedure.buffers.size());
       procedure.buffers.push_back(whole);
       KernelStep copy;
       copy.kernel = Kernel::Copy;
       copy.operands = {wholeView(whole, bufferIndex(procedure, "m"), 0),
                        wholeView(whole, index, 1)};
       auto &body = firstLoop(procedure).body;
       body.insert(body.begin(), Step{copy});
       procedure.steps.insert(procedure.steps.begin(), Step{AllocStep{index}});
       procedure.steps.push_back({FreeStep{index}});
     }},
    {"OutputOverAnotherInput", 4, "procedures[1].steps[0].body[5].operands.y",
     [](Plan &p) { // y may be the residual, not the gate
       KernelStep &step = kernelStep(transition(p), 2);
       std::swap(step.operands[4], step.operands[6]);
     }},
    {"OutputOverAnInputThatItMayNotAlias", 4, "procedures[2].steps[1].operands.y",
     [](Plan &p) {
       view(pair(p), 0, "y") = view(pair(p), 0, "x");
       view(pair(p), 0, "y").version = 1;
     }},
    {"OutputOverPartOfTheInput", 4, "procedures[0].steps[5].body[7].operands.y",
     [](Plan &p) { view(row(p), 5, "y").start[2].value = 20; }},
    {"WriteOfAWeight", 4, "procedures[2].steps[0].operands.y",
     [](Plan &p) {
       pair(p).steps.insert(pair(p).steps.begin(), inPlace(pair(p), "pair.linear_1.weight", 0));
     }},
    {"WriteOfAMask", 4, "procedures[0].steps[0].operands.y",
     [](Plan &p) { row(p).steps.insert(row(p).steps.begin(), inPlace(row(p), "msa_mask", 0)); }},
    {"WriteOfAnInputThatIsNoOutput", 4, "procedures[2].steps[6].operands.y",
     [](Plan &p) { p.programs[0].outputs = {"m"}; }},
};

const Mutation kMemory[] = {
    {"TensorNotAligned", 8, "tensors[1].offset", [](Plan &p) { p.tensors[1].offset += 4; }},
    {"TensorBehindTheArena", 8, "tensors[2].offset", [](Plan &p) { p.tensors[2].offset = 8704; }},
    {"TensorAtAHugeOffset", 8, "tensors[2].offset",
     [](Plan &p) { p.tensors[2].offset = INT64_MAX - 3; }},
    {"NegativeOffset", 8, "tensors[0].offset", [](Plan &p) { p.tensors[0].offset = -512; }},
    {"WeightNotAligned", 8, "weights[1].offset", [](Plan &p) { p.weights[1].offset += 32; }},
    {"BufferNotAligned", 8, "procedures[1].buffers[4].offset",
     [](Plan &p) { buffer(transition(p), "hidden").offset = 500; }},
    {"BufferBehindTheFrame", 8, "procedures[1].buffers[4].offset",
     [](Plan &p) { buffer(transition(p), "hidden").offset = 1024; }},
    {"NegativeFrame", 8, "procedures[1].frame_bytes",
     [](Plan &p) { transition(p).frameBytes = -1; }},
    {"ShiftedTensor", 8, "procedures[1].buffers[0].offset",
     [](Plan &p) { buffer(transition(p), "m").offset = 512; }},
    {"WeightOfAnother", 8, "procedures[1].buffers[2].offset",
     [](Plan &p) { buffer(transition(p), "transition.layer_norm.weight").offset = 5632; }},
    {"FrameNotAligned", 8, "programs[0].runs[0].calls[1].frame_offset",
     [](Plan &p) { call(p, 0, 1).frameOffset += 4; }},
    {"FrameBehindTheArena", 8, "programs[0].runs[0].calls[2].frame_offset",
     [](Plan &p) { call(p, 0, 2).frameOffset += 512; }},
    {"FrameAtAHugeOffset", 8, "programs[0].runs[0].calls[2].frame_offset",
     [](Plan &p) { call(p, 0, 2).frameOffset = INT64_MAX; }},
    {"TensorsOverlap", 9, "tensors[1].offset", [](Plan &p) { p.tensors[1].offset = 1024; }},
    {"WeightsOverlap", 9, "weights[6].offset", [](Plan &p) { p.weights[6].offset = 3072; }},
    {"LiveBuffersOverlap", 9, "procedures[1].steps[0].body[2].alloc",
     [](Plan &p) { buffer(transition(p), "hidden").offset = 0; }},
    {"BufferInsideALiveOne", 9, "procedures[0].steps[5].body[5].alloc",
     [](Plan &p) { buffer(row(p), "o").offset = 2560; }},
    {"FrameOverATensor", 9, "programs[0].runs[0].calls[1].frame_offset",
     [](Plan &p) { call(p, 0, 1).frameOffset = 1024; }},
    {"FrameOverTheMask", 9, "programs[0].runs[1].calls[0].frame_offset",
     [](Plan &p) { p.programs[0].runs[1].calls[0].frameOffset = 2560; }},
    {"ArenaTooLarge", 10, "arena_bytes", [](Plan &p) { p.arenaBytes += 512; }},
    {"FrameTooLarge", 10, "procedures[1].frame_bytes",
     [](Plan &p) { transition(p).frameBytes += 512; }},
    {"WeightsOfTheBlock", 10, "weight_block_bytes", [](Plan &p) { p.weightBlockBytes += 512; }},
    {"ArenaInTheSummary", 10, "summary.arena_bytes", [](Plan &p) { p.summary.arenaBytes -= 512; }},
    {"StaticInTheSummary", 10, "summary.static_bytes",
     [](Plan &p) { p.summary.staticBytes += 512; }},
    {"KeptInTheSummary", 10, "summary.kept_bytes", [](Plan &p) { p.summary.keptBytes = 512; }},
    {"IdleInTheSummary", 10, "summary.idle.bytes", [](Plan &p) { p.summary.idle.total = 512; }},
    {"IdleKeptInTheSummary", 10, "summary.idle.kept_bytes",
     [](Plan &p) { p.summary.idle.kept = 512; }},
    {"IdleFrameInTheSummary", 10, "summary.idle.frame_bytes",
     [](Plan &p) { p.summary.idle.frame = -512; }},
    {"NegativeLibrary", 10, "summary.library_bytes", [](Plan &p) { p.summary.libraryBytes = -1; }},
    {"PeakInTheSummary", 10, "summary.predicted_peak_bytes",
     [](Plan &p) { p.summary.predictedPeakBytes -= 1; }},
    {"PeakOverTheBudget", 10, "summary.predicted_peak_bytes",
     [](Plan &p) { p.summary.budgetBytes = p.summary.predictedPeakBytes - 1; }},
    {"PeakThatOverflows", 10, "summary.predicted_peak_bytes",
     [](Plan &p) { p.summary.libraryBytes = INT64_MAX; }},
    {"FreeBehindTheLoop", 11, "procedures[1].steps[0].body",
     [](Plan &p) {
       transition(p).steps.push_back(firstLoop(transition(p)).body.back());
       firstLoop(transition(p)).body.pop_back();
     }},
    {"FreeMissingInTheLoop", 11, "procedures[1].steps[0].body",
     [](Plan &p) { erase(firstLoop(transition(p)).body, 4); }},
    {"FreeInTheLoopOfABufferOutside", 11, "procedures[0].steps[5].body[8].free",
     [](Plan &p) { // the pair bias is freed behind its only reader
       firstLoop(row(p)).body[8] = row(p).steps[6];
       row(p).steps.pop_back();
     }},
};

const Mutation kOthers[] = {
    {"RankMissing", 15, "ranks", [](Plan &p) { p.devices = 2; }},
    {"RankOutOfOrder", 15, "ranks[0].rank", [](Plan &p) { p.ranks[0].rank = 1; }},
    {"ShardTooShort", 15, "ranks[0].extents.s",
     [](Plan &p) {
       p.ranks[0].extents["s"] = {0, 4};
     }},
    {"ShardTooLong", 15, "ranks[0].extents.s",
     [](Plan &p) {
       p.ranks[0].extents["s"] = {0, 6};
     }},
    {"ShardOfAnUnknownAxis", 15, "ranks[0].extents.t",
     [](Plan &p) {
       p.ranks[0].extents["t"] = {0, 4};
     }},
    {"ShardsWithAGap", 15, "ranks[1].extents.s",
     [](Plan &p) {
       p.devices = 2;
       p.ranks = {{0, {{"s", {0, 2}}}}, {1, {{"s", {3, 5}}}}};
     }},
    {"ShardsThatOverlap", 15, "ranks[1].extents.s",
     [](Plan &p) {
       p.devices = 2;
       p.ranks = {{0, {{"s", {0, 3}}}}, {1, {{"s", {2, 5}}}}};
     }},
    {"ShardsOfOtherAxes", 15, "ranks[1].extents",
     [](Plan &p) {
       p.devices = 2;
       p.ranks = {{0, {{"s", {0, 3}}}}, {1, {{"r", {0, 7}}}}};
     }},
    {"WaitDropped", 16, "procedures[2].steps[6].operands.gate",
     [](Plan &p) { kernelStep(pair(p), 3).waits.clear(); }},
    {"WaitForNobody", 16, "procedures[2].steps[6].waits[0]",
     [](Plan &p) { kernelStep(pair(p), 3).waits = {2}; }},
    {"WaitForALaterStep", 16, "procedures[2].steps[1].waits[0]",
     [](Plan &p) { kernelStep(pair(p), 0).waits = {1}; }},
    {"WaitTwice", 16, "procedures[2].steps[6].waits[1]",
     [](Plan &p) {
       kernelStep(pair(p), 3).waits = {1, 1};
     }},
    {"WaitForANegativeStep", 16, "procedures[2].steps[6].waits[0]",
     [](Plan &p) { kernelStep(pair(p), 3).waits = {-1}; }},
    {"FreeBeforeTheWait", 16, "procedures[2].steps[4].free",
     [](Plan &p) { move(pair(p).steps, 8, 4); }},
    {"FreeOfWhatIsBeingRead", 16, "procedures[2].steps[6].free",
     [](Plan &p) { move(pair(p).steps, 7, 6); }},
    {"OverwrittenWhileBeingRead", 16, "procedures[2].steps[4].operands.y",
     [](Plan &p) {
       KernelStep copy = kernelStep(pair(p), 1);
       copy.lane = Lane::Compute;
       copy.operands = {view(pair(p), 0, "x"), view(pair(p), 0, "y")};
       copy.operands[1]->version = 2;
       pair(p).steps.insert(pair(p).steps.begin() + 4, Step{copy});
     }},
    {"NoWaitAtAll", 16, "procedures[0].steps[5].body",
     [](Plan &p) { // the output projection goes to the other lane
       kernelStep(row(p), 6).lane = Lane::Communication;
       firstLoop(row(p)).body.pop_back();
       const Step last{FreeStep{bufferIndex(row(p), "qkvg")}};
       row(p).steps.push_back(last);
     }},
    {"NoWaitBeforeTheFree", 16, "procedures[2].steps[8].free",
     [](Plan &p) { kernelStep(pair(p), 3).lane = Lane::Communication; }},
    {"NoWaitAtTheEnd", 16, "procedures[2].steps",
     [](Plan &p) {
       Step last = inPlace(pair(p), "z", 1);
       std::get<KernelStep>(last.value).lane = Lane::Communication;
       pair(p).steps.push_back(last);
     }},
    {"CostOfAStep", 18, "procedures[1].cost_ns",
     [](Plan &p) { kernelStep(transition(p), 1).costNs += 1; }},
    {"NegativeCost", 18, "procedures[1].steps[0].body[3].cost_ns",
     [](Plan &p) { kernelStep(transition(p), 1).costNs = -1; }},
    {"CostOfAProcedure", 18, "procedures[0].cost_ns", [](Plan &p) { row(p).costNs -= 1; }},
    {"CostThatOverflows", 18, "procedures[1].cost_ns",
     [](Plan &p) { kernelStep(transition(p), 1).costNs = INT64_MAX; }},
    {"CostOfThePlan", 18, "summary.predicted_ms",
     [](Plan &p) { p.summary.predictedMs += 0.000001; }},
    {"CostNotANumber", 18, "summary.predicted_ms",
     [](Plan &p) { p.summary.predictedMs = std::nan(""); }},
};

std::string nameOf(const testing::TestParamInfo<Mutation> &info) { return info.param.name; }
INSTANTIATE_TEST_SUITE_P(Form, OfInference, testing::ValuesIn(kForm), nameOf);
INSTANTIATE_TEST_SUITE_P(Data, OfInference, testing::ValuesIn(kData), nameOf);
INSTANTIATE_TEST_SUITE_P(Memory, OfInference, testing::ValuesIn(kMemory), nameOf);
INSTANTIATE_TEST_SUITE_P(Others, OfInference, testing::ValuesIn(kOthers), nameOf);

} // namespace
