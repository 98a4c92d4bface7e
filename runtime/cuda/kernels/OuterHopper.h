//===- OuterHopper.h - outer products on Hopper -----------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/cuda/kernels/OuterMma.cuh"

namespace evo::cuda {

/// The outer product, and the gradients of its left and right factor: one matrix of the gradients
/// is the outer product's.
enum class OuterKind { Product, LeftGrad, RightGrad };

/// Launches a kernel of OuterHopper.cu where it has one for the device and the call, which
/// describeOuter takes. `a` and `b` are the call's operands [s, i, c] and [s, j, d], `product` is
/// that of [i, j, (c, d)].
template <class S, OuterKind kKind>
Status launchOuterHopper(const Launch &launch, const OuterMmaCall &call, const Operand &a,
                         const Operand &b, const Operand &product, bool &done);

} // namespace evo::cuda
