//===- VerifyKeptTest.cpp - training plans with one thing broken -*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "runtime/plan/Strides.h"
#include "runtime/plan/Verify.h"
#include "test/plan/PlanFixture.h"

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

class OfTraining : public testing::TestWithParam<Mutation> {};

TEST_P(OfTraining, IsRejected) {
  Plan plan = trainingPlan();
  GetParam().apply(plan);
  auto violation = verifyPlan(plan);
  ASSERT_TRUE(violation.has_value()) << "the mutant is accepted";
  EXPECT_EQ(violation->invariant, GetParam().invariant) << violation->message;
  EXPECT_EQ(violation->path, GetParam().path) << violation->message;
}

View &view(Procedure &procedure, int id, const std::string &name) {
  return operand(kernelStep(procedure, id), name);
}
Buffer &buffer(Procedure &procedure, const std::string &name) {
  return procedure.buffers[static_cast<size_t>(bufferIndex(procedure, name))];
}
Call &call(Plan &plan, int program, int index) {
  return plan.programs[program].runs[0].calls[index];
}

/// Where module `module` (0 or 1) keeps m, in both programs: the backward one calls the modules in
/// the reverse order.
void keepAt(Plan &plan, int module, int64_t offset, int64_t stride) {
  for (Call *own : {&call(plan, 0, module), &call(plan, 1, 1 - module)}) {
    own->savedOffset = offset;
    own->savedStride = stride;
  }
}

const Mutation kTraining[] = {
    // Blocks keep at 1024, 1536; 2048, 2560; 3072, 3584.
    {"KeptOverKept", 5, "programs[1].runs[0].calls[1].saved_offset",
     [](Plan &p) { keepAt(p, 1, 1024, 1024); }},
    {"KeptOverwrittenByTheNextBlock", 5, "programs[1].runs[0].calls[0].saved_offset",
     [](Plan &p) {
       keepAt(p, 0, 1024, 512);
       keepAt(p, 1, 1536, 512);
     }},
    {"NoStride", 5, "programs[1].runs[0].calls[0].saved_offset",
     [](Plan &p) {
       keepAt(p, 0, 1024, 0);
       keepAt(p, 1, 1536, 0);
     }},
    {"KeptOfAnotherModule", 5, "programs[1].runs[0].calls[0].saved_offset",
     [](Plan &p) { std::swap(call(p, 1, 0).savedOffset, call(p, 1, 1).savedOffset); }},
    {"KeptByAnotherModule", 5, "programs[1].runs[0].calls[0].saved_offset",
     [](Plan &p) { std::swap(call(p, 0, 0).savedOffset, call(p, 0, 1).savedOffset); }},
    {"KeptBeforeTheCallBefore", 12, "programs[0].runs[0].calls[1].saved_offset",
     [](Plan &p) {
       keepAt(p, 0, 1536, 1024);
       keepAt(p, 1, 1024, 1024);
     }},
    {"OneCallStaysBehind", 12, "programs[0].runs[0].calls[0].saved_offset",
     [](Plan &p) { // 1024, 4096; 1536, 4608; 2048, 5120
       keepAt(p, 0, 1024, 512);
       keepAt(p, 1, 4096, 512);
       for (int program : {0, 1})
         for (int i : {0, 1})
           call(p, program, i).frameOffset = 5632;
       p.arenaBytes = 6144;
     }},
    {"PoppedInTheWrongOrder", 12, "programs[1].runs[0].calls[0]",
     [](Plan &p) { std::swap(call(p, 1, 0), call(p, 1, 1)); }},
    {"ReadOfWhatWasNotKept", 12, "programs[1].runs[0].calls[0].saved_offset",
     [](Plan &p) { call(p, 1, 0).savedOffset += 512; }},
    {"KeptButNeverRead", 12, "programs[0].runs[0].calls[0].saved_offset",
     [](Plan &p) { // the backward of `first` is softmax of dm
       Procedure &procedure = p.procedures[1];
       procedure.buffers = {buffer(procedure, "dm")};
       procedure.frameBytes = 0;
       procedure.costNs = p.procedures[0].costNs;
       KernelStep step;
       step.kernel = Kernel::Softmax;
       step.costNs = procedure.costNs;
       step.operands = {wholeView(procedure.buffers[0], 0, 0),
                        wholeView(procedure.buffers[0], 0, 1)};
       procedure.steps = {{step}};
     }},
    {"ModuleTwiceInABlock", 5, "programs[0].runs[0].calls[1]",
     [](Plan &p) { p.procedures[2].module = p.procedures[3].module = "first"; }},
    {"KeptNotAligned", 8, "programs[0].runs[0].calls[0].saved_offset",
     [](Plan &p) { call(p, 0, 0).savedOffset -= 4; }},
    {"KeptAtAHugeOffset", 8, "programs[0].runs[0].calls[0].saved_offset",
     [](Plan &p) { call(p, 0, 0).savedStride = INT64_MAX / 2; }},
    {"KeptBehindTheArena", 8, "programs[0].runs[0].calls[1].saved_offset",
     [](Plan &p) { // 1536 + 2 * 1536 + 512 = 5120
       keepAt(p, 0, 1024, 1536);
       keepAt(p, 1, 1536, 1536);
     }},
    {"KeptOverATensor", 9, "programs[0].runs[0].calls[0].saved_offset",
     [](Plan &p) { // 512, 1024; 1536, 2048; 2560, 3072; dm has 512 to 1024
       keepAt(p, 0, 512, 1024);
       keepAt(p, 1, 1024, 1024);
     }},
    {"FrameOverKept", 9, "programs[1].runs[0].calls[0].frame_offset",
     [](Plan &p) { call(p, 1, 0).frameOffset = 3584; }},
    {"KeptInTheSummary", 10, "summary.kept_bytes", [](Plan &p) { p.summary.keptBytes -= 512; }},
    {"KeptButNotWritten", 2, "procedures[0].buffers[0]",
     [](Plan &p) {
       for (const char *name : {"x", "y"})
         view(p.procedures[0], 0, name).extent[0].value = 2;
     }},
    {"WriteOfKept", 4, "procedures[1].steps[1].operands.y",
     [](Plan &p) {
       KernelStep &copy = kernelStep(p.procedures[1], 0);
       copy.operands = {view(p.procedures[1], 1, "dy"), *copy.operands[0]};
       copy.operands[1]->version = 1;
     }},
    {"BlocksForwardInTheBackwardProgram", 0, "programs[1].runs[0].first_block",
     [](Plan &p) {
       BlockRun &run = p.programs[1].runs[0];
       p.programs[1].runs = {{0, 1, run.calls}, {1, 2, run.calls}};
     }},
    {"BackwardProcedureInTheForwardProgram", 0, "programs[0].runs[0].calls[0].procedure",
     [](Plan &p) { call(p, 0, 0).procedure = 1; }},
};

INSTANTIATE_TEST_SUITE_P(Saved, OfTraining, testing::ValuesIn(kTraining),
                         [](const auto &info) { return std::string(info.param.name); });

} // namespace
