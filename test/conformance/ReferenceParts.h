//===- ReferenceParts.h - what the references share -------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#pragma once

#include "test/conformance/Reference.h"

namespace evo::conformance {

double sigmoid(double x);

/// The leading axes `*` as one: [rows, last].
DenseTensor asRows(const DenseTensor &tensor, int64_t last);

/// Where the element `index` of `whole` finds its value in `tensor`, which has as many axes, each
/// whole or 1.
int64_t broadcastIndex(const DenseTensor &tensor, const DenseTensor &whole, int64_t index);

/// The logits of one (batch, head, query).
std::vector<double> logitsOf(const plan::KernelAttributes &attributes, const DenseTensor &query,
                             const DenseTensor &key, const DenseTensor &bias,
                             const DenseTensor &mask, int64_t b, int64_t h, int64_t q);

/// The rows of Kernels.def under "Gradients".
void runGradientReference(plan::Kernel kernel, const plan::KernelAttributes &attributes,
                          std::vector<DenseTensor> &operands, Rounding between);

/// The rows under "The optimizer".
void runOptimizerReference(plan::Kernel kernel, const plan::KernelAttributes &attributes,
                           std::vector<DenseTensor> &operands);

} // namespace evo::conformance
