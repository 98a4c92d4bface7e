//===- VerifyPlaced.cpp - fence behind the placement ------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "passes/Passes.h"
#include "passes/Procedure.h"

#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/StringSet.h"

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

LogicalResult expectApart(Operation *op, const Slot &slot, ArrayRef<Slot> slots) {
  for (const Slot &other : slots)
    if (slot.begin < other.end && other.begin < slot.end)
      return op->emitOpError("expected bytes apart from those of @")
             << other.name << ", [" << other.begin << ", " << other.end << "), got [" << slot.begin
             << ", " << slot.end << ")";
  return success();
}

struct PlacedVerifier {
  ModuleOp module;
  std::vector<Slot> slots;                            ///< of the boundary tensors
  llvm::StringMap<int64_t> savedBytes;                ///< by procedure
  llvm::StringMap<kern::WeightBufferOp> weights = {}; ///< by name

  LogicalResult verifySaved(kern::ProcedureOp procedure);
  template <class Op> LogicalResult verifyOfWeight(Op op);
  LogicalResult verifyKept(kern::CallOp call);
  LogicalResult verifyBindings(kern::CallOp call);
  LogicalResult verifyStack(kern::BlocksOp blocks, int64_t &end);
  LogicalResult verifyKeptTensors();

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
    if (std::optional<StringRef> of = op.getSlotOf()) {
      auto owner = module.lookupSymbol<kern::TensorOp>(*of);
      if (!owner || owner.getOffset() != op.getOffset() || owner.getType() != op.getType())
        return op.emitOpError("expected the type and offset of @")
               << *of << ", got " << op.getType() << " at " << offset;
      return success();
    }
    if (failed(expectApart(op, slot, slots)))
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
    Slot slot{procedure.getSymName(), offset, offset + height};
    return failure(failed(expectApart(op, slot, slots)) || failed(verifyBindings(op)));
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
    if (failed(verifyKeptTensors()))
      return failure();
    WalkResult result = module.walk([&](Operation *op) -> WalkResult {
      if (auto call = dyn_cast<kern::CallOp>(op))
        return verifyCall(call);
      if (auto buffer = dyn_cast<kern::TensorBufferOp>(op))
        return verifyUse(buffer);
      if (auto gradient = dyn_cast<kern::GradientBufferOp>(op))
        return verifyOfWeight(gradient);
      if (auto state = dyn_cast<kern::StateBufferOp>(op))
        return verifyOfWeight(state);
      if (auto program = dyn_cast<kern::ProgramOp>(op))
        return verifyNames(program);
      return WalkResult::advance();
    });
    return failure(result.wasInterrupted());
  }
};

/// The kept tensors of a procedure lie apart.
LogicalResult PlacedVerifier::verifySaved(kern::ProcedureOp procedure) {
  SmallVector<Slot> own;
  int64_t &height = savedBytes[procedure.getSymName()];
  for (auto buffer : procedure.getBody().front().getOps<kern::SavedBufferOp>()) {
    std::optional<int64_t> offset = buffer.getOffset();
    if (!offset)
      return buffer.emitOpError("expected an offset; run kern-place first");
    std::optional<int64_t> bytes = buffer.getResult().getType().getByteSize();
    if (*offset < 0 || *offset % plan::kAlignment != 0 || !bytes ||
        *bytes > INT64_MAX - plan::kAlignment - *offset)
      return buffer.emitOpError("expected an offset that is a multiple of ")
             << plan::kAlignment << ", got " << *offset;
    if (procedure.getPhase() == StringRef(plan::phaseName(plan::Phase::Backward)))
      continue;
    Slot slot{buffer.getSlot(), *offset, *offset + *bytes};
    if (failed(expectApart(buffer, slot, own)))
      return failure();
    own.push_back(slot);
    height = std::max(height, plan::alignTo(slot.end));
  }
  return success();
}

/// The gradient or state of a weight that some procedure reads, of its shape.
template <class Op> LogicalResult PlacedVerifier::verifyOfWeight(Op op) {
  kern::WeightBufferOp weight = weights.lookup(op.getWeight());
  if (!weight)
    return op.emitOpError("expected the name of a weight that a procedure reads, got ")
           << op.getWeightAttr();
  ArrayRef<int64_t> shape = weight.getResult().getType().getShape();
  if (op.getResult().getType().getShape() != shape)
    return op.emitOpError("expected the shape of its weight ")
           << weight.getResult().getType() << ", got " << op.getResult().getType();
  return success();
}

/// A call keeps its tensors apart from the boundary tensors.
LogicalResult PlacedVerifier::verifyKept(kern::CallOp call) {
  auto blocks = cast<kern::BlocksOp>(call->getParentOp());
  int64_t offset = call.getSavedOffset(), stride = call.getSavedStride(), reach = 0;
  int64_t bytes = savedBytes.lookup(call.getProcedure());
  if (bytes == 0)
    return success();
  if (offset < 0 || stride < 0 || offset % plan::kAlignment != 0 ||
      stride % plan::kAlignment != 0 || bytes > INT64_MAX - offset ||
      __builtin_mul_overflow(static_cast<int64_t>(blocks.getCount()) - 1, stride, &reach) ||
      __builtin_add_overflow(reach, offset + bytes, &reach))
    return call.emitOpError("expected a saved offset and stride that are multiples of ")
           << plan::kAlignment << ", got " << offset << " and " << stride;
  return expectApart(call, Slot{call.getProcedure(), offset, reach}, slots);
}

/// A call of a backward procedure says where everything lies that it reads of what was kept.
LogicalResult PlacedVerifier::verifyBindings(kern::CallOp call) {
  llvm::StringSet<> bound;
  if (call.getBindings())
    for (auto binding : call.getBindings()->getAsRange<kern::BindingAttr>()) {
      if (binding.getOffset() < 0 || binding.getOffset() % plan::kAlignment != 0 ||
          binding.getStride() < 0 || binding.getStride() % plan::kAlignment != 0)
        return call.emitOpError("expected bindings at multiples of ")
               << plan::kAlignment << ", got " << binding;
      bound.insert(binding.getBuffer());
    }
  auto procedure = module.lookupSymbol<kern::ProcedureOp>(call.getProcedure());
  if (procedure.getPhase() != StringRef(plan::phaseName(plan::Phase::Backward)))
    return success();
  for (auto buffer : procedure.getBody().front().getOps<kern::SavedBufferOp>())
    if (!bound.contains(("saved." + buffer.getSlot()).str()))
      return call.emitOpError("expected a binding of kept tensor '")
             << buffer.getSlot() << "', got none";
  return success();
}

/// What the calls of a segment keep lies one behind the other from `end` on, block by block.
LogicalResult PlacedVerifier::verifyStack(kern::BlocksOp blocks, int64_t &end) {
  int64_t begin = end, last = end, count = blocks.getCount();
  std::optional<int64_t> stride;
  for (auto call : blocks.getBody().getOps<kern::CallOp>()) {
    int64_t bytes = savedBytes.lookup(call.getProcedure()), offset = call.getSavedOffset();
    if (bytes == 0)
      continue;
    if (offset < last)
      return call.emitOpError("expected a saved offset of at least ")
             << last << ", behind what is kept before, got " << offset;
    if (!stride)
      begin = offset;
    else if (*stride != static_cast<int64_t>(call.getSavedStride()))
      return call.emitOpError("expected the saved stride of the calls before, ")
             << *stride << ", got " << call.getSavedStride();
    stride = call.getSavedStride();
    last = offset + bytes;
  }
  if (!stride)
    return success();
  if (count > 1 && *stride < last - begin)
    return blocks.emitOpError("expected saved strides of at least the ")
           << last - begin << " bytes that a block keeps, got " << *stride;
  end = last + (count - 1) * *stride;
  return success();
}

LogicalResult PlacedVerifier::verifyKeptTensors() {
  for (auto procedure : module.getOps<kern::ProcedureOp>()) {
    if (failed(verifySaved(procedure)))
      return failure();
    for (auto weight : procedure.getBody().front().getOps<kern::WeightBufferOp>())
      weights.try_emplace(weight.getName(), weight);
  }
  int64_t end = 0;
  for (auto program : module.getOps<kern::ProgramOp>())
    for (auto blocks : program.getBody().getOps<kern::BlocksOp>()) {
      for (auto call : blocks.getBody().getOps<kern::CallOp>())
        if (failed(verifyKept(call)))
          return failure();
      if (program.getPhase() == StringRef(plan::phaseName(plan::Phase::Forward)) &&
          failed(verifyStack(blocks, end)))
        return failure();
    }
  return success();
}

struct KernVerifyPlacedPass : impl::KernVerifyPlacedBase<KernVerifyPlacedPass> {
  void runOnOperation() override {
    if (failed(PlacedVerifier{getOperation(), {}, {}}.run()))
      signalPassFailure();
  }
};
} // namespace

} // namespace evo
