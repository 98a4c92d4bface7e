//===- Candidate.cpp - what a module costs under a choice -------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "passes/Procedure.h"

using namespace mlir;

namespace evo {

Result<Candidate> priceProcedure(kern::ProcedureOp procedure, const cost::DeviceProfile &profile,
                                 plan::Precision precision) {
  // The diagnostics of a failed step become the reason.
  std::string reason;
  ScopedDiagnosticHandler handler(procedure->getContext(), [&](Diagnostic &diagnostic) {
    reason += (reason.empty() ? "" : "; ") + diagnostic.str();
    return success();
  });
  Candidate price;
  EVO_ASSIGN(price.costNs, annotateCost(procedure, profile, precision));
  if (failed(assignBuffers(procedure)))
    return Status::error(ErrorCode::Internal, reason);
  freeBuffers(procedure);
  if (failed(placeFrame(procedure)))
    return Status::error(ErrorCode::InvalidInput, reason);
  price.frameBytes = *procedure.getFrameBytes();
  EVO_ASSIGN(price.savedBytes, placeSaved(procedure));
  return price;
}

/// Both phases: times add up, a frame is the larger one.
static Status addPrice(Candidate &sum, const Candidate &price) {
  if (__builtin_add_overflow(sum.costNs, price.costNs, &sum.costNs))
    return Status::error(ErrorCode::InvalidInput, "the modelled time exceeds 2^63 ns");
  sum.frameBytes = std::max(sum.frameBytes, price.frameBytes);
  sum.savedBytes = std::max(sum.savedBytes, price.savedBytes);
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
    EVO_ASSIGN(Candidate price, priceProcedure(*backward, profile, precision));
    EVO_TRY(addPrice(candidate, price));
  }
  kern::ProcedureOp forward = emitForward(builder, unit, "forward", precision, options);
  EVO_ASSIGN(Candidate price, priceProcedure(forward, profile, precision));
  EVO_TRY(addPrice(candidate, price));
  return candidate;
}

} // namespace evo
