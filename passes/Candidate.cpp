//===- Candidate.cpp - what a module costs under a choice -------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "passes/Procedure.h"

using namespace mlir;

namespace evo {

/// Prices, assigns, frees and packs one procedure; adds to the candidate.
static Status priceProcedure(kern::ProcedureOp procedure, const cost::DeviceProfile &profile,
                             plan::Precision precision, const std::string &reason,
                             Candidate &candidate) {
  EVO_ASSIGN(int64_t costNs, annotateCost(procedure, profile, precision));
  if (__builtin_add_overflow(candidate.costNs, costNs, &candidate.costNs))
    return Status::error(ErrorCode::InvalidInput, "the modelled time exceeds 2^63 ns");
  if (failed(assignBuffers(procedure)))
    return Status::error(ErrorCode::Internal, reason);
  freeBuffers(procedure);
  if (failed(placeFrame(procedure)))
    return Status::error(ErrorCode::InvalidInput, reason);
  candidate.frameBytes = std::max<int64_t>(candidate.frameBytes, *procedure.getFrameBytes());
  EVO_ASSIGN(int64_t savedBytes, placeSaved(procedure));
  candidate.savedBytes = std::max(candidate.savedBytes, savedBytes);
  return {};
}

Result<Candidate> priceCandidate(ir::ModuleOpInterface op, ir::ChoiceAttr choice,
                                 const cost::DeviceProfile &profile, plan::Precision precision,
                                 plan::Mode mode) {
  // The diagnostics of a failed step become the reason.
  std::string reason;
  ScopedDiagnosticHandler handler(op->getContext(), [&](Diagnostic &diagnostic) {
    reason += (reason.empty() ? "" : "; ") + diagnostic.str();
    return success();
  });
  OwningOpRef<ModuleOp> scratch = ModuleOp::create(op->getLoc());
  OpBuilder builder = OpBuilder::atBlockEnd(scratch->getBody());
  Candidate candidate;
  Unit unit = Unit::of(op, choice);
  ForwardOptions options;
  if (mode == plan::Mode::Train) {
    FailureOr<kern::ProcedureOp> backward = emitBackward(builder, unit, "backward", precision);
    if (failed(backward))
      return Status::error(ErrorCode::Internal, reason);
    options.kept = keptSlots(*backward);
    EVO_TRY(priceProcedure(*backward, profile, precision, reason, candidate));
  }
  kern::ProcedureOp forward = emitForward(builder, unit, "forward", precision, options);
  EVO_TRY(priceProcedure(forward, profile, precision, reason, candidate));
  return candidate;
}

} // namespace evo
