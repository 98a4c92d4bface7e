//===- Dropout.cpp - the masks of modules' dropout --------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#include "dialects/Evo/ModuleSupport.h"

using namespace mlir;

namespace evo::ir {

LogicalResult Dropout::verify(Operation *op) const {
  if (!(rate >= 0 && rate < 1))
    return op->emitOpError("expected dropout in [0, 1) (C7), got ") << rate;
  if (shared != 0 && shared != 1)
    return op->emitOpError("expected dropout_shared 0 or 1 (C7), got ") << shared;
  if (!plan::isDropoutModule(position))
    return op->emitOpError("expected position in [0, 2^32) (C7), got ") << position;
  return success();
}

Value Dropout::mask(kern::KernBuilder &builder, Value stream) const {
  if (rate == 0)
    return {};
  SmallVector<int64_t> shape(shapeOf(stream));
  shape[shared] = 1;
  return builder.dropoutMask(shape, rate, position);
}

void Dropout::addSide(kern::KernBuilder &builder, Value stream, int64_t axis,
                      SmallVectorImpl<SideInput> &sides) const {
  if (Value whole = mask(builder, stream))
    sides.push_back({whole, axis == shared ? -1 : axis});
}

} // namespace evo::ir
