//===- LossCurve.h - the losses of a run as a picture -----------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/core/Report.h"

namespace evo {

/// An SVG with the loss over the steps, readable on light and dark ground. The axis of the loss is
/// logarithmic where the losses span more than a decade. Steps that were skipped have a mark;
/// losses that are not finite leave a gap.
std::string lossCurveSvg(std::span<const StepReport> steps, std::string_view title);

} // namespace evo
