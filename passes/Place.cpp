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

//===----------------------------------------------------------------------===//
// Kept tensors
//===----------------------------------------------------------------------===//

static Status tooManyKept() {
  return Status::error(ErrorCode::InvalidInput, "the kept tensors have more than 2^63 bytes");
}

/// By name, since the forward and the backward procedure of a module must agree.
static SmallVector<kern::SavedBufferOp> sortedSavedBuffers(kern::ProcedureOp procedure) {
  SmallVector<kern::SavedBufferOp> buffers(
      procedure.getBody().front().getOps<kern::SavedBufferOp>());
  llvm::sort(buffers, [](kern::SavedBufferOp a, kern::SavedBufferOp b) {
    return a.getSlot() < b.getSlot();
  });
  return buffers;
}

Result<int64_t> placeSaved(kern::ProcedureOp procedure) {
  Builder builder(procedure.getContext());
  int64_t total = 0;
  for (kern::SavedBufferOp buffer : sortedSavedBuffers(procedure)) {
    std::optional<int64_t> bytes = buffer.getResult().getType().getByteSize();
    buffer.setOffsetAttr(builder.getI64IntegerAttr(total));
    if (!bytes || *bytes > INT64_MAX - plan::kAlignment ||
        __builtin_add_overflow(total, plan::alignTo(*bytes), &total))
      return tooManyKept();
  }
  return total;
}

/// "m !kern.buffer<4x5xf32, 5>, z ..." of what a procedure keeps or reads.
static std::string savedText(kern::ProcedureOp procedure) {
  std::string text;
  llvm::raw_string_ostream stream(text);
  llvm::interleaveComma(sortedSavedBuffers(procedure), stream, [&](kern::SavedBufferOp buffer) {
    stream << buffer.getSlot() << ' ' << buffer.getResult().getType();
  });
  return text.empty() ? "nothing" : text;
}

static LogicalResult verifyKeeps(kern::CallOp call, kern::ProcedureOp forward,
                                 kern::ProcedureOp backward) {
  std::string kept = savedText(forward), read = savedText(backward);
  if (kept == read)
    return success();
  return call.emitOpError("expected a procedure that reads what @")
         << forward.getSymName() << " keeps, " << kept << ", got @" << backward.getSymName()
         << ", which reads " << read;
}

namespace {

/// Lays the kept tensors of all calls of the forward program behind the boundary tensors, and the
/// frames behind those.
struct CallPlacer {
  ModuleOp module;
  int64_t end; ///< of what has been placed
  llvm::StringMap<kern::ProcedureOp> procedures;
  llvm::StringMap<int64_t> savedBytes;

  LogicalResult run();
  LogicalResult collect();
  Status placeForward(kern::BlocksOp blocks);
  LogicalResult placeBackward(kern::ProgramOp forward, kern::ProgramOp backward);
};

} // namespace

LogicalResult CallPlacer::collect() {
  for (auto procedure : module.getOps<kern::ProcedureOp>()) {
    Result<int64_t> bytes = placeSaved(procedure);
    if (!bytes)
      return emitStatus(procedure, bytes.status());
    procedures[procedure.getSymName()] = procedure;
    savedBytes[procedure.getSymName()] = *bytes;
  }
  WalkResult known = module.walk([&](kern::CallOp call) -> WalkResult {
    if (!procedures.contains(call.getProcedure()))
      return call.emitOpError("expected a procedure, got ") << call.getProcedureAttr();
    return WalkResult::advance();
  });
  return failure(known.wasInterrupted());
}

/// One block after the other, in each the calls in their order.
Status CallPlacer::placeForward(kern::BlocksOp blocks) {
  Builder builder(module.getContext());
  int64_t stride = 0, total = 0, offset = end;
  for (auto call : blocks.getBody().getOps<kern::CallOp>())
    if (__builtin_add_overflow(stride, savedBytes.lookup(call.getProcedure()), &stride))
      return tooManyKept();
  if (__builtin_mul_overflow(stride, static_cast<int64_t>(blocks.getCount()), &total) ||
      __builtin_add_overflow(end, total, &end))
    return tooManyKept();
  for (auto call : blocks.getBody().getOps<kern::CallOp>()) {
    int64_t bytes = savedBytes.lookup(call.getProcedure());
    call.setSavedOffsetAttr(builder.getI64IntegerAttr(bytes ? offset : 0));
    call.setSavedStrideAttr(builder.getI64IntegerAttr(bytes ? stride : 0));
    offset += bytes;
  }
  return {};
}

/// The backward program has the segments of the forward program, and their calls, in reverse.
LogicalResult CallPlacer::placeBackward(kern::ProgramOp forward, kern::ProgramOp backward) {
  auto segments = llvm::to_vector(forward.getBody().getOps<kern::BlocksOp>());
  auto reversed = llvm::to_vector(backward.getBody().getOps<kern::BlocksOp>());
  if (segments.size() != reversed.size())
    return backward.emitOpError("expected the ")
           << segments.size() << " kern.blocks of the forward program in reverse, got "
           << reversed.size();
  for (auto [blocks, source] : llvm::zip_equal(reversed, llvm::reverse(segments))) {
    if (blocks.getFirst() != source.getFirst() || blocks.getCount() != source.getCount())
      return blocks.emitOpError("expected the forward program's blocks first ")
             << source.getFirst() << " count " << source.getCount() << ", got first "
             << blocks.getFirst() << " count " << blocks.getCount();
    auto calls = llvm::to_vector(blocks.getBody().getOps<kern::CallOp>());
    auto made = llvm::to_vector(source.getBody().getOps<kern::CallOp>());
    if (calls.size() != made.size())
      return blocks.emitOpError("expected the ")
             << made.size() << " calls of the forward program in reverse, got " << calls.size();
    for (auto [call, maker] : llvm::zip_equal(calls, llvm::reverse(made))) {
      if (failed(verifyKeeps(call, procedures.lookup(maker.getProcedure()),
                             procedures.lookup(call.getProcedure()))))
        return failure();
      call.setSavedOffset(maker.getSavedOffset());
      call.setSavedStride(maker.getSavedStride());
    }
  }
  return success();
}

LogicalResult CallPlacer::run() {
  if (failed(collect()))
    return failure();
  kern::ProgramOp forward;
  for (auto program : module.getOps<kern::ProgramOp>())
    if (program.getPhase() == StringRef(plan::phaseName(plan::Phase::Forward)))
      forward = program;
  if (forward)
    for (auto blocks : forward.getBody().getOps<kern::BlocksOp>())
      if (failed(emitStatus(blocks, placeForward(blocks))))
        return failure();
  for (auto program : module.getOps<kern::ProgramOp>()) {
    bool backward = program.getPhase() == StringRef(plan::phaseName(plan::Phase::Backward));
    if (backward && !forward)
      return program.emitOpError("expected a forward program beside it, got none");
    if (backward && failed(placeBackward(forward, program)))
      return failure();
  }
  Builder builder(module.getContext());
  module.walk([&](kern::CallOp call) { call.setFrameOffsetAttr(builder.getI64IntegerAttr(end)); });
  return success();
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
        failed(CallPlacer{module, *frame, {}, {}}.run()))
      return signalPassFailure();
  }
};
} // namespace

} // namespace evo
