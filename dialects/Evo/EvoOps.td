//===- EvoOps.td - stacks, segments and modules -------------*- tablegen -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// m is [s, r, c_m], z is [r, r, c_z], msa_mask [s, r], pair_mask [r, r]. LN is layer norm over channels with
// `norm_eps`, sigma the sigmoid. Attributes of every module: `prefix`, what its parameters' names begin with behind
// `blocks.{i}.` (OpenFold's); `norm_eps` > 0 (default 1e-5), the epsilon of its layer norms; `choice`, how it is lowered (absent
// before a policy has chosen). `heads` and `head_dim` are those of an attention, `hidden` the width of a projection, `factor`
// the hidden width of a transition in channels, `inf` the fill of masked keys, `eps` and `mean_eps` what denominators gain. Constraints are labelled (C1), ... in descriptions and verifiers alike.
// `dropout` in [0, 1) (default 0: none) is how likely training drops an element of the module's update; one mask serves all
// indices of the stream's axis `dropout_shared` (default 0: row-wise; 1: column-wise), in the stream's own orientation;
// `position` (default 0) is the module's place in its block, which the random counter of the mask has in it.
// Those of every module: (C2) extents are known and at least 1; (C3) the result has the type of the stream
// that it updates; (C4) all tensors have one element type; (C5) norm_eps > 0; (C6) the choice is legal: a
// variant that the module has, an axis along which its slices are independent; (C7) where it has dropout: dropout in [0, 1),
// dropout_shared 0 or 1, position in [0, 2^32).
//===----------------------------------------------------------------------===//
#ifndef EVO_EVO_OPS
#define EVO_EVO_OPS

include "EvoDialect.td"
include "EvoInterfaces.td"
include "mlir/IR/SymbolInterfaces.td"
include "mlir/IR/RegionKindInterface.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

class Evo_Op<string mnemonic, list<Trait> traits = []> : Op<Evo_Dialect, mnemonic, traits>;
def Evo_Tensor : RankedTensorOf<[F64, F32, F16, BF16]>;

//===----------------------------------------------------------------------===//
// Structure
//===----------------------------------------------------------------------===//

def Evo_RecomputeArray : TypedArrayAttrBase<Evo_RecomputeAttr, "an array of #evo.recompute">;

def Evo_StackOp : Evo_Op<"stack", [IsolatedFromAbove, Symbol, SingleBlock]> {
  let summary = "a stack of blocks: the root of the schedule tree";
  let description = [{
    Block arguments are the boundary tensors `tensors`, in order; `evo.yield` gives the new streams. `model`
    holds what reports and plans say of the specification: name, stack, blocks, sizes, channels, precision,
    mode. `recompute` names blocks that run forward twice, an outer interval before its inner ones.

    Example:
    ```mlir
    evo.stack @template_pair tensors ["z", "pair_mask"] model {blocks = 2 : i64} {
    ^bb0(%z: tensor<5x5x8xf32>, %mask: tensor<5x5xf32>):
      %0 = evo.segment first 0 count 2 (%z) : (tensor<5x5x8xf32>) -> tensor<5x5x8xf32> { ... }
      evo.yield %0 : tensor<5x5x8xf32>
    }
    ```
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, StrArrayAttr:$tensors, DictionaryAttr:$model,
                       OptionalAttr<Evo_RecomputeArray>:$recompute);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = "$sym_name `tensors` $tensors `model` $model attr-dict-with-keyword $body";
  let hasVerifier = 1;
}

def Evo_RunArray : TypedArrayAttrBase<Evo_RunAttr, "an array of #evo.run">;

def Evo_SegmentOp : Evo_Op<"segment", [SingleBlock, HasParent<"StackOp">]> {
  let summary = "consecutive blocks that are carried out alike";
  let description = [{
    Blocks [first, first + count), each the body, with the streams handed from one to the next. (C1) Operands,
    block arguments, results and yielded values have the same types. `runs` says which modules of the block are carried out
    together: (C2) an array of `#evo.run` in order, within the block, apart or nested.

    Example: see `evo.stack`.
  }];
  let arguments = (ins I64Attr:$first, I64Attr:$count, Variadic<Evo_Tensor>:$streams, OptionalAttr<Evo_RunArray>:$runs);
  let results = (outs Variadic<Evo_Tensor>:$outputs);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = [{
    `first` $first `count` $count `(` $streams `)` attr-dict-with-keyword `:` functional-type($streams, $outputs) $body
  }];
  let hasVerifier = 1;
}

def Evo_YieldOp : Evo_Op<"yield", [Pure, Terminator, ParentOneOf<["StackOp", "SegmentOp"]>]> {
  let summary = "the streams behind a block or a stack";
  let description = [{
    Example: `evo.yield %m, %z : tensor<4x5x8xf32>, tensor<5x5x8xf32>`
  }];
  let arguments = (ins Variadic<Evo_Tensor>:$values);
  let assemblyFormat = "($values^ `:` type($values))? attr-dict";
}

//===----------------------------------------------------------------------===//
// Modules
//===----------------------------------------------------------------------===//

class Evo_Module<string mnemonic, list<Trait> traits = []>
    : Evo_Op<mnemonic, !listconcat([Pure, DeclareOpInterfaceMethods<ModuleOpInterface>], traits)> {
  dag commonAttributes = (ins StrAttr:$prefix, DefaultValuedAttr<F64Attr, "1e-5">:$norm_eps,
                              OptionalAttr<Evo_ChoiceAttr>:$choice);
  dag dropoutAttributes = (ins DefaultValuedAttr<F64Attr, "0.0">:$dropout,
                               DefaultValuedAttr<I64Attr, "0">:$dropout_shared,
                               DefaultValuedAttr<I64Attr, "0">:$position);
  let results = (outs Evo_Tensor:$result);
  let hasVerifier = 1;
  let extraClassDefinition = [{
    ::llvm::StringRef $cppClass::getParameterPrefix() { return getPrefix(); }
    ::evo::ir::ChoiceAttr $cppClass::getModuleChoice() { return getChoiceAttr(); }
    void $cppClass::setModuleChoice(::evo::ir::ChoiceAttr choice) { setChoiceAttr(choice); }
    ::mlir::LogicalResult $cppClass::verify() {
      return ::mlir::failure(::mlir::failed(verifyOwn()) || ::mlir::failed(::evo::ir::verifyModule(*this, getNormEps())));
    }
  }];
  let extraClassDeclaration = [{
    /// The op's own constraints, before those of every module.
    ::mlir::LogicalResult verifyOwn();
  }];
}

def Evo_MsaRowAttentionOp : Evo_Module<"msa_row_attention"> {
  let summary = "gated self-attention along the residues of each MSA row, biased by the pair representation";
  let description = [{
    MSARowAttentionWithPairBias (supplement, algorithm 7). x = LN(m); b = Linear(LN(z)) as [h, r, r];
    logits = c^-1/2 q k^T + b + inf (mask - rowmax(mask)); m + dropout(Linear_o(sigma(g) * softmax(logits) v)). Slices
    along s are independent once the bias is whole.

    (C1) m is [s, r, c_m], z [r, r, c_z], mask [s, r]; heads and head_dim at least 1; inf > 0.

    Example: `%1 = evo.msa_row_attention %m, %z, %mask {prefix = "msa_att_row", heads = 8 : i64, head_dim = 32 : i64, inf = 1.0e9 : f64} : tensor<4x5x8xf32>, tensor<5x5x8xf32>, tensor<4x5xf32> -> tensor<4x5x8xf32>`
  }];
  let arguments = !con((ins Evo_Tensor:$m, Evo_Tensor:$z, Evo_Tensor:$mask, I64Attr:$heads,
                            I64Attr:$head_dim, F64Attr:$inf), dropoutAttributes, commonAttributes);
  let assemblyFormat = "$m `,` $z `,` $mask attr-dict `:` type($m) `,` type($z) `,` type($mask) `->` type($result)";
}

def Evo_MsaColumnAttentionOp : Evo_Module<"msa_column_attention"> {
  let summary = "gated self-attention along the MSA rows of each residue";
  let description = [{
    MSAColumnAttention (algorithm 8): as row attention along s, without bias. Slices along r are independent.

    (C1) m is [s, r, c_m], mask [s, r]; heads and head_dim at least 1; inf > 0.

    Example: `%1 = evo.msa_column_attention %m, %mask {prefix = "msa_att_col._msa_att", heads = 8 : i64, head_dim = 32 : i64, inf = 1.0e9 : f64} : tensor<4x5x8xf32>, tensor<4x5xf32> -> tensor<4x5x8xf32>`
  }];
  let arguments = !con((ins Evo_Tensor:$m, Evo_Tensor:$mask, I64Attr:$heads, I64Attr:$head_dim,
                            F64Attr:$inf), commonAttributes);
  let assemblyFormat = "$m `,` $mask attr-dict `:` type($m) `,` type($mask) `->` type($result)";
}

def Evo_MsaColumnGlobalAttentionOp : Evo_Module<"msa_column_global_attention"> {
  let summary = "column attention with one averaged query a residue and one key/value head";
  let description = [{
    MSAColumnGlobalAttention (algorithm 19): q = Linear(masked mean of LN(m) over s) c^-1/2, the mean divided by
    `mean_eps` + the mask's sum; k and v have one head, shared; the gate is each row's own. Slices along r are
    independent.

    (C1) m is [s, r, c_m], mask [s, r]; heads and head_dim at least 1; inf and mean_eps > 0.

    Example: `%1 = evo.msa_column_global_attention %m, %mask {prefix = "msa_att_col", heads = 8 : i64, head_dim = 8 : i64, inf = 1.0e9 : f64, mean_eps = 1.0e-8 : f64} : tensor<4x5x8xf32>, tensor<4x5xf32> -> tensor<4x5x8xf32>`
  }];
  let arguments = !con((ins Evo_Tensor:$m, Evo_Tensor:$mask, I64Attr:$heads, I64Attr:$head_dim,
                            F64Attr:$inf, F64Attr:$mean_eps), commonAttributes);
  let assemblyFormat = "$m `,` $mask attr-dict `:` type($m) `,` type($mask) `->` type($result)";
}

def Evo_TransitionOp : Evo_Module<"transition"> {
  let summary = "two-layer perceptron on every position of a stream";
  let description = [{
    MSATransition and PairTransition (algorithms 9 and 15): x + mask * Linear_2(relu(Linear_1(LN(x)))), hidden
    width `factor` times the channels. Without a mask operand the factor drops out (`mask_transition` false).
    Slices along either leading axis are independent.

    (C1) x is [a, b, c], mask [a, b]; factor at least 1.

    Example: `%1 = evo.transition m %m mask %mask {prefix = "msa_transition", factor = 4 : i64} : tensor<4x5x8xf32>, tensor<4x5xf32> -> tensor<4x5x8xf32>`
  }];
  let arguments = !con((ins Evo_Stream:$stream, Evo_Tensor:$x, Optional<Evo_Tensor>:$mask, I64Attr:$factor),
                       commonAttributes);
  let assemblyFormat = "$stream $x (`mask` $mask^)? attr-dict `:` type($x) (`,` type($mask)^)? `->` type($result)";
}

def Evo_OuterProductMeanOp : Evo_Module<"outer_product_mean"> {
  let summary = "the pair update from the MSA";
  let description = [{
    OuterProductMean (algorithm 10): a, b = Linear(LN(m)) * mask, width `hidden`; z + Linear_out(flatten(sum_s
    a[s,i] (x) b[s,j])) / (eps + sum_s mask[s,i] mask[s,j]), the output bias inside the division. Slices along
    r_i are independent once a and b are whole.

    (C1) m is [s, r, c_m], z [r, r, c_z], mask [s, r]; hidden at least 1; eps > 0.

    Example: `%1 = evo.outer_product_mean %m, %z, %mask {prefix = "outer_product_mean", hidden = 32 : i64, eps = 1.0e-3 : f64} : tensor<4x5x8xf32>, tensor<5x5x8xf32>, tensor<4x5xf32> -> tensor<5x5x8xf32>`
  }];
  let arguments = !con((ins Evo_Tensor:$m, Evo_Tensor:$z, Evo_Tensor:$mask, I64Attr:$hidden, F64Attr:$eps),
                       commonAttributes);
  let assemblyFormat = "$m `,` $z `,` $mask attr-dict `:` type($m) `,` type($z) `,` type($mask) `->` type($result)";
}

def Evo_TriangleMultiplicationOp : Evo_Module<"triangle_multiplication"> {
  let summary = "the pair update from the products of two edges of each triangle";
  let description = [{
    TriangleMultiplicationOutgoing and Incoming (algorithms 11 and 12): x = LN(z); a, b = mask * sigma(Linear_g(x)) *
    Linear_p(x), width `hidden`; p[i,j] = sum_k a[i,k] b[j,k] (outgoing) or a[k,i] b[k,j] (incoming);
    z + dropout(sigma(Linear_g(x)) * Linear_z(LN(p))). Slices along r_i (outgoing) or r_j (incoming) are independent once
    the other operand is whole.

    (C1) z is [r, r, c_z], mask [r, r]; hidden at least 1.

    Example: `%1 = evo.triangle_multiplication outgoing %z, %mask {prefix = "pair_stack.tri_mul_out", hidden = 128 : i64} : tensor<5x5x8xf32>, tensor<5x5xf32> -> tensor<5x5x8xf32>`
  }];
  let arguments = !con((ins Evo_TriangleDirection:$direction, Evo_Tensor:$z, Evo_Tensor:$mask, I64Attr:$hidden),
                       dropoutAttributes, commonAttributes);
  let assemblyFormat = "$direction $z `,` $mask attr-dict `:` type($z) `,` type($mask) `->` type($result)";
}

def Evo_TriangleAttentionOp : Evo_Module<"triangle_attention"> {
  let summary = "gated self-attention around the starting or the ending node of each triangle";
  let description = [{
    TriangleAttentionStartingNode and EndingNode (algorithms 13 and 14): x = LN(z); for each i, queries (i,j) attend to
    keys (i,k) with bias b[j,k] = Linear(x) and key mask[i,k]; the ending node does the same on the transposed z and
    mask; dropout of what is added to z. Slices along r_i (starting) or r_j (ending) are independent once the bias is whole.

    (C1) z is [r, r, c_z], mask [r, r]; heads and head_dim at least 1; inf > 0.

    Example: `%1 = evo.triangle_attention starting %z, %mask {prefix = "pair_stack.tri_att_start", heads = 4 : i64, head_dim = 32 : i64, inf = 1.0e9 : f64} : tensor<5x5x8xf32>, tensor<5x5xf32> -> tensor<5x5x8xf32>`
  }];
  let arguments = !con((ins Evo_TriangleNode:$node, Evo_Tensor:$z, Evo_Tensor:$mask, I64Attr:$heads,
                            I64Attr:$head_dim, F64Attr:$inf), dropoutAttributes, commonAttributes);
  let assemblyFormat = "$node $z `,` $mask attr-dict `:` type($z) `,` type($mask) `->` type($result)";
}

#endif
