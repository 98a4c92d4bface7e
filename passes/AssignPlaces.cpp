//===- AssignPlaces.cpp - buffers, and who may overwrite them ---*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "passes/Assigner.h"

using namespace mlir;

namespace evo {

//===----------------------------------------------------------------------===//
// Places
//===----------------------------------------------------------------------===//

Place Assigner::wholePlace(Value buffer) const {
  Place place;
  place.buffer = buffer;
  auto shape = cast<kern::BufferType>(buffer.getType()).getShape();
  for (auto [axis, size] : llvm::enumerate(shape)) {
    place.start.push_back({0, -1});
    place.extent.push_back({size, -1});
    place.order.push_back(axis);
  }
  return place;
}

/// A dense buffer outside of the frame, made once and at the procedure's beginning.
Value Assigner::makeBuffer(Value &buffer, Type type,
                           llvm::function_ref<Value(kern::BufferType)> create) {
  if (buffer)
    return buffer;
  OpBuilder::InsertionGuard guard(builder);
  builder.setInsertionPoint(anchor);
  auto ranked = cast<RankedTensorType>(type);
  return buffer = create(kern::BufferType::get(builder.getContext(), ranked.getShape(),
                                               ranked.getElementType(), ranked.getShape().back()));
}

Value Assigner::getTensorBuffer(FlatSymbolRefAttr tensor, Type type) {
  return makeBuffer(tensorBuffers[tensor.getValue()], type, [&](kern::BufferType buffer) {
    return builder.create<kern::TensorBufferOp>(procedure.getLoc(), buffer, tensor);
  });
}

Value Assigner::getSavedBuffer(StringRef slot, Type type) {
  return makeBuffer(savedBuffers[slot], type, [&](kern::BufferType buffer) {
    return builder.create<kern::SavedBufferOp>(procedure.getLoc(), buffer,
                                               builder.getStringAttr(slot), IntegerAttr());
  });
}

Value Assigner::getGradientBuffer(StringRef weight, Type type) {
  return makeBuffer(gradientBuffers[weight], type, [&](kern::BufferType buffer) {
    return builder.create<kern::GradientBufferOp>(procedure.getLoc(), buffer,
                                                  builder.getStringAttr(weight));
  });
}

Value Assigner::getStateBuffer(StringAttr kind, StringAttr weight, Type type) {
  std::string name = kind.str() + "." + weight.str();
  return makeBuffer(stateBuffers[name], type, [&](kern::BufferType buffer) {
    return builder.create<kern::StateBufferOp>(procedure.getLoc(), buffer, kind, weight);
  });
}

Value Assigner::getWeightBuffer(kern::WeightOp op) {
  return makeBuffer(weightBuffers[op.getName()], op.getType(), [&](kern::BufferType buffer) {
    return builder.create<kern::WeightBufferOp>(op.getLoc(), buffer, op.getNameAttr(),
                                                op.getPartsAttr(), op.getRowsAttr());
  });
}

kern::BufferType Assigner::frameType(Value value, ArrayRef<int64_t> layout,
                                     int64_t sliceLength) const {
  auto type = cast<RankedTensorType>(value.getType());
  SmallVector<int64_t> shape;
  for (int64_t axis : layout)
    shape.push_back(type.isDynamicDim(axis) ? sliceLength : type.getDimSize(axis));
  int64_t pitch = shape.back();
  if (shape.size() > 1)
    pitch =
        plan::alignTo(pitch, std::max<int64_t>(1, kRowBytes * 8 / type.getElementTypeBitWidth()));
  return kern::BufferType::get(builder.getContext(), shape, type.getElementType(), pitch);
}

/// A new frame buffer for `value`, whose sliced axis has the length of the current slice.
Place Assigner::allocate(Value value, std::optional<ArrayRef<int64_t>> layout, StringRef name) {
  auto type = cast<RankedTensorType>(value.getType());
  SmallVector<int64_t> order =
      layout ? llvm::to_vector(*layout) : llvm::to_vector(llvm::seq<int64_t>(0, type.getRank()));
  kern::BufferType bufferType = frameType(value, order, currentSlice);
  std::string unique = name.str() + "." + std::to_string(names++);
  Place place =
      wholePlace(builder.create<kern::AllocOp>(value.getLoc(), bufferType, unique, IntegerAttr()));
  for (auto [bufferAxis, axis] : llvm::enumerate(order)) {
    place.order[axis] = bufferAxis;
    if (type.isDynamicDim(axis))
      place.extent[bufferAxis].loop = currentLoop;
  }
  return place;
}

Place &Assigner::placeOf(Value value) {
  auto found = places.find(value);
  assert(found != places.end() && "a value is used before its place is known");
  return found->second;
}

/// The current slice of a whole place, along a value axis.
Place Assigner::slicePlace(Place place, int64_t axis, int32_t loop, int64_t size) const {
  int32_t bufferAxis = place.order[axis];
  place.start[bufferAxis].loop = loop;
  place.extent[bufferAxis] = {size, loop};
  return place;
}

/// The place of what is transposed by `order` to make a value of this place.
Place Assigner::untransposed(Place place, ArrayRef<int64_t> order) const {
  Place result = place;
  for (auto [axis, source] : llvm::enumerate(order))
    result.order[source] = place.order[axis];
  return result;
}

/// A frame buffer for a loop's result, laid out as the kernel that makes its slices stores them.
Place Assigner::allocateResult(Value result, const kern::Transposed &yielded) {
  auto kernel = yielded.base.getDefiningOp<kern::KernelOpInterface>();
  if (!kernel)
    return allocate(result, std::nullopt, "slices");
  SmallVector<int64_t> inverse(yielded.order.size()), layout;
  for (auto [axis, source] : llvm::enumerate(yielded.order))
    inverse[source] = axis;
  std::optional<ArrayRef<int64_t>> stored = kernel.getStoreOrder();
  for (size_t i = 0; i < inverse.size(); ++i)
    layout.push_back(inverse[stored ? (*stored)[i] : i]);
  return allocate(result, layout, plan::kernelInfo(kernel.getKernel()).mnemonic);
}

//===----------------------------------------------------------------------===//
// In-place legality
//===----------------------------------------------------------------------===//

/// Whether the kernel of a part writes it to its place in the concat.
bool Assigner::isInPlace(Value part, kern::ConcatOp concat) const {
  auto known = parts.find(part);
  return known != parts.end() && known->second.concat == concat;
}

/// All values that look at the memory of `value`'s base.
void Assigner::collectAliases(Value value, SmallVectorImpl<Value> &aliases) const {
  aliases.push_back(value);
  for (Operation *user : value.getUsers())
    if (isa<kern::TransposeOp, kern::SliceOp>(user))
      collectAliases(user->getResult(0), aliases);
  if (auto concat = value.getDefiningOp<kern::ConcatOp>())
    for (Value part : concat.getParts())
      if (isInPlace(part, concat))
        collectAliases(part, aliases);
}

/// Whether `op` is the last reader of `value`'s memory and reads it through one operand only.
bool Assigner::isLastReader(Value value, Operation *op) const {
  Value base = kern::getViewBase(value);
  if (auto part = parts.find(base); part != parts.end())
    base = kern::ConcatOp(part->second.concat).getResult();
  SmallVector<Value> aliases;
  collectAliases(base, aliases);
  int64_t reads = 0;
  for (Value alias : aliases)
    for (OpOperand &use : alias.getUses()) {
      Operation *user = use.getOwner();
      if (isa<kern::TransposeOp, kern::SliceOp>(user))
        continue;
      if (user == op)
        ++reads;
      else if (op->isBeforeInBlock(user))
        return false;
    }
  return reads == 1;
}

/// Whether `op`, which reads `value`, may write over it: the memory is ours to write and nothing
/// else reads it from now on. What is kept, stored, or a weight is not ours.
bool Assigner::canOverwrite(Value value, Operation *op) {
  Value base = kern::getViewBase(value);
  if (isa<BlockArgument>(base) && !writable.contains(base))
    return false;
  Operation *buffer = placeOf(value).buffer.getDefiningOp();
  bool ours = isa<kern::AllocOp, kern::TensorBufferOp>(buffer);
  return ours && isLastReader(value, op);
}

/// The sliced operand whose slices result `result` takes over: the yielded value was made from the
/// block argument by kernels that overwrite it, and the loop may overwrite the operand.
std::optional<unsigned> Assigner::findLoopTie(kern::SliceLoopOp loop, unsigned result) {
  Block &body = loop.getBody().front();
  kern::Transposed current = kern::peelTransposes(body.getTerminator()->getOperand(result));
  while (auto kernel = current.base.getDefiningOp<kern::KernelOpInterface>()) {
    if (kernel.getKernelOutputs().front() != current.base)
      return std::nullopt;
    Value tied = kernel.getTiedOperand(0);
    if (!tied || !isLastReader(tied, kernel))
      return std::nullopt;
    kern::Transposed inner = kern::peelTransposes(tied);
    for (int64_t &axis : current.order)
      axis = inner.order[axis];
    current.base = inner.base;
  }
  if (!current.isIdentity())
    return std::nullopt;
  auto argument = dyn_cast<BlockArgument>(current.base);
  if (!argument || argument.getOwner() != &body)
    return std::nullopt;
  unsigned index = argument.getArgNumber();
  if (index >= loop.getSlicedAxes().size() ||
      loop.getSlicedAxes()[index] != loop.getResultAxes()[result] ||
      !canOverwrite(loop.getOperand(index), loop))
    return std::nullopt;
  return index;
}

} // namespace evo
