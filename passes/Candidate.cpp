//===- Candidate.cpp - what a module costs under a choice -------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "passes/Procedure.h"

using namespace mlir;

namespace evo {

Result<Candidate> priceCandidate(ir::ModuleOpInterface op, ir::ChoiceAttr choice,
                                 const cost::DeviceProfile &profile, plan::Precision precision) {
  // The diagnostics of a failed step become the reason.
  std::string reason;
  ScopedDiagnosticHandler handler(op->getContext(), [&](Diagnostic &diagnostic) {
    reason += (reason.empty() ? "" : "; ") + diagnostic.str();
    return success();
  });
  OwningOpRef<ModuleOp> scratch = ModuleOp::create(op->getLoc());
  OpBuilder builder = OpBuilder::atBlockEnd(scratch->getBody());
  kern::ProcedureOp procedure = emitProcedure(builder, op, choice, "candidate", precision);
  Candidate candidate;
  EVO_ASSIGN(candidate.costNs, annotateCost(procedure, profile, precision));
  if (failed(assignBuffers(procedure)))
    return Status::error(ErrorCode::Internal, reason);
  freeBuffers(procedure);
  if (failed(placeFrame(procedure)))
    return Status::error(ErrorCode::InvalidInput, reason);
  candidate.frameBytes = *procedure.getFrameBytes();
  return candidate;
}

} // namespace evo
