//===- CaseBuilder.cpp ----------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "test/conformance/CaseBuilder.h"

#include <cstdlib>
#include <iomanip>
#include <iostream>
#include <limits>
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
  case Kernel::GatedLinear:
  case Kernel::OuterProductMean:
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

/// Shapes and layouts of the operands that are present.
void describeOperands(const KernelCase &testCase, std::ostream &text) {
  const plan::KernelInfo &info = plan::kernelInfo(testCase.kernel);
  for (size_t i = 0; i < testCase.operands.size(); ++i) {
    const OperandCase &operand = testCase.operands[i];
    text << ' ' << info.operands[i].name;
    if (!operand.present) {
      text << ":absent";
      continue;
    }
    text << '[';
    for (size_t d = 0; d < operand.shape.size(); ++d)
      text << (d ? "," : "") << operand.shape[d];
    text << "]:layout" << int(operand.layout);
  }
  if (testCase.inPlace)
    text << " in place";
}

/// All that makes a case what it is.
std::string keyOf(const KernelCase &testCase) {
  const plan::KernelInfo &info = plan::kernelInfo(testCase.kernel);
  std::ostringstream key;
  key << info.mnemonic << std::setprecision(std::numeric_limits<double>::max_digits10);
  for (plan::KernelAttribute attribute : info.attributes) {
    const plan::AttributeInfo &entry = plan::attributeInfo(attribute);
    key << ' ' << entry.name << '=';
    if (entry.real)
      key << testCase.attributes.*entry.real;
    else if (entry.integer)
      key << testCase.attributes.*entry.integer;
    else
      key << plan::activationName(testCase.attributes.activation);
  }
  describeOperands(testCase, key);
  for (const OperandCase &operand : testCase.operands)
    key << " fill" << int(operand.fill);
  key << (testCase.hugeIfMasked ? " huge" : "") << " dropout" << testCase.dropout.seed << ','
      << testCase.dropout.step << ',' << testCase.dropout.block;
  return key.str();
}

/// The same on every machine, each bit by chance: FNV-1a, stirred as in MurmurHash3.
uint64_t hashOf(const std::string &text) {
  uint64_t hash = 0xcbf29ce484222325;
  for (char c : text)
    hash = (hash ^ uint8_t(c)) * 0x100000001b3;
  hash = (hash ^ hash >> 33) * 0xff51afd7ed558ccd;
  return hash ^ hash >> 33;
}

uint64_t readSeed() {
  const char *text = std::getenv("EVO_CONFORMANCE_SEED");
  if (!text)
    return 0;
  if (std::string_view(text) != "random")
    return std::strtoull(text, nullptr, 10);
  uint64_t seed = std::random_device()();
  std::cout << "EVO_CONFORMANCE_SEED=" << seed << "\n";
  return seed;
}

} // namespace

uint64_t runSeed() {
  static const uint64_t seed = readSeed();
  return seed;
}

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
      KernelCase base = make(kernel, attributes, size, subset);
      for (size_t i = 0; i < optional.size(); ++i)
        base.operands[optional[i]].present = subset >> i & 1;
      if (!mayStand(base))
        continue;
      for (int mixture = 0; mixture <= mixtures; ++mixture) {
        KernelCase varied = base;
        if (mixture)
          mixLayouts(varied, mixture);
        add(varied);
        varied.inPlace = aliases;
        if (aliases)
          add(varied);
      }
    }
}

KernelCase CaseBuilder::make(Kernel kernel, const KernelAttributes &attributes, const Sizes &sizes,
                             uint64_t turn) {
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
    if (size_t axis = turn % (sizes.leading.size() + 1); broadcast && axis < sizes.leading.size())
      operandCase.shape[axis] = 1;
    for (char axis : axes)
      operandCase.shape.push_back(axis == 'h' ? attributes.heads : sizes.extent.at(axis));
    operandCase.fill = fillOf(operand.name);
    result.operands.push_back(operandCase);
  }
  return result;
}

void CaseBuilder::add(KernelCase testCase) {
  std::string key = keyOf(testCase);
  std::string text = key + " #" + std::to_string(known[key]++);
  testCase.seed = hashOf(runSeed() ? text + " seed " + std::to_string(runSeed()) : text);
  testCase.aligned |= (testCase.seed >> 40 & 1) != 0;
  std::ostringstream name;
  name << plan::kernelInfo(testCase.kernel).mnemonic << ' ' << cases.size();
  describeOperands(testCase, name);
  if (testCase.aligned)
    name << " aligned";
  testCase.name = name.str();
  cases.push_back(std::move(testCase));
}

void CaseBuilder::mixLayouts(KernelCase &testCase, int mixture) {
  std::mt19937_64 random(hashOf(keyOf(testCase) + " mixture " + std::to_string(mixture)));
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
