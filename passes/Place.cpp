//===- Place.cpp - offsets in frames ----------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "passes/Passes.h"
#include "passes/Procedure.h"

#include "llvm/ADT/DenseMap.h"

using namespace mlir;

namespace evo {

#define GEN_PASS_DEF_KERNPLACE
#include "passes/Passes.h.inc"

Result<FrameProblem> extractFrame(kern::ProcedureOp procedure) {
  FrameProblem problem;
  llvm::DenseMap<Value, size_t> indices;
  int64_t position = 0;
  Status status;
  procedure.walk<WalkOrder::PreOrder>([&](Operation *op) {
    ++position;
    if (auto alloc = dyn_cast<kern::AllocOp>(op)) {
      std::optional<int64_t> bytes = alloc.getResult().getType().getByteSize();
      if (!bytes && status.ok())
        status = Status::error(ErrorCode::InvalidInput,
                               "buffer '" + alloc.getName().str() + "' has more than 2^63 bytes");
      indices[alloc.getResult()] = problem.allocs.size();
      problem.allocs.push_back(alloc);
      problem.lifetimes.push_back({position, position + 1, bytes.value_or(0)});
    } else if (auto freeOp = dyn_cast<kern::FreeOp>(op)) {
      problem.lifetimes[indices.lookup(freeOp.getBuffer())].upper = position;
    }
  });
  if (!status.ok())
    return status;
  return problem;
}

LogicalResult placeFrame(kern::ProcedureOp procedure) {
  Result<FrameProblem> problem = extractFrame(procedure);
  if (!problem)
    return emitStatus(procedure, problem.status());
  Result<memory::Packing> packing = memory::pack(problem->lifetimes, plan::kAlignment);
  if (!packing)
    return emitStatus(procedure, packing.status());
  Builder builder(procedure.getContext());
  for (auto [alloc, offset] : llvm::zip_equal(problem->allocs, packing->offsets))
    alloc.setOffsetAttr(builder.getI64IntegerAttr(offset));
  procedure.setFrameBytesAttr(builder.getI64IntegerAttr(packing->height));
  return success();
}

Result<int64_t> tensorBytes(ArrayRef<Type> types) {
  int64_t total = 0;
  for (Type type : types) {
    auto tensor = cast<RankedTensorType>(type);
    std::optional<plan::DType> dtype = kern::toDType(tensor.getElementType());
    std::optional<int64_t> bytes =
        dtype ? plan::byteSize({tensor.getShape().data(), tensor.getShape().size()}, *dtype)
              : std::nullopt;
    if (!bytes || *bytes > INT64_MAX - plan::kAlignment ||
        __builtin_add_overflow(total, plan::alignTo(*bytes), &total))
      return Status::error(ErrorCode::InvalidInput,
                           "the boundary tensors have more than 2^63 bytes");
  }
  return total;
}

namespace {
struct KernPlacePass : impl::KernPlaceBase<KernPlacePass> {
  void runOnOperation() override {
    for (auto procedure : getOperation().getOps<kern::ProcedureOp>())
      if (failed(placeFrame(procedure)))
        return signalPassFailure();
    if (failed(placeCalls(getOperation())))
      signalPassFailure();
  }
};
} // namespace

} // namespace evo
