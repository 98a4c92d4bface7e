//===- VerifyPlaced.cpp - fence behind the placement ------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "passes/Passes.h"
#include "passes/Procedure.h"

using namespace mlir;

namespace evo {

#define GEN_PASS_DEF_KERNVERIFYPLACED
#include "passes/Passes.h.inc"

static LogicalResult verifyFrame(kern::ProcedureOp procedure) {
  if (!procedure.getFrameBytes())
    return procedure.emitOpError("expected frame_bytes; run kern-place first");
  Result<FrameProblem> problem = extractFrame(procedure);
  if (!problem)
    return emitStatus(procedure, problem.status());
  memory::Packing packing;
  packing.height = *procedure.getFrameBytes();
  for (kern::AllocOp alloc : problem->allocs) {
    if (!alloc.getOffset())
      return alloc.emitOpError("expected an offset; run kern-place first");
    packing.offsets.push_back(*alloc.getOffset());
  }
  Result<memory::Bytes> load = memory::maxLoad(problem->lifetimes, plan::kAlignment);
  if (!load)
    return emitStatus(procedure, load.status());
  packing.lowerBound = *load;
  return emitStatus(procedure,
                    memory::validatePacking(problem->lifetimes, plan::kAlignment, packing));
}

namespace {
struct KernVerifyPlacedPass : impl::KernVerifyPlacedBase<KernVerifyPlacedPass> {
  void runOnOperation() override {
    ModuleOp module = getOperation();
    for (auto procedure : module.getOps<kern::ProcedureOp>())
      if (failed(verifyFrame(procedure)))
        return signalPassFailure();
    WalkResult result = module.walk([&](kern::CallOp call) -> WalkResult {
      if (!call.getFrameOffset())
        return call.emitOpError("expected a frame offset; run kern-place first");
      if (*call.getFrameOffset() % plan::kAlignment != 0)
        return call.emitOpError("expected a frame offset that is a multiple of ")
               << plan::kAlignment << ", got " << *call.getFrameOffset();
      if (!module.lookupSymbol<kern::ProcedureOp>(call.getProcedure()))
        return call.emitOpError("names no procedure: ") << call.getProcedureAttr();
      return WalkResult::advance();
    });
    if (result.wasInterrupted())
      signalPassFailure();
  }
};
} // namespace

} // namespace evo
