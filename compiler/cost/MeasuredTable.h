//===- MeasuredTable.h - times of kernels on one device ---------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// A series is calls of one kernel that differ in their rows alone: their work grows along it, and
// so does their time. A call is priced in two steps.
// 1. Along each series of its kernel, at the call's own analytic time a: log(time) is linear in
//    log(a) between two points; beyond both ends time is proportional to a, anchored at the end.
//    Both are monotone in a, hence in the call's rows.
// 2. Between the series, log(time) is the mean weighted by 1 / d^4, where d is the distance of the
//    logarithms (base 2) of the extents that are not rows (plan::shapeAxes). An optional operand
//    that one of both has adds 1/4 to d^2, and exponentials that one of both has 16. Where d is 0,
//    that series alone counts. The weights do not depend on rows, so the mean stays monotone.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/plan/KernelWork.h"

#include <cstdint>
#include <string>
#include <vector>

namespace evo::cost {

struct DeviceProfile;

/// One call and its time.
struct MeasuredPoint {
  int64_t flops = 0, bytes = 0, exps = 0;
  int64_t ns = 0;
  bool operator==(const MeasuredPoint &) const = default;
};

struct MeasuredSeries {
  plan::Kernel kernel = plan::Kernel::Copy;
  plan::Precision precision = plan::Precision::Fp32;
  std::vector<int64_t> shape;        ///< extents of plan::shapeAxes
  uint32_t optional = 0;             ///< as in plan::KernelWork
  std::vector<MeasuredPoint> points; ///< at least one; work and time never fall along them
  bool operator==(const MeasuredSeries &) const = default;
};

/// How far the table is from calls that are no part of it: |predicted / measured - 1|.
struct HeldOutError {
  plan::Precision precision = plan::Precision::Fp32;
  int64_t calls = 0;
  double mean = 0, worst = 0;
  plan::Kernel worstKernel = plan::Kernel::Copy;
  bool operator==(const HeldOutError &) const = default;
};

struct MeasuredTable {
  std::string device;                ///< DeviceIdentity::text() of where it was measured
  std::string kernelSet;             ///< plan::kernelSetHash() of the kernels that were measured
  int64_t kernelRevision = 1;        ///< the backend's
  std::vector<HeldOutError> heldOut; ///< one a precision
  std::vector<MeasuredSeries> series;
  bool operator==(const MeasuredTable &) const = default;
};

/// Nanoseconds of one launch; 0 where the profile's table does not have the kernel in this
/// precision.
double measuredNs(const DeviceProfile &profile, const plan::KernelWork &work,
                  plan::Precision precision);

} // namespace evo::cost
