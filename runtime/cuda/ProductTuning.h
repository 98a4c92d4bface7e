//===- ProductTuning.h - measures the library's proposals -------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/cuda/Context.h"

namespace evo::cuda {

/// Times what cuBLASLt proposes for each product that was launched since the last time, on the
/// operands that it was launched with, and adds what was quickest to the context's table. From then
/// on products are chosen by it. The operands must still be there; results are written over.
Status tuneProducts(Context &context);

} // namespace evo::cuda
