//===- KernelOpsTest.cpp - one op a row of Kernels.def ----------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// Each row's op is parsed with every subset of its optional operands, by the row's names; what the
// interface gives back must be what was written. descriptions_test.py holds ODS names and the rows
// together.
//===----------------------------------------------------------------------===//
#include "dialects/Kern/KernDialect.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/IR/OwningOpRef.h"
#include "mlir/Parser/Parser.h"
#include "llvm/ADT/STLExtras.h"

#include <gtest/gtest.h>

#include <set>

using namespace mlir;
using namespace evo;
using plan::KernelInfo;
using plan::OperandInfo;

namespace {

/// Extents that satisfy every kernel's own rules: 2 heads of width 4, an outer product of 2
/// times 3.
int64_t extentOf(const KernelInfo &info, char letter) {
  bool outer = info.kernel == plan::Kernel::OuterProduct ||
               info.kernel == plan::Kernel::OuterProductMean ||
               info.kernel == plan::Kernel::OuterProductGrad;
  static const std::map<char, int64_t> extents = {{'h', 2}, {'u', 1}, {'c', 2}, {'d', 3}, {'b', 3},
                                                  {'q', 5}, {'k', 7}, {'y', 4}, {'n', 9}, {'s', 4},
                                                  {'i', 5}, {'j', 6}, {'m', 11}};
  if (letter == 'x')
    return outer ? 6 : 8;
  return extents.at(letter);
}

std::string typeOf(const KernelInfo &info, const OperandInfo &operand) {
  std::string text = "tensor<";
  for (char letter : operand.axes)
    text += letter == '*' ? "4x3x" : std::to_string(extentOf(info, letter)) + "x";
  return text + (operand.type == plan::OperandType::Statistic ? "f32>" : "bf16>");
}

std::string attributeText(const KernelInfo &info) {
  std::string text;
  for (plan::KernelAttribute attribute : info.attributes) {
    std::string value = "0.25 : f64";
    if (attribute == plan::KernelAttribute::Heads)
      value = "2 : i64";
    if (attribute == plan::KernelAttribute::Activation) {
      // The gradient of relu needs h.
      bool gradient = info.kernel == plan::Kernel::LinearGrad;
      value = gradient ? "\"none\"" : "\"relu\"";
    }
    text +=
        (text.empty() ? "" : ", ") + std::string(plan::attributeName(attribute)) + " = " + value;
  }
  return text.empty() ? "" : " {" + text + "}";
}

/// The kernel in a region whose arguments are all inputs, in order. Absent operands are bits of
/// `absent`.
std::string programText(const KernelInfo &info, unsigned absent) {
  std::string arguments, operands, types, results;
  for (auto [index, operand] : llvm::enumerate(info.operands)) {
    std::string type = typeOf(info, operand), name(operand.name);
    if (!operand.isOutput())
      arguments += (arguments.empty() ? "" : ", ") + ("%" + name) + ": " + type;
    if (absent >> index & 1)
      continue;
    if (operand.isOutput()) {
      results += (results.empty() ? "" : ", ") + type;
    } else {
      operands += (operands.empty() ? "" : ", ") + name + " = %" + name;
      types += (types.empty() ? "" : ", ") + type;
    }
  }
  size_t outputs = 0;
  for (auto [index, operand] : llvm::enumerate(info.operands))
    outputs += operand.isOutput() && !(absent >> index & 1);
  return "\"test.region\"() ({\n^bb0(" + arguments + "):\n  %r:" + std::to_string(outputs) +
         " = kern." + std::string(info.mnemonic) + "(" + operands + ")" + attributeText(info) +
         " : (" + types + ") -> (" + results + ")\n}) : () -> ()\n";
}

/// Whether the row allows these operands to be absent: results in their order, and those of
/// linear_grad that dgate is made of.
bool isLegal(const KernelInfo &info, unsigned absent) {
  auto given = [&](std::string_view name) { return !(absent >> info.operandIndex(name) & 1); };
  if (info.kernel == plan::Kernel::LinearGrad && given("dgate") && !(given("h") && given("gate")))
    return false;
  size_t last = info.operands.size() - 1;
  return last == 0 || info.operands[last - 1].role != plan::OperandRole::OptOut ||
         !(absent >> (last - 1) & 1) || (absent >> last & 1);
}

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
    unsigned optional = 0;
    for (auto [index, operand] : llvm::enumerate(info.operands))
      optional |= operand.isOptional() ? 1u << index : 0;
    for (unsigned absent = optional;; absent = (absent - 1) & optional) {
      if (isLegal(info, absent)) {
        std::string text = programText(info, absent);
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
  OwningOpRef<ModuleOp> module = parse(programText(plan::kernelInfo(plan::Kernel::Attention), 0));
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
    OwningOpRef<ModuleOp> module = parse(programText(info, 0));
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
      {Kernel::LayerNormGrad, false, 16 * 12 * 2, 0},
      {Kernel::LinearGrad, false, 4 * 12 * 9, 12 * 9}, // sigmoid(gate)
      {Kernel::WeightGrad, true, 2 * 12 * 9 * 7, 0},   // [9,12] by [12,7]
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
  };
  ASSERT_EQ(std::size(expected), plan::kernelTable().size());
  for (const Work &work : expected) {
    const KernelInfo &info = plan::kernelInfo(work.kernel);
    SCOPED_TRACE(std::string(info.mnemonic));
    OwningOpRef<ModuleOp> module = parse(programText(info, 0));
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
