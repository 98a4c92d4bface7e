//===- RandomTensors.h - random weights and inputs --------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// Element i of the tensor `name` is a function of (seed, name, i) alone:
//   h = FNV-1a (64 bits) of the name
//   x = Philox4x32-10 with key = (low half of seed, low half of h) and
//       counter = (low half of i / 4, high half of i / 4, high half of seed, high half of h)
//   i mod 4 = 0, 1: u = x[0], v = x[1]; 2, 3: u = x[2], v = x[3]
//   radius = sqrt(-2 ln((u + 1) / 2^32)), angle = 2 pi v / 2^32
//   N(i) = radius cos(angle) for even i, radius sin(angle) for odd i
// in double; the tensor holds shift + scale N(i), rounded to its type.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/core/HostTensor.h"

namespace evo {

uint64_t nameHash(std::string_view name);

/// Elements [first, first + values.size()) of the standard normal tensor.
void randomNormals(uint64_t seed, uint64_t hash, int64_t first, std::span<double> values);

struct NormalDistribution {
  double shift = 0;
  double scale = 1;
};
/// Of a parameter: matrices N(0, 1 / fan-in), weights of layer norms 1 + 0.2 N, biases 0.2 N.
NormalDistribution parameterDistribution(std::string_view parameter,
                                         std::span<const int64_t> shape);

/// Gives elements of the random tensor, stored as `type`.
ElementReader randomReader(uint64_t seed, std::string_view name, NormalDistribution distribution,
                           plan::DType type);
ElementReader onesReader(plan::DType type);

} // namespace evo
