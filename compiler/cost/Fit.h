//===- Fit.h - a profile from measured calls --------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#pragma once

#include "compiler/cost/DeviceProfile.h"

#include <span>

namespace evo::cost {

/// Where the calls were measured.
struct MeasuredDevice {
  std::string device;         ///< DeviceIdentity::text()
  int64_t kernelRevision = 1; ///< the backend's
  std::string backend;        ///< "cuda" | "cpu"
  int64_t memoryBytes = 0, libraryBytes = 0, workspaceBytes = 0;
};

/// The analytic part is the best that any call reached: FLOP/s by precision, exponentials/s, the
/// bytes/s of each series' largest call, and the shortest call as the launch; a precision that was
/// not measured gets the slowest one's FLOP/s. The table is the calls that are not held out, in
/// series; where noise has a larger call end sooner than a smaller one, it gets that one's time.
/// Held-out calls say how far off the table is. The same samples give the same profile. Errors: no
/// call of matrix products, of other work or with exponentials in the table.
Result<DeviceProfile> fitProfile(const MeasuredDevice &device,
                                 std::span<const plan::CalibrationSample> samples);

} // namespace evo::cost
