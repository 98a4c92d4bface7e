//===- WeightGradHopper.h - weights' gradients on Hopper --------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/cuda/Launch.h"
#include "runtime/plan/Status.h"

namespace evo::cuda {

/// Launches the kernels of WeightGradHopper.cu where the device and the call are such as they are
/// for.
template <class S> Status launchWeightHopper(const Launch &launch, bool &launched);

/// How many of their clusters the present device runs at a time.
Context::Clusters findWeightClusters();

} // namespace evo::cuda
