//===- ModuleSupport.h - what the modules' lowerings share ------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// Private to dialects/Evo.
//===----------------------------------------------------------------------===//
#pragma once

#include "dialects/Evo/EvoDialect.h"

namespace evo::ir {

inline llvm::ArrayRef<int64_t> shapeOf(mlir::Value value) {
  return mlir::cast<mlir::RankedTensorType>(value.getType()).getShape();
}

/// The slice size of a side input of `extent` elements, so that it is computed in as many slices as
/// the module's own loop over `mainExtent` elements has.
inline int64_t sideSliceSize(int64_t size, int64_t mainExtent, int64_t extent) {
  int64_t slices = (mainExtent + size - 1) / size;
  return (extent + slices - 1) / slices;
}

/// The dropout of a module, by its attributes.
struct Dropout {
  double rate;
  int64_t shared; ///< the axis of the stream whose indices have one mask
  int64_t position;

  template <class Op> static Dropout of(Op op) {
    return {op.getDropout().convertToDouble(), static_cast<int64_t>(op.getDropoutShared()),
            static_cast<int64_t>(op.getPosition())};
  }

  /// (C7)
  mlir::LogicalResult verify(mlir::Operation *op) const;

  /// The mask of a stream [a, b, c], in its own orientation; null where nothing is dropped.
  mlir::Value mask(kern::KernBuilder &builder, mlir::Value stream) const;

  /// Adds the mask to what slices along `axis` of the stream share.
  void addSide(kern::KernBuilder &builder, mlir::Value stream, int64_t axis,
               llvm::SmallVectorImpl<SideInput> &sides) const;
};

inline double count(std::initializer_list<int64_t> factors) {
  double product = 1;
  for (int64_t factor : factors)
    product *= static_cast<double>(factor);
  return product;
}

/// (C1) of the pair modules: z is [r, r, c] and the mask [r, r].
inline mlir::LogicalResult verifyPair(mlir::Operation *op, mlir::Value z, mlir::Value mask) {
  llvm::ArrayRef<int64_t> shape = shapeOf(z), maskShape = shapeOf(mask);
  if (shape.size() != 3 || shape[0] != shape[1])
    return op->emitOpError("expected z of [r, r, c] (C1), got ") << z.getType();
  if (maskShape != shape.take_front(2))
    return op->emitOpError("expected a mask of [r, r] (C1), got ") << mask.getType();
  return mlir::success();
}

/// (C1) of the MSA modules: m is [s, r, c] and the mask [s, r].
inline mlir::LogicalResult verifyMsa(mlir::Operation *op, mlir::Value m, mlir::Value mask) {
  llvm::ArrayRef<int64_t> shape = shapeOf(m), maskShape = shapeOf(mask);
  if (shape.size() != 3)
    return op->emitOpError("expected m of [s, r, c] (C1), got ") << m.getType();
  if (maskShape != shape.take_front(2))
    return op->emitOpError("expected a mask of [s, r] (C1), got ") << mask.getType();
  return mlir::success();
}

/// (C1) that an attribute is at least 1. The accessors of I64Attr are unsigned: cast to int64_t.
inline mlir::LogicalResult verifyPositive(mlir::Operation *op, llvm::StringRef name,
                                          int64_t value) {
  if (value >= 1)
    return mlir::success();
  return op->emitOpError("expected ") << name << " of at least 1 (C1), got " << value;
}

/// (C1) that a real attribute is positive and finite.
inline mlir::LogicalResult verifyPositive(mlir::Operation *op, llvm::StringRef name,
                                          llvm::APFloat value) {
  if (value.isFinite() && value.convertToDouble() > 0)
    return mlir::success();
  return op->emitOpError("expected ") << name << " > 0 (C1), got " << value.convertToDouble();
}

} // namespace evo::ir
