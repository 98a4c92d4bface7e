//===- PlaceCalls.cpp - tensors, kept tensors and frames in the arena *- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// Boundary tensors at the arena's start, behind them the stack of kept tensors: each call of the
// forward program pushes what it keeps, block by block, and each backward call pops. A
// recomputation pushes on what is left and pops again. A frame lies on top of the stack of its
// moment. So the arena is as high as the largest sum of live bytes, frames packed; only what a
// recomputation runs on stays until the group has ended, though its last version may be dead
// before.
//===----------------------------------------------------------------------===//
#include "passes/Passes.h"
#include "passes/Procedure.h"

#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/StringMap.h"

using namespace mlir;

namespace evo {

static Status tooManyKept() {
  return Status::error(ErrorCode::InvalidInput, "the kept tensors have more than 2^63 bytes");
}

static bool isForward(StringRef phase) {
  return phase == StringRef(plan::phaseName(plan::Phase::Forward));
}

static bool isOptimizer(StringRef phase) {
  return phase == StringRef(plan::phaseName(plan::Phase::Optimizer));
}

/// By name, so that equal sets lie alike whatever made them.
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
    buffer.setOffsetAttr(builder.getI64IntegerAttr(isForward(procedure.getPhase()) ? total : 0));
    if (!bytes || *bytes > INT64_MAX - plan::kAlignment ||
        __builtin_add_overflow(total, plan::alignTo(*bytes), &total))
      return tooManyKept();
  }
  return isForward(procedure.getPhase()) ? total : 0;
}

namespace {

/// What calls of a procedure keep.
struct Kept {
  int64_t bytes = 0;
  llvm::StringMap<int64_t> offsets; ///< by slot
  llvm::StringMap<kern::BufferType> types;
};

struct CallPlacer {
  explicit CallPlacer(ModuleOp module) : module(module) {}

  ModuleOp module;
  int64_t end = 0; ///< of the boundary tensors, then of the forward program's kept tensors
  llvm::StringMap<kern::ProcedureOp> procedures;
  llvm::StringMap<Kept> kept;
  llvm::DenseMap<int64_t, kern::CallOp> calls; ///< by id

  LogicalResult run();
  LogicalResult placeTensors();
  LogicalResult collect();
  Status placeForward(kern::BlocksOp blocks);
  LogicalResult placeBackward(kern::BlocksOp blocks);
  void placeOptimizer(kern::BlocksOp blocks);
  LogicalResult placeBlocks(StringRef phase, kern::BlocksOp blocks);
  LogicalResult bind(kern::CallOp call);
  FailureOr<kern::BindingAttr> resolve(kern::CallOp call, kern::ShareAttr share);
  kern::BlocksOp blocksOf(kern::CallOp call) { return cast<kern::BlocksOp>(call->getParentOp()); }
  int64_t keptBytes(kern::CallOp call) { return kept[call.getProcedure()].bytes; }
};

} // namespace

/// One slot behind the other; a gradient lies in its stream's.
LogicalResult CallPlacer::placeTensors() {
  Builder builder(module.getContext());
  SmallVector<Type> types;
  for (auto tensor : module.getOps<kern::TensorOp>()) {
    if (std::optional<StringRef> of = tensor.getSlotOf()) {
      auto owner = module.lookupSymbol<kern::TensorOp>(*of);
      if (!owner || owner.getSlotOf() || !owner.getOffset() || owner.getType() != tensor.getType())
        return tensor.emitOpError("expected the slot of a tensor before it of the same type, got @")
               << *of;
      tensor.setOffsetAttr(owner.getOffsetAttr());
      continue;
    }
    Result<int64_t> offset = tensorBytes(types);
    if (!offset)
      return emitStatus(tensor, offset.status());
    tensor.setOffsetAttr(builder.getI64IntegerAttr(*offset));
    types.push_back(tensor.getType());
  }
  Result<int64_t> bytes = tensorBytes(types);
  if (!bytes)
    return emitStatus(module, bytes.status());
  end = *bytes;
  return success();
}

LogicalResult CallPlacer::collect() {
  for (auto procedure : module.getOps<kern::ProcedureOp>()) {
    Result<int64_t> bytes = placeSaved(procedure);
    if (!bytes)
      return emitStatus(procedure, bytes.status());
    procedures[procedure.getSymName()] = procedure;
    Kept &own = kept[procedure.getSymName()];
    own.bytes = *bytes;
    for (kern::SavedBufferOp buffer : sortedSavedBuffers(procedure)) {
      own.offsets[buffer.getSlot()] = *buffer.getOffset();
      own.types[buffer.getSlot()] = buffer.getResult().getType();
    }
  }
  WalkResult known = module.walk([&](kern::CallOp call) -> WalkResult {
    if (!procedures.contains(call.getProcedure()))
      return call.emitOpError("expected a procedure, got ") << call.getProcedureAttr();
    if (call.getId() && !calls.try_emplace(*call.getId(), call).second)
      return call.emitOpError("expected an id of its own, got ") << *call.getId() << " again";
    return WalkResult::advance();
  });
  return failure(known.wasInterrupted());
}

/// One block after the other, in each the calls in their order; each frame behind what is kept
/// then.
Status CallPlacer::placeForward(kern::BlocksOp blocks) {
  Builder builder(module.getContext());
  int64_t stride = 0, total = 0, offset = end;
  for (auto call : blocks.getBody().getOps<kern::CallOp>())
    if (__builtin_add_overflow(stride, keptBytes(call), &stride))
      return tooManyKept();
  if (__builtin_mul_overflow(stride, static_cast<int64_t>(blocks.getCount()), &total) ||
      __builtin_add_overflow(end, total, &end))
    return tooManyKept();
  for (auto call : blocks.getBody().getOps<kern::CallOp>()) {
    int64_t bytes = keptBytes(call);
    call.setSavedOffset(bytes ? offset : 0);
    call.setSavedStride(bytes ? stride : 0);
    offset += bytes;
    call.setFrameOffsetAttr(builder.getI64IntegerAttr(offset));
    call.setFrameStride(stride);
  }
  return {};
}

/// The place of what another call keeps, over all blocks of this one.
FailureOr<kern::BindingAttr> CallPlacer::resolve(kern::CallOp call, kern::ShareAttr share) {
  kern::CallOp source = calls.lookup(share.getCall());
  if (!source || !kept[source.getProcedure()].offsets.contains(share.getSlot()))
    return call.emitOpError("expected a call that keeps '")
           << share.getSlot() << "', got " << share;
  auto placeIn = [&](kern::CallOp keeper, int64_t block) {
    return static_cast<int64_t>(keeper.getSavedOffset()) +
           kept[keeper.getProcedure()].offsets[share.getSlot()] +
           (block - static_cast<int64_t>(blocksOf(keeper).getFirst())) *
               static_cast<int64_t>(keeper.getSavedStride());
  };
  int64_t first = static_cast<int64_t>(blocksOf(call).getFirst()) - share.getBack();
  int64_t last = first + static_cast<int64_t>(blocksOf(call).getCount()) - 1;
  int64_t sourceFirst = blocksOf(source).getFirst();
  int64_t sourceLast = sourceFirst + static_cast<int64_t>(blocksOf(source).getCount()) - 1;
  kern::CallOp before = calls.lookup(share.getBefore());
  bool reaches = before && first + 1 == sourceFirst &&
                 kept[before.getProcedure()].offsets.contains(share.getSlot()) &&
                 placeIn(before, first) == placeIn(source, first);
  if ((first < sourceFirst && !reaches) || last > sourceLast)
    return call.emitOpError("expected blocks of call ")
           << share.getCall() << " that keep what all its blocks read, got " << share;
  int64_t stride = blocksOf(call).getCount() > 1 ? source.getSavedStride() : 0;
  return kern::BindingAttr::get(call.getContext(), share.getBuffer(), placeIn(source, first),
                                stride);
}

LogicalResult CallPlacer::bind(kern::CallOp call) {
  SmallVector<Attribute> bindings;
  if (call.getShares())
    for (auto share : call.getShares()->getAsRange<kern::ShareAttr>()) {
      FailureOr<kern::BindingAttr> binding = resolve(call, share);
      if (failed(binding))
        return failure();
      bindings.push_back(*binding);
    }
  if (!bindings.empty())
    call.setBindingsAttr(ArrayAttr::get(call.getContext(), bindings));
  return success();
}

/// Calls of forward procedures compute again and push; those of backward procedures pop.
LogicalResult CallPlacer::placeBackward(kern::BlocksOp blocks) {
  Builder builder(module.getContext());
  int64_t top = -1, stride = 0;
  for (auto call : blocks.getBody().getOps<kern::CallOp>()) {
    kern::CallOp partner;
    if (call.getPartner() && !(partner = calls.lookup(*call.getPartner())))
      return call.emitOpError("expected the id of a call, got partner ") << *call.getPartner();
    bool again = isForward(procedures[call.getProcedure()].getPhase());
    if (again == static_cast<bool>(partner))
      return call.emitOpError("expected a partner where a backward procedure is called, and none "
                              "where a forward procedure is called again");
    if (again && top < 0) {
      // The group comes first in the block: it lies on all that the forward program has kept then.
      for (auto program : module.getOps<kern::ProgramOp>())
        if (isForward(program.getPhase()))
          for (auto made : program.getBody().getOps<kern::BlocksOp>())
            if (made.getFirst() == blocks.getFirst())
              for (auto each : made.getBody().getOps<kern::CallOp>()) {
                top = *each.getFrameOffset();
                stride = each.getFrameStride();
              }
      if (top < 0)
        return blocks.emitOpError("expected the forward program's blocks from ")
               << blocks.getFirst() << " on, got none";
    }
    if (again) {
      int64_t bytes = keptBytes(call);
      call.setSavedOffset(bytes ? top : 0);
      call.setSavedStride(bytes ? stride : 0);
      if (__builtin_add_overflow(top, bytes, &top))
        return emitStatus(call, tooManyKept());
      call.setFrameOffsetAttr(builder.getI64IntegerAttr(top));
      call.setFrameStride(stride);
      continue;
    }
    call.setFrameOffsetAttr(partner.getFrameOffsetAttr());
    call.setFrameStride(partner.getFrameStride());
    stride = partner.getFrameStride();
    top = static_cast<int64_t>(*partner.getFrameOffset()) - keptBytes(partner);
  }
  return success();
}

/// Its calls need no frame; where one does, it lies on all that is kept.
void CallPlacer::placeOptimizer(kern::BlocksOp blocks) {
  Builder builder(module.getContext());
  for (auto call : blocks.getBody().getOps<kern::CallOp>())
    call.setFrameOffsetAttr(builder.getI64IntegerAttr(end));
}

LogicalResult CallPlacer::placeBlocks(StringRef phase, kern::BlocksOp blocks) {
  if (isForward(phase))
    return emitStatus(blocks, placeForward(blocks));
  if (!isOptimizer(phase))
    return placeBackward(blocks);
  placeOptimizer(blocks);
  return success();
}

LogicalResult CallPlacer::run() {
  if (failed(placeTensors()) || failed(collect()))
    return failure();
  for (bool forward : {true, false})
    for (auto program : module.getOps<kern::ProgramOp>())
      if (isForward(program.getPhase()) == forward)
        for (auto blocks : program.getBody().getOps<kern::BlocksOp>())
          if (failed(placeBlocks(program.getPhase(), blocks)))
            return failure();
  WalkResult bound = module.walk([&](kern::CallOp call) { return WalkResult(bind(call)); });
  return failure(bound.wasInterrupted());
}

LogicalResult placeCalls(ModuleOp module) { return CallPlacer(module).run(); }

} // namespace evo
