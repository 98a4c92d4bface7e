//===- LinearHopper.h - linear layers on Hopper -----------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/cuda/kernels/GatedLinearMma.cuh"
#include "runtime/cuda/kernels/LinearTile.cuh"

namespace evo::cuda {

/// Launches a kernel of LinearHopper.cu where it has one for the device and the call, which
/// describeTile takes, and else leaves `launched` false.
template <class S>
Status launchLinearHopper(const Launch &launch, const LinearTileCall &call, bool &launched);
/// The same of GatedLinearHopper.cu and what describeGated takes.
template <class S>
Status launchGatedHopper(const Launch &launch, const GatedMmaCall &call, bool &launched);

} // namespace evo::cuda
