//===- VerifyBuffers.cpp - fence behind the buffers -------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "passes/Passes.h"
#include "passes/Procedure.h"

#include "llvm/ADT/DenseSet.h"

using namespace mlir;

namespace evo {

#define GEN_PASS_DEF_KERNVERIFYBUFFERS
#include "passes/Passes.h.inc"

/// Freed once, in the block of the alloc, behind every use.
static LogicalResult verifyAlloc(kern::AllocOp alloc) {
  kern::FreeOp freeOp;
  for (Operation *user : alloc.getResult().getUsers()) {
    auto candidate = dyn_cast<kern::FreeOp>(user);
    if (!candidate)
      continue;
    if (freeOp) {
      bool earlier =
          candidate->getBlock() == freeOp->getBlock() && candidate->isBeforeInBlock(freeOp);
      return (earlier ? freeOp : candidate).emitOpError("frees a buffer that was freed already");
    }
    freeOp = candidate;
  }
  if (!freeOp)
    return alloc.emitOpError("is never freed");
  if (freeOp->getBlock() != alloc->getBlock())
    return freeOp.emitOpError("stands in another block than the alloc of its buffer");
  for (Operation *view : alloc.getResult().getUsers())
    for (Operation *user : view->getUsers()) {
      Operation *ancestor = alloc->getBlock()->findAncestorOpInBlock(*user);
      if (!ancestor || freeOp->isBeforeInBlock(ancestor))
        return user->emitOpError("uses a buffer behind its free");
    }
  return success();
}

/// The loops that a view names are around it.
static LogicalResult verifyView(kern::ViewOp view) {
  llvm::DenseSet<int32_t> around;
  for (auto loop = view->getParentOfType<kern::LoopOp>(); loop;
       loop = loop->getParentOfType<kern::LoopOp>())
    around.insert(loop.getId());
  for (ArrayRef<int32_t> list : {view.getStartLoop(), view.getExtentLoop()})
    for (int32_t loop : list)
      if (loop != -1 && !around.contains(loop))
        return view.emitOpError("names loop ") << loop << ", which is not around it";
  return success();
}

LogicalResult verifyBuffers(kern::ProcedureOp procedure) {
  if (unsigned arguments = procedure.getBody().front().getNumArguments())
    return procedure.emitOpError("expected no block arguments at the buffer level, got ")
           << arguments;
  llvm::DenseSet<int32_t> loops;
  WalkResult result = procedure.walk([&](Operation *op) -> WalkResult {
    if (op == procedure)
      return WalkResult::advance();
    if (auto alloc = dyn_cast<kern::AllocOp>(op))
      return verifyAlloc(alloc);
    if (auto view = dyn_cast<kern::ViewOp>(op))
      return verifyView(view);
    if (auto loop = dyn_cast<kern::LoopOp>(op)) {
      if (!loops.insert(loop.getId()).second)
        return loop.emitOpError("has the id of another loop, ") << loop.getId();
      return WalkResult::advance();
    }
    if (isa<kern::FreeOp, kern::LaunchOp, kern::YieldOp, kern::ReturnOp, kern::TensorBufferOp,
            kern::WeightBufferOp, kern::SavedBufferOp, kern::GradientBufferOp, kern::StateBufferOp>(
            op))
      return WalkResult::advance();
    return op->emitOpError("is not of the buffer level");
  });
  return failure(result.wasInterrupted());
}

namespace {
struct KernVerifyBuffersPass : impl::KernVerifyBuffersBase<KernVerifyBuffersPass> {
  void runOnOperation() override {
    for (auto procedure : getOperation().getOps<kern::ProcedureOp>())
      if (failed(verifyBuffers(procedure)))
        return signalPassFailure();
  }
};
} // namespace

} // namespace evo
