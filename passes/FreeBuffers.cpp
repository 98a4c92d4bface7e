//===- FreeBuffers.cpp - free as soon as last read --------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "passes/Passes.h"
#include "passes/Procedure.h"

using namespace mlir;

namespace evo {

#define GEN_PASS_DEF_KERNFREEBUFFERS
#include "passes/Passes.h.inc"

/// The op of the alloc's block that holds the last use of the buffer; the alloc where nothing uses
/// it.
static Operation *lastUse(kern::AllocOp alloc) {
  Operation *last = alloc;
  auto consider = [&](Operation *user) {
    Operation *ancestor = alloc->getBlock()->findAncestorOpInBlock(*user);
    if (ancestor && last->isBeforeInBlock(ancestor))
      last = ancestor;
  };
  for (Operation *user : alloc.getResult().getUsers()) {
    consider(user);
    for (Operation *launch : user->getUsers())
      consider(launch);
  }
  return last;
}

void freeBuffers(kern::ProcedureOp procedure) {
  OpBuilder builder(procedure.getContext());
  SmallVector<kern::AllocOp> allocs;
  procedure.walk([&](kern::AllocOp alloc) { allocs.push_back(alloc); });
  for (kern::AllocOp alloc : allocs) {
    builder.setInsertionPointAfter(lastUse(alloc));
    builder.create<kern::FreeOp>(alloc.getLoc(), alloc.getResult());
  }
}

namespace {
struct KernFreeBuffersPass : impl::KernFreeBuffersBase<KernFreeBuffersPass> {
  void runOnOperation() override {
    for (auto procedure : getOperation().getOps<kern::ProcedureOp>())
      freeBuffers(procedure);
  }
};
} // namespace

} // namespace evo
