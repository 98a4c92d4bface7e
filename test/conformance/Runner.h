//===- Runner.h -----------------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// Runs a case on a backend. Every operand gets a buffer of its own with space around and between
// its elements; that space and all outputs begin as NaN, so that a stray read shows in the result
// and a stray write in the space.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/core/Backend.h"
#include "test/conformance/Cases.h"
#include "test/conformance/Reference.h"

#include <functional>
#include <span>

namespace evo::conformance {

/// The buffers of a case before the call: equal for equal cases.
struct Placement {
  struct Buffer {
    std::vector<std::byte> bytes;
    TensorRef view;           ///< its data is null; the view begins at `start`
    int64_t start = 0;        ///< bytes
    size_t sharedWith = 0;    ///< index of the operand whose buffer this one uses; its own: none
    std::vector<char> inView; ///< by element of the buffer
  };
  plan::Precision precision = plan::Precision::Fp32;
  std::vector<Buffer> buffers;       ///< one an operand
  std::vector<DenseTensor> operands; ///< the inputs' values as they are stored
};

/// `value` as `type` stores it.
double rounded(double value, plan::DType type);

/// The value of a stored element.
double loadElement(const std::byte *data, plan::DType type);

Placement place(const KernelCase &testCase, plan::Precision precision);

/// A case's buffers after a call that stores `factor` times what the reference says in the output
/// `scaled` and all else as it should.
std::vector<std::vector<std::byte>> scaledOutput(const KernelCase &testCase,
                                                 const Placement &placement,
                                                 const std::vector<DenseTensor> &expected,
                                                 size_t scaled, double factor);

/// Launches the case on operands in the device's memory and awaits its end.
Status launchCase(Backend &backend, const KernelCase &testCase, plan::Precision precision,
                  std::span<const TensorRef> operands);

/// Runs the case; the result is the buffers after the call. They lie in one allocation, or with
/// EVO_CONFORMANCE_APART, for checkers of accesses, in one each.
Result<std::vector<std::vector<std::byte>>> runCase(Backend &backend, const KernelCase &testCase,
                                                    const Placement &placement,
                                                    plan::Precision precision);

/// What is wrong with the buffers after the call: the first few differences from the reference
/// operands `expected` beyond the tolerance, and every operand with a changed byte outside its
/// view. Empty: nothing. `roundsBetween`: a half type's rounding of what the kernel computes on its
/// way is allowed for.
std::string compareCase(const KernelCase &testCase, const Placement &placement,
                        const std::vector<DenseTensor> &expected,
                        const std::vector<std::vector<std::byte>> &after,
                        bool roundsBetween = false);

} // namespace evo::conformance
