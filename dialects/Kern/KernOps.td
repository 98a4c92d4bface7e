//===- KernOps.td - structure: weights, loops, memory, procedures *- tablegen -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//===----------------------------------------------------------------------===//
#ifndef EVO_KERN_OPS
#define EVO_KERN_OPS

include "KernKernels.td"
include "mlir/IR/SymbolInterfaces.td"
include "mlir/IR/RegionKindInterface.td"

//===----------------------------------------------------------------------===//
// Values
//===----------------------------------------------------------------------===//

def Kern_WeightOp : Kern_Op<"weight", [Pure]> {
  let summary = "parameters of the block that are read together, adjacent in memory";
  let description = [{
    `parts` names the parameters (behind `blocks.{i}.`) and `rows` how many rows of the first axis each
    has; they tile it. The same name has the same parts everywhere in a module.

    Example: `%w = kern.weight "msa_att_row.mha.qk" parts ["msa_att_row.mha.linear_q.weight", "msa_att_row.mha.linear_k.weight"] rows [16, 16] : tensor<32x8xf32>`
  }];
  let arguments = (ins StrAttr:$name, StrArrayAttr:$parts, DenseI64ArrayAttr:$rows);
  let results = (outs Kern_Tensor:$result);
  let assemblyFormat = "$name `parts` $parts `rows` $rows attr-dict `:` type($result)";
  let hasVerifier = 1;
}

def Kern_TransposeOp : Kern_Op<"transpose", [Pure]> {
  let summary = "the same elements with the axes in another order; moves nothing";
  let description = [{
    Axis d of the result is axis `order[d]` of the input.

    Example: `%t = kern.transpose %z [1, 0, 2] : tensor<5x7x8xf32> -> tensor<7x5x8xf32>`
  }];
  let arguments = (ins Kern_Tensor:$input, DenseI64ArrayAttr:$order);
  let results = (outs Kern_Tensor:$result);
  let assemblyFormat = "$input $order attr-dict `:` type($input) `->` type($result)";
  let hasVerifier = 1;
}

def Kern_SliceOp : Kern_Op<"slice", [Pure]> {
  let summary = "elements [start, start + size) of one axis; moves nothing";
  let description = [{
    Example: `%q = kern.slice %qkvg axis 2 start 0 size 16 : tensor<4x7x64xf32> -> tensor<4x7x16xf32>`
  }];
  let arguments = (ins Kern_Tensor:$input, I64Attr:$axis, I64Attr:$start, I64Attr:$size);
  let results = (outs Kern_Tensor:$result);
  let assemblyFormat = [{
    $input `axis` $axis `start` $start `size` $size attr-dict `:` type($input) `->` type($result)
  }];
  let hasVerifier = 1;
}

def Kern_ConcatOp : Kern_Op<"concat", [Pure]> {
  let summary = "parts put together along an axis; moves nothing where their kernels can write to their places";
  let description = [{
    The reverse of slices that tile an axis: the gradient of what they were taken from.

    Example: `%d = kern.concat %a, %b axis 1 : tensor<4x7xf32>, tensor<4x9xf32> -> tensor<4x16xf32>`
  }];
  let arguments = (ins Variadic<Kern_Tensor>:$parts, I64Attr:$axis);
  let results = (outs Kern_Tensor:$result);
  let assemblyFormat = "$parts `axis` $axis attr-dict `:` type($parts) `->` type($result)";
  let hasVerifier = 1;
}

def Kern_SaveOp : Kern_Op<"save", [HasParent<"ProcedureOp">]> {
  let summary = "keeps a value for the backward program";
  let description = [{
    `slot` names it among the kept tensors of the call; the backward procedure of the same module reads it by that
    name. The kernel that makes the value writes it there.

    Example: `kern.save %copy "m" : tensor<4x5x8xf32>`
  }];
  let arguments = (ins Kern_Tensor:$value, StrAttr:$slot);
  let assemblyFormat = "$value $slot attr-dict `:` type($value)";
}

def Kern_StoreGradientOp : Kern_Op<"store_gradient", [HasParent<"ProcedureOp">]> {
  let summary = "the gradient of a weight, to its place in the static part";
  let description = [{
    Once a weight and procedure. `weight` is the name of a `kern.weight` of the same shape.

    Example: `kern.store_gradient %dw "layer_norm.weight" : tensor<8xf32>`
  }];
  let arguments = (ins Kern_Tensor:$value, StrAttr:$weight);
  let assemblyFormat = "$value $weight attr-dict `:` type($value)";
}

def Kern_GradientOp : Kern_Op<"gradient", [Pure]> {
  let summary = "the gradient of a weight, as the backward program left it";
  let description = [{
    In procedures of the optimizer. `weight` is the name of a `kern.weight` of the same shape.

    Example: `%g = kern.gradient "layer_norm.weight" : tensor<8xf32>`
  }];
  let arguments = (ins StrAttr:$weight);
  let results = (outs Kern_Tensor:$result);
  let assemblyFormat = "$weight attr-dict `:` type($result)";
}

def Kern_StateOp : Kern_Op<"state", [Pure]> {
  let summary = "what the optimizer keeps of a weight from step to step";
  let description = [{
    In procedures of the optimizer. `kind` is `first_moment`, `master`, `momentum` or `second_moment`.

    Example: `%v = kern.state "momentum" "layer_norm.weight" : tensor<8xf32>`
  }];
  let arguments = (ins StrAttr:$kind, StrAttr:$weight);
  let results = (outs Kern_Tensor:$result);
  let assemblyFormat = "$kind $weight attr-dict `:` type($result)";
  let hasVerifier = 1;
}

def Kern_StoreStateOp : Kern_Op<"store_state", [HasParent<"ProcedureOp">]> {
  let summary = "the new value of a state, to its place in the static part";
  let description = [{
    Example: `kern.store_state %v1 "momentum" "layer_norm.weight" : tensor<8xf32>`
  }];
  let arguments = (ins Kern_Tensor:$value, StrAttr:$kind, StrAttr:$weight);
  let assemblyFormat = "$value $kind $weight attr-dict `:` type($value)";
  let hasVerifier = 1;
}

def Kern_StoreWeightOp : Kern_Op<"store_weight", [HasParent<"ProcedureOp">, SameTypeOperands]> {
  let summary = "the new value of a weight, to its place in the static part";
  let description = [{
    `weight` is the value of a `kern.weight`.

    Example: `kern.store_weight %w1 to %w : tensor<8xf32>`
  }];
  let arguments = (ins Kern_Tensor:$value, Kern_Tensor:$weight);
  let assemblyFormat = "$value `to` $weight attr-dict `:` type($value)";
  let hasVerifier = 1;
}

def Kern_SliceLoopOp : Kern_Op<"slice_loop",
    [IsolatedFromAbove, AttrSizedOperandSegments, SingleBlockImplicitTerminator<"YieldOp">, RecursiveMemoryEffects]> {
  let summary = "the body, once for each slice of an axis";
  let description = [{
    `(sliced, whole) -> (sliced, summed)`. Iteration k sees elements [k size, min((k + 1) size, extent)) of
    axis `sliced_axes[j]` of each sliced operand, which is `?` in the body, and the whole of the others.
    The first results are put together from the slices that the body yields, along `result_axes`; the rest
    are sums over the iterations (gradients of what was read whole). Reversal swaps the roles.
    One loop is not nested in another.

    Example:
    ```mlir
    %y = "kern.slice_loop"(%m, %bias) <{axis = "s", extent = 7 : i64, size = 4 : i64,
        sliced_axes = array<i64: 0>, result_axes = array<i64: 0>, operandSegmentSizes = array<i32: 1, 1>}> ({
    ^bb0(%ms: tensor<?x5x8xf32>, %b: tensor<2x5x5xf32>):
      ...
      "kern.yield"(%ms1) : (tensor<?x5x8xf32>) -> ()
    }) : (tensor<7x5x8xf32>, tensor<2x5x5xf32>) -> tensor<7x5x8xf32>
    ```
  }];
  let arguments = (ins Variadic<Kern_Tensor>:$sliced, Variadic<Kern_Tensor>:$whole, StrAttr:$axis,
                       I64Attr:$extent, I64Attr:$size, DenseI64ArrayAttr:$sliced_axes,
                       DenseI64ArrayAttr:$result_axes);
  let results = (outs Variadic<Kern_Tensor>:$outputs);
  let regions = (region SizedRegion<1>:$body);
  let hasRegionVerifier = 1;
}

def Kern_YieldOp : Kern_Op<"yield", [Pure, Terminator,
                                     ParentOneOf<["SliceLoopOp", "LoopOp"]>]> {
  let summary = "ends a loop's body";
  let description = [{
    In `kern.slice_loop`, with the slices and summands; in `kern.loop`, with nothing.

    Example: `kern.yield %y : tensor<?x5x8xf32>`
  }];
  let arguments = (ins Variadic<Kern_Tensor>:$values);
  let builders = [OpBuilder<(ins), [{ build($_builder, $_state, ::mlir::ValueRange()); }]>];
  let assemblyFormat = "($values^ `:` type($values))? attr-dict";
}

//===----------------------------------------------------------------------===//
// Buffers
//===----------------------------------------------------------------------===//

def Kern_TensorBufferOp : Kern_Op<"tensor_buffer", [Pure]> {
  let summary = "the arena slot of a boundary tensor";
  let description = [{
    Example: `%b = kern.tensor_buffer @z : !kern.buffer<5x5x8xf32, 8>`
  }];
  let arguments = (ins FlatSymbolRefAttr:$tensor);
  let results = (outs Kern_BufferType:$result);
  let assemblyFormat = "$tensor attr-dict `:` qualified(type($result))";
  let hasVerifier = 1;
}

def Kern_WeightBufferOp : Kern_Op<"weight_buffer", [Pure]> {
  let summary = "the memory of a weight of the block that the procedure is called for";
  let description = [{
    As `kern.weight`, at the buffer level.

    Example: `%b = kern.weight_buffer "layer_norm.weight" parts ["layer_norm.weight"] rows [8] : !kern.buffer<8xf32, 8>`
  }];
  let arguments = (ins StrAttr:$name, StrArrayAttr:$parts, DenseI64ArrayAttr:$rows);
  let results = (outs Kern_BufferType:$result);
  let assemblyFormat = "$name `parts` $parts `rows` $rows attr-dict `:` qualified(type($result))";
  let hasVerifier = 1;
}

def Kern_SavedBufferOp : Kern_Op<"saved_buffer", [Pure]> {
  let summary = "the memory of a kept tensor of the call";
  let description = [{
    `offset`, in bytes from the call's kept tensors, comes from `kern-place`.

    Example: `%b = kern.saved_buffer "m" : !kern.buffer<4x5x8xf32, 8>`
  }];
  let arguments = (ins StrAttr:$slot, OptionalAttr<I64Attr>:$offset);
  let results = (outs Kern_BufferType:$result);
  let assemblyFormat = "$slot (`offset` $offset^)? attr-dict `:` qualified(type($result))";
  let hasVerifier = 1;
}

def Kern_GradientBufferOp : Kern_Op<"gradient_buffer", [Pure]> {
  let summary = "the memory of the gradient of a weight of the block";
  let description = [{
    Example: `%b = kern.gradient_buffer "layer_norm.weight" : !kern.buffer<8xf32, 8>`
  }];
  let arguments = (ins StrAttr:$weight);
  let results = (outs Kern_BufferType:$result);
  let assemblyFormat = "$weight attr-dict `:` qualified(type($result))";
  let hasVerifier = 1;
}

def Kern_StateBufferOp : Kern_Op<"state_buffer", [Pure]> {
  let summary = "the memory of the optimizer's state of a weight of the block";
  let description = [{
    `kind` as in `kern.state`.

    Example: `%b = kern.state_buffer "momentum" "layer_norm.weight" : !kern.buffer<8xf32, 8>`
  }];
  let arguments = (ins StrAttr:$kind, StrAttr:$weight);
  let results = (outs Kern_BufferType:$result);
  let assemblyFormat = "$kind $weight attr-dict `:` qualified(type($result))";
  let hasVerifier = 1;
}

def Kern_AllocOp : Kern_Op<"alloc"> {
  let summary = "memory in the procedure's frame, from here to its free";
  let description = [{
    `offset`, in bytes from the frame's base, comes from `kern-place`. Contents are undefined.

    Example: `%b = kern.alloc "qkvg" : !kern.buffer<4x7x64xf32, 64>`
  }];
  let arguments = (ins StrAttr:$name, OptionalAttr<I64Attr>:$offset);
  let results = (outs Kern_BufferType:$result);
  let assemblyFormat = "$name (`offset` $offset^)? attr-dict `:` qualified(type($result))";
}

def Kern_FreeOp : Kern_Op<"free"> {
  let summary = "the buffer's last reader is done";
  let description = [{
    In the same block as the alloc, once.

    Example: `kern.free %b : !kern.buffer<4x7x64xf32, 64>`
  }];
  let arguments = (ins Kern_BufferType:$buffer);
  let assemblyFormat = "$buffer attr-dict `:` qualified(type($buffer))";
  let hasVerifier = 1;
}

def Kern_ViewOp : Kern_Op<"view", [Pure]> {
  let summary = "a box of a buffer as an operand: which elements, in which order, which version";
  let description = [{
    Per buffer axis: `start` (plus the first element of the current slice where `start_loop` is a loop's id,
    -1: none) and `extent` (the length of the current slice where `extent_loop` is one; then `extent` is
    the length of a full slice). Axis d of the view is buffer axis `order[d]`. `version` is what a reader
    expects and a writer makes; see runtime/plan/Plan.h.

    Example: `%v = kern.view %b start [0, 0] loops [-1, 0] extent [5, 4] loops [-1, 0] order [1, 0] version 1 : !kern.buffer<5x7xf32, 8> -> !kern.view<4x5xf32>`
  }];
  let arguments = (ins Kern_BufferType:$buffer, DenseI64ArrayAttr:$start, DenseI32ArrayAttr:$start_loop,
                       DenseI64ArrayAttr:$extent, DenseI32ArrayAttr:$extent_loop, DenseI32ArrayAttr:$order,
                       I64Attr:$version);
  let results = (outs Kern_ViewType:$result);
  let assemblyFormat = [{
    $buffer `start` $start `loops` $start_loop `extent` $extent `loops` $extent_loop `order` $order `version` $version
    attr-dict `:` qualified(type($buffer)) `->` qualified(type($result))
  }];
  let hasVerifier = 1;
}

def Kern_LaunchOp : Kern_Op<"launch"> {
  let summary = "one kernel step of a plan";
  let description = [{
    `present[i]` says whether operand i of the kernel's row is given; `operands` are those that are, inputs
    and outputs, in the row's order. `settings` holds the values that the row names. `cost_ns` is what all
    its runs in one call of the procedure take by the device profile.

    Example: `kern.launch "softmax"(%x, %y) present [true, true] {settings = {}} : !kern.view<4x5xf32>, !kern.view<4x5xf32>`
  }];
  let arguments = (ins StrAttr:$kernel, Variadic<Kern_ViewType>:$inputs, DenseBoolArrayAttr:$present,
                       DictionaryAttr:$settings, OptionalAttr<I64Attr>:$cost_ns);
  let assemblyFormat = "$kernel `(` $inputs `)` `present` $present attr-dict `:` qualified(type($inputs))";
  let hasVerifier = 1;
}

def Kern_LoopOp : Kern_Op<"loop", [SingleBlockImplicitTerminator<"YieldOp">, NoRegionArguments]> {
  let summary = "the body, once for each slice of an axis, on buffers";
  let description = [{
    Iteration k covers [k size, min((k + 1) size, extent)). `id` is what views name; unique in the procedure.

    Example: `kern.loop 0 axis "s" extent 7 size 4 { ... }`
  }];
  let arguments = (ins I32Attr:$id, StrAttr:$axis, I64Attr:$extent, I64Attr:$size);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = "$id `axis` $axis `extent` $extent `size` $size attr-dict-with-keyword $body";
  let hasVerifier = 1;
}

//===----------------------------------------------------------------------===//
// Procedures and programs
//===----------------------------------------------------------------------===//

def Kern_TensorOp : Kern_Op<"tensor", [Symbol]> {
  let summary = "a boundary tensor with a fixed slot in the arena";
  let description = [{
    A residual stream, its gradient, a mask, the optimizer's scalars, or the kernels' workspace. `offset`, in bytes, comes from `kern-place`. One that lies `in` another's slot
    takes its place once that is no longer read: the gradient of a stream in the backward program.

    Example: `kern.tensor @z : tensor<5x5x8xf32>`
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, TypeAttr:$type, OptionalAttr<I64Attr>:$offset,
                       OptionalAttr<FlatSymbolRefAttr>:$slot_of);
  let assemblyFormat = "$sym_name (`in` $slot_of^)? (`offset` $offset^)? attr-dict `:` $type";
  let hasVerifier = 1;
}

def Kern_TensorRef : Attr<And<[SymbolRefAttr.predicate, CPred<"::evo::kern::isTensorRef($_self)">]>,
                          "a boundary tensor (@z) or a kept one (@saved::@z)">;
def Kern_TensorRefArray
    : TypedArrayAttrBase<Kern_TensorRef, "an array of boundary tensors (@z) and kept ones (@saved::@z)">;

def Kern_ProcedureOp : Kern_Op<"procedure", [IsolatedFromAbove, Symbol]> {
  let summary = "one module, or run of modules, with one choice in one phase";
  let description = [{
    At the value level its block arguments are `tensors`: boundary tensors (`@z`) or, in a backward procedure,
    what the forward procedure of the same module kept (`@saved::@z`), and `kern.return` names the streams that
    it updates; at the buffer level it has neither. `module` is the parameter prefix. `frame_bytes` comes from
    `kern-place`.

    Example: `kern.procedure @p0 module "pair_transition" phase "forward" choice "fused" tensors [@z] { ... }`
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, StrAttr:$module, StrAttr:$phase, StrAttr:$choice,
                       Kern_TensorRefArray:$tensors, OptionalAttr<I64Attr>:$frame_bytes);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = [{
    $sym_name `module` $module `phase` $phase `choice` $choice `tensors` $tensors (`frame` $frame_bytes^)?
    attr-dict-with-keyword $body
  }];
  let hasRegionVerifier = 1;
}

def Kern_ReturnOp : Kern_Op<"return", [Pure, Terminator, HasParent<"ProcedureOp">]> {
  let summary = "ends a procedure with the new versions of the streams that it updates";
  let description = [{
    `tensors[i]` names the boundary tensor whose slot value i takes. At the buffer level both are empty.

    Example: `kern.return [@z] %z1 : tensor<5x5x8xf32>`
  }];
  let arguments = (ins FlatSymbolRefArrayAttr:$tensors, Variadic<Kern_Tensor>:$values);
  let assemblyFormat = "$tensors ($values^ `:` type($values))? attr-dict";
  let hasVerifier = 1;
}

def Kern_ProgramOp : Kern_Op<"program", [SingleBlock, NoTerminator, NoRegionArguments]> {
  let summary = "what a caller can run: forward, backward or optimizer";
  let description = [{
    Holds `kern.blocks` in order. `inputs` are set by the caller before, `outputs` read by it afterwards.

    Example: `kern.program "forward" inputs [@z] outputs [@z] { ... }`
  }];
  let arguments = (ins StrAttr:$phase, FlatSymbolRefArrayAttr:$inputs, FlatSymbolRefArrayAttr:$outputs);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = "$phase `inputs` $inputs `outputs` $outputs attr-dict-with-keyword $body";
  let hasVerifier = 1;
}

def Kern_BlocksOp : Kern_Op<"blocks", [SingleBlock, NoTerminator, NoRegionArguments, HasParent<"ProgramOp">]> {
  let summary = "the calls of each of `count` equal blocks from `first` on";
  let description = [{
    One block after the other: from the first to the last, but from the last to the first in the backward program where a
    call has a partner. What only computes again goes up there too.

    Example: `kern.blocks first 0 count 48 { kern.call @p0 }`
  }];
  let arguments = (ins I64Attr:$first, I64Attr:$count);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = "`first` $first `count` $count attr-dict-with-keyword $body";
  let hasVerifier = 1;
}

def Kern_ShareArray : TypedArrayAttrBase<Kern_ShareAttr, "an array of #kern.share">;
def Kern_BindingArray : TypedArrayAttrBase<Kern_BindingAttr, "an array of #kern.binding">;

def Kern_CallOp : Kern_Op<"call", [HasParent<"BlocksOp">]> {
  let summary = "runs a procedure for the current block";
  let description = [{
    In training each call has an `id`. A call of a backward procedure reads what the call `partner`, of a forward procedure,
    keeps, and `shares` names what lies elsewhere. From `kern-place` come `frame_offset` and `saved_offset` (in the first block
    of its `kern.blocks`, in bytes from the arena's start), the strides by which both move a block, and `bindings`, the places of what is
    shared.

    Example: `kern.call @p0`
  }];
  let arguments = (ins FlatSymbolRefAttr:$procedure, OptionalAttr<I64Attr>:$frame_offset,
                       DefaultValuedAttr<I64Attr, "0">:$frame_stride,
                       DefaultValuedAttr<I64Attr, "0">:$saved_offset, DefaultValuedAttr<I64Attr, "0">:$saved_stride,
                       OptionalAttr<I64Attr>:$id, OptionalAttr<I64Attr>:$partner,
                       OptionalAttr<Kern_ShareArray>:$shares, OptionalAttr<Kern_BindingArray>:$bindings);
  let assemblyFormat = "$procedure (`frame` $frame_offset^)? attr-dict";
}

#endif
