//===- AttentionHopper.h - attention on Hopper ------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/cuda/kernels/AttentionMma.cuh"

namespace evo::cuda {

/// Launches a kernel of AttentionHopper.cu where it has one for the device and the call, which
/// takesTensorCores takes.
template <class S>
Status launchHopper(const Launch &launch, const AttentionCall &call, bool &launched);

} // namespace evo::cuda
