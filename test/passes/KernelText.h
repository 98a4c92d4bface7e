//===- KernelText.h - every kernel's op as text -----------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/plan/Kernel.h"

#include <string>

namespace evo::test {

/// Whether the row allows these operands (bits of `absent`) to be left out: results in their order,
/// and those of linear_grad that dgate is made of.
bool isLegal(const plan::KernelInfo &info, unsigned absent);

/// The optional operands of a row, as bits.
unsigned optionalOperands(const plan::KernelInfo &info);

/// The kernel in a region whose arguments are all inputs, in order, on small extents in bf16.
/// Absent operands are bits of `absent`.
std::string kernelText(const plan::KernelInfo &info, unsigned absent);

} // namespace evo::test
