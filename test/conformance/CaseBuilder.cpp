//===- CaseBuilder.cpp ----------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "test/conformance/CaseBuilder.h"

#include <sstream>

namespace evo::conformance {

using plan::Kernel;
using plan::KernelAttributes;

namespace {

Fill fillOf(std::string_view operand) {
  if (operand.substr(0, 4) == "mask")
    return Fill::Mask;
  if (operand == "scalars")
    return Fill::Scalars;
  if (operand == "second_moment")
    return Fill::Square;
  return operand == "weight" || operand == "gate_weight" ? Fill::Weight : Fill::Normal;
}

/// Sums and differences of terms of the order of 1, which may cancel in outputs of few elements,
/// and exponents whose rounding errors are those of a logit and a lse of a few units.
void measureErrors(KernelCase &testCase) {
  switch (testCase.kernel) {
  case Kernel::AttentionGrad:
    testCase.conditioning = 4;
    [[fallthrough]];
  case Kernel::Linear:
  case Kernel::LayerNormGrad:
  case Kernel::WeightGrad:
  case Kernel::BatchMatmulGrad:
  case Kernel::BiasGrad:
  case Kernel::SoftmaxGrad:
  case Kernel::OuterProductGrad:
    testCase.magnitude = 1;
    break;
  default:
    break;
  }
}

/// What follows from other operands cannot be a broadcast.
bool isDerived(Kernel kernel, std::string_view operand) {
  return kernel == Kernel::AttentionGrad && (operand == "o" || operand == "lse");
}

/// Whether the operands that are present may stand in a plan together, and each serves a purpose.
bool mayStand(const KernelCase &testCase) {
  const plan::KernelInfo &info = plan::kernelInfo(testCase.kernel);
  auto has = [&](std::string_view name) {
    int index = info.operandIndex(name);
    return index >= 0 && testCase.operands[size_t(index)].present;
  };
  if (testCase.kernel == Kernel::LinearGrad) {
    bool relu = testCase.attributes.activation == plan::Activation::Relu;
    return (has("h") || !relu) && (!has("dgate") || (has("h") && has("gate")));
  }
  if (testCase.kernel == Kernel::SgdStep || testCase.kernel == Kernel::AdamwStep)
    return has("master") == has("new_master") && has("velocity") == has("new_velocity") &&
           (testCase.attributes.momentum == 0 || has("velocity"));
  return info.operandIndex("dpair_bias") < 0 || has("dpair_bias") || !has("accumulator");
}

} // namespace

void CaseBuilder::sweep(Kernel kernel, const KernelAttributes &attributes,
                        const std::vector<Sizes> &sizes, int mixtures) {
  const plan::KernelInfo &info = plan::kernelInfo(kernel);
  std::vector<size_t> optional;
  bool aliases = false;
  for (size_t i = 0; i < info.operands.size(); ++i) {
    if (info.operands[i].isOptional())
      optional.push_back(i);
    aliases |= !info.operands[i].mayAlias.empty();
  }
  for (const Sizes &size : sizes)
    for (unsigned subset = 0; subset < 1u << optional.size(); ++subset) {
      KernelCase base = make(kernel, attributes, size);
      for (size_t i = 0; i < optional.size(); ++i)
        base.operands[optional[i]].present = subset >> i & 1;
      if (!mayStand(base))
        continue;
      for (int mixture = 0; mixture <= mixtures; ++mixture) {
        KernelCase varied = base;
        if (mixture)
          mixLayouts(varied);
        add(varied);
        varied.inPlace = aliases;
        if (aliases)
          add(varied);
      }
    }
}

KernelCase CaseBuilder::make(Kernel kernel, const KernelAttributes &attributes,
                             const Sizes &sizes) const {
  KernelCase result;
  result.kernel = kernel;
  measureErrors(result);
  result.attributes = attributes;
  for (const plan::OperandInfo &operand : plan::kernelInfo(kernel).operands) {
    OperandCase operandCase;
    std::string_view axes = operand.axes;
    bool broadcast = axes.front() == '~';
    if (broadcast || axes.front() == '*') {
      operandCase.shape = sizes.leading;
      axes.remove_prefix(1);
    }
    // The broadcast axis goes round with the cases; in the last of a round there is none.
    if (size_t axis = cases.size() % (sizes.leading.size() + 1);
        broadcast && axis < sizes.leading.size())
      operandCase.shape[axis] = 1;
    for (char axis : axes)
      operandCase.shape.push_back(axis == 'h' ? attributes.heads : sizes.extent.at(axis));
    operandCase.fill = fillOf(operand.name);
    result.operands.push_back(operandCase);
  }
  return result;
}

void CaseBuilder::add(KernelCase testCase) {
  const plan::KernelInfo &info = plan::kernelInfo(testCase.kernel);
  testCase.seed = cases.size() + 1;
  std::ostringstream name;
  name << info.mnemonic << ' ' << cases.size();
  for (size_t i = 0; i < testCase.operands.size(); ++i) {
    const OperandCase &operand = testCase.operands[i];
    name << ' ' << info.operands[i].name;
    if (!operand.present) {
      name << ":absent";
      continue;
    }
    name << '[';
    for (size_t d = 0; d < operand.shape.size(); ++d)
      name << (d ? "," : "") << operand.shape[d];
    name << "]:layout" << int(operand.layout);
  }
  if (testCase.inPlace)
    name << " in place";
  testCase.name = name.str();
  cases.push_back(std::move(testCase));
}

void CaseBuilder::mixLayouts(KernelCase &testCase) {
  const plan::KernelInfo &info = plan::kernelInfo(testCase.kernel);
  for (size_t i = 0; i < testCase.operands.size(); ++i) {
    // A broadcast can be written by no one, and a broadcast line is constant: a layer norm of it
    // is all rounding error.
    bool broadcasts = !info.operands[i].isOutput() && testCase.operands[i].shape.size() > 1 &&
                      !isDerived(info.kernel, info.operands[i].name);
    for (const plan::OperandInfo &operand : info.operands)
      broadcasts &= operand.mayAlias != info.operands[i].name;
    int choices = broadcasts ? kLayouts : kLayouts - 1;
    testCase.operands[i].layout = Layout(int(random() % uint64_t(choices)));
  }
}

} // namespace evo::conformance
