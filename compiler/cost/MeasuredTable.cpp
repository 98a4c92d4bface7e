//===- MeasuredTable.cpp ----------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "compiler/cost/MeasuredTable.h"

#include "compiler/cost/DeviceProfile.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace evo::cost {

namespace {
// Squares of distances.
constexpr double kOperandApart = 0.25, kExpsApart = 16;

struct Anchor {
  double analytic = 0, ns = 0;
};

/// log(time) along a series.
double logTimeAt(const DeviceProfile &profile, const MeasuredSeries &series, double analytic) {
  auto anchorOf = [&](const MeasuredPoint &point) {
    KernelWork work;
    work.workClass = plan::isMatmul(series.kernel) ? WorkClass::Matmul : WorkClass::Vector;
    work.flops = static_cast<double>(point.flops);
    work.bytesRead = static_cast<double>(point.bytes);
    work.exps = static_cast<double>(point.exps);
    return Anchor{profile.analyticNs(work, series.precision), static_cast<double>(point.ns)};
  };
  Anchor before = anchorOf(series.points.front());
  if (analytic <= before.analytic)
    return std::log(before.ns * (analytic / before.analytic));
  for (size_t i = 1; i < series.points.size(); ++i) {
    const Anchor after = anchorOf(series.points[i]);
    if (analytic < after.analytic) {
      const double share =
          std::log(analytic / before.analytic) / std::log(after.analytic / before.analytic);
      return std::log(before.ns) + share * std::log(after.ns / before.ns);
    }
    before = after;
  }
  return std::log(before.ns * (analytic / before.analytic));
}

/// The square of the distance of a call from a series.
double squaredDistance(const KernelWork &work, const MeasuredSeries &series) {
  double sum = 0;
  for (size_t i = 0; i < series.shape.size() && i < work.shape.size(); ++i) {
    const double ratio = std::log2(static_cast<double>(std::max<int64_t>(work.shape[i], 1)) /
                                   static_cast<double>(series.shape[i]));
    sum += ratio * ratio;
  }
  if ((work.exps > 0) != (series.points.front().exps > 0))
    sum += kExpsApart;
  return sum + kOperandApart * std::popcount(work.optional ^ series.optional);
}
} // namespace

double measuredNs(const DeviceProfile &profile, const KernelWork &work, plan::Precision precision) {
  if (!profile.measured || !work.kernel)
    return 0;
  const double analytic = profile.analyticNs(work, precision);
  double weights = 0, sum = 0;
  bool exact = false;
  for (const MeasuredSeries &series : profile.measured->series) {
    if (series.kernel != *work.kernel || series.precision != precision)
      continue;
    const double distance = squaredDistance(work, series);
    if (exact && distance > 0)
      continue;
    if (distance == 0 && !exact) {
      exact = true;
      weights = sum = 0;
    }
    const double weight = exact ? 1 : 1 / (distance * distance);
    weights += weight;
    sum += weight * logTimeAt(profile, series, analytic);
  }
  return weights > 0 ? std::exp(sum / weights) : 0;
}

} // namespace evo::cost
