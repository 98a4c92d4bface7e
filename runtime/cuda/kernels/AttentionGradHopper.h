//===- AttentionGradHopper.h - attention's gradient on Hopper ---*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/cuda/kernels/AttentionGradMma.cuh"

namespace evo::cuda {

/// Whether the kernels of AttentionGradHopper.cu are for the device and the call, whose operands
/// the other tensor core kernels take. They want starts of -lse kLog2E.
template <class S> bool takesHopperGrad(const Launch &launch, const AttentionCall &call);

/// All gradients of a call that takesHopperGrad takes, and for which everything was prepared.
template <class S> Status launchHopperGrad(const Launch &launch, const MmaGradCall &grad);

} // namespace evo::cuda
