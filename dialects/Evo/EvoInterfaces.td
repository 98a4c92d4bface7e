//===- EvoInterfaces.td - what a module op must say ---------*- tablegen -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#ifndef EVO_EVO_INTERFACES
#define EVO_EVO_INTERFACES

include "mlir/IR/OpBase.td"

def ModuleOpInterface : OpInterface<"ModuleOpInterface"> {
  let cppNamespace = "::evo::ir";
  let description = [{
    A module: `x + f(x, ...)` on one residual stream. No method has a default body: a module that forgets one
    does not build.
  }];
  let methods = [
    InterfaceMethod<[{The prefix of its parameters' names behind `blocks.{i}.`; also its name in plans and
                      reports: "msa_att_row".}], "::llvm::StringRef", "getParameterPrefix">,
    InterfaceMethod<"The boundary tensor an operand stands for, one an operand: m, z, msa_mask, pair_mask.",
                    "::llvm::SmallVector<::llvm::StringRef>", "getTensorNames">,
    InterfaceMethod<"The stream that the module updates: m or z. Its one result is the new version.",
                    "::llvm::StringRef", "getUpdatedTensor">,
    InterfaceMethod<"How it is lowered; null before a policy has chosen.",
                    "::evo::ir::ChoiceAttr", "getModuleChoice">,
    InterfaceMethod<"Sets the choice.", "void", "setModuleChoice", (ins "::evo::ir::ChoiceAttr":$choice)>,
    InterfaceMethod<[{The largest single tensor of the module with materialised kernels, as the seed's formula
                      and in elements. A lower bound of its peak, for people.}],
                    "::evo::ir::DominantTerm", "getDominantTerm">,
    InterfaceMethod<"The variants that differ for this module; the first is the default.",
                    "::llvm::SmallVector<::evo::ir::KernelVariant>", "getLegalVariants">,
    InterfaceMethod<[{The axes along which slices are independent, with their extents and what must be whole. That
                      (pair bias, the other operand of a triangle product) is computed before the loop; that
                      is why updating the stream slice by slice, in place, is legal.}],
                    "::llvm::SmallVector<::evo::ir::SliceAxis>", "getLegalAxes">,
    InterfaceMethod<[{For a legal axis: the axis of each tensor along which its slices lie, one an operand; -1 where a
                      slice of the module does not read that tensor.}],
                    "::llvm::SmallVector<int64_t>", "getSliceDims", (ins "::evo::ir::Axis":$axis)>,
    InterfaceMethod<"Emits the module on the whole of its tensors; the result is the new version of the updated stream.",
                    "::mlir::Value", "emitWhole",
                    (ins "::evo::kern::KernBuilder &":$builder, "::mlir::ValueRange":$values,
                         "::evo::ir::KernelVariant":$variant)>,
    InterfaceMethod<[{Emits what slices along `axis` share, from whole tensors, itself in as many slices as the loop has.}],
                    "::llvm::SmallVector<::evo::ir::SideInput>", "emitSides",
                    (ins "::evo::kern::KernBuilder &":$builder, "::mlir::ValueRange":$values,
                         "::evo::ir::Axis":$axis, "int64_t":$size)>,
    InterfaceMethod<[{Emits the module on one slice along `axis`: `values` are the slices of its tensors, null where
                      getSliceDims says -1; `sides` what emitSides made, sliced or whole. The result is the slice of the
                      updated stream.}],
                    "::mlir::Value", "emitSlice",
                    (ins "::evo::kern::KernBuilder &":$builder, "::llvm::ArrayRef<::mlir::Value>":$values,
                         "::llvm::ArrayRef<::mlir::Value>":$sides, "::evo::ir::Axis":$axis,
                         "::evo::ir::KernelVariant":$variant)>,
  ];
}

#endif
