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

/// The error of a `linear` of x [4, 3, 2] and weight [5, 2] whose mask has this shape.
std::string dropoutError(const std::vector<int64_t> &mask) {
  const KernelInfo &info = kernelInfo(Kernel::Linear);
  std::vector<std::optional<std::vector<int64_t>>> shapes(info.operands.size());
  auto set = [&](std::string_view name, std::vector<int64_t> shape) {
    shapes[size_t(info.operandIndex(name))] = std::move(shape);
  };
  set("x", {4, 3, 2});
  set("weight", {5, 2});
  set("y", {4, 3, 5});
  set("dropout", mask);
  Status status = checkKernelShapes(Kernel::Linear, {}, shapes);
  return status.ok() ? "" : status.message();
}

TEST(KernelTest, AMaskIsWholeOrBroadcastOnEachLeadingAxis) {
  EXPECT_EQ(dropoutError({4, 3, 5}), "");
  EXPECT_EQ(dropoutError({1, 3, 5}), "");
  EXPECT_EQ(dropoutError({4, 1, 5}), "");
  EXPECT_EQ(dropoutError({1, 1, 5}), "");
  std::string who = "kernel 'linear' operand 'dropout': expected ";
  EXPECT_EQ(dropoutError({2, 3, 5}),
            who + "leading axes [4, 3], each whole or 1, got shape [2, 3, 5]");
  EXPECT_EQ(dropoutError({3, 4, 5}),
            who + "leading axes [4, 3], each whole or 1, got shape [3, 4, 5]");
  EXPECT_EQ(dropoutError({3, 5}), who + "leading axes [4, 3], each whole or 1, got shape [3, 5]");
  EXPECT_EQ(dropoutError({1, 4, 3, 5}),
            who + "leading axes [4, 3], each whole or 1, got shape [1, 4, 3, 5]");
  EXPECT_EQ(dropoutError({1, 3, 1}), who + "extent 5 on axis 'n', got shape [1, 3, 1]");
  EXPECT_EQ(dropoutError({}), who + "axes \"~n\", got shape []");
}

TEST(KernelTest, BroadcastAxesFollowAnOperandOfWholeOnes) {
  for (const KernelInfo &info : kernelTable()) {
    bool whole = false;
    for (const OperandInfo &operand : info.operands) {
      EXPECT_TRUE(operand.axes.front() != '~' || whole) << info.mnemonic;
      whole |= operand.axes.front() == '*' && operand.role == OperandRole::In;
    }
  }
}

TEST(KernelTest, AMaskHasNoMoreElementsThanItsCounterCounts) {
  auto error = [](std::vector<int64_t> shape) {
    std::optional<std::vector<int64_t>> shapes[] = {std::move(shape)};
    Status status = checkKernelShapes(Kernel::DropoutMask, {}, shapes);
    return status.ok() ? "" : status.message();
  };
  EXPECT_EQ(error({int64_t{1} << 20, int64_t{1} << 14}), "");
  EXPECT_EQ(error({int64_t{1} << 20, (int64_t{1} << 14) + 1}),
            "kernel 'dropout_mask': expected at most 2^34 elements, whose groups of four 32 bits "
            "count, got [1048576, 16385]");
}

} // namespace

} // namespace evo::plan
