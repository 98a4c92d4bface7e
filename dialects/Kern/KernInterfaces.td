//===- KernInterfaces.td - what a kernel op must say --------*- tablegen -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#ifndef EVO_KERN_INTERFACES
#define EVO_KERN_INTERFACES

include "mlir/IR/OpBase.td"

def KernelOpInterface : OpInterface<"KernelOpInterface"> {
  let cppNamespace = "::evo::kern";
  let description = [{
    A kernel at the value level. Operand names, axis maps and types are those of the kernel's row in
    `runtime/plan/Kernels.def`; the bytes read and written follow from them (`kernelBytes` in
    KernDialect.h). No method has a default body: a kernel that forgets one does not build.
  }];
  let methods = [
    InterfaceMethod<"The row of Kernels.def.", "::evo::plan::Kernel", "getKernel">,
    InterfaceMethod<"The values of the attributes that the row names.",
                    "::evo::plan::KernelAttributes", "getKernelAttributes">,
    InterfaceMethod<"One value an input of the row, in its order; null where an optional one is absent.",
                    "::llvm::SmallVector<::mlir::Value>", "getKernelInputs">,
    InterfaceMethod<"One value an output of the row, in its order; null where an optional one is absent.",
                    "::llvm::SmallVector<::mlir::Value>", "getKernelOutputs">,
    InterfaceMethod<[{Floating point operations of one call whose axes have the given extents; a
                      multiply-add counts two.}],
                    "double", "getFlops", (ins "const ::evo::plan::AxisExtents &":$axes)>,
    InterfaceMethod<"Exponentials of one call whose axes have the given extents.",
                    "double", "getExps", (ins "const ::evo::plan::AxisExtents &":$axes)>,
    InterfaceMethod<"True where the flops are those of matrix products.", "bool", "isMatmul">,
    InterfaceMethod<[{Bytes of arena that the kernel needs beside its operands, on every backend.}],
                    "int64_t", "getWorkspaceBytes", (ins "const ::evo::plan::AxisExtents &":$axes)>,
    InterfaceMethod<[{The input whose memory an output (by its index in getKernelOutputs) may take over, element by
                      element, where no later reader of that input exists; null where there is none.}],
                    "::mlir::Value", "getTiedOperand", (ins "unsigned":$output)>,
    InterfaceMethod<[{The order in which the axes of the first output lie in memory (axis order[0] is the
                      outermost); nothing where they lie as the type lists them.}],
                    "std::optional<::llvm::ArrayRef<int64_t>>", "getStoreOrder">,
    InterfaceMethod<[{Emits the kernel's backward: reads the gradients of its outputs and contributes to those of
                      its inputs. Gradient kernels and those on masks alone have none; the error says so.}],
                    "::mlir::LogicalResult", "emitBackward", (ins "::evo::kern::GradientBuilder &":$gradients)>,
  ];
}

#endif
