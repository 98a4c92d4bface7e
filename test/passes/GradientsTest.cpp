//===- GradientsTest.cpp - every kernel's backward at the value level -*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// What a kernel's backward emits must be legal IR and give each input that gradients flow to a
// gradient of its shape, whichever optional operands are there. That the numbers are right is for
// the conformance suite's finite differences and the golden files.
//===----------------------------------------------------------------------===//
#include "dialects/Kern/Gradients.h"
#include "test/passes/KernelText.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/IR/OwningOpRef.h"
#include "mlir/IR/Verifier.h"
#include "mlir/Parser/Parser.h"
#include "llvm/ADT/STLExtras.h"

#include <gtest/gtest.h>

using namespace mlir;
using namespace evo;
using namespace evo::test;
using plan::KernelInfo;

namespace {

/// Gradients flow to streams and weights, never to masks and what is made of them.
bool isMask(std::string_view operand) {
  return operand == "mask" || operand == "row_scale" || operand == "dropout";
}

class Gradients : public ::testing::Test {
protected:
  Gradients() {
    context.loadDialect<kern::KernDialect>();
    context.allowUnregisteredDialects();
    context.getDiagEngine().registerHandler([&](Diagnostic &diagnostic) {
      reason += diagnostic.str();
      return success();
    });
  }

  kern::KernelOpInterface parse(const std::string &text) {
    module = parseSourceString<ModuleOp>(text, ParserConfig(&context));
    kern::KernelOpInterface found;
    if (module)
      module->walk([&](kern::KernelOpInterface op) { found = op; });
    return found;
  }

  /// The kernel's backward from a gradient of its first output; those of the inputs go to
  /// `gradients`.
  LogicalResult emitBackward(kern::KernelOpInterface op, kern::GradientBuilder &gradients) {
    Block &block = *op->getBlock();
    Value output = op.getKernelOutputs().front();
    gradients.set(output, block.addArgument(output.getType(), op.getLoc()));
    const KernelInfo &info = plan::kernelInfo(op.getKernel());
    for (auto [index, input] : llvm::enumerate(op.getKernelInputs())) {
      if (!input)
        continue;
      if (isMask(info.operands[index].name))
        gradients.setMask(input);
      else
        gradients.setActive(input);
    }
    return op.emitBackward(gradients);
  }

  std::string reason;
  MLIRContext context{MLIRContext::Threading::DISABLED};
  OwningOpRef<ModuleOp> module;
};

TEST_F(Gradients, OfEveryKernelAreLegalAndOfTheirInputsShapes) {
  size_t checked = 0;
  for (const KernelInfo &info : plan::kernelTable()) {
    if (info.kernel >= plan::Kernel::LayerNormGrad ||
        info.kernel == plan::Kernel::OuterProductNorm || info.kernel == plan::Kernel::DropoutMask)
      continue;
    unsigned optional = optionalOperands(info);
    for (unsigned absent = optional;; absent = (absent - 1) & optional) {
      if (isLegal(info, absent)) {
        SCOPED_TRACE(kernelText(info, absent));
        kern::KernelOpInterface op = parse(kernelText(info, absent));
        ASSERT_TRUE(op);
        OpBuilder builder = OpBuilder::atBlockEnd(op->getBlock());
        kern::GradientBuilder gradients(builder, op.getLoc(), builder.getBF16Type(),
                                        builder.getF32Type());
        SmallVector<Value> inputs = op.getKernelInputs();
        // The mean's backward adds to what another reader of x gave.
        if (info.kernel == plan::Kernel::MaskedMean)
          gradients.set(inputs[0], op->getBlock()->addArgument(inputs[0].getType(), op.getLoc()));
        ASSERT_TRUE(succeeded(emitBackward(op, gradients))) << reason;
        EXPECT_TRUE(succeeded(verify(*module))) << reason;
        for (auto [index, input] : llvm::enumerate(inputs)) {
          if (!input)
            continue;
          Value gradient = gradients.get(input);
          EXPECT_EQ(static_cast<bool>(gradient), !isMask(info.operands[index].name))
              << info.operands[index].name;
          if (gradient) {
            EXPECT_EQ(cast<ShapedType>(gradient.getType()).getShape(),
                      cast<ShapedType>(input.getType()).getShape())
                << info.operands[index].name;
          }
        }
        ++checked;
      }
      if (absent == 0)
        break;
    }
  }
  // layer_norm 3 (its results in order), linear 2^5, gated_linear 2, attention 2^3,
  // attention_logits 2^2, softmax, attention_values, gate 1 each, masked_mean 2, outer_product 1,
  // outer_product_mean 2, batch_matmul and copy 1 each.
  EXPECT_EQ(checked, 3u + 32 + 2 + 8 + 4 + 3 + 2 + 1 + 2 + 2);
}

TEST_F(Gradients, AreRefusedWithAReason) {
  auto refused = [&](plan::Kernel kernel) {
    reason.clear();
    kern::KernelOpInterface op = parse(kernelText(plan::kernelInfo(kernel), 0));
    OpBuilder builder = OpBuilder::atBlockEnd(op->getBlock());
    kern::GradientBuilder gradients(builder, op.getLoc(), builder.getBF16Type(),
                                    builder.getF32Type());
    EXPECT_TRUE(failed(emitBackward(op, gradients)));
    return reason;
  };
  for (const KernelInfo &info : plan::kernelTable())
    if (info.kernel >= plan::Kernel::LayerNormGrad && info.kernel != plan::Kernel::Zero) {
      bool optimizes = info.kernel >= plan::Kernel::CountNonfinite;
      EXPECT_EQ(refused(info.kernel), "'kern." + std::string(info.mnemonic) + "' op is " +
                                          (optimizes ? "of the optimizer" : "a gradient itself") +
                                          " and has no backward");
    }
  EXPECT_EQ(refused(plan::Kernel::OuterProductNorm),
            "'kern.outer_product_norm' op is of masks alone and has no backward");
  EXPECT_EQ(refused(plan::Kernel::DropoutMask),
            "'kern.dropout_mask' op depends on no value and has no backward");
  EXPECT_EQ(refused(plan::Kernel::Zero), "'kern.zero' op is of no operand and has no backward");
  EXPECT_EQ(
      refused(plan::Kernel::MaskedMean),
      "'kern.masked_mean' op expected another reader of x behind the mean, whose gradient its "
      "own is added to");
}

TEST_F(Gradients, OfAViewAreTheViewsOfGradients) {
  // m's gradient: that of the slices put together, each transposed back; two readers of a slice add
  // up.
  module = parseSourceString<ModuleOp>(R"(
    "test.region"() ({
    ^bb0(%m: tensor<4x6xf32>, %da: tensor<2x4xf32>, %db: tensor<4x4xf32>, %dc: tensor<4x4xf32>):
      %a = kern.slice %m axis 1 start 0 size 2 : tensor<4x6xf32> -> tensor<4x2xf32>
      %t = kern.transpose %a [1, 0] : tensor<4x2xf32> -> tensor<2x4xf32>
      %ta = kern.copy(x = %t) : (tensor<2x4xf32>) -> (tensor<2x4xf32>)
      %b = kern.slice %m axis 1 start 2 size 4 : tensor<4x6xf32> -> tensor<4x4xf32>
      %b1 = kern.copy(x = %b) : (tensor<4x4xf32>) -> (tensor<4x4xf32>)
      %b2 = kern.copy(x = %b) : (tensor<4x4xf32>) -> (tensor<4x4xf32>)
      "test.end"(%ta, %b1, %b2) : (tensor<2x4xf32>, tensor<4x4xf32>, tensor<4x4xf32>) -> ()
    }) : () -> ())",
                                       ParserConfig(&context));
  ASSERT_TRUE(module) << reason;
  Block &block = module->getBody()->front().getRegion(0).front();
  Operation *end = &block.back();
  OpBuilder builder = OpBuilder::atBlockEnd(&block);
  kern::GradientBuilder gradients(builder, end->getLoc(), builder.getF32Type(),
                                  builder.getF32Type());
  gradients.setActive(block.getArgument(0));
  for (unsigned i = 0; i < 3; ++i)
    gradients.set(end->getOperand(i), block.getArgument(1 + i));
  ASSERT_TRUE(succeeded(gradients.sweep(block))) << reason;
  ASSERT_TRUE(succeeded(verify(*module))) << reason;
  auto whole = gradients.get(block.getArgument(0)).getDefiningOp<kern::ConcatOp>();
  ASSERT_TRUE(whole);
  EXPECT_EQ(whole.getAxis(), 1u);
  ASSERT_EQ(whole.getParts().size(), 2u);
  auto turned = whole.getParts()[0].getDefiningOp<kern::TransposeOp>();
  ASSERT_TRUE(turned);
  EXPECT_EQ(turned.getInput(), block.getArgument(1));
  EXPECT_EQ(turned.getOrder(), ArrayRef<int64_t>({1, 0}));
  auto sum = whole.getParts()[1].getDefiningOp<kern::AddOp>();
  ASSERT_TRUE(sum);
  EXPECT_EQ(sum.getX(), block.getArgument(3)); // the last reader's first
  EXPECT_EQ(sum.getAddend(), block.getArgument(2));
}

} // namespace
