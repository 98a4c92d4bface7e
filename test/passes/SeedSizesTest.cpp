//===- SeedSizesTest.cpp - memory at the seed's sizes -----------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// Literal bytes, with their arithmetic. MiB and GiB are powers of two.
//===----------------------------------------------------------------------===//
#include "passes/Compile.h"

#include "gtest/gtest.h"

using namespace evo;

namespace {

constexpr int64_t kMiB = int64_t{1} << 20;

plan::Plan planOf(const std::string &name, Policy policy, bool plain) {
  Result<spec::ModelSpec> spec =
      spec::readModelSpec(std::string(EVO_SPECS_FOLDER) + "/" + name + ".json", {});
  EXPECT_TRUE(spec.ok()) << spec.status().message();
  CompileOptions options;
  options.policy = policy;
  Result<cost::DeviceProfile> profile = loadProfile("h100");
  EXPECT_TRUE(profile.ok());
  options.target = {*profile, int64_t{1} << 50, plain};
  mlir::MLIRContext context(mlir::MLIRContext::Threading::DISABLED);
  Result<Compilation> compilation = compile(*spec, options, context);
  EXPECT_TRUE(compilation.ok()) << compilation.status().message();
  return compilation->plan;
}

// (s, r) = (128, 2048) in fp32, U = 2048 * 2048 * 128 * 4 = 2048 MiB. What is chunked is small; the
// pair transition is not, and holds the normalised z and its hidden layer: 1 U + 4 U. It adds to z
// in place.
//   m 128 * 2048 * 256 * 4 = 256 MiB, z 2048 MiB, masks 128 * 2048 * 4 = 1 MiB and 2048 * 2048 * 4
//   = 16 MiB, the GPU's workspace 144 MiB
TEST(SeedSizes, ChunkAtT1044HoldsNoSecondPairTensor) {
  for (bool plain : {false, true}) {
    plan::Plan plan = planOf("t1044-infer-128-2048", Policy::Chunk, plain);
    EXPECT_EQ(plan.arenaBytes, (256 + 2048 + 1 + 16 + 144 + 5 * 2048) * kMiB);
    EXPECT_LE(plan.arenaBytes, 7 * 2048 * kMiB);
  }
}

// Materialised attention in chunks, beside the pair bias and the slices' own tensors:
// logits of 4 rows 4 * 4 * 2048 * 2048 * 4 = 256 MiB, bias 4 * 2048 * 2048 * 4 = 64 MiB,
// q|k|v|g 4 * 2048 * 512 * 4 = 16 MiB, o (or, before it, the normalised slice) 4 * 2048 * 128 * 4 =
// 4 MiB.
TEST(SeedSizes, ChunkedTriangleAttentionHoldsOneSlicesLogits) {
  plan::Plan plan = planOf("t1044-infer-128-2048", Policy::Chunk, true);
  int64_t found = 0;
  for (const plan::Procedure &procedure : plan.procedures)
    if (procedure.module == "pair_stack.tri_att_start") {
      EXPECT_EQ(procedure.frameBytes, (256 + 64 + 16 + 4) * kMiB);
      ++found;
    }
  EXPECT_EQ(found, 1);
}

// Without slices the materialised logits are there whole: at (128, 256) row attention holds
// h s r^2 = 8 * 128 * 256 * 256 * 4 = 256 MiB, q|k|v|g 128 * 256 * 1024 * 4 = 128 MiB and o 32 MiB;
// the pair bias is free again once the logits have it.
TEST(SeedSizes, DirectRowAttentionHoldsAllLogits) {
  plan::Plan plan = planOf("infer-128-256", Policy::Direct, true);
  EXPECT_EQ(plan.procedures.front().module, "msa_att_row");
  EXPECT_EQ(plan.procedures.front().frameBytes, (256 + 128 + 32) * kMiB);
}

} // namespace
