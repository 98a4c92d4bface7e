//===- KernelText.cpp -------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "test/passes/KernelText.h"

#include "llvm/ADT/STLExtras.h"

#include <map>

namespace evo::test {

using plan::KernelInfo;
using plan::OperandInfo;

namespace {

/// Extents that satisfy every kernel's own rules: 2 heads of width 4, an outer product of 2
/// times 3.
int64_t extentOf(const KernelInfo &info, char letter) {
  bool outer = info.kernel == plan::Kernel::OuterProduct ||
               info.kernel == plan::Kernel::OuterProductMean ||
               info.kernel == plan::Kernel::OuterProductGrad;
  static const std::map<char, int64_t> extents = {{'h', 2}, {'u', 1}, {'c', 2},  {'d', 3}, {'b', 3},
                                                  {'q', 5}, {'k', 7}, {'y', 4},  {'n', 9}, {'s', 4},
                                                  {'i', 5}, {'j', 6}, {'m', 11}, {'e', 4}};
  if (letter == 'x')
    return outer ? 6 : 8;
  return extents.at(letter);
}

std::string typeOf(const KernelInfo &info, const OperandInfo &operand) {
  std::string text = "tensor<";
  for (char letter : operand.axes)
    text += letter == '*'   ? "4x3x"
            : letter == '~' ? "1x3x"
                            : std::to_string(extentOf(info, letter)) + "x";
  return text + (operand.type == plan::OperandType::Statistic ? "f32>" : "bf16>");
}

std::string attributeText(const KernelInfo &info) {
  std::string text;
  for (plan::KernelAttribute attribute : info.attributes) {
    std::string value = "0.25 : f64";
    if (plan::attributeInfo(attribute).integer)
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

} // namespace

std::string kernelText(const KernelInfo &info, unsigned absent) {
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

bool isLegal(const KernelInfo &info, unsigned absent) {
  auto given = [&](std::string_view name) { return !(absent >> info.operandIndex(name) & 1); };
  if (info.kernel == plan::Kernel::LinearGrad && given("dgate") && !(given("h") && given("gate")))
    return false;
  if (info.kernel == plan::Kernel::SgdStep || info.kernel == plan::Kernel::AdamwStep)
    // The text's momentum is above 0.
    return given("master") == given("new_master") &&
           (info.operandIndex("velocity") < 0 || (given("velocity") && given("new_velocity")));
  size_t last = info.operands.size() - 1;
  return last == 0 || info.operands[last - 1].role != plan::OperandRole::OptOut ||
         !(absent >> (last - 1) & 1) || (absent >> last & 1);
}

unsigned optionalOperands(const KernelInfo &info) {
  unsigned optional = 0;
  for (auto [index, operand] : llvm::enumerate(info.operands))
    optional |= operand.isOptional() ? 1u << index : 0;
  return optional;
}

} // namespace evo::test
