//===- EstimateMemory.cpp - dominant terms beside exact peaks ---*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "passes/Passes.h"
#include "passes/Procedure.h"

#include <cmath>

using namespace mlir;

namespace evo {

#define GEN_PASS_DEF_EVOESTIMATEMEMORY
#include "passes/Passes.h.inc"

/// Dominant bytes beyond 2^63 - 1 are stated as that: the term explains, it never decides.
static int64_t saturate(double bytes) {
  return bytes < std::ldexp(1.0, 63) ? static_cast<int64_t>(bytes) : INT64_MAX;
}

static LogicalResult estimate(ir::ModuleOpInterface op, const cost::DeviceProfile &profile,
                              plan::Precision precision, plan::Mode mode) {
  if (!op.getModuleChoice())
    return op->emitOpError("expected a choice; run evo-choose-policy first");
  Result<Candidate> candidate = priceCandidate(op, op.getModuleChoice(), profile, precision, mode);
  if (!candidate)
    return emitStatus(op, candidate.status());
  ir::DominantTerm term = op.getDominantTerm();
  Builder builder(op->getContext());
  int64_t element = plan::elementBytes(plan::storageType(precision));
  NamedAttrList list;
  list.set("dominant", builder.getStringAttr(term.formula));
  list.set("dominant_bytes",
           builder.getI64IntegerAttr(saturate(term.elements * static_cast<double>(element))));
  list.set("frame_bytes", builder.getI64IntegerAttr(candidate->frameBytes));
  list.set("cost_ns", builder.getI64IntegerAttr(candidate->costNs));
  op->setAttr("estimate", list.getDictionary(op->getContext()));
  return success();
}

namespace {
struct EvoEstimateMemoryPass : impl::EvoEstimateMemoryBase<EvoEstimateMemoryPass> {
  using EvoEstimateMemoryBase::EvoEstimateMemoryBase;
  void runOnOperation() override {
    Result<cost::DeviceProfile> device = loadProfile(profile);
    if (!device) {
      getOperation().emitError() << device.status().message();
      return signalPassFailure();
    }
    for (auto stack : getOperation().getOps<ir::StackOp>()) {
      plan::Precision precision = getPrecision(stack.getModel());
      plan::Mode mode = getMode(stack.getModel());
      WalkResult result = stack.walk([&](ir::ModuleOpInterface op) {
        return WalkResult(estimate(op, *device, precision, mode));
      });
      if (result.wasInterrupted())
        return signalPassFailure();
    }
  }
};
} // namespace

} // namespace evo
