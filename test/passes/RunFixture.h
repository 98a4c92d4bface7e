//===- RunFixture.h - training plans run on the CPU, for tests --*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/core/Backend.h"
#include "runtime/plan/Plan.h"

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace evo::test {

/// Values by name.
using Tensors = std::map<std::string, std::vector<double>>;

/// Runs an fp64 plan for training on random weights and inputs. Outputs, and gradients behind
/// "gradient.".
Tensors runTraining(const plan::Plan &plan, Backend &backend, uint32_t dropoutSeed = 0);

/// The tensors within 1e-10 of their size, a gradient that vanishes of 1.
void expectClose(const Tensors &expected, const Tensors &got);

} // namespace evo::test
