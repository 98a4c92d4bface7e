//===- OuterMeanHopper.h - outer product mean on Hopper ---------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/cuda/kernels/OuterMeanMma.cuh"

namespace evo::cuda {

/// Launches the kernel of OuterMeanHopper.cu where it is for the device and the call, whose
/// strides, factor and operands beside the factors are described.
template <class S>
Status launchMeanHopper(const Launch &launch, const MeanMmaCall &call, bool &done);

} // namespace evo::cuda
