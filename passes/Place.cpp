//===- Place.cpp - offsets in frames and arena ------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "passes/Passes.h"
#include "passes/Procedure.h"

#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/StringMap.h"

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
        status = Status::error(ErrorCode::InvalidInput, "buffer '" + alloc.getName().str() +
                                                            "' has more than 2^63 bytes");
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

Result<int64_t> placeSaved(kern::ProcedureOp procedure) {
  Builder builder(procedure.getContext());
  int64_t total = 0;
  // By name, since forward and backward procedure of a module must agree.
  SmallVector<kern::SavedBufferOp> buffers(procedure.getBody().front().getOps<kern::SavedBufferOp>());
  llvm::sort(buffers, [](kern::SavedBufferOp a, kern::SavedBufferOp b) { return a.getSlot() < b.getSlot(); });
  for (kern::SavedBufferOp buffer : buffers) {
    std::optional<int64_t> bytes = buffer.getResult().getType().getByteSize();
    buffer.setOffsetAttr(builder.getI64IntegerAttr(total));
    if (!bytes || *bytes > INT64_MAX - plan::kAlignment ||
        __builtin_add_overflow(total, plan::alignTo(*bytes), &total))
      return Status::error(ErrorCode::InvalidInput, "the kept tensors have more than 2^63 bytes");
  }
  return total;
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
      return Status::error(ErrorCode::InvalidInput, "the boundary tensors have more than 2^63 bytes");
  }
  return total;
}

/// Kept tensors of all calls of the forward program, then the frames: where each call finds its own.
static Status placeCalls(ModuleOp module, int64_t base) {
  Builder builder(module.getContext());
  llvm::StringMap<int64_t> saved;
  for (auto procedure : module.getOps<kern::ProcedureOp>()) {
    EVO_ASSIGN(saved[procedure.getSymName()], placeSaved(procedure));
  }
  int64_t frame = base;
  SmallVector<SmallVector<std::pair<int64_t, int64_t>>> areas; // a segment's calls: offset, stride
  for (auto program : module.getOps<kern::ProgramOp>()) {
    bool forward = program.getPhase() == StringRef(plan::phaseName(plan::Phase::Forward));
    SmallVector<kern::BlocksOp> segments(program.getBody().getOps<kern::BlocksOp>());
    for (auto [index, blocks] : llvm::enumerate(segments)) {
      SmallVector<kern::CallOp> calls(blocks.getBody().getOps<kern::CallOp>());
      if (forward) {
        int64_t stride = 0, total = 0;
        for (kern::CallOp call : calls)
          if (__builtin_add_overflow(stride, saved.lookup(call.getProcedure()), &stride))
            return Status::error(ErrorCode::InvalidInput, "the kept tensors have more than 2^63 bytes");
        areas.emplace_back();
        // The last block that this segment runs ends `count` strides behind its first.
        int64_t offset = frame - stride * static_cast<int64_t>(blocks.getFirst());
        for (kern::CallOp call : calls) {
          int64_t bytes = saved.lookup(call.getProcedure());
          areas.back().emplace_back(bytes ? offset : 0, bytes ? stride : 0);
          offset += bytes;
        }
        if (__builtin_mul_overflow(stride, static_cast<int64_t>(blocks.getCount()), &total) ||
            __builtin_add_overflow(frame, total, &frame))
          return Status::error(ErrorCode::InvalidInput, "the kept tensors have more than 2^63 bytes");
      }
      // A backward program has the segments, and their calls, in reverse.
      const auto &area = forward ? areas.back() : areas[areas.size() - 1 - index];
      for (auto [position, call] : llvm::enumerate(calls)) {
        auto [offset, stride] = area[forward ? position : calls.size() - 1 - position];
        call.setSavedOffsetAttr(builder.getI64IntegerAttr(offset));
        call.setSavedStrideAttr(builder.getI64IntegerAttr(stride));
      }
    }
  }
  module.walk([&](kern::CallOp call) { call.setFrameOffsetAttr(builder.getI64IntegerAttr(frame)); });
  return {};
}

namespace {
struct KernPlacePass : impl::KernPlaceBase<KernPlacePass> {
  void runOnOperation() override {
    ModuleOp module = getOperation();
    Builder builder(&getContext());
    for (auto procedure : module.getOps<kern::ProcedureOp>())
      if (failed(placeFrame(procedure)))
        return signalPassFailure();
    SmallVector<Type> types;
    for (auto tensor : module.getOps<kern::TensorOp>()) {
      Result<int64_t> offset = tensorBytes(types);
      if (failed(emitStatus(tensor, offset.status())))
        return signalPassFailure();
      tensor.setOffsetAttr(builder.getI64IntegerAttr(*offset));
      types.push_back(tensor.getType());
    }
    Result<int64_t> frame = tensorBytes(types);
    if (failed(emitStatus(module, frame.status())) ||
        failed(emitStatus(module, placeCalls(module, *frame))))
      return signalPassFailure();
  }
};
} // namespace

} // namespace evo
