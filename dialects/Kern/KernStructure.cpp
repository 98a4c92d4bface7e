//===- KernStructure.cpp - verifiers of the structural ops ------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "dialects/Kern/KernDialect.h"
#include "runtime/plan/Plan.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/StringSet.h"

using namespace mlir;

namespace evo::kern {

LogicalResult WeightOp::verify() {
  auto type = cast<RankedTensorType>(getType());
  int64_t total = 0;
  for (int64_t rows : getRows()) {
    if (rows < 1)
      return emitOpError("expected parts of at least 1 row, got ") << rows;
    total += rows;
  }
  if (getParts().size() != getRows().size() || type.getRank() < 1 || total != type.getDimSize(0))
    return emitOpError("expected rows of ")
           << getParts().size() << " parts to sum to the first axis of " << type << ", got "
           << total;
  return success();
}

LogicalResult TransposeOp::verify() {
  auto input = cast<RankedTensorType>(getInput().getType());
  auto result = cast<RankedTensorType>(getType());
  SmallVector<int64_t> sorted(getOrder());
  llvm::sort(sorted);
  if (sorted != llvm::to_vector(llvm::seq<int64_t>(0, input.getRank())))
    return emitOpError("expected order to be a permutation of ") << input.getRank() << " axes";
  SmallVector<int64_t> expected;
  for (int64_t axis : getOrder())
    expected.push_back(input.getDimSize(axis));
  if (result.getShape() != ArrayRef(expected) || result.getElementType() != input.getElementType())
    return emitOpError("expected result ")
           << RankedTensorType::get(expected, input.getElementType()) << ", got " << result;
  return success();
}

LogicalResult SliceOp::verify() {
  auto input = cast<RankedTensorType>(getInput().getType());
  int64_t axis = getAxis();
  if (axis < 0 || axis >= input.getRank() || input.isDynamicDim(axis))
    return emitOpError("expected a whole axis below ") << input.getRank() << ", got " << axis;
  int64_t start = getStart(), size = getSize();
  if (start < 0 || size < 1 || start > input.getDimSize(axis) - size)
    return emitOpError("expected [start, start + size) within ")
           << input.getDimSize(axis) << ", got start " << start << " and size " << size;
  SmallVector<int64_t> expected(input.getShape());
  expected[axis] = size;
  auto type = RankedTensorType::get(expected, input.getElementType());
  if (getType() != type)
    return emitOpError("expected result ") << type << ", got " << getType();
  return success();
}

LogicalResult ConcatOp::verify() {
  auto type = cast<RankedTensorType>(getType());
  int64_t axis = getAxis(), total = 0;
  if (getParts().empty())
    return emitOpError("expected parts, got none");
  if (axis < 0 || axis >= type.getRank())
    return emitOpError("expected an axis below ") << type.getRank() << ", got " << axis;
  for (Value part : getParts()) {
    auto partType = cast<RankedTensorType>(part.getType());
    SmallVector<int64_t> shape(partType.getShape());
    if (partType.getRank() != type.getRank() || partType.isDynamicDim(axis))
      return emitOpError("expected whole parts of rank ") << type.getRank() << ", got " << partType;
    total += shape[axis];
    shape[axis] = type.getDimSize(axis);
    if (RankedTensorType::get(shape, partType.getElementType()) != type)
      return emitOpError("expected a part of ")
             << type << " but for axis " << axis << ", got " << partType;
  }
  if (total != type.getDimSize(axis))
    return emitOpError("expected parts to sum to ") << type.getDimSize(axis) << ", got " << total;
  return success();
}

/// A tensor type with `axis` replaced by the current slice.
static RankedTensorType slicedType(RankedTensorType type, int64_t axis) {
  SmallVector<int64_t> shape(type.getShape());
  shape[axis] = ShapedType::kDynamic;
  return RankedTensorType::get(shape, type.getElementType());
}

static LogicalResult verifySliceable(SliceLoopOp op, Type type, int64_t axis) {
  auto tensor = cast<RankedTensorType>(type);
  if (axis < 0 || axis >= tensor.getRank() ||
      tensor.getDimSize(axis) != static_cast<int64_t>(op.getExtent()))
    return op.emitOpError("expected axis ")
           << axis << " of " << tensor << " to have extent " << op.getExtent();
  return success();
}

LogicalResult SliceLoopOp::verifyRegions() {
  if (static_cast<int64_t>(getExtent()) < 1 || static_cast<int64_t>(getSize()) < 1)
    return emitOpError("expected extent and size of at least 1");
  if (getOperation()->getParentOfType<SliceLoopOp>())
    return emitOpError("expected no loop around a slice loop");
  if (getSlicedAxes().size() != getSliced().size() || getResultAxes().size() > getNumResults())
    return emitOpError("expected one axis a sliced operand and at most one a result");
  Block &block = getBody().front();
  if (block.getNumArguments() != getNumOperands())
    return emitOpError("expected ")
           << getNumOperands() << " block arguments, got " << block.getNumArguments();
  for (auto [index, operand] : llvm::enumerate(getOperands())) {
    auto type = cast<RankedTensorType>(operand.getType());
    if (index < getSlicedAxes().size()) {
      if (failed(verifySliceable(*this, type, getSlicedAxes()[index])))
        return failure();
      type = slicedType(type, getSlicedAxes()[index]);
    }
    if (block.getArgument(index).getType() != type)
      return emitOpError("expected block argument ")
             << index << " of " << type << ", got " << block.getArgument(index).getType();
  }
  Operation *yield = block.getTerminator();
  // Results share memory with what is yielded: a value yielded twice would be one memory for two.
  for (auto [index, value] : llvm::enumerate(yield->getOperands()))
    if (llvm::is_contained(yield->getOperands().take_front(index), value))
      return emitOpError("expected different yielded values, got value ") << index << " twice";
  if (yield->getNumOperands() != getNumResults())
    return emitOpError("expected ")
           << getNumResults() << " yielded values, got " << yield->getNumOperands();
  for (auto [index, result] : llvm::enumerate(getResults())) {
    auto type = cast<RankedTensorType>(result.getType());
    if (index < getResultAxes().size()) {
      if (failed(verifySliceable(*this, type, getResultAxes()[index])))
        return failure();
      type = slicedType(type, getResultAxes()[index]);
    }
    if (yield->getOperand(index).getType() != type)
      return emitOpError("expected yielded value ")
             << index << " of " << type << ", got " << yield->getOperand(index).getType();
  }
  return success();
}

LogicalResult ViewOp::verify() {
  BufferType buffer = getBuffer().getType();
  size_t rank = buffer.getShape().size();
  if (getStart().size() != rank || getStartLoop().size() != rank || getExtent().size() != rank ||
      getExtentLoop().size() != rank || getOrder().size() != rank)
    return emitOpError("expected ") << rank << " entries an axis list";
  SmallVector<bool> seen(rank, false);
  SmallVector<int64_t> shape;
  for (int32_t axis : getOrder()) {
    if (axis < 0 || static_cast<size_t>(axis) >= rank || seen[axis])
      return emitOpError("expected order to be a permutation of ") << rank << " axes";
    seen[axis] = true;
    shape.push_back(getExtent()[axis]);
  }
  for (size_t i = 0; i < rank; ++i)
    if (getStart()[i] < 0 || getExtent()[i] < 1 ||
        getStart()[i] > buffer.getShape()[i] - getExtent()[i])
      return emitOpError("expected [start, start + extent) of axis ")
             << i << " within " << buffer.getShape()[i] << ", got start " << getStart()[i]
             << " and extent " << getExtent()[i];
  auto type = ViewType::get(getContext(), shape, buffer.getElementType());
  if (getType() != type)
    return emitOpError("expected result ") << type << ", got " << getType();
  return success();
}

LogicalResult LaunchOp::verify() {
  std::optional<plan::Kernel> kernel = plan::parseKernel({getKernel().data(), getKernel().size()});
  if (!kernel)
    return emitOpError("expected a kernel of Kernels.def, got ") << getKernelAttr();
  const plan::KernelInfo &info = plan::kernelInfo(*kernel);
  size_t given = llvm::count(getPresent(), true);
  if (getPresent().size() != info.operands.size() || given != getInputs().size())
    return emitOpError("expected ")
           << info.operands.size() << " presence flags and an operand a true one";
  if (failed(verifyKernelAttributes(*this, getSettings(), *kernel)))
    return failure();
  std::vector<std::optional<std::vector<int64_t>>> shapes;
  auto next = getInputs().begin();
  for (bool present : getPresent()) {
    if (!present) {
      shapes.emplace_back();
      continue;
    }
    ArrayRef<int64_t> shape = cast<ViewType>((*next++).getType()).getShape();
    shapes.emplace_back(std::vector<int64_t>(shape.begin(), shape.end()));
  }
  Status status =
      plan::checkKernelShapes(*kernel, readKernelAttributes(getSettings(), *kernel), shapes);
  if (!status.ok())
    return emitOpError() << status.message();
  return success();
}

/// Shared by the buffers that a procedure names from outside of its frame.
template <class Op> static LogicalResult verifyDense(Op op) {
  BufferType type = op.getResult().getType();
  if (!type.getShape().empty() && type.getPitch() != type.getShape().back())
    return op.emitOpError("expected dense rows of ")
           << type.getShape().back() << ", got a pitch of " << type.getPitch();
  return success();
}

LogicalResult TensorOp::verify() {
  auto type = dyn_cast<RankedTensorType>(getType());
  if (!type || !toDType(type.getElementType()) || type.getRank() < 1 ||
      llvm::any_of(type.getShape(), [](int64_t size) { return size < 1; }))
    return emitOpError(
               "expected a tensor of f64, f32, f16 or bf16 with known extents of at least 1, got ")
           << getType();
  return success();
}

LogicalResult TensorBufferOp::verify() { return verifyDense(*this); }

LogicalResult SavedBufferOp::verify() { return verifyDense(*this); }

LogicalResult GradientBufferOp::verify() { return verifyDense(*this); }

template <class Op> static LogicalResult verifyStateKind(Op op) {
  if (plan::parseStateKind({op.getKind().data(), op.getKind().size()}))
    return success();
  return op.emitOpError("expected first_moment, master, momentum or second_moment, got ")
         << op.getKindAttr();
}

LogicalResult StateOp::verify() { return verifyStateKind(*this); }

LogicalResult StoreStateOp::verify() { return verifyStateKind(*this); }

LogicalResult StateBufferOp::verify() {
  return failure(failed(verifyStateKind(*this)) || failed(verifyDense(*this)));
}

LogicalResult StoreWeightOp::verify() {
  if (!getWeight().getDefiningOp<WeightOp>())
    return emitOpError("expected the value of a kern.weight to store to");
  return success();
}

LogicalResult WeightBufferOp::verify() {
  int64_t total = 0;
  for (int64_t rows : getRows()) {
    if (rows < 1)
      return emitOpError("expected parts of at least 1 row, got ") << rows;
    total += rows;
  }
  BufferType type = getResult().getType();
  if (getParts().size() != getRows().size() || type.getShape().empty() ||
      total != type.getShape().front())
    return emitOpError("expected rows of ")
           << getParts().size() << " parts to sum to the first axis of " << type << ", got "
           << total;
  return verifyDense(*this);
}

LogicalResult FreeOp::verify() {
  if (!getBuffer().getDefiningOp<AllocOp>())
    return emitOpError("expected a buffer of kern.alloc");
  return success();
}

LogicalResult LoopOp::verify() {
  if (static_cast<int32_t>(getId()) < 0)
    return emitOpError("expected an id of at least 0, got ") << static_cast<int32_t>(getId());
  if (static_cast<int64_t>(getExtent()) < 1 || static_cast<int64_t>(getSize()) < 1)
    return emitOpError("expected extent and size of at least 1");
  return success();
}

LogicalResult BlocksOp::verify() {
  if (static_cast<int64_t>(getFirst()) < 0 || static_cast<int64_t>(getCount()) < 1)
    return emitOpError("expected first of at least 0 and count of at least 1");
  if (int64_t end = 0; __builtin_add_overflow(static_cast<int64_t>(getFirst()),
                                              static_cast<int64_t>(getCount()), &end))
    return emitOpError("expected fewer than 2^63 blocks");
  return success();
}

//===----------------------------------------------------------------------===//
// Procedures
//===----------------------------------------------------------------------===//

std::optional<StringRef> getSavedSlot(Attribute tensor) {
  auto name = cast<SymbolRefAttr>(tensor);
  if (isa<FlatSymbolRefAttr>(name))
    return std::nullopt;
  return name.getLeafReference().getValue();
}

bool isTensorRef(Attribute attribute) {
  auto name = dyn_cast<SymbolRefAttr>(attribute);
  return name && (isa<FlatSymbolRefAttr>(name) ||
                  (name.getRootReference() == "saved" && name.getNestedReferences().size() == 1));
}

LogicalResult ReturnOp::verify() {
  if (getTensors().size() != getValues().size())
    return emitOpError("expected a value a tensor (")
           << getTensors().size() << "), got " << getValues().size();
  return success();
}

/// The phase of a procedure or program; nothing and an error where there is no such one.
template <class Op> static std::optional<plan::Phase> verifyPhase(Op op) {
  std::optional<plan::Phase> phase = plan::parsePhase({op.getPhase().data(), op.getPhase().size()});
  if (!phase)
    op.emitOpError("expected phase forward, backward or optimizer, got ") << op.getPhaseAttr();
  return phase;
}

LogicalResult ProgramOp::verify() { return success(verifyPhase(*this).has_value()); }

/// What is kept and which gradients are stored: each once, in the phase that has them.
static LogicalResult verifyKeptAndStored(ProcedureOp procedure, plan::Phase phase) {
  llvm::StringMap<WeightOp> weights;
  llvm::StringSet<> slots, stored;
  for (Operation &op : procedure.getBody().front()) {
    bool optimizes = isa<GradientOp, StateOp, StoreStateOp, StoreWeightOp, StateBufferOp>(op);
    if (optimizes && phase != plan::Phase::Optimizer)
      return op.emitOpError("expected to be in phase optimizer, got ")
             << StringRef(plan::phaseName(phase));
    if (auto weight = dyn_cast<WeightOp>(op)) {
      weights.try_emplace(weight.getName(), weight);
    } else if (auto save = dyn_cast<SaveOp>(op)) {
      if (phase != plan::Phase::Forward)
        return save.emitOpError("expected to be in phase forward, got ")
               << StringRef(plan::phaseName(phase));
      if (!slots.insert(save.getSlot()).second)
        return save.emitOpError("expected each slot once, got ") << save.getSlotAttr() << " again";
    } else if (auto store = dyn_cast<StoreGradientOp>(op)) {
      if (phase != plan::Phase::Backward)
        return store.emitOpError("expected to be in phase backward, got ")
               << StringRef(plan::phaseName(phase));
      if (!stored.insert(store.getWeight()).second)
        return store.emitOpError("expected each weight once, got ")
               << store.getWeightAttr() << " again";
      // The backward does not read every weight; kern-verify-placed knows those of all procedures.
      WeightOp weight = weights.lookup(store.getWeight());
      auto type = cast<RankedTensorType>(store.getValue().getType());
      if (weight && cast<RankedTensorType>(weight.getType()).getShape() != type.getShape())
        return store.emitOpError("expected the shape of its weight ")
               << weight.getType() << ", got " << type;
    }
  }
  return success();
}

LogicalResult ProcedureOp::verifyRegions() {
  unsigned arguments = getBody().front().getNumArguments();
  if (arguments != 0 && arguments != getTensors().size())
    return emitOpError("expected a block argument a tensor (")
           << getTensors().size() << ") or none, got " << arguments;
  std::optional<plan::Phase> phase = verifyPhase(*this);
  if (!phase)
    return failure();
  for (Attribute tensor : getTensors())
    if (getSavedSlot(tensor) && *phase != plan::Phase::Backward)
      return emitOpError("expected kept tensors in phase backward alone, got ")
             << tensor << " in phase " << StringRef(plan::phaseName(*phase));
  return verifyKeptAndStored(*this, *phase);
}

} // namespace evo::kern
