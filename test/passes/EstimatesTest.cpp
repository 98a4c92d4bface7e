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

} // namespace
