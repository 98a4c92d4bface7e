//===- StackProblem.h - a stack as a schedule problem -----------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// Makes the search's records: lowers each module of a block, and each run of modules that may share
// a loop, once a choice, and takes its bytes and nanoseconds from the procedures that come of it.
// Knows the choices that records stand for; knows nothing of how the search picks.
//===----------------------------------------------------------------------===//
#pragma once

#include "compiler/schedule/Problem.h"
#include "passes/Passes.h"

#include <vector>

namespace evo {

/// Modules [first, first + choices.size()) of a block; several share a loop of slices of `size`
/// elements along `axis`.
struct RecordChoice {
  int64_t first = 0;
  llvm::SmallVector<ir::ChoiceAttr> choices;
  ir::Axis axis = ir::Axis::None;
  int64_t size = 0;
};

struct StackProblem {
  schedule::Problem problem;         ///< without a budget
  std::vector<RecordChoice> records; ///< what each record of the problem stands for
  /// For each way to run a segment forward: the choice of every module.
  std::vector<llvm::SmallVector<mlir::Attribute>> forward;
};

/// The problem of a stack whose segments have equal modules. Unsupported where they differ, or
/// where there are more blocks than the search takes.
Result<StackProblem> buildStackProblem(ir::StackOp stack, const Target &target);

} // namespace evo
