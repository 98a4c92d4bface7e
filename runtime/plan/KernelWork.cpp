//===- KernelWork.cpp -------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "runtime/plan/KernelWork.h"

#include <algorithm>
#include <cstdio>

namespace evo::plan {

namespace {

/// Extents are read by the letters of Kernels.def.
struct WorkFormula {
  bool matmul = false;
  double flops = 0;
  double exps = 0;
};

// No default: a kernel without its formula is a warning, which is an error in our own code.
WorkFormula workFormula(Kernel kernel, const AxisExtents &x, bool gated) {
  switch (kernel) {
  case Kernel::LayerNorm:
    return {false, 8 * x.product("*c")};
  case Kernel::Linear:
    return {true, 2 * x.product("*nk"), gated ? x.product("*n") : 0};
  case Kernel::GatedLinear:
    return {true, 4 * x.product("*nk"), x.product("*n")};
  case Kernel::Attention:
    return {true, 4 * x.product("bqkx"), x.product("bhqk")};
  case Kernel::AttentionLogits:
  case Kernel::AttentionValues:
    return {true, 2 * x.product("bqkx")};
  case Kernel::Softmax:
    return {false, 4 * x.product("*k"), x.product("*k")};
  case Kernel::Gate:
    return {false, 3 * x.product("bqx"), x.product("bqx")};
  case Kernel::MaskedMean:
  case Kernel::MaskedMeanGrad:
    return {false, 2 * x.product("bqx")};
  case Kernel::OuterProduct:
    return {true, 2 * x.product("sijx")};
  case Kernel::OuterProductMean:
    return {true, 2 * x.product("sijx") + 2 * x.product("ijnx")};
  case Kernel::OuterProductNorm:
    return {true, 2 * x.product("sij")};
  case Kernel::BatchMatmul:
  case Kernel::BatchMatmulGrad:
    return {true, 2 * x.product("bmnk")};
  case Kernel::Copy:
  case Kernel::Zero:
    return {};
  case Kernel::DropoutMask:
    // Ten rounds of two multiplications, four exclusive ors and two additions make four elements.
    return {false, 20 * x.product("*")};
  case Kernel::LayerNormGrad:
    return {false, 16 * x.product("*c")};
  case Kernel::LinearGrad:
    return {false, 4 * x.product("*n"), gated ? x.product("*n") : 0};
  case Kernel::WeightGrad:
    return {true, 2 * x.product("*nk")};
  case Kernel::BiasGrad:
    return {false, x.product("*n")};
  case Kernel::GatedLinearGrad:
    return {false, 6 * x.product("*n"), x.product("*n")};
  case Kernel::AttentionGrad:
    return {true, 10 * x.product("bqkx"), x.product("bhqk")};
  case Kernel::SoftmaxGrad:
    return {false, 4 * x.product("*k")};
  case Kernel::AttentionValuesGrad:
  case Kernel::AttentionLogitsGrad:
    return {true, 4 * x.product("bqkx")};
  case Kernel::GateGrad:
    return {false, 6 * x.product("bqx"), x.product("bqx")};
  case Kernel::OuterProductGrad:
    return {true, 4 * x.product("sijx")};
  case Kernel::Add:
  case Kernel::CountNonfinite:
    return {false, x.product("*")};
  case Kernel::SgdStep:
    return {false, 5 * x.product("*")};
  case Kernel::AdamwStep:
    return {false, 16 * x.product("*")};
  case Kernel::AdvanceOptimizer:
    return {false, x.product("e")};
  }
  return {};
}

} // namespace

// Whether it is one of matrix products does not depend on the extents.
bool isMatmul(Kernel kernel) { return workFormula(kernel, AxisExtents(), false).matmul; }

double kernelFlops(Kernel kernel, const AxisExtents &axes) {
  return workFormula(kernel, axes, false).flops;
}

std::string shapeAxes(Kernel kernel) {
  std::string all;
  for (const OperandInfo &operand : kernelInfo(kernel).operands)
    for (char letter : operand.axes)
      if (all.find(letter) == std::string::npos)
        all += letter;
  auto has = [&](char letter) { return all.find(letter) != std::string::npos; };
  const char rows = has('*') ? '*' : has('b') ? 'b' : 'i';
  std::string shape;
  for (char letter : all) {
    // An outer product's x is c times d; y is the heads that keys share; u is 1 or q.
    bool derived = std::string_view("*~huye").find(letter) != std::string_view::npos ||
                   (letter == 'x' && has('d'));
    if (letter != rows && !derived)
      shape += letter;
  }
  return shape;
}

KernelWork kernelWork(Kernel kernel, const AxisExtents &axes, uint32_t present) {
  const KernelInfo &info = kernelInfo(kernel);
  const int gate = info.operandIndex("gate");
  WorkFormula formula = workFormula(kernel, axes, gate >= 0 && (present >> gate & 1u));
  KernelWork work;
  for (size_t i = 0; i < info.operands.size(); ++i)
    if (info.operands[i].isOptional())
      work.optional |= present & 1u << i;
  work.workClass = formula.matmul ? WorkClass::Matmul : WorkClass::Vector;
  work.flops = formula.flops;
  work.exps = formula.exps;
  work.kernel = kernel;
  for (char letter : shapeAxes(kernel))
    work.shape.push_back(letter == 'x' && axes['h'] > 0 ? axes['x'] / axes['h'] : axes[letter]);
  return work;
}

std::string kernelSetHash() {
  uint64_t hash = 0xcbf29ce484222325u; // FNV-1a
  auto add = [&](std::string_view text) {
    for (char c : text)
      hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
    hash = (hash ^ 0xffu) * 0x100000001b3u; // an end that no text has
  };
  for (const KernelInfo &info : kernelTable()) {
    add(info.mnemonic);
    for (KernelAttribute attribute : info.attributes)
      add(attributeName(attribute));
    for (const OperandInfo &operand : info.operands) {
      add(operand.name);
      add(operand.axes);
      add(std::to_string(static_cast<int>(operand.role)) +
          std::to_string(static_cast<int>(operand.type)));
    }
  }
  char text[17];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(hash));
  return text;
}

} // namespace evo::plan
