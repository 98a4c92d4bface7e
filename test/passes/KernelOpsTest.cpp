//===- KernelOpsTest.cpp - one op a row of Kernels.def ----------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// Each row's op is parsed with every subset of its optional operands, by the row's names; what the
// interface gives back must be what was written. descriptions_test.py holds ODS names and the rows
// together.
//===----------------------------------------------------------------------===//
#include "dialects/Kern/KernDialect.h"
#include "test/passes/KernelText.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/IR/OwningOpRef.h"
#include "mlir/Parser/Parser.h"
#include "llvm/ADT/STLExtras.h"

#include <gtest/gtest.h>

#include <set>

using namespace mlir;
using namespace evo;
using namespace evo::test;
using plan::KernelInfo;

namespace {

class KernelOps : public ::testing::Test {
protected:
  KernelOps() {
    context.loadDialect<kern::KernDialect>();
    context.allowUnregisteredDialects();
  }

  OwningOpRef<ModuleOp> parse(const std::string &text) {
    return parseSourceString<ModuleOp>(text, ParserConfig(&context));
  }

  MLIRContext context;
};

TEST_F(KernelOps, EveryRowHasItsOpWithItsOperandsAndAttributes) {
  for (const KernelInfo &info : plan::kernelTable()) {
    SCOPED_TRACE(std::string(info.mnemonic));
    unsigned optional = optionalOperands(info);
    for (unsigned absent = optional;; absent = (absent - 1) & optional) {
      if (isLegal(info, absent)) {
        std::string text = kernelText(info, absent);
        OwningOpRef<ModuleOp> module = parse(text);
        ASSERT_TRUE(module) << text;
        kern::KernelOpInterface found;
        module->walk([&](kern::KernelOpInterface op) { found = op; });
        ASSERT_TRUE(found) << text;
        EXPECT_EQ(found.getKernel(), info.kernel);
        Block &block = *found->getBlock();
        SmallVector<Value> inputs = found.getKernelInputs(), outputs = found.getKernelOutputs();
        ASSERT_EQ(inputs.size() + outputs.size(), info.operands.size());
        for (auto [index, input] : llvm::enumerate(inputs))
          EXPECT_EQ(input, absent >> index & 1 ? Value() : Value(block.getArgument(index))) << text;
        unsigned result = 0;
        for (auto [index, output] : llvm::enumerate(outputs)) {
          bool given = !(absent >> (inputs.size() + index) & 1);
          EXPECT_EQ(output, given ? Value(found->getResult(result)) : Value()) << text;
          result += given;
        }
      }
      if (absent == 0)
        break;
    }
  }
}

TEST_F(KernelOps, AttributesAreTheRowsAndTheStoreOrder) {
  for (const KernelInfo &info : plan::kernelTable()) {
    SCOPED_TRACE(std::string(info.mnemonic));
    auto name = RegisteredOperationName::lookup("kern." + std::string(info.mnemonic), &context);
    ASSERT_TRUE(name);
    std::set<std::string> expected = {"layout"}, got;
    for (plan::KernelAttribute attribute : info.attributes)
      expected.insert(std::string(plan::attributeName(attribute)));
    for (StringAttr attribute : name->getAttributeNames())
      if (attribute != "operandSegmentSizes" && attribute != "resultSegmentSizes")
        got.insert(attribute.str());
    EXPECT_EQ(got, expected);
  }
}

TEST_F(KernelOps, ValuesOfAttributesComeThrough) {
  OwningOpRef<ModuleOp> module = parse(kernelText(plan::kernelInfo(plan::Kernel::Attention), 0));
  ASSERT_TRUE(module);
  module->walk([&](kern::KernelOpInterface op) {
    plan::KernelAttributes values = op.getKernelAttributes();
    EXPECT_EQ(values.heads, 2);
    EXPECT_EQ(values.scale, 0.25);
    EXPECT_EQ(values.inf, 0.25);
    DictionaryAttr written = kern::writeKernelAttributes(&context, op.getKernel(), values);
    EXPECT_EQ(written.size(), 3u);
    EXPECT_EQ(kern::readKernelAttributes(written, op.getKernel()), values);
  });
}

TEST_F(KernelOps, OnlyKernelsOfTheListImplementTheInterface) {
  size_t kernels = 0;
  for (RegisteredOperationName name : context.getRegisteredOperations())
    kernels += name.getDialectNamespace() == "kern" && name.hasInterface<kern::KernelOpInterface>();
  EXPECT_EQ(kernels, plan::kernelTable().size());
}

TEST_F(KernelOps, TheTiedOperandIsTheRows) {
  for (const KernelInfo &info : plan::kernelTable()) {
    SCOPED_TRACE(std::string(info.mnemonic));
    OwningOpRef<ModuleOp> module = parse(kernelText(info, 0));
    ASSERT_TRUE(module);
    module->walk([&](kern::KernelOpInterface op) {
      SmallVector<Value> inputs = op.getKernelInputs();
      for (size_t output = 0; output < op.getKernelOutputs().size(); ++output) {
        std::string_view tied = info.operands[inputs.size() + output].mayAlias;
        EXPECT_EQ(op.getTiedOperand(output),
                  tied.empty() ? Value() : inputs[info.operandIndex(tied)])
            << "output " << output;
      }
    });
  }
}

/// Work on the extents above, counted by hand from the formulas of Kernels.def.
TEST_F(KernelOps, WorkCountsTheFormulasOfTheList) {
  struct Work {
    plan::Kernel kernel;
    bool matmul;
    double flops, exps;
  };
  using plan::Kernel;
  const Work expected[] = {
      {Kernel::LayerNorm, false, 8 * 12 * 2, 0},           // 8 a element of [4,3,2]
      {Kernel::Linear, true, 2 * 12 * 9 * 7, 12 * 9},      // [4,3,7] by [9,7]; sigmoid(gate)
      {Kernel::GatedLinear, true, 4 * 12 * 9 * 7, 12 * 9}, // two products; sigmoid of one
      {Kernel::Attention, true, 4 * 3 * 5 * 7 * 8,
       3 * 2 * 5 * 7}, // q k^T and a v, 8 = h c; softmax
      {Kernel::AttentionLogits, true, 2 * 3 * 5 * 7 * 8, 0},
      {Kernel::Softmax, false, 4 * 12 * 7, 12 * 7},
      {Kernel::AttentionValues, true, 2 * 3 * 5 * 7 * 8, 0},
      {Kernel::Gate, false, 3 * 3 * 5 * 8, 3 * 5 * 8},
      {Kernel::MaskedMean, false, 2 * 3 * 5 * 8, 0},
      {Kernel::OuterProduct, true, 2 * 4 * 5 * 6 * 6, 0}, // sum over s = 4 of [5,6,2 3]
      {Kernel::OuterProductMean, true, 2 * 4 * 5 * 6 * 6 + 2 * 5 * 6 * 9 * 6, 0},
      {Kernel::OuterProductNorm, true, 2 * 4 * 5 * 6, 0},
      {Kernel::BatchMatmul, true, 2 * 3 * 11 * 9 * 7, 0},
      {Kernel::Copy, false, 0, 0},
      {Kernel::DropoutMask, false, 20 * 12, 0}, // 10 rounds of 8 operations make 4 elements
      {Kernel::LayerNormGrad, false, 16 * 12 * 2, 0},
      {Kernel::LinearGrad, false, 4 * 12 * 9, 12 * 9}, // sigmoid(gate)
      {Kernel::WeightGrad, true, 2 * 12 * 9 * 7, 0},   // [9,12] by [12,7]
      {Kernel::BatchMatmulGrad, true, 2 * 3 * 11 * 9 * 7, 0},
      {Kernel::BiasGrad, false, 12 * 9, 0},
      {Kernel::GatedLinearGrad, false, 6 * 12 * 9, 12 * 9},
      // Logits, dout v^T, and the products of dquery, dkey and dvalue: five.
      {Kernel::AttentionGrad, true, 5 * 2 * 3 * 5 * 7 * 8, 3 * 2 * 5 * 7},
      {Kernel::SoftmaxGrad, false, 4 * 12 * 7, 0},
      {Kernel::AttentionValuesGrad, true, 2 * 2 * 3 * 5 * 7 * 8, 0},
      {Kernel::AttentionLogitsGrad, true, 2 * 2 * 3 * 5 * 7 * 8, 0},
      {Kernel::GateGrad, false, 6 * 3 * 5 * 8, 3 * 5 * 8},
      {Kernel::MaskedMeanGrad, false, 2 * 3 * 5 * 8, 0},
      {Kernel::OuterProductGrad, true, 2 * 2 * 4 * 5 * 6 * 6, 0}, // da and db
      {Kernel::Add, false, 12, 0},
      {Kernel::Zero, false, 0, 0},
      {Kernel::CountNonfinite, false, 12, 0},
      {Kernel::SgdStep, false, 5 * 12, 0},
      {Kernel::AdamwStep, false, 16 * 12, 0},
      {Kernel::AdvanceOptimizer, false, 4, 0},
  };
  ASSERT_EQ(std::size(expected), plan::kernelTable().size());
  for (const Work &work : expected) {
    const KernelInfo &info = plan::kernelInfo(work.kernel);
    SCOPED_TRACE(std::string(info.mnemonic));
    OwningOpRef<ModuleOp> module = parse(kernelText(info, 0));
    ASSERT_TRUE(module);
    module->walk([&](kern::KernelOpInterface op) {
      Result<plan::AxisExtents> axes = kern::getKernelAxes(op, 1);
      ASSERT_TRUE(axes.ok()) << axes.status().message();
      EXPECT_EQ(op.isMatmul(), work.matmul);
      EXPECT_EQ(op.getFlops(*axes), work.flops);
      EXPECT_EQ(op.getExps(*axes), work.exps);
      EXPECT_EQ(op.getWorkspaceBytes(*axes), 0);
    });
  }
}

} // namespace
