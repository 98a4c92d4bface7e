//===- Assigner.h - where each value of a procedure goes --------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// The work of kern-assign-buffers. Every value gets a place: a box of a buffer and the version that
// it is. One walk in program order decides and emits; nothing is moved afterwards.
// AssignBuffers.cpp holds the walk, AssignPlaces.cpp the buffers and who may overwrite them,
// AssignDestinations.cpp the values whose reader wants them in a certain place.
//===----------------------------------------------------------------------===//
#pragma once

#include "passes/Procedure.h"

#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/DenseSet.h"
#include "llvm/ADT/StringMap.h"

namespace evo {

/// A box of a buffer, by buffer axis, the order in which the value lists those axes, and a version.
struct Place {
  mlir::Value buffer;
  llvm::SmallVector<plan::Start> start;
  llvm::SmallVector<plan::Extent> extent;
  llvm::SmallVector<int32_t> order;
  int64_t version = 0;
};

/// Rows of frame buffers start at multiples of this many bytes.
constexpr int64_t kRowBytes = 16;

/// Where a sum over slices is gathered, and the version that it begins with: zeros.
struct Accumulation {
  Place place;
  int64_t zeros;
};

/// A value that is one part of a concat, and where its part begins.
struct PartOf {
  kern::ConcatOp concat;
  int64_t start;
};

class Assigner {
public:
  explicit Assigner(kern::ProcedureOp procedure)
      : procedure(procedure), builder(procedure.getContext()) {}

  mlir::LogicalResult run();

private:
  // Places.
  Place wholePlace(mlir::Value buffer) const;
  mlir::Value getTensorBuffer(mlir::FlatSymbolRefAttr tensor, mlir::Type type);
  mlir::Value getSavedBuffer(llvm::StringRef slot, mlir::Type type);
  mlir::Value getGradientBuffer(llvm::StringRef weight, mlir::Type type);
  mlir::Value getStateBuffer(mlir::StringAttr kind, mlir::StringAttr weight, mlir::Type type);
  mlir::Value makeBuffer(mlir::Value &buffer, mlir::Type type,
                         llvm::function_ref<mlir::Value(kern::BufferType)> create);
  mlir::Value getWeightBuffer(kern::WeightOp op);
  kern::BufferType frameType(mlir::Value value, llvm::ArrayRef<int64_t> layout,
                             int64_t sliceLength) const;
  Place allocate(mlir::Value value, std::optional<llvm::ArrayRef<int64_t>> layout,
                 llvm::StringRef name);
  Place &placeOf(mlir::Value value);
  Place slicePlace(Place place, int64_t axis, int32_t loop, int64_t size) const;
  Place untransposed(Place place, llvm::ArrayRef<int64_t> order) const;
  Place allocateResult(mlir::Value result, const kern::Transposed &yielded);

  // In-place legality.
  bool isInPlace(mlir::Value part, kern::ConcatOp concat) const;
  void collectAliases(mlir::Value value, llvm::SmallVectorImpl<mlir::Value> &aliases) const;
  bool isLastReader(mlir::Value value, mlir::Operation *op) const;
  bool canOverwrite(mlir::Value value, mlir::Operation *op);
  std::optional<unsigned> findLoopTie(kern::SliceLoopOp loop, unsigned result);

  // Destinations.
  void planDestinations(mlir::Block &block);
  Place &concatPlace(kern::ConcatOp op);
  Place beginConcat(kern::ConcatOp concat, Place place);
  Place partPlace(kern::ConcatOp concat, int64_t start, mlir::Value value);
  void sink(mlir::Value value, mlir::Value buffer, mlir::Location location);
  void assignConcat(kern::ConcatOp op);

  // Ops.
  mlir::LogicalResult assign(mlir::Operation *op);
  void assignKernel(kern::KernelOpInterface op);
  mlir::LogicalResult assignLoop(kern::SliceLoopOp loop);
  void prepareSlices(kern::SliceLoopOp loop, unsigned result, int32_t id, int64_t size);
  void prepareSum(kern::SliceLoopOp loop, unsigned result);
  void finishSlices(kern::SliceLoopOp loop, unsigned result, int32_t id, int64_t size);
  void finishSum(kern::SliceLoopOp loop, unsigned result);
  std::optional<Place> wantedPlace(mlir::Value value);
  void launchZero(const Place &place, mlir::Location location, mlir::IntegerAttr costNs);
  void assignReturn(kern::ReturnOp op);
  void copyTo(mlir::Value value, const Place &target, mlir::Location location);
  mlir::Value makeView(const Place &place, mlir::Location location);
  void launch(kern::KernelOpInterface op, llvm::ArrayRef<std::optional<Place>> places);

  kern::ProcedureOp procedure;
  mlir::OpBuilder builder;
  mlir::Block *entry = nullptr;      ///< tensor and weight buffers stand at its beginning
  mlir::Operation *anchor = nullptr; ///< behind them
  llvm::DenseMap<mlir::Value, Place> places;
  llvm::DenseMap<mlir::Value, int64_t> lastVersion;
  llvm::DenseMap<mlir::Value, Place> destinations; ///< where a loop or a sink wants a value
  llvm::DenseMap<mlir::Value, PartOf> parts;
  llvm::DenseMap<mlir::Operation *, Place> concats; ///< places of the concats begun so far
  llvm::DenseMap<mlir::Value, Accumulation> sums;   ///< by what the loop around yields
  llvm::DenseMap<mlir::Value, Place> wholes;        ///< of loops' results with places of their own
  llvm::DenseMap<mlir::Value, unsigned> ties;       ///< of the others: the operand taken over
  llvm::DenseSet<mlir::Value> writable; ///< block arguments whose memory may be taken over
  llvm::StringMap<mlir::Value> tensorBuffers, weightBuffers, savedBuffers, gradientBuffers,
      stateBuffers;
  int32_t loops = 0, names = 0;
  int32_t currentLoop = -1;
  int64_t currentSlice = 0;
};

} // namespace evo
