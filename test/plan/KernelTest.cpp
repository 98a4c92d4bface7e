//===- KernelTest.cpp -----------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// What a kernel asks of its operands beyond their axes.
//===----------------------------------------------------------------------===//
#include "runtime/plan/Kernel.h"

#include <gtest/gtest.h>

#include <initializer_list>

namespace evo::plan {

namespace {

/// The error of a `linear_grad` of [3, 2] whose operands are dy, du and those that are named.
std::string linearGradError(Activation activation, std::initializer_list<std::string_view> extra) {
  const KernelInfo &info = kernelInfo(Kernel::LinearGrad);
  std::vector<std::optional<std::vector<int64_t>>> shapes(info.operands.size());
  for (const char *name : {"dy", "du"})
    shapes[size_t(info.operandIndex(name))] = {3, 2};
  for (std::string_view name : extra)
    shapes[size_t(info.operandIndex(name))] = {3, 2};
  KernelAttributes attributes;
  attributes.activation = activation;
  Status status = checkKernelShapes(Kernel::LinearGrad, attributes, shapes);
  return status.ok() ? "" : status.message();
}

TEST(KernelTest, LinearGradNeedsWhatItsOutputsReadFrom) {
  EXPECT_EQ(linearGradError(Activation::None, {}), "");
  EXPECT_EQ(linearGradError(Activation::None, {"gate"}), "");
  EXPECT_EQ(linearGradError(Activation::Relu, {"h"}), "");
  EXPECT_EQ(linearGradError(Activation::None, {"h", "gate", "dgate"}), "");
  EXPECT_EQ(linearGradError(Activation::Relu, {"gate"}),
            "kernel 'linear_grad': expected operand 'h' where the activation is relu, got none");
  for (std::initializer_list<std::string_view> extra :
       {std::initializer_list<std::string_view>{"h", "dgate"}, {"gate", "dgate"}, {"dgate"}})
    EXPECT_EQ(linearGradError(Activation::None, extra),
              "kernel 'linear_grad': expected operands 'h' and 'gate' where there is 'dgate', got "
              "none");
}

} // namespace

} // namespace evo::plan
