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

/// Bytes [begin, end) of the arena, and whose they are.
struct Slot {
  StringRef name;
  int64_t begin = 0, end = 0;
};

struct PlacedVerifier {
  ModuleOp module;
  std::vector<Slot> slots; ///< of the boundary tensors

  LogicalResult expectApart(Operation *op, const Slot &slot) {
    for (const Slot &other : slots)
      if (slot.begin < other.end && other.begin < slot.end)
        return op->emitOpError("expected bytes apart from those of @")
               << other.name << ", [" << other.begin << ", " << other.end << "), got ["
               << slot.begin << ", " << slot.end << ")";
    return success();
  }

  LogicalResult verifyTensor(kern::TensorOp op) {
    if (!op.getOffset())
      return op.emitOpError("expected an offset; run kern-place first");
    Result<int64_t> bytes = tensorBytes({op.getType()});
    if (!bytes)
      return emitStatus(op, bytes.status());
    int64_t offset = *op.getOffset();
    if (offset < 0 || offset % plan::kAlignment != 0 || *bytes > INT64_MAX - offset)
      return op.emitOpError("expected an offset that is a multiple of ")
             << plan::kAlignment << ", got " << offset;
    Slot slot{op.getSymName(), offset, offset + *bytes};
    if (failed(expectApart(op, slot)))
      return failure();
    slots.push_back(slot);
    return success();
  }

  LogicalResult verifyCall(kern::CallOp op) {
    auto procedure = module.lookupSymbol<kern::ProcedureOp>(op.getProcedure());
    if (!procedure)
      return op.emitOpError("expected a procedure, got ") << op.getProcedureAttr();
    if (!op.getFrameOffset())
      return op.emitOpError("expected a frame offset; run kern-place first");
    int64_t offset = *op.getFrameOffset(), height = *procedure.getFrameBytes();
    if (offset < 0 || offset % plan::kAlignment != 0 || height > INT64_MAX - offset)
      return op.emitOpError("expected a frame offset that is a multiple of ")
             << plan::kAlignment << ", got " << offset;
    return expectApart(op, {procedure.getSymName(), offset, offset + height});
  }

  LogicalResult verifyUse(kern::TensorBufferOp op) {
    auto tensor = module.lookupSymbol<kern::TensorOp>(op.getTensor());
    if (!tensor)
      return op.emitOpError("expected a tensor, got ") << op.getTensorAttr();
    auto type = cast<RankedTensorType>(tensor.getType());
    kern::BufferType buffer = op.getResult().getType();
    if (type.getShape() != buffer.getShape() || type.getElementType() != buffer.getElementType())
      return op.emitOpError("expected a buffer of ") << tensor.getType() << ", got " << buffer;
    return success();
  }

  LogicalResult verifyNames(kern::ProgramOp op) {
    for (ArrayAttr list : {op.getInputs(), op.getOutputs()})
      for (auto name : list.getAsRange<FlatSymbolRefAttr>())
        if (!module.lookupSymbol<kern::TensorOp>(name.getValue()))
          return op.emitOpError("expected a tensor, got ") << name;
    return success();
  }

  LogicalResult run() {
    for (auto procedure : module.getOps<kern::ProcedureOp>())
      if (failed(verifyFrame(procedure)))
        return failure();
    for (auto tensor : module.getOps<kern::TensorOp>())
      if (failed(verifyTensor(tensor)))
        return failure();
    WalkResult result = module.walk([&](Operation *op) -> WalkResult {
      if (auto call = dyn_cast<kern::CallOp>(op))
        return verifyCall(call);
      if (auto buffer = dyn_cast<kern::TensorBufferOp>(op))
        return verifyUse(buffer);
      if (auto program = dyn_cast<kern::ProgramOp>(op))
        return verifyNames(program);
      return WalkResult::advance();
    });
    return failure(result.wasInterrupted());
  }
};

struct KernVerifyPlacedPass : impl::KernVerifyPlacedBase<KernVerifyPlacedPass> {
  void runOnOperation() override {
    if (failed(PlacedVerifier{getOperation(), {}}.run()))
      signalPassFailure();
  }
};
} // namespace

} // namespace evo
