//===- KernDialect.h - the kern dialect -------------------------*- C++ -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// Kernels at the value level, buffers, loops, procedures and programs; see KernDialect.td.
//===----------------------------------------------------------------------===//
#pragma once

#include "runtime/plan/Kernel.h"

#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/IR/RegionKindInterface.h"
#include "mlir/IR/SymbolTable.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

#include <optional>

#include "dialects/Kern/KernDialect.h.inc"

#define GET_TYPEDEF_CLASSES
#include "dialects/Kern/KernTypes.h.inc"

#define GET_ATTRDEF_CLASSES
#include "dialects/Kern/KernAttrs.h.inc"

namespace evo::kern {
class GradientBuilder;

/// Whether a procedure's tensor is a boundary tensor (@z) or a kept one (@saved::@z).
bool isTensorRef(mlir::Attribute attribute);
/// The slot of a kept tensor; nothing for a boundary tensor.
std::optional<llvm::StringRef> getSavedSlot(mlir::Attribute tensor);
} // namespace evo::kern

#include "dialects/Kern/KernInterfaces.h.inc"

#define GET_OP_CLASSES
#include "dialects/Kern/KernOps.h.inc"

namespace evo::kern {

/// The storage type of an MLIR float type; nothing for any other.
std::optional<plan::DType> toDType(mlir::Type type);
mlir::Type fromDType(mlir::MLIRContext *context, plan::DType dtype);

/// The loop around a value-level op, or null.
SliceLoopOp getEnclosingLoop(mlir::Operation *op);

/// The shape of a value as a kernel in `op`'s place sees it in an iteration whose slice has
/// `sliceLength` elements.
std::vector<int64_t> resolveShape(mlir::Value value, int64_t sliceLength);

/// The extents of a kernel's axes in an iteration whose slice has `sliceLength` elements (any value
/// outside of loops).
Result<plan::AxisExtents> getKernelAxes(KernelOpInterface op, int64_t sliceLength);

/// Bytes that one call reads and writes: each operand once.
struct KernelBytes {
  double read = 0;
  double written = 0;
};
KernelBytes kernelBytes(KernelOpInterface op, int64_t sliceLength);
/// Bit i: the op has operand i of its row.
uint32_t presentOperands(KernelOpInterface op);

/// Follows transposes and slices to the value whose memory they look at.
mlir::Value getViewBase(mlir::Value value);

/// What is left of `value` when its transposes are taken off: axis d of `value` is axis order[d] of
/// `base`.
struct Transposed {
  mlir::Value base;
  llvm::SmallVector<int64_t> order;
  bool isIdentity() const;
};
Transposed peelTransposes(mlir::Value value);

// The bodies that every kernel op shares; KernKernels.td calls them.
mlir::ParseResult parseKernel(mlir::OpAsmParser &parser, mlir::OperationState &state,
                              plan::Kernel kernel);
void printKernel(mlir::OpAsmPrinter &printer, KernelOpInterface op);
mlir::LogicalResult verifyKernel(KernelOpInterface op);
/// Checks that `dictionary` has what the row names, each with a legal value; the errors are `op`'s.
mlir::LogicalResult verifyKernelAttributes(mlir::Operation *op, mlir::DictionaryAttr dictionary,
                                           plan::Kernel kernel);
plan::KernelAttributes readKernelAttributes(mlir::Operation *op, plan::Kernel kernel);
/// The inverse of readKernelAttributes: only what the kernel has.
mlir::DictionaryAttr writeKernelAttributes(mlir::MLIRContext *context, plan::Kernel kernel,
                                           const plan::KernelAttributes &attributes);
plan::KernelAttributes readKernelAttributes(mlir::DictionaryAttr dictionary, plan::Kernel kernel);
mlir::Value tiedOperand(KernelOpInterface op, unsigned output);

template <class Op> llvm::SmallVector<mlir::Value> collectInputs(Op op, plan::Kernel kernel) {
  llvm::SmallVector<mlir::Value> inputs;
  for (const plan::OperandInfo &operand : plan::kernelInfo(kernel).operands) {
    if (operand.isOutput())
      continue;
    auto group = op.getODSOperands(inputs.size());
    inputs.push_back(group.empty() ? mlir::Value() : *group.begin());
  }
  return inputs;
}

template <class Op> llvm::SmallVector<mlir::Value> collectOutputs(Op op, plan::Kernel kernel) {
  llvm::SmallVector<mlir::Value> outputs;
  for (const plan::OperandInfo &operand : plan::kernelInfo(kernel).operands) {
    if (!operand.isOutput())
      continue;
    auto group = op.getODSResults(outputs.size());
    outputs.push_back(group.empty() ? mlir::Value() : *group.begin());
  }
  return outputs;
}

} // namespace evo::kern
