//===- KernDialect.td - kernels and memory ------------------*- tablegen -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#ifndef EVO_KERN_DIALECT
#define EVO_KERN_DIALECT

include "mlir/IR/OpBase.td"
include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/BuiltinTypeInterfaces.td"

def Kern_Dialect : Dialect {
  let name = "kern";
  let cppNamespace = "::evo::kern";
  let summary = "what the runtime executes: kernels, slice loops, buffers, procedures";
  let description = [{
    Two levels with a fence between them.

    *Values*: kernel ops on SSA tensors, one op a row of `runtime/plan/Kernels.def`. Modules are lowered
    to this level, and differentiation happens here. Memory does not exist yet, but each kernel says which
    input its result may overwrite (`getTiedOperand`).

    *Buffers*: `kern.alloc`, `kern.free`, `kern.view`, `kern.launch` and `kern.loop`. Every launch is one
    step of a plan, every view one operand of a step.

    `kern-assign-buffers` crosses from the first to the second; the verify passes are the fences.
  }];
  let useDefaultTypePrinterParser = 1;
  let useDefaultAttributePrinterParser = 1;
}

class Kern_Type<string name, string typeMnemonic> : TypeDef<Kern_Dialect, name> {
  let mnemonic = typeMnemonic;
}

def Kern_BufferType : Kern_Type<"Buffer", "buffer"> {
  let summary = "a piece of memory of known shape, row-major, with padded rows";
  let description = [{
    `shape` in elements; rows of the innermost axis are `pitch` elements apart, pitch >= the innermost
    size. Boundary tensors and weights are dense; buffers of a frame pad their rows to 16 bytes.

    Example: `!kern.buffer<4x17xf32, 20>` is 4 rows of 17 floats, 80 bytes apart.
  }];
  let parameters = (ins ArrayRefParameter<"int64_t">:$shape, "::mlir::Type":$elementType, "int64_t":$pitch);
  let hasCustomAssemblyFormat = 1;
  let extraClassDeclaration = [{
    /// Row-major strides in elements, with the padded innermost row.
    ::llvm::SmallVector<int64_t> getStrides() const;
    /// Bytes from the first to behind the last element; nothing on overflow.
    std::optional<int64_t> getByteSize() const;
  }];
  let genVerifyDecl = 1;
}

def Kern_ViewType : Kern_Type<"View", "view"> {
  let summary = "a box of a buffer with its axes in some order, as one operand of a launch";
  let description = [{
    The shape of a full slice; a slice-relative axis is shorter in a ragged last slice.

    Example: `!kern.view<4x256x128xf32>`
  }];
  let parameters = (ins ArrayRefParameter<"int64_t">:$shape, "::mlir::Type":$elementType);
  let hasCustomAssemblyFormat = 1;
}

def Kern_ShareAttr : AttrDef<Kern_Dialect, "Share"> {
  let mnemonic = "share";
  let summary = "a buffer of a call that lies where another call keeps a tensor";
  let description = [{
    `buffer` is a boundary tensor (`m`) or a kept one (`saved.m`) of the call's procedure. It lies where the call with the id
    `call` keeps `slot`: in the same block, or, where that call is of one block only, in that one.

    Example: `#kern.share<buffer = "saved.m", call = 3, slot = "m">`
  }];
  let parameters = (ins StringRefParameter<>:$buffer, "int64_t":$call, StringRefParameter<>:$slot);
  let assemblyFormat = "`<` struct(params) `>`";
}

def Kern_BindingAttr : AttrDef<Kern_Dialect, "Binding"> {
  let mnemonic = "binding";
  let summary = "where a shared buffer lies";
  let description = [{
    `offset` in bytes from the arena's start in the first block, `stride` what it moves by a block.

    Example: `#kern.binding<buffer = "saved.m", offset = 4096, stride = 512>`
  }];
  let parameters = (ins StringRefParameter<>:$buffer, "int64_t":$offset, DefaultValuedParameter<"int64_t", "0">:$stride);
  let assemblyFormat = "`<` struct(params) `>`";
}

class Kern_Op<string mnemonic, list<Trait> traits = []> : Op<Kern_Dialect, mnemonic, traits>;

/// A tensor of the value level. At most one axis is `?`: the slice of the loop around it.
def Kern_Tensor : RankedTensorOf<[AnyFloat]>;

#endif
