//===- Kernel.h - the kernel list as data -----------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// Kernels.def as a table: operands with their axes, types and alias rights, and the shape rule that
// the `kern` dialect's verifier and the plan verifier share.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/plan/DType.h"
#include "runtime/plan/Status.h"

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace evo::plan {

enum class Kernel : uint8_t {
#define EVO_KERNEL(Name, mnemonic, attributes, ...) Name,
#define ATTRIBUTES(...)
#include "runtime/plan/Kernels.def"
};

/// The attributes that a kernel can have; which ones it does have stands in Kernels.def.
enum class KernelAttribute : uint8_t {
  Eps,
  Activation,
  Heads,
  Scale,
  Inf,
  Rate,
  Module,
  LearningRate,
  Momentum,
  Beta1,
  Beta2,
  WeightDecay,
  GrowthInterval,
  Factor,
};
enum class Activation : uint8_t { None, Relu };

std::string_view attributeName(KernelAttribute attribute); ///< "eps", "activation", ...
std::string_view activationName(Activation activation);    ///< "none", "relu"
std::optional<Activation> parseActivation(std::string_view name);

/// Values of a kernel's attributes; those that the kernel does not have keep their defaults.
struct KernelAttributes {
  double eps = 0;                           ///< > 0
  Activation activation = Activation::None; ///< applied after the bias
  int64_t heads = 1;                        ///< >= 1
  double scale = 1;                         ///< finite
  double inf = 0;                           ///< > 0: the mask fill
  double rate = 0;                          ///< in [0, 1): how likely dropout drops an element
  int64_t module = 0;                       ///< in [0, 2^32): the module's position in the block
  double learningRate = 0;                  ///< >= 0
  double momentum = 0;                      ///< in [0, 1)
  double beta1 = 0, beta2 = 0;              ///< in [0, 1)
  double weightDecay = 0;                   ///< >= 0
  int64_t growthInterval = 0; ///< >= 0: steps before the loss scale doubles; 0: it is fixed
  double factor = 1;          ///< > 0: of the kernel's products, or of what a layer norm reads
  bool operator==(const KernelAttributes &) const = default;
};

/// What the masks of dropout are keyed by beside a step's attributes; differs from call to call.
struct DropoutKey {
  uint32_t seed = 0, step = 0, block = 0;
};

/// Whether `value` may be the module of a mask: one word of the counter.
constexpr bool isDropoutModule(int64_t value) { return value >= 0 && value <= UINT32_MAX; }

enum class AttributeRange : uint8_t { Any, Positive, NonNegative, Fraction, Word };

/// Where an attribute's value stands and what it may be. One of `real` and `integer` is given,
/// neither for the activation.
struct AttributeInfo {
  std::string_view name;
  AttributeRange range = AttributeRange::Any; ///< Fraction: in [0, 1). Word: in [0, 2^32)
  double KernelAttributes::*real = nullptr;
  int64_t KernelAttributes::*integer = nullptr;
  bool optional = false; ///< has its default where it is left out
};
const AttributeInfo &attributeInfo(KernelAttribute attribute);
/// Whether a value is finite and in the range.
bool isInRange(AttributeRange range, double value);
bool isInRange(AttributeRange range, int64_t value);

enum class OperandRole : uint8_t { In, OptIn, Out, OptOut };
enum class OperandType : uint8_t { Storage, Statistic, Either };

struct OperandInfo {
  std::string_view name;
  OperandRole role;
  std::string_view axes;
  OperandType type;
  std::string_view mayAlias; ///< the input that an output may coincide with; empty: none
  bool accumulates;          ///< the output is that input plus the kernel's own contribution

  bool isOutput() const { return role == OperandRole::Out || role == OperandRole::OptOut; }
  bool isOptional() const { return role == OperandRole::OptIn || role == OperandRole::OptOut; }
};

struct KernelInfo {
  Kernel kernel;
  std::string_view name;     ///< "LayerNorm"
  std::string_view mnemonic; ///< "layer_norm": as in plans and `kern.layer_norm`
  std::vector<KernelAttribute> attributes;
  std::vector<OperandInfo> operands; ///< inputs first, then outputs
  /// Index of an operand by name; -1 where there is none.
  int operandIndex(std::string_view operandName) const;
  bool hasAttribute(KernelAttribute attribute) const;
};

/// All kernels, indexed by the enum's value.
std::span<const KernelInfo> kernelTable();
const KernelInfo &kernelInfo(Kernel kernel);
std::optional<Kernel> parseKernel(std::string_view mnemonic);

/// The axes (letters of Kernels.def, `*` for all leading ones) along which a kernel's outputs
/// depend on more of its operands than their own elements there, although outputs have these axes:
/// a slice of the operands does not give the slice of the outputs. `given[i]` says whether there is
/// operand i.
std::string_view mixedAxes(Kernel kernel, std::span<const bool> given);

/// No operand has more axes than this.
inline constexpr int kMaxRank = 6;

/// The extents of a call's axes by their letters in Kernels.def.
struct AxisExtents {
  std::array<int64_t, 128> extent; ///< -1: the call has no such axis
  std::vector<int64_t> leading;    ///< the axes of `*`
  bool hasLeading = false;

  AxisExtents() { extent.fill(-1); }
  int64_t operator[](char letter) const { return extent[static_cast<unsigned char>(letter)]; }
  int64_t &operator[](char letter) { return extent[static_cast<unsigned char>(letter)]; }
  /// Product of the extents of `axes` ("*nk"), as a double since it counts work.
  double product(std::string_view axes) const;
};

/// Binds operand shapes to the axes of Kernels.def, and checks what checkKernelShapes checks.
Result<AxisExtents> bindKernelAxes(Kernel kernel, const KernelAttributes &attributes,
                                   std::span<const std::optional<std::vector<int64_t>>> shapes);

/// Checks operand shapes against the axes of Kernels.def and the kernel's own rules (head widths,
/// the width of an outer product, broadcast axes). `shapes[i]` is nothing for an absent optional
/// operand. The error names the operand and says expected and got.
Status checkKernelShapes(Kernel kernel, const KernelAttributes &attributes,
                         std::span<const std::optional<std::vector<int64_t>>> shapes);

} // namespace evo::plan
