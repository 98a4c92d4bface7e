//===- LinearHopper.h - linear layers on Hopper -----------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/cuda/kernels/LinearTile.cuh"

namespace evo::cuda {

/// Launches a kernel of LinearHopper.cu where it has one for the device and the call, which
/// describeTile takes, and else leaves `launched` false.
template <class S>
Status launchLinearHopper(const Launch &launch, const LinearTileCall &call, bool &launched);

} // namespace evo::cuda
