//===- RecomputeTest.cpp - what training policies keep ----------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// At the seed's training sizes, from its specifications: bytes that are kept, versions of streams
// that are kept once, an arena as high as what lives in it, and plans that stay small.
//===----------------------------------------------------------------------===//
#include "compiler/spec/ModelSpec.h"
#include "passes/Compile.h"
#include "runtime/plan/PlanJson.h"
#include "runtime/plan/Timeline.h"
#include "runtime/plan/Verify.h"
#include "test/passes/StackFixture.h"

#include "mlir/IR/MLIRContext.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <set>

using namespace evo;
using namespace evo::test;

namespace {

spec::ModelSpec specOf(const std::string &name) {
  Result<spec::ModelSpec> spec =
      spec::readModelSpec(std::string(EVO_SPECS_FOLDER) + "/" + name + ".json", {});
  EXPECT_TRUE(spec.ok()) << spec.status().message();
  return *spec;
}

plan::Plan planOf(const spec::ModelSpec &spec, Policy policy, bool plain = false) {
  CompileOptions options;
  options.policy = policy;
  Result<cost::DeviceProfile> profile = loadProfile("h100");
  EXPECT_TRUE(profile.ok());
  options.target = {*profile, int64_t{1} << 60, plain};
  mlir::MLIRContext context(mlir::MLIRContext::Threading::DISABLED);
  Result<Compilation> compilation = compile(spec, options, context);
  EXPECT_TRUE(compilation.ok()) << compilation.status().message();
  return compilation->plan;
}

std::vector<Policy> policiesOf(const spec::ModelSpec &spec) {
  auto policies = evo::policiesOf(plan::Mode::Train, spec.hasMsa());
  return {policies.begin(), policies.end()};
}

const plan::Program &programOf(const plan::Plan &plan, plan::Phase phase) {
  return *std::find_if(plan.programs.begin(), plan.programs.end(),
                       [&](const plan::Program &program) { return program.phase == phase; });
}

const plan::Procedure &procedureOf(const plan::Plan &plan, const plan::Call &call) {
  return plan.procedures[size_t(call.procedure)];
}

bool keeps(const plan::Procedure &procedure, const std::string &buffer) {
  return std::any_of(
      procedure.buffers.begin(), procedure.buffers.end(), [&](const plan::Buffer &each) {
        return each.base == plan::Base::Saved && (buffer.empty() || each.name == buffer);
      });
}

/// What each call of a forward procedure keeps.
int64_t keptBytes(const plan::Procedure &procedure) {
  int64_t bytes = 0;
  for (const plan::Buffer &buffer : procedure.buffers)
    if (buffer.base == plan::Base::Saved && procedure.phase == plan::Phase::Forward)
      bytes += plan::alignTo(buffer.bytes);
  return bytes;
}

//===----------------------------------------------------------------------===//
// Bytes
//===----------------------------------------------------------------------===//

struct Sizes {
  const char *spec;
  int64_t blocks, s, r, cM, cZ;
};

constexpr Sizes kSeedSizes[] = {
    {"train-128-256", 48, 128, 256, 256, 128},
    {"train-512-256", 48, 512, 256, 256, 128},
    {"train-512-384", 48, 512, 384, 256, 128},
    {"extra-train-1024-256", 4, 1024, 256, 64, 128},
    {"extra-train-1024-384", 4, 1024, 384, 64, 128},
    {"extra-train-5120-384", 4, 5120, 384, 64, 128},
};

class KeptAtSeedSizes : public ::testing::TestWithParam<Sizes> {
protected:
  /// fp16. All are multiples of 512 bytes: nothing is lost to alignment.
  int64_t m = 2 * GetParam().s * GetParam().r * GetParam().cM;
  int64_t z = 2 * GetParam().r * GetParam().r * GetParam().cZ;
  int64_t kept(Policy policy) { return planOf(specOf(GetParam().spec), policy).summary.keptBytes; }
};

// The streams as the block finds them. At (512, 384) 48 (512 384 256 + 384^2 128) 2 = 6 GiB.
TEST_P(KeptAtSeedSizes, LargeKeepsTheStreamsOfEachBlock) {
  EXPECT_EQ(kept(Policy::Large), GetParam().blocks * (m + z));
  if (std::string(GetParam().spec) == "train-512-384") {
    EXPECT_EQ(kept(Policy::Large), 6643777536);
  }
}

// What each backward reads, each version once: m of three MSA modules, the last of which the outer
// product shares with the next block's row attention, z of the bias, four triangles and the
// transition. The first row attention has no outer product before it and keeps the m of the input.
TEST_P(KeptAtSeedSizes, SmallKeepsWhatModulesReadOnce) {
  EXPECT_EQ(kept(Policy::Small), GetParam().blocks * (3 * m + 6 * z) + m);
  EXPECT_EQ(kept(Policy::Chunk), kept(Policy::Small));
}

// Row attention's m and z, and the streams behind it, of which z is the same: 2 |m| + |z|.
TEST_P(KeptAtSeedSizes, ExtraKeepsTheStreamsOfRowAttentionAndItsM) {
  EXPECT_EQ(kept(Policy::Extra), GetParam().blocks * (2 * m + z));
}

TEST_P(KeptAtSeedSizes, TheOneMoreIsTheFirstBlocksByName) {
  plan::Plan plan = planOf(specOf(GetParam().spec), Policy::Small);
  const plan::Program &forward = programOf(plan, plan::Phase::Forward);
  ASSERT_EQ(forward.runs.size(), 2u);
  EXPECT_EQ(forward.runs[0].blockCount, 1);
  EXPECT_EQ(forward.runs[1].blockCount, GetParam().blocks - 1);
  const plan::Procedure &first = procedureOf(plan, forward.runs[0].calls[0]);
  const plan::Procedure &other = procedureOf(plan, forward.runs[1].calls[0]);
  EXPECT_EQ(first.module, "msa_att_row");
  EXPECT_EQ(other.module, "msa_att_row");
  EXPECT_TRUE(keeps(first, "saved.m"));
  EXPECT_FALSE(keeps(other, "saved.m"));
  EXPECT_EQ(keptBytes(first) - keptBytes(other), m);
  for (size_t i = 1; i < forward.runs[0].calls.size(); ++i)
    EXPECT_EQ(forward.runs[0].calls[i].procedure, forward.runs[1].calls[i].procedure);
}

TEST_P(KeptAtSeedSizes, PlansStaySmall) {
  spec::ModelSpec spec = specOf(GetParam().spec);
  spec.blocks = 48;
  for (Policy policy : policiesOf(spec)) {
    Result<std::string> text = plan::printPlan(planOf(spec, policy));
    ASSERT_TRUE(text.ok()) << text.status().message();
    EXPECT_LT(text->size(), 1000000u) << policyName(policy).str();
  }
}

INSTANTIATE_TEST_SUITE_P(All, KeptAtSeedSizes, ::testing::ValuesIn(kSeedSizes),
                         [](const ::testing::TestParamInfo<Sizes> &info) {
                           std::string name = info.param.spec;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

//===----------------------------------------------------------------------===//
// Versions and places
//===----------------------------------------------------------------------===//

/// The stacks in all their orders, large enough that 512 bytes matter little.
std::vector<spec::ModelSpec> stacks() {
  std::vector<spec::ModelSpec> specs;
  for (auto stack :
       {spec::StackKind::Evoformer, spec::StackKind::ExtraMsa, spec::StackKind::TemplatePair})
    for (bool opmFirst : {false, true}) {
      if (opmFirst && stack == spec::StackKind::TemplatePair)
        continue;
      spec::ModelSpec spec = smallSpec(stack, 40, 30);
      spec.mode = plan::Mode::Train;
      spec.opmFirst = opmFirst;
      specs.push_back(spec);
    }
  return specs;
}

std::string labelOf(const spec::ModelSpec &spec, Policy policy) {
  return std::string(spec::stackName(spec.stack)) + (spec.opmFirst ? ", opm first, " : ", ") +
         policyName(policy).str();
}

/// The stream that a module of that prefix updates; none for a checkpoint.
std::string updatedBy(const std::string &module) {
  if (module == "checkpoint")
    return "";
  return module.rfind("msa_", 0) == 0 ? "m" : "z";
}

/// Follows one block's calls of forward procedures from the versions that it begins with.
void expectNoCopyTwice(const plan::Plan &plan, const std::vector<plan::Call> &calls,
                       std::map<std::string, int64_t> &version,
                       std::set<std::pair<std::string, int64_t>> &kept) {
  for (const plan::Call &call : calls) {
    const plan::Procedure &procedure = procedureOf(plan, call);
    if (procedure.phase != plan::Phase::Forward)
      continue;
    for (const std::string stream : {"m", "z"})
      if (keeps(procedure, "saved." + stream)) {
        EXPECT_TRUE(kept.insert({stream, version[stream]}).second)
            << procedure.name << " keeps version " << version[stream] << " of " << stream;
      }
    ++version[updatedBy(procedure.module)];
  }
}

TEST(Recompute, NoVersionOfAStreamIsKeptTwice) {
  for (const spec::ModelSpec &spec : stacks())
    for (Policy policy : policiesOf(spec)) {
      SCOPED_TRACE(labelOf(spec, policy));
      plan::Plan plan = planOf(spec, policy);
      std::map<std::string, int64_t> version;
      std::set<std::pair<std::string, int64_t>> kept;
      for (const plan::BlockRun &run : programOf(plan, plan::Phase::Forward).runs)
        for (int64_t block = 0; block < run.blockCount; ++block)
          expectNoCopyTwice(plan, run.calls, version, kept);
      EXPECT_FALSE(kept.empty());
      // What is computed again begins anew in each block, and in each group behind its sweeps.
      for (const plan::BlockRun &run : programOf(plan, plan::Phase::Backward).runs) {
        std::vector<plan::Call> again;
        for (const plan::Call &call : run.calls) {
          if (procedureOf(plan, call).phase == plan::Phase::Forward) {
            if (procedureOf(plan, call).module != "checkpoint")
              again.push_back(call);
            continue;
          }
          std::map<std::string, int64_t> groupVersion;
          std::set<std::pair<std::string, int64_t>> groupKept;
          expectNoCopyTwice(plan, again, groupVersion, groupKept);
          again.clear();
        }
      }
    }
}

/// A plan step by step: when each piece of memory begins and ends to be needed. What a loop touches
/// is needed as long as the loop runs.
class Replay {
public:
  explicit Replay(const plan::Plan &plan) : plan(plan) {
    for (plan::Phase phase : {plan::Phase::Forward, plan::Phase::Backward, plan::Phase::Optimizer})
      for (const plan::Program &program : plan.programs)
        for (const plan::BlockRun &run : program.runs)
          for (int64_t i = 0; program.phase == phase && i < run.blockCount; ++i)
            for (const plan::Call &call : run.calls)
              play(call, plan::goesDown(plan, program, run) ? run.blockCount - 1 - i : i);
  }
  int64_t largestSum() const {
    std::vector<int64_t> sums(now, plan::slotBytes(plan));
    for (const Life &life : lives)
      for (size_t t = life.begin; t < life.end; ++t)
        sums[t] += life.bytes;
    return *std::max_element(sums.begin(), sums.end());
  }

private:
  struct Life {
    size_t begin = 0, end = 0; ///< steps
    int64_t bytes = 0;
  };

  void play(const plan::Call &call, int64_t block) {
    const plan::Procedure &procedure = procedureOf(plan, call);
    std::map<int32_t, size_t> own; // lives by buffer
    for (const plan::Step &step : procedure.steps) {
      std::set<int32_t> touched;
      size_t before = now;
      run(procedure, step, own, touched);
      for (int32_t index : touched)
        touch(call, procedure, index, block, before);
    }
  }
  void run(const plan::Procedure &procedure, const plan::Step &step, std::map<int32_t, size_t> &own,
           std::set<int32_t> &touched) {
    if (const auto *alloc = std::get_if<plan::AllocStep>(&step.value)) {
      own[alloc->buffer] = lives.size();
      lives.push_back({now, 0, plan::alignTo(procedure.buffers[alloc->buffer].bytes)});
    } else if (const auto *freed = std::get_if<plan::FreeStep>(&step.value)) {
      lives[own.at(freed->buffer)].end = now;
    } else if (const auto *loop = std::get_if<plan::LoopStep>(&step.value)) {
      for (const plan::Step &each : loop->body)
        run(procedure, each, own, touched);
    } else {
      ++now;
      for (const auto &view : std::get<plan::KernelStep>(step.value).operands)
        if (view)
          touched.insert(view->buffer);
    }
  }
  /// In the steps from `before` on.
  void touch(const plan::Call &call, const plan::Procedure &procedure, int32_t index, int64_t block,
             size_t before) {
    const plan::Buffer &buffer = procedure.buffers[index];
    bool saved = buffer.base == plan::Base::Saved;
    int64_t place = call.savedOffset + block * call.savedStride + buffer.offset;
    for (const plan::Binding &binding : call.bindings)
      if (binding.buffer == index) {
        saved = true;
        place = binding.offset + block * binding.stride;
      }
    if (!saved)
      return;
    if (buffer.base == plan::Base::Saved && procedure.phase == plan::Phase::Forward &&
        made.insert({&call, {block, index}}).second) {
      keptAt[place] = lives.size();
      lives.push_back({before, now, plan::alignTo(buffer.bytes)});
    }
    lives[keptAt.at(place)].end = std::max(lives[keptAt.at(place)].end, now);
  }

  const plan::Plan &plan;
  size_t now = 0; ///< steps so far
  std::vector<Life> lives;
  std::map<int64_t, size_t> keptAt; ///< by place
  std::set<std::pair<const plan::Call *, std::pair<int64_t, int32_t>>> made;
};

/// The arena is the largest sum of what lives, or the plan says by how much not: what the last call
/// that reads a kept tensor needs behind that read.
void expectTight(const plan::Plan &plan, Policy policy) {
  EXPECT_EQ(plan.arenaBytes - Replay(plan).largestSum(), plan.summary.idle.total);
  EXPECT_LE(plan.summary.idle.total, plan.summary.idle.kept + plan.summary.idle.frame);
  EXPECT_EQ(plan.summary.idle.frame, 0);
  if (policy == Policy::Small || policy == Policy::Chunk) {
    EXPECT_EQ(plan.summary.idle.total, 0);
  }
}

TEST(Recompute, TheArenaIsTheLargestSumOfWhatLives) {
  for (const spec::ModelSpec &spec : stacks())
    for (Policy policy : policiesOf(spec))
      for (bool plain : {false, true}) {
        SCOPED_TRACE(labelOf(spec, policy) + (plain ? ", plain" : ""));
        expectTight(planOf(spec, policy, plain), policy);
      }
}

/// An example in training and small: 3 blocks, 20 rows, its own channels.
spec::ModelSpec smallExample(const std::string &file, const char *r, bool opmFirst) {
  std::vector<std::string> overrides = {"mode=train", "blocks=3", r};
  Result<spec::ModelSpec> spec = spec::readModelSpec(file, overrides);
  EXPECT_TRUE(spec.ok()) << spec.status().message();
  if (spec->hasMsa()) {
    spec->s = 20;
    spec->opmFirst = opmFirst;
  }
  return *spec;
}

TEST(Recompute, TheArenaOfEveryExampleIsTheLargestSumOfWhatLives) {
  int64_t plans = 0;
  for (const auto &file : std::filesystem::directory_iterator(EVO_SPECS_FOLDER))
    for (const char *r : {"r=24", "r=40"})
      for (bool opmFirst : {false, true}) {
        spec::ModelSpec spec = smallExample(file.path().string(), r, opmFirst);
        for (Policy policy : policiesOf(spec))
          for (bool plain : {false, true}) {
            SCOPED_TRACE(file.path().stem().string() + ", " + r + ", " + labelOf(spec, policy) +
                         (plain ? ", plain" : ""));
            expectTight(planOf(spec, policy, plain), policy);
            ++plans;
          }
      }
  EXPECT_GT(plans, 0);
}

/// The most bytes that are allocated at once.
int64_t loadOf(const plan::Procedure &procedure, const std::vector<plan::Step> &steps,
               int64_t &live) {
  int64_t load = live;
  for (const plan::Step &step : steps) {
    if (const auto *alloc = std::get_if<plan::AllocStep>(&step.value))
      live += plan::alignTo(procedure.buffers[size_t(alloc->buffer)].bytes);
    else if (const auto *freed = std::get_if<plan::FreeStep>(&step.value))
      live -= plan::alignTo(procedure.buffers[size_t(freed->buffer)].bytes);
    else if (const auto *loop = std::get_if<plan::LoopStep>(&step.value))
      load = std::max(load, loadOf(procedure, loop->body, live));
    load = std::max(load, live);
  }
  return load;
}

TEST(Recompute, FramesAreAsHighAsTheirLoad) {
  int64_t frames = 0;
  for (const Sizes &sizes : kSeedSizes) {
    spec::ModelSpec spec = specOf(sizes.spec);
    for (Policy policy : policiesOf(spec))
      for (bool plain : {false, true}) {
        SCOPED_TRACE(std::string(sizes.spec) + ", " + policyName(policy).str());
        plan::Plan plan = planOf(spec, policy, plain);
        for (const plan::Procedure &procedure : plan.procedures) {
          int64_t live = 0;
          EXPECT_EQ(procedure.frameBytes, loadOf(procedure, procedure.steps, live))
              << procedure.name;
          EXPECT_EQ(live, 0) << procedure.name;
          ++frames;
        }
      }
  }
  EXPECT_GT(frames, 0);
}

} // namespace
