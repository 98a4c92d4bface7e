//===- KernelWork.h - what one kernel call does -----------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// The work of a call by its extents: what the compiler prices and what a calibration measures, so
// both must count alike. CalibrationSample is what the second hands to compiler/cost.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/plan/Kernel.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace evo::plan {

/// Which of the device's peaks bounds a kernel's arithmetic.
enum class WorkClass : uint8_t { Matmul, Vector };

struct KernelWork {
  WorkClass workClass = WorkClass::Vector;
  double flops = 0; ///< a multiply-add counts two
  double bytesRead = 0;
  double bytesWritten = 0;
  double exps = 0; ///< exponentials (softmax, sigmoid)
  int64_t launches = 1;
  std::optional<Kernel> kernel = {}; ///< absent: work that no table of kernels has
  std::vector<int64_t> shape = {};   ///< the extents of `shapeAxes`, in its order
  uint32_t optional = 0;             ///< bit i: operand i of the row is optional and there
};

/// True where the flops are those of matrix products.
bool isMatmul(Kernel kernel);
/// Floating point operations of one call whose axes have the given extents. Vector work counts its
/// additions and multiplications.
double kernelFlops(Kernel kernel, const AxisExtents &axes);

/// The axes that decide how well a device does a kernel's work, apart from how much of it there is:
/// all but the one that rows and slices run along (`*`, else `b`, else `i`), heads, and those that
/// follow from others. `x` stands for the width of one head where there are heads.
std::string shapeAxes(Kernel kernel);

/// The work of a call but for its bytes. Bit i of `present`: operand i of the row is there.
KernelWork kernelWork(Kernel kernel, const AxisExtents &axes, uint32_t present);

/// Identifies Kernels.def: what is measured for one list of kernels says nothing about another.
std::string kernelSetHash();

/// One measured call.
struct CalibrationSample {
  KernelWork work;
  Precision precision = Precision::Fp32;
  int64_t ns = 0;
  int32_t series = 0;   ///< calls of one series differ in their rows alone, which grow
  bool heldOut = false; ///< tests the table and is no part of it
};

} // namespace evo::plan
