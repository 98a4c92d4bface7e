//===- PlanFixture.h - a small plan with everything in it -------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// Three procedures over m [5,7,8], z [7,7,4] and msa_mask [5,7]:
//   msa_att_row      side input (pair bias), then a loop over s in slices 2, 2, 1; gate in place
//   msa_transition   loop over r in slices 3, 3, 1 through transposed views of m and of the mask
//   pair_transition  no loop; one step on the communication lane with its wait
// called for four blocks. Every test starts from it and breaks one thing.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/plan/Plan.h"

#include <string>
#include <vector>

namespace evo::plan::test {

/// A legal plan.
Plan fixturePlan();

/// A legal plan for training: modules `first` and `second` keep m before they change it (procedures
/// 0 and 2), and read it again in the backward program (1 and 3). Three blocks; m [4,4], dm [4,4].
Plan trainingPlan();

/// A legal plan for training with weights: x = m weight^T + bias is added to m (procedure 0), and
/// its backward stores the gradients of weight and bias and updates dm (procedure 1). Three blocks;
/// m [4,4], dm [4,4], weight [4,4], bias [4].
Plan gradientPlan();

/// gradientPlan with an optimizer, SGD with momentum: procedure 2 counts the gradients that are not
/// finite, 3 updates weight and bias, 4 advances the scalars in tensor 2.
Plan optimizerPlan();

// Where the fixture's parts stand.
enum Procedures { kRow, kTransition, kPair };
enum Tensors { kM, kZ, kMask };

/// A call whose frame stands still.
Call callOf(int32_t procedure, int64_t frameOffset, int64_t savedOffset = 0,
            int64_t savedStride = 0);

/// The `id`-th kernel step of a procedure, loops' bodies in order.
KernelStep &kernelStep(Procedure &procedure, int id);
/// The first loop of a procedure.
LoopStep &firstLoop(Procedure &procedure);
/// An operand that must be there.
View &operand(KernelStep &step, const std::string &name);
/// Index of a buffer by name.
int32_t bufferIndex(const Procedure &procedure, const std::string &name);

/// Puts the mask of a dropout into a frame buffer of its own, which nobody reads.
void addMask(Procedure &procedure, double rate, int64_t module);

} // namespace evo::plan::test
