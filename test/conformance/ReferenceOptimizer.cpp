//===- ReferenceOptimizer.cpp ---------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// The optimizer's kernels; OptimizerTest.cpp holds them to values worked out by hand.
//===----------------------------------------------------------------------===//
#include "test/conformance/ReferenceParts.h"

#include <algorithm>
#include <cmath>

namespace evo::conformance {

namespace {

using plan::KernelAttributes;
using Operands = std::vector<DenseTensor>;

void copyIfPresent(DenseTensor &to, const DenseTensor &from) {
  if (to.present)
    to.data = from.data;
}

void countNonfinite(Operands &o) {
  o[2].data = o[1].data;
  for (double value : o[0].data)
    o[2](3) += std::isfinite(value) ? 0 : 1;
}

void sgdStep(const KernelAttributes &attributes, Operands &o) {
  enum { Gradient, Scalars, Velocity, Master, Weight, NewWeight, NewVelocity, NewMaster };
  copyIfPresent(o[NewWeight], o[Weight]);
  copyIfPresent(o[NewVelocity], o[Velocity]);
  copyIfPresent(o[NewMaster], o[Master]);
  if (o[Scalars](3) > 0)
    return;
  for (size_t i = 0; i < o[Weight].data.size(); ++i) {
    double v = o[Gradient].data[i] / o[Scalars](0);
    if (o[Velocity].present)
      v += attributes.momentum * o[Velocity].data[i];
    double w = (o[Master].present ? o[Master] : o[Weight]).data[i] - attributes.learningRate * v;
    o[NewWeight].data[i] = w;
    if (o[NewVelocity].present)
      o[NewVelocity].data[i] = v;
    if (o[NewMaster].present)
      o[NewMaster].data[i] = w;
  }
}

void adamwStep(const KernelAttributes &a, Operands &o) {
  enum { Gradient, Scalars, First, Second, Master, Weight, NewWeight, NewFirst, NewSecond };
  enum { NewMaster = 9 };
  copyIfPresent(o[NewWeight], o[Weight]);
  copyIfPresent(o[NewFirst], o[First]);
  copyIfPresent(o[NewSecond], o[Second]);
  copyIfPresent(o[NewMaster], o[Master]);
  if (o[Scalars](3) > 0)
    return;
  double t = o[Scalars](2) + 1;
  for (size_t i = 0; i < o[Weight].data.size(); ++i) {
    double g = o[Gradient].data[i] / o[Scalars](0);
    double m = a.beta1 * o[First].data[i] + (1 - a.beta1) * g;
    double v = a.beta2 * o[Second].data[i] + (1 - a.beta2) * g * g;
    double w = (o[Master].present ? o[Master] : o[Weight]).data[i];
    w -= a.learningRate * a.weightDecay * w;
    w -= a.learningRate * (m / (1 - std::pow(a.beta1, t))) /
         (std::sqrt(v / (1 - std::pow(a.beta2, t))) + a.eps);
    o[NewWeight].data[i] = w;
    o[NewFirst].data[i] = m;
    o[NewSecond].data[i] = v;
    if (o[NewMaster].present)
      o[NewMaster].data[i] = w;
  }
}

void advanceOptimizer(const KernelAttributes &attributes, Operands &o) {
  double scale = o[0](0), since = o[0](1), steps = o[0](2);
  bool grows = attributes.growthInterval > 0;
  if (o[0](3) > 0) {
    if (grows)
      o[1].data = {scale > 1 ? std::max(scale / 2, 1.) : scale, 0, steps, 0};
    else
      o[1].data = {scale, since, steps, 0};
  } else if (grows && since + 1 >= double(attributes.growthInterval)) {
    double most = std::pow(2, 24);
    o[1].data = {scale < most ? std::min(2 * scale, most) : scale, 0, steps + 1, 0};
  } else {
    o[1].data = {scale, since + 1, steps + 1, 0};
  }
}

} // namespace

void runOptimizerReference(plan::Kernel kernel, const KernelAttributes &attributes,
                           Operands &operands) {
  switch (kernel) {
  case plan::Kernel::CountNonfinite:
    return countNonfinite(operands);
  case plan::Kernel::SgdStep:
    return sgdStep(attributes, operands);
  case plan::Kernel::AdamwStep:
    return adamwStep(attributes, operands);
  case plan::Kernel::AdvanceOptimizer:
    return advanceOptimizer(attributes, operands);
  default:
    return;
  }
}

} // namespace evo::conformance
