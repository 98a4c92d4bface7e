//===- KernKernels.td - one op a kernel ---------------------*- tablegen -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// Semantics, axes and constraints of each op stand in runtime/plan/Kernels.def, under the same name; the
// verifier checks shapes against that row. All ops print alike:
//   kern.NAME(operand = %value, ...) {attributes} : (operand types) -> (result types)
//===----------------------------------------------------------------------===//
#ifndef EVO_KERN_KERNELS
#define EVO_KERN_KERNELS

include "KernDialect.td"
include "KernInterfaces.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

class Kern_Kernel<string name, string kernelName, list<Trait> traits = []>
    : Kern_Op<name, !listconcat([Pure, DeclareOpInterfaceMethods<KernelOpInterface>], traits)> {
  let hasCustomAssemblyFormat = 1;
  let hasVerifier = 1;
  // The bodies that are the same for every kernel, written once over the row of Kernels.def.
  let extraClassDefinition = [{
    ::evo::plan::Kernel $cppClass::getKernel() { return ::evo::plan::Kernel::}] # kernelName # [{; }
    ::mlir::ParseResult $cppClass::parse(::mlir::OpAsmParser &parser, ::mlir::OperationState &state) {
      return ::evo::kern::parseKernel(parser, state, ::evo::plan::Kernel::}] # kernelName # [{);
    }
    void $cppClass::print(::mlir::OpAsmPrinter &printer) { ::evo::kern::printKernel(printer, *this); }
    ::mlir::LogicalResult $cppClass::verify() { return ::evo::kern::verifyKernel(*this); }
    std::optional<::llvm::ArrayRef<int64_t>> $cppClass::getStoreOrder() { return getLayout(); }
    ::evo::plan::KernelAttributes $cppClass::getKernelAttributes() {
      return ::evo::kern::readKernelAttributes(*this, ::evo::plan::Kernel::}] # kernelName # [{);
    }
    ::llvm::SmallVector<::mlir::Value> $cppClass::getKernelInputs() {
      return ::evo::kern::collectInputs(*this, ::evo::plan::Kernel::}] # kernelName # [{);
    }
    ::llvm::SmallVector<::mlir::Value> $cppClass::getKernelOutputs() {
      return ::evo::kern::collectOutputs(*this, ::evo::plan::Kernel::}] # kernelName # [{);
    }
    ::mlir::Value $cppClass::getTiedOperand(unsigned output) {
      return ::evo::kern::tiedOperand(*this, output);
    }
  }];
}

def Kern_LayerNormOp : Kern_Kernel<"layer_norm", "LayerNorm", [AttrSizedResultSegments]> {
  let summary = "layer norm over the last axis";
  let description = [{
    `y = (factor x - mean) * rstd * weight + bias`, with the statistics of each row of `factor x` as optional
    results that only training asks for. `factor` undoes the one that `x` was made with.

    Example: `%y = kern.layer_norm(x = %m, weight = %w, bias = %b) {eps = 1.0e-5 : f64} : (tensor<4x7x8xf32>, tensor<8xf32>, tensor<8xf32>) -> (tensor<4x7x8xf32>)`
  }];
  let arguments = (ins Kern_Tensor:$x, Kern_Tensor:$weight, Kern_Tensor:$bias, F64Attr:$eps,
                       OptionalAttr<F64Attr>:$factor, OptionalAttr<DenseI64ArrayAttr>:$layout);
  let results = (outs Kern_Tensor:$y, Optional<Kern_Tensor>:$mean, Optional<Kern_Tensor>:$rstd);
}

def Kern_LinearOp : Kern_Kernel<"linear", "Linear", [AttrSizedOperandSegments]> {
  let summary = "matrix product with bias, activation, row scale, gate and residual";
  let description = [{
    `y = residual + dropout * row_scale * sigmoid(gate) * act(x weight^T + bias)`; optional terms drop out.
    `dropout` is broadcast along the leading axes that it has 1 element of. The result may take over the
    residual's memory.

    Example: `%y = kern.linear(x = %h, weight = %w, residual = %m) {activation = "none"} : (tensor<4x7x32xf32>, tensor<8x32xf32>, tensor<4x7x8xf32>) -> (tensor<4x7x8xf32>)`
  }];
  let arguments = (ins Kern_Tensor:$x, Kern_Tensor:$weight, Optional<Kern_Tensor>:$bias,
                       Optional<Kern_Tensor>:$row_scale, Optional<Kern_Tensor>:$gate,
                       Optional<Kern_Tensor>:$dropout, Optional<Kern_Tensor>:$residual, StrAttr:$activation,
                       OptionalAttr<F64Attr>:$factor, OptionalAttr<DenseI64ArrayAttr>:$layout);
  let results = (outs Kern_Tensor:$y);
}

def Kern_GatedLinearOp : Kern_Kernel<"gated_linear", "GatedLinear"> {
  let summary = "one matrix product gated by the sigmoid of another";
  let description = [{
    `y = row_scale * sigmoid(x gate_weight^T + gate_bias) * (x weight^T + bias)`: the operands of a triangle
    multiplication. With `layout = [2, 0, 1]` it is stored channel-first.

    Example: `%a = kern.gated_linear(x = %x, weight = %wp, bias = %bp, gate_weight = %wg, gate_bias = %bg) {layout = array<i64: 2, 0, 1>} : (tensor<5x5x8xf32>, tensor<4x8xf32>, tensor<4xf32>, tensor<4x8xf32>, tensor<4xf32>) -> (tensor<5x5x4xf32>)`
  }];
  let arguments = (ins Kern_Tensor:$x, Kern_Tensor:$weight, Kern_Tensor:$bias, Kern_Tensor:$gate_weight,
                       Kern_Tensor:$gate_bias, Optional<Kern_Tensor>:$row_scale,
                       OptionalAttr<DenseI64ArrayAttr>:$layout);
  let results = (outs Kern_Tensor:$y);
}

def Kern_AttentionOp
    : Kern_Kernel<"attention", "Attention", [AttrSizedOperandSegments]> {
  let summary = "attention by online softmax, with pair bias and key mask";
  let description = [{
    Never stores its logits. A key width smaller than the query width shares key/value heads (global
    attention: one for all). `lse`, the log of each row's sum, is an optional result that training asks for.

    Example: `%o = kern.attention(query = %q, key = %k, value = %v, mask = %mask) {heads = 2 : i64, inf = 1.0e9 : f64, scale = 0.5 : f64} : (tensor<3x5x8xf32>, tensor<3x5x8xf32>, tensor<3x5x8xf32>, tensor<3x5xf32>) -> (tensor<3x5x8xf32>)`
  }];
  let arguments = (ins Kern_Tensor:$query, Kern_Tensor:$key, Kern_Tensor:$value,
                       Optional<Kern_Tensor>:$pair_bias, Optional<Kern_Tensor>:$mask, I64Attr:$heads,
                       F64Attr:$scale, F64Attr:$inf, OptionalAttr<DenseI64ArrayAttr>:$layout);
  let results = (outs Kern_Tensor:$o, Optional<Kern_Tensor>:$lse);
}

def Kern_AttentionLogitsOp
    : Kern_Kernel<"attention_logits", "AttentionLogits", [AttrSizedOperandSegments]> {
  let summary = "the scaled, biased and masked logits of attention, stored";
  let description = [{
    The first step of attention as the seed has it: `h q k` elements for each batch entry.

    Example: `%l = kern.attention_logits(query = %q, key = %k) {heads = 2 : i64, inf = 1.0e9 : f64, scale = 0.5 : f64} : (tensor<3x5x8xf32>, tensor<3x5x8xf32>) -> (tensor<3x2x5x5xf32>)`
  }];
  let arguments = (ins Kern_Tensor:$query, Kern_Tensor:$key, Optional<Kern_Tensor>:$pair_bias,
                       Optional<Kern_Tensor>:$mask, I64Attr:$heads, F64Attr:$scale, F64Attr:$inf,
                       OptionalAttr<DenseI64ArrayAttr>:$layout);
  let results = (outs Kern_Tensor:$logits);
}

def Kern_SoftmaxOp : Kern_Kernel<"softmax", "Softmax"> {
  let summary = "softmax over the last axis";
  let description = [{
    May take over its input's memory.

    Example: `%p = kern.softmax(x = %l) : (tensor<3x2x5x5xf32>) -> (tensor<3x2x5x5xf32>)`
  }];
  let arguments = (ins Kern_Tensor:$x, OptionalAttr<DenseI64ArrayAttr>:$layout);
  let results = (outs Kern_Tensor:$y);
}

def Kern_AttentionValuesOp : Kern_Kernel<"attention_values", "AttentionValues"> {
  let summary = "the values weighted by stored attention weights";
  let description = [{
    Example: `%o = kern.attention_values(weights = %p, value = %v) {heads = 2 : i64} : (tensor<3x2x5x5xf32>, tensor<3x5x8xf32>) -> (tensor<3x5x8xf32>)`
  }];
  let arguments = (ins Kern_Tensor:$weights, Kern_Tensor:$value, I64Attr:$heads,
                       OptionalAttr<DenseI64ArrayAttr>:$layout);
  let results = (outs Kern_Tensor:$o);
}

def Kern_GateOp : Kern_Kernel<"gate", "Gate"> {
  let summary = "attention output times the sigmoid of its gate";
  let description = [{
    `y = sigmoid(gate + gate_bias) * o`; an `o` with one query is broadcast over the gate's. May take over
    the gate's memory.

    Example: `%y = kern.gate(o = %o, gate = %g, gate_bias = %b) : (tensor<3x1x8xf32>, tensor<3x5x8xf32>, tensor<8xf32>) -> (tensor<3x5x8xf32>)`
  }];
  let arguments = (ins Kern_Tensor:$o, Kern_Tensor:$gate, Kern_Tensor:$gate_bias,
                       OptionalAttr<DenseI64ArrayAttr>:$layout);
  let results = (outs Kern_Tensor:$y);
}

def Kern_MaskedMeanOp : Kern_Kernel<"masked_mean", "MaskedMean"> {
  let summary = "masked mean over the middle axis";
  let description = [{
    Divides by `eps + sum(mask)`.

    Example: `%q = kern.masked_mean(x = %x, mask = %mask) {eps = 1.0e-8 : f64} : (tensor<3x5x8xf32>, tensor<3x5xf32>) -> (tensor<3x1x8xf32>)`
  }];
  let arguments = (ins Kern_Tensor:$x, Optional<Kern_Tensor>:$mask, F64Attr:$eps,
                       OptionalAttr<DenseI64ArrayAttr>:$layout);
  let results = (outs Kern_Tensor:$y);
}

def Kern_OuterProductOp : Kern_Kernel<"outer_product", "OuterProduct"> {
  let summary = "sum over s of outer products, stored";
  let description = [{
    `r r c d` elements: the seed's dominant term of the outer product mean.

    Example: `%o = kern.outer_product(a = %a, b = %b) : (tensor<6x4x2xf32>, tensor<6x5x3xf32>) -> (tensor<4x5x6xf32>)`
  }];
  let arguments = (ins Kern_Tensor:$a, Kern_Tensor:$b, OptionalAttr<F64Attr>:$factor, OptionalAttr<DenseI64ArrayAttr>:$layout);
  let results = (outs Kern_Tensor:$o);
}

def Kern_OuterProductMeanOp
    : Kern_Kernel<"outer_product_mean", "OuterProductMean"> {
  let summary = "outer product and its projection in one kernel";
  let description = [{
    The outer product is never stored. The result may take over the residual's memory.

    Example: `%y = kern.outer_product_mean(a = %a, b = %b, weight = %w, bias = %c, row_scale = %n) : (tensor<6x4x2xf32>, tensor<6x5x3xf32>, tensor<8x6xf32>, tensor<8xf32>, tensor<4x5xf32>) -> (tensor<4x5x8xf32>)`
  }];
  let arguments = (ins Kern_Tensor:$a, Kern_Tensor:$b, Kern_Tensor:$weight, Kern_Tensor:$bias,
                       Kern_Tensor:$row_scale, Optional<Kern_Tensor>:$residual,
                       OptionalAttr<DenseI64ArrayAttr>:$layout);
  let results = (outs Kern_Tensor:$y);
}

def Kern_OuterProductNormOp : Kern_Kernel<"outer_product_norm", "OuterProductNorm"> {
  let summary = "reciprocal of the number of rows that two residues share";
  let description = [{
    `y[i,j] = 1 / (eps + sum_s mask_i[s,i] mask_j[s,j])`, in the statistic type.

    Example: `%n = kern.outer_product_norm(mask_i = %mi, mask_j = %mj) {eps = 1.0e-3 : f64} : (tensor<6x4xf32>, tensor<6x5xf32>) -> (tensor<4x5xf32>)`
  }];
  let arguments = (ins Kern_Tensor:$mask_i, Kern_Tensor:$mask_j, F64Attr:$eps,
                       OptionalAttr<DenseI64ArrayAttr>:$layout);
  let results = (outs Kern_Tensor:$y);
}

def Kern_BatchMatmulOp : Kern_Kernel<"batch_matmul", "BatchMatmul"> {
  let summary = "batched matrix product, the second operand transposed";
  let description = [{
    `y[b,m,n] = sum_k a[b,m,k] b[b,n,k]`: the product of a triangle multiplication, channels as batch.

    Example: `%p = kern.batch_matmul(a = %a, b = %b) : (tensor<8x5x7xf32>, tensor<8x6x7xf32>) -> (tensor<8x5x6xf32>)`
  }];
  let arguments = (ins Kern_Tensor:$a, Kern_Tensor:$b, OptionalAttr<F64Attr>:$factor, OptionalAttr<DenseI64ArrayAttr>:$layout);
  let results = (outs Kern_Tensor:$y);
}

def Kern_CopyOp : Kern_Kernel<"copy", "Copy"> {
  let summary = "a copy, for a stream that something still reads when it is overwritten";
  let description = [{
    Inserted by `kern-assign-buffers` where a kernel would overwrite what a later one reads.

    Example: `%y = kern.copy(x = %x) : (tensor<4x7xf32>) -> (tensor<4x7xf32>)`
  }];
  let arguments = (ins Kern_Tensor:$x, OptionalAttr<DenseI64ArrayAttr>:$layout);
  let results = (outs Kern_Tensor:$y);
}

def Kern_DropoutMaskOp : Kern_Kernel<"dropout_mask", "DropoutMask"> {
  let summary = "the mask of a dropout, computed from counters";
  let description = [{
    0, or `1 / (1 - rate)`, for each element: a function of the run's seed and step, the block, `module` (the module's
    position in its block) and the element's index alone. So it is the same whenever it is computed again. Made whole, outside of
    slice loops, in the statistic type.

    Example: `%d = kern.dropout_mask() {module = 3 : i64, rate = 2.5e-1 : f64} : () -> (tensor<1x5x8xf32>)`
  }];
  let arguments = (ins F64Attr:$rate, I64Attr:$module, OptionalAttr<DenseI64ArrayAttr>:$layout);
  let results = (outs Kern_Tensor:$y);
}

//===----------------------------------------------------------------------===//
// Gradients
//===----------------------------------------------------------------------===//

def Kern_LayerNormGradOp : Kern_Kernel<"layer_norm_grad", "LayerNormGrad", [AttrSizedOperandSegments]> {
  let summary = "gradients of a layer norm";
  let description = [{
    `dx` is added to `residual`, which in a block is the gradient of the stream: it may be updated in place.
    It is the gradient by `factor x`, what `x` stands for.

    Example: `%dx, %dw, %db = kern.layer_norm_grad(x = %x, weight = %w, dy = %dy, residual = %dm) {eps = 1.0e-5 : f64} : (tensor<4x7x8xf32>, tensor<8xf32>, tensor<4x7x8xf32>, tensor<4x7x8xf32>) -> (tensor<4x7x8xf32>, tensor<8xf32>, tensor<8xf32>)`
  }];
  let arguments = (ins Kern_Tensor:$x, Kern_Tensor:$weight, Kern_Tensor:$dy, Optional<Kern_Tensor>:$residual,
                       Optional<Kern_Tensor>:$weight_accumulator, Optional<Kern_Tensor>:$bias_accumulator,
                       F64Attr:$eps, OptionalAttr<F64Attr>:$factor, OptionalAttr<DenseI64ArrayAttr>:$layout);
  let results = (outs Kern_Tensor:$dx, Kern_Tensor:$dweight, Kern_Tensor:$dbias);
}

def Kern_LinearGradOp : Kern_Kernel<"linear_grad", "LinearGrad", [AttrSizedOperandSegments]> {
  let summary = "the elementwise part of a linear, backwards";
  let description = [{
    From the gradient of the result to those of the product and of the gate's logits.

    Example: `%du = kern.linear_grad(dy = %dy, h = %h) {activation = "relu"} : (tensor<4x7x8xf32>, tensor<4x7x8xf32>) -> (tensor<4x7x8xf32>)`
  }];
  let arguments = (ins Kern_Tensor:$dy, Optional<Kern_Tensor>:$h, Optional<Kern_Tensor>:$row_scale,
                       Optional<Kern_Tensor>:$gate, Optional<Kern_Tensor>:$dropout, StrAttr:$activation,
                       OptionalAttr<DenseI64ArrayAttr>:$layout);
  let results = (outs Kern_Tensor:$du, Optional<Kern_Tensor>:$dgate);
}

def Kern_WeightGradOp : Kern_Kernel<"weight_grad", "WeightGrad"> {
  let summary = "the gradient of a linear's weight";
  let description = [{
    Example: `%dw = kern.weight_grad(du = %du, x = %x) : (tensor<4x7x8xf32>, tensor<4x7x16xf32>) -> (tensor<8x16xf32>)`
  }];
  let arguments = (ins Kern_Tensor:$du, Kern_Tensor:$x, Optional<Kern_Tensor>:$accumulator,
                       OptionalAttr<F64Attr>:$factor, OptionalAttr<DenseI64ArrayAttr>:$layout);
  let results = (outs Kern_Tensor:$dweight);
}

def Kern_BatchMatmulGradOp : Kern_Kernel<"batch_matmul_grad", "BatchMatmulGrad"> {
  let summary = "the gradient of an operand of a product that slices share";
  let description = [{
    As `kern.batch_matmul`, into the statistic type, since slices add up there.

    Example: `%dx = kern.batch_matmul_grad(a = %a, b = %b) : (tensor<3x5x7xf32>, tensor<3x9x7xf32>) -> (tensor<3x5x9xf32>)`
  }];
  let arguments = (ins Kern_Tensor:$a, Kern_Tensor:$b, Optional<Kern_Tensor>:$accumulator,
                       OptionalAttr<F64Attr>:$factor, OptionalAttr<DenseI64ArrayAttr>:$layout);
  let results = (outs Kern_Tensor:$dx);
}

def Kern_BiasGradOp : Kern_Kernel<"bias_grad", "BiasGrad"> {
  let summary = "the gradient of a bias";
  let description = [{
    Example: `%db = kern.bias_grad(du = %du) : (tensor<4x7x8xf32>) -> (tensor<8xf32>)`
  }];
  let arguments = (ins Kern_Tensor:$du, Optional<Kern_Tensor>:$accumulator,
                       OptionalAttr<DenseI64ArrayAttr>:$layout);
  let results = (outs Kern_Tensor:$dbias);
}

def Kern_GatedLinearGradOp : Kern_Kernel<"gated_linear_grad", "GatedLinearGrad"> {
  let summary = "the elementwise part of a gated linear, backwards";
  let description = [{
    Both results may take over their inputs' memory.

    Example: `%du, %dg = kern.gated_linear_grad(dy = %dy, u = %u, g = %g) : (tensor<5x5x4xf32>, tensor<5x5x4xf32>, tensor<5x5x4xf32>) -> (tensor<5x5x4xf32>, tensor<5x5x4xf32>)`
  }];
  let arguments = (ins Kern_Tensor:$dy, Kern_Tensor:$u, Kern_Tensor:$g, Optional<Kern_Tensor>:$row_scale,
                       OptionalAttr<DenseI64ArrayAttr>:$layout);
  let results = (outs Kern_Tensor:$du, Kern_Tensor:$dg);
}

def Kern_AttentionGradOp : Kern_Kernel<"attention_grad", "AttentionGrad", [AttrSizedOperandSegments]> {
  let summary = "gradients of attention, from its log-sum-exp";
  let description = [{
    The logits are computed again tile by tile and never stored.

    Example: `%dq, %dk, %dv = kern.attention_grad(query = %q, key = %k, value = %v, o = %o, lse = %l, dout = %do) {heads = 2 : i64, inf = 1.0e9 : f64, scale = 0.5 : f64} : (tensor<3x5x8xf32>, tensor<3x5x8xf32>, tensor<3x5x8xf32>, tensor<3x5x8xf32>, tensor<3x2x5xf32>, tensor<3x5x8xf32>) -> (tensor<3x5x8xf32>, tensor<3x5x8xf32>, tensor<3x5x8xf32>)`
  }];
  let arguments = (ins Kern_Tensor:$query, Kern_Tensor:$key, Kern_Tensor:$value, Optional<Kern_Tensor>:$pair_bias,
                       Optional<Kern_Tensor>:$mask, Kern_Tensor:$o, Kern_Tensor:$lse, Kern_Tensor:$dout,
                       Optional<Kern_Tensor>:$accumulator, I64Attr:$heads, F64Attr:$scale, F64Attr:$inf,
                       OptionalAttr<DenseI64ArrayAttr>:$layout);
  let results = (outs Kern_Tensor:$dquery, Kern_Tensor:$dkey, Kern_Tensor:$dvalue, Optional<Kern_Tensor>:$dpair_bias);
}

def Kern_SoftmaxGradOp : Kern_Kernel<"softmax_grad", "SoftmaxGrad"> {
  let summary = "the gradient of a softmax, from its result";
  let description = [{
    Example: `%dx = kern.softmax_grad(y = %y, dy = %dy) : (tensor<3x5xf32>, tensor<3x5xf32>) -> (tensor<3x5xf32>)`
  }];
  let arguments = (ins Kern_Tensor:$y, Kern_Tensor:$dy, OptionalAttr<DenseI64ArrayAttr>:$layout);
  let results = (outs Kern_Tensor:$dx);
}

def Kern_AttentionValuesGradOp : Kern_Kernel<"attention_values_grad", "AttentionValuesGrad"> {
  let summary = "gradients of the weighted values";
  let description = [{
    Example: `%dp, %dv = kern.attention_values_grad(weights = %p, value = %v, dout = %do) {heads = 2 : i64} : (tensor<3x2x5x5xf32>, tensor<3x5x8xf32>, tensor<3x5x8xf32>) -> (tensor<3x2x5x5xf32>, tensor<3x5x8xf32>)`
  }];
  let arguments = (ins Kern_Tensor:$weights, Kern_Tensor:$value, Kern_Tensor:$dout, I64Attr:$heads,
                       OptionalAttr<DenseI64ArrayAttr>:$layout);
  let results = (outs Kern_Tensor:$dweights, Kern_Tensor:$dvalue);
}

def Kern_AttentionLogitsGradOp : Kern_Kernel<"attention_logits_grad", "AttentionLogitsGrad"> {
  let summary = "gradients of stored logits";
  let description = [{
    Example: `%dq, %dk = kern.attention_logits_grad(query = %q, key = %k, dl = %dl) {heads = 2 : i64, scale = 0.5 : f64} : (tensor<3x5x8xf32>, tensor<3x5x8xf32>, tensor<3x2x5x5xf32>) -> (tensor<3x5x8xf32>, tensor<3x5x8xf32>)`
  }];
  let arguments = (ins Kern_Tensor:$query, Kern_Tensor:$key, Kern_Tensor:$dl, Optional<Kern_Tensor>:$accumulator,
                       I64Attr:$heads, F64Attr:$scale, OptionalAttr<DenseI64ArrayAttr>:$layout);
  let results = (outs Kern_Tensor:$dquery, Kern_Tensor:$dkey, Optional<Kern_Tensor>:$dpair_bias);
}

def Kern_GateGradOp : Kern_Kernel<"gate_grad", "GateGrad"> {
  let summary = "gradients of a gate";
  let description = [{
    The gradient of the gate's bias is the `bias_grad` of `dgate`.

    Example: `%do, %dg = kern.gate_grad(o = %o, gate = %g, gate_bias = %b, dy = %dy) : (tensor<3x1x8xf32>, tensor<3x5x8xf32>, tensor<8xf32>, tensor<3x5x8xf32>) -> (tensor<3x1x8xf32>, tensor<3x5x8xf32>)`
  }];
  let arguments = (ins Kern_Tensor:$o, Kern_Tensor:$gate, Kern_Tensor:$gate_bias, Kern_Tensor:$dy,
                       OptionalAttr<DenseI64ArrayAttr>:$layout);
  let results = (outs Kern_Tensor:$dout, Kern_Tensor:$dgate);
}

def Kern_MaskedMeanGradOp : Kern_Kernel<"masked_mean_grad", "MaskedMeanGrad"> {
  let summary = "the gradient of a masked mean, added to another";
  let description = [{
    Example: `%dx = kern.masked_mean_grad(dy = %dq, mask = %mask, residual = %r) {eps = 1.0e-8 : f64} : (tensor<3x1x8xf32>, tensor<3x5xf32>, tensor<3x5x8xf32>) -> (tensor<3x5x8xf32>)`
  }];
  let arguments = (ins Kern_Tensor:$dy, Optional<Kern_Tensor>:$mask, Kern_Tensor:$residual, F64Attr:$eps,
                       OptionalAttr<DenseI64ArrayAttr>:$layout);
  let results = (outs Kern_Tensor:$dx);
}

def Kern_OuterProductGradOp : Kern_Kernel<"outer_product_grad", "OuterProductGrad"> {
  let summary = "gradients of a stored outer product";
  let description = [{
    Example: `%da, %db = kern.outer_product_grad(a = %a, b = %b, dout = %do) : (tensor<6x4x2xf32>, tensor<6x5x3xf32>, tensor<4x5x6xf32>) -> (tensor<6x4x2xf32>, tensor<6x5x3xf32>)`
  }];
  let arguments = (ins Kern_Tensor:$a, Kern_Tensor:$b, Kern_Tensor:$dout, Optional<Kern_Tensor>:$accumulator,
                       OptionalAttr<F64Attr>:$factor, OptionalAttr<DenseI64ArrayAttr>:$layout);
  let results = (outs Kern_Tensor:$da, Kern_Tensor:$db);
}

def Kern_ZeroOp : Kern_Kernel<"zero", "Zero"> {
  let summary = "zeros, with which a sum over slices begins";
  let description = [{
    Example: `%y = kern.zero() : () -> (tensor<4x7xf32>)`
  }];
  let arguments = (ins OptionalAttr<DenseI64ArrayAttr>:$layout);
  let results = (outs Kern_Tensor:$y);
}

def Kern_AddOp : Kern_Kernel<"add", "Add"> {
  let summary = "a second contribution to a gradient";
  let description = [{
    Example: `%y = kern.add(x = %x, addend = %a) : (tensor<4x7xf32>, tensor<4x7xf32>) -> (tensor<4x7xf32>)`
  }];
  let arguments = (ins Kern_Tensor:$x, Kern_Tensor:$addend, OptionalAttr<DenseI64ArrayAttr>:$layout);
  let results = (outs Kern_Tensor:$y);
}

//===----------------------------------------------------------------------===//
// The optimizer
//===----------------------------------------------------------------------===//

def Kern_CountNonfiniteOp : Kern_Kernel<"count_nonfinite", "CountNonfinite"> {
  let summary = "counts the gradient elements that are not finite";
  let description = [{
    Example: `%s1 = kern.count_nonfinite(x = %g, scalars = %s) : (tensor<8x4xf32>, tensor<4xf32>) -> (tensor<4xf32>)`
  }];
  let arguments = (ins Kern_Tensor:$x, Kern_Tensor:$scalars, OptionalAttr<DenseI64ArrayAttr>:$layout);
  let results = (outs Kern_Tensor:$y);
}

def Kern_SgdStepOp : Kern_Kernel<"sgd_step", "SgdStep", [AttrSizedOperandSegments, AttrSizedResultSegments]> {
  let summary = "a step of gradient descent with momentum";
  let description = [{
    Without a velocity the momentum is 0. With a master, which is of the statistic type, it is updated and the
    weight is its rounding.

    Example: `%w1, %v1 = kern.sgd_step(gradient = %g, scalars = %s, velocity = %v, weight = %w) {learning_rate = 1.0e-2 : f64, momentum = 9.0e-1 : f64} : (tensor<8xf32>, tensor<4xf32>, tensor<8xf32>, tensor<8xf32>) -> (tensor<8xf32>, tensor<8xf32>)`
  }];
  let arguments = (ins Kern_Tensor:$gradient, Kern_Tensor:$scalars, Optional<Kern_Tensor>:$velocity,
                       Optional<Kern_Tensor>:$master, Kern_Tensor:$weight, F64Attr:$learning_rate, F64Attr:$momentum,
                       OptionalAttr<DenseI64ArrayAttr>:$layout);
  let results = (outs Kern_Tensor:$new_weight, Optional<Kern_Tensor>:$new_velocity, Optional<Kern_Tensor>:$new_master);
}

def Kern_AdamwStepOp : Kern_Kernel<"adamw_step", "AdamwStep"> {
  let summary = "a step of Adam with decoupled weight decay";
  let description = [{
    Example: `%w1, %m1, %v1 = kern.adamw_step(gradient = %g, scalars = %s, first_moment = %m, second_moment = %v, weight = %w) {learning_rate = 1.0e-3 : f64, beta1 = 9.0e-1 : f64, beta2 = 9.99e-1 : f64, eps = 1.0e-8 : f64, weight_decay = 1.0e-2 : f64} : (tensor<8xf32>, tensor<4xf32>, tensor<8xf32>, tensor<8xf32>, tensor<8xf32>) -> (tensor<8xf32>, tensor<8xf32>, tensor<8xf32>)`
  }];
  let arguments = (ins Kern_Tensor:$gradient, Kern_Tensor:$scalars, Kern_Tensor:$first_moment,
                       Kern_Tensor:$second_moment, Optional<Kern_Tensor>:$master, Kern_Tensor:$weight,
                       F64Attr:$learning_rate, F64Attr:$beta1, F64Attr:$beta2, F64Attr:$eps, F64Attr:$weight_decay,
                       OptionalAttr<DenseI64ArrayAttr>:$layout);
  let results = (outs Kern_Tensor:$new_weight, Kern_Tensor:$new_first_moment, Kern_Tensor:$new_second_moment,
                      Optional<Kern_Tensor>:$new_master);
}

def Kern_AdvanceOptimizerOp : Kern_Kernel<"advance_optimizer", "AdvanceOptimizer"> {
  let summary = "the scalars of the next step";
  let description = [{
    Example: `%s1 = kern.advance_optimizer(scalars = %s) {growth_interval = 2000 : i64} : (tensor<4xf32>) -> (tensor<4xf32>)`
  }];
  let arguments = (ins Kern_Tensor:$scalars, I64Attr:$growth_interval, OptionalAttr<DenseI64ArrayAttr>:$layout);
  let results = (outs Kern_Tensor:$y);
}

#endif
