//===- ExecutorTest.cpp -----------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "runtime/core/Executor.h"
#include "test/core/CoreTest.h"
#include "test/core/FakeBackend.h"

#include <nlohmann/json.hpp>
#include <random>

namespace evo {
namespace {

using namespace evo::plan;
using namespace evo::test;

constexpr int64_t kRows = 7, kColumns = 5, kChannels = 3, kBlocks = 3;

View view(int32_t buffer, std::vector<Start> start, std::vector<Extent> extent,
          std::vector<int32_t> order) {
  return {buffer, 0, std::move(start), std::move(extent), std::move(order)};
}

Step kernel(Kernel kernel, std::vector<std::optional<View>> operands, std::string location) {
  KernelStep step;
  step.kernel = kernel;
  step.operands = std::move(operands);
  step.location = std::move(location);
  return {std::move(step)};
}

/// z[7, 5, 3]; a block does, for slices of rows [0,3), [3,6), [6,7):
///   t[5, 3 (padded to 4), 3] = z[slice] with rows and columns swapped
///   for slices of columns [0,2), [2,4), [4,5):  z[slice, columns] += t[columns]ᵀ W_blockᵀ +
///   b_block
Plan slicedPlan() {
  Plan plan;
  plan.model.blocks = kBlocks;
  plan.arenaBytes = 4096;
  plan.weightBlockBytes = 1024;
  plan.summary.staticBytes = kBlocks * 1024;
  plan.tensors = {{"z", DType::F32, {kRows, kColumns, kChannels}, 512, 7 * 5 * 3 * 4}};
  Procedure procedure;
  procedure.name = "mix";
  procedure.module = "mixer";
  procedure.buffers = {
      {"z", Base::Tensor, 0, DType::F32, {7, 5, 3}, {15, 3, 1}, 0, 420},
      {"t", Base::Frame, -1, DType::F32, {5, 3, 3}, {12, 4, 1}, 64, 4 * (1 + 48 + 8 + 2)},
      {"w", Base::Weight, -1, DType::F32, {3, 3}, {3, 1}, 0, 36},
      {"b", Base::Weight, -1, DType::F32, {3}, {1}, 512, 12},
  };
  LoopStep rows{0, "r_i", kRows, 3, {}}, columns{1, "r_j", kColumns, 2, {}};
  View slice = view(0, {{0, 0}, {0}, {0}}, {{3, 0}, {5}, {3}}, {1, 0, 2});
  View whole = view(1, {{0}, {0}, {0}}, {{5}, {3, 0}, {3}}, {0, 1, 2});
  rows.body.push_back({AllocStep{1}});
  rows.body.push_back(kernel(Kernel::Copy, {slice, whole}, "mixer: swap"));
  View part = view(1, {{0, 1}, {0}, {0}}, {{2, 1}, {3, 0}, {3}}, {1, 0, 2});
  View target = view(0, {{0, 0}, {0, 1}, {0}}, {{3, 0}, {2, 1}, {3}}, {0, 1, 2});
  columns.body.push_back(
      kernel(Kernel::Linear,
             {part, view(2, {{0}, {0}}, {{3}, {3}}, {0, 1}), view(3, {{0}}, {{3}}, {0}),
              std::nullopt, std::nullopt, std::nullopt, target, target},
             "mixer: project"));
  rows.body.push_back({std::move(columns)});
  rows.body.push_back({FreeStep{1}});
  procedure.steps.push_back({std::move(rows)});
  plan.procedures = {std::move(procedure)};
  plan.programs = {{Phase::Forward,
                    {"z"},
                    {"z"},
                    {{0, 2, {{0, 1024, 0, 0, 0, {}}}}, {2, 1, {{0, 2048, 0, 0, 0, {}}}}}}};
  return plan;
}

struct Machine {
  FakeBackend backend;
  std::vector<std::byte> arena = std::vector<std::byte>(4096, std::byte{0xff});
  std::vector<std::byte> weights = std::vector<std::byte>(kBlocks * 1024, std::byte{0xff});
  float *z() { return reinterpret_cast<float *>(arena.data() + 512); }
  float *weight(int64_t block) { return reinterpret_cast<float *>(weights.data() + block * 1024); }
  float *bias(int64_t block) {
    return reinterpret_cast<float *>(weights.data() + block * 1024 + 512);
  }
  void fill() {
    std::mt19937 random(11);
    std::uniform_int_distribution<int> values(-3, 3); // small integers: sums are exact
    for (int i = 0; i < 105; ++i)
      z()[i] = static_cast<float>(values(random));
    for (int64_t block = 0; block < kBlocks; ++block) {
      for (int i = 0; i < 9; ++i)
        weight(block)[i] = static_cast<float>(values(random));
      for (int i = 0; i < 3; ++i)
        bias(block)[i] = static_cast<float>(values(random));
    }
  }
};

TEST(Executor, RunsSlicedLoopsThroughPermutedViews) {
  Plan plan = slicedPlan();
  Machine machine;
  machine.fill();
  std::vector<float> expected(machine.z(), machine.z() + 105);
  for (int64_t block = 0; block < kBlocks; ++block)
    for (int row = 0; row < 35; ++row) {
      float x[3] = {expected[3 * row], expected[3 * row + 1], expected[3 * row + 2]};
      for (int n = 0; n < 3; ++n) {
        float sum = machine.bias(block)[n];
        for (int k = 0; k < 3; ++k)
          sum += x[k] * machine.weight(block)[3 * n + k];
        expected[3 * row + n] = x[n] + sum;
      }
    }
  auto executor =
      Executor::create(plan, machine.backend, machine.arena.data(), machine.weights.data());
  ASSERT_TRUE(executor.ok()) << executor.status().message();
  EXPECT_OK((*executor)->run(Phase::Forward));
  EXPECT_EQ(std::vector<float>(machine.z(), machine.z() + 105), expected);
  // A block: 3 row slices of one copy and 3 column slices.
  EXPECT_EQ(machine.backend.launches.size(), 3u * 3 * (1 + 3));
}

TEST(Executor, RecordsBehindTheFirstRunAndReplaysLaterOnes) {
  Plan plan = slicedPlan();
  Machine plain, recorded;
  recorded.backend.records = true;
  for (Machine *machine : {&plain, &recorded}) {
    machine->fill();
    auto executor =
        Executor::create(plan, machine->backend, machine->arena.data(), machine->weights.data());
    ASSERT_TRUE(executor.ok()) << executor.status().message();
    std::vector<int64_t> done;
    for (uint32_t step = 0; step < 3; ++step) {
      RunHooks hooks;
      hooks.dropoutSeed = 9, hooks.step = step;
      hooks.onBlock = [&](int64_t block, int64_t blocks) {
        EXPECT_EQ(blocks, 3);
        done.push_back(block);
      };
      EXPECT_OK((*executor)->run(Phase::Forward, hooks));
    }
    EXPECT_EQ(done, (std::vector<int64_t>{1, 2, 3, 1, 2, 3, 1, 2, 3}));
    // 36 launches a run; those of the last have its key.
    EXPECT_EQ(machine->backend.launches.size(), 108u);
    EXPECT_EQ(machine->backend.keys[107].seed, 9u);
    EXPECT_EQ(machine->backend.keys[107].step, 2u);
    EXPECT_EQ(machine->backend.keys[107].block, 2u);
    EXPECT_EQ((*executor)->recordedLaunches(), machine == &plain ? 0 : 36);
  }
  // All 36 launches in one piece, replayed twice.
  EXPECT_EQ(recorded.backend.recordings, std::vector<size_t>{36});
  EXPECT_EQ(recorded.backend.replays, 2);
  EXPECT_EQ(std::vector<float>(plain.z(), plain.z() + 105),
            std::vector<float>(recorded.z(), recorded.z() + 105));
}

/// Blocks of a loop of one row a slice: 7 * (1 + 3) = 28 launches each.
Plan rowwisePlan(int64_t blocks) {
  Plan plan = slicedPlan();
  std::get<LoopStep>(plan.procedures[0].steps[0].value).size = 1;
  plan.model.blocks = blocks;
  plan.programs[0].runs = {{0, blocks, {{0, 1024, 0, 0, 0, {}}}}};
  return plan;
}

TEST(Executor, RecordsInPiecesAndSharesThemWhereThereAreVeryManyLaunches) {
  struct Case {
    int64_t blocks;
    std::vector<size_t> recordings;
    int replays, updates; ///< of the second run
  };
  for (const Case &each :
       {Case{36, {1008}, 1, 0}, Case{40, {1024, 96}, 2, 0},
        // 585 * 28 = 16380, 15 * 1024 = 15360; 586 * 28 = 16408 > 16384.
        Case{585, std::vector<size_t>(15, 1024), 16, 0}, Case{586, {28}, 586, 585}}) {
    Plan plan = rowwisePlan(each.blocks);
    Machine plain, recorded;
    recorded.backend.records = true;
    for (Machine *machine : {&plain, &recorded}) {
      machine->weights.assign(static_cast<size_t>(each.blocks) * 1024, std::byte{0});
      for (int i = 0; i < 105; ++i)
        machine->z()[i] = static_cast<float>(i % 7);
      for (int64_t block = 0; block < each.blocks; ++block)
        machine->bias(block)[block % 3] = static_cast<float>(block % 5); // blocks differ
      auto executor =
          Executor::create(plan, machine->backend, machine->arena.data(), machine->weights.data());
      ASSERT_TRUE(executor.ok()) << executor.status().message();
      std::vector<int64_t> done;
      RunHooks hooks;
      hooks.onBlock = [&](int64_t block, int64_t) { done.push_back(block); };
      hooks.dropoutSeed = 9, hooks.step = 2;
      EXPECT_OK((*executor)->run(Phase::Forward));
      EXPECT_OK((*executor)->run(Phase::Forward, hooks));
      EXPECT_EQ(machine->backend.launches.size(), static_cast<size_t>(2 * 28 * each.blocks));
      // What was recorded behind the first run has the second's key.
      EXPECT_EQ(machine->backend.keys.back().seed, 9u);
      EXPECT_EQ(machine->backend.keys.back().step, 2u);
      EXPECT_EQ(machine->backend.keys.back().block, static_cast<uint32_t>(each.blocks - 1));
      ASSERT_EQ(done.size(), static_cast<size_t>(each.blocks));
      for (size_t i = 0; i < done.size(); ++i)
        ASSERT_EQ(done[i], static_cast<int64_t>(i) + 1);
      const int64_t kept = each.blocks == 586 ? 28 : 28 * each.blocks; // of the shared piece alone
      EXPECT_EQ((*executor)->recordedLaunches(), machine == &plain ? 0 : kept) << each.blocks;
    }
    std::vector<size_t> expected = each.recordings;
    if (each.blocks == 585)
      expected.push_back(1020); // 16380 - 15360
    EXPECT_EQ(recorded.backend.recordings, expected) << each.blocks;
    EXPECT_EQ(recorded.backend.replays, each.replays);
    EXPECT_EQ(recorded.backend.updates, each.updates);
    EXPECT_EQ(recorded.backend.tapes, each.replays); // once each
    EXPECT_EQ(std::vector<float>(plain.z(), plain.z() + 105),
              std::vector<float>(recorded.z(), recorded.z() + 105));
  }
}

TEST(Executor, ARecordingThatFindsNoMemoryIsDoneWithout) {
  Plan plan = slicedPlan();
  Machine plain, recorded;
  recorded.backend.records = true;
  recorded.backend.recordingThatFails = 0;
  for (Machine *machine : {&plain, &recorded}) {
    machine->fill();
    auto executor =
        Executor::create(plan, machine->backend, machine->arena.data(), machine->weights.data());
    ASSERT_TRUE(executor.ok()) << executor.status().message();
    for (int run = 0; run < 3; ++run)
      EXPECT_OK((*executor)->run(Phase::Forward));
    EXPECT_EQ(machine->backend.launches.size(), 108u); // 3 * 36
    EXPECT_EQ((*executor)->recordedLaunches(), 0);
  }
  EXPECT_EQ(recorded.backend.replays, 0);
  EXPECT_EQ(std::vector<float>(plain.z(), plain.z() + 105),
            std::vector<float>(recorded.z(), recorded.z() + 105));
}

TEST(Executor, RaggedSlicesGiveTheseOperands) {
  Plan plan = slicedPlan();
  Machine machine;
  machine.fill();
  auto executor =
      Executor::create(plan, machine.backend, machine.arena.data(), machine.weights.data());
  EXPECT_OK((*executor)->run(Phase::Forward));
  // Block 1, last row slice, last column slice: launch 12 + 2 * 4 + 3.
  const std::vector<TensorRef> &last = machine.backend.launches[23];
  const TensorRef &x = last[0], &y = last[7];
  // t starts at the frame, 1024, and 64 bytes; column 4 lies 4 * 12 floats behind.
  EXPECT_EQ(x.data - machine.arena.data(), 1024 + 64 + 4 * 12 * 4);
  EXPECT_EQ(std::vector<int64_t>(x.shape.data(), x.shape.data() + 3),
            (std::vector<int64_t>{1, 1, 3}));
  EXPECT_EQ(std::vector<int64_t>(x.strides.data(), x.strides.data() + 3),
            (std::vector<int64_t>{4, 12, 1}));
  // z[6, 4, 0] behind 512 bytes.
  EXPECT_EQ(y.data - machine.arena.data(), 512 + (6 * 15 + 4 * 3) * 4);
  EXPECT_EQ(last[1].data - machine.weights.data(), 1024);
  EXPECT_EQ(last[2].data - machine.weights.data(), 1024 + 512);
  EXPECT_FALSE(last[3]);
  // Block 2 has its frame elsewhere.
  EXPECT_EQ(machine.backend.launches[24][1].data - machine.arena.data(), 2048 + 64);
}

TEST(Executor, EveryLaunchHasTheKeyOfItsMasks) {
  Plan plan = slicedPlan();
  Machine machine;
  machine.fill();
  auto executor =
      Executor::create(plan, machine.backend, machine.arena.data(), machine.weights.data());
  RunHooks hooks;
  hooks.dropoutSeed = 7;
  hooks.step = 5;
  EXPECT_OK((*executor)->run(Phase::Forward, hooks));
  ASSERT_EQ(machine.backend.keys.size(), 36u); // 12 a block
  for (size_t i = 0; i < 36; ++i) {
    EXPECT_EQ(machine.backend.keys[i].seed, 7u);
    EXPECT_EQ(machine.backend.keys[i].step, 5u);
    EXPECT_EQ(machine.backend.keys[i].block, i / 12);
  }
}

TEST(Executor, ReportsProgressAndTrace) {
  Plan plan = slicedPlan();
  Machine machine;
  machine.fill();
  auto executor =
      Executor::create(plan, machine.backend, machine.arena.data(), machine.weights.data());
  std::vector<int64_t> progress;
  Trace trace;
  RunHooks hooks;
  hooks.onBlock = [&](int64_t done, int64_t total) { progress.push_back(100 * done + total); };
  hooks.trace = &trace;
  EXPECT_OK((*executor)->run(Phase::Forward, hooks));
  EXPECT_EQ(progress, (std::vector<int64_t>{103, 203, 303}));
  ASSERT_EQ(trace.events.size(), 36u);
  EXPECT_EQ(trace.events[23].block, 1);
  EXPECT_EQ(trace.events[23].step, 1);
  // x and residual and y [1, 1, 3], weight [3, 3], bias [3]: 21 floats.
  EXPECT_EQ(trace.events[23].bytes, 84);
  TemporaryFolder folder;
  auto file = OutputFile::create(folder.path("t.json"));
  EXPECT_OK(writeTrace(*file, plan, trace));
  EXPECT_OK(file->commit());
  nlohmann::json json = nlohmann::json::parse(readText(folder.path("t.json")));
  ASSERT_EQ(json["traceEvents"].size(), 36u);
  EXPECT_EQ(json["traceEvents"][23]["name"], "linear");
  EXPECT_EQ(json["traceEvents"][23]["args"]["procedure"], "mix");
  EXPECT_EQ(json["traceEvents"][23]["args"]["block"], 1);
  EXPECT_EQ(json["traceEvents"][23]["args"]["bytes"], 84);
}

TEST(Executor, ErrorsSayWhere) {
  Plan plan = slicedPlan();
  Machine machine;
  machine.fill();
  machine.backend.failAt = 17; // block 1, second row slice, first column slice
  auto executor =
      Executor::create(plan, machine.backend, machine.arena.data(), machine.weights.data());
  EXPECT_MESSAGE((*executor)->run(Phase::Forward),
                 "rank 0, fake, block 1, procedure 'mix', step 1 linear (mixer: project): the "
                 "device is gone");
}

/// The executor of a rowwise plan whose launches were recorded by a first run.
std::unique_ptr<Executor> recordedOnce(Machine &machine, const Plan &plan) {
  machine.backend.records = true;
  machine.weights.assign(static_cast<size_t>(plan.model.blocks) * 1024, std::byte{0});
  auto executor =
      Executor::create(plan, machine.backend, machine.arena.data(), machine.weights.data());
  EXPECT_OK((*executor)->run(Phase::Forward));
  return *std::move(executor);
}

TEST(Executor, ErrorsOfReplaysSayHowFarTheyCame) {
  Plan plan = rowwisePlan(80);
  Machine machine;
  std::unique_ptr<Executor> executor = recordedOnce(machine, plan);
  // In the second recording of 1024; 36 * 28 = 1008 launches are of blocks that the first ends.
  machine.backend.failAt = machine.backend.launches.size() + 1024 + 5;
  EXPECT_MESSAGE(executor->run(Phase::Forward),
                 "rank 0, fake, program 'forward', behind block 36 of 80, of a launch up to there "
                 "(run with --trace to find the step): the device is gone");
}

TEST(Executor, ErrorsOfSharedRecordingsSayTheBlock) {
  Plan plan = rowwisePlan(586); // 16408 launches are not kept
  Machine machine;
  std::unique_ptr<Executor> executor = recordedOnce(machine, plan);
  machine.backend.failAt = machine.backend.launches.size() + 28 * 3 + 5;
  EXPECT_MESSAGE(executor->run(Phase::Forward),
                 "rank 0, fake, program 'forward', in block 3, of a launch up to there (run with "
                 "--trace to find the step): the device is gone");
}

TEST(Executor, ErrorsAtTheEndSayHowToFindTheLaunch) {
  Plan plan = slicedPlan();
  Machine machine;
  machine.fill();
  machine.backend.failsWhenAwaited = true;
  auto executor =
      Executor::create(plan, machine.backend, machine.arena.data(), machine.weights.data());
  EXPECT_MESSAGE((*executor)->run(Phase::Forward),
                 "rank 0, fake, program 'forward', at its end, of a launch up to there (run with "
                 "--trace to find the step): a launch has failed");
  Trace trace; // awaits each launch
  RunHooks hooks;
  hooks.trace = &trace;
  EXPECT_MESSAGE(
      (*executor)->run(Phase::Forward, hooks),
      "rank 0, fake, block 0, procedure 'mix', step 0 copy (mixer: swap): a launch has failed");
}

TEST(Executor, RefusesWhatItDoesNotRun) {
  Plan plan = slicedPlan();
  Machine machine;
  auto executor =
      Executor::create(plan, machine.backend, machine.arena.data(), machine.weights.data());
  EXPECT_MESSAGE((*executor)->run(Phase::Backward),
                 "expected a program 'backward' in the plan, got none");
  EXPECT_MESSAGE((*executor)->run(Phase::Optimizer),
                 "expected a program 'optimizer' in the plan, got none");
  plan.programs.clear();
  EXPECT_MESSAGE((*executor)->run(Phase::Forward),
                 "expected a program 'forward' in the plan, got none");
}

TEST(Executor, RefusesPlansThatWereNotVerified) {
  auto create = [](const Plan &plan) {
    Machine machine;
    auto made =
        Executor::create(plan, machine.backend, machine.arena.data(), machine.weights.data());
    return made ? std::string() : made.status().message();
  };
  auto loop = [](Plan &plan) -> LoopStep & {
    return std::get<LoopStep>(plan.procedures[0].steps[0].value);
  };
  auto copy = [&](Plan &plan) -> KernelStep & {
    return std::get<KernelStep>(loop(plan).body[1].value);
  };
  Plan plan = slicedPlan();
  EXPECT_EQ(create(plan), "");
  copy(plan).operands[0]->buffer = 4;
  EXPECT_EQ(create(plan),
            "procedure 'mix': step 0: expected a buffer of the procedure, got index 4");
  plan = slicedPlan();
  copy(plan).operands[0]->order = {0, 1};
  EXPECT_EQ(create(plan), "procedure 'mix': step 0: buffer 'z': expected a view of 3 axes, got 2");
  plan = slicedPlan();
  copy(plan).operands[0]->order = {0, 1, 3};
  EXPECT_EQ(create(plan),
            "procedure 'mix': step 0: buffer 'z': expected an order of its axes, got axis 3");
  plan = slicedPlan();
  copy(plan).operands[0]->start[0].loop = 1; // the column loop is not around it
  EXPECT_EQ(create(plan),
            "procedure 'mix': step 0: expected the id of a loop around the step, got 1");
  plan = slicedPlan();
  plan.procedures[0].buffers[0].tensor = 1;
  EXPECT_EQ(create(plan),
            "procedure 'mix': step 0: buffer 'z': expected a tensor of the plan, got index 1");
  plan = slicedPlan();
  loop(plan).size = 0;
  EXPECT_EQ(create(plan), "procedure 'mix': loop 0: expected slices of at least 1, got 0");
  plan = slicedPlan();
  plan.procedures[0].buffers[1].base = Base::Gradient;
  EXPECT_EQ(create(plan), "procedure 'mix': step 0: buffer 't': expected no gradient in a forward "
                          "procedure");
  plan.procedures[0].buffers[1].base = Base::State;
  EXPECT_EQ(create(plan), "procedure 'mix': step 0: buffer 't': expected no state but in the "
                          "optimizer's procedures");
}

/// A program of the optimizer: each block copies its row of the gradients to its state.
TEST(Executor, StateLiesBehindAllGradients) {
  Plan plan;
  plan.model.blocks = 3;
  plan.weightBlockBytes = 512, plan.gradientBlockBytes = 1024, plan.stateBlockBytes = 512;
  Procedure procedure;
  procedure.name = "step";
  procedure.phase = Phase::Optimizer;
  procedure.buffers = {{"gradient.w", Base::Gradient, -1, DType::F32, {2}, {1}, 512, 8},
                       {"momentum.w", Base::State, -1, DType::F32, {2}, {1}, 0, 8}};
  procedure.steps.push_back(
      kernel(Kernel::Copy, {view(0, {{0}}, {{2}}, {0}), view(1, {{0}}, {{2}}, {0})}, "step/copy"));
  plan.procedures = {procedure};
  plan.programs = {{Phase::Optimizer, {}, {}, {{0, 3, {{0, 0, 0, 0, 0, {}}}}}}};
  std::vector<float> arena(1), parts(3 * (512 + 1024 + 512) / 4);
  for (size_t block = 0; block < 3; ++block)
    for (size_t i = 0; i < 2;
         ++i) // behind 3 * 512 bytes of weights, 512 into the block's gradients
      parts[(1536 + block * 1024 + 512) / 4 + i] = static_cast<float>(10 * block + i + 1);
  FakeBackend backend;
  auto executor = Executor::create(plan, backend, reinterpret_cast<std::byte *>(arena.data()),
                                   reinterpret_cast<std::byte *>(parts.data()));
  ASSERT_TRUE(executor.ok()) << executor.status().message();
  EXPECT_OK((*executor)->run(Phase::Optimizer));
  for (size_t block = 0; block < 3; ++block)
    for (size_t i = 0; i < 2; ++i) // behind 3 * 1024 bytes of gradients more
      EXPECT_EQ(parts[(1536 + 3072 + block * 512) / 4 + i], static_cast<float>(10 * block + i + 1));
}

} // namespace
} // namespace evo
