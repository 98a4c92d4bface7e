//===- Passes.td - from a specification to a plan -----------*- tablegen -*-===//
// Part of Evo, under the Apache License v2.0. See LICENSE.
//
// In the order of the pipeline `evo-to-plan`. One file a pass, of the same name. The verify passes are the
// fences between the levels; each names what it found and where.
//===----------------------------------------------------------------------===//
#ifndef EVO_PASSES
#define EVO_PASSES

include "mlir/Pass/PassBase.td"

def EvoImport : Pass<"evo-import", "::mlir::ModuleOp"> {
  let summary = "fill an empty module with the stack of a specification";
  let description = [{
    One `evo.stack` with one `evo.segment` of all blocks, whose modules have no choice yet. The order of the
    modules is the stack's (`opm_first` moves the outer product mean to the front).
  }];
  let dependentDialects = ["::evo::ir::EvoDialect", "::evo::kern::KernDialect"];
  let options = [Option<"spec", "spec", "std::string", "\"\"", "the specification file">];
}

def EvoChoosePolicy : Pass<"evo-choose-policy", "::mlir::ModuleOp"> {
  let summary = "set the choice of every module by a policy";
  let description = [{
    `direct` slices nothing, and in training keeps all; `chunk` slices what the seed slices, by its sizes: row attention by 4
    of s, column attention by 256 of r, outer product mean and triangle attention by 4 of r, in training each slice and each
    other module a recompute group. Training alone: `small`, a recompute group a module; `large`, one a block; `extra`, row
    attention as under `chunk`, and a group for what is before and behind it. `auto` searches the fastest plan that fits
    `memory`: it splits the stack's segment where blocks differ, and sets runs and what is recomputed. Where a module has several kernel variants, `kernels=all` takes the one that is cheapest
    by the profile, `plain` the seed's materialised ones.

    Before: `evo.transition m %m {prefix = "msa_transition", ...}`
    After:  `evo.transition m %m {choice = #evo.choice, prefix = "msa_transition", ...}`
  }];
  let dependentDialects = ["::evo::ir::EvoDialect", "::evo::kern::KernDialect"];
  let options = [
    Option<"policy", "policy", "std::string", "\"auto\"", "auto, direct, small, large, chunk or extra">,
    Option<"kernels", "kernels", "std::string", "\"all\"", "all or plain">,
    Option<"profile", "profile", "std::string", "\"h100\"", "a built-in profile's name or a file">,
    Option<"memory", "memory", "int64_t", "0", "budget in bytes; 0: the profile's memory">];
}

def EvoEstimateMemory : Pass<"evo-estimate-memory", "::mlir::ModuleOp"> {
  let summary = "write each module's dominant term and exact peak beside its choice";
  let description = [{
    `estimate = {dominant = "h s r^2", dominant_bytes, frame_bytes, cost_ns}`: the seed's formula, the same in
    bytes, the height of the module's frame when its lowered buffers are packed, and its time by the profile.
    Needs choices.
  }];
  let dependentDialects = ["::evo::ir::EvoDialect", "::evo::kern::KernDialect"];
  let options = [Option<"profile", "profile", "std::string", "\"h100\"", "a built-in profile's name or a file">];
}

def EvoVerifyChosen : Pass<"evo-verify-chosen", "::mlir::ModuleOp"> {
  let summary = "fence: every module has a legal choice and reads the newest streams";
  let description = [{
    Also: segments tile the blocks of the model, tensors have the storage type of its precision, a module keeps its input or all
    in training and nothing in inference, and one that shares a loop with others has no slices of its own. The lowering relies on all
    of it.
  }];
}

def EvoLowerToKern : Pass<"evo-lower-to-kern", "::mlir::ModuleOp"> {
  let summary = "modules to procedures of kernels on values, the stack to a program of calls";
  let description = [{
    One `kern.procedure` for each different (module or run, choice, what it keeps); `kern.tensor` for each boundary tensor; in each
    `kern.program` a `kern.blocks` a segment, or two in training, where the first block of a segment keeps something else
    than the others: the first call that needs a version of a stream keeps it, whoever needs it behind that reads it there. The
    procedures are at the value level. With an optimizer in the model a program `optimizer` follows: where gradients may
    overflow it counts those that are not finite in all blocks, then updates all weights, then advances the scalars in
    `kern.tensor @optimizer` once.
  }];
  let dependentDialects = ["::evo::kern::KernDialect"];
}

def KernAnnotateCost : Pass<"kern-annotate-cost", "::mlir::ModuleOp"> {
  let summary = "price every kernel by a device profile";
  let description = [{
    Sets `cost_ns` on each kernel op: all its runs in one call of the procedure, the ragged last slice priced
    by its own length. On a loop that sums, `zero_cost_ns` is what zeroing each sum takes,
    and `add_cost_ns` what its slices take to add to one where no kernel of the body does so by itself.

    Before: `%1 = kern.softmax(x = %0) : ...`
    After:  `%1 = kern.softmax(x = %0) {cost_ns = 2150 : i64} : ...`
  }];
  let options = [Option<"profile", "profile", "std::string", "\"h100\"", "a built-in profile's name or a file">];
}

def KernAssignBuffers : Pass<"kern-assign-buffers", "::mlir::ModuleOp"> {
  let summary = "from values to buffers: views, allocs, loops and launches";
  let description = [{
    A result takes over the memory of its tied operand where the kernel allows it and nothing reads the
    operand afterwards; so residual streams are updated in place. A slice that a loop puts together is written
    straight to its place in the whole. Everything else gets a `kern.alloc`. A stream whose new version ends
    up elsewhere is copied to its slot at the end.

    Before: `%1 = kern.softmax(x = %0) : (tensor<4x5xf32>) -> (tensor<4x5xf32>)`
    After:  `kern.launch "softmax"(%v0, %v1)` with `%v0`, `%v1` views of one buffer, versions 1 and 2.
  }];
  let dependentDialects = ["::evo::kern::KernDialect"];
}

def KernFreeBuffers : Pass<"kern-free-buffers", "::mlir::ModuleOp"> {
  let summary = "free each buffer as soon as it was last read";
  let description = [{
    Behind the last launch or loop of the alloc's block that uses a view of it. A buffer that a loop's body makes is freed
    in that body.

    Before: `%b = kern.alloc "a"`, `kern.launch "copy"(%x, %vb)`, `kern.launch "copy"(%vb, %y)`
    After:  the same, then `kern.free %b`
  }];
}

def KernVerifyBuffers : Pass<"kern-verify-buffers", "::mlir::ModuleOp"> {
  let summary = "fence: only buffers are left, each freed once behind its last use";
  let description = [{
    Also: a free stands in the block of its alloc, loops have ids of their own, and a view names loops around it only.
  }];
}

def KernPlace : Pass<"kern-place", "::mlir::ModuleOp"> {
  let summary = "offsets: buffers in frames, tensors and frames in the arena";
  let description = [{
    Packs each procedure's frame, lays the boundary tensors one after the other at the arena's start, stacks the kept tensors of
    the calls behind them, and puts each frame on top of what is kept at its time. A gradient of a stream lies in the stream's slot.

    Before: `%b = kern.alloc "qkvg" : ...`, `kern.call @p0`
    After:  `%b = kern.alloc "qkvg" offset 512 : ...`, `kern.call @p0 frame 1536`, the procedure with `frame 4096`
  }];
}

def KernVerifyPlaced : Pass<"kern-verify-placed", "::mlir::ModuleOp"> {
  let summary = "fence: offsets are aligned and live buffers apart";
  let description = [{
    Within frames, between the boundary tensors, and between those and the frames of calls. Every symbol that a
    procedure, a program or a call names is there, with its type.
  }];
}

def KernEmitPlan : Pass<"kern-emit-plan", "::mlir::ModuleOp"> {
  let summary = "write the placed module as a plan";
  let description = [{
    Needs `kern.model` from `evo-lower-to-kern` and `kern.target` from `evo-choose-policy` on the module. A plan
    that the plan verifier refuses is an error and is not written.
  }];
  let options = [Option<"output", "output", "std::string", "\"-\"", "the plan file; -: standard output">];
}

#endif
