//===- CoshardTest.cpp - backwards in slices, alone and in runs --*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// Each module by itself, and the modules that may share a loop: however many slices the backward
// has, the gradients are those of the whole, and its frame shrinks to what its procedure predicts.
//===----------------------------------------------------------------------===//
#include "runtime/cpu/CpuBackend.h"
#include "runtime/plan/Verify.h"
#include "test/passes/RunFixture.h"
#include "test/passes/StackFixture.h"

#include "mlir/IR/MLIRContext.h"

#include <gtest/gtest.h>

using namespace mlir;
using namespace evo;
using namespace evo::test;
using spec::StackKind;
using enum spec::StackKind;

namespace {

/// Modules [first, first + count) of a stack's block, along an axis.
struct Case {
  std::string name;
  StackKind stack;
  size_t first, count;
  ir::Axis axis;
};

std::ostream &operator<<(std::ostream &stream, const Case &c) { return stream << c.name; }

spec::ModelSpec specOf(const Case &c, int64_t s, int64_t r) {
  spec::ModelSpec spec = smallSpec(c.stack, s, r);
  spec.blocks = 2;
  spec.mode = plan::Mode::Train;
  spec.precision = plan::Precision::Fp64;
  spec.opmEps = 0.1; // see DropoutTest.cpp
  return spec;
}

/// Takes all other modules out of the block.
void keepModules(ModuleOp module, size_t first, size_t count) {
  for (auto [index, op] : llvm::enumerate(modulesOf(module))) {
    if (index >= first && index < first + count)
      continue;
    for (auto [name, operand] : llvm::zip_equal(op.getTensorNames(), op->getOperands()))
      if (name == op.getUpdatedTensor())
        op->getResult(0).replaceAllUsesWith(operand);
    op->erase();
  }
}

class Coshard : public ::testing::TestWithParam<Case> {
protected:
  /// The case's modules with a backward in slices of `size`; 0: whole.
  OwningOpRef<ModuleOp> chosen(int64_t s, int64_t r, ir::KernelVariant variant, int64_t size) {
    const Case &c = GetParam();
    OwningOpRef<ModuleOp> module = importSpecification(specOf(c, s, r), &context);
    keepModules(*module, c.first, c.count);
    setTarget(*module);
    bool run = c.count > 1;
    for (ir::ModuleOpInterface op : modulesOf(*module)) {
      bool has = llvm::is_contained(op.getLegalVariants(), variant);
      ir::KernelVariant own = has ? variant : op.getLegalVariants().front();
      bool sliced = !run && size > 0;
      op.setModuleChoice(ir::ChoiceAttr::get(&context, own, ir::Axis::None, 0, ir::Keep::Input, own,
                                             sliced ? c.axis : ir::Axis::None, sliced ? size : 0,
                                             ir::MsaLayout::Whole, ir::PairLayout::Whole));
    }
    if (run && size > 0) {
      Attribute attr = ir::RunAttr::get(&context, 0, int64_t(c.count), c.axis, size);
      segmentOf(*module).setRunsAttr(ArrayAttr::get(&context, attr));
    }
    return module;
  }
  static ir::SegmentOp segmentOf(ModuleOp module) {
    auto stack = *module.getOps<ir::StackOp>().begin();
    return *stack.getBody().front().getOps<ir::SegmentOp>().begin();
  }
  int64_t extent(ModuleOp module) {
    for (const ir::SliceAxis &axis : modulesOf(module).front().getLegalAxes())
      if (axis.axis == GetParam().axis)
        return axis.extent;
    return 0;
  }

  /// The frame of a unit's backward, lowered by itself.
  int64_t frameAlone(ModuleOp module) {
    OpBuilder builder = OpBuilder::atBlockEnd(module.getBody());
    std::vector<Unit> units = collectUnits(segmentOf(module));
    int64_t height = 0;
    for (const Unit &unit : units) {
      FailureOr<kern::ProcedureOp> procedure =
          emitBackward(builder, unit, "alone", plan::Precision::Fp64);
      EXPECT_TRUE(succeeded(procedure));
      EXPECT_TRUE(succeeded(assignBuffers(*procedure)));
      freeBuffers(*procedure);
      EXPECT_TRUE(succeeded(placeFrame(*procedure)));
      height = std::max<int64_t>(height, *procedure->getFrameBytes());
      procedure->erase();
    }
    return height;
  }
  static int64_t backwardFrame(const plan::Plan &plan) {
    int64_t height = 0;
    for (const plan::Procedure &procedure : plan.procedures)
      if (procedure.phase == plan::Phase::Backward)
        height = std::max(height, procedure.frameBytes);
    return height;
  }

  MLIRContext context{MLIRContext::Threading::DISABLED};
};

constexpr ir::KernelVariant kVariants[] = {ir::KernelVariant::Fused, ir::KernelVariant::Plain};

TEST_P(Coshard, GradientsAreThoseOfTheWhole) {
  auto backend = createCpuBackend(2);
  ASSERT_TRUE(backend.ok());
  for (ir::KernelVariant variant : kVariants) {
    Result<plan::Plan> whole = lowerToPlan(*chosen(5, 7, variant, 0));
    ASSERT_TRUE(whole.ok()) << whole.status().message();
    Tensors expected = runTraining(*whole, **backend);
    // One element, ragged ones, all in one slice, and a size beyond the extent.
    for (int64_t size : {1, 2, 3, 4, 7, 9}) {
      SCOPED_TRACE("slices of " + std::to_string(size));
      Result<plan::Plan> plan = lowerToPlan(*chosen(5, 7, variant, size));
      ASSERT_TRUE(plan.ok()) << plan.status().message();
      std::optional<plan::Violation> violation = plan::verifyPlan(*plan);
      ASSERT_FALSE(violation) << violation->path << ": " << violation->message;
      expectClose(expected, runTraining(*plan, **backend));
    }
  }
}

TEST_P(Coshard, FramesFallWithThePartsToWhatIsPredicted) {
  for (ir::KernelVariant variant : kVariants) {
    int64_t before = 0, whole = 0;
    for (int64_t parts : {1, 2, 3, 8, 48}) { // 48 elements; 3 and 8 divide, 5 slices of 11 do not
      SCOPED_TRACE(std::to_string(parts) + " parts");
      OwningOpRef<ModuleOp> module = chosen(48, 48, variant, 0);
      ASSERT_EQ(extent(*module), 48);
      module = chosen(48, 48, variant, 48 / parts);
      int64_t alone = frameAlone(*module);
      Result<plan::Plan> plan = lowerToPlan(*module);
      ASSERT_TRUE(plan.ok()) << plan.status().message();
      EXPECT_EQ(backwardFrame(*plan), alone);
      if (parts > 1) {
        EXPECT_LT(alone, before);
      } else {
        whole = alone;
      }
      before = alone;
    }
    // Ragged slices need what their longest do.
    OwningOpRef<ModuleOp> ragged = chosen(48, 48, variant, 11), even = chosen(48, 48, variant, 12);
    EXPECT_LT(frameAlone(*ragged), frameAlone(*even));
    EXPECT_LT(frameAlone(*even), whole);
  }
}

using enum ir::Axis;
INSTANTIATE_TEST_SUITE_P(
    All, Coshard,
    ::testing::Values(
        Case{"row_s", Evoformer, 0, 1, S}, Case{"column_r", Evoformer, 1, 1, R},
        Case{"msa_transition_s", Evoformer, 2, 1, S}, Case{"msa_transition_r", Evoformer, 2, 1, R},
        Case{"outer_product_ri", Evoformer, 3, 1, Ri}, Case{"outgoing_ri", Evoformer, 4, 1, Ri},
        Case{"incoming_rj", Evoformer, 5, 1, Rj}, Case{"starting_ri", Evoformer, 6, 1, Ri},
        Case{"ending_rj", Evoformer, 7, 1, Rj}, Case{"pair_transition_ri", Evoformer, 8, 1, Ri},
        Case{"pair_transition_rj", Evoformer, 8, 1, Rj}, Case{"global_column_r", ExtraMsa, 1, 1, R},
        Case{"template_starting_ri", TemplatePair, 0, 1, Ri},
        Case{"run_column_transition_r", Evoformer, 1, 2, R},
        Case{"run_global_column_transition_r", ExtraMsa, 1, 2, R},
        Case{"run_ending_transition_rj", Evoformer, 7, 2, Rj}),
    [](const ::testing::TestParamInfo<Case> &info) { return info.param.name; });

/// The cases above are all modules and axes that there are.
TEST(CoshardCases, AreAllThatModulesHave) {
  MLIRContext context(MLIRContext::Threading::DISABLED);
  size_t count = 0;
  OwningOpRef<ModuleOp> module = importSpecification(smallSpec(Evoformer, 5, 7), &context);
  for (ir::ModuleOpInterface op : modulesOf(*module))
    count += op.getLegalAxes().size();
  EXPECT_EQ(count, 11u);
}

} // namespace
