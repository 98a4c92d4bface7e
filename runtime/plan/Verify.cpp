//===- Verify.cpp -----------------------------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "runtime/plan/Verify.h"
#include "runtime/plan/VerifyParts.h"

#include <exception>

namespace evo::plan {

std::string_view invariantName(int invariant) {
  switch (invariant) {
  case 0:
    return "a plan is well formed";
  case 1:
    return "every read is defined";
  case 2:
    return "slices tile their axis";
  case 3:
    return "buffers are used between alloc and free";
  case 4:
    return "in-place writes harm no reader";
  case 5:
    return "a backward finds what its forward had";
  case 6:
    return "gradients are neither lost nor added twice";
  case 7:
    return "every use of a weight contributes to its gradient";
  case 8:
    return "buffers are aligned and within bounds";
  case 9:
    return "no two live buffers overlap";
  case 10:
    return "declared bytes are the needed ones";
  case 11:
    return "iterations share memory only one after the other";
  case 12:
    return "kept tensors form a stack";
  case 15:
    return "shards make up their axis";
  case 16:
    return "asynchronous steps are waited for";
  case 18:
    return "costs add up";
  default:
    return "";
  }
}

Violation violates(int invariant, const Path &path, std::string_view expected,
                   std::string_view got) {
  return {invariant, path.text(),
          makeText("invariant ", invariant, " (", invariantName(invariant), "): expected ",
                   expected, ", got ", got)};
}

std::optional<Violation> verifyPlan(const Plan &plan) {
  std::vector<ProcedureFacts> facts;
  EVO_VERIFY(verifyTables(plan));
  EVO_VERIFY(verifyStates(plan));
  EVO_VERIFY(verifyProcedureForm(plan));
  EVO_VERIFY(verifyPrograms(plan));
  EVO_VERIFY(verifySums(plan));
  EVO_VERIFY(verifyData(plan, facts));
  EVO_VERIFY(verifyCalls(plan, facts));
  EVO_VERIFY(verifyOptimizer(plan, facts));
  std::set<Recall> recalls;
  EVO_VERIFY(verifyMemory(plan, facts, recalls));
  EVO_VERIFY(verifyGradients(plan));
  EVO_VERIFY(verifySlices(plan));
  EVO_VERIFY(verifyContributions(plan));
  EVO_VERIFY(verifyRecalls(plan, facts, recalls));
  return verifyCost(plan);
}

Status checkPlan(const Plan &plan) {
  try {
    if (auto violation = verifyPlan(plan))
      return Status::error(ErrorCode::InvalidPlan,
                           violation->path.empty()
                               ? violation->message
                               : makeText(violation->path, ": ", violation->message));
    return {};
  } catch (const std::exception &error) {
    return Status::error(ErrorCode::Internal, makeText("plan verifier: expected to end, got ",
                                                       std::string_view(error.what())));
  }
}

} // namespace evo::plan
