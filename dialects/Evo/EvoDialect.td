//===- EvoDialect.td - model ops and choices ----------------*- tablegen -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#ifndef EVO_EVO_DIALECT
#define EVO_EVO_DIALECT

include "mlir/IR/OpBase.td"
include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/EnumAttr.td"

def Evo_Dialect : Dialect {
  let name = "evo";
  let cppNamespace = "::evo::ir";
  let summary = "one op a module of an Evoformer-type stack";
  let description = [{
    A stack holds segments, a segment the modules of one block, which all of its blocks share. Each module
    maps a residual stream to its updated self, `x + f(x, ...)`, and carries the choice by which it is
    lowered. The algorithms are those of the AlphaFold2 paper's supplement, the names OpenFold's.
  }];
  let useDefaultAttributePrinterParser = 1;
  let dependentDialects = ["::evo::kern::KernDialect"];
}

class Evo_Enum<string name, string text, list<I32EnumAttrCase> cases> : I32EnumAttr<name, text, cases> {
  let cppNamespace = "::evo::ir";
}

def Evo_KernelVariant : Evo_Enum<"KernelVariant", "which kernels a module is lowered to", [
  I32EnumAttrCase<"Fused", 0, "fused">, I32EnumAttrCase<"Plain", 1, "plain">]> {
  let description = [{
    `fused`: attention by online softmax, the outer product never stored. `plain`: the seed's, with stored logits and outer product. Modules where both are the same know only `fused`. Example: `variant = plain`.
  }];
}

def Evo_Axis : Evo_Enum<"Axis", "an axis that a slice loop may run over", [
  I32EnumAttrCase<"None", 0, "none">, I32EnumAttrCase<"S", 1, "s">, I32EnumAttrCase<"R", 2, "r">,
  I32EnumAttrCase<"Ri", 3, "r_i">, I32EnumAttrCase<"Rj", 4, "r_j">]> {
  let description = [{
    `s`: MSA rows; `r`: residues of m; `r_i`, `r_j`: first and second residue axis of z; `none`: no loop. Example: `axis = r_i`.
  }];
}

def Evo_Keep : Evo_Enum<"Keep", "what a module keeps from forward to backward", [
  I32EnumAttrCase<"Nothing", 0, "nothing">, I32EnumAttrCase<"Input", 1, "input">,
  I32EnumAttrCase<"All", 2, "all">, I32EnumAttrCase<"Products", 3, "products">,
  I32EnumAttrCase<"Mixing", 4, "mixing">]> {
  let description = [{
    `nothing`: inference. `input`: the streams that the module reads; the rest is computed again. `all`: whatever its backward reads, so
    nothing is computed again. Between the two, of what the backward reads, `products` keeps what matrix products of any kind make and
    computes norms, gates and other elementwise results again; `mixing` keeps only what mixes positions (attention, triangle and
    outer products) and computes projections again too. Where results are kept forward and backward have one variant and no
    slices. Example: `keep = input`.
  }];
}

def Evo_MsaLayout : Evo_Enum<"MsaLayout", "how m lies over the devices", [
  I32EnumAttrCase<"Whole", 0, "whole">, I32EnumAttrCase<"S", 1, "s">, I32EnumAttrCase<"R", 2, "r">]> {
  let description = [{
    `whole` on every device, or sharded by MSA rows (`s`) or residues (`r`). Example: `layout_m = s`.
  }];
}

def Evo_PairLayout : Evo_Enum<"PairLayout", "how z lies over the devices", [
  I32EnumAttrCase<"Whole", 0, "whole">, I32EnumAttrCase<"I", 1, "i">, I32EnumAttrCase<"J", 2, "j">,
  I32EnumAttrCase<"Grid", 3, "grid">]> {
  let description = [{
    `whole` on every device, or sharded by rows (`i`), columns (`j`) or both (`grid`). Example: `layout_z = i`.
  }];
}

def Evo_TriangleDirection : Evo_Enum<"TriangleDirection", "which edges a triangle product sums over", [
  I32EnumAttrCase<"Outgoing", 0, "outgoing">, I32EnumAttrCase<"Incoming", 1, "incoming">]> {
  let description = [{
    `outgoing`: p[i,j] = sum_k a[i,k] b[j,k]; `incoming`: sum_k a[k,i] b[k,j]. Example: `evo.triangle_multiplication outgoing`.
  }];
}

def Evo_TriangleNode : Evo_Enum<"TriangleNode", "which node of a triangle attends", [
  I32EnumAttrCase<"Starting", 0, "starting">, I32EnumAttrCase<"Ending", 1, "ending">]> {
  let description = [{
    `starting`: queries (i,j) attend to keys (i,k); `ending`: the same on the transposed z and mask. Example: `evo.triangle_attention ending`.
  }];
}

def Evo_Stream : Evo_Enum<"Stream", "a residual stream", [
  I32EnumAttrCase<"Msa", 0, "m">, I32EnumAttrCase<"Pair", 1, "z">]> {
  let description = [{
    `m`: the MSA representation [s, r, c_m]; `z`: the pair representation [r, r, c_z]. Example: `evo.transition z`.
  }];
}

def Evo_ChoiceAttr : AttrDef<Evo_Dialect, "Choice"> {
  let mnemonic = "choice";
  let summary = "how a module is carried out";
  let description = [{
    Forward: `variant` (default `fused`) and a slice loop of `size` elements over `axis` (default `none` and 0: no
    loop; the last slice may be shorter). Backward: `keep` (default `nothing`), `backward_variant`, `backward_axis` and
    `backward_size`, with the same defaults. `layout_m` and `layout_z` (default `whole`): how the streams lie over the
    devices while the module runs. All of it is chosen; none of it changes what is computed.

    Constraints: a size is at least 1 on an axis and 0 on none; on a module, variant and axis are among those that it
    says are legal (C6).

    Example: `#evo.choice<variant = fused, axis = s, size = 4>`
  }];
  let parameters = (ins
    DefaultValuedParameter<"KernelVariant", "KernelVariant::Fused">:$variant,
    DefaultValuedParameter<"Axis", "Axis::None">:$axis,
    DefaultValuedParameter<"int64_t", "0">:$size,
    DefaultValuedParameter<"Keep", "Keep::Nothing">:$keep,
    DefaultValuedParameter<"KernelVariant", "KernelVariant::Fused">:$backward_variant,
    DefaultValuedParameter<"Axis", "Axis::None">:$backward_axis,
    DefaultValuedParameter<"int64_t", "0">:$backward_size,
    DefaultValuedParameter<"MsaLayout", "MsaLayout::Whole">:$layout_m,
    DefaultValuedParameter<"PairLayout", "PairLayout::Whole">:$layout_z);
  let assemblyFormat = "(`<` struct(params)^ `>`)?";
  let genVerifyDecl = 1;
  let builders = [
    AttrBuilder<(ins "KernelVariant":$variant, CArg<"Axis", "Axis::None">:$axis, CArg<"int64_t", "0">:$size), [{
      return $_get($_ctxt, variant, axis, size, Keep::Nothing, KernelVariant::Fused, Axis::None, 0,
                   MsaLayout::Whole, PairLayout::Whole);
    }]>,
    AttrBuilder<(ins "KernelVariant":$variant, "Keep":$keep, "KernelVariant":$backwardVariant), [{
      return $_get($_ctxt, variant, Axis::None, 0, keep, backwardVariant, Axis::None, 0,
                   MsaLayout::Whole, PairLayout::Whole);
    }]>
  ];
}

def Evo_RunAttr : AttrDef<Evo_Dialect, "Run"> {
  let mnemonic = "run";
  let summary = "modules of a block that are carried out together";
  let description = [{
    Modules [first, first + count) of a segment's block. On an axis: one loop over slices of `size` elements that all of them
    share, forward and backward; only what the first of them reads is kept. On none, in training: a recompute group. Its
    forward keeps the streams that enter it; its backward first runs it again, now keeping what each of its modules'
    choices says, and then differentiates. Runs do not overlap, but one with a loop may lie within a group.

    Example: `#evo.run<first = 1, count = 2, axis = r, size = 16>`
  }];
  let parameters = (ins "int64_t":$first, "int64_t":$count, DefaultValuedParameter<"Axis", "Axis::None">:$axis,
                        DefaultValuedParameter<"int64_t", "0">:$size);
  let assemblyFormat = "`<` struct(params) `>`";
  let genVerifyDecl = 1;
}

def Evo_RecomputeAttr : AttrDef<Evo_Dialect, "Recompute"> {
  let mnemonic = "recompute";
  let summary = "blocks that run forward twice, in training";
  let description = [{
    Blocks [first, first + count) of a stack. First they run forward and keep nothing but the streams that enter them, each
    module as the choice of `choices` at its position in the block says; its `keep` is nothing. When the backward pass reaches
    them they run again, now as their modules' own choices say, and then backward. Intervals are apart or nested.

    Example: `#evo.recompute<first = 0, count = 4, choices = [#evo.choice<variant = fused>]>`
  }];
  let parameters = (ins "int64_t":$first, "int64_t":$count, "::mlir::ArrayAttr":$choices);
  let assemblyFormat = "`<` struct(params) `>`";
  let genVerifyDecl = 1;
  let extraClassDeclaration = [{
    int64_t getEnd() const { return getFirst() + getCount(); }
  }];
}

#endif
