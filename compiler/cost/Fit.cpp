//===- Fit.cpp --------------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "compiler/cost/Fit.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <utility>
#include <vector>

namespace evo::cost {

namespace {
using plan::CalibrationSample;

double perSecond(double amount, const CalibrationSample &sample) {
  return amount / static_cast<double>(sample.ns) * 1e9;
}

double bytesOf(const KernelWork &work) { return work.bytesRead + work.bytesWritten; }

/// Samples of one series and precision, in the order of their work.
using Groups =
    std::map<std::pair<plan::Precision, int32_t>, std::vector<const CalibrationSample *>>;

Groups groupSamples(std::span<const CalibrationSample> samples) {
  Groups groups;
  for (const CalibrationSample &sample : samples)
    if (!sample.heldOut && sample.work.kernel)
      groups[{sample.precision, sample.series}].push_back(&sample);
  for (auto &[key, group] : groups)
    std::stable_sort(group.begin(), group.end(), [](const auto *a, const auto *b) {
      return bytesOf(a->work) < bytesOf(b->work);
    });
  return groups;
}

Status fitAnalytic(const Groups &groups, DeviceProfile &profile) {
  int64_t launch = std::numeric_limits<int64_t>::max();
  for (const auto &[key, group] : groups) {
    for (const CalibrationSample *sample : group) {
      const KernelWork &work = sample->work;
      const bool matmul = work.workClass == WorkClass::Matmul;
      double &flops = matmul ? profile.matmulFlops[static_cast<size_t>(sample->precision)]
                             : profile.vectorFlops;
      flops = std::max(flops, perSecond(work.flops, *sample));
      if (!matmul)
        profile.expRate = std::max(profile.expRate, perSecond(work.exps, *sample));
      launch = std::min(launch, sample->ns);
    }
    // Smaller calls than the largest may find their operands in a cache.
    const CalibrationSample &largest = *group.back();
    if (largest.work.workClass == WorkClass::Vector)
      profile.bandwidth = std::max(profile.bandwidth, perSecond(bytesOf(largest.work), largest));
  }
  double slowest = 0;
  for (double flops : profile.matmulFlops)
    if (flops > 0)
      slowest = slowest > 0 ? std::min(slowest, flops) : flops;
  for (double &flops : profile.matmulFlops)
    flops = flops > 0 ? flops : slowest;
  profile.launchNs = launch;
  if (slowest > 0 && profile.vectorFlops > 0 && profile.bandwidth > 0 && profile.expRate > 0)
    return {};
  return Status::error(ErrorCode::InvalidInput,
                       "measured calls: expected some of matrix products, of other arithmetic and "
                       "with exponentials, got none of one kind; measure more kernels");
}

void addSeries(const Groups &groups, MeasuredTable &table) {
  for (const auto &[key, group] : groups) {
    MeasuredSeries series{*group.front()->work.kernel,
                          key.first,
                          group.front()->work.shape,
                          group.front()->work.optional,
                          {}};
    for (const CalibrationSample *sample : group) {
      MeasuredPoint point{std::llround(sample->work.flops), std::llround(bytesOf(sample->work)),
                          std::llround(sample->work.exps), sample->ns};
      if (!series.points.empty())
        point.ns = std::max(point.ns, series.points.back().ns);
      series.points.push_back(point);
    }
    table.series.push_back(std::move(series));
  }
}

void testTable(std::span<const CalibrationSample> samples, DeviceProfile &profile) {
  std::map<plan::Precision, HeldOutError> errors;
  for (const CalibrationSample &sample : samples) {
    HeldOutError &error = errors[sample.precision];
    error.precision = sample.precision;
    if (!sample.heldOut)
      continue;
    const auto predicted = static_cast<double>(profile.costNs(sample.work, sample.precision));
    const double off = std::abs(predicted / static_cast<double>(sample.ns) - 1);
    error.mean += off;
    ++error.calls;
    if (off >= error.worst) {
      error.worst = off;
      error.worstKernel = *sample.work.kernel;
    }
  }
  for (auto &[precision, error] : errors) {
    error.mean = error.calls > 0 ? error.mean / static_cast<double>(error.calls) : 0;
    profile.measured->heldOut.push_back(error);
  }
}
} // namespace

Result<DeviceProfile> fitProfile(const MeasuredDevice &device,
                                 std::span<const CalibrationSample> samples) {
  DeviceProfile profile;
  profile.name = device.device + " (measured)";
  profile.backend = device.backend;
  profile.memoryBytes = device.memoryBytes;
  profile.libraryBytes = device.libraryBytes;
  profile.workspaceBytes = device.workspaceBytes;
  const Groups groups = groupSamples(samples);
  EVO_TRY(fitAnalytic(groups, profile));
  profile.measured =
      MeasuredTable{device.device, plan::kernelSetHash(), device.kernelRevision, {}, {}};
  addSeries(groups, *profile.measured);
  testTable(samples, profile);
  return profile;
}

} // namespace evo::cost
