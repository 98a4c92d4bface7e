//===- Reference.h --------------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// Every kernel as plain loops over indices in float64, from the formula in Kernels.def: what the
// backends are compared with. Shares no code with any of them.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/plan/Kernel.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace evo::conformance {

/// A row-major tensor; absent where `present` is false.
struct DenseTensor {
  bool present = true;
  std::vector<int64_t> shape;
  std::vector<double> data;

  int64_t count() const {
    int64_t product = 1;
    for (int64_t extent : shape)
      product *= extent;
    return product;
  }
  /// The element at these indices, one an axis.
  template <class... Indices> double &operator()(Indices... indices) {
    return data[static_cast<size_t>(position(indices...))];
  }
  template <class... Indices> double operator()(Indices... indices) const {
    return data[static_cast<size_t>(position(indices...))];
  }

private:
  template <class... Indices> int64_t position(Indices... indices) const {
    int64_t at = 0;
    size_t axis = 0;
    ((at = at * shape[axis++] + static_cast<int64_t>(indices)), ...);
    return at;
  }
};

using Rounding = double (*)(double);
inline double exactly(double value) { return value; }

/// Fills the present outputs; `operands` are in the order of Kernels.def and have their shapes.
/// `between` rounds what fused kernels multiply further and tensor cores want in a half type: the
/// weights of attention, their gradients and the outer product of a mean.
void runReference(plan::Kernel kernel, const plan::KernelAttributes &attributes,
                  std::vector<DenseTensor> &operands, const plan::DropoutKey &dropout = {},
                  Rounding between = exactly);

/// Four words of Philox4x32-10, for the test that holds them to the published ones.
std::array<uint32_t, 4> referencePhilox(std::array<uint32_t, 4> counter,
                                        std::array<uint32_t, 2> key);

} // namespace evo::conformance
