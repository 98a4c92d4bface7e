//===- VerifyChosen.cpp - fence behind the choice ---------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "passes/Passes.h"

using namespace mlir;

namespace evo {

#define GEN_PASS_DEF_EVOVERIFYCHOSEN
#include "passes/Passes.h.inc"

namespace {
struct EvoVerifyChosenPass : impl::EvoVerifyChosenBase<EvoVerifyChosenPass> {
  void runOnOperation() override {
    WalkResult result = getOperation().walk([](ir::ModuleOpInterface op) {
      if (!op.getModuleChoice()) {
        op->emitOpError("expected a choice; run evo-choose-policy first");
        return WalkResult::interrupt();
      }
      return WalkResult(ir::verifyChoice(op, op.getModuleChoice()));
    });
    if (result.wasInterrupted())
      signalPassFailure();
  }
};
} // namespace

} // namespace evo
