//===- SizeCheck.h - sizes that 64 bits hold --------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#pragma once

#include "compiler/spec/ModelSpec.h"

namespace evo::spec {

/// Refuses a specification of which a tensor (a stream, a module's largest tensor without slices,
/// or the weights of all blocks) takes 2^63 bytes or more in its storage type: sizes beyond every
/// machine are named here, by the specification's keys. Sums of tensors are checked where they are
/// made.
Status checkByteCounts(const ModelSpec &spec);

} // namespace evo::spec
