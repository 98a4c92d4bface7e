//===- EstimatesTest.cpp - the seed's terms beside exact frames -*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "test/passes/StackFixture.h"

#include "mlir/IR/MLIRContext.h"

#include <gtest/gtest.h>

using namespace mlir;
using namespace evo;
using namespace evo::test;

namespace {

/// AlphaFold's channels at the seed's (512, 384) in half precision.
spec::ModelSpec seedSpec(spec::StackKind stack) {
  spec::ModelSpec spec;
  spec.stack = stack;
  spec.blocks = 48;
  spec.s = 512;
  spec.r = 384;
  spec.precision = plan::Precision::Fp16;
  spec.msa = {.cM = 256,
              .cZ = 128,
              .cHiddenMsaAtt = 32,
              .cHiddenOpm = 32,
              .cHiddenMul = 128,
              .cHiddenPairAtt = 32,
              .noHeadsMsa = 8,
              .noHeadsPair = 4,
              .transitionN = 4};
  if (stack == spec::StackKind::ExtraMsa) {
    spec.msa.cM = 64;
    spec.msa.cHiddenMsaAtt = 8;
    spec.s = 1024;
  }
  return spec;
}

struct Term {
  const char *module;
  const char *formula;
  int64_t bytes;
};

void expectTerms(const spec::ModelSpec &spec, const std::vector<Term> &terms) {
  MLIRContext context(MLIRContext::Threading::DISABLED);
  Result<cost::DeviceProfile> profile = loadProfile("h100");
  ASSERT_TRUE(profile.ok());
  OwningOpRef<ModuleOp> module = importSpecification(spec, &context);
  std::vector<ir::ModuleOpInterface> modules = modulesOf(*module);
  ASSERT_EQ(modules.size(), terms.size());
  for (size_t i = 0; i < terms.size(); ++i) {
    ir::ModuleOpInterface op = modules[i];
    SCOPED_TRACE(terms[i].module);
    EXPECT_EQ(op.getParameterPrefix(), terms[i].module);
    EXPECT_EQ(op.getDominantTerm().formula, terms[i].formula);
    EXPECT_EQ(op.getDominantTerm().elements * 2, static_cast<double>(terms[i].bytes));
    // The materialised variant holds at least that tensor; the fused one needs no more.
    SmallVector<ir::KernelVariant> variants = op.getLegalVariants();
    int64_t frames[2] = {};
    for (auto [index, variant] : llvm::enumerate(variants)) {
      Result<Candidate> candidate = priceCandidate(op, ir::ChoiceAttr::get(&context, variant),
                                                   *profile, spec.precision, plan::Mode::Infer);
      ASSERT_TRUE(candidate.ok()) << candidate.status().message();
      frames[index] = candidate->frameBytes;
    }
    EXPECT_GE(frames[variants.size() - 1], terms[i].bytes);
    if (variants.size() == 2) {
      EXPECT_LE(frames[0], frames[1]);
    }
  }
}

TEST(Estimates, AreTheSeedsTermsAtItsSizes) {
  expectTerms(seedSpec(spec::StackKind::Evoformer),
              {
                  {"msa_att_row", "h s r^2", 1207959552},          // 8 512 384^2 2
                  {"msa_att_col._msa_att", "h s^2 r", 1610612736}, // 8 512^2 384 2
                  {"msa_transition", "4 s r c_m", 402653184},      // 4 512 384 256 2
                  {"outer_product_mean", "r^2 c^2", 301989888},    // 384^2 32^2 2
                  {"pair_stack.tri_mul_out", "r^2 c", 37748736},   // 384^2 128 2
                  {"pair_stack.tri_mul_in", "r^2 c", 37748736},
                  {"pair_stack.tri_att_start", "h r^3", 452984832}, // 4 384^3 2
                  {"pair_stack.tri_att_end", "h r^3", 452984832},
                  {"pair_stack.pair_transition", "4 r^2 c_z", 150994944}, // 4 384^2 128 2
              });
}

TEST(Estimates, OfGlobalAttentionHaveNoQuadraticTerm) {
  expectTerms(seedSpec(spec::StackKind::ExtraMsa),
              {
                  {"msa_att_row", "h s r^2", 2415919104},     // 8 1024 384^2 2
                  {"msa_att_col", "s r c_m", 50331648},       // 1024 384 64 2
                  {"msa_transition", "4 s r c_m", 201326592}, // 4 1024 384 64 2
                  {"outer_product_mean", "r^2 c^2", 301989888},
                  {"pair_stack.tri_mul_out", "r^2 c", 37748736},
                  {"pair_stack.tri_mul_in", "r^2 c", 37748736},
                  {"pair_stack.tri_att_start", "h r^3", 452984832},
                  {"pair_stack.tri_att_end", "h r^3", 452984832},
                  {"pair_stack.pair_transition", "4 r^2 c_z", 150994944},
              });
}

/// kept_bytes of a plan of policy small, and what it keeps of each block.
void expectKept(spec::ModelSpec spec, plan::Precision precision, int64_t bytes) {
  SCOPED_TRACE(std::string(spec::stackName(spec.stack)));
  spec.mode = plan::Mode::Train;
  spec.precision = precision;
  MLIRContext context(MLIRContext::Threading::DISABLED);
  Result<cost::DeviceProfile> profile = loadProfile("h100");
  ASSERT_TRUE(profile.ok());
  OwningOpRef<ModuleOp> module = importSpecification(spec, &context);
  Result<Policy> policy = choosePolicy(*module, Policy::Small, {*profile, INT64_MAX, false});
  ASSERT_TRUE(policy.ok()) << policy.status().message();
  Result<plan::Plan> plan = lowerToPlan(*module);
  ASSERT_TRUE(plan.ok()) << plan.status().message();
  EXPECT_EQ(plan->summary.keptBytes, bytes);
  // Tensors, kept tensors, frames: in the last block, the last frame lies on all that is kept.
  int64_t streams = 0;
  for (const plan::Tensor &tensor : plan->tensors)
    if (tensor.name[0] != 'd')
      streams += plan::alignTo(tensor.bytes);
  const plan::BlockRun &last = plan->programs[0].runs.back();
  EXPECT_EQ(last.calls.back().frameOffset + (last.blockCount - 1) * last.calls.back().frameStride,
            streams + bytes);
}

/// Policy small keeps what each module's backward reads, each version of a stream once: m of the
/// row attention, the column attention, the transition, and the outer product, which is that of the
/// next block's row attention; z of the row attention's bias, the four triangles and the
/// transition. So 3 s r c_m + 6 r^2 c_z a block, and the first block's m, which no block before it
/// keeps.
TEST(Estimates, PolicySmallKeepsWhatEachModuleReadsOnce) {
  // 48 (3 512 384 256 + 6 384^2 128) 2 + 512 384 256 2.
  expectKept(seedSpec(spec::StackKind::Evoformer), plan::Precision::Fp16, 25467813888);
  // And of 4 bytes each.
  expectKept(seedSpec(spec::StackKind::Evoformer), plan::Precision::Fp32, 50935627776);
  // 48 (3 1024 384 64 + 6 384^2 128) 2 + 1024 384 64 2.
  expectKept(seedSpec(spec::StackKind::ExtraMsa), plan::Precision::Fp16, 18169724928);
  // Pairs alone: 5 modules' z, 48 (5 384^2 64) 4.
  spec::ModelSpec pairs = seedSpec(spec::StackKind::TemplatePair);
  pairs.s = 0;
  pairs.templateChannels = {
      .cT = 64, .cHiddenTriAtt = 16, .cHiddenTriMul = 64, .noHeads = 4, .pairTransitionN = 2};
  expectKept(pairs, plan::Precision::Fp32, 9059696640);
}

} // namespace
