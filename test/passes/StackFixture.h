//===- StackFixture.h - stacks with choices, for tests ----------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#pragma once

#include "passes/Passes.h"
#include "passes/Procedure.h"

#include <map>
#include <string>
#include <vector>

namespace evo::test {

/// A small specification of each stack; r is at least 1, s is of no use to template_pair.
spec::ModelSpec smallSpec(spec::StackKind stack, int64_t s, int64_t r);

/// Every variant of the module whole, and by each axis in slices of 1, 2, 3, all and more elements.
std::vector<ir::ChoiceAttr> legalChoices(ir::ModuleOpInterface op);

/// For training: every pair of variants forward and backward, the forward whole and by each axis in
/// slices of 2, the backward whole and by each axis in slices of 3; and each variant keeping all.
std::vector<ir::ChoiceAttr> trainingChoices(ir::ModuleOpInterface op);

std::vector<ir::ModuleOpInterface> modulesOf(mlir::ModuleOp module);

/// Splits the stack's one segment behind its first block.
void splitSegment(mlir::ModuleOp module);

/// `kern.target` as choosePolicy writes it, for a stack whose choices are the test's own.
void setTarget(mlir::ModuleOp module);

/// Lowers a chosen stack, fences included, and emits its plan.
Result<plan::Plan> lowerToPlan(mlir::ModuleOp module);

/// The streams of which a module's backward reads the values: z of the outer product mean is only
/// added to.
std::vector<std::string> streamsRead(ir::ModuleOpInterface op);

/// What the candidates alone tell of a stack's plan without runs, where no version of a stream is
/// kept twice.
struct Prediction {
  int64_t arenaBytes = 0; ///< largest sum of boundary tensors, what is kept and a frame
  int64_t keptBytes = 0;
  int64_t costNs = 0; ///< each module on its own, a copy of every stream that it reads included
  std::map<std::string, int64_t> shared; ///< how many of those copies the plan does without
};
Result<Prediction> predict(mlir::ModuleOp module);

/// The predicted cost less that of the copies that a plan does without.
int64_t predictedNs(const Prediction &prediction, const plan::Plan &plan);

/// The kernels of all steps of a plan, loops' bodies included.
std::vector<plan::Kernel> kernelsOf(const plan::Plan &plan);

} // namespace evo::test
