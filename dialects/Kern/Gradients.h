//===- Gradients.h - the reverse sweep at the value level -------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// A module's backward is the reverse sweep over its kernels: each knows its own (`emitBackward`),
// this class keeps what has been gathered so far. What a kernel reads again of the forward is
// simply used: whether it is kept or computed again is a matter of the procedure that holds it.
//===----------------------------------------------------------------------===//
#pragma once

#include "dialects/Kern/KernBuilder.h"

#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/DenseSet.h"
#include "llvm/ADT/MapVector.h"

namespace evo::kern {

/// Erases what nothing reads, last first: of a forward that is computed again, what its backward
/// has no use for.
void eraseDeadOps(mlir::Block &block);

class GradientBuilder {
public:
  GradientBuilder(mlir::OpBuilder &builder, mlir::Location location, mlir::Type storageType,
                  mlir::Type statisticType)
      : builder(builder), location(location), storageType(storageType),
        statisticType(statisticType), kernels(builder, location, storageType, statisticType) {}

  /// Sweeps over the kernels and loops that `block` holds now, last first, emitting at the
  /// builder's place. A loop's reverse computes its slices again; sums over them are what was read
  /// whole. The gradients of the values that the caller knows have been set before.
  mlir::LogicalResult sweep(mlir::Block &block);

  /// Marks a value that gradients flow to; weights need no mark.
  void setActive(mlir::Value value) { active[value] = true; }
  /// Marks a value that none flow to.
  void setMask(mlir::Value value) { active[value] = false; }
  bool isActive(mlir::Value value);
  /// Marks a value that all slices of a loop read whole: its gradient is a sum over them, gathered
  /// in the statistic type.
  void setSummed(mlir::Value value) { summed.insert(value); }
  bool isSummed(mlir::Value value) const { return summed.contains(getViewBase(value)); }

  /// The gradient gathered so far, or null.
  mlir::Value get(mlir::Value value) const { return gradients.lookup(value); }
  void set(mlir::Value value, mlir::Value gradient) { gradients[value] = gradient; }
  /// Adds a contribution.
  void add(mlir::Value value, mlir::Value contribution);
  /// The gradients of all weights that have one, by weight, after the sweep.
  llvm::MapVector<mlir::Value, mlir::Value> weightGradients();

  // What the kernels' backwards are made of; each adds to the gradients of its inputs.
  /// y = factor x weight^T + bias from du = dy; x was made with 1 / factor, and its gradient is the
  /// one by what it stands for, so that it is no larger than without the factor: contributes to x,
  /// weight and bias.
  void addLinear(mlir::Value du, mlir::Value x, mlir::Value weight, mlir::Value bias,
                 double factor = 1);
  mlir::Value linearGrad(mlir::Value dy, mlir::Value h, mlir::Value rowScale, mlir::Value gate,
                         mlir::Value dropout, plan::Activation activation, mlir::Value *dgate);
  /// The value in the storage type.
  mlir::Value toStorage(mlir::Value value);

  KernBuilder &kernelBuilder() { return kernels; }
  mlir::OpBuilder &opBuilder() { return builder; }
  mlir::Location getLoc() const { return location; }
  /// The type of a value's gradient: its shape, in the statistic type for accumulated ones.
  mlir::RankedTensorType statisticLike(mlir::Value value) const;

private:
  void gatherSlices(mlir::Value base);
  mlir::LogicalResult reverseLoop(SliceLoopOp loop);
  friend struct Reversal;
  mlir::Value weightLike(WeightOp weight, mlir::Block &block);

  mlir::OpBuilder &builder;
  mlir::Location location;
  mlir::Type storageType, statisticType;
  KernBuilder kernels;
  llvm::DenseMap<mlir::Value, mlir::Value> gradients;
  llvm::DenseMap<mlir::Value, bool> active;
  llvm::DenseSet<mlir::Value> summed;
  bool inLoop = false; ///< weights' gradients come together outside
};

} // namespace evo::kern
