//===- Kernel.cpp -----------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "runtime/plan/Kernel.h"

#include <array>
#include <cmath>

namespace evo::plan {

namespace {

std::vector<KernelInfo> buildTable() {
  using enum KernelAttribute;
  using enum OperandType;
  return {
#define EVO_KERNEL(Name, mnemonic, attributes, ...)                                                \
  KernelInfo{Kernel::Name, #Name, #mnemonic, attributes, {__VA_ARGS__}},
#define ATTRIBUTES(...)                                                                            \
  std::vector<KernelAttribute> { __VA_ARGS__ }
#define IN(name, axes, type)                                                                       \
  OperandInfo { #name, OperandRole::In, axes, type, {}, false }
#define OPT_IN(name, axes, type)                                                                   \
  OperandInfo { #name, OperandRole::OptIn, axes, type, {}, false }
#define OUT(name, axes, type, alias)                                                               \
  OperandInfo { #name, OperandRole::Out, axes, type, alias }
#define OPT_OUT(name, axes, type, alias)                                                           \
  OperandInfo { #name, OperandRole::OptOut, axes, type, alias }
#define MAY_ALIAS(operand) #operand, false
#define ACCUMULATES(operand) #operand, true
#define NO_ALIAS std::string_view(), false
#include "runtime/plan/Kernels.def"
  };
}

std::string shapeText(std::span<const int64_t> shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i)
    text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

/// Whether each axis has the extent of `whole` or 1. An operand of `*` stands before every one of
/// `~` in the list, so `whole` is known.
bool broadcastsTo(std::span<const int64_t> leading, std::span<const int64_t> whole) {
  if (leading.size() != whole.size())
    return false;
  for (size_t d = 0; d < leading.size(); ++d)
    if (leading[d] != 1 && leading[d] != whole[d])
      return false;
  return true;
}

Status bindOperand(const KernelInfo &info, const OperandInfo &operand,
                   std::span<const int64_t> shape, AxisExtents &axes) {
  std::string who =
      "kernel '" + std::string(info.mnemonic) + "' operand '" + std::string(operand.name) + "'";
  std::string_view letters = operand.axes;
  bool star = !letters.empty() && (letters.front() == '*' || letters.front() == '~');
  if (star)
    letters.remove_prefix(1);
  if (shape.size() < letters.size() || (!star && shape.size() != letters.size()) ||
      shape.size() > kMaxRank)
    return Status::error(ErrorCode::InvalidPlan, who + ": expected axes \"" +
                                                     std::string(operand.axes) + "\", got shape " +
                                                     shapeText(shape));
  size_t leadingRank = shape.size() - letters.size();
  if (star) {
    std::vector<int64_t> leading(shape.begin(), shape.begin() + leadingRank);
    if (operand.axes.front() == '~') {
      if (!broadcastsTo(leading, axes.leading))
        return Status::error(ErrorCode::InvalidPlan,
                             who + ": expected leading axes " + shapeText(axes.leading) +
                                 ", each whole or 1, got shape " + shapeText(shape));
    } else if (!axes.hasLeading) {
      axes.leading = leading;
      axes.hasLeading = true;
    } else if (axes.leading != leading)
      return Status::error(ErrorCode::InvalidPlan, who + ": expected leading axes " +
                                                       shapeText(axes.leading) + ", got shape " +
                                                       shapeText(shape));
  }
  for (size_t i = 0; i < letters.size(); ++i) {
    int64_t &bound = axes[letters[i]];
    int64_t got = shape[leadingRank + i];
    if (bound < 0)
      bound = got;
    else if (bound != got)
      return Status::error(ErrorCode::InvalidPlan,
                           who + ": expected extent " + std::to_string(bound) + " on axis '" +
                               letters[i] + "', got shape " + shapeText(shape));
  }
  return {};
}

Status rule(bool holds, const KernelInfo &info, const std::string &expectation) {
  if (holds)
    return {};
  return Status::error(ErrorCode::InvalidPlan,
                       "kernel '" + std::string(info.mnemonic) + "': expected " + expectation);
}

Status checkOwnRules(const KernelInfo &info, const KernelAttributes &attributes,
                     const AxisExtents &axes) {
  switch (info.kernel) {
  case Kernel::Attention:
  case Kernel::AttentionLogits:
  case Kernel::AttentionValues:
  case Kernel::AttentionGrad:
  case Kernel::AttentionLogitsGrad:
  case Kernel::AttentionValuesGrad: {
    EVO_TRY(rule(axes['x'] % attributes.heads == 0, info,
                 "query channels " + std::to_string(axes['x']) + " to be a multiple of heads " +
                     std::to_string(attributes.heads)));
    int64_t width = axes['x'] / attributes.heads;
    bool fits = width > 0 && axes['y'] % width == 0 && axes['y'] > 0 &&
                attributes.heads % (axes['y'] / width) == 0;
    return rule(fits, info,
                "key channels " + std::to_string(axes['y']) + " to be head width " +
                    std::to_string(width) + " times a divisor of heads " +
                    std::to_string(attributes.heads));
  }
  case Kernel::Gate:
  case Kernel::GateGrad:
    return rule(axes['u'] == 1 || axes['u'] == axes['q'], info,
                "axis 'u' to be 1 or " + std::to_string(axes['q']) + ", got " +
                    std::to_string(axes['u']));
  case Kernel::MaskedMean:
  case Kernel::MaskedMeanGrad:
    return rule(axes['u'] == 1, info, "axis 'u' to be 1, got " + std::to_string(axes['u']));
  case Kernel::OuterProduct:
  case Kernel::OuterProductGrad:
  case Kernel::OuterProductMean: {
    int64_t product = 0;
    bool fits = !__builtin_mul_overflow(axes['c'], axes['d'], &product) && axes['x'] == product;
    return rule(fits, info,
                "axis 'x' to be c times d = " + std::to_string(axes['c']) + " times " +
                    std::to_string(axes['d']) + ", got " + std::to_string(axes['x']));
  }
  case Kernel::DropoutMask:
    return rule(axes.product("*") <= 0x1p34, info,
                "at most 2^34 elements, whose groups of four 32 bits count, got " +
                    shapeText(axes.leading));
  case Kernel::CountNonfinite:
  case Kernel::SgdStep:
  case Kernel::AdamwStep:
  case Kernel::AdvanceOptimizer:
    return rule(axes['e'] == 4, info,
                "axis 'e' to be the 4 scalars of the optimizer, got " + std::to_string(axes['e']));
  default:
    return {};
  }
}

/// A step of the optimizer writes the state that it reads.
Status checkStepPresence(const KernelInfo &info, const KernelAttributes &attributes,
                         std::span<const std::optional<std::vector<int64_t>>> shapes) {
  auto has = [&](std::string_view name) {
    int index = info.operandIndex(name);
    return index >= 0 && shapes[static_cast<size_t>(index)].has_value();
  };
  for (const OperandInfo &operand : info.operands)
    if (operand.isOutput())
      EVO_TRY(rule(has(operand.mayAlias) == has(operand.name), info,
                   "operands '" + std::string(operand.mayAlias) + "' and '" +
                       std::string(operand.name) + "' together, got one of them"));
  return rule(attributes.momentum == 0 || has("velocity"), info,
              "operand 'velocity' where the momentum is above 0, got none");
}

/// Optional operands that others need.
Status checkPresence(const KernelInfo &info, const KernelAttributes &attributes,
                     std::span<const std::optional<std::vector<int64_t>>> shapes) {
  if (info.kernel == Kernel::SgdStep || info.kernel == Kernel::AdamwStep)
    return checkStepPresence(info, attributes, shapes);
  if (info.kernel != Kernel::LinearGrad)
    return {};
  auto has = [&](std::string_view name) {
    return shapes[static_cast<size_t>(info.operandIndex(name))].has_value();
  };
  EVO_TRY(rule(has("h") || attributes.activation != Activation::Relu, info,
               "operand 'h' where the activation is relu, got none"));
  return rule(!has("dgate") || (has("h") && has("gate")), info,
              "operands 'h' and 'gate' where there is 'dgate', got none");
}

} // namespace

const AttributeInfo &attributeInfo(KernelAttribute attribute) {
  using enum AttributeRange;
  using Values = KernelAttributes;
  static constexpr std::array<AttributeInfo, 14> table = {{
      {"eps", Positive, &Values::eps, nullptr},
      {"activation", Any, nullptr, nullptr},
      {"heads", Positive, nullptr, &Values::heads},
      {"scale", Any, &Values::scale, nullptr},
      {"inf", Positive, &Values::inf, nullptr},
      {"rate", Fraction, &Values::rate, nullptr},
      {"module", Word, nullptr, &Values::module},
      {"learning_rate", NonNegative, &Values::learningRate, nullptr},
      {"momentum", Fraction, &Values::momentum, nullptr},
      {"beta1", Fraction, &Values::beta1, nullptr},
      {"beta2", Fraction, &Values::beta2, nullptr},
      {"weight_decay", NonNegative, &Values::weightDecay, nullptr},
      {"growth_interval", NonNegative, nullptr, &Values::growthInterval},
      {"factor", Positive, &Values::factor, nullptr, true},
  }};
  return table[static_cast<size_t>(attribute)];
}

bool isInRange(AttributeRange range, double value) {
  if (!std::isfinite(value))
    return false;
  switch (range) {
  case AttributeRange::Any:
    return true;
  case AttributeRange::Positive:
    return value > 0;
  case AttributeRange::Word:
    return value >= 0 && value <= UINT32_MAX;
  case AttributeRange::NonNegative:
    return value >= 0;
  case AttributeRange::Fraction:
    return value >= 0 && value < 1;
  }
  return false;
}

bool isInRange(AttributeRange range, int64_t value) {
  switch (range) {
  case AttributeRange::Positive:
    return value > 0;
  case AttributeRange::Word:
    return isDropoutModule(value);
  default:
    return value >= 0;
  }
}

std::string_view attributeName(KernelAttribute attribute) { return attributeInfo(attribute).name; }

std::string_view activationName(Activation activation) {
  return activation == Activation::Relu ? "relu" : "none";
}

std::optional<Activation> parseActivation(std::string_view name) {
  if (name == "none")
    return Activation::None;
  if (name == "relu")
    return Activation::Relu;
  return std::nullopt;
}

int KernelInfo::operandIndex(std::string_view operandName) const {
  for (size_t i = 0; i < operands.size(); ++i)
    if (operands[i].name == operandName)
      return static_cast<int>(i);
  return -1;
}

bool KernelInfo::hasAttribute(KernelAttribute attribute) const {
  for (KernelAttribute own : attributes)
    if (own == attribute)
      return true;
  return false;
}

std::span<const KernelInfo> kernelTable() {
  static const std::vector<KernelInfo> table = buildTable();
  return table;
}

const KernelInfo &kernelInfo(Kernel kernel) { return kernelTable()[static_cast<size_t>(kernel)]; }

std::optional<Kernel> parseKernel(std::string_view mnemonic) {
  for (const KernelInfo &info : kernelTable())
    if (info.mnemonic == mnemonic)
      return info.kernel;
  return std::nullopt;
}

std::string_view mixedAxes(Kernel kernel, std::span<const bool> given) {
  switch (kernel) {
  case Kernel::LayerNorm:     // mean and variance over c
  case Kernel::LayerNormGrad: // means over c
    return "c";
  case Kernel::Softmax:     // maximum and sum over k
  case Kernel::SoftmaxGrad: // sum over k
    return "k";
  // Of attention, x and y are heads and their channels, which dot products sum over, and h divides
  // them.
  case Kernel::AttentionLogits: { // the maximum of the mask over k
    auto mask = static_cast<size_t>(kernelInfo(kernel).operandIndex("mask"));
    return given[mask] ? "hxyk" : "hxy";
  }
  case Kernel::AttentionGrad: // the mask's maximum over k; without one, only dquery stands for all
                              // k
    return "hxyk";
  case Kernel::Attention:
  case Kernel::AttentionValues:
  case Kernel::AttentionValuesGrad:
  case Kernel::AttentionLogitsGrad:
    return "hxy";
  case Kernel::MaskedMeanGrad: // the divisor sums the mask, or ones, over q
    return "q";
  case Kernel::OuterProduct: // x is every c with every d
  case Kernel::OuterProductGrad:
  case Kernel::OuterProductMean:
    return "xcd";
  case Kernel::DropoutMask: // an element is drawn by its place in the whole mask
    return "*";
  case Kernel::AdvanceOptimizer: // each number is made of the others
    return "e";
  default:
    return {};
  }
}

double AxisExtents::product(std::string_view axes) const {
  double value = 1;
  for (char letter : axes) {
    if (letter != '*') {
      value *= static_cast<double>((*this)[letter]);
      continue;
    }
    for (int64_t size : leading)
      value *= static_cast<double>(size);
  }
  return value;
}

Result<AxisExtents> bindKernelAxes(Kernel kernel, const KernelAttributes &attributes,
                                   std::span<const std::optional<std::vector<int64_t>>> shapes) {
  const KernelInfo &info = kernelInfo(kernel);
  EVO_TRY(rule(shapes.size() == info.operands.size(), info,
               std::to_string(info.operands.size()) + " operands, got " +
                   std::to_string(shapes.size())));
  EVO_TRY(rule(attributes.heads >= 1, info,
               "heads of at least 1, got " + std::to_string(attributes.heads)));
  AxisExtents axes;
  if (info.hasAttribute(KernelAttribute::Heads))
    axes['h'] = attributes.heads;
  for (size_t i = 0; i < shapes.size(); ++i) {
    const OperandInfo &operand = info.operands[i];
    if (shapes[i])
      EVO_TRY(bindOperand(info, operand, *shapes[i], axes));
    else
      EVO_TRY(rule(operand.isOptional(), info,
                   "operand '" + std::string(operand.name) + "', got none"));
  }
  EVO_TRY(checkOwnRules(info, attributes, axes));
  EVO_TRY(checkPresence(info, attributes, shapes));
  return axes;
}

Status checkKernelShapes(Kernel kernel, const KernelAttributes &attributes,
                         std::span<const std::optional<std::vector<int64_t>>> shapes) {
  return bindKernelAxes(kernel, attributes, shapes).status();
}

} // namespace evo::plan
